"""Hard negatives: scores set by hand, and the reason why each passage is taken or not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from aloft.config import Guard, NegativesConfig
from aloft.errors import DataError
from aloft.protocols import Floats, Prompt
from aloft.records import Candidate, Negatives, Passage, QAPair
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.negatives import COPY, Judges, mine_negatives
from aloft.retrieval.searchable import SearchableCorpus

# The question is (1, 0), so a passage's score is its first component.
SCORES = [0.80, 0.79, 0.60, 0.96, 0.28, -0.60]
TEXTS = ["Mary pilots.", "Ann rows.", "Mary  PILOTS the tug.", "A crane.", "A quay.", "A bell."]
# two documents: the pair's own passage is 0, and 1 to 3 stand in the same document
PASSAGES = [
    Passage(document_id="a.txt" if i < 4 else "b.txt", text=text, start=20 * i)
    for i, text in enumerate(TEXTS)
]


def on_circle(*scores: float) -> Floats:
    return np.array([[score, (1 - score**2) ** 0.5] for score in scores], np.float32)


QUESTION = on_circle(1.0)
VECTORS = on_circle(*SCORES)
CORPUS = SearchableCorpus(PASSAGES, DenseIndex(VECTORS))


def pair(answer: str = "unlike", passage: int = 0) -> QAPair:
    return QAPair(passage_id=PASSAGES[passage].id, question="Who?", answer=answer)


def taken(place: int, rank: int, score: float) -> Candidate:
    return Candidate(passage_id=PASSAGES[place].id, rank=rank, score=score, verdict="negative")


def mined(config: NegativesConfig, answer: str = "unlike", passage: int = 0) -> list[int]:
    """Places of one question's negatives."""
    (found,) = mine_negatives([pair(answer, passage)], QUESTION, CORPUS, config)
    place_of = {one.id: i for i, one in enumerate(PASSAGES)}
    return [place_of[one] for one in found.passage_ids]


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.0, [1, 2, 4, 5]),  # all below 0.80; 0.96 is above it
        (0.05, [2, 4, 5]),  # 0.79 is above 0.76
        (0.5, [4, 5]),  # 0.60 is above 0.40
        (0.7, [5]),  # 0.28 is above 0.24
    ],
)
def test_a_margin_drops_what_scores_like_the_positive(margin: float, expected: list[int]) -> None:
    assert mined(NegativesConfig(margin=margin)) == expected


def test_a_margin_lowers_a_score_below_zero_too() -> None:
    # the positive is passage 5 at -0.60: its ceiling is -0.63, and nothing is below it
    assert mined(NegativesConfig(margin=0.05), passage=5) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("mary pilots", [1, 4, 5]),  # passage 2 holds it, letter case and spaces aside
        (" Mary   Pilots. ", [1, 4, 5]),
        ("the", [1, 2, 4, 5]),  # three letters tell nothing
        ("a quay", [1, 2, 5]),
        ("nobody", [1, 2, 4, 5]),
    ],
)
def test_a_passage_that_holds_the_answer_is_none(answer: str, expected: list[int]) -> None:
    assert mined(NegativesConfig(margin=0.0), answer) == expected


def test_a_title_may_hold_the_answer() -> None:
    corpus = [PASSAGES[0], Passage(document_id="c", text="A tug.", start=0, title="The Pilots")]
    searchable = SearchableCorpus(corpus, DenseIndex(on_circle(0.8, 0.1)))
    (found,) = mine_negatives([pair("pilots")], QUESTION, searchable, NegativesConfig())
    assert found.passage_ids == ()


def test_without_the_guard_only_the_own_passage_is_left_out() -> None:
    config = NegativesConfig(margin=0.5, guards=())
    assert mined(config, "mary pilots") == [3, 1, 2, 4, 5]


def test_passages_of_the_same_document_count_as_any_other() -> None:
    config = NegativesConfig(guards=(), count=3)
    assert mined(config) == [3, 1, 2]  # all of a.txt
    assert mined(config, passage=3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("count", "depth", "expected"),
    [
        (1, 100, [1]),
        (2, 100, [1, 2]),
        (9, 100, [1, 2, 4, 5]),  # short, not padded
        (2, 2, [1]),  # of 0.96 and 0.79, the two best others
        (3, 3, [1, 2]),
    ],
)
def test_as_many_as_asked_from_as_deep_as_asked(
    count: int, depth: int, expected: list[int]
) -> None:
    assert mined(NegativesConfig(count=count, depth=depth, margin=0.0)) == expected


