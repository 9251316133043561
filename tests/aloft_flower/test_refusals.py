"""Who and what is left out of a federation: real processes over TLS, and weights worked by hand."""

import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from federated_sites import end, spawn_scripted, start_rounds, wait_until
from scripted_site import SECRET, ScriptedSite

from aloft.api import AloftError, DataError, read_weights
from aloft.config import FederationConfig

pytestmark = pytest.mark.flower
FAULTS = ("shape", "nan", "scale", "count", "raise")
ROWS = {"ann": (1, 1.0), "bob": (3, 3.0), "kim": (2, 2.0), "sue": (2, 2.0), "mal": (2, 2.0)}


def test_where_no_server_runs_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    for found in ("holds no federation", "No server runs"):
        with pytest.raises(DataError, match=found) as fault:
            start_rounds(tmp_path, FederationConfig())
        command = f"aloft federate server {tmp_path} --address HOST:PORT --sites NAMES"
        assert str(fault.value).endswith(command)
        (tmp_path / "server.json").write_text('{"port": 1}')


def test_rounds_go_on_without_those_who_fail_and_name_them(
    tmp_path: Path, stack: ExitStack
) -> None:
    from aloft_flower import keys
    from aloft_flower.processes import free_port
    from aloft_flower.server import serving
    from aloft_flower.site import take_part

    folder = tmp_path / "federation"
    address = f"127.0.0.1:{free_port()}"
    ids = stack.enter_context(serving(folder, address, list(ROWS)))
    assert len(set(ids.values())) == 5

    stranger = tmp_path / "stranger"  # with the certificate, but a key that is not registered
    shutil.copytree(folder / "sites" / "ann", stranger)
    for file in (keys.SITE_KEY, keys.PUBLIC_KEY):
        (stranger / file).unlink()
    keys.make_site_key(stranger)
    with pytest.raises(AloftError, match="does not know this site's key"):
        take_part(ScriptedSite(stranger, 1, 1.0, []), stranger, stranger / "flower")

    deceived = tmp_path / "deceived"  # whose certificate is of another authority
    shutil.copytree(folder / "sites" / "ann", deceived)
    keys.make_certificate(tmp_path / "other", "127.0.0.1")
    shutil.copy(tmp_path / "other" / keys.AUTHORITY, deceived / keys.AUTHORITY)
    with pytest.raises(AloftError, match="is not vouched for"):
        take_part(ScriptedSite(deceived, 1, 1.0, []), deceived, deceived / "flower")

    last = len(FAULTS) + 1
    scripts = {"sue": ["add"] * len(FAULTS) + ["hang"], "kim": ["add"] * len(FAULTS) + ["hang"]}
    sites: dict[str, subprocess.Popen[bytes]] = {}
    for name, (rows, added) in ROWS.items():
        script = ",".join(scripts.get(name, FAULTS if name == "mal" else ["add"]))
        sites[name] = spawn_scripted(stack, folder / "sites" / name, rows, added, script)

    import threading

    def kill() -> None:
        wait_until((folder / "sites" / "kim" / f"in-round-{last}").exists, 300)
        end(sites["kim"])

    killer = threading.Thread(target=kill)
    killer.start()
    config = FederationConfig(rounds=last, min_sites=5, timeout=40.0)
    found = start_rounds(folder, config)
    killer.join()

    for one, fault in zip(found, FAULTS, strict=False):
        assert one["rows"] == {"ann": 1, "bob": 3, "kim": 2, "sue": 2}, (fault, one)
        assert one["asked"] == ["ann", "bob", "kim", "mal", "sue"]
        assert list(one["refused"] or one["failed"]) == ["mal"]
    reasons = [one["refused"].get("mal", one["failed"].get("mal")) for one in found[:-1]]
    assert "has the shape (2, 2), not (2, 3)" in reasons[0]
    assert "not finite" in reasons[1]
    assert "more than 10 times that of the others" in reasons[2]
    assert "-2 rows" in reasons[3]
    assert "local training failed" in reasons[4]
    assert set(found[-1]["rows"]) == {"ann", "bob", "mal"}
    assert set(found[-1]["silent"]) | set(found[-1]["failed"]) == {"kim", "sue"}

    # five rounds of (1*1 + 3*3 + 2*2 + 2*2) / 8, then one of (1*1 + 3*3 + 2*2) / 6
    expected = 5 * 18 / 8 + 14 / 6
    for values in read_weights(folder / "embedder.safetensors").tensors.values():
        np.testing.assert_allclose(values, expected, rtol=1e-6)
    for name in ("ann", "bob", "mal"):
        assert sites[name].wait(60) == 0
        assert (folder / "sites" / name / "taken").read_text().startswith(f"{last} 13.58333")

    said = [
        path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "sites" not in path.parts
    ]
    assert not any(SECRET.encode() in content for content in said)
    own = folder / "sites" / "mal" / "site.log"
    assert SECRET in own.read_text()  # where the site's own people find it
