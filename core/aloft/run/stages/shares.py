"""Measures shares for the other sites of a federation, and reads what these have measured."""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

from aloft.backends.checking import has_tokens
from aloft.config import SHARES_PART, RunConfig
from aloft.evaluation.bootstrap import MIN_CLUSTERS
from aloft.evaluation.shared_shares import expect, expected_to_json
from aloft.run.context import Context, Inputs
from aloft.run.federated_parts import (
    EXPECTED_GAINS,
    facts_file,
    has_shared,
    is_federated,
    read_participation,
    weights_file,
)
from aloft.run.stage import Fact, Model, Resources, Setup, To, Value, stage
from aloft.run.stages.evaluate import ASKED, Sources, build_evaluator, measuring
from aloft.training.shared_weights import read_weights

_EMBEDDER = weights_file("embedder")
QUESTIONS = "questions"


def _settings(config: RunConfig) -> Mapping[str, Any]:
    """As all sites measure, whatever reranks at this one and however few its questions are."""
    return {
        **measuring(config),
        "evaluation": config.evaluation.decisive.model_copy(update={"min_human_questions": 1}),
        "training": config.embedder_training,
        "untuned_body": True,
        "takes_body": True,
    }


def _models(setup: Setup) -> dict[str, Model]:
    name = setup.config.embedder
    found = {"embedder": Model(name, "embedder")}
    return found | ({"reranker": Model(name, "reranker")} if has_tokens(name) else {})


@stage(
    name="share_gains",
    version=1,
    group=SHARES_PART,
    doing="measuring shares",
    when=is_federated("embedder"),
    inputs=ASKED,
    files=(_EMBEDDER,),
    output={"share_gains": Value("federation/share-gains.json")},
    settings=_settings,
    models=_models,
    resources=Resources(gpu=True),
)
def share_gains(context: Context, part: Inputs) -> Iterator[To | Fact]:
    """What lines gain on all labelled questions, with the untuned embedder and the shared one."""
    from aloft.training.federated import save_shared

    asked = [question for question in part["questions"] if question.passage_ids]
    if not asked:
        yield To("share_gains", {QUESTIONS: 0})
        return
    folder = context.scratch / "global"
    if not folder.exists():
        shared = read_weights(context.run / _EMBEDDER).tensors
        save_shared(context.name("embedder"), context.settings["training"], shared, folder)
    tuned = {"embedder": folder, "reranker": folder}  # the latter is its body
    known: Mapping[str, Any] = ChainMap(tuned, part)  # type: ignore[arg-type] # read by name alone
    evaluator = build_evaluator(context, known, Sources(context, known))
    documents = set(evaluator.splits["human"].documents)
    usable = len(asked) if len(documents) >= MIN_CLUSTERS else 0
    gains = evaluator.measure_gains() if usable else {}
    yield To("share_gains", {QUESTIONS: usable, **{n: v.tolist() for n, v in gains.items()}})
    yield Fact("kept", 1)


@stage(
    name=EXPECTED_GAINS,
    version=1,
    group=SHARES_PART,
    doing="reading shares of other sites",
    when=has_shared(SHARES_PART),
    files=(weights_file(SHARES_PART), facts_file(SHARES_PART)),
    output=Value("federation/expected-gains.json", dict[str, dict[str, list[Any]]]),
)
def expected_gains(context: Context, part: Inputs) -> Iterator[To | Fact]:
    """What this site expects of lines by what the others have measured."""
    del part
    others = read_weights(context.run / weights_file(SHARES_PART)).tensors
    facts = read_participation(context.run, SHARES_PART)
    yield To(EXPECTED_GAINS, expected_to_json(expect(others, facts.others, facts.sites)))
    yield Fact("kept", 1)