def test_the_papers_negatives_are_the_nearest_others() -> None:
    config = NegativesConfig(count=3, depth=3, margin=0.0, guards=())
    assert mined(config) == [3, 1, 2]
    assert mined(config, passage=5) == [3, 0, 1]  # its own is far down


def test_each_pair_has_its_own_negatives_with_their_scores() -> None:
    pairs = [pair(), pair(passage=4)]
    questions = on_circle(1.0, -1.0)  # the second turns all scores about
    config = NegativesConfig(count=2, margin=0.0, guards=())
    assert list(mine_negatives(pairs, questions, CORPUS, config)) == [
        Negatives(
            pair_id=pairs[0].id, score=0.8, candidates=(taken(3, 1, 0.96), taken(1, 3, 0.79))
        ),
        Negatives(
            pair_id=pairs[1].id, score=-0.28, candidates=(taken(5, 1, 0.6), taken(2, 3, -0.6))
        ),
    ]
    nothing = np.empty((0, 2), np.float32)
    assert list(mine_negatives([], nothing, CORPUS, config)) == []


def test_vectors_of_something_else_are_refused() -> None:
    with pytest.raises(DataError, match="6 passages, but vectors of 5"):
        SearchableCorpus(PASSAGES, DenseIndex(VECTORS[:5]))
    with pytest.raises(DataError, match="2 pairs, but 1 vectors of questions"):
        mine_negatives([pair(), pair()], QUESTION, CORPUS, NegativesConfig())


def test_what_is_mined_for_a_pair_does_not_depend_on_the_others() -> None:
    """A multi-hop question needs a deeper ranking, which must not show in its neighbours'."""
    pairs = [pair(), replace(pair("?"), additional_passage_ids=(PASSAGES[2].id, PASSAGES[4].id))]
    queries = np.concatenate([QUESTION, QUESTION])
    for retriever in ("dense", "bm25", "hybrid"):
        config = NegativesConfig(count=2, depth=2, guards=(), retriever=retriever)
        together = list(mine_negatives(pairs, queries, CORPUS, config))
        apart = [
            record for one in pairs for record in mine_negatives([one], QUESTION, CORPUS, config)
        ]
        assert together == apart


def test_a_pair_whose_passage_is_missing_is_refused_at_once() -> None:
    stray = QAPair(passage_id="gone", question="Who?", answer="Mary")
    with pytest.raises(DataError, match="Passage gone of a pair is not in the corpus"):
        mine_negatives([stray], QUESTION, CORPUS, NegativesConfig())


def test_all_passages_of_a_multi_hop_question_are_none_and_the_lowest_sets_the_margin() -> None:
    asked = replace(pair(), additional_passage_ids=(PASSAGES[2].id,))  # 0.80 and 0.60
    (found,) = mine_negatives([asked], QUESTION, CORPUS, NegativesConfig(margin=0.0, depth=9))
    assert found.passage_ids == (PASSAGES[4].id, PASSAGES[5].id)  # below 0.60
    config = NegativesConfig(margin=0.0, depth=9, guards=())
    (found,) = mine_negatives([asked], QUESTION, CORPUS, config)
    assert found.passage_ids == tuple(PASSAGES[i].id for i in (3, 1, 4, 5))


NOBODY = Judges()


def told(config: NegativesConfig, answer: str = "", judges: Judges = NOBODY) -> dict[int, str]:
    """Per place what a candidate is taken for, in the order of their ranks."""
    found = mine_negatives([pair(answer)], QUESTION, CORPUS, config, judges)
    place_of = {one.id: i for i, one in enumerate(PASSAGES)}
    (one,) = found
    assert [c.rank for c in one.candidates] == sorted(c.rank for c in one.candidates)
    return {place_of[c.passage_id]: c.reason or c.verdict for c in one.candidates}


