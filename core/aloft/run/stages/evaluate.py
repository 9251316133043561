"""Measures the parts before and after, judges each, and combines those that are kept."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aloft.backends.checking import has_tokens, reads_pairs
from aloft.backends.loading import trained_on
from aloft.config import PARTS, Part, RunConfig
from aloft.config.strategies import phases_of
from aloft.corpus.sections import Sections
from aloft.corpus.windows import Windows
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.measure import measure_parts
from aloft.evaluation.report import Measurements, measurements_to_json
from aloft.evaluation.shared_shares import expected_from_json
from aloft.evaluation.splits import split_questions
from aloft.prompts.citation import Format
from aloft.prompts.formats import format_of
from aloft.protocols import Floats, Prompt
from aloft.records import LabelledQuestion
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.relevance import UNRELATED
from aloft.run.context import Context, Inputs
from aloft.run.federated_parts import EXPECTED_GAINS, with_expected
from aloft.run.stage import Fact, Model, Resources, Setup, To, Value, stage

ASKED = ("passages", "held_out", "sections", "questions")
"""What an evaluator reads beside the parts."""


def trained_parts(setup: Setup) -> tuple[Part, ...]:
    """The parts that a run trains, in the order of its phases."""
    phases = phases_of(setup.config.strategy, setup.config.parts)
    return tuple(part for phase in phases for part in phase.trains)


def _inputs(setup: Setup) -> tuple[str, ...]:
    return with_expected(setup, (*ASKED, *trained_parts(setup)))


def _models(setup: Setup) -> dict[str, Model]:
    """The parts, and the teacher that a generator is compared with."""
    trains = "generator" in trained_parts(setup)
    teacher = {"teacher": Model(setup.config.teacher, "teacher")} if trains else {}
    return base_models(setup) | teacher


def reads_after_body(config: RunConfig) -> bool:
    """Whether a configured reranker reads what the embedder's body has ordered.

    It reads a question and a passage together, and so each passage anew, which takes long. One
    that compares vectors of tokens takes the body's place.
    """
    reranker = config.reranker
    return reranker is not None and reads_pairs(reranker) and has_tokens(config.embedder)


def base_models(setup: Setup) -> dict[str, Model]:
    """The parts as they are before training."""
    config = setup.config
    start = config.generator_training.init_adapter
    found = {"embedder": Model(config.embedder, "embedder")}
    if config.reranker is not None or has_tokens(config.embedder):
        found["reranker"] = Model(config.reranker or config.embedder, "reranker")
    if reads_after_body(config):
        found["body"] = Model(config.embedder, "reranker")
    if "generator" in config.parts or config.strategy != "independent":
        adapter = Path(start) if start else None
        found["generator"] = Model(config.generator_model, "generator", adapter)
    return found


def measuring(config: RunConfig) -> dict[str, Any]:
    """The settings that `build_evaluator` reads."""
    return {
        "evaluation": config.evaluation.decisive,
        "training_sets": config.training_sets,
        "seed": config.seed,
        "window_tokens": config.passages.window_tokens,
        "keeps_index": config.embedder_training.keeps_index,
        "untuned_body": config.reranker is None,
        "takes_body": config.takes_body,
    }


@stage(
    name="evaluate",
    version=13,
    doing="measuring",
    inputs=_inputs,
    output={"measured": Value("work/stages/measured.json", Measurements)},
    settings=lambda config: {**measuring(config), "parts": config.parts},
    models=_models,
    resources=Resources(gpu=True),
)
def evaluate(context: Context, part: Inputs) -> Iterator[To | Fact]:
    """Figures, comparisons, verdicts and the system variants, the one that ships first."""
    trained = [name for name in PARTS if name in part]
    sources = Sources(context, part)
    evaluator = build_evaluator(context, part, sources)
    yield To("measured", measurements_to_json(measure_parts(evaluator, trained)))
    yield Fact("kept", 0)
    yield Fact("indexing", sources.indexing("tuned" if "embedder" in part else "base"))


def build_evaluator(
    context: Context, part: Inputs | Mapping[str, Any], sources: "Sources"
) -> Evaluator:
    """What measures, with every encode, score and reply kept in the run folder."""
    settings = context.settings
    human: list[LabelledQuestion] = list(part["questions"])
    answered = [question for question in human if question.passage_ids]
    questions = {"synthetic": list(part["held_out"])}
    if answered:
        questions = {"human": answered, **questions}
    return Evaluator(
        passages=part["passages"],
        questions=questions,
        splits=split_questions(
            questions, part["passages"], Sections(part["sections"]), seed=settings["seed"]
        ),
        unanswerable=[one.question for one in human if not one.passage_ids],
        config=settings["evaluation"],
        sets=settings["training_sets"],
        seed=settings["seed"],
        encode=sources.encode,
        index=sources.index,
        score=sources.score,
        reply=sources.reply,
        choose=sources.choose,
        read=sources.read,
        base_reranker="base" if context.has("reranker") else "none",
        untuned_body=settings["untuned_body"],
        shares_body=settings["takes_body"],
        unrelated=sources.unrelated,
        indexes=context.indexes,
        body=sources.body if context.has("body") else None,
        expected=expected_from_json(part[EXPECTED_GAINS]) if EXPECTED_GAINS in part else {},
        outgrows_teacher=context.has("teacher") and context.outgrows("generator"),
    )


class Sources:
    """The parts, "base" or "tuned", and what they return."""

    def __init__(self, context: Context, part: Inputs | Mapping[str, Any]) -> None:
        self._context = context
        self._part = part
        self._windows: Windows | None = None
        self._indexes: dict[str, DenseIndex] = {}

    def _folder(self, name: Part, which: str) -> Path | None:
        """A trained part's folder; None: the part as it was."""
        folder: Path | None = self._part[name] if which == "tuned" else None
        return folder

    def encode(self, which: str, texts: Sequence[str]) -> Floats:
        """Vectors of questions."""
        return self._context.encode("queries", texts, trained=self._folder("embedder", which))

    def index(self, which: str) -> DenseIndex:
        """Vectors of the corpus; of a kept index they are the untuned embedder's."""
        which = "base" if self._context.settings["keeps_index"] else which
        if which not in self._indexes:
            if self._windows is None:
                self._windows = self._context.windows(self._part["passages"])
            folder = self._folder("embedder", which)
            self._indexes[which] = self._context.index(self._windows, trained=folder)
        return self._indexes[which]

    def unrelated(self, which: str) -> Floats:
        """Vectors of texts that answer hardly any question."""
        which = "base" if self._context.settings["keeps_index"] else which
        folder = self._folder("embedder", which)
        return self._context.encode("unrelated", UNRELATED, trained=folder)

    def indexing(self, which: str) -> dict[str, Any] | None:
        """How many texts of the corpus were embedded here, and in how many seconds."""
        which = "base" if self._context.settings["keeps_index"] else which
        if which not in self._indexes or self._windows is None:
            return None
        folder = self._folder("embedder", which)
        return self._context.indexing(self._windows.texts, trained=folder)

    def score(self, which: str, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Scores of (query, passage) pairs."""
        label = f"reranking ({which} reranker)"
        folder = self._folder("reranker", which)
        return self._context.reranker(label=label, trained=folder).score(pairs)

    def body(self, which: str, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Scores of (query, passage) pairs by an embedder's body."""
        label = f"reranking (body of the {which} embedder)"
        folder = self._folder("embedder", which)
        return self._context.reranker("body", label=label, trained=folder).score(pairs)

    def _generator(self, which: str, doing: str) -> Any:
        folder = self._folder("generator", which)
        trained = trained_on(self._context.name("generator"), folder) if folder else None
        label = f"{doing} ({which} generator)"
        return self._context.generator("generator", label=label, trained=trained)

    def reply(self, which: str, prompts: Sequence[Prompt]) -> list[str]:
        """Replies, each before any stop string of the format."""
        settings = self._context.settings
        replies = self._generator(which, "answering").complete(
            prompts,
            max_new_tokens=settings["evaluation"].max_new_tokens,
            stop=self._form.stop,
        )
        return [reply.text for reply in replies]

    def choose(self, which: str, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """How likely replies begin with each choice."""
        generator = self._generator(which, "citing")
        chances: Floats = generator.choice_probabilities(prompts, choices)
        return chances

    @property
    def _form(self) -> Format:
        sets = self._context.settings["training_sets"]
        return format_of(sets.format, abstains=sets.abstains)

    def read(self, which: str, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Mean log-probabilities of replies."""
        logs = self._generator(which, "reading").token_logprobs(prompts, replies)
        return np.array([np.mean(some) for some in logs], np.float32)
