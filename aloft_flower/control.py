"""Asks a running SuperLink, from its own machine, to register sites and to run rounds."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.cli.build import build_fab_from_disk
from flwr.cli.cli_client_interceptor import CliClientHttpInterceptor
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import ListRunsRequest, RegisterNodeRequest, StartRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from aloft.api import ConfigError, DataError

_APP = Path(__file__).parent / "app"


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run of Flower's is.

    Attributes:
        has_ended: Whether it has.
        fault: Why it failed; "": it did not.
        bytes_moved: What sites and server have sent each other.
    """

    has_ended: bool
    fault: str
    bytes_moved: int


class Control(AbstractContextManager["Control"]):
    """A connection to a SuperLink on this machine.

    Args:
        port: Where it listens.
        authority: Of its certificate.
    """

    def __init__(self, port: int, authority: Path) -> None:
        self._client: Any = ControlHttpClient.from_server_address(
            server_address=f"127.0.0.1:{port}",
            insecure=False,
            root_certificates=authority.read_bytes(),
            interceptors=[
                CliClientHttpInterceptor(),
                RuntimeVersionHttpInterceptor(component_name="flwr CLI"),
            ],
        )

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def register(self, name: str, public_key: Path) -> int:
        """Let a site in; returns its identity.

        Raises:
            ConfigError: the key is none that Flower takes, or is registered already.
        """
        try:
            key = load_ssh_public_key(public_key.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{public_key} holds no public key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ConfigError(
                f"{public_key} is no elliptic-curve key. Make one: ssh-keygen -t ecdsa -b 384"
            )
        request = RegisterNodeRequest(public_key=public_key_to_bytes(key), name=name)
        try:
            return int(self._client.RegisterNode(request).node_id)
        except httpx.HTTPStatusError as error:
            raise ConfigError(
                f"The key of {name} cannot be registered: {error.response.text}"
            ) from error

    def start(self, settings: Mapping[str, Any]) -> int:
        """Start a federation's rounds; returns the run's id.

        Raises:
            DataError: Flower refuses it.
        """
        content = build_fab_from_disk(_APP)
        bundle = Fab(hashlib.sha256(content).hexdigest(), content, {})
        request = StartRunRequest(
            fab=fab_to_proto(bundle),
            override_config=user_config_to_proto({"settings": json.dumps(settings)}),
        )
        try:
            reply = self._client.StartRun(request)
        except httpx.HTTPStatusError as error:
            raise DataError(f"Flower starts no run: {error.response.text}") from error
        return int(reply.run_id)

    def state(self, run: int) -> RunState:
        """How far a run is."""
        found = self._client.ListRuns(ListRunsRequest(run_id=run)).run_dict[run]
        has_ended = found.status.status == "finished"
        is_whole = found.status.sub_status == "completed"
        fault = "" if is_whole or not has_ended else found.status.details or "it was stopped"
        return RunState(has_ended, fault, found.bytes_sent + found.bytes_recv)
