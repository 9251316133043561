"""A site that comes late, and one that is killed and comes back: real processes over TLS."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from federated_sites import spawn_scripted, start_rounds, wait_until

from aloft.api import read_weights
from aloft.config import FederationConfig

pytestmark = pytest.mark.flower
SITES = {"ann": (1, 1.0), "bob": (3, 3.0), "kim": (2, 2.0), "sue": (4, -1.0)}  # rows, and added


def are_online(folder: Path, port: int, count: int) -> bool:
    """Whether the server takes as many sites to be there."""
    from flwr.proto.control_pb2 import ListNodesRequest

    from aloft_flower.control import Control

    with Control(port, folder / "ca.pem") as control:
        found = control._client.ListNodes(ListNodesRequest()).nodes_info
    return sum(one.status == "online" for one in found) == count


def test_a_site_may_come_late_and_one_that_was_killed_comes_back(
    tmp_path: Path, stack: ExitStack
) -> None:
    from aloft_flower.processes import free_port
    from aloft_flower.server import serving

    folder, port = tmp_path / "federation", free_port()
    stack.enter_context(serving(folder, f"127.0.0.1:{port}", list(SITES)))
    places = {name: folder / "sites" / name for name in SITES}
    processes: dict[str, subprocess.Popen[bytes]] = {}

    def join(name: str, script: str = "add") -> None:
        processes[name] = spawn_scripted(stack, places[name], *SITES[name], script)

    join("ann")
    join("bob", "add,add,wait")
    join("sue", "add,hang")

    def come_and_go() -> None:
        wait_until((places["sue"] / "in-round-2").exists, 120)
        processes["sue"].kill()  # with SIGKILL, as where memory runs out
        join("sue")
        join("kim")
        wait_until(lambda: are_online(folder, port, 4))
        (places["bob"] / "go").touch()  # lets round 3 end

    with ThreadPoolExecutor() as pool:
        changes = pool.submit(come_and_go)
        config = FederationConfig(rounds=4, min_sites=3, timeout=60.0)
        found = start_rounds(folder, config)
        changes.result()

    assert found[0]["rows"] == {"ann": 1, "bob": 3, "sue": 4}
    assert found[1]["rows"] == {"ann": 1, "bob": 3}
    assert (found[1]["silent"], found[1]["failed"]) == (["sue"], {})
    assert found[3]["rows"] == {"ann": 1, "bob": 3, "kim": 2, "sue": 4}
    # (1 + 9 - 4) / 8, then (1 + 9) / 4, then of those that were there, then (1 + 9 + 4 - 4) / 10
    third = sum(SITES[name][1] * count for name, count in found[2]["rows"].items())
    mean = 0.75 + 2.5 + third / sum(found[2]["rows"].values()) + 1.0
    for values in read_weights(folder / "embedder.safetensors").tensors.values():
        np.testing.assert_allclose(values, mean, rtol=1e-6)
    for name in SITES:  # all of them hear of the end
        assert processes[name].wait(60) == 0
        assert float((places[name] / "taken").read_text().split()[1]) == pytest.approx(mean)
