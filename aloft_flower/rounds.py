"""The server of a federation: asks sites for updates round by round, checks and averages them.

It knows tensors, counts and names of sites. Flower runs it as its ServerApp, in a process of its
own.
"""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx, Strategy

from aloft.api import (
    SharedWeights,
    State,
    find_gains_fault,
    gains_key,
    no_gains,
    read_weights,
    write_weights,
)
from aloft.config import SHARES_PART, FederationConfig
from aloft_flower import checks

FOLDER = "ALOFT_FEDERATION"  # the environment variable that names the server's folder
FILE = "rounds.jsonl"
_LONGEST = 200  # characters of what a site reports
ARRAYS, CONFIG, METRICS, COUNT = "arrays", "config", "metrics", "num-examples"

server = ServerApp()


@server.main()  # type: ignore[untyped-decorator]
def _run(grid: Grid, context: Context) -> None:
    settings = json.loads(str(context.run_config["settings"]))
    folder = Path(os.environ[FOLDER])
    config = FederationConfig(**settings["config"])
    parts = settings["parts"]
    for part in parts:
        if part == SHARES_PART:
            run_shares(grid, folder, config)
        else:
            run_rounds(grid, folder, part, config, is_last=part == parts[-1])


@dataclass(slots=True, kw_only=True)
class Round:
    """What came of one round; a line of `rounds.jsonl`.

    Attributes:
        asked: Names of the sites that were asked.
        rows: By site that answered, the rows that it weighs; of shares its questions.
        refused: By site, why its update was left out.
        failed: By site, what it reported in place of an update.
        silent: Sites that had not answered in time, or were lost.
        bytes_sent: To all sites: weights alone, before encryption.
        bytes_received: From all sites, likewise.
    """

    part: str
    round: int
    rounds: int
    asked: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0


class Checked(Strategy):  # type: ignore[misc]
    """Averages by another strategy what passes the checks, and keeps count of each round.

    It stands before Flower's strategy among the base classes.

    Attributes:
        folder: Where the global part and the rounds are written.
        part: What is trained.
        config: The federation's settings.
        is_last: Whether sites may leave after this part.
    """

    folder: Path
    part: str
    config: FederationConfig
    is_last: bool

    def begin(self, folder: Path, part: str, config: FederationConfig, *, is_last: bool) -> None:
        """Name what is trained and where it is written."""
        self.folder, self.part, self.config, self.is_last = folder, part, config, is_last
        self._file = folder / f"{part}.safetensors"
        self._base = read_weights(self._file).base
        self._round = Round(part=part, round=0, rounds=config.rounds)
        self._earlier: float | None = None
        self._sent: State = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask all sites that are there, once there are enough of them."""
        config["sites"] = len(self._round.rows)
        messages = list(super().configure_train(server_round, arrays, config, grid))
        self._names = {node.node_id: node.name or str(node.node_id) for node in grid.get_nodes()}
        self._asked = [message.metadata.dst_node_id for message in messages]
        self._sent = state_of(arrays)
        self._started = time.monotonic()
        size = sum(len(array.data) for array in arrays.values())
        self._round = Round(
            part=self.part,
            round=server_round,
            rounds=self.config.rounds,
            asked=sorted(map(self._name, self._asked)),
            bytes_sent=size * len(messages),
        )
        return messages

    def _name(self, node: int) -> str:
        return self._names.get(node, str(node))

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Average what passes the checks.

        In place of a site that was lost the SuperLink answers, as itself.
        """
        messages = [one for one in replies if one.metadata.src_node_id in self._asked]
        kept = self._check(messages)
        answered = {message.metadata.src_node_id for message in messages}
        self._round.silent = sorted(self._name(n) for n in self._asked if n not in answered)
        arrays, metrics = super().aggregate_train(server_round, kept)
        if arrays is not None:
            mean = {name: weights.astype("float32") for name, weights in state_of(arrays).items()}
            arrays = record_of(mean)
            write_weights(self._file, SharedWeights(base=self._base, tensors=mean))
        self._round.seconds = round(time.monotonic() - self._started, 1)
        with (self.folder / FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self._round)) + "\n")
        return arrays, metrics

    def _check(self, messages: Iterable[Message]) -> list[Message]:
        """The replies to average; what the others lack is noted under their site's name."""
        sound: dict[int, Message] = {}
        norms: dict[int, float] = {}
        for message in messages:
            node = message.metadata.src_node_id
            if message.has_error():
                self._round.failed[self._name(node)] = printable(str(message.error.reason))
                continue
            arrays = list(message.content.array_records.values())
            self._round.bytes_received += sum(len(a.data) for one in arrays for a in one.values())
            fault, weights = self._read(message)
            if fault is None:
                sound[node], norms[node] = message, checks.norm_of(self._sent, weights)
            else:
                self._round.refused[self._name(node)] = fault
        outliers = {}
        if self.part != SHARES_PART:  # gains have bounds, and no usual size
            outliers = checks.find_outliers(norms, self.config.max_norm_ratio, self._earlier)
        for node, reason in outliers.items():
            self._round.refused[self._name(node)] = reason
        kept = {node: message for node, message in sound.items() if node not in outliers}
        if kept:
            self._earlier = median_low(norms[node] for node in kept)
        self._round.rows = {
            self._name(node): next(iter(message.content.metric_records.values()))[COUNT]
            for node, message in kept.items()
        }
        return list(kept.values())

    def _read(self, message: Message) -> tuple[str | None, State]:
        """What is wrong with a reply, and its weights."""
        arrays = list(message.content.array_records.values())
        metrics = list(message.content.metric_records.values())
        if len(arrays) != 1 or len(metrics) != 1 or set(metrics[0]) != {COUNT}:
            return "it does not hold one set of weights and one count", {}
        try:
            weights = state_of(arrays[0])
        except (TypeError, ValueError):
            return "its weights cannot be read", {}
        fault = checks.count_fault(metrics[0][COUNT]) or checks.find_fault(self._sent, weights)
        if fault is None and self.part == SHARES_PART:
            fault = find_gains_fault(weights)
        return fault, weights

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Give the last global part to all sites that are there, also to those that came late.

        Those of other rounds come with the next round's order.
        """
        del config
        if server_round < self.config.rounds:
            return []
        facts = {
            "part": self.part,
            "base": self._base,
            "rounds": self.config.rounds,
            "sites": len(self._round.rows),
            "rows": sum(self._round.rows.values()),
            "is-last": self.is_last,
        }
        messages = []
        for node in grid.get_node_ids():
            own = {"own-rows": self._round.rows.get(self._name(node), 0)}
            record = RecordDict({ARRAYS: arrays, CONFIG: ConfigRecord({**facts, **own})})
            messages.append(
                Message(content=record, message_type=MessageType.EVALUATE, dst_node_id=node)
            )
        return messages

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """Sites judge the global part for themselves, and report nothing of it."""
        for _ in replies:
            pass


class CheckedFedAvg(Checked, FedAvg):  # type: ignore[misc]
    """The mean of sites' weights, by rows (arXiv:1602.05629)."""


