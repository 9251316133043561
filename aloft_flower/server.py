"""Runs the server of a federation, and starts its rounds."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aloft.api import (
    ConfigError,
    DataError,
    federated_parts,
    initial_weights,
    read_json_object,
    read_weights,
    write_text,
    write_weights,
)
from aloft.config import SHARES_PART, FederationConfig, Part, RunConfig
from aloft_flower import keys, processes
from aloft_flower.control import Control
from aloft_flower.rounds import FOLDER, read_rounds
from aloft_flower.site import ADDRESS

_FACTS, _SITES, _HOME = "server.json", "sites", "flower"
_LOG = "server.log"
_POLL = 1.0  # seconds
Tell = Callable[[Mapping[str, Any]], None]


@contextmanager
def serving(folder: Path, address: str, sites: Sequence[str]) -> Iterator[dict[str, int]]:
    """Run a server while the context is open.

    Args:
        folder: The federation's; what is missing of certificates and keys is made in it.
        address: HOST:PORT, as sites reach it.
        sites: Their names. Each has a folder below `sites/`, which is to be taken to it; one that
            makes its own key gives the public one, `site.pub`, alone.

    Yields:
        The identity of each site.

    Raises:
        AloftError: the address is none or is taken, or a key cannot be registered.
    """
    host, port = _parse(address)
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.absolute()
    keys.make_certificate(folder, host)
    for name in sites:
        own = folder / _SITES / name
        keys.make_site_key(own)
        (own / keys.AUTHORITY).write_bytes((folder / keys.AUTHORITY).read_bytes())
        write_text(own / ADDRESS, f"{address}\n")
    if processes.is_listening(port):
        raise ConfigError(f"Port {port} is in use. Name another one, or end what listens there.")
    home, log = folder / _HOME, folder / _LOG
    write_text(folder / _FACTS, json.dumps({"port": port}) + "\n")
    is_local = host in ("localhost", "::1") or host.startswith("127.")
    command = [
        *(sys.executable, "-m", "aloft_flower.link"),
        *("--host", "127.0.0.1" if is_local else "0.0.0.0", "--port", str(port)),  # noqa: S104
        *("--ssl-certfile", str(folder / keys.CERTIFICATE)),
        *("--ssl-keyfile", str(folder / keys.SERVER_KEY)),
        *("--ssl-ca-certfile", str(folder / keys.AUTHORITY)),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
    ]
    env = processes.environment(home, {FOLDER: str(folder)})
    with processes.running(command, log, env) as link:
        if not processes.wait_for_port(link, port):
            raise DataError(f"Flower's SuperLink does not start. See {log}.")
        with Control(port, folder / keys.AUTHORITY) as control:
            found = {
                name: control.register(name, folder / _SITES / name / keys.PUBLIC_KEY)
                for name in sites
            }
        yield found


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f'The address is "{address}", but must be HOST:PORT, as sites reach it.')
    return host.strip("[]"), int(port)


def run_federation(folder: Path, config: RunConfig, tell: Tell) -> list[dict[str, Any]]:
    """Start the rounds of a federation whose server runs, and wait for their end.

    Args:
        folder: The federation's. A part that it holds is trained further.
        config: Its `federation`, its parts, and the base models and methods of all sites.
        tell: Called with what came of each round.

    Returns:
        What came of each round.

    Raises:
        AloftError: no server runs for the folder, or its rounds have ended early.
    """
    parts = federated_parts(config)
    _port_of(folder)  # before models are loaded
    for part in parts:
        _begin(folder / f"{part}.safetensors", config, part)
    shares = [SHARES_PART] if "embedder" in parts else []
    return follow_rounds(folder, config.federation, [*parts, *shares], tell)


def _port_of(folder: Path) -> int:
    """The port of a folder's server.

    Raises:
        DataError: none runs.
    """
    folder = folder.absolute()
    start = f"aloft federate server {folder} --address HOST:PORT --sites NAMES"
    missing = f"{folder} holds no federation. Start its server: {start}"
    port = int(read_json_object(folder / _FACTS, missing=missing, repair="")["port"])
    if not processes.is_listening(port):
        raise DataError(f"No server runs for {folder}. Start it: {start}")
    return port


def follow_rounds(
    folder: Path, config: FederationConfig, parts: Sequence[str], tell: Tell
) -> list[dict[str, Any]]:
    """Start the rounds over the weights in a federation's folder, and wait for their end.

    Args:
        folder: The federation's, which holds the weights to begin with.
        config: Rounds, strategy and bounds.
        parts: What is trained, one after the other, and last where wanted `SHARES_PART`.
        tell: Called with what came of each round.

    Returns:
        What came of each round.

    Raises:
        DataError: no server runs for the folder, or the rounds have ended early.
    """
    port, folder = _port_of(folder), folder.absolute()
    settings = {"config": config.model_dump(mode="json"), "parts": list(parts)}
    reported = known = len(read_rounds(folder))
    with Control(port, folder / keys.AUTHORITY) as control:
        run = control.start(settings)
        while True:
            state = control.state(run)
            found = read_rounds(folder)
            for one in found[reported:]:
                tell(one)
            reported = len(found)
            if state.has_ended:
                break
            time.sleep(_POLL)
    if state.fault:
        raise DataError(
            f"The federation has ended after {reported - known} rounds: {state.fault}. Run the "
            f"same command again: it continues with what was trained so far. See {folder / _LOG}."
        )
    return found[known:]


def _begin(file: Path, config: RunConfig, part: Part) -> None:
    """Draw the weights that a part begins with, where there are none of this model and method.

    Raises:
        DataError: the federation has trained another model, or by another method.
    """
    training = getattr(config, f"{part}_training")
    drawn = initial_weights(config.base_model(part), training, config.seed)
    if not file.exists():
        write_weights(file, drawn)
        return
    known = read_weights(file)
    is_same = known.base == drawn.base and {
        name: weights.shape for name, weights in known.tensors.items()
    } == {name: weights.shape for name, weights in drawn.tensors.items()}
    if not is_same:
        raise DataError(
            f"{file} was trained from another base model, or by another method or rank. Name the "
            "models and settings that it began with, or another folder."
        )
