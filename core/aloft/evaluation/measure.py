"""Measures the trained parts, judges each of them and combines those that are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from aloft.config import Part
from aloft.evaluation.abstention import AbstentionCurve
from aloft.evaluation.answer_metrics import NO_GAINS, UNANSWERABLE
from aloft.evaluation.calibration import fit_relevance, fit_reranker
from aloft.evaluation.citations import CitationRule
from aloft.evaluation.evaluator import Evaluator
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
from aloft.evaluation.systems import Measured, System, SystemVariant, means_of
from aloft.retrieval.ranking import Ranking

SHIPPED = "what ships"
SHUFFLED = "generator, shuffled"
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

    def judge(
        self, part: Part, before: BySet, after: BySet, *, alone: Sequence[BySet] = ()
    ) -> None:
        self.verdicts.append(self.evaluator.judge(part, before, after, alone))
        self.compare(part, before, after)

    def compare(self, label: str, before: BySet, after: BySet) -> None:
        for name, without in before.items():
            known = {m: v for m, v in without.values.items() if m not in NO_GAINS}
            self.comparisons += [
                PartComparison(part=label, question_set=name, **asdict(gain))
                for gain in self.evaluator.compare(replace(without, values=known), after[name])
            ]


def measure_parts(evaluator: Evaluator, trained: Sequence[Part]) -> Measurements:
    """Measure every part before and after, judge each, and choose the combination that ships."""
    embedders = ["base", *(["tuned"] if "embedder" in trained else [])]
    rerankers = [evaluator.base_reranker] if evaluator.base_reranker != "none" else []
    rerankers += ["tuned"] if "reranker" in trained else []
    rerankers = [*(["body"] if evaluator.body else []), *rerankers]
    retrieval = evaluator.measure_retrieval(embedders, rerankers)
    judged = _Judged(evaluator)
    if "embedder" in trained:
        _judge_embedder(judged, retrieval)
    if "reranker" in trained:
        _judge_reranker(judged, retrieval)
    has_generator = "generator" in trained
    answers = _measure_shuffled(judged) if has_generator else []
    shipped = _measure_shipped(judged, has_generator=has_generator)
    return Measurements(
        questions=_count(evaluator),
        deciding=evaluator.deciding,
        retrieval=tuple(
            _retrieval_row(*key, evaluator, measured) for key, measured in retrieval.items()
        ),
        answers=tuple(answers),
        comparisons=(*shipped.comparisons, *judged.comparisons),
        verdicts=tuple(judged.verdicts),
        variants=tuple(shipped.variants),
        curves=tuple(
            curve
            for name in evaluator.questions
            for system in dict.fromkeys((evaluator.system_of(()), shipped.variants[0].system))
            for curve in evaluator.share_curves(name, system)
        ),
        abstention=tuple(shipped.curves),
        probes=tuple(
            row
            for generator in _GENERATORS
            if has_generator and evaluator.config.probes
            for row in probe(evaluator, generator)
        ),
        forgetting=_measure_forgetting(evaluator) if has_generator else None,
    )


@dataclass(slots=True, kw_only=True)
class _Shipped:
    """The variants, the one that ships first, with its gains over nothing tuned.

    Attributes:
        curves: What abstaining comes to for both generators, behind the parts that ship.
    """

    variants: list[SystemVariant]
    comparisons: list[PartComparison]
    curves: list[AbstentionCurve] = field(default_factory=list)


def _measure_shipped(judged: _Judged, *, has_generator: bool) -> _Shipped:
    """What ships over nothing tuned.

    A generator is judged on what the parts that ship retrieve, in their order.
    """
    evaluator, whole = judged.evaluator, _Judged(judged.evaluator)
    first, *rest = evaluator.measure_variants(judged.kept)
    first = replace(
        first,
        relevance=fit_relevance(evaluator, first.system, unanswerable=list(evaluator.unanswerable)),
        reranker_relevance=fit_reranker(evaluator, first.system),
    )
    variants = [first, *rest]
    untuned = {name: evaluator.rank(name, evaluator.system_of(())) for name in evaluator.questions}
    shipped = {name: evaluator.rank_shipped(name, judged.kept) for name in evaluator.questions}
    sides = ({n: evaluator.measure_ranking(n, one[n]) for n in one} for one in (untuned, shipped))
    whole.compare(SHIPPED, *sides)
    curves = list[AbstentionCurve]()
    if has_generator:
        before = _answer(evaluator, untuned, evaluator.system_of(()), "base")
        base, tuned = (
            _answer(evaluator, shipped, variants[0].system, which) for which in _GENERATORS
        )
        judged.judge("generator", base.measured, tuned.measured)
        is_kept = "generator" in judged.kept
        after = tuned if is_kept else base
        whole.compare(SHIPPED, before.measured, after.measured)
        whole.compare(SHIPPED, before.declined, after.declined)
        first = variants[0]
        ships = _with_answers(first, after)
        if is_kept:
            ships = replace(ships, parts=(*first.parts, "generator"))
        others = [v for v in variants if v.parts != first.parts or (is_kept and not v.parts)]
        others = [v if v.parts else _with_answers(v, before) for v in others]
        variants = [ships, *others]
        curves = [*base.curves, *tuned.curves]
    return _Shipped(variants=variants, comparisons=whole.comparisons, curves=curves)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """A generator's answers from what was retrieved.

    Attributes:
        measured: By question set.
        declined: Whether it abstains from the user's questions that no passage answers; empty where
            there are none.
        rule: By what it cites or abstains.
        deciding: The question set that decides.
    """

    measured: BySet
    declined: BySet
    rule: CitationRule | None
    deciding: str

    @property
    def curves(self) -> list[AbstentionCurve]:
        """What abstaining comes to, by question set.

        The deciding one also has the share declined of the questions that no passage answers.
        """
        found = [one.abstention for one in self.measured.values() if one.abstention]
        means = [means_of(one.values)[UNANSWERABLE] for one in self.declined.values()]
        share = means[0] if means else None
        return [
            replace(curve, unanswerable=share) if curve.question_set == self.deciding else curve
            for curve in found
        ]


def _answer(
    evaluator: Evaluator, rankings: Mapping[str, Ranking], system: System, generator: str
) -> _Answers:
    """A generator's answers from what a system retrieved; those of the deciding set come first."""
    names = sorted(rankings, key=lambda name: name != evaluator.deciding)
    most = evaluator.config.max_stack_questions
    found = {
        name: evaluator.measure_end_to_end(name, system, rankings[name], generator, most)
        for name in names
    }
    rule = evaluator.citation_rule(generator)
    declined = evaluator.measure_declined(system, generator, rule) if rule else None
    return _Answers(
        measured={name: found[name] for name in rankings},
        declined={"human": declined} if declined else {},
        rule=rule,
        deciding=evaluator.deciding,
    )