class CheckedFedProx(Checked, FedProx):  # type: ignore[misc]
    """The same, of sites that stay near the weights they were sent (arXiv:1812.06127)."""


class CheckedFedAdam(Checked, FedAdam):  # type: ignore[misc]
    """Adam on the server over the mean update (arXiv:2003.00295)."""


def strategy_of(config: FederationConfig) -> Checked:
    """The configured strategy."""
    common = {"min_train_nodes": config.min_sites, "min_available_nodes": config.min_sites}
    if config.strategy == "fedprox":
        return CheckedFedProx(proximal_mu=config.proximal_mu, **common)
    if config.strategy == "fedadam":
        return CheckedFedAdam(eta=config.server_learning_rate, **common)
    return CheckedFedAvg(**common)


def run_rounds(
    grid: Grid, folder: Path, part: str, config: FederationConfig, *, is_last: bool
) -> None:
    """Train one part for all rounds; the global part is written after each of them.

    Args:
        grid: Flower's connection to the sites.
        folder: Holds the part to begin with.
        part: "embedder", "generator" or `SHARES_PART`.
        config: The federation's settings.
        is_last: Whether sites may leave after it.
    """
    strategy = strategy_of(config)
    strategy.begin(folder, part, config, is_last=is_last)
    first = read_weights(folder / f"{part}.safetensors")
    order = {"part": part, "rounds": config.rounds, "base": first.base}
    strategy.start(
        grid=grid,
        initial_arrays=record_of(first.tensors),
        num_rounds=config.rounds,
        timeout=config.timeout,
        train_config=ConfigRecord(order),
    )


def run_shares(grid: Grid, folder: Path, config: FederationConfig) -> None:
    """Ask all sites once what shares gain with the shared embedder; sites may leave after it.

    Args:
        grid: Flower's connection to the sites.
        folder: Holds the shared embedder, which is trained.
        config: The federation's settings; gains are averaged whatever its strategy.
    """
    embedder = read_weights(folder / "embedder.safetensors")
    key = gains_key(embedder.base, embedder.tensors)
    shares = SharedWeights(base=key, tensors=no_gains())
    write_weights(folder / f"{SHARES_PART}.safetensors", shares)
    once = config.model_copy(update={"strategy": "fedavg", "rounds": 1})
    run_rounds(grid, folder, SHARES_PART, once, is_last=True)


def read_rounds(folder: Path) -> list[dict[str, Any]]:
    """What came of all rounds so far."""
    path = folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def printable(reason: str) -> str:
    """What a site reports, for a terminal: short, and without control characters."""
    return "".join(one if one.isprintable() else " " for one in reason[:_LONGEST])


def record_of(state: State) -> ArrayRecord:
    """Weights as Flower sends them."""
    return ArrayRecord({name: Array(weights) for name, weights in state.items()})


def state_of(record: ArrayRecord) -> State:
    """Weights as they came."""
    return {name: array.numpy() for name, array in record.items()}