def test_every_candidate_says_what_it_is_taken_for() -> None:
    assert told(NegativesConfig(), "mary pilots") == {
        3: "scores like the positive",
        1: "scores like the positive",
        2: "holds the answer",
        4: "negative",
        5: "negative",
    }


def test_nothing_is_looked_at_behind_the_last_negative_that_is_wanted() -> None:
    assert list(told(NegativesConfig(count=1, depth=9))) == [3, 1, 2]


def test_first_ranks_can_be_skipped() -> None:
    # the ranking is 3, 0, 1, 2, 4, 5, and 0 is the positive
    assert list(told(NegativesConfig(skip=3, guards=()))) == [2, 4, 5]


LONG = "The inner berth is ninety metres long and has two cranes for general cargo"


def test_a_copy_of_the_positive_is_a_positive_wherever_it_scores() -> None:
    texts = [LONG, f"{LONG}.", LONG.replace("ninety", "fifty").replace("two", "six"), "A bell."]
    corpus = [Passage(document_id=f"{i}", text=text, start=0) for i, text in enumerate(texts)]
    asked = QAPair(passage_id=corpus[0].id, question="How long?", answer="ninety metres")
    searchable = SearchableCorpus(corpus, DenseIndex(on_circle(0.8, 0.75, 0.85, 0.2)))
    (found,) = mine_negatives([asked], QUESTION, searchable, NegativesConfig())
    assert [(c.passage_id, c.verdict, c.reason) for c in found.candidates] == [
        (corpus[2].id, "dropped", "scores like the positive"),  # two words of 14 take 8 of 11 runs
        (corpus[1].id, "positive", COPY),
        (corpus[3].id, "negative", ""),
    ]
    assert found.positive_ids == (corpus[1].id,)
    assert found.passage_ids == (corpus[3].id,)


def test_candidates_may_come_from_words() -> None:
    """What BM25 ranks high stands first, with the embedder's scores all the same."""
    asked = QAPair(passage_id=PASSAGES[0].id, question="A bell?", answer="unlike")
    config = NegativesConfig(count=1, guards=(), retriever="bm25")
    (found,) = mine_negatives([asked], QUESTION, CORPUS, config)
    assert found.candidates == (taken(5, 1, -0.6),)
    config = NegativesConfig(count=2, guards=(), retriever="hybrid")
    (found,) = mine_negatives([asked], QUESTION, CORPUS, config)
    # 5 has all of BM25 and nothing of the embedder, 3 has all of the embedder and a little of BM25
    assert set(found.passage_ids) == {PASSAGES[3].id, PASSAGES[5].id}


def test_a_reranker_drops_what_it_finds_as_good_as_the_positive() -> None:
    asked: list[tuple[str, str]] = []

    def score(texts: Sequence[tuple[str, str]]) -> Floats:
        asked.extend(texts)
        return np.array([{"Mary pilots.": 1.5, "A quay.": 1.5}.get(t, 1.0) for _, t in texts])

    config = NegativesConfig(count=2, guards=("reranker",))
    assert told(config, judges=Judges(score=score)) == {
        3: "negative",
        1: "negative",
    }
    assert len(asked) == 5  # the positive and twice as many as are wanted
    config = NegativesConfig(count=4, guards=("reranker",))
    assert told(config, judges=Judges(score=score))[4] == "reranks like the positive"


def test_the_teacher_drops_what_tells_the_answer_as_well() -> None:
    def read(prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        assert all("unlike" in reply for reply in replies)
        likely = [-0.5 if "pilots" in p.messages[-1].content.casefold() else -2.0 for p in prompts]
        return np.array(likely, np.float32)

    config = NegativesConfig(guards=("reading",))
    assert told(config, "unlike", Judges(read=read)) == {
        3: "negative",
        1: "negative",
        2: "tells the answer as well",
        4: "negative",
        5: "negative",
    }


@pytest.mark.parametrize("guard", ["reranker", "reading"])
def test_a_guard_without_its_model_is_refused(guard: Guard) -> None:
    with pytest.raises(
        DataError, match=f'negatives.guards includes "{guard}", but no .* is configured'
    ):
        mine_negatives([pair()], QUESTION, CORPUS, NegativesConfig(guards=(guard,)))