def _with_answers(variant: SystemVariant, answers: _Answers) -> SystemVariant:
    """A variant of what retrieves, with what answers."""
    means = means_of(answers.measured[variant.question_set].values)
    rule = answers.rule
    return replace(
        variant,
        metrics={**variant.metrics, **means},
        order_weight=rule.order_weight if rule else None,
        abstention_threshold=rule.threshold if rule else None,
        abstention_relevance=rule.relevance if rule else None,
    )


def _count(evaluator: Evaluator) -> dict[str, QuestionCounts]:
    return {
        name: QuestionCounts(
            questions=len(split.documents),
            documents=len(set(split.documents)),
            is_crossed=split.is_crossed,
            are_sections=split.are_sections,
        )
        for name, split in evaluator.splits.items()
    }


def _retrieval_row(
    name: str, system: System, evaluator: Evaluator, measured: Measured
) -> RetrievalRow:
    dense = late = None
    if system.retriever == "hybrid":
        dense = evaluator.mean_share(name, partial(evaluator.dense_share, system.embedder))
    if system.reranker != "none":
        late = evaluator.mean_share(name, partial(evaluator.rerank_share, system))
    return RetrievalRow(
        question_set=name,
        retriever=system.retriever,
        embedder=system.embedder,
        reranker=system.reranker,
        dense_share=dense,
        rerank_share=late,
        n=measured.n,
        metrics=means_of(measured.values),
    )


def _of(retrieval: Retrieval, system: System) -> dict[str, Measured]:
    """What was measured of one system, by question set."""
    return {name: measured for (name, other), measured in retrieval.items() if other == system}


def _judge_embedder(judged: _Judged, retrieval: Retrieval) -> None:
    """Judge the embedder by itself and by the stack with it, whose reranker may be its body."""
    systems = judged.evaluator.system_of(()), judged.evaluator.with_embedder
    stacks = [_of(retrieval, system) for system in systems]
    alone = [_of(retrieval, System("dense", which, "none")) for which in ("base", "tuned")]
    judged.judge("embedder", *stacks, alone=alone)
    judged.compare("embedder alone", *alone)
    lexical = _of(retrieval, System("bm25", "none", "none"))
    hybrid = _of(retrieval, System("hybrid", "tuned", "none"))
    judged.compare("tuned hybrid over BM25", lexical, hybrid)


def _judge_reranker(judged: _Judged, retrieval: Retrieval) -> None:
    """Judge the reranker by the stack with it, over what reranked before.

    The embedder's body has been judged with it: one model is kept or refused as one.
    """
    if judged.evaluator.shares_body:
        whole = judged.verdicts[-1]
        reason = f"it is the embedder's body: {whole.reason}"
        judged.verdicts.append(replace(whole, part="reranker", reason=reason))
        bare, body = (_of(retrieval, System("hybrid", "tuned", one)) for one in ("none", "tuned"))
        judged.compare("tuned reranking over none", bare, body)
        return
    embedder = "tuned" if "embedder" in judged.kept else "base"
    rerankers = judged.evaluator.base_reranker, "tuned"
    stacks = (_of(retrieval, System("hybrid", embedder, which)) for which in rerankers)
    judged.judge("reranker", *stacks)


def _measure_shuffled(judged: _Judged) -> list[AnswerRow]:
    """Both generators on shuffled passages, as the paper does; returns the rows of the report."""
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
    judged.compare(SHUFFLED, *by_generator.values())
    if asked:
        judged.compare(SHUFFLED, {"human": asked["base"]}, {"human": asked["tuned"]})
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
