"""A run folder as a site of a federation: trains on its rows, measures, keeps what is shared.

It knows nothing of networks; see `aloft_flower.site`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.packaged import resolve_model
from aloft.config import SHARES_PART, FederationConfig, Part, RunConfig
from aloft.errors import ConfigError, DataError
from aloft.evaluation.shared_shares import find_gains_fault, gains_key, leave_out
from aloft.files import write_text
from aloft.run.context import Context
from aloft.run.federated_parts import (
    BUDGET,
    Participation,
    facts_file,
    federated_sources,
    read_participation,
    weights_file,
)
from aloft.run.job import OpenRun
from aloft.run.stage import Setup
from aloft.run.stages.shares import QUESTIONS
from aloft.run.stages.training import graded, rows_of
from aloft.training.shared_weights import SharedWeights, State, read_weights, write_weights

FEDERATED: tuple[Part, ...] = ("embedder", "generator")
_METHODS: dict[Part, tuple[str, ...]] = {
    "embedder": ("lora", "query_lora", "query_adapter"),
    "generator": ("lora", "rslora", "dora", "qlora"),
}


def federated_parts(config: RunConfig) -> list[Part]:
    """The parts of a run that are to be trained by a federation.

    Raises:
        ConfigError: there are none, or one cannot be.
    """
    if config.strategy != "independent":
        raise ConfigError(
            f'strategy is "{config.strategy}", but a federation trains each part on its own rows. '
            'Set strategy to "independent".'
        )
    parts = [part for part in FEDERATED if part in config.parts]
    if not parts:
        raise ConfigError(
            f"A federation trains {' and '.join(FEDERATED)}, but parts names neither. The tuned "
            "embedder's body reranks where no reranker is configured."
        )
    if faults := [fault for part in parts if (fault := method_fault(config, part))]:
        raise ConfigError(f"{' '.join(faults)} Or choose other parts (--only).")
    return parts


def method_fault(config: RunConfig, part: Part) -> str:
    """Why a part's weights cannot be shared as it is trained; "": they can."""
    method = getattr(config, f"{part}_training").method
    if method not in _METHODS[part]:
        return (
            f'{part}_training.method is "{method}", which would send all weights. Set it to '
            f'"{_METHODS[part][0]}", with a learning rate about ten times as high.'
        )
    if part == "generator" and config.generator_training.init_adapter:
        return (
            "generator_training.init_adapter is set, but a federation begins with the base model. "
            "Leave it out, and do not continue from another run."
        )
    return ""


