"""Values per question of retrievers, generators and whole systems, and what is chosen by them.

All systems answer the same held-out questions. What is chosen for the questions of a fold is chosen
on those of the other folds (`aloft.evaluation.splits`). Texts are embedded once per embedder,
passages are reranked once per reranker, and a prompt that two systems share is answered once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aloft.config import PARTS, EvaluationConfig, Part, TrainingSetsConfig
from aloft.errors import ProbabilitiesError
from aloft.evaluation import answer_metrics, blending, retrieval_metrics
from aloft.evaluation.abstention import AbstentionCurve
from aloft.evaluation.answer_metrics import (
    ABSTENTION,
    ANSWERED,
    CITED_ANSWER,
    GROUNDED,
    UNANSWERABLE,
)
from aloft.evaluation.bootstrap import Comparison, compare
from aloft.evaluation.citations import CitationRule, CitedReadings, Readings, fit_rule
from aloft.evaluation.gate import METRICS, Verdict, judge_part
from aloft.evaluation.splits import Fold, QuestionSplit
from aloft.prompts.citation import CitedAnswer, Format, go_on_from
from aloft.prompts.formats import format_of
from aloft.protocols import Floats, Prompt
from aloft.randomness import deal_places, rng_for
from aloft.records import LabelledQuestion, Passage
from aloft.retrieval import citing
from aloft.retrieval.citing import declines
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.fusion import CoverageShare
from aloft.retrieval.ranking import Ranking, pairs_of, stack
from aloft.retrieval.relevance import Relevance
from aloft.retrieval.retriever import (
    FIRST_STAGE_DEPTH,
    Bm25Ranker,
    RetrievalSettings,
    Retriever,
    RetrieverName,
)

Values = Mapping[str, NDArray[np.float64]]
Questions = Mapping[str, Sequence[LabelledQuestion]]
_RANKED = METRICS["embedder"]


def means_of(values: Values) -> dict[str, float]:
    """Mean of each metric over the questions it applies to; a metric without any is left out."""
    defined = {metric: column[~np.isnan(column)] for metric, column in values.items()}
    return {metric: float(column.mean()) for metric, column in defined.items() if len(column)}


@dataclass(frozen=True, slots=True)
class System:
    """A retriever with "none", "base" or "tuned" parts.

    A base reranker is the configured one or, where none is, late interaction by the untuned
    embedder's body; a tuned one may be the tuned embedder's.
    """

    retriever: RetrieverName
    embedder: str
    reranker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Values of one system on questions of one set.

    Attributes:
        values: (questions,) per metric; NaN where a metric does not apply.
        documents: (questions,), the document that each question is about.
        abstention: Of a generator that may abstain, answering from what was retrieved.
    """

    question_set: str
    values: Values
    documents: Sequence[str]
    abstention: AbstentionCurve | None = None

    @property
    def n(self) -> int:
        """Number of questions."""
        return len(self.documents)

    def among(self, mask: NDArray[np.bool_]) -> "Measured":
        """The values of some of the questions."""
        return Measured(
            question_set=self.question_set,
            values={metric: column[mask] for metric, column in self.values.items()},
            documents=[d for d, is_in in zip(self.documents, mask, strict=True) if is_in],
        )

    def with_values(self, values: Values) -> "Measured":
        """The same questions with further metrics."""
        return replace(self, values={**self.values, **values})


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemVariant:
    """One on/off combination of the trained parts, end to end.

    Attributes:
        dense_share: Of its hybrid, chosen on all questions.
        rerank_share: Of its reranker, where there is one; likewise.
        order_weight: What the order of passages counts for in what its generator cites; see
            `aloft.retrieval.citing`. None: it has none, or one that cites by itself.
        abstention_threshold: Probability of "none" above which its generator declines; None: it
            does not abstain, or does so where no passage is likelier.
        relevance: What the scores of its passages are computed by; None: the default.
        reranker_relevance: What those of its reranker alone are computed by; None: they are not.
        metrics: Each question with what is chosen without its fold.
        n: Questions.
    """

    parts: tuple[Part, ...]
    system: System
    dense_share: CoverageShare
    rerank_share: CoverageShare
    question_set: str
    order_weight: float | None = None
    abstention_threshold: float | None = None
    relevance: Relevance | None = None
    reranker_relevance: Relevance | None = None
    metrics: Mapping[str, float]
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareCurve:
    """What a share is worth on a question set, were it the same for all questions.

    Attributes:
        share: "dense", of a hybrid's embedder, or "reranking", of a reranker over it.
        system: The share's.
        shares: Those tried.
        values: nDCG@10 at each.
        chosen: nDCG@10 with the shares that depend on the question.
    """

    question_set: str
    share: str
    system: System
    shares: Sequence[float]
    values: Sequence[float]
    chosen: float


