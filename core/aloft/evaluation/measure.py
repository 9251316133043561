"""Measures the trained parts, judges each of them and combines those that are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from aloft.config import Part, RunConfig
from aloft.evaluation.answer_metrics import NO_GAINS
from aloft.evaluation.evaluator import Evaluator, Measured, System, means_of
from aloft.evaluation.forgetting import FOLLOWED, INSTRUCTIONS, TEXTS, measure_forgetting
from aloft.evaluation.gate import Verdict
from aloft.evaluation.probes import probe
from aloft.evaluation.report import (
    AnswerRow,
    Forgetting,
    Measurements,
    PartComparison,
    Perplexity,
    QuestionCounts,
    RetrievalRow,
)

_GENERATORS = ("base", "tuned")
Retrieval = Mapping[tuple[str, System], Measured]
BySet = Mapping[str, Measured]


@dataclass(slots=True)
class _Judged:
    """Verdicts and comparisons so far."""

    evaluator: Evaluator
    verdicts: list[Verdict] = field(default_factory=list)
    comparisons: list[PartComparison] = field(default_factory=list)

    @property
    def kept(self) -> list[Part]:
        return [verdict.part for verdict in self.verdicts if verdict.is_kept]

    def judge(self, part: Part, before: BySet, after: BySet) -> None:
        self.verdicts.append(self.evaluator.judge(part, before, after))
        self.compare(part, before, after)

    def compare(self, label: str, before: BySet, after: BySet) -> None:
        for name, without in before.items():
            known = {m: v for m, v in without.values.items() if m not in NO_GAINS}
            self.comparisons += [
                PartComparison(part=label, question_set=name, **asdict(gain))
                for gain in self.evaluator.compare(replace(without, values=known), after[name])
            ]


def measure_parts(evaluator: Evaluator, config: RunConfig, trained: Sequence[Part]) -> Measurements:
    """Measure every part before and after, judge it, and combine the parts that are kept."""
    embedders = ["base", *(["tuned"] if "embedder" in trained else [])]
    rerankers = ["base"] if evaluator.base_reranker == "base" else []
    rerankers += ["tuned"] if "reranker" in trained else []
    retrieval = evaluator.measure_retrieval(embedders, rerankers)
    judged = _Judged(evaluator)
    if "embedder" in trained:
        _judge_embedder(judged, retrieval)
    if "reranker" in trained:
        _judge_reranker(judged, retrieval, without="base" if config.reranker else "none")
    has_generator = "generator" in trained
    answers = _judge_generator(judged) if has_generator else []
    return Measurements(
        questions=_count(evaluator),
        deciding=evaluator.deciding,
        retrieval=tuple(
            _retrieval_row(*key, evaluator, measured) for key, measured in retrieval.items()
        ),
        answers=tuple(answers),
        comparisons=tuple(judged.comparisons),
        verdicts=tuple(judged.verdicts),
        variants=tuple(evaluator.measure_variants(judged.kept, has_generator=has_generator)),
        probes=tuple(
            row
            for generator in _GENERATORS
            if has_generator and evaluator.config.probes
            for row in probe(evaluator, generator)
        ),
        forgetting=_measure_forgetting(evaluator) if has_generator else None,
    )


def _count(evaluator: Evaluator) -> dict[str, QuestionCounts]:
    return {
        name: QuestionCounts(
            validation=len(split.validation),
            test=len(split.test),
            documents=len(set(split.documents_of(split.test))),
            is_parted=split.is_parted,
        )
        for name, split in evaluator.splits.items()
    }


def _retrieval_row(
    name: str, system: System, evaluator: Evaluator, measured: Measured
) -> RetrievalRow:
    dense = evaluator.dense_share(system.embedder) if system.retriever == "hybrid" else None
    late = evaluator.rerank_share(system) if system.reranker != "none" else None
    return RetrievalRow(
        question_set=name,
        retriever=system.retriever,
        embedder=system.embedder,
        reranker=system.reranker,
        dense_share=evaluator.mean_share(name, dense) if dense else None,
        rerank_share=evaluator.mean_share(name, late) if late else None,
        n=measured.n,
        metrics=means_of(measured.values),
    )


def _of(retrieval: Retrieval, system: System) -> dict[str, Measured]:
    """What was measured of one system, by question set."""
    return {name: measured for (name, other), measured in retrieval.items() if other == system}


def _judge_embedder(judged: _Judged, retrieval: Retrieval) -> None:
    base, tuned = (_of(retrieval, System("dense", which, "none")) for which in ("base", "tuned"))
    judged.judge("embedder", base, tuned)
    lexical = _of(retrieval, System("bm25", "none", "none"))
    hybrid = _of(retrieval, System("hybrid", "tuned", "none"))
    judged.compare("tuned hybrid over BM25", lexical, hybrid)


def _judge_reranker(judged: _Judged, retrieval: Retrieval, without: str) -> None:
    first = System("hybrid", "tuned" if "embedder" in judged.kept else "base", "none")
    before, after = (
        _of(retrieval, replace(first, reranker=reranker)) for reranker in (without, "tuned")
    )
    judged.judge("reranker", before, after)


def _judge_generator(judged: _Judged) -> list[AnswerRow]:
    """Judge the generator by all test questions; returns the rows of the report."""
    evaluator = judged.evaluator
    found: dict[tuple[str, str], dict[str, Measured]] = {}
    asked: dict[str, Measured] = {}
    for generator in _GENERATORS:
        for name in evaluator.questions:
            found[generator, name] = evaluator.measure_answers(name, generator)
        unanswerable = evaluator.measure_unanswerable(generator)
        asked |= {generator: unanswerable} if unanswerable else {}
    rows = []
    by_generator: dict[str, dict[str, Measured]] = {generator: {} for generator in _GENERATORS}
    # every generator has replied before the untuned one is loaded to read the replies
    for (generator, name), groups in found.items():
        grounded = evaluator.measure_grounding(name, generator) if evaluator.form.cites else {}
        for label, measured in groups.items():
            whole = measured.with_values(grounded.get(label, {}))
            rows += [_answer_row(generator, label, whole)] if whole.n else []
            if label == "all":
                by_generator[generator][name] = whole
    judged.judge("generator", by_generator["base"], by_generator["tuned"])
    if asked:
        judged.compare("generator", {"human": asked["base"]}, {"human": asked["tuned"]})
    return rows + [
        _answer_row(which, "unanswerable", measured) for which, measured in asked.items()
    ]


def _answer_row(generator: str, label: str, measured: Measured) -> AnswerRow:
    return AnswerRow(
        question_set=measured.question_set,
        generator=generator,
        questions=label,
        n=measured.n,
        metrics=means_of(measured.values),
    )


def _measure_forgetting(evaluator: Evaluator) -> Forgetting:
    before, after = (
        measure_forgetting(partial(evaluator.reply, which), partial(evaluator.read, which))
        for which in _GENERATORS
    )
    questions = [asked for asked, _ in INSTRUCTIONS]
    measured = [
        Measured(question_set="", values={FOLLOWED: check.followed}, documents=questions)
        for check in (before, after)
    ]
    (followed,) = evaluator.compare(*measured)
    return Forgetting(
        perplexity=Perplexity(before=before.perplexity, after=after.perplexity, n=len(TEXTS)),
        instructions=followed,
    )
