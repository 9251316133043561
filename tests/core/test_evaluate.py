"""A small world measured by hand: base parts that know nothing, tuned ones that know synonyms."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from aloft.config import EvaluationConfig, Part, RunConfig, TrainingSetsConfig
from aloft.evaluation.answer_metrics import GUESSING, MISCITED
from aloft.evaluation.blending import DENSE_SHARE, RERANK_SHARE
from aloft.evaluation.evaluator import Evaluator, Measured, System, SystemVariant
from aloft.evaluation.measure import measure_parts
from aloft.evaluation.pages import render_html, render_markdown
from aloft.evaluation.probes import probe
from aloft.evaluation.report import ProbeRow, QuestionCounts, Report, dump, from_json
from aloft.evaluation.splits import QuestionSplit
from aloft.protocols import Floats, Prompt
from aloft.records import LabelledQuestion, Passage
from aloft.retrieval.dense import DenseIndex
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
    """A split whose parts are both all questions, so that values can be worked out by hand."""
    colour_of = {passage.id: passage.document_id for passage in PASSAGES}
    rows = tuple(range(len(questions)))
    documents = tuple(colour_of[one.passage_ids[0]] for one in questions)
    return QuestionSplit(documents=documents, validation=rows, test=rows)


def shown(prompt: Prompt) -> list[str]:
    """The passages of a prompt, in their order."""
    return re.findall(r"### \d+\n(\w+)", prompt.messages[-1].content)


def asked(prompt: Prompt) -> str:
    return prompt.messages[-1].content.rpartition("### Question\n")[2]


def is_instruction(prompt: Prompt) -> bool:
    return "### Question\n" not in prompt.messages[-1].content


def cite_right(prompt: Prompt) -> str:
    wanted = MEANT.get(asked(prompt))
    ordinals = [i for i, text in enumerate(shown(prompt), start=1) if text == wanted]
    return f"{ordinals[0] if ordinals else 0}\n\n### Answer\nyes"


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
        self.replies = {"base": lambda _: "I do not know.", "tuned": cite_right}
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
        return [self.replies[which](prompt) for prompt in prompts]

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
    mean = evaluator.mean_share("human", evaluator.dense_share("tuned"))
    assert mean == pytest.approx(share, abs=1e-3)

    few = World().evaluator(*HARD, question(2), min_human_questions=3)
    assert few.dense_share("tuned") == DENSE_SHARE
    assert few.mean_share("human", DENSE_SHARE) == pytest.approx(0.8 - 0.6 * COVERED, abs=1e-3)
    assert few.measure_system("human", hybrid).values["hit@1"].tolist() == [0, 0]


def test_what_bm25_covers_whole_it_ranks_mostly_alone() -> None:
    evaluator = World().evaluator(replace(question(3), question="grey"))
    hybrid = System("hybrid", "base", "none")
    assert evaluator.mean_share("synthetic", DENSE_SHARE) == pytest.approx(0.2)
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
    assert blind.measure_system("human", hybrid).values["hit@1"].tolist() == [0] * 4


def test_the_body_of_the_tuned_embedder_reranks_for_it() -> None:
    world = World()
    world.rerank["body"] = world._overlap
    evaluator = replace(world.evaluator(*FOUR), base_reranker="base", uses_body=True)
    for embedder in ("base", "tuned"):
        evaluator.measure_system("synthetic", System("hybrid", embedder, "base"))
    assert [which for which, *_ in world.scored] == ["base", "body"]

    world.scored.clear()
    own = replace(world.evaluator(*FOUR), base_reranker="base")  # a reranker was configured
    own.measure_system("synthetic", System("hybrid", "tuned", "base"))
    assert [which for which, *_ in world.scored] == ["base"]


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


def test_a_generator_that_cites_nothing_is_judged_by_its_answers() -> None:
    world = World()
    world.replies["tuned"] = lambda _: "yes"
    evaluator = world.evaluator(*FOUR, format="ralt")
    values = {
        name: {"synthetic": evaluator.measure_answers("synthetic", name)["all"]}
        for name in ("base", "tuned")
    }
    assert "citation accuracy" not in values["tuned"]["synthetic"].values
    verdict = evaluator.judge("generator", values["base"], values["tuned"])
    assert (verdict.is_kept, verdict.comparison.metric) == (True, "answer f1")


def generator_verdict(base: Sequence[float], tuned: Sequence[float], guess: float) -> Any:
    evaluator = World().evaluator(*FOUR)
    guessing = {GUESSING: np.full(len(base), guess)}
    before, after = (
        Measured(
            question_set="synthetic",
            values={"citation accuracy": np.array(values), **guessing},
            documents=COLOURS[: len(values)],
        )
        for values in (base, tuned)
    )
    return evaluator.judge("generator", {"synthetic": before}, {"synthetic": after})


def test_a_generator_must_beat_guessing_too() -> None:
    verdict = generator_verdict([0.0] * 4, [1.0, 0, 0, 1], 0.5)
    assert not verdict.is_kept  # one half is what a blind choice of two gets
    assert verdict.comparison.metric == "citation accuracy over guessing"
    assert (verdict.comparison.before, verdict.comparison.after) == (0.5, 0.5)

    assert generator_verdict([0.0] * 4, [1.0] * 4, 0.5).is_kept

    verdict = generator_verdict([1.0, 1, 1, 0], [1.0] * 4, 0.5)  # the base model is the better one
    assert verdict.comparison.metric == "citation accuracy"
    assert verdict.comparison.before == 0.75


def test_a_generator_that_cites_everything_is_refused() -> None:
    world = World()
    world.replies["tuned"] = lambda prompt: "1, 2, 3, 4\n\n### Answer\nno idea"
    world.replies["base"] = lambda prompt: "I cite nothing."
    evaluator = world.evaluator(*FOUR, contexts=4)
    values = {
        which: {"synthetic": evaluator.measure_answers("synthetic", which)["all"]}
        for which in ("base", "tuned")
    }
    assert values["tuned"]["synthetic"].values["citation accuracy"].mean() == 1
    assert not evaluator.judge("generator", values["base"], values["tuned"]).is_kept


# ---- each thing is asked once


def test_a_ranking_is_worked_out_once() -> None:
    world = World()
    evaluator = world.evaluator(*FOUR, question(5, origin="human"))
    for _ in range(2):
        evaluator.measure_retrieval(["base", "tuned"], ["tuned"])
        evaluator.measure_variants(["embedder", "reranker"], has_generator=False)

    assert len(world.encoded) == 4  # two embedders, two sets
    assert set(world.encoded.values()) == {1}
    assert world.indexed == {"base": 2, "tuned": 2}
    assert world.scored.total() == 4  # two hybrids, two sets


# ---- stacks


def stacked(world: World, *kept: Part, **settings: Any) -> dict[tuple[str, ...], SystemVariant]:
    evaluator = world.evaluator(*FOUR, **settings)
    stacks = evaluator.measure_variants(kept, has_generator="generator" in kept)
    return {stack.parts: stack for stack in stacks}


def test_every_combination_of_the_kept_parts_is_measured_best_first() -> None:
    stacks = stacked(World(), "embedder", "generator")

    # nDCG of the base order: 1, 1/log2(3), 1/2, 1/log2(5); no citation without the generator,
    # and with it two of four: the base order shows only the first two passages
    base = (1 + SECOND + 0.5 + 0.43067655807339306) / 4  # 0.640
    assert {parts: stack.score for parts, stack in stacks.items()} == {
        ("embedder", "generator"): pytest.approx(1),
        ("generator",): pytest.approx((base + 0.5) / 2),  # 0.570
        ("embedder",): pytest.approx(0.5),
        (): pytest.approx(base / 2),
    }
    assert [*stacks] == [("embedder", "generator"), ("generator",), ("embedder",), ()]
    assert stacks["embedder",].system.embedder == "tuned"
    assert stacks["generator",].system.embedder == "base"
    assert {stack.n for stack in stacks.values()} == {4}


def test_of_equal_stacks_the_smaller_stands_first() -> None:
    # tuned retrieval is perfect already: the reranker adds nothing to it, nor it to the reranker
    stacks = [*stacked(World(), "embedder", "reranker").values()]

    assert [(stack.parts, stack.score) for stack in stacks[:3]] == [
        (("embedder",), 1),
        (("reranker",), 1),
        (("embedder", "reranker"), 1),
    ]
    assert stacks[3].parts == ()


def test_nothing_kept_still_gives_one_stack() -> None:
    stacks = stacked(World())
    assert [*stacks] == [()]
    assert stacks[()].system == System("hybrid", "base", "none")


def test_the_users_own_reranker_stays_where_no_trained_one_does() -> None:
    evaluator = replace(World().evaluator(*FOUR), base_reranker="base")
    stacks = evaluator.measure_variants(["reranker"], has_generator=False)
    assert {s.parts: s.system.reranker for s in stacks} == {(): "base", ("reranker",): "tuned"}


def test_stacks_answer_what_was_really_retrieved() -> None:
    world = World()
    stacks = stacked(world, "generator", max_stack_questions=3)

    # at most three questions, whose right passage is not put in
    assert len(world.prompts) == 2 * 3
    assert {tuple(shown(prompt)) for _, prompt in world.prompts} == {("red", "blue")}
    drawn = [asked(prompt) for _, prompt in world.prompts[:3]]
    right = sum(MEANT[word] in ("red", "blue") for word in drawn) / 3
    assert stacks["generator",].metrics["citation accuracy"] == pytest.approx(right)


# ---- all of it


def config(reranker: str | None = None) -> RunConfig:
    return RunConfig(teacher="t", embedder="e", reranker=reranker)


def parts_of(stacks: Sequence[SystemVariant]) -> set[tuple[str, ...]]:
    return {stack.parts for stack in stacks}


def test_a_generator_alone_is_measured_judged_and_stacked() -> None:
    own = [question(column, origin="human") for column in range(4, 8)]
    found = measure_parts(World().evaluator(*FOUR, *own), config(), ("generator",))

    assert [(v.part, v.is_kept) for v in found.verdicts] == [("generator", True)]
    assert parts_of(found.variants) == {(), ("generator",)}
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


def test_both_generators_are_tried_beside_their_task() -> None:
    world = World()
    world.likelihood = lambda which, _text, _reply: {"base": -2.0, "tuned": -3.0}[which]
    said = world.replies["base"]
    world.replies["base"] = lambda p: "Paris, honey or ice." if is_instruction(p) else said(p)
    found = measure_parts(world.evaluator(*FOUR), config(), ("generator",))

    assert found.probes == ()
    perplexity = found.forgetting.perplexity
    assert (perplexity.before, perplexity.after, perplexity.n) == (
        *(pytest.approx(np.e**2), pytest.approx(np.e**3)),
        8,
    )
    followed = found.forgetting.instructions
    assert (followed.n, followed.before, followed.after) == (22, pytest.approx(3 / 22), 0)
    assert [which for which, _ in world.instructed] == ["base"] * 22 + ["tuned"] * 22
    assert measure_parts(World().evaluator(*FOUR), config(), ("embedder",)).forgetting is None


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
    found = measure_parts(World().evaluator(*FOUR, probes=True), config(), ("generator",))
    assert [row.generator for row in found.probes] == ["base"] * 6 + ["tuned"] * 6


def test_refused_parts_are_in_no_stack() -> None:
    world = World()
    world.rerank["tuned"] = lambda pair: -world._overlap(pair)  # the right one goes last
    world.replies["tuned"] = lambda _: "0\n\n### Answer\nno"
    found = measure_parts(world.evaluator(*FOUR), config(), ("embedder", "reranker", "generator"))

    assert [(v.part, v.is_kept) for v in found.verdicts] == [
        ("embedder", True),
        ("reranker", False),
        ("generator", False),
    ]
    assert parts_of(found.variants) == {(), ("embedder",)}
    for stack in found.variants:
        assert stack.system.reranker == "none"
    assert {which for which, _ in world.prompts[8:]} == {"base"}  # stacks ask the base generator


def test_an_embedder_that_is_refused_is_under_no_reranker() -> None:
    world = World()
    evaluator = world.evaluator(*[question(0)] * 4)  # the base embedder is right already
    found = measure_parts(evaluator, config(), ("embedder", "reranker"))

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
    found = measure_parts(evaluator, config("a reranker"), ("reranker",))

    (verdict,) = found.verdicts
    assert (verdict.is_kept, verdict.comparison.before) == (False, 1)
    assert {row.reranker for row in found.retrieval} == {"none", "base", "tuned"}
    assert [stack.system.reranker for stack in found.variants] == ["base"]


def test_the_tuned_hybrid_is_compared_with_bm25() -> None:
    found = measure_parts(World().evaluator(*FOUR), config(), ("embedder",))
    rows = [row for row in found.comparisons if row.part == "tuned hybrid over BM25"]

    (ndcg,) = [row for row in rows if row.metric == "ndcg@10"]
    assert len(rows) == 6
    assert ndcg.before == pytest.approx(0.6404, abs=1e-4)
    assert ndcg.after == 1


def test_nothing_trained_measures_retrieval_alone() -> None:
    world = World()
    found = measure_parts(world.evaluator(*FOUR), config(), ())

    assert found.verdicts == found.answers == found.comparisons == ()
    assert parts_of(found.variants) == {()}
    assert {row.embedder for row in found.retrieval} == {"none", "base"}
    assert world.prompts == []


def test_rows_hold_means_of_the_questions_that_a_metric_applies_to() -> None:
    own = [question(column, origin="human", answers=()) for column in (4, 5)]
    found = measure_parts(World().evaluator(*FOUR, *own), config(), ("generator",))

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
    assert found.questions["human"] == QuestionCounts(
        validation=2, test=2, documents=2, is_parted=False
    )


# ---- choices are made on other questions than those that are reported


def parted(
    world: World, validation: Sequence[int], *questions: LabelledQuestion, **more: Any
) -> Any:
    """An evaluator whose synthetic questions in these rows are for choices."""
    evaluator = world.evaluator(*questions, **more)
    whole = evaluator.splits["synthetic"]
    test = tuple(row for row in whole.test if row not in validation)
    split = replace(whole, validation=tuple(validation), test=test)
    return replace(evaluator, splits={**evaluator.splits, "synthetic": split})


def test_test_questions_alone_are_reported() -> None:
    world = World()
    evaluator = parted(world, [0, 1], *FOUR)
    found = measure_parts(evaluator, config(), ("embedder", "generator"))

    assert found.questions["synthetic"] == QuestionCounts(
        validation=2, test=2, documents=2, is_parted=True
    )
    assert {row.n for row in (*found.retrieval, *found.comparisons)} == {2}
    assert all(row.n <= 2 for row in found.answers)
    # base ranks of the test questions are 3 and 4
    (base,) = [r for r in found.retrieval if (r.retriever, r.embedder) == ("dense", "base")]
    assert base.metrics["mrr@10"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert [verdict.comparison.n for verdict in found.verdicts if verdict.comparison] == [2, 2]
    assert {variant.n for variant in found.variants} == {2}


def test_the_dense_share_is_chosen_on_validation_questions() -> None:
    # of the questions above each wants another share: the prior gets "red" right, and not the rest
    easy = replace(question(0, origin="human"), question="red")
    shares = []
    for validation in ((0, 1), (2,)):
        evaluator = World().evaluator(*HARD, easy, FOUR[2], min_human_questions=3)
        split = replace(evaluator.splits["human"], validation=validation)
        evaluator = replace(evaluator, splits={**evaluator.splits, "human": split})
        shares.append(evaluator.dense_share("tuned"))
    assert shares[0] != DENSE_SHARE
    assert shares[1] == DENSE_SHARE


def test_the_variant_that_ships_is_chosen_on_validation_questions() -> None:
    world = World()
    # on the validation questions the tuned generator is right, on the test questions never
    world.replies["tuned"] = lambda p: cite_right(p) if asked(p) in ASKED[:2] else "0"
    evaluator = parted(world, [0, 1], *FOUR)
    variants = evaluator.measure_variants(["generator"], has_generator=True)

    assert [variant.parts for variant in variants] == [("generator",), ()]
    assert [variant.score for variant in variants] == [
        pytest.approx((1 + SECOND) / 4 + 0.5),
        pytest.approx((1 + SECOND) / 4),
    ]
    assert variants[0].metrics["citation accuracy"] == 0
    assert variants[0].metrics["mrr@10"] == pytest.approx((1 / 3 + 1 / 4) / 2)


def test_both_sides_of_a_split_keep_to_the_limit_of_questions_together() -> None:
    world = World()
    many = [question(column) for column in range(12)]
    evaluator = parted(world, range(6), *many, max_stack_questions=4)
    evaluator.measure_variants([], has_generator=True)
    drawn = [ASKED.index(asked(prompt)) for _, prompt in world.prompts]
    assert (sum(i < 6 for i in drawn), sum(i >= 6 for i in drawn)) == (2, 2)


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
    "answers in validation alone": (
        [*FOUR[:2], *without_answers(2, 3, origin="synthetic")],
        {"validation": [0, 1]},
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
    validation = settings.pop("validation", None)
    world = World()
    evaluator = (
        world.evaluator(*questions, **settings)
        if validation is None
        else parted(world, validation, *questions, **settings)
    )
    found = measure_parts(evaluator, config(), ("embedder", "generator"))

    report = Report(measured=found)
    assert from_json(json.loads(dump(report))) == report
    assert "## Verdicts" in render_markdown(report) and "</html>" in render_html(report)
    generator = found.verdicts[-1]
    can_be_judged = form != "ralt" or name in (
        *("no human answer, synthetic decides", "some answers", "one question"),
        "all unanswerable",
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
    found = measure_parts(world.evaluator(*FOUR, **asks), config(), ("generator",))

    rows = {r.generator: r for r in found.answers if r.questions == "unanswerable"}
    assert {which: (row.n, row.question_set) for which, row in rows.items()} == {
        "base": (3, "human"),
        "tuned": (3, "human"),
    }
    assert rows["tuned"].metrics == {"abstention when unanswerable": pytest.approx(2 / 3)}
    (gain,) = [c for c in found.comparisons if c.metric == "abstention when unanswerable"]
    assert (gain.question_set, gain.n, gain.clusters) == ("human", 3, 3)


def test_questions_about_one_document_keep_no_part() -> None:
    # all are about the second passage, which the tuned embedder finds and the base one does not
    same = [replace(question(1), id=str(i)) for i in range(4)]
    found = measure_parts(World().evaluator(*same), config(), ("embedder",))
    (verdict,) = found.verdicts
    assert verdict.comparison is not None and verdict.comparison.gain > 0
    assert not verdict.is_kept
    assert "all synthetic questions are about one document" in verdict.reason
