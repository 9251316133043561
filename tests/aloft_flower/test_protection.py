"""What protects a federation: keys, the fence around the server, checks of updates, noise."""

import logging
import math
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federated_sites import wait_until

from aloft.api import SharedWeights, State, read_weights, spent_epsilon, write_weights
from aloft.config import FederationConfig

pytestmark = pytest.mark.flower


def test_a_certificate_names_the_address_and_secrets_are_their_owners_alone(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from aloft_flower import keys

    keys.make_certificate(tmp_path, "hospital.example")
    authority, server = (
        x509.load_pem_x509_certificate((tmp_path / name).read_bytes())
        for name in (keys.AUTHORITY, keys.CERTIFICATE)
    )
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hospital.example", "localhost"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    keys.make_site_key(tmp_path / "site")
    for secret in (tmp_path / keys.SERVER_KEY, tmp_path / "site" / keys.SITE_KEY):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert isinstance(authority.public_key(), ec.EllipticCurvePublicKey)
    before = (tmp_path / keys.CERTIFICATE).read_bytes()
    for known in ("hospital.example", "localhost", "127.0.0.1"):
        keys.make_certificate(tmp_path, known)
        assert (tmp_path / keys.CERTIFICATE).read_bytes() == before
    keys.make_certificate(tmp_path, "another.example")
    anew = x509.load_pem_x509_certificate((tmp_path / keys.CERTIFICATE).read_bytes())
    anew.verify_directly_issued_by(authority)  # which sites have already
    names = anew.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "another.example" in names.get_values_for_type(x509.DNSName)


def test_a_certificate_that_was_not_made_here_is_kept(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    from aloft_flower import keys

    keys.make_certificate(tmp_path, "hospital.example")
    own, name = ec.generate_private_key(ec.SECP384R1()), keys._name("An organisation")
    content = keys._signed(keys._certificate(name, name, own.public_key()), own)
    (tmp_path / keys.CERTIFICATE).write_bytes(content)
    keys.make_certificate(tmp_path, "another.example")
    assert (tmp_path / keys.CERTIFICATE).read_bytes() == content


@pytest.mark.parametrize(
    ("path", "client", "expected"),
    [
        ("/v1/fleet/pull-messages", ("10.0.0.7", 1), True),
        ("/v1/control/register-node", ("10.0.0.7", 1), False),
        ("/v1/control/start-run", ("127.0.0.1", 1), True),
        ("/v1/runtime/acquire-task", ("10.0.0.7", 1), False),
        ("/v1/runtime/acquire-task", ("::1", 1), True),
        ("/v1/control/start-run", None, False),
        ("/v1/control/start-run", ("testclient", 1), False),
        ("/docs", ("10.0.0.7", 1), False),
        ("/v1/fleetx", ("10.0.0.7", 1), False),
    ],
)
def test_other_machines_reach_the_calls_of_sites_alone(
    path: str, client: tuple[str, int] | None, expected: bool
) -> None:
    from aloft_flower.link import is_allowed

    assert is_allowed(path, client) is expected


SENT = {"one": np.zeros((2, 2), np.float32)}


@pytest.mark.parametrize(
    ("received", "said"),
    [
        ({"one": np.ones((2, 2), np.float32)}, None),
        ({}, "1 tensors are missing and 0 are unknown"),
        ({**SENT, "two": np.zeros(1, np.float32)}, "0 tensors are missing and 1 are unknown"),
        ({"one": np.zeros((4, 1), np.float32)}, "has the shape"),
        ({"one": np.zeros((2, 2))}, "holds float64"),
        ({"one": np.array([[0, np.inf], [0, 0]], np.float32)}, "not finite"),
    ],
)
def test_an_update_is_checked_by_itself(received: State, said: str | None) -> None:
    from aloft_flower.checks import find_fault

    fault = find_fault(SENT, received)
    assert fault is None if said is None else said in str(fault)


@pytest.mark.parametrize("count", [0, -1, 1.5, math.nan, True, "8", None])
def test_a_count_is_a_whole_number_of_one_or_more(count: object) -> None:
    from aloft_flower.checks import count_fault

    assert count_fault(count)
    assert count_fault(3) is None


@pytest.mark.parametrize(
    ("norms", "earlier", "expected"),
    [
        ({1: 1.0, 2: 2.0, 3: 1000.0}, None, {3}),  # of the others 1 and 2
        ({1: 1.0, 2: 1000.0}, None, {2}),
        ({1: 1.0, 2: 9.0, 3: 10.0}, None, set()),  # 10 is ten times 1, and no more
        ({1: 50.0}, None, set()),  # nobody to compare it with
        ({1: 50.0}, 4.0, {1}),
        ({1: 0.0, 2: 1.0, 3: 0.0}, None, set()),  # beside nothing, anything is large
    ],
)
def test_an_update_far_beyond_the_others_is_an_outlier(
    norms: dict[int, float], earlier: float | None, expected: set[int]
) -> None:
    from aloft_flower.checks import find_outliers

    assert set(find_outliers(norms, 10.0, earlier)) == expected


class Site:
    """Moves all weights to a number."""

    def __init__(self, file: Path, goal: float, rows: int, **config: Any) -> None:
        self.config, self.budget_file = FederationConfig(**config), file
        self._goal, self._rows = goal, rows
        self.taken: list[tuple[int, float]] = []

    def fault(self, order: Mapping[str, Any]) -> str:
        return "" if order["base"] == "base" else "the site has another base model"

    def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
        np.random.seed(0)  # as trainings do
        return {name: np.full_like(w, self._goal) for name, w in weights.items()}, self._rows

    def take(self, facts: Mapping[str, Any], weights: State) -> None:
        self.taken.append((facts["round"], float(weights["weights"].flat[0])))


def federate(
    folder: Path, sites: dict[str, Site], base: str = "base", **config: Any
) -> tuple[State, list[dict[str, Any]]]:
    from aloft_flower.rounds import read_rounds, run_rounds
    from aloft_flower.testing import LocalGrid

    file = folder / "embedder.safetensors"
    zeros = {"weights": np.zeros((100, 100), np.float32)}
    write_weights(file, SharedWeights(base=base, tensors=zeros))
    settings = FederationConfig(min_sites=1, **config)
    run_rounds(LocalGrid(sites), folder, "embedder", settings, is_last=True)
    return read_weights(file).tensors, read_rounds(folder)


def test_the_mean_is_weighted_by_rows_and_all_hear_of_it(tmp_path: Path) -> None:
    sites = {"a": Site(tmp_path / "a", 1.0, 1), "b": Site(tmp_path / "b", 5.0, 3)}
    found, rounds = federate(tmp_path, sites, rounds=2)
    np.testing.assert_allclose(found["weights"], (1 * 1 + 3 * 5) / 4)
    assert [one["rows"] for one in rounds] == [{"a": 1, "b": 3}] * 2
    assert [one["bytes_sent"] for one in rounds] == [2 * (40_000 + 128)] * 2  # .npy has a header
    for site in sites.values():
        assert site.taken == [(1, 4.0), (2, 4.0)]


def test_fedprox_tells_sites_how_near_to_stay(tmp_path: Path) -> None:
    told: list[float] = []

    class Listening(Site):
        def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
            told.append(order["proximal-mu"])
            return super().update(order, weights)

    federate(
        tmp_path,
        {"a": Listening(tmp_path / "a", 1.0, 1)},
        rounds=1,
        strategy="fedprox",
        proximal_mu=0.25,
    )
    assert told == [0.25]


def test_fedadam_steps_as_adam_does_over_the_mean_update(tmp_path: Path) -> None:
    sites = {"a": Site(tmp_path / "a", 0.5, 2)}
    found, _ = federate(tmp_path, sites, rounds=1, strategy="fedadam", server_learning_rate=0.01)
    mean, square = 0.1 * 0.5, 0.01 * 0.5**2  # beta 0.9 and 0.99, from nothing
    rate = 0.01 * math.sqrt(1 - 0.99**2) / (1 - 0.9**2)  # Flower's correction counts from two
    np.testing.assert_allclose(
        found["weights"], rate * mean / (math.sqrt(square) + 1e-3), rtol=1e-4
    )


def test_a_site_with_another_base_model_says_so_and_nothing_more(tmp_path: Path) -> None:
    _, rounds = federate(tmp_path, {"a": Site(tmp_path / "a", 1.0, 1)}, base="other", rounds=1)
    assert rounds[0]["failed"] == {"a": "the site has another base model"}


def test_updates_are_clipped_without_noise(tmp_path: Path) -> None:
    sites = {"a": Site(tmp_path / "a", 1.0, 1, clipping_norm=2.0)}
    found, _ = federate(tmp_path, sites, rounds=1)
    np.testing.assert_allclose(found["weights"], 2.0 / 100)  # ten thousand ones have a norm of 100


def test_noise_is_what_the_budget_calls_for_and_is_drawn_anew(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        site = Site(folder / "spent.json", 0.0, 1, epsilon=8.0, delta=1e-5, clipping_norm=0.5)
        weights, _ = federate(folder, {name: site}, rounds=1)
        found.append(weights["weights"])
    sigma = np.concatenate(found).std()
    # by the definition: with this noise, sensitivity 1 and delta 1e-5, epsilon is 8
    assert spent_epsilon([float(sigma)], 1e-5) == pytest.approx(8.0, rel=0.05)
    assert not np.allclose(found[0], found[1])  # though each training seeds the same


def test_a_budget_is_spent_over_all_rounds_and_then_the_site_sends_nothing(tmp_path: Path) -> None:
    from aloft.api import PrivacyBudget

    site = Site(tmp_path / "spent.json", 0.0, 1, epsilon=2.0, delta=1e-5, clipping_norm=1.0)
    _, rounds = federate(tmp_path, {"a": site}, rounds=3)
    assert [one["failed"] for one in rounds] == [{}, {}, {}]
    budget = PrivacyBudget(file=tmp_path / "spent.json", epsilon=2.0, delta=1e-5)
    assert len(budget.multipliers) == 3
    assert budget.spent == pytest.approx(2.0, rel=1e-4)
    _, again = federate(tmp_path, {"a": site}, rounds=1)  # a second federation
    assert again[-1]["failed"] == {"a": "the site's privacy budget is spent"}
    assert len(budget.multipliers) == 3


def test_an_update_of_nothing_is_sent_with_noise_too(tmp_path: Path) -> None:
    site = Site(tmp_path / "spent.json", 0.0, 1, epsilon=2.0, clipping_norm=1.0)
    found, rounds = federate(tmp_path, {"a": site}, rounds=1)
    assert rounds[0]["rows"] == {"a": 1}
    assert found["weights"].std() > 0


def test_what_fails_at_a_site_stays_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Site):
        def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
            raise ValueError("Mrs Quillfeather has the fever")

    with caplog.at_level(logging.ERROR):
        _, rounds = federate(tmp_path, {"a": Failing(tmp_path / "a", 1.0, 1)}, rounds=1)
    assert "Quillfeather" not in str(rounds)
    assert "Quillfeather" in caplog.text


def test_what_a_site_reports_cannot_command_a_terminal() -> None:
    from aloft_flower.rounds import printable

    assert printable("\x1b[2Jgone\r\n" + "x" * 900) == " [2Jgone  " + "x" * 190


def test_a_program_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    import psutil

    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, sys, time\nfrom aloft_flower.processes import environment, running\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "with running(['sleep', '99'], here / 'log', environment(here)):\n    time.sleep(99)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=env)
    family = psutil.Process(parent.pid)
    wait_until(lambda: len(family.children(recursive=True)) == 2)  # the leash, and what it holds
    held = family.children(recursive=True)
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(held, timeout=10)[1]


def test_a_site_that_the_server_has_let_in_waits_until_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aloft_flower import site

    for name in (site.ADDRESS, site.AUTHORITY, site.SITE_KEY):
        (tmp_path / name).write_text(name)
    log, file = tmp_path / "log", tmp_path / "home" / "admitted"
    now = 1000.0
    monkeypatch.setattr("aloft_flower.site.time.monotonic", lambda: now)

    def admission() -> site.Admission:
        return site.Admission(file, log, tmp_path)

    refusal = "[code: 2004] Failed to activate SuperNode."
    log.write_text(refusal)
    stranger = admission()
    stranger.note()
    assert not stranger.is_coming_back()
    log.write_text("SuperNode ID: 17")
    admission().note()
    log.write_text("SuperNode ID: 200417; the connection is lost")
    assert not admission().is_coming_back()
    log.write_text(refusal)
    again = admission()  # as of another process
    assert again.is_coming_back()
    now += 80
    assert again.is_coming_back()
    now += 20
    assert not again.is_coming_back()
    (tmp_path / site.SITE_KEY).write_text("another key")
    assert not admission().is_coming_back()