@dataclass(frozen=True, slots=True)
class _KeptVectors:
    """Ranks by an embedder's vectors, which are kept elsewhere."""

    which: str
    encode: Callable[[str, Sequence[str]], Floats]
    index: Callable[[str], DenseIndex]

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        return self.index(self.which).rank(self.encode(self.which, questions), depth)


@dataclass(frozen=True, slots=True)
class _KeptScores:
    """A reranker whose scores are kept elsewhere."""

    fingerprint: str  # "base" or "tuned"
    kept: Callable[[str, Sequence[tuple[str, str]]], Floats]

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        return self.kept(self.fingerprint, pairs)


@dataclass(frozen=True, slots=True)
class _RankedOnce:
    """Remembers rankings and coverages: several systems share a first stage."""

    ranker: Bm25Ranker | _KeptVectors
    known: dict[int, tuple[dict[str, int], Ranking]] = field(default_factory=dict)
    covered: dict[str, float] = field(default_factory=dict)

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        rows, ranking = self.known.get(depth, ({}, None))
        missing = [text for text in dict.fromkeys(questions) if text not in rows]
        if missing or ranking is None:
            more = self.ranker.rank(missing, depth)
            rows.update({text: len(rows) + i for i, text in enumerate(missing)})
            ranking = more if ranking is None else stack(ranking, more)
            self.known[depth] = rows, ranking
        return ranking.of([rows[text] for text in questions])

    def coverage(self, questions: Sequence[str], ranking: Ranking) -> NDArray[np.float64]:
        if not isinstance(self.ranker, Bm25Ranker):
            raise TypeError("Vectors cover no words.")
        missing = [row for row, text in enumerate(questions) if text not in self.covered]
        asked = [questions[row] for row in missing]
        found = self.ranker.coverage(asked, ranking.of(missing)).tolist()
        self.covered.update(zip(asked, found, strict=True))
        return np.array([self.covered[text] for text in questions])