class FederatedSite:
    """Trains for a federation in an open run.

    Args:
        run: The site's run, with its documents; what is missing of its training sets is worked out.

    Attributes:
        config: The run's settings of federations.
        budget_file: Where it is kept what was spent of the privacy budget.
    """

    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self.config: FederationConfig = run.config.federation
        self.budget_file = run.folder / BUDGET
        self._facts: dict[str, Participation] = {}

    def prepare(self) -> None:
        """Work out the rows, before the server is told that the site is there.

        Raises:
            AloftError: something that the user can put right.
        """
        self._run.check()
        config = self._run.config
        able = [
            part for part in FEDERATED if part in config.parts and not method_fault(config, part)
        ]
        first = able[0] if able else federated_parts(config)[0]
        self._run.records(self._rows_of(first))  # a later part's may need an earlier part

    def fault(self, order: Mapping[str, Any]) -> str:
        """Why the site cannot do what is asked of it, in words that say nothing of it; "": it can.

        Args:
            order: "part": what is trained; "base": fingerprint of the model that it is added to.
        """
        part = order["part"]
        config = self._run.config
        if part == SHARES_PART:
            return self._shares_fault(order)
        if part not in FEDERATED or part not in config.parts:
            return "the site does not train this part"
        if method_fault(config, part):
            return "the site trains this part by another method"
        if order["base"] != fingerprint_folder(Path(resolve_model(config.base_model(part)))):
            return "the site has another base model"
        return ""

    def _shares_fault(self, order: Mapping[str, Any]) -> str:
        """What keeps the site from measuring shares."""
        file = self._run.folder / weights_file("embedder")
        shared = read_weights(file) if file.exists() else None
        if shared is None or order["base"] != gains_key(shared.base, shared.tensors):
            return "the site has another shared embedder, or another version that tries other lines"
        if self.config.clipping_norm is not None:
            return "the site clips or hides its updates, and sends no gains of shares"
        if not self._measured_gains()[QUESTIONS]:
            return "the site has no labelled questions about two documents or more"
        return ""

    def _measured_gains(self) -> Mapping[str, Any]:
        """What lines gain here, and on how many questions."""
        self._run.do("share_gains")
        found: Mapping[str, Any] = self._run.runner.read("share_gains")
        return found

    def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
        """Train shared weights on the site's rows, or measure what shares gain.

        Args:
            order: "part", "rounds", "server-round" and, of FedProx, "proximal-mu".
            weights: As they were sent.

        Returns:
            The weights after training, and the number of rows; of shares gains, and questions.
        """
        part = order["part"]
        trained, count = self._measure() if part == SHARES_PART else self._train(order, weights)
        facts = self._participation(part, int(order["server-round"]) - 1)
        facts.rounds = int(order["rounds"])
        facts.answered += 1
        facts.rows = count
        facts.bytes_received += size_of(weights)
        facts.bytes_sent += size_of(trained)
        self._keep(part, facts)
        return trained, count

    def _participation(self, part: str, done: int) -> Participation:
        """What this site has done so far; also what it did before it was started again.

        Args:
            part: What is trained.
            done: Rounds of the federation that have ended.
        """
        if part not in self._facts:
            is_known = (self._run.folder / facts_file(part)).exists()
            known = read_participation(self._run.folder, part) if is_known else Participation()
            goes_on = known.round < known.rounds and known.round <= done
            self._facts[part] = known if goes_on else Participation()
        return self._facts[part]

    def _keep(self, part: str, facts: Participation) -> None:
        write_text(self._run.folder / facts_file(part), json.dumps(asdict(facts)) + "\n")

    def _measure(self) -> tuple[State, int]:
        found = dict(self._measured_gains())
        questions = int(found.pop(QUESTIONS))
        return {name: np.array(found[name], np.float32) for name in found}, questions

    def _train(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
        from aloft.training.federated import local_update

        part, config = order["part"], self._run.config
        rows: Any = list(self._run.records(self._rows_of(part)))
        training = getattr(config, f"{part}_training")
        if part == "embedder":
            rows = graded(self._context_of(part), rows, training)
        self._run.shared.models.release()
        return local_update(
            rows,
            config.base_model(part),
            training,
            weights,
            seed=config.seed,
            round_number=int(order["server-round"]),
            rounds=int(order["rounds"]),
            proximal_mu=float(order.get("proximal-mu", 0.0)),
            progress=self._run.shared.progress,
        )

    def take(self, facts: Mapping[str, Any], weights: State) -> None:
        """Keep the global part, for the site to judge.

        Args:
            facts: "part", "base", "round", "rounds" and "sites"; of the last round also "rows" of
                all sites together, and "own-rows" that are this one's.
            weights: The global part; of shares the average gains, of which this site's are taken
                out: they enter by its own fit.

        Raises:
            DataError: they cannot be gains.
        """
        part: str = facts["part"]
        own = self._participation(part, facts["round"])
        own.round, own.rounds, own.sites = facts["round"], facts["rounds"], facts["sites"]
        if own.round == own.rounds:  # others came with the order to train further
            own.bytes_received += size_of(weights)
        if part == SHARES_PART:
            if reason := find_gains_fault(weights):
                raise DataError(f"The server has sent no gains of shares: {reason}.")
            counted = int(facts["own-rows"])
            mine = self._measure()[0] if counted else {}
            weights = leave_out(weights, int(facts["rows"]), mine, counted)
            own.others = int(facts["rows"]) - counted
            own.sites -= bool(counted)
        folder = self._run.folder
        shared = SharedWeights(base=facts["base"], tensors=weights)
        write_weights(folder / weights_file(part), shared)
        self._keep(part, own)
        sources = self._run.runner.setup.sources | federated_sources(folder)
        self._run.runner.arrange(Setup(self._run.config, sources))

    def _context_of(self, part: Part) -> Context:
        """Of the stage that trains a part here alone."""
        stages = self._run.runner.graph.stages
        name = f"local_{part}"  # once the run has a shared part, too
        return Context(stages[name if name in stages else part], self._run.shared)

    def _rows_of(self, part: Part) -> str:
        return rows_of(self._run.runner.setup, part)


def size_of(weights: State) -> int:
    """Bytes of some weights."""
    return sum(values.nbytes for values in weights.values())
