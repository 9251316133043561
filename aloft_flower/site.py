"""A site of a federation: trains what it is sent on its own rows, and answers with weights.

The process that sees documents reaches this machine alone. Flower's SuperNode, which reaches the
server, is a process of its own and sees weights and counts. It runs in Flower's isolation mode
"process", in which it waits for a program that fetches its tasks: this one. So a site runs the code
that is installed there, whatever bundle a server names; `--trusted-entities`, with which Flower
checks bundles, knows only those that are published in its hub.
"""

import hashlib
import logging
import secrets
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
from flwr.app import Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import (
    pull_task_input,
    push_message,
    push_task_output,
)

from aloft.api import (
    AloftError,
    DataError,
    PrivacyBudget,
    State,
    noise_multiplier,
    write_text,
)
from aloft.config import FederationConfig
from aloft_flower import processes
from aloft_flower.checks import norm_of
from aloft_flower.keys import AUTHORITY, SITE_KEY
from aloft_flower.privacy import protect
from aloft_flower.rounds import ARRAYS, CONFIG, COUNT, METRICS, record_of, state_of

ADDRESS = "server.txt"
_POLL = 0.5  # seconds
_AGAIN = 10.0  # seconds before a lost SuperNode is started again
_FORGOTTEN = 90.0  # seconds after which a server no longer counts a site as there that was killed
_LINGER = 4.0  # seconds in which the SuperNode passes the last answer on
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_NOT_ACTIVATED, _ADMITTED = "[code: 2004]", "SuperNode ID: "  # in a SuperNode's log
_REFUSED = {
    _NOT_ACTIVATED: "The server does not know this site's key. Ask its coordinator to register it.",
    "CERTIFICATE_VERIFY_FAILED": "The server's certificate is not vouched for by {authority}. "
    "Check the address, and that ca.pem is the server's.",
}
logger = logging.getLogger(__name__)


class Participant(Protocol):
    """What trains at a site; see `aloft.run.federation.FederatedSite`."""

    config: FederationConfig
    budget_file: Path

    def fault(self, order: Mapping[str, Any]) -> str:
        """Why it cannot do what is asked of it, in words that say nothing of it; "": it can."""
        ...

    def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
        """The weights after training on the site's rows, and how many these are."""
        ...

    def take(self, facts: Mapping[str, Any], weights: State) -> None:
        """Keep the global part, and what is known of the federation."""
        ...


class RefusalError(Exception):
    """Why a site does not answer; the text is sent, so it holds nothing of the site's."""


def take_part(participant: Participant, joined: Path, home: Path) -> None:
    """Connect to a federation's server, and answer it until the federation has ended.

    Args:
        participant: What trains.
        joined: The site's folder: `server.txt`, `ca.pem` and `site.key`.
        home: Where Flower keeps its files.

    Raises:
        AloftError: the folder is not complete, or the server refuses the site.
    """
    address, authority, key = _read_joined(joined)
    log, secret = home / "supernode.log", secrets.token_bytes(32)
    home.mkdir(parents=True, exist_ok=True)
    secret_file = home / "secret"
    secret_file.touch(mode=0o600)
    secret_file.write_bytes(secret)
    port = processes.free_port()
    command = [
        str(Path(sys.executable).parent / "flower-supernode"),
        *("--superlink", address),
        *("--root-certificates", str(authority), "--auth-supernode-private-key", str(key)),
        *("--isolation", "process", "--port", str(port)),
        *("--superexec-auth-secret-file", str(secret_file)),
    ]
    application, admission = Application(participant), Admission(home / "admitted", log, joined)
    while not application.has_ended:
        log.unlink(missing_ok=True)
        with processes.running(command, log, processes.environment(home)) as node:
            has_started = processes.wait_for_port(node, port)
            if has_started:
                _answer(application, node, port, secret, admission)
        if application.has_ended:
            return
        if not admission.is_coming_back():
            _raise_if_refused(log, authority)
            if not has_started:
                raise AloftError(f"Flower's SuperNode does not start. See {log}.")
        logger.warning("The connection is lost. It is tried again in %.0f s.", _AGAIN)
        time.sleep(_AGAIN)


def _read_joined(joined: Path) -> tuple[str, Path, Path]:
    """Address, certificate and key."""
    try:
        address = (joined / ADDRESS).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DataError(
            f"{joined} holds no {ADDRESS}. Name the folder that the coordinator made for this site."
        ) from error
    authority, key = joined / AUTHORITY, joined / SITE_KEY
    for file in (authority, key):
        if not file.exists():
            raise DataError(f"{joined} holds no {file.name}, which the connection needs.")
    return address, authority, key


