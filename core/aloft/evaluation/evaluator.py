"""Values per question of generators, by themselves and behind what retrieves.

Replies, readings and probabilities are computed once: a prompt that two systems share is answered
once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from aloft.config import TrainingSetsConfig
from aloft.errors import ProbabilitiesError
from aloft.evaluation import answer_metrics
from aloft.evaluation.abstention import AbstentionCurve
from aloft.evaluation.answer_metrics import (
    ABSTENTION,
    ANSWERED,
    CITED_ANSWER,
    GROUNDED,
    UNANSWERABLE,
)
from aloft.evaluation.calibration import features_of, features_of_set, fit_relevance
from aloft.evaluation.citations import (
    CitationRule,
    CitedReadings,
    Readings,
    fit_rule,
    fitted_on,
)
from aloft.evaluation.retrieval import RetrievalEvaluator
from aloft.evaluation.splits import Fold
from aloft.evaluation.systems import Measured, System, Values
from aloft.prompts.citation import CitedAnswer, Format, go_on_from
from aloft.prompts.formats import format_of
from aloft.protocols import Floats, Prompt
from aloft.randomness import deal_places, rng_for
from aloft.retrieval import citing
from aloft.retrieval.citing import declines
from aloft.retrieval.ranking import Ranking
from aloft.retrieval.relevance import Relevance


@dataclass(slots=True, kw_only=True)
class Evaluator(RetrievalEvaluator):
    """What every measurement of a run needs.

    Attributes:
        unanswerable: The user's own questions that no passage answers.
        reply: Replies of (generator, prompts), each computed once and kept.
        choose: Probabilities of (generator, prompts, choices), likewise; (prompts, choices).
        read: Mean log-likelihoods of (generator, prompts, replies), computed once and kept.
    """

    unanswerable: Sequence[str] = ()
    sets: TrainingSetsConfig
    reply: Callable[[str, Sequence[Prompt]], list[str]]
    choose: Callable[[str, Sequence[Prompt], Sequence[str]], Floats]
    read: Callable[[str, Sequence[Prompt], Sequence[str]], Floats]
    _rules: dict[str, CitationRule | None] = field(default_factory=dict)
    _relevances: dict[tuple[str, System, Fold | None], Relevance | None] = field(
        default_factory=dict
    )

    @property
    def form(self) -> Format:
        """What generators are asked for."""
        return format_of(self.sets.format, abstains=self.sets.abstains)

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
        highest = None
        if rule.relevance is not None:
            known, has_vectors = self._known_by(system)
            vectors = self.encode(known.embedder, questions) if has_vectors else None
            features = features_of(self, known, questions, vectors, columns.tolist())
            highest = rule.highest(features)
        values = {UNANSWERABLE: declines(read, rule.threshold, highest).astype(float)}
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
        self, name: str, system: System, ranking: Ranking, generator: str, most: int | None
    ) -> Measured:
        """A generator's answers from the first passages of a ranking of a set's questions.

        Where its replies begin with a citation, what it reads and the order decide it together; a
        generator that may abstain is also read with the right passages taken out.

        Args:
            name: Of the question set.
            system: What tells, beside the generator, how likely its passages answer.
            ranking: Of these questions.
            generator: "base" or "tuned".
            most: Questions that are answered.
        """
        rows = self.chosen(name, most)
        contexts = ranking.columns[rows, : self.sets.contexts].tolist()
        cited = self.cite(name, system, ranking, generator, most)
        if cited is None:
            return self._measured(name, rows, self.answer(name, generator, rows, contexts))
        replies = self._go_on(name, generator, rows, contexts, cited.numbers)
        measured = self._measured(name, rows, self._answer_values(name, rows, contexts, replies))
        if not cited.readings.abstains:
            return measured
        values = {ANSWERED: cited.answered, ABSTENTION: cited.declined}
        curve = self.curve(name, generator, cited)
        return replace(measured.with_values(values), abstention=curve)

    def curve(self, name: str, generator: str, cited: CitedReadings) -> AbstentionCurve:
        """What abstaining comes to on what `cite` returned for a generator that may."""
        share, fitted = self.config.answered_share, None
        if name == self.deciding:
            are_human = name == "human"
            fitted = fitted_on(cited.readings, are_human=are_human, answered_share=share)
        rule = self.citation_rule(generator) or CitationRule()
        return cited.curve(name, generator, rule, promised=share, fitted=fitted)

    def cite(
        self, name: str, system: System, ranking: Ranking, generator: str, most: int | None
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
            readings = self._read(name, system, generator, rows, ranking.columns[rows].tolist())
        except ProbabilitiesError:
            readings = None
        if readings is None:
            self._rules[generator] = None
            return None
        if name != self.deciding:
            rule = self.citation_rule(generator) or CitationRule()
            return CitedReadings(readings=readings, rules=[(np.ones(len(rows), bool), rule)])
        self._rules[generator] = self._fit_rule(readings, system, None)
        rules = [
            (
                np.isin(rows, fold.reported),
                self._fit_rule(readings.among(np.isin(rows, fold.choosing)), system, fold),
            )
            for fold in self.splits[name].folds
        ]
        return CitedReadings(readings=readings, rules=rules)

    def _fit_rule(self, readings: Readings, system: System, fold: Fold | None) -> CitationRule:
        """What is cited by, chosen for a fold; None: on all questions that decide."""
        return fit_rule(
            readings,
            are_human=self.deciding == "human",
            answered_share=self.config.answered_share,
            relevance=self._relevance(system, fold) if readings.abstains else None,
        )

    def _relevance(self, system: System, fold: Fold | None) -> Relevance | None:
        """By what it is known whether passages answer; fitted once for all generators."""
        key = self.deciding, system, fold
        if key not in self._relevances:
            known, has_vectors = self._known_by(system)
            self._relevances[key] = fit_relevance(self, known, fold, has_vectors=has_vectors)
        return self._relevances[key]

    def _known_by(self, system: System) -> tuple[System, bool]:
        """The system by which it is known whether passages answer, and whether similarity counts.

        Where a reranker reads what late interaction has ordered, it takes long enough to do so
        once: late interaction tells. Where there is either, similarity adds nothing, and would
        have the passages embedded again where they are served.
        """
        known = replace(system, reranker="body") if self.is_late(system) else system
        return known, known.reranker == "none"

    def citation_rule(self, generator: str) -> CitationRule | None:
        """By what a generator cites or abstains in what ships.

        It is chosen on the questions that decide, once they were answered. None: the generator
        returns no probabilities, or replies in this format begin otherwise.
        """
        if not self.form.begins_with_citation:
            return None
        return self._rules.get(generator, CitationRule())

    def _read(
        self,
        name: str,
        system: System,
        generator: str,
        rows: Sequence[int],
        ranked: Sequence[Sequence[int]],
    ) -> Readings | None:
        """What a generator reads of questions; None where replies do not begin with a citation.

        Args:
            name: Of the question set.
            system: See `measure_end_to_end`.
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
        features = [np.zeros((len(rows), 0, 3))] * 2
        if self.sets.abstains:
            missing = self._read_choices(generator, asked, others)
            if self.unrelated is not None and system.embedder != "none":
                known, has_vectors = self._known_by(system)
                features = [
                    features_of_set(self, known, name, rows, columns, has_vectors=has_vectors)
                    for columns in (shown, others)
                ]
        are_right = [
            [column in right for column in some] for some, right in zip(shown, gold, strict=True)
        ]
        return Readings(
            retrieved=retrieved,
            right=np.array(are_right),
            missing=missing,
            features=features[0],
            missing_features=features[1],
            documents=np.array(self.splits[name].documents_of(rows)),
            coverage=self.coverage(name)[rows],
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
