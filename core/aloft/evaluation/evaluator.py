"""Values per question of retrievers, generators and whole systems, and what is chosen by them.

All systems answer the same held-out questions: those of the test part are reported, those of the
validation part are what choices are made on. Texts are embedded once per embedder, passages are
reranked once per reranker, and a prompt that two systems share is answered once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aloft.config import EvaluationConfig, Part, TrainingSetsConfig
from aloft.evaluation import answer_metrics, blending, retrieval_metrics
from aloft.evaluation.answer_metrics import ABSTENTION, ANSWERED, GROUNDED, GUESSING, UNANSWERABLE
from aloft.evaluation.bootstrap import Comparison, compare
from aloft.evaluation.gate import OVER_GUESSING, Verdict, gate_metric, judge_part
from aloft.evaluation.splits import QuestionSplit
from aloft.prompts.citation import CitedAnswer, Format
from aloft.prompts.formats import format_of
from aloft.protocols import Floats, Prompt
from aloft.randomness import deal_places, rng_for
from aloft.records import LabelledQuestion, Passage
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.fusion import CoverageShare
from aloft.retrieval.ranking import Ranking, pairs_of
from aloft.retrieval.retriever import (
    Bm25Ranker,
    RetrievalSettings,
    Retriever,
    RetrieverName,
)

Values = Mapping[str, NDArray[np.float64]]
Questions = Mapping[str, Sequence[LabelledQuestion]]


def means_of(values: Values) -> dict[str, float]:
    """Mean of each metric over the questions it applies to; a metric without any is left out."""
    defined = {metric: column[~np.isnan(column)] for metric, column in values.items()}
    return {metric: float(column.mean()) for metric, column in defined.items() if len(column)}


@dataclass(frozen=True, slots=True)
class System:
    """A retriever with "none", "base" or "tuned" parts.

    A base reranker is the configured one or, where none is, late interaction by the body of the
    system's own embedder.
    """

    retriever: RetrieverName
    embedder: str
    reranker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Values of one system on test questions of one set.

    Attributes:
        values: (questions,) per metric; NaN where a metric does not apply.
        documents: (questions,), the document that each question is about.
    """

    question_set: str
    values: Values
    documents: Sequence[str]

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
        dense_share: Of its hybrid.
        rerank_share: Of its reranker, where there is one.
        metrics: On the test questions.
        n: Test questions.
        score: On the validation questions; the variant with the highest score ships.
    """

    parts: tuple[Part, ...]
    system: System
    dense_share: CoverageShare
    rerank_share: CoverageShare
    question_set: str
    metrics: Mapping[str, float]
    n: int
    score: float


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
    """Remembers rankings: several systems share a first stage."""

    ranker: Bm25Ranker | _KeptVectors
    known: dict[tuple[int, tuple[str, ...]], Ranking] = field(default_factory=dict)

    def rank(self, questions: Sequence[str], depth: int) -> Ranking:
        key = depth, tuple(questions)
        if key not in self.known:
            self.known[key] = self.ranker.rank(questions, depth)
        return self.known[key]

    def coverage(self, questions: Sequence[str], ranking: Ranking) -> NDArray[np.float64]:
        if not isinstance(self.ranker, Bm25Ranker):
            raise TypeError("Vectors cover no words.")
        return self.ranker.coverage(questions, ranking)


@dataclass(slots=True, kw_only=True)
class Evaluator:
    """What every measurement of a run needs.

    Attributes:
        questions: By the name of the set: "synthetic" and, where there are any, "human".
        splits: How each set is split; see `aloft.evaluation.splits`.
        unanswerable: The user's own questions that no passage answers.
        encode: Vectors of (embedder, questions), computed once and kept.
        index: Vectors of the passages by an embedder, computed once and kept.
        score: Scores of (reranker, pairs of query and passage), kept. The reranker
            is "base", "tuned" or "body", the body of the tuned embedder.
        reply: Replies of (generator, prompts), each computed once and kept.
        read: Mean log-likelihoods of (generator, prompts, replies), computed once and kept.
        base_reranker: "base", or "none" where nothing can rerank before training.
        uses_body: Whether the tuned embedder's body reranks for it: no reranker is configured, and
            training has changed how the embedder reads passages.
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
    read: Callable[[str, Sequence[Prompt], Sequence[str]], Floats]
    base_reranker: str = "none"
    uses_body: bool = False
    _rankings: dict[tuple[str, System], Ranking] = field(default_factory=dict)
    _rankers: dict[str, _RankedOnce] = field(default_factory=dict)
    _dense_shares: dict[str, CoverageShare] = field(default_factory=dict)
    _rerank_shares: dict[System, CoverageShare] = field(default_factory=dict)
    _coverages: dict[str, NDArray[np.float64]] = field(default_factory=dict)
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
        """A system's ranking for a question set."""
        key = (name, system)
        if key not in self._rankings:
            texts = [question.question for question in self.questions[name]]
            self._rankings[key] = self.retriever(system).rank(texts)
        return self._rankings[key]

    def retriever(self, system: System) -> Retriever:
        """The retriever that ships if this system does; all of them share rankings and scores."""
        is_hybrid = system.retriever == "hybrid"
        settings = RetrievalSettings(
            retriever=system.retriever,
            dense_share=self.dense_share(system.embedder) if is_hybrid else blending.DENSE_SHARE,
            rerank_depth=self.config.rerank_depth,
            rerank_share=self.rerank_share(system),
        )
        dense = None if system.embedder == "none" else self._ranker(system.embedder)
        scores = None if system.reranker == "none" else _KeptScores(self._judge(system), self.score)
        return Retriever(settings, self.passages, dense, scores, self._ranker("bm25"))

    def _judge(self, system: System) -> str:
        """What reranks in a system, as `score` names it."""
        has_body = self.uses_body and system.embedder == "tuned"
        return "body" if system.reranker == "base" and has_body else system.reranker

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

    def dense_share(self, embedder: str) -> CoverageShare:
        """The hybrid's dense share, fitted on human validation questions where those decide.

        Otherwise it is the prior: synthetic questions share more words with their passage than
        people's do, so that what is fitted on them counts BM25 for too much.
        """
        if self.deciding == "synthetic":
            return blending.DENSE_SHARE
        if embedder not in self._dense_shares:
            rows, gold, documents = self._choosing()
            dense = self.rank(self.deciding, System("dense", embedder, "none")).of(rows)
            lexical = self.rank(self.deciding, System("bm25", "none", "none")).of(rows)
            table = blending.share_table(dense, lexical, gold)
            self._dense_shares[embedder] = blending.fit_share(
                table, self._coverage(rows), documents, blending.DENSE_SHARE
            )
        return self._dense_shares[embedder]

    def rerank_share(self, system: System) -> CoverageShare:
        """The reranker's share, fitted like the dense one."""
        if system.reranker == "none" or self.deciding == "synthetic":
            return blending.RERANK_SHARE
        if system not in self._rerank_shares:
            rows, gold, documents = self._choosing()
            first = self.rank(self.deciding, replace(system, reranker="none")).of(rows)
            first = first.top(self.config.rerank_depth)
            texts = [self.questions[self.deciding][row].question for row in rows]
            scores = self.score(self._judge(system), pairs_of(first, texts, self.passages))
            table = blending.rerank_table(first, scores, gold)
            self._rerank_shares[system] = blending.fit_share(
                table, self._coverage(rows), documents, blending.RERANK_SHARE
            )
        return self._rerank_shares[system]

    def mean_share(self, name: str, share: CoverageShare) -> float:
        """A share, averaged over the test questions of a set."""
        return float(share.of(self._coverage(self.splits[name].test, name)).mean())

    def _choosing(self) -> tuple[list[int], list[frozenset[int]], list[str]]:
        """The questions that choices are made on: rows, right passages and documents."""
        split, gold = self.splits[self.deciding], self.gold(self.deciding)
        rows = list(split.validation)
        return rows, [gold[row] for row in rows], split.documents_of(rows)

    def _coverage(self, rows: Sequence[int], name: str = "") -> NDArray[np.float64]:
        """How much of some questions of a set BM25 covers; (rows,)."""
        name = name or self.deciding
        if name not in self._coverages:
            texts = [question.question for question in self.questions[name]]
            ranking = self.rank(name, System("bm25", "none", "none"))
            self._coverages[name] = self._ranker("bm25").coverage(texts, ranking)
        return self._coverages[name][list(rows)]

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
        """A system's retrieval on the test questions of a set."""
        rows = self.splits[name].test
        return self._measured(name, rows, self._retrieval_values(name, system, rows))

    def _retrieval_values(self, name: str, system: System, rows: Sequence[int]) -> Values:
        gold = self.gold(name)
        ranking = self.rank(name, system).of(rows)
        return retrieval_metrics.measure_ranking(ranking, [gold[row] for row in rows])

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
        """Rows of the test questions that generators answer, the same for every system."""
        return self._drawn(name, self.splits[name].test, most)

    def _drawn(self, name: str, rows: Sequence[int], most: int | None) -> list[int]:
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
        questions = list(self.unanswerable)
        if not (self.sets.abstains and questions):
            return None
        most = self.config.max_answer_questions
        if most is not None and most < len(questions):
            questions = rng_for(self.seed, "unanswerable questions").sample(questions, most)
        ranking = self._ranker("base").rank(questions, self.sets.contexts)
        replies = self._answer(generator, questions, ranking.columns.tolist())
        values = np.array([float(reply.is_abstaining) for reply in replies])
        return Measured(question_set="human", values={UNANSWERABLE: values}, documents=questions)

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
        self, name: str, system: System, generator: str, most: int | None
    ) -> Measured:
        """A generator's answers from the passages that a system retrieves."""
        rows = self.chosen(name, most)
        return self._measured(name, rows, self._end_to_end(name, system, generator, rows))

    def _end_to_end(self, name: str, system: System, generator: str, rows: Sequence[int]) -> Values:
        columns = self.rank(name, system).columns
        contexts = [columns[row, : self.sets.contexts].tolist() for row in rows]
        return self.answer(name, generator, rows, contexts)

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
        return {
            metric: np.array([values.get(metric, np.nan) for values in measured], float)
            for metric in answer_metrics.METRICS
            if self.form.cites or metric not in answer_metrics.OF_CITATIONS
        }

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
        """The verdict on one part from its values on each question set.

        A generator must also beat citing as many passages at random: a base model that never
        cites says nothing about a tuned model that cites blindly.
        """
        comparisons: dict[str, Comparison] = {}
        for name in before:
            without, having = before[name], after[name].values
            metric = gate_metric(part, means_of(without.values))
            if metric is None or metric not in having:
                continue
            label, reference = metric, without.values[metric]
            guessed = having.get(GUESSING)
            if guessed is not None and guessed.mean() > reference.mean():
                label, reference = metric + OVER_GUESSING, guessed
            pair = (replace(without, values={label: v}) for v in (reference, having[metric]))
            for comparison in self.compare(*pair):
                comparisons[name] = comparison
        return judge_part(part, comparisons, self.deciding)

    def measure_variants(self, kept: Sequence[Part], *, has_generator: bool) -> list[SystemVariant]:
        """Every on/off combination of the kept parts, end to end on the deciding set.

        Args:
            kept: Parts that the gate let through; a refused part cannot ship.
            has_generator: Whether answers are part of the run.

        Returns:
            A variant per combination, best score first; of equal ones the one with fewer parts
            comes first. The score is the mean, on validation questions, of nDCG@10 and, with a
            generator, of its deciding metric on the passages that were retrieved.
        """
        variants = [
            self._variant(parts, has_generator=has_generator)
            for size in range(len(kept) + 1)
            for parts in combinations(kept, size)
        ]
        return sorted(variants, key=lambda variant: (-round(variant.score, 6), len(variant.parts)))

    def _variant(self, parts: tuple[Part, ...], *, has_generator: bool) -> SystemVariant:
        name = self.deciding
        embedder = "tuned" if "embedder" in parts else "base"
        reranker = "tuned" if "reranker" in parts else self.base_reranker
        system = System("hybrid", embedder, reranker)
        if self.rerank_share(system).is_never:
            system = replace(system, reranker="none")
        generator = "tuned" if "generator" in parts else "base"
        sides = []
        for rows in (self.splits[name].validation, self.splits[name].test):
            metrics = means_of(self._retrieval_values(name, system, rows))
            if has_generator:
                drawn = self._drawn(name, rows, self._most_end_to_end)
                metrics |= means_of(self._end_to_end(name, system, generator, drawn))
            sides.append(metrics)
        validation, test = sides
        deciding = {"ndcg@10", gate_metric("generator", validation)}
        return SystemVariant(
            parts=parts,
            system=system,
            dense_share=self.dense_share(embedder),
            rerank_share=self.rerank_share(system),
            question_set=name,
            metrics=test,
            n=len(self.splits[name].test),
            score=float(np.mean([v for metric, v in validation.items() if metric in deciding])),
        )

    @property
    def _most_end_to_end(self) -> int | None:
        """Questions of each side that every variant answers: both together keep to the limit."""
        most = self.config.max_stack_questions
        if most is None or not self.splits[self.deciding].is_parted:
            return most
        return max(1, most // 2)