class Admission:
    """Tells a site that its server still counts as there from one that it does not know.

    Flower's server refuses both in the same words: one that was killed with its SuperNode until it
    has missed two heartbeats.

    Args:
        file: Where it is kept that the server has let the site in.
        log: Of the site's SuperNode.
        joined: The site's folder.
    """

    def __init__(self, file: Path, log: Path, joined: Path) -> None:
        self._file, self._log = file, log
        names = (ADDRESS, AUTHORITY, SITE_KEY)
        content = b"".join((joined / name).read_bytes() for name in names)
        self._proof = hashlib.sha256(content).hexdigest()
        self._refused: float | None = None

    def note(self) -> None:
        """Keep in mind that the server has let the site in, once it has."""
        if self._refused is None and self._is_known:
            return
        if _ADMITTED in processes.read_tail(self._log):
            self._refused = None
            write_text(self._file, self._proof)

    @property
    def _is_known(self) -> bool:
        return self._file.exists() and self._file.read_text(encoding="utf-8") == self._proof

    def is_coming_back(self) -> bool:
        """Whether a refusal means that the site has been there until just now."""
        if not self._is_known or _NOT_ACTIVATED not in processes.read_tail(self._log):
            return False
        now = time.monotonic()
        self._refused = self._refused or now
        return now - self._refused < _FORGOTTEN


def _raise_if_refused(log: Path, authority: Path) -> None:
    said = processes.read_tail(log)
    for sign, meaning in _REFUSED.items():
        if sign in said:
            raise AloftError(meaning.format(authority=authority))


class Application:
    """Flower's ClientApp for a participant.

    Attributes:
        has_ended: Whether the server has given the last global part.
    """

    def __init__(self, participant: Participant) -> None:
        config = participant.config
        self._participant = participant
        self._budget = PrivacyBudget(
            file=participant.budget_file, epsilon=config.epsilon, delta=config.delta
        )
        self.has_ended = False
        self._client = ClientApp()
        self._client.train()(self._train)
        self._client.evaluate()(self._take)

    def answer(self, message: Message, context: Context) -> Message:
        """An answer, or an error that says nothing of what the site holds."""
        try:
            return self._client(message, context)
        except RefusalError as refusal:
            logger.warning("This round is left out: %s.", refusal)
            reason = str(refusal)
        except Exception:
            logger.exception("This round is left out.")
            reason = "the local training failed; the site's own log says why"
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)

    def _train(self, message: Message, context: Context) -> Message:
        order = dict(message.content[CONFIG])
        config, multiplier = self._participant.config, None
        if fault := self._participant.fault(order):
            raise RefusalError(fault)
        if config.epsilon is not None:
            multiplier = noise_multiplier(config.epsilon, config.delta, int(order["rounds"]))
            if not self._budget.allows(multiplier):
                raise RefusalError("the site's privacy budget is spent")

        def answer(received: Message, _: Context) -> Message:
            weights = state_of(received.content[ARRAYS])
            if (before := int(order["server-round"]) - 1) and order["sites"]:
                self._participant.take({**order, "round": before}, weights)
            trained, rows = self._participant.update(order, weights)
            record = {name: trained[name].copy() for name in weights}  # the mod reads them in order
            if config.clipping_norm is not None and not norm_of(weights, record):
                first = next(iter(record.values()))  # the mod divides by the update's norm
                first.flat[0] += np.float32(1e-12) + np.spacing(first.flat[0])
            if multiplier is not None:
                self._budget.spend(multiplier)
            counted = MetricRecord({COUNT: rows})
            content = RecordDict({ARRAYS: record_of(record), METRICS: counted})
            return Message(content, reply_to=received)

        if config.clipping_norm is None:
            return answer(message, context)
        return protect(config, multiplier)(message, context, answer)

    def _take(self, message: Message, _: Context) -> Message:
        facts = dict(message.content[CONFIG])
        last = {**facts, "round": facts["rounds"]}
        self._participant.take(last, state_of(message.content[ARRAYS]))
        self.has_ended = bool(facts["is-last"])
        content = RecordDict({METRICS: MetricRecord({COUNT: 1})})
        return Message(content, reply_to=message)


def _answer(
    application: Application, node: Any, port: int, secret: bytes, admission: Admission
) -> None:
    """Fetch and answer the SuperNode's tasks until the federation, or the SuperNode, has ended."""
    signer = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=[_ACQUIRE])
    wanted = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    with ExitStack() as stack:
        client = stack.enter_context(_client(port, signer))
        while node.poll() is None:
            admission.note()
            try:
                found = client.AcquireTask(wanted)
            except httpx.HTTPError:
                found = None
            if found is None or not found.HasField("task"):
                if application.has_ended:
                    time.sleep(_LINGER)
                    return
                time.sleep(_POLL)
                continue
            with _client(port, RuntimeTokenHttpInterceptor(found.token)) as own:
                _work(application, own)


def _work(application: Application, client: RuntimeHttpClient) -> None:
    """Answer one task; the bundle that comes with it is not opened."""
    heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
    heartbeat.start()
    status, context = SubStatus.FAILED, None
    try:
        message, context, _, _ = pull_task_input(client)
        push_message(client, application.answer(message, context), context)
        status = SubStatus.COMPLETED
    except (httpx.HTTPError, RuntimeError) as error:
        logger.warning("A task could not be answered: %s", error)
    finally:
        push_task_output(client, context, status, "")
        heartbeat.stop()


def _client(port: int, interceptor: Any) -> Any:
    return RuntimeHttpClient.from_server_address(
        server_address=f"127.0.0.1:{port}",
        insecure=True,  # within this machine
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), interceptor],
    )
