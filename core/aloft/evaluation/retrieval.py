"""Values per question of retrievers, and the shares and parts that are chosen by them.

All systems answer the same held-out questions. What is chosen for the questions of a fold is chosen
on those of the other folds (`aloft.evaluation.splits`). Texts are embedded once per embedder and
passages are reranked once per reranker.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aloft.config import PARTS, EvaluationConfig, Part
from aloft.evaluation import blending, retrieval_metrics
from aloft.evaluation.bootstrap import Comparison, compare
from aloft.evaluation.gate import METRICS, Verdict, judge_part
from aloft.evaluation.shared_shares import PRIORS, measure_gains, no_gains
from aloft.evaluation.splits import Fold, QuestionSplit
from aloft.evaluation.systems import (
    Measured,
    Questions,
    ShareCurve,
    System,
    SystemVariant,
    Values,
    means_of,
)
from aloft.jsonl import RecordLookup
from aloft.protocols import Floats
from aloft.records import Passage
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.fusion import CoverageShare
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.ranking import Ranking, pairs_of, stack
from aloft.retrieval.retriever import (
    FIRST_STAGE_DEPTH,
    Bm25Ranker,
    RetrievalSettings,
    Retriever,
)

_RANKED = METRICS["embedder"]
_BODY = ("base", "body")  # embedder and reranker: the untuned body before another reranker
_Tabled = tuple[NDArray[np.float64], NDArray[np.float64], list[str]]
"""nDCG@10 at each share, coverages and documents of the questions that choices are made on."""
_NO_QUESTIONS: _Tabled = (np.empty((0, len(blending.SHARES))), np.empty(0), [])


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
    """A system's reranker, whose scores are kept elsewhere."""

    system: System
    kept: Callable[[System, Sequence[tuple[str, str]]], Floats]

    @property
    def fingerprint(self) -> str:
        return self.system.reranker

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        return self.kept(self.system, pairs)


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
class RetrievalEvaluator:
    """What every measurement of retrieval needs.

    Attributes:
        questions: By the name of the set: "synthetic" and, where there are any, "human".
        splits: How each set is split; see `aloft.evaluation.splits`.
        encode: Vectors of (embedder, questions), computed once and kept.
        index: Vectors of the passages by an embedder, computed once and kept.
        score: Scores of (reranker, pairs of query and passage), kept.
        base_reranker: "base", or "none" where nothing can rerank before training.
        untuned_body: Whether "base" is the untuned embedder's body.
        shares_body: Whether the tuned reranker is the tuned embedder's body.
        unrelated: Vectors of `aloft.retrieval.relevance.UNRELATED` by an embedder, computed once
            and kept; None: scores are not fitted.
        indexes: Where BM25's index is kept.
        body: Scores of (embedder, pairs of query and passage) by its body, kept, where late
            interaction orders what a configured reranker reads; None: it does not.
        expected: What shares gain elsewhere, by their names in `PRIORS`.
        outgrows_teacher: Whether the generator is much larger than the teacher.
    """

    passages: Sequence[Passage]
    questions: Questions
    splits: Mapping[str, QuestionSplit]
    config: EvaluationConfig
    seed: int
    encode: Callable[[str, Sequence[str]], Floats]
    index: Callable[[str], DenseIndex]
    score: Callable[[str, Sequence[tuple[str, str]]], Floats]
    base_reranker: str = "none"
    untuned_body: bool = True
    shares_body: bool = False
    unrelated: Callable[[str], Floats] | None = None
    indexes: IndexStore = field(default_factory=IndexStore)
    body: Callable[[str, Sequence[tuple[str, str]]], Floats] | None = None
    expected: Mapping[str, blending.Expected] = field(default_factory=dict)
    outgrows_teacher: bool = False
    _rankings: dict[tuple[str, System], Ranking] = field(default_factory=dict)
    _rankers: dict[str, _RankedOnce] = field(default_factory=dict)
    _dense_shares: dict[tuple[str, Fold | None], CoverageShare] = field(default_factory=dict)
    _rerank_shares: dict[tuple[System, Fold | None], CoverageShare] = field(default_factory=dict)
    _columns: RecordLookup[Passage] = field(init=False)

    def __post_init__(self) -> None:
        self._columns = RecordLookup(self.passages)

    @property
    def deciding(self) -> str:
        """The question set that decides: the user's own where there are enough."""
        enough = len(self.questions.get("human", ())) >= self.config.min_human_questions
        return "human" if enough else "synthetic"

    def gold(self, name: str) -> list[frozenset[int]]:
        """Columns of the right passages, per question of a set."""
        return [
            frozenset(self._columns.rows(question.passage_ids)) for question in self.questions[name]
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
        late = self.late_share(system, fold)
        settings = RetrievalSettings(
            retriever=system.retriever,
            dense_share=share,
            rerank_depth=self.rerank_depth(system),
            rerank_share=self.rerank_share(system, fold),
            late_depth=self.config.rerank_depth,
            late_share=late or blending.RERANK_SHARE,
        )
        dense = None if system.embedder == "none" else self._ranker(system.embedder)
        scores = None if system.reranker == "none" else _KeptScores(system, self.rerank_scores)
        body = None if late is None else _KeptScores(_only_body(system), self.rerank_scores)
        return Retriever(settings, self.passages, dense, scores, self._ranker("bm25"), body)

    def rerank_scores(self, system: System, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Scores of pairs of query and passage by a system's reranker; (pairs,)."""
        if system.reranker == "body" and self.body is not None:
            return self.body(system.embedder, pairs)
        return self.score(system.reranker, pairs)

    def rerank_depth(self, system: System) -> int:
        """Passages that a system's reranker reorders."""
        return self.config.read_depth if self.is_late(system) else self.config.rerank_depth

    def late_share(self, system: System, fold: Fold | None = None) -> CoverageShare | None:
        """The share of late interaction before a system's reranker; None: there is none."""
        return self.rerank_share(_only_body(system), fold) if self.is_late(system) else None

    def is_late(self, system: System) -> bool:
        """Whether a system's reranker reads what late interaction has ordered."""
        return self.body is not None and system.reranker not in ("none", "body")

    def _without_last(self, system: System) -> System:
        """The system that ranks what a system's reranker reorders."""
        return _only_body(system) if self.is_late(system) else replace(system, reranker="none")

    def _ranker(self, which: str) -> _RankedOnce:
        """BM25 or an embedder's search, which ranks the same questions only once."""
        if which not in self._rankers:
            ranker = (
                Bm25Ranker(self.passages, self.indexes)
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
        name = "untuned_dense" if embedder == "base" else "tuned_dense"
        if self.deciding == "synthetic":
            return self._fit(_NO_QUESTIONS, name)
        fold = fold if fold is None or fold.choosing else None
        key = embedder, fold
        if key not in self._dense_shares:
            self._dense_shares[key] = self._fit(self._dense_table(embedder, fold), name)
        return self._dense_shares[key]

    def _fit(self, tabled: _Tabled, name: str | None) -> CoverageShare:
        """A share, drawn to what is known of it by its name in `PRIORS`; None: it has none."""
        prior = blending.RERANK_SHARE if name is None else PRIORS[name]
        return blending.fit_share(*tabled, prior, self.expected.get(name or ""))

    def _dense_table(self, embedder: str, fold: Fold | None) -> _Tabled:
        rows, gold, documents = self.choosing(fold)
        asked = [self.questions[self.deciding][row].question for row in rows]
        dense = self._ranker(embedder).rank(asked, FIRST_STAGE_DEPTH)
        lexical = self._ranker("bm25").rank(asked, FIRST_STAGE_DEPTH)
        table = blending.share_table(dense, lexical, gold)
        return table, self.coverage(self.deciding)[rows], documents

    def rerank_share(self, system: System, fold: Fold | None = None) -> CoverageShare:
        """The reranker's share, fitted like the dense one."""
        name = self._late_name(system)
        if system.reranker == "none" or self.deciding == "synthetic":
            return self._fit(_NO_QUESTIONS, name)
        fold = fold if fold is None or fold.choosing else None
        key = system, fold
        if key not in self._rerank_shares:
            self._rerank_shares[key] = self._fit(self._rerank_table(system, fold), name)
        return self._rerank_shares[key]

    def _late_name(self, system: System) -> str | None:
        """Whose body reranks, as a name in `PRIORS`; None: another model."""
        untuned = "base" if self.untuned_body else None
        if system.reranker == untuned or (system.embedder, system.reranker) == _BODY:
            return "untuned_late"
        is_tuned_body = system.reranker == ("tuned" if self.shares_body else "body")
        return "tuned_late" if is_tuned_body else None

    def _rerank_table(self, system: System, fold: Fold | None) -> _Tabled:
        rows, gold, documents = self.choosing(fold)
        asked = [self.questions[self.deciding][row].question for row in rows]
        first = self.retriever(self._without_last(system), fold).rank(asked)
        first = first.top(self.rerank_depth(system))
        scores = self.rerank_scores(system, pairs_of(first, asked, self.passages))
        table = blending.rerank_table(first, scores, gold)
        return table, self.coverage(self.deciding)[rows], documents

    def measure_gains(self) -> dict[str, Floats]:
        """What lines of shares gain over the priors, for other sites of a federation."""
        found = no_gains()
        for kind, which in (("untuned", "base"), ("tuned", "tuned")):
            name = f"{kind}_dense"
            found[name] = measure_gains(*self._dense_table(which, None), PRIORS[name])
            if self.base_reranker != "none":
                name, system = f"{kind}_late", System("hybrid", which, which)
                found[name] = measure_gains(*self._rerank_table(system, None), PRIORS[name])
        return found

    def mean_share(self, name: str, share: Callable[[Fold], CoverageShare]) -> float:
        """A share, as each fold has it, averaged over the questions of a set."""
        coverage = self.coverage(name)
        found = [share(f).of(coverage[list(f.reported)]) for f in self._folds(name)]
        return float(np.concatenate(found).mean())

    def share_curves(self, name: str, system: System) -> list[ShareCurve]:
        """The curves of a system's dense share and, where it reranks, of its rerankers'."""
        asked = [question.question for question in self.questions[name]]
        gold, bare = self.gold(name), replace(system, reranker="none")
        dense = self._ranker(system.embedder).rank(asked, FIRST_STAGE_DEPTH)
        lexical = self._ranker("bm25").rank(asked, FIRST_STAGE_DEPTH)
        tables = [("dense", bare, blending.share_table(dense, lexical, gold))]
        steps = [("late", _only_body(system))] if self.is_late(system) else []
        steps += [("reranking", system)] if system.reranker != "none" else []
        for share, one in steps:
            first = self.rank(name, self._without_last(one)).top(self.rerank_depth(one))
            scores = self.rerank_scores(one, pairs_of(first, asked, self.passages))
            tables.append((share, one, blending.rerank_table(first, scores, gold)))
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

    def choosing(self, fold: Fold | None) -> tuple[list[int], list[frozenset[int]], list[str]]:
        """The questions that choices are made on: rows, right passages and documents."""
        split, gold = self.splits[self.deciding], self.gold(self.deciding)
        rows = list(fold.choosing) if fold else list(range(len(gold)))
        return rows, [gold[row] for row in rows], split.documents_of(rows)

    def coverage(self, name: str) -> NDArray[np.float64]:
        """How much of each question of a set BM25 covers; (questions,)."""
        texts = [question.question for question in self.questions[name]]
        ranking = self._ranker("bm25").rank(texts, FIRST_STAGE_DEPTH)
        return self._ranker("bm25").coverage(texts, ranking)

    def measure_retrieval(
        self, embedders: Sequence[str], rerankers: Sequence[str]
    ) -> dict[tuple[str, System], Measured]:
        """Every retriever, and every hybrid with every reranker, on every question set.

        One model that embeds and reranks is measured as one.
        """
        systems = [System("bm25", "none", "none")]
        systems += [System("dense", e, "none") for e in embedders]
        systems += [
            System("hybrid", embedder, reranker)
            for reranker in ("none", *rerankers)
            for embedder in embedders
            if not self.shares_body or reranker in ("none", embedder)
        ]
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

    def judge(
        self,
        part: Part,
        before: Mapping[str, Measured],
        after: Mapping[str, Measured],
        alone: Sequence[Mapping[str, Measured]] = (),
    ) -> Verdict:
        """The verdict on one part.

        Args:
            part: The part.
            before: What the stack reaches without it, by question set.
            after: With it.
            alone: The part by itself, before and after; none: it is judged by the stack alone.
        """
        metric = METRICS[part]
        comparisons = {
            name: found
            for name, without in before.items()
            for found in self.compare(without.only(metric), after[name])
        }
        sides = [values[self.deciding] for values in alone]
        itself = self.compare(sides[0].only(metric), sides[1]) if sides else []
        outgrows = part == "generator" and self.outgrows_teacher
        return judge_part(part, comparisons, self.deciding, *itself, outgrows_teacher=outgrows)

    def measure_variants(self, kept: Sequence[Part]) -> list[SystemVariant]:
        """Retrieval by every on/off combination of the kept parts on the deciding questions.

        Returns:
            A variant per combination, the one that ships first, then by nDCG@10.
        """
        ships = self.choose_parts(kept)
        variants = [self._variant(parts) for parts in self._combinations(kept)]
        return sorted(variants, key=lambda v: (v.parts != ships, -round(v.metrics[_RANKED], 6)))

    def choose_parts(self, kept: Sequence[Part], fold: Fold | None = None) -> tuple[Part, ...]:
        """The parts that retrieve in what ships: all, unless it is clearly better without some.

        That is, of the combinations within one standard error of the best the largest.

        Args:
            kept: Parts that may ship; a generator does not retrieve.
            fold: Choose for this fold; None: on all questions.
        """
        rows, _, documents = self.choosing(fold)
        found = self._combinations(kept)
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
        """What retrieves with the tuned embedder, and its body where that is the reranker."""
        return self.system_of(("embedder", "reranker") if self.shares_body else ("embedder",))

    def _combinations(self, parts: Sequence[Part]) -> list[tuple[Part, ...]]:
        """Every selection of those parts that retrieve, the smallest first."""
        retrieving = [part for part in parts if part != "generator"]
        whole = len(retrieving)
        sizes = {0, whole} if self.shares_body else range(whole + 1)
        return [some for size in sorted(sizes) for some in combinations(retrieving, size)]

    def _variant(self, parts: tuple[Part, ...]) -> SystemVariant:
        system = self.system_of(parts)
        measured = self.measure_system(self.deciding, system)
        while system.reranker != "none" and self.rerank_share(system).is_never:
            system = self._without_last(system)
        return SystemVariant(
            parts=parts,
            system=system,
            dense_share=self.dense_share(system.embedder),
            rerank_share=self.rerank_share(system),
            late_share=self.late_share(system),
            question_set=self.deciding,
            metrics=means_of(measured.values),
            n=measured.n,
        )


def _only_body(system: System) -> System:
    """The system that a late one is before its reranker reads."""
    return replace(system, reranker="body")


def _in_order(folds: Sequence[Fold], parts: Sequence[Ranking]) -> Ranking:
    """The rankings of the questions that each fold reports, in the order of the set."""
    order = np.argsort([row for fold in folds for row in fold.reported])
    return stack(*parts).of(order.tolist())
