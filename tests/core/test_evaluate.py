"""A small world measured by hand: base parts that know nothing, tuned ones that know synonyms."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from aloft.config import EvaluationConfig, Part, TrainingSetsConfig
from aloft.errors import ProbabilitiesError
from aloft.evaluation.abstention import AbstentionCurve
from aloft.evaluation.answer_metrics import (
    ABSTENTION,
    ANSWERED,
    CITED_ANSWER,
    GUESSING,
    MISCITED,
    UNANSWERABLE,
)
from aloft.evaluation.blending import (
    BODY_RERANK_SHARE,
    DENSE_SHARE,
    LINES,
    ORDER_WEIGHT,
    RERANK_SHARE,
    Expected,
)
from aloft.evaluation.citations import CitationRule
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.measure import SHIPPED, SHUFFLED, measure_parts
from aloft.evaluation.pages import render_html, render_markdown
from aloft.evaluation.probes import probe
from aloft.evaluation.report import (
    Measurements,
    PartComparison,
    ProbeRow,
    QuestionCounts,
    Report,
    dump,
    from_json,
)
from aloft.evaluation.shared_shares import find_gains_fault
from aloft.evaluation.splits import Fold, QuestionSplit
from aloft.evaluation.systems import Measured, System, SystemVariant
from aloft.prompts.citation import REFERENCE
from aloft.protocols import Floats, Prompt
from aloft.records import LabelledQuestion, Passage
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.fusion import CoverageShare
from aloft.testing import HashingEmbedder, OverlapReranker

MEANT = {
    "crimson": "red",
    "azure": "blue",
    "umber": "brown",
    "ashen": "grey",
    "snowy": "white",
    "inky": "black",
    "leafy": "green",
    "rosy": "pink",
    "amber": "gold",
    "beige": "tan",
    "aqua": "teal",
    "bony": "ivory",
}
ASKED, COLOURS = [*MEANT], [*MEANT.values()]
PASSAGES = [Passage(document_id=colour, text=colour, start=0) for colour in COLOURS]
BASE = System("dense", "base", "none")
TUNED = System("dense", "tuned", "none")
SECOND = 0.6309297535714575  # 1 / log2(3), what nDCG gives for rank 2


def understood(text: str) -> str:
    return " ".join(MEANT.get(word, word) for word in text.split())


def question(column: int, *more: int, origin: Any = "synthetic", answers: Any = ("yes",)) -> Any:
    """One whose words no passage holds: only who knows its synonym finds the passage."""
    return LabelledQuestion(
        id=f"{origin} {column}",
        question=ASKED[column],
        answers=answers,
        passage_ids=tuple(PASSAGES[c].id for c in (column, *more)),
        origin=origin,
    )


def undivided(questions: Sequence[LabelledQuestion]) -> QuestionSplit:
    """One fold whose questions both choose and are reported, so that values are plain to see."""
    colour_of = {passage.id: passage.document_id for passage in PASSAGES}
    rows = tuple(range(len(questions)))
    documents = tuple(colour_of[one.passage_ids[0]] for one in questions)
    return QuestionSplit(documents=documents, folds=(Fold(choosing=rows, reported=rows),))


def crossed(evaluator: Evaluator, *folds: Sequence[int]) -> Evaluator:
    """The same with the deciding questions in these folds."""
    name = evaluator.deciding
    rows = range(len(evaluator.questions[name]))
    assert sorted(row for fold in folds for row in fold) == [*rows]
    parted = tuple(
        Fold(choosing=tuple(row for row in rows if row not in fold), reported=tuple(fold))
        for fold in folds
    )
    split = replace(evaluator.splits[name], folds=parted)
    return replace(evaluator, splits={**evaluator.splits, name: split})


def shown(prompt: Prompt) -> list[str]:
    """The passages of a prompt, in their order."""
    return re.findall(r"### \d+\n(\w+)", prompt.messages[-1].content)


def asked(prompt: Prompt) -> str:
    return prompt.messages[-1].content.rpartition("### Question\n")[2]


def is_instruction(prompt: Prompt) -> bool:
    return "### Question\n" not in prompt.messages[-1].content


def right_number(prompt: Prompt) -> str:
    """Of the passage that answers; 0 where it is not shown."""
    wanted = MEANT.get(asked(prompt))
    return next((str(i) for i, text in enumerate(shown(prompt), start=1) if text == wanted), "0")


def cite_right(prompt: Prompt) -> str:
    return f"{right_number(prompt)}\n\n### Answer\nyes"


def begun(prompt: Prompt) -> str:
    """What a prompt holds of its reply already: the citation, if that was chosen."""
    return prompt.prefix.removeprefix(REFERENCE) if prompt.prefix.startswith(REFERENCE) else ""


def rest_of(reply: str, prompt: Prompt) -> str:
    """What is written of a reply whose first number may be chosen."""
    return re.sub(r"^(\d+|none)", "", reply) if begun(prompt) else reply


class World:
    """Models by name, and a count of what each was asked."""

    def __init__(self) -> None:
        self.encoded: Counter[tuple[str, ...]] = Counter()
        self.indexed: Counter[str] = Counter()
        self.scored: Counter[tuple[str, ...]] = Counter()
        self.prompts: list[tuple[str, Prompt]] = []  # each once, as replies are kept
        self.instructed: list[tuple[str, Prompt]] = []
        self.read: list[tuple[str, str, str]] = []
        self.likelihood = lambda which, text, reply: -1.0
        self.replies: dict[str, Callable[[Prompt], str]] = {
            "base": lambda _: "I do not know.",
            "tuned": cite_right,
        }
        self.chosen: list[tuple[str, tuple[str, ...]]] = []
        self.chances: dict[str, Callable[[Prompt], Mapping[str, float]]] = {
            "base": lambda _: {},
            "tuned": lambda prompt: {right_number(prompt): 1},
        }
        self.rerank = {"base": lambda _: 0.0, "tuned": self._overlap}

    def _overlap(self, pair: tuple[str, str]) -> float:
        return float(OverlapReranker().score([(understood(pair[0]), pair[1])])[0])

    def index(self, which: str) -> DenseIndex:
        self.indexed[which] += 1
        return DenseIndex(self._vectors(which, [passage.content for passage in PASSAGES]))

    def encode(self, which: str, texts: Sequence[str]) -> Floats:
        self.encoded[(which, *texts)] += 1
        return self._vectors(which, texts)

    def _vectors(self, which: str, texts: Sequence[str]) -> Floats:
        """The base embedder sees nothing: all passages are equal and stand in corpus order."""
        if which == "base":
            return np.ones((len(texts), 1), np.float32)
        return HashingEmbedder().encode_queries([understood(text) for text in texts])

    def score(self, which: str, pairs: Sequence[tuple[str, str]]) -> Floats:
        self.scored[(which, *map(" ".join, pairs))] += 1
        return np.array([self.rerank[which](pair) for pair in pairs], np.float32)

    def reply(self, which: str, prompts: Sequence[Prompt]) -> list[str]:
        for prompt in prompts:
            kept = self.instructed if is_instruction(prompt) else self.prompts
            kept += [] if (which, prompt) in kept else [(which, prompt)]
        return [rest_of(self.replies[which](prompt), prompt) for prompt in prompts]

    def choose(self, which: str, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Chances by choice; where a generator has none, all are alike."""
        self.chosen.extend((which, tuple(choices)) for _ in prompts)
        table = np.zeros((len(prompts), len(choices)), np.float32)
        for row, prompt in enumerate(prompts):
            known = self.chances[which](prompt)
            table[row] = [known.get(choice, 0) for choice in choices]
            table[row] = table[row] if table[row].any() else 1 / len(choices)
        return table

    def find_likely(self, which: str, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        texts = [prompt.messages[0].content for prompt in prompts]
        self.read.extend((which, *pair) for pair in zip(texts, replies, strict=True))
        return np.array(
            list(map(self.likelihood, [which] * len(texts), texts, replies)), np.float32
        )

    def evaluator(
        self,
        *questions: LabelledQuestion,
        contexts: int = 2,
        unanswerable: Sequence[str] = (),
        **limits: Any,
    ) -> Evaluator:
        """Asks these questions, parted by their origin."""
        form = {name: limits.pop(name) for name in ("format", "abstaining_share") if name in limits}
        sets = {
            origin: [one for one in questions if one.origin == origin]
            for origin in ("human", "synthetic")
            if origin == "synthetic" or any(one.origin == "human" for one in questions)
        }
        return Evaluator(
            passages=PASSAGES,
            questions=sets,
            splits={name: undivided(some) for name, some in sets.items()},
            unanswerable=unanswerable,
            config=EvaluationConfig(**{"resamples": 200, "rerank_depth": 4, **limits}),
            sets=TrainingSetsConfig(contexts=contexts, **form),
            seed=1,
            encode=self.encode,
            index=self.index,
            score=self.score,
            reply=self.reply,
            choose=self.choose,
            read=self.find_likely,
        )


FOUR = [question(column) for column in range(4)]  # base ranks: 1, 2, 3, 4


# ---- retrieval


def test_systems_are_measured_on_their_own_rankings() -> None:
    evaluator = World().evaluator(*FOUR)

    assert evaluator.measure_system("synthetic", BASE).values["mrr@10"].tolist() == [
        pytest.approx(1 / rank) for rank in (1, 2, 3, 4)
    ]
    assert evaluator.measure_system("synthetic", TUNED).values["mrr@10"].tolist() == [1] * 4
    # no passage holds a word of a question: BM25 and a hybrid of two know-nothings keep the order
    for system in (System("bm25", "none", "none"), System("hybrid", "base", "none")):
        assert evaluator.rank("synthetic", system).columns[:, :4].tolist() == [[0, 1, 2, 3]] * 4
    found = evaluator.measure_system("synthetic", System("hybrid", "tuned", "none"))
    assert found.values["mrr@10"].tolist() == [1] * 4
    assert evaluator.dense_share("tuned") == DENSE_SHARE  # synthetic questions choose no share
    assert (found.n, found.documents) == (4, COLOURS[:4])


def test_a_reranker_sees_the_first_ranks_and_no_more() -> None:
    evaluator = World().evaluator(*FOUR, rerank_depth=3)
    values = evaluator.measure_system("synthetic", replace(BASE, reranker="tuned")).values
    assert values["hit@1"].tolist() == [1, 1, 1, 0]  # the fourth stands on rank 4
    assert values["hit@10"].tolist() == [1, 1, 1, 0]


def test_every_retriever_meets_every_embedder_and_every_hybrid_each_reranker() -> None:
    evaluator = World().evaluator(*FOUR, question(5, origin="human"))
    found = evaluator.measure_retrieval(["base", "tuned"], ["tuned"])

    systems = [
        System("bm25", "none", "none"),
        System("dense", "base", "none"),
        System("dense", "tuned", "none"),
        System("hybrid", "base", "none"),
        System("hybrid", "tuned", "none"),
        System("hybrid", "base", "tuned"),
        System("hybrid", "tuned", "tuned"),
    ]
    assert list(found) == [(name, system) for name in ("human", "synthetic") for system in systems]


# This question is about "blue". Dense gives passage 1 a cosine of 2/sqrt(5) and passage 0, "red",
# half of that; BM25 finds passage 0 alone: passage 1 leads once w > w / 2 + 1 - w, from w = 2/3 on.
# Of its terms those of "red" are in one passage of twelve and those of "azure" in none.
# Each of the former weighs ln(1 + 11.5/1.5) = 2.16 and each of the latter ln(1 + 12.5/0.5) = 3.26.
WORDS = "azure azure red"
HARD = [replace(question(1, origin="human"), id=str(i), question=WORDS) for i in (1, 2)]
COVERED = 0.2845  # 3 terms of "red", 5 of "azure": 3 * 2.16 / (3 * 2.16 + 5 * 3.26)


def test_the_dense_share_is_fitted_on_human_questions_where_they_decide() -> None:
    evaluator = World().evaluator(*HARD, question(2), min_human_questions=2)
    share = evaluator.dense_share("tuned").of(np.array([COVERED]))[0]
    assert share > 2 / 3 > DENSE_SHARE.of(np.array([COVERED]))[0]
    hybrid = System("hybrid", "tuned", "none")
    assert evaluator.measure_system("human", hybrid).values["hit@1"].tolist() == [1, 1]
    mean = evaluator.mean_share("human", partial(evaluator.dense_share, "tuned"))
    assert mean == pytest.approx(share, abs=1e-3)

    few = World().evaluator(*HARD, question(2), min_human_questions=3)
    assert few.dense_share("tuned") == DENSE_SHARE
    mean = few.mean_share("human", partial(few.dense_share, "tuned"))
    assert mean == pytest.approx(0.8 - 0.6 * COVERED, abs=1e-3)
    assert few.measure_system("human", hybrid).values["hit@1"].tolist() == [0, 0]


def test_shares_are_drawn_to_what_lines_gain_at_other_sites() -> None:
    dense_alone = np.array([10.0 * (line.covered + line.uncovered) for line in LINES])
    same = np.ones(len(LINES))
    elsewhere = Expected(means=dense_alone, variances=1e-6 * same, noise=same)
    expected = dict.fromkeys(("tuned_dense", "untuned_late", "tuned_late"), elsewhere)
    for least in (2, 3):  # whether human questions decide, or are too few to
        evaluator = World().evaluator(*HARD, question(2), min_human_questions=least)
        assert not evaluator.expected
        evaluator.expected = expected
        assert evaluator.dense_share("tuned").of(np.array([0.5])).tolist() == [1]
        assert evaluator.dense_share("base") != evaluator.dense_share("tuned")
        late = evaluator.rerank_share(System("hybrid", "tuned", "base"))
        assert late.of(np.array([0.5])).tolist() == [1]
        if least == 3:  # a tuned reranker of its own is another model than the embedder's body
            whole = System("hybrid", "tuned", "tuned")
            assert evaluator.rerank_share(whole) == RERANK_SHARE
            evaluator.shares_body = True
            assert evaluator.rerank_share(whole).of(np.array([0.5])).tolist() == [1]


def test_a_site_measures_what_lines_gain_with_both_embedders_and_their_bodies() -> None:
    evaluator = World().evaluator(*HARD, question(2), min_human_questions=2)
    found = evaluator.measure_gains()
    assert find_gains_fault(found) is None
    # the right passage leads from a dense share of 2/3 on; BM25 alone puts it second
    shares = np.array([line.of(np.array([COVERED]))[0] for line in LINES])
    means = found["tuned_dense"][0]
    assert means[shares > 0.7] == pytest.approx(1 - 1 / np.log2(3))
    assert means[shares < 0.6] == pytest.approx(0)
    evaluator.base_reranker = "none"  # a model without vectors of tokens
    assert not evaluator.measure_gains()["tuned_late"].any()


def test_what_bm25_covers_whole_it_ranks_mostly_alone() -> None:
    evaluator = World().evaluator(replace(question(3), question="grey"))
    hybrid = System("hybrid", "base", "none")
    assert evaluator.mean_share("synthetic", lambda _: DENSE_SHARE) == pytest.approx(0.2)
    assert evaluator.measure_system("synthetic", hybrid).values["hit@1"].tolist() == [1]


def test_the_rerankers_share_is_fitted_where_human_questions_decide() -> None:
    world = World()
    humans = [replace(one, origin="human") for one in FOUR]
    hybrid = System("hybrid", "tuned", "tuned")
    evaluator = world.evaluator(*humans, question(5), min_human_questions=4)
    assert evaluator.rerank_share(hybrid) == RERANK_SHARE  # tuned retrieval is right at any share

    world.rerank["tuned"] = lambda pair: -world._overlap(pair)  # the right one goes last
    evaluator = world.evaluator(*humans, question(5), min_human_questions=4)
    share = evaluator.rerank_share(hybrid)  # where both weigh the same the first rank leads
    assert share.of(np.zeros(1))[0] <= 0.5  # no question is covered
    assert evaluator.measure_system("human", hybrid).values["hit@1"].tolist() == [1] * 4
    blind = world.evaluator(*humans, question(5), min_human_questions=5)
    assert blind.rerank_share(hybrid) == RERANK_SHARE
    untuned = System("hybrid", "base", "base")
    assert blind.rerank_share(untuned) == BODY_RERANK_SHARE
    blind.untuned_body = False  # a model that was configured
    assert blind.rerank_share(untuned) == RERANK_SHARE
    blind.untuned_body = True
    assert blind.measure_system("human", hybrid).values["hit@1"].tolist() == [0] * 4


def test_a_passage_of_a_small_corpus_is_ranked_once() -> None:
    three, world = PASSAGES[:3], World()
    small = DenseIndex(world.encode("tuned", [passage.content for passage in three]))
    evaluator = replace(world.evaluator(question(0)), passages=three, index=lambda _: small)
    hybrid = System("hybrid", "tuned", "none")

    assert evaluator.rank("synthetic", hybrid).columns.tolist() == [[0, 1, 2]]
    assert evaluator.measure_system("synthetic", hybrid).values["ndcg@10"].tolist() == [1]


# ---- answers


def test_questions_are_easy_where_the_untrained_embedder_finds_a_passage() -> None:
    world = World()
    rows = world.evaluator(*FOUR, contexts=3).measure_answers("synthetic", "tuned")

    # base ranks 1, 2 and 3 are within three contexts; of rank 4 the gold replaces the third
    assert {label: measured.n for label, measured in rows.items()} == {
        "all": 4,
        "easy": 3,
        "hard": 1,
    }
    contexts = [set(shown(prompt)) for _, prompt in world.prompts]
    assert contexts == [{"red", "blue", "brown"}] * 3 + [{"red", "blue", "grey"}]
    assert rows["all"].values["citation accuracy"].tolist() == [1] * 4
    assert rows["hard"].values["citation accuracy"].tolist() == [1]


def test_values_stay_with_their_questions_when_they_are_split() -> None:
    world = World()
    world.replies["tuned"] = lambda prompt: cite_right(prompt) if asked(prompt) == "ashen" else "0"
    rows = world.evaluator(*FOUR, contexts=3).measure_answers("synthetic", "tuned")

    assert rows["all"].values["citation accuracy"].tolist() == [0, 0, 0, 1]
    assert rows["easy"].values["citation accuracy"].tolist() == [0, 0, 0]
    assert rows["hard"].values["citation accuracy"].tolist() == [1]
    assert rows["hard"].values["answer exact match"].tolist() == [1]


def test_guessing_is_the_share_of_right_passages_shown() -> None:
    # two of four; one of four; none found, so one is put in; two gold, one on rank 3: one of four
    questions = [question(0, 2), question(1), question(6, 7), question(2, 9)]
    rows = World().evaluator(*questions, contexts=4).measure_answers("synthetic", "base")
    assert rows["all"].values[GUESSING].tolist() == [0.5, 0.25, 0.25, 0.25]


def test_all_generators_read_the_same_prompts_in_an_order_that_the_seed_shuffles() -> None:
    world = World()
    many = [question(column) for column in range(12)]
    evaluator = world.evaluator(*many, contexts=4)
    for generator in ("base", "tuned"):
        evaluator.measure_answers("synthetic", generator)

    base, tuned = ([p for which, p in world.prompts if which == g] for g in ("base", "tuned"))
    assert base == tuned
    places = Counter(shown(p).index(MEANT[asked(p)]) for p in base)
    assert places == {0: 3, 1: 3, 2: 3, 3: 3}  # a favourite place wins nothing
    again = World()
    again.evaluator(*many, contexts=4).measure_answers("synthetic", "base")
    assert [p for _, p in again.prompts] == base


def test_few_questions_are_drawn_once_in_their_order() -> None:
    world = World()
    many = [question(column) for column in range(12)]
    evaluator = world.evaluator(*many, max_answer_questions=5)
    rows = evaluator.chosen("synthetic", 5)

    assert len(rows) == 5
    assert all(one < other for one, other in pairwise(rows))
    assert evaluator.chosen("synthetic", 5) == rows
    assert evaluator.chosen("synthetic", 12) == evaluator.chosen("synthetic", None) == [*range(12)]
    assert evaluator.measure_answers("synthetic", "base")["all"].n == 5
    assert [asked(prompt) for _, prompt in world.prompts] == [ASKED[row] for row in rows]


@pytest.mark.parametrize("answers", [[("yes",), ()], [(), ()]])
def test_questions_without_answers_are_measured_by_their_citations(answers: Any) -> None:
    two = [question(i, answers=some) for i, some in enumerate(answers)]
    rows = World().evaluator(*two).measure_answers("synthetic", "tuned")
    assert rows["all"].values["citation accuracy"].tolist() == [1, 1]


# ---- what decides


@pytest.mark.parametrize(
    ("human", "least", "expected"),
    [(0, 1, "synthetic"), (1, 2, "synthetic"), (2, 2, "human"), (3, 2, "human")],
)
def test_the_users_own_questions_decide_where_there_are_enough(
    human: int, least: int, expected: str
) -> None:
    own = [question(column, origin="human") for column in range(human)]
    assert World().evaluator(*FOUR, *own, min_human_questions=least).deciding == expected


def test_a_verdict_follows_the_deciding_set() -> None:
    own = [question(0, origin="human")]  # base finds it: nothing to gain
    for least, is_kept in ((1, False), (2, True)):
        evaluator = World().evaluator(*FOUR, *own, min_human_questions=least)
        values = [
            {name: evaluator.measure_system(name, s) for name in evaluator.questions}
            for s in (BASE, TUNED)
        ]
        verdict = evaluator.judge("embedder", *values)
        assert (verdict.question_set, verdict.is_kept) == (evaluator.deciding, is_kept)


def test_a_generator_that_may_abstain_is_asked_without_the_right_passages_too() -> None:
    world = World()
    world.replies["tuned"] = lambda prompt: (
        cite_right(prompt) if MEANT[asked(prompt)] in shown(prompt) else "none\n\n### Answer\nno"
    )
    evaluator = world.evaluator(*FOUR, abstaining_share=0.1)
    values = {
        name: evaluator.measure_answers("synthetic", name)["all"].values
        for name in ("base", "tuned")
    }
    assert values["tuned"]["abstention when missing"].tolist() == [1] * 4
    assert values["tuned"]["answer when present"].tolist() == [1] * 4
    assert values["tuned"]["citation accuracy"].tolist() == [1] * 4
    assert values["base"]["abstention when missing"].tolist() == [0] * 4
    assert len(world.prompts) == 16
    assert "abstention when missing" not in (
        World().evaluator(*FOUR).measure_answers("synthetic", "tuned")["all"].values
    )


def test_a_generator_that_always_abstains_answers_nothing_that_is_there() -> None:
    world = World()
    world.replies["tuned"] = lambda _: "none\n\n### Answer\nno"
    values = world.evaluator(*FOUR, abstaining_share=0.1).measure_answers("synthetic", "tuned")
    assert values["all"].values["abstention when missing"].tolist() == [1] * 4
    assert values["all"].values["answer when present"].tolist() == [0] * 4


def test_what_nothing_answers_is_asked_with_what_is_found_for_it() -> None:
    world = World()
    world.replies["tuned"] = lambda prompt: (
        "none\n\n### Answer\nno" if asked(prompt) in ("ruby", "jade") else cite_right(prompt)
    )
    given = [question(0, origin="human"), question(1)]
    asks = {"unanswerable": ["ruby", "opal", "jade"], "min_human_questions": 1}
    evaluator = world.evaluator(*given, abstaining_share=0.1, **asks)
    measured = evaluator.measure_unanswerable("tuned")
    assert measured.values["abstention when unanswerable"].tolist() == [1, 0, 1]
    assert (measured.question_set, measured.n) == ("human", 3)
    answered = evaluator.measure_answers("human", "tuned")["all"]
    assert answered.values["answer when present"].tolist() == [1]
    assert answered.n == 1
    without = [prompt for _, prompt in world.prompts if asked(prompt) in asks["unanswerable"]]
    assert [shown(prompt) for prompt in without] == [COLOURS[:2]] * 3
    fewer = world.evaluator(*given, abstaining_share=0.1, max_answer_questions=2, **asks)
    assert fewer.measure_unanswerable("tuned").n == 2
    assert world.evaluator(*given, **asks).measure_unanswerable("tuned") is None
    assert world.evaluator(*given, abstaining_share=0.1).measure_unanswerable("tuned") is None


# ---- each thing is asked once


def test_a_ranking_is_worked_out_once() -> None:
    world = World()
    evaluator = world.evaluator(*FOUR, question(5, origin="human"))
    for _ in range(2):
        evaluator.measure_retrieval(["base", "tuned"], ["tuned"])
        evaluator.measure_variants(["embedder", "reranker"])
        for name in ("human", "synthetic"):
            evaluator.rank_shipped(name, ["embedder", "reranker"])

    assert len(world.encoded) == 4  # two embedders, two sets
    assert set(world.encoded.values()) == {1}
    assert world.indexed == {"base": 2, "tuned": 2}
    assert world.scored.total() == 4  # two hybrids, two sets


def test_folds_do_not_part_what_is_embedded() -> None:
    world = World()
    humans = [replace(one, origin="human") for one in FOUR]
    evaluator = crossed(world.evaluator(*humans, min_human_questions=1), [0, 2], [3], [1])
    evaluator.measure_retrieval(["base", "tuned"], ["tuned"])
    evaluator.measure_variants(["embedder", "reranker"])
    evaluator.rank_shipped("human", ["embedder", "reranker"])
    assert world.encoded == {("base", *ASKED[:4]): 1, ("tuned", *ASKED[:4]): 1}


# ---- variants


BASE_ORDER = (1 + SECOND + 0.5 + 0.43067655807339306) / 4  # nDCG of FOUR: 0.640


def test_every_combination_of_what_retrieves_is_measured_what_ships_first() -> None:
    evaluator = World().evaluator(*FOUR)
    variants = evaluator.measure_variants(["embedder", "reranker", "generator"])

    # tuned retrieval is perfect already: the reranker adds nothing to it, nor it to the reranker
    assert [(one.parts, one.metrics["ndcg@10"], one.n) for one in variants] == [
        (("embedder", "reranker"), 1, 4),
        (("embedder",), 1, 4),
        (("reranker",), 1, 4),
        ((), pytest.approx(BASE_ORDER), 4),
    ]
    assert [one.system for one in variants] == [
        System("hybrid", "tuned", "tuned"),
        System("hybrid", "tuned", "none"),
        System("hybrid", "base", "tuned"),
        System("hybrid", "base", "none"),
    ]
    assert {one.order_weight for one in variants} == {None}  # nothing answers yet
    assert not any(CITED_ANSWER in one.metrics for one in variants)
    alone = World().evaluator(*FOUR).measure_variants(["generator"])
    assert [one.parts for one in alone] == [()]


def reranked(*lacks: int, folds: Sequence[Sequence[int]] = (), **settings: Any) -> Evaluator:
    """What a reranker takes from each question: 1, from rank 1 to 2; -1, to rank 1 from 2; 0."""
    world = World()
    asked_of = [
        replace(question(int(lack < 0)), id=str(i), question=f"why {i}")
        for i, lack in enumerate(lacks)
    ]
    pairs = zip(asked_of, lacks, strict=True)
    first = {one.question: "blue" if lack else "red" for one, lack in pairs}
    world.rerank["tuned"] = lambda pair: float(first[pair[0]] == pair[1])
    evaluator = world.evaluator(*asked_of, **settings)
    documents = tuple("abcdefgh"[: len(lacks)])
    split = replace(evaluator.splits["synthetic"], documents=documents)
    evaluator = replace(evaluator, splits={**evaluator.splits, "synthetic": split})
    return crossed(evaluator, *folds) if folds else evaluator


@pytest.mark.parametrize(
    ("lacks", "documents", "ships"),
    [
        ((0, 0, 0, 0), "abcd", True),  # as good
        # A fourth in the mean. Deviations of 3/4, 3/4, -5/4 and -1/4 give an error of
        # sqrt(11/4)/4 = 0.41.
        ((1, 1, -1, 0), "abcd", True),
        # By documents they are 3/4 - 5/4, 3/4 and -1/4: an error of sqrt(7/8)/4 = 0.23.
        ((1, 1, -1, 0), "abac", False),
        ((1, 1, 0, 0), "abcd", False),  # a half, with an error of a fourth
        ((1, 0, 0, 0), "abcd", False),  # a fourth, with an error of sqrt(3/4)/4 = 0.22
        ((-1, 0, 0, 0), "abcd", True),  # better
    ],
)
def test_a_part_ships_unless_the_best_without_it_is_better_by_a_standard_error(
    lacks: Sequence[int], documents: str, ships: bool
) -> None:
    evaluator = reranked(*lacks)
    split = replace(evaluator.splits["synthetic"], documents=tuple(documents))
    evaluator = replace(evaluator, splits={"synthetic": split})
    variants = evaluator.measure_variants(["reranker"])

    assert evaluator.choose_parts(["reranker"]) == variants[0].parts
    assert [one.parts for one in variants] == (
        [("reranker",), ()] if ships else [(), ("reranker",)]
    )
    before = [SECOND if lack < 0 else 1 for lack in lacks]
    after = [SECOND if lack > 0 else 1 for lack in lacks]
    assert {one.parts: one.metrics["ndcg@10"] for one in variants} == {
        (): pytest.approx(sum(before) / 4),
        ("reranker",): pytest.approx(sum(after) / 4),
    }


def test_of_two_parts_the_one_that_helps_ships_where_both_do_harm() -> None:
    # over the tuned embedder, which is right already, the reranker brings "blue" forward
    world = World()
    world.rerank["tuned"] = lambda pair: float(pair[1] == "blue")
    variants = world.evaluator(*FOUR).measure_variants(["reranker", "embedder"])
    # both: "red", "brown" and "grey" come second. The reranker alone: the ranks 2, 1, 3 and 4.
    assert [(one.parts, one.metrics["ndcg@10"]) for one in variants] == [
        (("embedder",), 1),
        (("reranker", "embedder"), pytest.approx((1 + 3 * SECOND) / 4)),
        ((), pytest.approx(BASE_ORDER)),
        (("reranker",), pytest.approx(BASE_ORDER)),
    ]


def test_nothing_kept_still_gives_one_stack() -> None:
    (only,) = World().evaluator(*FOUR).measure_variants([])
    assert (only.parts, only.system) == ((), System("hybrid", "base", "none"))


def late(world: World, *questions: LabelledQuestion, **limits: Any) -> Evaluator:
    """What a user's reranker reads is ordered by the embedder's body: the tuned one understands."""
    world.rerank |= {"base body": lambda _: 0.0, "tuned body": world.rerank["tuned"]}
    found = world.evaluator(*questions, read_depth=2, **limits)
    found = replace(found, base_reranker="base", untuned_body=False)
    return replace(found, body=lambda which, pairs: world.score(f"{which} body", pairs))


def test_a_users_reranker_reads_what_late_interaction_put_first() -> None:
    world = World()
    world.rerank["base"] = lambda pair: -len(pair[1])  # of both that it reads, the shorter
    evaluator = late(world, *FOUR)
    found = measure_parts(evaluator, ("embedder",))
    assert {row.reranker for row in found.retrieval} == {"none", "body", "base"}
    untuned, tuned = (System("hybrid", which, "base") for which in ("base", "tuned"))
    # "blue", "red", "grey" and "brown" by the body: of the first two, "red" is shorter
    assert evaluator.rank("synthetic", replace(tuned, reranker="body")).columns[1][0] == 1
    assert evaluator.rank("synthetic", tuned).columns[1][0] == 0
    assert evaluator.rank("synthetic", untuned).columns.tolist() == [[0, 1, 2, 3]] * 4
    assert (evaluator.late_share(untuned), evaluator.late_share(tuned)) == (
        BODY_RERANK_SHARE,
        RERANK_SHARE,
    )
    assert evaluator.late_share(replace(tuned, reranker="body")) is None
    assert [evaluator.rerank_depth(replace(tuned, reranker=r)) for r in ("base", "body")] == [2, 4]
    assert {variant.late_share for variant in found.variants} == {BODY_RERANK_SHARE, RERANK_SHARE}
    assert {curve.share for curve in found.curves} == {"dense", "late", "reranking"}
    read = {pair for which, *pairs in world.scored if which == "base" for pair in pairs}
    assert {pair.split()[0] for pair in read} == set(ASKED[:4])
    assert len(read) <= 2 * 2 * 4  # rankings, passages and questions


@pytest.mark.parametrize(("body", "reranks"), [(0.5, "body"), (0.0, "none")])
def test_late_interaction_ships_alone_where_what_reads_after_it_counts_for_nothing(
    body: float, reranks: str
) -> None:
    four = [replace(one, origin="human") for one in FOUR]
    evaluator = late(World(), *four, min_human_questions=1)
    system = System("hybrid", "base", "base")
    evaluator._rerank_shares[system, None] = CoverageShare.constant(0.0)
    only = CoverageShare.constant(body)
    evaluator._rerank_shares[replace(system, reranker="body"), None] = only
    (variant,) = evaluator.measure_variants([])
    assert variant.system == replace(system, reranker=reranks)
    assert variant.late_share is None
    assert reranks == "none" or variant.rerank_share == only


def test_the_users_own_reranker_stays_where_no_trained_one_does() -> None:
    evaluator = replace(World().evaluator(*FOUR), base_reranker="base")
    stacks = evaluator.measure_variants(["reranker"])
    assert {s.parts: s.system.reranker for s in stacks} == {(): "base", ("reranker",): "tuned"}


# ---- answers from what is retrieved


def answered(
    evaluator: Evaluator,
    generator: str = "tuned",
    *,
    name: str = "synthetic",
    most: int | None = None,
) -> Measured:
    """What a generator makes of the base embedder's order, in which FOUR are on ranks 1 to 4."""
    return evaluator.measure_end_to_end(name, BASE, evaluator.rank(name, BASE), generator, most)


def test_what_was_really_retrieved_is_answered_in_its_order() -> None:
    world = World()
    evaluator = world.evaluator(*FOUR)
    measured = answered(evaluator, most=3)

    # at most three questions, whose right passage is not put in
    drawn = evaluator.chosen("synthetic", 3)
    assert [asked(prompt) for _, prompt in world.prompts] == [ASKED[row] for row in drawn]
    assert [shown(prompt) for _, prompt in world.prompts] == [["red", "blue"]] * 3
    assert measured.values["citation accuracy"].tolist() == [float(row < 2) for row in drawn]
    assert measured.documents == [COLOURS[row] for row in drawn]

    world = World()
    evaluator = world.evaluator(*FOUR)
    ranking = evaluator.rank("synthetic", TUNED)
    found = evaluator.measure_end_to_end("synthetic", TUNED, ranking, "base", 9)
    assert [shown(prompt)[0] for _, prompt in world.prompts] == COLOURS[:4]
    assert found.n == 4


def cites_first(prompt: Prompt) -> str:
    return "1\n\n### Answer\nyes"


def test_the_order_decides_the_citation_where_the_generator_does_not() -> None:
    world = World()
    world.replies["base"] = cites_first
    measured = answered(world.evaluator(*FOUR, contexts=4), "base")
    assert [begun(prompt) for _, prompt in world.prompts] == ["1"] * 4
    assert world.chosen == [("base", ("1", "2", "3", "4"))] * 4
    assert measured.values["citation precision"].tolist() == [1, 0, 0, 0]
    assert measured.values["answer f1"].tolist() == [1] * 4
    assert measured.values[CITED_ANSWER].tolist() == [1, 0.5, 0.5, 0.5]


def test_a_generator_that_is_sure_overrides_the_order() -> None:
    world = World()
    measured = answered(world.evaluator(*FOUR, contexts=4))
    assert [begun(prompt) for _, prompt in world.prompts] == ["1", "2", "3", "4"]
    assert measured.values[CITED_ANSWER].tolist() == [1] * 4


@pytest.mark.parametrize(
    ("chances", "cited"),
    [
        # with the prior's power of 4 the second place counts 1/16 and the third 1/81
        ({"1": 0.055, "2": 0.9, "3": 0.045}, "2"),  # 0.9 / 16 = 0.05625
        ({"1": 0.057, "2": 0.9, "3": 0.043}, "1"),
        ({"1": 0.01, "2": 0.13, "3": 0.86}, "3"),  # 0.13 / 16 = 0.0081; 0.86 / 81 = 0.0106
        ({"1": 0.01, "2": 0.18, "3": 0.81}, "2"),  # 0.01125; 0.01
    ],
)
def test_chances_are_divided_by_the_fourth_power_of_the_place(
    chances: Mapping[str, float], cited: str
) -> None:
    world = World()
    world.chances["tuned"] = lambda _: chances
    answered(world.evaluator(FOUR[0], contexts=3))
    assert [begun(prompt) for _, prompt in world.prompts] == [cited]


def test_a_reply_is_its_number_and_what_follows() -> None:
    world = World()
    said = {
        "crimson": "\n\n### Answer\nyes",
        "azure": ", 1\n\n### Answer\nyes indeed",  # one of two is right
        "umber": " is what I mean.",  # a sentence cites nothing, and has no answer
        "ashen": "\n\n### Answer\nno",
    }
    world.replies["tuned"] = lambda prompt: said[asked(prompt)]
    values = answered(world.evaluator(*FOUR, contexts=4)).values

    assert [prompt.prefix for _, prompt in world.prompts] == [
        f"{REFERENCE}{i}" for i in (1, 2, 3, 4)
    ]
    assert values["citation precision"].tolist() == [1, 0.5, 0, 1]
    assert values["answer f1"].tolist() == [1, pytest.approx(2 / 3), 0, 0]
    assert values[CITED_ANSWER].tolist() == [1, pytest.approx(7 / 12), 0, 0.5]


def test_citing_everything_gains_nothing() -> None:
    world = World()
    world.replies = {"base": cites_first, "tuned": lambda _: "1, 2, 3, 4\n\n### Answer\nyes"}
    world.chances["tuned"] = world.chances["base"]
    evaluator = world.evaluator(*FOUR, contexts=4)
    base, tuned = ({"synthetic": answered(evaluator, which)} for which in ("base", "tuned"))

    assert tuned["synthetic"].values["citation accuracy"].tolist() == [1] * 4
    assert base["synthetic"].values["citation accuracy"].tolist() == [1, 0, 0, 0]
    # one of four is right wherever it stands, and one in four is right at the first place
    assert tuned["synthetic"].values[CITED_ANSWER].tolist() == [0.625] * 4
    verdict = evaluator.judge("generator", base, tuned)
    assert not verdict.is_kept and verdict.reason.startswith("no gain")
    assert (verdict.comparison.before, verdict.comparison.after) == (0.625, 0.625)


def test_questions_without_answers_are_judged_by_the_citations_precision_alone() -> None:
    questions = [question(0, answers=()), question(1)]
    world = World()
    world.replies["tuned"] = lambda prompt: "1, 2\n\n### Answer\nyes"
    values = answered(world.evaluator(*questions)).values
    # "crimson" cites both passages, and "azure" the second twice, which counts once
    assert values["citation precision"].tolist() == [0.5, 1]
    assert values[CITED_ANSWER].tolist() == [0.5, 1]


def test_a_generator_that_may_abstain_does_so_where_that_is_the_likeliest() -> None:
    world = World()
    chances = {
        "crimson": {"none": 0.4, "1": 0.3, "2": 0.3},
        "azure": {"none": 0.4, "1": 0.1, "2": 0.5},  # by the order the first, 0.1 to 0.5 / 16
    }
    world.chances["tuned"] = lambda prompt: chances[asked(prompt)]
    measured = answered(world.evaluator(*FOUR[:2], abstaining_share=0.1))
    # each with its passages, and with others in place of the right one
    assert world.chosen == [("tuned", ("1", "2", "none"))] * 4
    assert [begun(prompt) for _, prompt in world.prompts] == ["none", "1"]
    assert measured.values["citation precision"].tolist() == [0, 0]
    assert measured.values["answer f1"].tolist() == [1, 1]

    world.chosen.clear()
    answered(world.evaluator(*FOUR[:2]))
    assert world.chosen == [("tuned", ("1", "2"))] * 2


# ---- when it abstains


def doubting(*doubts: float, right: float = 0.0, origin: Any = "synthetic", **settings: Any) -> Any:
    """Questions about the first passages, to which "none" is so likely with the right one shown.

    Without it "none" is likelier by 0.3, and the first passage has what is left.
    """
    world = World()
    by_question = dict(zip(ASKED, doubts, strict=False))

    def chances(prompt: Prompt) -> Mapping[str, float]:
        none = by_question.get(asked(prompt), 0.95) + 0.3 * (right_number(prompt) == "0")
        return {"none": none, "1": 1 - none}

    world.chances["tuned"] = chances
    world.replies["tuned"] = cites_first
    some = [question(column, origin=origin) for column in range(len(doubts))]
    some += [question(5)] if origin == "human" else []
    limits = {"contexts": 4, "abstaining_share": 0.1, "answered_share": 0.5, **settings}
    return world, world.evaluator(*some, **limits)


def test_a_question_is_declined_where_none_exceeds_the_threshold_that_was_fitted() -> None:
    # all are covered alike: of the first half, 0.1 and 0.2, the second, for 3 * 0.5 = 1.5
    world, evaluator = doubting(0.1, 0.2, 0.3, 0.4)
    assert evaluator.citation_rule("tuned") == CitationRule()
    measured = answered(evaluator)
    assert evaluator.citation_rule("tuned") == CitationRule(threshold=0.201)
    assert measured.values[ANSWERED].tolist() == [1, 1, 0, 0]
    assert [begun(prompt) for _, prompt in world.prompts] == ["1", "1", "none", "none"]
    # without the right passage 0.4, 0.5, 0.6 and 0.7
    assert measured.values[ABSTENTION].tolist() == [1, 1, 1, 1]
    assert measured.abstention == AbstentionCurve(
        question_set="synthetic",
        generator="tuned",
        threshold=0.201,
        promised=0.5,
        validation=1.0,
        answered=0.5,
        present=4,
        declined=1.0,
        missing=4,
        coverage=0.25,
        risk=0.5,  # the first passage is cited, which is right once
        risks=pytest.approx((0, 0.5, 0.5, 2 / 3, 0.75, 0.8, 5 / 6, 5 / 6, 6 / 7, 0.875)),
    )
    # what other passages are shown to it is what follows
    assert shown(world.prompts[0][1]) == COLOURS[:4]


def test_the_threshold_of_a_fold_is_fitted_on_the_others() -> None:
    _, evaluator = doubting(0.0, 0.2, 0.3, 0.4)
    measured = answered(crossed(evaluator, [0, 1], [2, 3]))
    # of one the first: 0.3 for the first fold, and 0.0 for the other
    assert measured.values[ANSWERED].tolist() == [1, 1, 0, 0]
    assert measured.values[ABSTENTION].tolist() == [0, 1, 1, 1]
    assert measured.abstention.threshold == 0.201  # what ships is fitted on all of them
    assert (measured.abstention.validation, measured.abstention.answered) == (1.0, 0.5)


def test_synthetic_questions_in_words_of_their_passage_fit_no_threshold() -> None:
    _, evaluator = doubting(0.1, 0.2, 0.3, 0.4)
    first, *others = evaluator.questions["synthetic"]
    copied = replace(first, question="red")  # its passage's word; "none" has 0.95
    answered(evaluator := replace(evaluator, questions={"synthetic": [copied, *others]}))
    # of the others, which are covered alike, the first two: the second of 0.2 and 0.3
    assert evaluator.citation_rule("tuned").threshold == 0.301


def test_the_other_set_is_declined_by_what_was_fitted_on_the_one_that_decides() -> None:
    _, evaluator = doubting(0.1, 0.2, 0.3, 0.4, origin="human", min_human_questions=5)
    assert evaluator.deciding == "synthetic"
    evaluator = replace(evaluator, config=evaluator.config.model_copy(update={"answered_share": 0}))
    few = answered(evaluator, name="human")
    assert (few.abstention.threshold, few.abstention.validation) == (None, None)
    assert few.values[ANSWERED].tolist() == [1, 1, 1, 1]  # "none" is likelier nowhere

    _, evaluator = doubting(0.1, 0.2, 0.3, 0.4, origin="human", min_human_questions=1)
    assert evaluator.deciding == "human"
    human, synthetic = (answered(evaluator, name=name) for name in ("human", "synthetic"))
    assert human.abstention.validation == 0.75
    assert synthetic.abstention.validation is None
    assert human.abstention.threshold == synthetic.abstention.threshold == 0.301


def test_too_few_questions_promise_nothing() -> None:
    _, evaluator = doubting(0.1, 0.6, answered_share=0.95)
    measured = answered(evaluator)
    assert measured.abstention.threshold is None
    assert measured.values[ANSWERED].tolist() == [1, 0]
    assert measured.values[ABSTENTION].tolist() == [0, 1]


def test_a_generator_that_must_answer_all_declines_nothing() -> None:
    _, evaluator = doubting(0.1, 0.6, answered_share=1)
    measured = answered(evaluator)
    assert measured.values[ANSWERED].tolist() == [1, 1]
    assert measured.values[ABSTENTION].tolist() == [0, 0]


def test_questions_whose_passage_was_not_retrieved_fit_no_threshold() -> None:
    _, evaluator = doubting(0.1, 0.2, 0.3, 0.4, contexts=2)  # the last two stand third and fourth
    measured = answered(evaluator)
    assert evaluator.citation_rule("tuned").threshold == 0.101  # of half of the two, one
    np.testing.assert_array_equal(measured.values[ANSWERED], [1, 0, np.nan, np.nan])
    # what was retrieved for them lacks the right passage already, and is as it was read
    assert measured.values[ABSTENTION].tolist() == [1, 1, 1, 1]
    assert measured.abstention.present == 2


def test_a_question_for_which_no_passage_is_left_is_not_asked_without() -> None:
    world, evaluator = doubting(0.1, 0.2)
    evaluator = replace(
        evaluator,
        passages=PASSAGES[:2],
        questions={"synthetic": [question(0), question(1, 0)]},
        index=lambda _: DenseIndex(np.ones((2, 1), np.float32)),
    )
    measured = answered(evaluator)
    assert [choices for _, choices in world.chosen] == [("1", "2", "none")] * 2 + [("1", "none")]
    np.testing.assert_array_equal(measured.values[ABSTENTION], [1, np.nan])
    assert (measured.abstention.missing, measured.abstention.present) == (1, 2)


def test_what_nothing_answers_is_declined_by_the_same_threshold() -> None:
    asks = ["ruby", "jade", "umber"]  # 0.95 and 0.95 of nothing that is known; 0.2
    _, evaluator = doubting(0.1, 0.3, 0.2, 0.4, unanswerable=asks, max_stack_questions=4)
    found = measure_parts(evaluator, ("generator",))
    gains = compared(found, SHIPPED, UNANSWERABLE)
    assert [(gain.n, gain.before) for gain in gains] == [(3, 0)]
    curves = {(curve.generator, curve.question_set): curve for curve in found.abstention}
    assert set(curves) == {("base", "synthetic"), ("tuned", "synthetic")}
    assert curves["tuned", "synthetic"].unanswerable == pytest.approx(2 / 3)
    assert curves["base", "synthetic"].unanswerable == 0  # all choices are alike to it
    by_parts = {one.parts: one.abstention_threshold for one in found.variants}
    kept = ("generator",) in by_parts
    assert by_parts[("generator",) if kept else ()] == (0.301 if kept else 0.2)


def test_a_run_ends_where_a_server_returns_no_probabilities_for_what_nothing_answers() -> None:
    world, evaluator = doubting(0.1, 0.2, 0.3, 0.4, unanswerable=["ruby"])

    def choose(which: str, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        if any(asked(prompt) == "ruby" for prompt in prompts):
            raise ProbabilitiesError("The server returns none of these.")
        return world.choose(which, prompts, choices)

    found = measure_parts(replace(evaluator, choose=choose), ("generator",))
    assert not compared(found, SHIPPED, UNANSWERABLE)
    assert {curve.unanswerable for curve in found.abstention} == {None}
    assert found.abstention[-1].threshold == 0.201


@pytest.mark.parametrize("form", ["raft", "ralt"])
def test_a_reply_that_begins_otherwise_cites_by_itself(form: str) -> None:
    world = World()
    said = {
        "raft": lambda p: f'[1] "red"\n\n### Reference\n{cite_right(p)}',
        "ralt": lambda p: "yes indeed" if asked(p) == "azure" else "yes",
    }
    world.replies["tuned"] = said[form]
    evaluator = world.evaluator(*FOUR, contexts=4, format=form)
    measured = answered(evaluator)
    assert world.chosen == []
    (prefix,) = {prompt.prefix for _, prompt in world.prompts}
    assert prefix == evaluator.form.prefix
    if form == "raft":
        assert measured.values["citation precision"].tolist() == [1] * 4
        assert measured.values[CITED_ANSWER].tolist() == [1] * 4
    else:  # by the answer alone
        assert "citation precision" not in measured.values
        assert measured.values[CITED_ANSWER].tolist() == [1, pytest.approx(2 / 3), 1, 1]
        assert measured.values["answer f1"].tolist() == measured.values[CITED_ANSWER].tolist()


def test_where_no_answer_is_known_a_generator_without_citations_is_not_judged() -> None:
    evaluator = World().evaluator(*without_answers(0, 1, origin="synthetic"), format="ralt")
    assert np.isnan(answered(evaluator).values[CITED_ANSWER]).all()


# ---- what the order counts for


def ordered(*columns: int, origin: str = "human", **settings: Any) -> tuple[World, Evaluator]:
    """Questions about the first passage or the second, of which a generator prefers the second.

    It is 0.7 sure of it: with a power of 1 the second has 0.35 to 0.3, and with 2 it has 0.175.
    """
    world = World()
    world.chances["tuned"] = lambda _: {"1": 0.3, "2": 0.7}
    world.replies["tuned"] = cites_first
    some = [replace(question(column, origin=origin), id=str(i)) for i, column in enumerate(columns)]
    some += [question(1)] if origin == "human" else []
    evaluator = world.evaluator(*some, **{"min_human_questions": 1, **settings})
    split = replace(evaluator.splits[origin], documents=tuple("abcdefgh"[: len(columns)]))
    return world, replace(evaluator, splits={**evaluator.splits, origin: split})


def test_what_the_order_counts_for_is_chosen_on_human_questions_where_they_decide() -> None:
    # Three are right up to a power of 1, one from 2 on: of the former 1 is the nearest to the
    # prior. Others lack a half, with an error of sqrt(3 * (1/2)^2 + (3/2)^2) / 4 = 0.43.
    _, evaluator = ordered(0, 1, 1, 1)
    assert evaluator.citation_rule("tuned").order_weight == ORDER_WEIGHT == 4
    precision = answered(evaluator, name="human").values["citation precision"]
    assert precision.tolist() == [0, 1, 1, 1]
    assert evaluator.citation_rule("tuned").order_weight == 1
    assert evaluator.citation_rule("base").order_weight == ORDER_WEIGHT
    # the other set has what the human questions chose
    assert answered(evaluator).values["citation precision"].tolist() == [1]

    # two and two: nothing is clearly better than the prior
    _, evaluator = ordered(0, 0, 1, 1)
    precision = answered(evaluator, name="human").values["citation precision"]
    assert precision.tolist() == [1, 1, 0, 0]
    assert evaluator.citation_rule("tuned").order_weight == ORDER_WEIGHT


def test_what_the_order_counts_for_in_a_fold_is_chosen_on_the_others() -> None:
    world, evaluator = ordered(0, 1, 1, 1)
    evaluator = crossed(evaluator, [0], [1, 2, 3])
    # by the first question the prior, by the three others 1: all are wrong
    precision = answered(evaluator, name="human").values["citation precision"]
    assert precision.tolist() == [0, 0, 0, 0]
    assert [begun(prompt) for _, prompt in world.prompts] == ["2", "1"]  # the last three are alike
    assert evaluator.citation_rule("tuned").order_weight == 1  # what ships is chosen on all of them

    # without one of the last three the first lacks 1/3, with an error of sqrt(8/3) / 3 = 0.54
    _, evaluator = ordered(0, 1, 1, 1)
    evaluator = crossed(evaluator, [0], [3], [1], [2])
    precision = answered(evaluator, name="human").values["citation precision"]
    assert precision.tolist() == [0, 0, 0, 0]
    # where all agree each fold's others choose the same
    _, evaluator = ordered(1, 1, 1, 1)
    agreed = answered(crossed(evaluator, [0, 3], [1, 2]), name="human")
    assert agreed.values["citation precision"].tolist() == [1, 1, 1, 1]


def test_a_fold_whose_others_were_not_answered_has_the_prior() -> None:
    world, evaluator = ordered(1, 1, 1, 1)
    evaluator = crossed(evaluator, [0], [1], [2], [3])
    measured = answered(evaluator, name="human", most=1)
    assert [begun(prompt) for _, prompt in world.prompts] == ["1"]
    assert measured.values["citation precision"].tolist() == [0]
    assert (
        evaluator.citation_rule("tuned").order_weight == 1
    )  # the one that was answered chooses what ships


@pytest.mark.parametrize(
    ("origin", "settings"),
    [("synthetic", {}), ("human", {"min_human_questions": 5})],
)
def test_what_the_order_counts_for_is_the_prior_where_human_questions_do_not_decide(
    origin: str, settings: Mapping[str, int]
) -> None:
    world, evaluator = ordered(1, 1, 1, 1, origin=origin, **settings)
    precision = answered(evaluator, name=origin).values["citation precision"]
    assert set(precision) == {0}
    assert {begun(prompt) for _, prompt in world.prompts} == {"1"}
    assert evaluator.citation_rule("tuned").order_weight == ORDER_WEIGHT


# ---- all of it


def compared(found: Measurements, part: str, metric: str = "ndcg@10") -> list[PartComparison]:
    return [row for row in found.comparisons if (row.part, row.metric) == (part, metric)]


def parts_of(stacks: Sequence[SystemVariant]) -> set[tuple[str, ...]]:
    return {stack.parts for stack in stacks}


def test_a_generator_alone_is_measured_judged_and_stacked() -> None:
    own = [question(column, origin="human") for column in range(4, 8)]
    found = measure_parts(World().evaluator(*FOUR, *own), ("generator",))

    assert [(v.part, v.is_kept) for v in found.verdicts] == [("generator", True)]
    assert found.variants[0].parts == ("generator",)
    assert found.variants[0].system == System("hybrid", "base", "none")
    assert {(row.generator, row.questions) for row in found.answers} == {
        (generator, some) for generator in ("base", "tuned") for some in ("all", "easy", "hard")
    }
    # human questions lie beyond the contexts: none is easy, and an empty row is left out
    human = [row for row in found.answers if row.question_set == "human"]
    assert [(row.generator, row.questions) for row in human] == [
        ("base", "all"),
        ("base", "hard"),
        ("tuned", "all"),
        ("tuned", "hard"),
    ]
    assert {GUESSING, MISCITED}.isdisjoint(row.metric for row in found.comparisons)
    assert {row.question_set for row in found.comparisons} == {"human", "synthetic"}
    assert {row.part for row in found.comparisons} == {SHIPPED, "generator", SHUFFLED}


def first_cited(world: World) -> None:
    """The base generator cites by the order alone, and answers wrongly."""
    world.replies["base"] = lambda _: "1\n\n### Answer\nno"


def test_a_generator_is_judged_by_what_it_makes_of_what_ships() -> None:
    world = World()
    first_cited(world)
    found = measure_parts(world.evaluator(*FOUR), ("embedder", "generator"))

    # the tuned embedder has the right passage first: all that is missing is the answer
    generator = found.verdicts[1]
    assert (generator.part, generator.is_kept) == ("generator", True)
    assert generator.comparison.metric == CITED_ANSWER
    assert (generator.comparison.before, generator.comparison.after) == (0.5, 1)
    assert (generator.comparison.n, generator.question_set) == (4, "synthetic")
    (judged,) = compared(found, "generator", CITED_ANSWER)
    assert (judged.before, judged.after, judged.low) == (0.5, 1, generator.comparison.low)
    (precision,) = compared(found, "generator", "citation precision")
    assert (precision.before, precision.after) == (1, 1)

    # without it one of four is found in the first place
    world = World()
    first_cited(world)
    alone = measure_parts(world.evaluator(*FOUR), ("generator",)).verdicts[0]
    # the second passage is shown to the tuned one too; the others are cited wrongly
    assert (alone.comparison.before, alone.comparison.after) == (0.125, 0.75)


def test_shuffled_answers_are_compared_beside_the_verdict() -> None:
    world = World()
    first_cited(world)
    evaluator = world.evaluator(*FOUR, max_answer_questions=2, max_stack_questions=3)
    found = measure_parts(evaluator, ("embedder", "generator"))

    (shuffled,) = compared(found, SHUFFLED, CITED_ANSWER)
    rows = {row.generator: row for row in found.answers if row.questions == "all"}
    assert (shuffled.n, shuffled.after) == (2, 1)
    assert shuffled.before == rows["base"].metrics[CITED_ANSWER]
    assert rows["tuned"].metrics[CITED_ANSWER] == 1
    (judged,) = compared(found, "generator", CITED_ANSWER)
    assert judged.n == 3
    # shuffled passages are cited without being asked for a number
    assert [begun(prompt) for _, prompt in world.prompts[:4]] == [""] * 4
    assert "" not in [begun(prompt) for _, prompt in world.prompts[4:]]


def test_a_generator_much_larger_than_its_teacher_is_refused_but_by_people() -> None:
    evaluator = World().evaluator(*FOUR, *(question(i, origin="human") for i in (4, 5)))
    for least, is_kept in ((3, False), (2, True)):
        limits = evaluator.config.model_copy(update={"min_human_questions": least})
        outgrown = replace(evaluator, config=limits, outgrows_teacher=True)
        (verdict, generator) = measure_parts(outgrown, ("embedder", "generator")).verdicts
        assert verdict.is_kept  # other parts learn from questions, not from answers
        assert generator.is_kept == is_kept
        assert ("much smaller" in generator.reason) != is_kept


def test_a_generator_that_gains_nothing_is_refused() -> None:
    world = World()
    world.replies["base"] = cite_right
    # sure of the passage, the tuned one gains nothing where the order has it first
    found = measure_parts(world.evaluator(*FOUR), ("embedder", "generator"))

    generator = found.verdicts[1]
    assert not generator.is_kept and generator.reason.startswith("no gain on the synthetic")
    assert (generator.comparison.before, generator.comparison.after) == (1, 1)
    assert found.variants[0].parts == ("embedder",)
    assert found.variants[0].metrics[CITED_ANSWER] == 1  # by the base generator
    # it is sure of it where the order is wrong, too
    alone = measure_parts(world.evaluator(*FOUR), ("generator",)).verdicts[0]
    assert alone.is_kept and alone.comparison.metric == CITED_ANSWER
    assert (alone.comparison.before, alone.comparison.after) == (0.625, 0.75)


@pytest.mark.parametrize(
    ("form", "reply", "before"),
    [
        ("ralt", lambda _: "yes", 0),
        # by itself it cites the third passage, that is one of four, without an answer
        ("raft", lambda p: f'[1] "red"\n\n### Reference\n{cite_right(p)}', 0.125),
    ],
)
def test_a_generator_is_judged_by_the_answers_and_citations_that_it_gives(
    form: str, reply: Callable[[Prompt], str], before: float
) -> None:
    world = World()
    world.replies["tuned"] = reply
    if form == "raft":
        world.replies["base"] = lambda _: '[3] "red"\n\n### Reference\n3\n\n### Answer\nno'
    evaluator = world.evaluator(*FOUR, contexts=4, format=form)
    found = measure_parts(evaluator, ("generator",))

    (verdict,) = found.verdicts
    assert (verdict.is_kept, verdict.comparison.metric) == (True, CITED_ANSWER)
    assert (verdict.comparison.before, verdict.comparison.after) == (before, 1)
    assert world.chosen == []
    assert {variant.order_weight for variant in found.variants} == {None}


def test_what_ships_tells_what_its_generator_cites_by() -> None:
    found = measure_parts(World().evaluator(*FOUR), ("embedder", "generator"))
    answering = {v.parts: v for v in found.variants if CITED_ANSWER in v.metrics}
    assert {parts: one.order_weight for parts, one in answering.items()} == {
        ("embedder", "generator"): ORDER_WEIGHT,
        (): ORDER_WEIGHT,
    }
    found = measure_parts(World().evaluator(*FOUR), ("embedder",))
    assert {variant.order_weight for variant in found.variants} == {None}

    # where human questions decide it is what they choose, for the generator that ships
    _, evaluator = ordered(0, 1, 1, 1)
    found = measure_parts(evaluator, ("generator",))
    assert found.variants[0].parts == ("generator",)
    assert found.variants[0].order_weight == 1


def test_the_other_set_is_answered_after_the_one_that_decides() -> None:
    _, evaluator = ordered(0, 1, 1, 1)
    otherwise = dict(reversed(evaluator.questions.items()))
    assert [*otherwise] == ["synthetic", "human"]
    found = measure_parts(replace(evaluator, questions=otherwise), ("generator",))
    # with the prior the first passage would be cited, which is wrong
    precision = {
        row.question_set: row for row in compared(found, "generator", "citation precision")
    }
    assert (precision["synthetic"].before, precision["synthetic"].after) == (0, 1)
    assert (precision["human"].before, precision["human"].after) == (0, 0.75)


def test_both_generators_are_tried_beside_their_task() -> None:
    world = World()
    world.likelihood = lambda which, _text, _reply: {"base": -2.0, "tuned": -3.0}[which]
    said = world.replies["base"]
    world.replies["base"] = lambda p: "Paris, honey or ice." if is_instruction(p) else said(p)
    found = measure_parts(world.evaluator(*FOUR), ("generator",))

    assert found.probes == ()
    perplexity = found.forgetting.perplexity
    assert (perplexity.before, perplexity.after, perplexity.n) == (
        *(pytest.approx(np.e**2), pytest.approx(np.e**3)),
        8,
    )
    followed = found.forgetting.instructions
    assert (followed.n, followed.before, followed.after) == (22, pytest.approx(3 / 22), 0)
    assert [which for which, _ in world.instructed] == ["base"] * 22 + ["tuned"] * 22
    assert measure_parts(World().evaluator(*FOUR), ("embedder",)).forgetting is None


def test_an_answer_rests_on_what_it_cites_where_that_makes_it_likelier() -> None:
    world = World()
    world.replies["tuned"] = lambda p: {
        "crimson": "1, 2\n\n### Answer\nyes",
        "azure": "none\n\n### Answer\nno",
        "umber": "I cite nothing.",
        "ashen": "2\n\n### Answer\nyes",
    }.get(asked(p), "")

    # what is cited stands before the question: crimson's answer gains 0.5, ashen's 0.4
    gains = {"crimson": 0.5, "ashen": 0.4}

    def likelihood(which: str, text: str, reply: str) -> float:
        passages, question = text.rpartition("Question: ")[::2]
        return -2 + (gains[question.split("\n")[0]] if passages else 0)

    world.likelihood = likelihood
    evaluator = world.evaluator(*FOUR, contexts=3)
    evaluator.measure_answers("synthetic", "tuned")
    grounded = evaluator.measure_grounding("synthetic", "tuned")

    expected = [1, np.nan, 0, 0]
    np.testing.assert_array_equal(grounded["all"]["groundedness"], expected)
    np.testing.assert_array_equal(grounded["easy"]["groundedness"], expected[:3])  # as the answers
    np.testing.assert_array_equal(grounded["hard"]["groundedness"], expected[3:])
    assert len(world.read) == 4
    assert {(which, reply) for which, _, reply in world.read} == {("base", " yes")}
    (cited,) = [text for _, text, _ in world.read if text.count("\n\n") == 2]
    assert [*cited.split("\n\n")[:2]] == shown(world.prompts[0][1])[:2]


def test_a_gain_is_told_of_the_questions_that_both_apply_to() -> None:
    nan = np.nan
    before = {"grounded": [0.0, nan, 0.0, 1.0], "never": [nan, 1.0, nan, nan]}
    after = {"grounded": [nan, nan, 1.0, 1.0], "never": [1.0, nan, nan, nan]}
    pair = (
        Measured(
            question_set="human",
            values={metric: np.array(column) for metric, column in values.items()},
            documents=["a", "a", "b", "c"],
        )
        for values in (before, after)
    )
    (gain,) = World().evaluator(*FOUR).compare(*pair)
    assert (gain.metric, gain.n, gain.before, gain.after) == ("grounded", 2, 0.5, 1)
    assert gain.clusters == 2  # b and c


def test_answers_that_cite_nothing_are_not_read() -> None:
    world = World()
    evaluator = world.evaluator(*FOUR)
    assert evaluator.measure_grounding("synthetic", "base")["all"]["groundedness"].sum() == 0
    assert world.read == []


# ---- probes


def probed(world: World, *questions: LabelledQuestion, **settings: Any) -> list[ProbeRow]:
    evaluator = world.evaluator(*questions, contexts=3, **settings)
    return probe(evaluator, "tuned")


def test_the_right_passage_is_put_at_each_place_and_among_more_and_more() -> None:
    world = World()
    # it cites the first passage, whatever it holds
    world.replies["tuned"] = lambda p: f"{min(1, len(shown(p)))}\n\n### Answer\nyes"
    rows = probed(world, *[question(column) for column in range(10)])

    assert [(row.probe, row.value, row.n) for row in rows] == [
        *(("place of the right passage", place, 10) for place in (1, 2, 3)),
        *(("passages shown", count, 10) for count in (2, 5, 10)),  # there are 12, not 20
        ("no passage", 0, 10),
    ]
    accuracy = [row.metrics.get("citation accuracy") for row in rows]
    # right at the first place alone, which is one in 2, in 5 and in 10
    assert accuracy == [1, 0, 0, *(pytest.approx(1 / n) for n in (2, 5, 10)), None]
    assert rows[-1].metrics["answer f1"] == 1
    assert {(row.generator, row.question_set) for row in rows} == {("tuned", "synthetic")}
    sizes = Counter(len(shown(prompt)) for _, prompt in world.prompts)
    assert sizes == {3: 30, 2: 10, 5: 10, 10: 10, 0: 10}


def test_the_others_keep_their_order_when_the_right_passage_is_moved() -> None:
    world = World()
    probed(world, question(1))
    moved = [shown(prompt) for _, prompt in world.prompts[:3]]
    assert [some.index("blue") for some in moved] == [0, 1, 2]
    assert len({tuple(text for text in some if text != "blue") for some in moved}) == 1


def test_few_of_the_deciding_questions_are_probed() -> None:
    many = [replace(question(i % 12), id=str(i)) for i in range(60)]
    rows = probed(World(), *many)
    assert {row.n for row in rows} == {40}


def test_probes_are_asked_of_both_generators_where_they_are_wanted() -> None:
    found = measure_parts(World().evaluator(*FOUR, probes=True), ("generator",))
    assert [row.generator for row in found.probes] == ["base"] * 6 + ["tuned"] * 6


def test_refused_parts_are_in_no_stack() -> None:
    world = World()
    world.rerank["tuned"] = lambda pair: -world._overlap(pair)  # the right one goes last
    world.replies["tuned"] = world.replies["base"]  # it has learnt nothing
    found = measure_parts(world.evaluator(*FOUR), ("embedder", "reranker", "generator"))

    assert [(v.part, v.is_kept) for v in found.verdicts] == [
        ("embedder", True),
        ("reranker", False),
        ("generator", False),
    ]
    assert parts_of(found.variants) == {(), ("embedder",)}
    for stack in found.variants:
        assert stack.system.reranker == "none"
    # both generators answer from what ships, which has no reranker
    last = [(which, shown(prompt)[0]) for which, prompt in world.prompts[-8:]]
    assert last == [(which, colour) for which in ("base", "tuned") for colour in COLOURS[:4]]


def test_an_embedder_that_is_refused_is_under_no_reranker() -> None:
    world = World()
    evaluator = world.evaluator(*[question(0)] * 4)  # the base embedder is right already
    found = measure_parts(evaluator, ("embedder", "reranker"))

    assert [(v.part, v.is_kept) for v in found.verdicts] == [
        ("embedder", False),
        ("reranker", False),
    ]
    assert parts_of(found.variants) == {()}
    assert found.variants[0].system == System("hybrid", "base", "none")


def test_a_trained_reranker_is_judged_over_the_users_own_one() -> None:
    world = World()
    world.rerank["base"] = world._overlap  # as good as the trained one: nothing to gain
    evaluator = replace(world.evaluator(*FOUR), base_reranker="base")
    found = measure_parts(evaluator, ("reranker",))

    (verdict,) = found.verdicts
    assert (verdict.is_kept, verdict.comparison.before) == (False, 1)
    assert {row.reranker for row in found.retrieval} == {"none", "base", "tuned"}
    assert [stack.system.reranker for stack in found.variants] == ["base"]


def test_an_embedder_is_judged_by_the_hybrid_with_it() -> None:
    # the question's word stands in its passage: BM25 brings the base hybrid there, too
    found = measure_parts(World().evaluator(replace(FOUR[3], question="grey")), ("embedder",))

    (verdict,) = found.verdicts
    assert not verdict.is_kept and "no gain" in verdict.reason
    (judged,) = compared(found, "embedder")
    assert (judged.before, judged.after) == (verdict.comparison.before, 1) == (1, 1)
    (alone,) = compared(found, "embedder alone")
    assert (alone.before, alone.after) == (pytest.approx(0.43067655807339306), 1)


def test_an_embedder_is_judged_with_what_reranks_before_training() -> None:
    world = World()
    world.rerank["base"] = world._overlap  # it finds what either embedder leaves on a first rank
    evaluator = replace(world.evaluator(*FOUR), base_reranker="base")
    found = measure_parts(evaluator, ("embedder",))

    (verdict,) = found.verdicts
    assert (verdict.is_kept, verdict.comparison.before, verdict.comparison.after) == (False, 1, 1)
    (alone,) = compared(found, "embedder alone")
    assert (alone.before, alone.after) == (pytest.approx(0.6404, abs=1e-4), 1)

    world.rerank["base"] = lambda _: 0.0  # it adds nothing
    found = measure_parts(replace(world.evaluator(*FOUR), base_reranker="base"), ("embedder",))
    assert [verdict.is_kept for verdict in found.verdicts] == [True]


def test_a_reranker_is_judged_over_the_untuned_one_on_what_the_kept_embedder_ranks() -> None:
    world = World()
    world.rerank["base"] = lambda pair: -world._overlap(pair) if pair[0] == "ashen" else 0.0
    evaluator = replace(world.evaluator(*FOUR), base_reranker="base")
    found = measure_parts(evaluator, ("embedder", "reranker"))

    assert [verdict.is_kept for verdict in found.verdicts] == [True, True]
    reranker = found.verdicts[1].comparison
    assert reranker is not None
    # the untuned one puts the right passage of "ashen" last of four
    assert (reranker.before, reranker.after) == (pytest.approx((3 + 0.43067655807339306) / 4), 1)


def test_an_embedder_and_its_body_are_kept_or_refused_as_one() -> None:
    world = World()  # over the tuned embedder's ranking the untuned body is wrong, the tuned right
    world.rerank["base"] = lambda pair: -world._overlap(pair)
    evaluator = replace(world.evaluator(*FOUR), base_reranker="base")
    apart = measure_parts(evaluator, ("embedder", "reranker"))
    assert not apart.verdicts[0].is_kept  # both end as the untuned body has it

    evaluator = replace(world.evaluator(*FOUR), base_reranker="base", shares_body=True)
    found = measure_parts(evaluator, ("embedder", "reranker"))
    embedder, reranker = found.verdicts
    assert (embedder.part, embedder.is_kept, embedder.comparison.after) == ("embedder", True, 1)
    assert (reranker.part, reranker.is_kept) == ("reranker", True)
    assert reranker.comparison is embedder.comparison
    assert reranker.reason == f"it is the embedder's body: {embedder.reason}"
    assert [variant.parts for variant in found.variants] == [("embedder", "reranker"), ()]
    known = {(row.embedder, row.reranker) for row in found.retrieval if row.retriever == "hybrid"}
    assert known == {(e, r) for e in ("base", "tuned") for r in ("none", e)}
    (bare,) = compared(found, "tuned reranking over none")
    assert bare.after == 1

    world.rerank["tuned"] = world.rerank["base"]
    refused = measure_parts(
        replace(world.evaluator(*FOUR), base_reranker="base", shares_body=True),
        ("embedder", "reranker"),
    )
    assert [verdict.is_kept for verdict in refused.verdicts] == [False, False]
    assert [variant.parts for variant in refused.variants] == [()]


def test_what_ships_is_compared_first_with_nothing_tuned_on_each_question_set() -> None:
    own = [question(column, origin="human") for column in (4, 5)]  # base ranks: 5 and 6
    world = World()
    first_cited(world)
    found = measure_parts(world.evaluator(*FOUR, *own), ("embedder", "generator"))

    first = [row for row in found.comparisons if row.part == SHIPPED]
    assert found.comparisons[: len(first)] == tuple(first)
    known = {(row.question_set, row.metric): (row.before, row.after, row.n) for row in first}
    assert known["synthetic", "ndcg@10"] == (pytest.approx(0.6404, abs=1e-4), 1, 4)
    assert known["human", "mrr@10"] == (pytest.approx((1 / 5 + 1 / 6) / 2), 1, 2)
    # the base generator cites what the untuned embedder has first, and answers wrongly
    assert known["synthetic", "citation accuracy"] == (0.25, 1, 4)
    assert known["synthetic", "answer f1"] == (0, 1, 4)
    assert known["synthetic", CITED_ANSWER] == (0.125, 1, 4)
    assert known["human", CITED_ANSWER] == (0, 1, 2)
    assert ("synthetic", GUESSING) not in known
    reached = {variant.parts: variant.metrics.get(CITED_ANSWER) for variant in found.variants}
    assert reached == {("embedder", "generator"): 1, (): 0.125}


def test_what_ships_leaves_refused_parts_out() -> None:
    world = World()
    first_cited(world)
    world.replies["tuned"] = world.replies["base"]
    found = measure_parts(world.evaluator(*FOUR), ("embedder", "generator"))

    assert found.variants[0].parts == ("embedder",)
    (whole,) = compared(found, SHIPPED)
    assert (whole.before, whole.after) == (pytest.approx(0.6404, abs=1e-4), 1)
    # the base generator answers behind the tuned embedder, which has the right passage first
    (cited,) = compared(found, SHIPPED, CITED_ANSWER)
    assert (cited.before, cited.after) == (0.125, 0.5)


def test_the_tuned_hybrid_is_compared_with_bm25() -> None:
    found = measure_parts(World().evaluator(*FOUR), ("embedder",))
    rows = [row for row in found.comparisons if row.part == "tuned hybrid over BM25"]

    (ndcg,) = [row for row in rows if row.metric == "ndcg@10"]
    assert len(rows) == 6
    assert ndcg.before == pytest.approx(0.6404, abs=1e-4)
    assert ndcg.after == 1


def test_nothing_trained_measures_retrieval_alone() -> None:
    world = World()
    found = measure_parts(world.evaluator(*FOUR), ())

    assert found.verdicts == found.answers == ()
    assert {(row.part, row.gain) for row in found.comparisons} == {(SHIPPED, 0)}
    assert parts_of(found.variants) == {()}
    assert {row.embedder for row in found.retrieval} == {"none", "base"}
    assert world.prompts == []


def test_rows_hold_means_of_the_questions_that_a_metric_applies_to() -> None:
    own = [question(column, origin="human", answers=()) for column in (4, 5)]
    found = measure_parts(World().evaluator(*FOUR, *own), ("generator",))

    (hybrid,) = [
        row
        for row in found.retrieval
        if (row.retriever, row.question_set) == ("hybrid", "synthetic")
    ]
    assert (hybrid.dense_share, hybrid.n, hybrid.metrics["hit@1"]) == (pytest.approx(0.8), 4, 0.25)
    assert {row.dense_share for row in found.retrieval if row.retriever != "hybrid"} == {None}
    assert {row.rerank_share for row in found.retrieval} == {None}
    human = [row for row in found.answers if row.question_set == "human"]
    assert all("citation accuracy" in row.metrics for row in human)
    assert not any("answer f1" in row.metrics for row in human)  # no answers were given
    assert found.questions["human"] == QuestionCounts(questions=2, documents=2, is_crossed=False)


# ---- choices are made on other questions than those that are reported


def test_every_question_is_reported() -> None:
    evaluator = crossed(World().evaluator(*FOUR), [0, 2], [3], [1])
    found = measure_parts(evaluator, ("embedder", "generator"))

    assert found.questions["synthetic"] == QuestionCounts(questions=4, documents=4, is_crossed=True)
    assert {row.n for row in (*found.retrieval, *found.comparisons)} == {4}
    (base,) = [r for r in found.retrieval if (r.retriever, r.embedder) == ("dense", "base")]
    assert base.metrics["mrr@10"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert [verdict.comparison.n for verdict in found.verdicts if verdict.comparison] == [4, 4]
    assert {variant.n for variant in found.variants} == {4}


def test_values_stand_in_the_order_of_the_questions_however_they_are_dealt() -> None:
    humans = [replace(one, origin="human") for one in FOUR]
    for folds in ([[3], [1], [0, 2]], [[2, 3], [0, 1]]):
        evaluator = crossed(World().evaluator(*humans, min_human_questions=4), *folds)
        for system in (BASE, System("hybrid", "base", "none")):
            measured = evaluator.measure_system("human", system)
            assert measured.values["mrr@10"].tolist() == [1, 1 / 2, pytest.approx(1 / 3), 1 / 4]
            assert measured.documents == COLOURS[:4]


def red_or_hard() -> Evaluator:
    """A question that every share gets right, "red", and two that the prior gets wrong."""
    easy = replace(question(0, origin="human"), question="red")
    return World().evaluator(easy, *HARD, FOUR[2], min_human_questions=3)


# What the hard questions choose: of lines that give passage 1 a share of 0.675 or more, so that
# 0.7 is nearest, (0.9, 0.3) is nearest to the prior. It gives them 0.9 - 0.6 * 0.28 = 0.73.
HIGHER = CoverageShare(uncovered=0.9, covered=0.3)


def test_the_dense_share_of_a_question_is_chosen_on_the_other_folds() -> None:
    evaluator = crossed(red_or_hard(), [1, 2], [0])
    hard, easy = evaluator.splits["human"].folds
    assert evaluator.dense_share("tuned", hard) == DENSE_SHARE  # by "red" alone
    assert evaluator.dense_share("tuned", easy) == HIGHER
    assert evaluator.dense_share("tuned") == HIGHER  # what ships is chosen on all of them

    hybrid = System("hybrid", "tuned", "none")
    assert evaluator.measure_system("human", hybrid).values["hit@1"].tolist() == [1, 0, 0]
    whole = red_or_hard()
    assert whole.dense_share("tuned") == HIGHER
    assert whole.measure_system("human", hybrid).values["hit@1"].tolist() == [1, 1, 1]

    texts = [one.question for one in evaluator.questions["human"]]
    shipped = evaluator.retriever(hybrid)
    assert shipped.settings.dense_share == HIGHER
    assert shipped.rank(texts).columns[:, 0].tolist() == [0, 1, 1]


def test_a_row_tells_the_mean_of_the_shares_that_were_used() -> None:
    evaluator = crossed(red_or_hard(), [1, 2], [0])
    found = measure_parts(evaluator, ("embedder",))
    shares = {
        row.question_set: row.dense_share
        for row in found.retrieval
        if (row.retriever, row.embedder) == ("hybrid", "tuned")
    }
    # the hard ones have the prior's; "red", which is covered whole, has what they chose
    mean = (2 * (0.8 - 0.6 * COVERED) + 0.3) / 3
    assert shares["human"] == pytest.approx(mean, abs=1e-3)
    assert shares["synthetic"] == pytest.approx(0.9)  # nothing of "umber" is covered


def before_and_after(
    evaluator: Evaluator, *kept: Part, name: str = ""
) -> tuple[Measured, Measured]:
    """Retrieval with nothing tuned, and with what ships."""
    name = name or evaluator.deciding
    untuned = evaluator.rank(name, evaluator.system_of(()))
    shipped = evaluator.rank_shipped(name, kept)
    return evaluator.measure_ranking(name, untuned), evaluator.measure_ranking(name, shipped)


def test_a_variant_tells_the_share_that_ships_and_what_was_measured_without_each_fold() -> None:
    evaluator = crossed(red_or_hard(), [1, 2], [0])
    variants = evaluator.measure_variants(["embedder"])
    before, after = before_and_after(evaluator, "embedder")
    # passage 0 leads with the base embedder, and with the tuned one at the share "red" chooses
    assert before.values["hit@1"].tolist() == [1, 0, 0]
    assert after.values["hit@1"].tolist() == [1, 0, 0]
    assert [variant.parts for variant in variants] == [("embedder",), ()]
    assert variants[0].dense_share == HIGHER
    assert variants[0].metrics["hit@1"] == pytest.approx(1 / 3)


def test_synthetic_questions_choose_no_share_in_any_fold() -> None:
    synthetic = [replace(one, origin="synthetic") for one in HARD]
    evaluator = crossed(World().evaluator(*synthetic, FOUR[0]), [0, 1], [2])
    for fold in evaluator.splits["synthetic"].folds:
        assert evaluator.dense_share("tuned", fold) == DENSE_SHARE
        assert evaluator.rerank_share(System("hybrid", "tuned", "tuned"), fold) == RERANK_SHARE
    hybrid = System("hybrid", "tuned", "none")
    assert evaluator.measure_system("synthetic", hybrid).values["hit@1"].tolist() == [0, 0, 1]


def test_the_rerankers_share_of_a_question_is_chosen_on_the_other_folds() -> None:
    world = World()
    humans = [replace(one, origin="human") for one in FOUR]
    hybrid = System("hybrid", "tuned", "tuned")

    def rerank(pair: tuple[str, str]) -> float:
        # the right passage of the first two questions goes last
        return world._overlap(pair) * (-1 if pair[0] in ASKED[:2] else 1)

    world.rerank["tuned"] = rerank
    evaluator = world.evaluator(*humans, question(5), min_human_questions=4)
    evaluator = crossed(evaluator, [0, 1], [2, 3])
    misled, helped = evaluator.splits["human"].folds
    assert evaluator.rerank_share(hybrid, misled) == RERANK_SHARE
    # At 0.5, where both weigh the same, the first rank leads. Of the lines that give a question
    # without coverage no more, this one is nearest to the prior, and as near as (0.5, 0.5).
    low = CoverageShare(uncovered=0.5, covered=0.3)
    assert evaluator.rerank_share(hybrid, helped) == low
    assert evaluator.measure_system("human", hybrid).values["hit@1"].tolist() == [0, 0, 1, 1]
    # All choose as the first two do: the prior lacks 0.57 on each of them, half of that in the
    # mean, with an error of a fourth of it.
    assert evaluator.rerank_share(hybrid) == low
    whole = world.evaluator(*humans, question(5), min_human_questions=4)
    assert whole.measure_system("human", hybrid).values["hit@1"].tolist() == [1] * 4

    found = measure_parts(evaluator, ("embedder", "reranker"))
    rows = {(r.question_set, r.embedder, r.reranker): r for r in found.retrieval}
    told = {name: rows[name, "tuned", "tuned"].rerank_share for name in ("human", "synthetic")}
    assert told == {"human": pytest.approx((2 * 0.9 + 2 * 0.5) / 4), "synthetic": 0.5}


def test_a_rerankers_share_is_chosen_on_the_first_ranks_of_its_fold() -> None:
    # the words of the hard questions, asked of "red": those that want the prior are more
    reds = [replace(question(0, origin="human"), id=f"red {i}", question=WORDS) for i in range(3)]
    world = World()
    world.rerank["tuned"] = lambda pair: -float(pair[1] == "blue")
    evaluator = world.evaluator(HARD[0], *reds, question(2), min_human_questions=4)
    evaluator = crossed(evaluator, [0], [1, 2, 3])
    fold = evaluator.splits["human"].folds[1]
    assert evaluator.dense_share("tuned") == DENSE_SHARE
    assert evaluator.dense_share("tuned", fold) == HIGHER
    # At 0.73 "red" has 0.73 / 2 + 0.27 = 0.64, 0.87 of what "blue" has. The reranker puts "blue"
    # last: it leads up to w = (1 - 0.87) / (2 - 0.87) = 0.11, so up to a share of 0.1. Of the lines
    # that give it less than 0.125, this one is nearest to the prior.
    system = System("hybrid", "tuned", "tuned")
    assert evaluator.rerank_share(system, fold) == CoverageShare(uncovered=0.15, covered=0.05)


def test_what_ships_is_measured_with_the_variant_that_the_other_folds_choose() -> None:
    # the reranker harms one fold's questions and helps the other's: each chooses the wrong one
    evaluator = reranked(1, 1, -1, -1, folds=([0, 1], [2, 3]))
    harmed, helped = evaluator.splits["synthetic"].folds
    assert evaluator.choose_parts(["reranker"], harmed) == ("reranker",)
    assert evaluator.choose_parts(["reranker"], helped) == ()
    before, after = before_and_after(evaluator, "reranker")

    assert before.values["hit@1"].tolist() == [1, 1, 0, 0]
    assert after.values["hit@1"].tolist() == [0, 0, 0, 0]
    assert before.documents == after.documents == ["a", "b", "c", "d"]
    # over all questions they are equal, so that it ships; figures of variants are all's
    variants = evaluator.measure_variants(["reranker"])
    assert [variant.parts for variant in variants] == [("reranker",), ()]
    assert [variant.metrics["hit@1"] for variant in variants] == [0.5, 0.5]


def test_a_variant_that_most_questions_want_is_chosen_without_the_one_that_is_measured() -> None:
    # without one of the first three the reranker is better by 1/3, without the last by 1
    evaluator = reranked(-1, -1, -1, 1, folds=([3], [1], [0], [2]))
    before, after = before_and_after(evaluator, "reranker")
    assert evaluator.choose_parts(["reranker"]) == ("reranker",)
    assert before.values["hit@1"].tolist() == [0, 0, 0, 1]
    assert after.values["hit@1"].tolist() == [1, 1, 1, 0]

    # the other way round: without the last it is worse by 1, without another by 1/3 with an error
    # of sqrt((16 + 4 + 4) / 9) / 3 = 0.54, so that it ships
    evaluator = reranked(1, 1, 1, -1, folds=([3], [1], [0], [2]))
    before, after = before_and_after(evaluator, "reranker")
    assert before.values["hit@1"].tolist() == [1, 1, 1, 0]
    assert after.values["hit@1"].tolist() == [0, 0, 0, 0]
    # over all it lacks a half, with an error of sqrt(3) / 4 = 0.43
    assert evaluator.choose_parts(["reranker"]) == ()


def test_each_fold_chooses_its_own_combination() -> None:
    # over the tuned embedder, which is right already, the reranker harms one fold's questions
    world = World()
    world.rerank["tuned"] = lambda pair: world._overlap(pair) * (1 if pair[0] in ASKED[:2] else -1)
    evaluator = crossed(world.evaluator(*FOUR), [0, 1], [2, 3])
    helped, harmed = evaluator.splits["synthetic"].folds
    parts: tuple[Part, ...] = ("embedder", "reranker")
    assert evaluator.choose_parts(parts, helped) == ("embedder",)
    assert evaluator.choose_parts(parts, harmed) == parts
    _, after = before_and_after(evaluator, *parts)
    # of four that stand behind, the right one is last
    assert after.values["mrr@10"].tolist() == [1, 1, 0.25, 0.25]
    assert evaluator.rank_shipped("synthetic", parts).columns.shape == (4, 4)  # as the reranker's


def test_the_other_set_is_measured_with_what_ships() -> None:
    evaluator = World().evaluator(*FOUR, question(5, origin="human"))  # base rank 6
    evaluator = crossed(evaluator, [0, 1], [2, 3])
    before, after = before_and_after(evaluator, "embedder", name="human")
    assert before.values["mrr@10"].tolist() == [pytest.approx(1 / 6)]
    assert after.values["mrr@10"].tolist() == [1]
    _, after = before_and_after(evaluator, "embedder")
    assert after.values["mrr@10"].tolist() == [1] * 4


def test_no_more_questions_are_answered_in_order_than_the_limit() -> None:
    world = World()
    many = [question(column) for column in range(12)]
    limits = {"max_stack_questions": 4, "max_answer_questions": 3}
    evaluator = world.evaluator(*many, contexts=9, **limits)
    evaluator = crossed(evaluator, range(6), range(6, 12))
    found = measure_parts(evaluator, ("generator",))

    drawn = evaluator.chosen("synthetic", 4)
    for which in ("base", "tuned"):
        asked_of = [asked(p) for name, p in world.prompts if name == which and begun(p)]
        assert asked_of == [ASKED[row] for row in drawn]
    counts = {(row.part, row.metric): row.n for row in found.comparisons}
    assert counts[SHIPPED, "ndcg@10"] == 12
    assert counts[SHIPPED, CITED_ANSWER] == counts["generator", CITED_ANSWER] == 4
    assert counts[SHUFFLED, CITED_ANSWER] == 3


# ---- question sets and metrics that are empty: a run must end with a report


def without_answers(*columns: int, origin: Any = "human") -> list[LabelledQuestion]:
    return [question(column, origin=origin, answers=()) for column in columns]


EMPTY = {
    "no human answer, human decides": (
        [*FOUR, *without_answers(4, 5, 6)],
        {"min_human_questions": 1},
    ),
    "no human answer, synthetic decides": ([*FOUR, *without_answers(4, 5, 6)], {}),
    "no answer at all": (without_answers(0, 1, 2, origin="synthetic"), {}),
    "some answers": ([*FOUR, *without_answers(4), question(5, origin="human")], {}),
    "answers in one fold alone": (
        [*FOUR[:2], *without_answers(2, 3, origin="synthetic")],
        {"folds": [[0, 1], [2, 3]]},
    ),
    "human decides in folds": (
        [*FOUR, *without_answers(4, 5, 6)],
        {"min_human_questions": 1, "folds": [[2], [0], [1]]},
    ),
    "one question": (FOUR[:1], {}),
    "all unanswerable": (FOUR, {"unanswerable": ["ruby", "jade"], "abstaining_share": 0.1}),
}


@pytest.mark.parametrize("probes", [False, True])
@pytest.mark.parametrize("form", ["aloftrag", "raft", "ralt"])
@pytest.mark.parametrize("name", EMPTY)
def test_a_run_ends_with_a_report_whatever_cannot_be_measured(
    name: str, form: str, probes: bool
) -> None:
    questions, settings = EMPTY[name]
    settings = {**settings, "format": form, "probes": probes}
    folds = settings.pop("folds", None)
    evaluator = World().evaluator(*questions, **settings)
    evaluator = crossed(evaluator, *folds) if folds else evaluator
    found = measure_parts(evaluator, ("embedder", "generator"))

    report = Report(measured=found)
    assert from_json(json.loads(dump(report))) == report
    assert "## Verdicts" in render_markdown(report) and "</html>" in render_html(report)
    generator = found.verdicts[-1]
    can_be_judged = form != "ralt" or name in (
        *("no human answer, synthetic decides", "some answers", "one question"),
        *("answers in one fold alone", "all unanswerable"),
    )
    assert (generator.comparison is not None) == can_be_judged
    if not can_be_judged:
        assert not generator.is_kept
        assert f"undefined on all {found.deciding} questions" in generator.reason
        assert not any("generator" in variant.parts for variant in found.variants)


def test_unanswerable_questions_are_reported_where_no_other_human_question_is() -> None:
    world = World()
    world.replies["tuned"] = lambda p: (
        "none\n\n### Answer\nno" if asked(p) in ("ruby", "jade") else cite_right(p)
    )
    asks = {"unanswerable": ["ruby", "jade", "opal"], "abstaining_share": 0.1}
    found = measure_parts(world.evaluator(*FOUR, **asks), ("generator",))

    rows = {r.generator: r for r in found.answers if r.questions == "unanswerable"}
    assert {which: (row.n, row.question_set) for which, row in rows.items()} == {
        "base": (3, "human"),
        "tuned": (3, "human"),
    }
    assert rows["tuned"].metrics == {"abstention when unanswerable": pytest.approx(2 / 3)}
    gains = {c.part: c for c in found.comparisons if c.metric == "abstention when unanswerable"}
    assert set(gains) == {SHIPPED, SHUFFLED}
    for gain in gains.values():
        assert (gain.question_set, gain.n, gain.clusters) == ("human", 3, 3)


@pytest.mark.parametrize("origin", ["synthetic", "human"])
def test_questions_about_one_document_keep_what_is_blended_where_people_ask(origin: str) -> None:
    # all are about the second passage, which the tuned embedder finds and the base one does not
    same = [replace(question(1, origin=origin), id=str(i)) for i in range(4)]
    others = FOUR if origin == "human" else ()
    world = World().evaluator(*same, *others, min_human_questions=1)
    found = measure_parts(world, ("embedder", "generator"))

    is_kept = origin == "human"
    assert [verdict.is_kept for verdict in found.verdicts] == [is_kept, False]
    for verdict in found.verdicts:
        assert verdict.comparison is not None and verdict.comparison.gain > 0
        assert (verdict.comparison.low, verdict.comparison.clusters) == (None, 1)
    assert f"all {origin} questions are about one document" in found.verdicts[1].reason
    assert found.variants[0].parts == (("embedder",) if is_kept else ())