@dataclass(slots=True, kw_only=True)
class Evaluator:
    """What every measurement of a run needs.

    Attributes:
        questions: By the name of the set: "synthetic" and, where there are any, "human".
        splits: How each set is split; see `aloft.evaluation.splits`.
        unanswerable: The user's own questions that no passage answers.
        encode: Vectors of (embedder, questions), computed once and kept.
        index: Vectors of the passages by an embedder, computed once and kept.
        score: Scores of (reranker, pairs of query and passage), kept.
        reply: Replies of (generator, prompts), each computed once and kept.
        choose: Probabilities of (generator, prompts, choices), likewise; (prompts, choices).
        read: Mean log-likelihoods of (generator, prompts, replies), computed once and kept.
        base_reranker: "base", or "none" where nothing can rerank before training.
        shares_body: Whether the tuned reranker is the tuned embedder's body.
        unrelated: Vectors of `aloft.retrieval.relevance.UNRELATED` by an embedder, computed once
            and kept; None: scores are not fitted.
    """

    passages: Sequence[Passage]
    questions: Questions
    splits: Mapping[str, QuestionSplit]
    unanswerable: Sequence[str] = ()
    config: EvaluationConfig
    sets: TrainingSetsConfig
    seed: int
    encode: Callable[[str, Sequence[str]], Floats]
    index: Callable[[str], DenseIndex]
    score: Callable[[str, Sequence[tuple[str, str]]], Floats]
    reply: Callable[[str, Sequence[Prompt]], list[str]]
    choose: Callable[[str, Sequence[Prompt], Sequence[str]], Floats]
    read: Callable[[str, Sequence[Prompt], Sequence[str]], Floats]
    base_reranker: str = "none"
    shares_body: bool = False
    unrelated: Callable[[str], Floats] | None = None
    _rankings: dict[tuple[str, System], Ranking] = field(default_factory=dict)
    _rankers: dict[str, _RankedOnce] = field(default_factory=dict)
    _dense_shares: dict[tuple[str, Fold | None], CoverageShare] = field(default_factory=dict)
    _rerank_shares: dict[tuple[System, Fold | None], CoverageShare] = field(default_factory=dict)
    _rules: dict[str, CitationRule | None] = field(default_factory=dict)
    _columns: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._columns = {passage.id: i for i, passage in enumerate(self.passages)}

    @property
    def form(self) -> Format:
        """What generators are asked for."""
        return format_of(self.sets.format, abstains=self.sets.abstains)

    @property
    def deciding(self) -> str:
        """The question set that decides: the user's own where there are enough."""
        enough = len(self.questions.get("human", ())) >= self.config.min_human_questions
        return "human" if enough else "synthetic"

    def gold(self, name: str) -> list[frozenset[int]]:
        """Columns of the right passages, per question of a set."""
        return [
            frozenset(self._columns[i] for i in question.passage_ids)
            for question in self.questions[name]
        ]

    def rank(self, name: str, system: System) -> Ranking:
        """A system's ranking for a question set; with shares that are chosen without its fold."""
        key = (name, system)
        if key not in self._rankings:
            texts = [question.question for question in self.questions[name]]
            for which in {"bm25", system.embedder} - {"none"}:  # at once, not fold by fold
                self._ranker(which).rank(texts, FIRST_STAGE_DEPTH)
            self.rerank_share(system)  # likewise: the folds need scores of few other pairs
            folds = self._folds(name)
            parts = [
                self.retriever(system, fold).rank([texts[row] for row in fold.reported])
                for fold in folds
            ]
            self._rankings[key] = _in_order(folds, parts)
        return self._rankings[key]

    def _folds(self, name: str) -> Sequence[Fold]:
        """The folds that shares differ between; one for all where nothing is chosen on a set."""
        if name == self.deciding == "human":
            return self.splits[name].folds
        return [Fold(choosing=(), reported=tuple(range(len(self.questions[name]))))]

    def retriever(self, system: System, fold: Fold | None = None) -> Retriever:
        """The retriever that ships if this system does; all of them share rankings and scores.

        Args:
            system: What it is made of.
            fold: Choose its shares for this fold; None: on all questions.
        """
        is_hybrid = system.retriever == "hybrid"
        share = self.dense_share(system.embedder, fold) if is_hybrid else blending.DENSE_SHARE
        settings = RetrievalSettings(
            retriever=system.retriever,
            dense_share=share,
            rerank_depth=self.config.rerank_depth,
            rerank_share=self.rerank_share(system, fold),
        )
        dense = None if system.embedder == "none" else self._ranker(system.embedder)
        scores = None if system.reranker == "none" else _KeptScores(system.reranker, self.score)
        return Retriever(settings, self.passages, dense, scores, self._ranker("bm25"))

    def _ranker(self, which: str) -> _RankedOnce:
        """BM25 or an embedder's search, which ranks the same questions only once."""
        if which not in self._rankers:
            ranker = (
                Bm25Ranker(self.passages)
                if which == "bm25"
                else _KeptVectors(which, self.encode, self.index)
            )
            self._rankers[which] = _RankedOnce(ranker)
        return self._rankers[which]

    def dense_share(self, embedder: str, fold: Fold | None = None) -> CoverageShare:
        """The hybrid's dense share, fitted on human questions where those decide.

        Otherwise it is the prior: synthetic questions share more words with their passage than
        people's do, so that what is fitted on them counts BM25 for too much.

        Args:
            embedder: Of the hybrid.
            fold: Fit it for this fold; None: on all questions.
        """
        if self.deciding == "synthetic":
            return blending.DENSE_SHARE
        fold = fold if fold is None or fold.choosing else None
        key = embedder, fold
        if key not in self._dense_shares:
            rows, gold, documents = self._choosing(fold)
            asked = [self.questions[self.deciding][row].question for row in rows]
            dense = self._ranker(embedder).rank(asked, FIRST_STAGE_DEPTH)
            lexical = self._ranker("bm25").rank(asked, FIRST_STAGE_DEPTH)
            table = blending.share_table(dense, lexical, gold)
            self._dense_shares[key] = blending.fit_share(
                table, self._coverage(self.deciding)[rows], documents, blending.DENSE_SHARE
            )
        return self._dense_shares[key]

    def rerank_share(self, system: System, fold: Fold | None = None) -> CoverageShare:
        """The reranker's share, fitted like the dense one."""
        if system.reranker == "none" or self.deciding == "synthetic":
            return blending.RERANK_SHARE
        fold = fold if fold is None or fold.choosing else None
        key = system, fold
        if key not in self._rerank_shares:
            rows, gold, documents = self._choosing(fold)
            asked = [self.questions[self.deciding][row].question for row in rows]
            first = self.retriever(replace(system, reranker="none"), fold).rank(asked)
            first = first.top(self.config.rerank_depth)
            scores = self.score(system.reranker, pairs_of(first, asked, self.passages))
            table = blending.rerank_table(first, scores, gold)
            self._rerank_shares[key] = blending.fit_share(
                table, self._coverage(self.deciding)[rows], documents, blending.RERANK_SHARE
            )
        return self._rerank_shares[key]

    def mean_share(self, name: str, share: Callable[[Fold], CoverageShare]) -> float:
        """A share, as each fold has it, averaged over the questions of a set."""
        coverage = self._coverage(name)
        found = [share(f).of(coverage[list(f.reported)]) for f in self._folds(name)]
        return float(np.concatenate(found).mean())

    def share_curves(self, name: str, system: System) -> list[ShareCurve]:
        """The curves of a system's dense share and, where it reranks, of its reranker's."""
        asked = [question.question for question in self.questions[name]]
        gold, bare = self.gold(name), replace(system, reranker="none")
        dense = self._ranker(system.embedder).rank(asked, FIRST_STAGE_DEPTH)
        lexical = self._ranker("bm25").rank(asked, FIRST_STAGE_DEPTH)
        tables = [("dense", bare, blending.share_table(dense, lexical, gold))]
        if system.reranker != "none":
            first = self.rank(name, bare).top(self.config.rerank_depth)
            scores = self.score(system.reranker, pairs_of(first, asked, self.passages))
            tables.append(("reranking", system, blending.rerank_table(first, scores, gold)))
        return [
            ShareCurve(
                question_set=name,
                share=share,
                system=one,
                shares=blending.SHARES[::2].tolist(),
                values=table.mean(axis=0)[::2].tolist(),
                chosen=float(self.measure_system(name, one).values[_RANKED].mean()),
            )
            for share, one, table in tables
        ]

    def _choosing(self, fold: Fold | None) -> tuple[list[int], list[frozenset[int]], list[str]]:
        """The questions that choices are made on: rows, right passages and documents."""
        split, gold = self.splits[self.deciding], self.gold(self.deciding)
        rows = list(fold.choosing) if fold else list(range(len(gold)))
        return rows, [gold[row] for row in rows], split.documents_of(rows)

    def _coverage(self, name: str) -> NDArray[np.float64]:
        """How much of each question of a set BM25 covers; (questions,)."""
        texts = [question.question for question in self.questions[name]]
        ranking = self._ranker("bm25").rank(texts, FIRST_STAGE_DEPTH)
        return self._ranker("bm25").coverage(texts, ranking)

    def measure_retrieval(
        self, embedders: Sequence[str], rerankers: Sequence[str]
    ) -> dict[tuple[str, System], Measured]:
        """Every retriever, and every hybrid with every reranker, on every question set."""
        systems = [System("bm25", "none", "none")]
        systems += [System("dense", e, "none") for e in embedders]
        systems += [System("hybrid", e, r) for r in ("none", *rerankers) for e in embedders]
        return {
            (name, system): self.measure_system(name, system)
            for name in self.questions
            for system in systems
        }

    def measure_system(self, name: str, system: System) -> Measured:
        """A system's retrieval on the questions of a set."""
        return self.measure_ranking(name, self.rank(name, system))

    def _measured(self, name: str, rows: Sequence[int], values: Values) -> Measured:
        documents = self.splits[name].documents_of(rows)
        return Measured(question_set=name, values=values, documents=documents)

    def compare(self, before: Measured, after: Measured) -> list[Comparison]:
        """Compare each metric on the questions that it applies to both before and after.

        A metric that applies to no question of both is left out.
        """
        gains = []
        for metric in (metric for metric in before.values if metric in after.values):
            first, second = before.values[metric], after.values[metric]
            both = ~np.isnan(first) & ~np.isnan(second)
            if both.any():
                documents = before.among(both).documents
                how = {"resamples": self.config.resamples, "seed": self.seed}
                gains.append(compare(metric, first[both], second[both], documents, **how))
        return gains

    def chosen(self, name: str, most: int | None) -> list[int]:
        """Rows of the questions that generators answer, the same for every system."""
        rows = range(len(self.questions[name]))
        if most is None or most >= len(rows):
            return list(rows)
        return sorted(rng_for(self.seed, "answered questions", name).sample(rows, most))

    def measure_answers(self, name: str, generator: str) -> dict[str, Measured]:
        """A generator on the paper's protocol: all questions, the "easy" and the "hard" ones.

        The context is the top passages of the untrained embedder; where no right one is among
        them, one replaces the last ("hard"). The order is shuffled with the right passage at
        every place equally often, so that a preference for a place neither gains nor loses.
        """
        rows, contexts = self._protocol(name)
        replies = self._replies(name, generator, rows, contexts)
        values = self._answer_values(name, rows, contexts, replies)
        if self.sets.abstains:
            values[ANSWERED] = np.array([float(not reply.is_abstaining) for reply in replies])
            ranking, gold = self._first_ranks(name), self.gold(name)
            missing = [
                [column for column in ranking[row] if column not in gold[row]][: len(context)]
                for row, context in zip(rows, contexts, strict=True)
            ]
            without = self._replies(name, generator, rows, missing)
            values[ABSTENTION] = np.array([float(reply.is_abstaining) for reply in without])
        measured = self._measured(name, rows, values)
        return {
            label: measured.among(mask) for label, mask in self._masks(name, rows, contexts).items()
        }

    def measure_unanswerable(self, generator: str) -> Measured | None:
        """Whether a generator abstains, on questions that no passage answers.

        Returns:
            None where generators are not trained to abstain or no such question was given. These
            questions have no document; each is a cluster of its own.
        """
        questions = self._unanswerable(self.config.max_answer_questions)
        if not questions:
            return None
        ranking = self._ranker("base").rank(questions, self.sets.contexts)
        replies = self._answer(generator, questions, ranking.columns.tolist())
        values = np.array([float(reply.is_abstaining) for reply in replies])
        return Measured(question_set="human", values={UNANSWERABLE: values}, documents=questions)

    def measure_declined(
        self, system: System, generator: str, rule: CitationRule
    ) -> Measured | None:
        """Like `measure_unanswerable`, as served: by what a system retrieves, and by a rule.

        Returns:
            None, too, where the generator returns no probabilities for these questions.
        """
        questions = self._unanswerable(self.config.max_stack_questions)
        if not questions:
            return None
        columns = self.retriever(system).rank(questions).columns[:, : self.sets.contexts]
        try:
            read = self._read_choices(generator, questions, columns.tolist())
        except ProbabilitiesError:
            return None
        values = {UNANSWERABLE: declines(read, rule.threshold).astype(float)}
        return Measured(question_set="human", values=values, documents=questions)

    def _unanswerable(self, most: int | None) -> list[str]:
        """The user's questions that no passage answers, where a generator may say so."""
        questions = list(self.unanswerable) if self.sets.abstains else []
        if most is None or most >= len(questions):
            return questions
        return rng_for(self.seed, "unanswerable questions").sample(questions, most)

    def measure_grounding(self, name: str, generator: str) -> dict[str, Values]:
        """Which answers of `measure_answers` rest on what they cite, by the same groups.

        The untuned generator reads them, so that both generators have the same judge.
        """
        rows, contexts = self._protocol(name)
        grounded = answer_metrics.measure_grounding(
            [self.questions[name][row].question for row in rows],
            self._replies(name, generator, rows, contexts),
            [self._contents(context) for context in contexts],
            partial(self.read, "base"),
        )
        values = np.array(grounded, float)
        masks = self._masks(name, rows, contexts)
        return {label: {GROUNDED: values[mask]} for label, mask in masks.items()}

    def _protocol(self, name: str) -> tuple[list[int], list[list[int]]]:
        """Rows of the questions that are answered, and the passages shown with each."""
        rows = self.chosen(name, self.config.max_answer_questions)
        size = min(self.sets.contexts, len(self.passages))
        places = deal_places([size] * len(rows), self.seed, "gold places", name)
        return rows, self.contexts(name, rows, size, places)

    def _masks(
        self, name: str, rows: Sequence[int], contexts: Sequence[Sequence[int]]
    ) -> dict[str, NDArray[np.bool_]]:
        ranking, gold = self._first_ranks(name), self.gold(name)
        easy = np.array(
            [
                not gold[row].isdisjoint(ranking[row][: len(context)])
                for row, context in zip(rows, contexts, strict=True)
            ],
            bool,
        )
        return {"all": np.ones(len(rows), bool), "easy": easy, "hard": ~easy}

    def contexts(
        self, name: str, rows: Sequence[int], size: int, places: Sequence[int]
    ) -> list[list[int]]:
        """The untrained embedder's first passages for each question, a right one at its place."""
        ranking, gold = self._first_ranks(name), self.gold(name)
        contexts = []
        for row, place in zip(rows, places, strict=True):
            context = ranking[row][:size]
            found = gold[row] & set(context)
            right = min(found or gold[row])
            context.remove(right if found else context[-1])
            rng_for(self.seed, "context order", self.questions[name][row].id).shuffle(context)
            context.insert(place, right)
            contexts.append(context)
        return contexts

    def _first_ranks(self, name: str) -> list[list[int]]:
        ranks: list[list[int]] = self.rank(name, System("dense", "base", "none")).columns.tolist()
        return ranks

    def measure_end_to_end(
        self, name: str, ranking: Ranking, generator: str, most: int | None
    ) -> Measured:
        """A generator's answers from the first passages of a ranking of a set's questions.

        Where its replies begin with a citation, what it reads and the order decide it together; a
        generator that may abstain is also read with the right passages taken out.
        """
        rows = self.chosen(name, most)
        contexts = ranking.columns[rows, : self.sets.contexts].tolist()
        cited = self.cite(name, ranking, generator, most)
        if cited is None:
            return self._measured(name, rows, self.answer(name, generator, rows, contexts))
        replies = self._go_on(name, generator, rows, contexts, cited.numbers)
        measured = self._measured(name, rows, self._answer_values(name, rows, contexts, replies))
        if not cited.readings.abstains:
            return measured
        curve = cited.curve(
            name,
            generator,
            self.citation_rule(generator) or CitationRule(),
            promised=self.config.answered_share,
            is_fitted=name == self.deciding,
        )
        values = {ANSWERED: cited.answered, ABSTENTION: cited.declined}
        return replace(measured.with_values(values), abstention=curve)

    def cite(
        self, name: str, ranking: Ranking, generator: str, most: int | None
    ) -> CitedReadings | None:
        """What a generator reads of a set's questions, and what each of them cites by that.

        A question of the deciding set cites by what is chosen on the other folds; what is chosen on
        all of them is `citation_rule` from then on.

        Returns:
            None where replies do not begin with a citation, or the generator returns no
            probabilities: it then cites by itself.
        """
        rows = self.chosen(name, most)
        try:
            readings = self._read(name, generator, rows, ranking.columns[rows].tolist())
        except ProbabilitiesError:
            readings = None
        if readings is None:
            self._rules[generator] = None
            return None
        fit = partial(
            fit_rule,
            fits_order=self.deciding == "human",
            answered_share=self.config.answered_share,
        )
        if name != self.deciding:
            rule = self.citation_rule(generator) or CitationRule()
            return CitedReadings(readings=readings, rules=[(np.ones(len(rows), bool), rule)])
        self._rules[generator] = fit(readings)
        rules = [
            (np.isin(rows, fold.reported), fit(readings.among(np.isin(rows, fold.choosing))))
            for fold in self.splits[name].folds
        ]
        return CitedReadings(readings=readings, rules=rules)

    def citation_rule(self, generator: str) -> CitationRule | None:
        """By what a generator cites or abstains in what ships.

        It is chosen on the questions that decide, once they were answered. None: the generator
        returns no probabilities, or replies in this format begin otherwise.
        """
        if not self.form.begins_with_citation:
            return None
        return self._rules.get(generator, CitationRule())

    def _read(
        self, name: str, generator: str, rows: Sequence[int], ranked: Sequence[Sequence[int]]
    ) -> Readings | None:
        """What a generator reads of questions; None where replies do not begin with a citation.

        Args:
            name: Of the question set.
            generator: "base" or "tuned".
            rows: Of the questions.
            ranked: Columns of the passages in their order; (rows, ranks).

        Raises:
            ProbabilitiesError: the generator returns no probabilities.
        """
        if not self.form.begins_with_citation:
            return None
        asked, count = [self.questions[name][row].question for row in rows], self.sets.contexts
        gold = [self.gold(name)[row] for row in rows]
        shown = [columns[:count] for columns in ranked]
        others = [
            [column for column in columns if column not in right][:count]
            for columns, right in zip(ranked, gold, strict=True)
        ]
        retrieved = self._read_choices(generator, asked, shown)
        missing = np.zeros((len(rows), 0), np.float32)
        if self.sets.abstains:
            missing = self._read_choices(generator, asked, others)
        are_right = [
            [column in right for column in some] for some, right in zip(shown, gold, strict=True)
        ]
        return Readings(
            retrieved=retrieved,
            right=np.array(are_right),
            missing=missing,
            documents=np.array(self.splits[name].documents_of(rows)),
        )

    def _read_choices(
        self, generator: str, questions: Sequence[str], contexts: Sequence[Sequence[int]]
    ) -> Floats:
        """See `citing.read_choices`; rows of fewer passages are filled up with zeros."""
        abstains, choose = self.sets.abstains, partial(self.choose, generator)
        most = min(max(map(len, contexts)), citing.MOST)
        table = np.zeros((len(questions), most + abstains), np.float32)
        for count in sorted({len(context) for context in contexts}):
            some = [i for i, context in enumerate(contexts) if len(context) == count]
            if not count:
                table[some] = np.nan
                continue
            prompts = [self.form.render(questions[i], self._contents(contexts[i])) for i in some]
            read = citing.read_choices(choose, prompts, count, abstains=abstains)
            numbered = min(count, most)
            table[some, :numbered] = read[:, :numbered]
            table[some, most:] = read[:, numbered:]
        return table

    def _go_on(
        self,
        name: str,
        generator: str,
        rows: Sequence[int],
        contexts: Sequence[Sequence[int]],
        numbers: NDArray[np.intp],
    ) -> list[CitedAnswer]:
        """A generator's answers that begin with a citation."""
        shown = [self._contents(context) for context in contexts]
        starts = [citing.named(number) for number in numbers.tolist()]
        begun = [
            go_on_from(self.form.render(self.questions[name][row].question, some), start, len(some))
            for row, some, start in zip(rows, shown, starts, strict=True)
        ]
        replies = self.reply(generator, begun)
        return [
            self.form.parse(start + reply, some)
            for start, reply, some in zip(starts, replies, shown, strict=True)
        ]

    def answer(
        self, name: str, generator: str, rows: Sequence[int], contexts: Sequence[Sequence[int]]
    ) -> dict[str, NDArray[np.float64]]:
        """Metrics of a generator's answers to questions with given passages; (rows,) per metric."""
        replies = self._replies(name, generator, rows, contexts)
        return self._answer_values(name, rows, contexts, replies)

    def _answer_values(
        self,
        name: str,
        rows: Sequence[int],
        contexts: Sequence[Sequence[int]],
        replies: Sequence[CitedAnswer],
    ) -> dict[str, NDArray[np.float64]]:
        gold = self.gold(name)
        measured = [
            answer_metrics.measure_answer(
                reply,
                [i for i, column in enumerate(context, start=1) if column in gold[row]],
                self.questions[name][row].answers,
                len(context),
            )
            for reply, context, row in zip(replies, contexts, rows, strict=True)
        ]
        values = {
            metric: np.array([values.get(metric, np.nan) for values in measured], float)
            for metric in answer_metrics.METRICS
            if self.form.cites or metric not in answer_metrics.OF_CITATIONS
        }
        return {**values, CITED_ANSWER: answer_metrics.cited_answer(values)}

    def _replies(
        self, name: str, generator: str, rows: Sequence[int], contexts: Sequence[Sequence[int]]
    ) -> list[CitedAnswer]:
        questions = [self.questions[name][row].question for row in rows]
        return self._answer(generator, questions, contexts)

    def _answer(
        self, generator: str, questions: Sequence[str], contexts: Sequence[Sequence[int]]
    ) -> list[CitedAnswer]:
        """A generator's parsed answers to questions about passages."""
        shown = [self._contents(context) for context in contexts]
        pairs = zip(questions, shown, strict=True)
        prompts = [self.form.render(question, contents) for question, contents in pairs]
        replies = self.reply(generator, prompts)
        pairs = zip(replies, shown, strict=True)
        return [self.form.parse(reply, contents) for reply, contents in pairs]

    def _contents(self, columns: Sequence[int]) -> list[str]:
        return [self.passages[column].content for column in columns]

    def judge(
        self, part: Part, before: Mapping[str, Measured], after: Mapping[str, Measured]
    ) -> Verdict:
        """The verdict on one part from its values on each question set."""
        metric, comparisons = METRICS[part], dict[str, Comparison]()
        for name, without in before.items():
            some = replace(without, values={metric: without.values[metric]})
            for found in self.compare(some, after[name]):
                comparisons[name] = found
        return judge_part(part, comparisons, self.deciding)

    def measure_variants(self, kept: Sequence[Part]) -> list[SystemVariant]:
        """Retrieval by every on/off combination of the kept parts on the deciding questions.

        Returns:
            A variant per combination, the one that ships first, then by nDCG@10.
        """
        ships = self.choose_parts(kept)
        variants = [self._variant(parts) for parts in _combinations(kept)]
        return sorted(variants, key=lambda v: (v.parts != ships, -round(v.metrics[_RANKED], 6)))

    def choose_parts(self, kept: Sequence[Part], fold: Fold | None = None) -> tuple[Part, ...]:
        """The parts that retrieve in what ships: all, unless it is clearly better without some.

        That is, of the combinations within one standard error of the best the largest.

        Args:
            kept: Parts that may ship; a generator does not retrieve.
            fold: Choose for this fold; None: on all questions.
        """
        rows, _, documents = self._choosing(fold)
        found = _combinations(kept)
        name = self.deciding
        values = [
            self.measure_system(name, self.system_of(parts)).values[_RANKED][rows]
            for parts in found
        ]
        points = np.array([[part in parts for part in PARTS] for parts in found], float)
        return found[blending.choose(np.stack(values, 1), documents, points, points.max(axis=0))]

    def rank_shipped(self, name: str, kept: Sequence[Part]) -> Ranking:
        """The ranking of what ships; in each fold of the deciding set, of what the others chose."""
        if name != self.deciding:
            return self.rank(name, self.system_of(self.choose_parts(kept)))
        folds = self.splits[name].folds
        parts = [
            self.rank(name, self.system_of(self.choose_parts(kept, fold))).of(fold.reported)
            for fold in folds
        ]
        depth = min(ranking.columns.shape[1] for ranking in parts)
        return _in_order(folds, [ranking.top(depth) for ranking in parts])

    def measure_ranking(self, name: str, ranking: Ranking) -> Measured:
        """Retrieval metrics of a ranking of all questions of a set."""
        values = retrieval_metrics.measure_ranking(ranking, self.gold(name))
        return self._measured(name, range(len(self.questions[name])), values)

    def system_of(self, parts: Sequence[Part]) -> System:
        """What retrieves where some parts are tuned."""
        embedder = "tuned" if "embedder" in parts else "base"
        reranker = "tuned" if "reranker" in parts else self.base_reranker
        return System("hybrid", embedder, reranker)

    @property
    def with_embedder(self) -> System:
        """What retrieves with the tuned embedder, and its body where that is the reranker.

        One of two that were tuned as one fits the other's untuned twin badly, and tells little.
        """
        return self.system_of(("embedder", "reranker") if self.shares_body else ("embedder",))

    def _variant(self, parts: tuple[Part, ...]) -> SystemVariant:
        system = self.system_of(parts)
        measured = self.measure_system(self.deciding, system)
        share = self.rerank_share(system)
        return SystemVariant(
            parts=parts,
            system=replace(system, reranker="none") if share.is_never else system,
            dense_share=self.dense_share(system.embedder),
            rerank_share=share,
            question_set=self.deciding,
            metrics=means_of(measured.values),
            n=measured.n,
        )


def _in_order(folds: Sequence[Fold], parts: Sequence[Ranking]) -> Ranking:
    """The rankings of the questions that each fold reports, in the order of the set."""
    order = np.argsort([row for fold in folds for row in fold.reported])
    return stack(*parts).of(order.tolist())


def _combinations(parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    """Every selection of those parts that retrieve, the smallest first."""
    retrieving = [part for part in parts if part != "generator"]
    sizes = range(len(retrieving) + 1)
    return [some for size in sizes for some in combinations(retrieving, size)]
