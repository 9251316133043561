"""What ships retrieves as its settings say, and the evaluator measures this very retriever."""

import copy
import gc
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripted import CONTRACT, ScriptedModels, retrieving

from aloft.backends.shared import SharedModels
from aloft.config import EvaluationConfig, TrainingSetsConfig
from aloft.evaluation.calibration import fit_relevance, fit_reranker
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.splits import split_questions
from aloft.evaluation.systems import System
from aloft.protocols import Floats, Reranker
from aloft.records import LabelledQuestion, Passage
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.fusion import HALF, CoverageShare
from aloft.retrieval.index_store import IndexStore
from aloft.retrieval.ranking import Ranking
from aloft.retrieval.relevance import EMBEDDED, LEXICAL, UNRELATED, Relevance
from aloft.retrieval.retriever import RetrievalSettings, RetrieverName, index_passages
from aloft.serving.bundle import Bundle, open_retriever
from aloft.testing import HashingEmbedder, OverlapReranker

TEXTS = ("red fox red", "red whale blue whale", "blue", "grey wolf")
PASSAGES = [Passage(document_id="a", text=text, start=0) for text in TEXTS]
HYBRID = retrieving(CONTRACT, retriever="hybrid")
RERANKED = replace(CONTRACT, reranker="any reranker")


def retrieved(contract: Bundle, question: str, count: int | None = None) -> list[int]:
    """Places of the passages found, best first."""
    (found,) = open_retriever(contract, PASSAGES, ScriptedModels()).retrieve([question], count)
    return [TEXTS.index(one.passage.text) for one in found]


def test_dense_is_ordered_by_cosine() -> None:
    # "blue red" has length sqrt(2): cosines 2/sqrt(10), 2/sqrt(12), 1/sqrt(2), 0
    found = open_retriever(CONTRACT, PASSAGES, ScriptedModels()).rank(["blue red"])

    assert found.columns.tolist() == [[2, 0, 1, 3]]
    expected = [1 / 2**0.5, 2 / 10**0.5, 2 / 12**0.5, 0]
    assert found.scores[0].tolist() == [pytest.approx(score) for score in expected]


def sharing(share: float) -> Bundle:
    """A hybrid with one dense share for every question."""
    return retrieving(HYBRID, dense_share=CoverageShare.constant(share))


def test_hybrid_weighs_both_rankings() -> None:
    # Dense as above, stretched: passage 2 gets 1, 0 gets 2/sqrt(5) = 0.894, 1 gets 0.816, 3 0.
    # BM25: "red" is 3 terms and "blue" 4, each in 2 of 4 passages, so all weigh the same. With k1
    # 1.2, b 0.75 and passages of 9, 17, 4 and 8 terms the norms are 1.153 (0), 1.911 (1), 0.679
    # (2): passage 0 gets 3 * 2/(2 + 1.153) = 1.903, 1 gets 7/(1 + 1.911) = 2.405, 2 gets
    # 4/(1 + 0.679) = 2.383. Stretched by the best: 0.791, 1, 0.991, 0.
    assert retrieved(sharing(0.0), "blue red") == [1, 2, 0, 3]
    assert retrieved(sharing(1.0), "blue red") == [2, 0, 1, 3]
    # at 0.04: 1 has 0.993, 2 has 0.991; at 0.5: 1 has 0.908, 2 has 0.995, 0 has 0.843
    assert retrieved(sharing(0.04), "blue red") == [1, 2, 0, 3]

    retriever = open_retriever(sharing(0.5), PASSAGES, ScriptedModels())
    found = retriever.rank(["blue red"])
    assert found.columns.tolist() == [[2, 1, 0, 3]]
    expected = (0.995, 0.908, 0.843, 0)
    assert found.scores[0].tolist() == [pytest.approx(score, abs=0.001) for score in expected]


def test_a_hybrid_weighs_by_how_much_of_a_question_bm25_covers() -> None:
    by_coverage = retrieving(HYBRID, dense_share=CoverageShare(uncovered=1.0, covered=0.0))
    assert retrieved(by_coverage, "blue red") == [1, 2, 0, 3]  # passage 1 has both words: BM25's
    swapped = retrieving(HYBRID, dense_share=CoverageShare(uncovered=0.0, covered=1.0))
    assert retrieved(swapped, "blue red") == [2, 0, 1, 3]  # the order of cosines

    # "blue whale wolf" has 4 terms of 2 passages, which weigh ln 2 = 0.693 each, and 5 and 4 of one
    # passage, ln(1 + 3.5/1.5) = 1.204 each. Passage 1 has blue and whale: (2.773 + 6.020) / 13.608
    # = 0.646 is covered, and the dense share is 0.354. Cosines, stretched: 1 gets 1, 2 gets
    # sqrt(2/3) = 0.816, 3 gets 1/sqrt(3) = 0.577. BM25: 1 gets 2.773/2.911 + 6.020 * 2/3.911 =
    # 4.031, 3 gets 4.816/2.058 = 2.340, 2 gets 2.773/1.679 = 1.652; stretched: 1, 0.581, 0.410.
    retriever = open_retriever(by_coverage, PASSAGES, ScriptedModels())
    both = retriever.rank(["blue red", "blue whale wolf"])
    assert both.columns.tolist() == [[1, 2, 0, 3], [1, 3, 2, 0]]
    expected = (1, 0.579, 0.554, 0)
    assert both.scores[1].tolist() == [pytest.approx(score, abs=0.001) for score in expected]


@pytest.mark.parametrize("contract", [CONTRACT, HYBRID, RERANKED, replace(HYBRID, reranker="any")])
def test_some_passages_are_found_as_in_a_corpus_of_their_own(contract: Bundle) -> None:
    retriever = open_retriever(contract, PASSAGES, ScriptedModels())
    (found,) = retriever.retrieve(["blue red"], 3, among={1, 3, 2})
    assert {one.passage.text for one in found} == {TEXTS[1], TEXTS[2], TEXTS[3]}
    if contract.retrieval.retriever == "dense":  # BM25 knows how frequent words are in all of them
        alone = open_retriever(contract, [PASSAGES[i] for i in (1, 2, 3)], ScriptedModels())
        assert found == alone.retrieve(["blue red"], 3)[0]
    (one,) = retriever.retrieve(["blue red"], among=[3])
    assert [some.passage.text for some in one] == ["grey wolf"]
    assert retriever.retrieve(["blue red", "wolf"], among=()) == [[], []]


def test_few_of_many_passages_are_found_however_low_they_rank() -> None:
    many = [Passage(document_id=str(i), text="red fox", start=0) for i in range(150)]
    many.append(Passage(document_id="last", text="grey wolf red", start=0))
    for contract in (CONTRACT, HYBRID):
        (found,) = open_retriever(contract, many, ScriptedModels()).retrieve(["red fox"], 9, {150})
        assert [one.passage.document_id for one in found] == ["last"]


def test_a_reranker_reorders_the_first_ranks_alone() -> None:
    # shares of the question's words: 0 one half, 1 all, 2 one half; equal ones keep their order
    assert retrieved(RERANKED, "blue red") == [1, 2, 0, 3]
    assert retrieved(retrieving(RERANKED, retriever="hybrid"), "blue red") == [1, 2, 0, 3]
    # of the two first, 2 and 0, none is better: passage 1 is not seen
    assert retrieved(retrieving(RERANKED, rerank_depth=2), "blue red") == [2, 0]


def test_a_reranker_has_a_share_of_the_new_order() -> None:
    # Dense, stretched: 2 gets 1, 0 gets 0.894, 1 gets 0.816, 3 gets 0. The reranker's, stretched:
    # 1 gets 1, 0 and 2 get 0.5, 3 gets 0.
    half = retrieving(RERANKED, rerank_share=CoverageShare.constant(0.5))
    found = open_retriever(half, PASSAGES, ScriptedModels()).rank(["blue red"])
    assert found.columns.tolist() == [[1, 2, 0, 3]]
    expected = (0.908, 0.75, 0.697, 0)
    assert found.scores[0].tolist() == [pytest.approx(score, abs=0.001) for score in expected]
    # at 0.1: 2 has 0.95, 0 has 0.855 and 1 has 0.835
    assert retrieved(
        retrieving(RERANKED, rerank_share=CoverageShare.constant(0.1)), "blue red"
    ) == [2, 0, 1, 3]
    assert retrieved(
        retrieving(RERANKED, rerank_share=CoverageShare.constant(0.0)), "blue red"
    ) == [2, 0, 1, 3]


@pytest.mark.parametrize("contract", [CONTRACT, HYBRID, RERANKED, replace(HYBRID, reranker="any")])
@pytest.mark.parametrize(
    "relevance", [None, Relevance(constant=-2.0, similarity=0.3, overlap=2.0, reranker=1.5)]
)
def test_a_pair_has_the_same_score_in_any_company(
    contract: Bundle, relevance: Relevance | None
) -> None:
    contract = retrieving(contract, relevance=relevance)
    retriever = open_retriever(contract, PASSAGES, ScriptedModels())
    questions = ["blue red", "grey wolf"]
    whole = retriever.retrieve(questions)
    for row, question in enumerate(questions):
        expected = {one.column: one.score for one in whole[row]}
        for column, passage in enumerate(PASSAGES):
            (filtered,) = retriever.retrieve([question], among=[column])[0]
            alone = open_retriever(contract, [passage], ScriptedModels()).retrieve([question])[0][0]
            for one in (filtered, alone):
                assert 0 < one.score < 1
                assert one.score == pytest.approx(expected[column], abs=1e-9)


def test_scores_follow_from_the_pair() -> None:
    # no word of the question stands in passage 3, and no vector has anything in common: of the
    # overlap 0 and of the similarity -mean/deviation of the cosines with unrelated texts is left
    models = ScriptedModels()
    (found,) = open_retriever(HYBRID, PASSAGES, models).retrieve(["blue red"])
    embedder = models.embedder("any")
    unrelated = (embedder.encode_queries(["blue red"]) @ embedder.encode_passages(UNRELATED).T)[0]
    by_column = {one.column: one.score for one in found}
    cosines = {2: 1 / 2**0.5, 3: 0.0}
    for column, share in ((2, 4 / 7), (3, 0.0)):  # "blue" has 4 of 7 letters
        similarity = (cosines[column] - unrelated.mean()) / unrelated.std()
        odds = EMBEDDED.constant + EMBEDDED.similarity * similarity + EMBEDDED.overlap * share
        assert by_column[column] == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-4)


def test_bm25_alone_scores_by_words() -> None:
    bm25 = retrieving(CONTRACT, retriever="bm25")
    models = ScriptedModels()
    (found,) = open_retriever(bm25, PASSAGES, models).retrieve(["blue red"])
    odds = {1: LEXICAL.constant + LEXICAL.overlap, 3: LEXICAL.constant}
    scores = {one.column: one.score for one in found}
    assert scores[1] == pytest.approx(1 / (1 + np.exp(-odds[1])))
    assert scores[3] == pytest.approx(1 / (1 + np.exp(-odds[3])))
    assert models.embedded == 0


def test_as_many_as_asked_for_or_else_the_contexts() -> None:
    two = retrieving(CONTRACT, count=2)
    assert retrieved(two, "blue red") == [2, 0]
    assert retrieved(two, "blue red", 1) == [2]
    assert retrieved(two, "blue red", 3) == [2, 0, 1]
    assert retrieved(two, "blue red", 99) == [2, 0, 1, 3]  # no more than there are
    assert retrieved(retrieving(HYBRID, count=2), "blue red", 99) == [2, 1, 0, 3]


def test_more_than_the_rerankers_depth_are_all_reranked() -> None:
    shallow = retrieving(RERANKED, rerank_depth=2, count=2)
    assert retrieved(shallow, "blue red") == [2, 0]
    assert retrieved(shallow, "blue red", 3) == [1, 2, 0]


def test_each_question_has_its_own_passages() -> None:
    retriever = open_retriever(retrieving(CONTRACT, count=1), PASSAGES, ScriptedModels())
    found = retriever.retrieve(["wolf", "whale", "fox"])
    assert [[one.passage for one in some] for some in found] == [
        [PASSAGES[3]],
        [PASSAGES[1]],
        [PASSAGES[0]],
    ]


@pytest.mark.parametrize("contract", [CONTRACT, HYBRID, replace(HYBRID, reranker="any reranker")])
def test_an_empty_corpus_and_no_questions_load_nothing(contract: Bundle) -> None:
    models = ScriptedModels()

    assert open_retriever(contract, [], models).retrieve(["red", "blue"], 3) == [[], []]
    assert open_retriever(contract, PASSAGES, models).retrieve([]) == []
    assert models.loaded == []


class TwoRerankers(ScriptedModels):
    """The body of an embedder ranks the longest first."""

    def reranker(self, name: str) -> Reranker:
        return Longest() if name == CONTRACT.embedder else super().reranker(name)


class Longest:
    fingerprint = "longest"

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        return np.array([len(passage) for _, passage in pairs], np.float32)


@pytest.mark.parametrize(
    ("question", "depth", "expected"),
    [
        ("fox", 2, [0, 1, 3, 2]),  # of the longest two, the second holds it
        ("wolf", 2, [1, 0, 3, 2]),  # the third is not read, and stays where it was
        ("wolf", 3, [3, 1, 0, 2]),
    ],
)
def test_a_reranker_reads_the_first_of_what_late_interaction_has_ordered(
    question: str, depth: int, expected: list[int]
) -> None:
    whole = CoverageShare.constant(1.0)
    bundle = retrieving(
        RERANKED, rerank_depth=depth, rerank_share=whole, late_depth=4, late_share=whole
    )
    retriever = open_retriever(bundle, PASSAGES, TwoRerankers())
    ranking = retriever.rank([question])
    assert ranking.columns.tolist() == [expected]
    assert ranking.scores[0].tolist() == sorted(ranking.scores[0].tolist(), reverse=True)
    assert pickle.loads(pickle.dumps(retriever))._late is not None
    # what is returned has been read
    (found,) = retriever.retrieve([question], 3)
    assert found[0].passage is PASSAGES[0 if question == "fox" else 3]


def test_a_title_is_searched_with_the_text() -> None:
    titled = [*PASSAGES, Passage(document_id="b", text="It swims.", start=0, title="Otter")]
    for contract in (CONTRACT, HYBRID):
        (found,) = open_retriever(contract, titled, ScriptedModels()).retrieve(["otter"], 1)
        assert found[0].passage is titled[4]


def test_what_a_corpus_is_searched_by_is_kept_in_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_retriever(HYBRID, PASSAGES, ScriptedModels()).retrieve(["wolf"], 4)
    for _ in range(2):
        store = IndexStore(tmp_path / "work")
        retriever = open_retriever(HYBRID, PASSAGES, ScriptedModels(), store)
        assert retriever.retrieve(["wolf"], 4) == expected
        del retriever  # with it go the indexes that this process shares
        gc.collect()
        monkeypatch.setattr(BM25Index, "__init__", None)  # is not built again
    assert len(list((tmp_path / "work").glob("bm25-*"))) == 1


def test_vectors_of_the_corpus_are_kept_in_a_store(tmp_path: Path) -> None:
    store = IndexStore(tmp_path / "vectors")
    for _ in range(2):
        (found,) = open_retriever(CONTRACT, PASSAGES, ScriptedModels(), store).retrieve(["wolf"], 1)
        assert found[0].passage is PASSAGES[3]
    open_retriever(CONTRACT, PASSAGES[1:], ScriptedModels(), store).retrieve(
        ["wolf"]
    )  # other texts

    assert len(list((tmp_path / "vectors").glob("passages-*.npy"))) == 2


# ---- measured and shipped


def measured(
    system: System, rerank_depth: int, dense_share: CoverageShare, rerank_share: CoverageShare
) -> Ranking:
    """How the evaluator ranks QUESTIONS."""
    return evaluator_of(system, rerank_depth, dense_share, rerank_share).rank("human", system)


def evaluator_of(
    system: System, rerank_depth: int, dense_share: CoverageShare, rerank_share: CoverageShare
) -> Evaluator:
    """An evaluator of QUESTIONS with models of `aloft.testing`."""
    embedder, reranker = HashingEmbedder(), OverlapReranker()
    splits = split_questions({"human": QUESTIONS}, CORPUS, seed=0)
    folds = splits["human"].folds
    assert len(folds) == 5
    return Evaluator(
        passages=CORPUS,
        questions={"human": QUESTIONS},
        splits=splits,
        config=EvaluationConfig(rerank_depth=rerank_depth, min_human_questions=1),
        sets=TrainingSetsConfig(),
        seed=0,
        encode=lambda _, texts: embedder.encode_queries(texts),
        index=lambda _: index_passages(CORPUS, embedder, 3, IndexStore()),
        score=lambda _, pairs: reranker.score(pairs),
        reply=lambda *_: [],
        choose=lambda *_: np.zeros((0, 0), np.float32),
        read=lambda *_: np.zeros(0, np.float32),
        _dense_shares={(system.embedder, fold): dense_share for fold in folds},
        _rerank_shares={(system, fold): rerank_share for fold in folds},
    )


def test_of_synthetic_questions_the_half_least_covered_fits_the_scores() -> None:
    system = System("dense", "base", "none")
    evaluator = evaluator_of(system, 10, HALF, HALF)
    evaluator.unrelated = lambda _: HashingEmbedder().encode_passages(list(UNRELATED))
    strange = [replace(one, question=f"{one.question} quark lepton") for one in QUESTIONS[:3]]
    asked = [strange[0], *QUESTIONS[3:6], *strange[1:]]  # of the others the corpus has all words

    def fitted(name: str, questions: list[LabelledQuestion]) -> Relevance | None:
        splits = split_questions({name: questions}, CORPUS, seed=0)
        one = replace(evaluator, questions={name: questions}, splits=splits, _rankings={})
        assert one.deciding == name
        return fit_relevance(one, system)

    assert fitted("synthetic", asked) == fitted("human", strange) != fitted("human", asked)


WORDS = ["red", "fox", "blue", "whale", "grey", "wolf", "green", "frog", "brown", "bear"]
CORPUS = [
    Passage(
        document_id=str(i), text=" ".join(WORDS[(i * j) % 10] for j in range(1, 4 + i % 9)), start=0
    )
    for i in range(130)
]
QUESTIONS = [
    LabelledQuestion(
        id=str(i),
        question=f"{one} {other}",
        answers=(),
        passage_ids=(CORPUS[i].id,),
        origin="human",
    )
    for i, (one, other) in enumerate(zip(WORDS, WORDS[3:], strict=False))
]


@pytest.mark.parametrize("reranker", ["none", "base"])
def test_scores_are_fitted_to_held_out_questions(reranker: str) -> None:
    system = System("hybrid", "base", reranker)
    evaluator = evaluator_of(system, 10, HALF, HALF)
    assert fit_relevance(evaluator, system) is None
    evaluator.unrelated = lambda _: HashingEmbedder().encode_passages(list(UNRELATED))
    fitted = fit_relevance(evaluator, system)
    assert fitted is not None
    texts = [question.question for question in QUESTIONS]
    bundle = retrieving(
        HYBRID, relevance=fitted, rerank_depth=10, dense_share=HALF, rerank_share=HALF
    )
    bundle = replace(bundle, window_tokens=3, reranker=None if reranker == "none" else "any")
    found = open_retriever(bundle, CORPUS, ScriptedModels()).retrieve(texts, 10)
    scores = [one.score for some in found for one in some]
    right = [
        one.passage.id in asked.passage_ids
        for asked, some in zip(QUESTIONS, found, strict=True)
        for one in some
    ]
    # the default takes whatever shares words for an answer; here hardly anything is one
    assert np.mean(right) < 0.05
    assert np.mean(scores) < 0.15
    plain = open_retriever(
        replace(bundle, retrieval=replace(bundle.retrieval, relevance=None)),
        CORPUS,
        ScriptedModels(),
    )
    default = [one.score for some in plain.retrieve(texts, 10) for one in some]
    assert np.mean(default) > 0.5
    assert fit_relevance(evaluator, System("bm25", "none", "none")) is None
    assert fit_reranker(evaluator, System("hybrid", "base", "none")) is None


@pytest.mark.parametrize(
    ("dense_share", "rerank_share"),
    [
        (CoverageShare.constant(0.3), CoverageShare.constant(1.0)),
        (
            CoverageShare(uncovered=1.1, covered=0.1),
            CoverageShare(uncovered=0.9, covered=0.2),
        ),
    ],
)
@pytest.mark.parametrize("reranker", ["none", "base"])
@pytest.mark.parametrize("retriever", ["dense", "bm25", "hybrid"])
def test_what_is_measured_is_what_ships(
    retriever: RetrieverName, reranker: str, dense_share: CoverageShare, rerank_share: CoverageShare
) -> None:
    embedder = "none" if retriever == "bm25" else "base"
    ranking = measured(System(retriever, embedder, reranker), 7, dense_share, rerank_share)
    settings = RetrievalSettings(
        retriever=retriever, dense_share=dense_share, rerank_depth=7, rerank_share=rerank_share
    )
    bundle = replace(
        CONTRACT,
        retrieval=settings,
        window_tokens=3,
        reranker=None if reranker == "none" else "any",
    )
    texts = [question.question for question in QUESTIONS]
    shipped = open_retriever(bundle, CORPUS, ScriptedModels())

    count = ranking.columns.shape[1]
    assert count == (7 if reranker == "base" else 100)
    assert shipped.rank(texts).scores.tolist() == ranking.scores.tolist()
    found = shipped.retrieve(texts, count)
    columns = [[int(one.passage.document_id) for one in some] for some in found]
    assert columns == ranking.columns.tolist()


@pytest.mark.parametrize("reranker", ["body", "base"])
def test_what_is_measured_with_late_interaction_first_is_what_ships(reranker: str) -> None:
    shares = CoverageShare(uncovered=0.9, covered=0.2), CoverageShare(uncovered=0.7, covered=0.4)
    system = System("hybrid", "base", reranker)
    evaluator = evaluator_of(system, 20, HALF, shares[0])
    evaluator.config = EvaluationConfig(rerank_depth=20, read_depth=7, min_human_questions=1)
    evaluator.body = lambda _, pairs: Longest().score(pairs)
    late = shares[0] if reranker == "body" else shares[1]
    body = System("hybrid", "base", "body")
    folds = evaluator.splits["human"].folds
    evaluator._rerank_shares |= {(body, fold): late for fold in folds}
    ranking = evaluator.rank("human", system)
    settings = {"dense_share": HALF, "rerank_share": shares[0], "rerank_depth": 20}
    if reranker == "base":
        settings |= {"rerank_depth": 7, "late_depth": 20, "late_share": late}
    name = CONTRACT.embedder if reranker == "body" else "any reranker"
    bundle = replace(retrieving(HYBRID, **settings), reranker=name, window_tokens=3)
    texts = [question.question for question in QUESTIONS]
    shipped = open_retriever(bundle, CORPUS, TwoRerankers())
    assert ranking.columns.shape == (len(QUESTIONS), 20)
    assert shipped.rank(texts).columns.tolist() == ranking.columns.tolist()
    assert shipped.rank(texts).scores.tolist() == ranking.scores.tolist()
    without = replace(bundle, retrieval=replace(bundle.retrieval, late_depth=0))
    other = open_retriever(without, CORPUS, TwoRerankers()).rank(texts, rerank_depth=20)
    assert (other.columns.tolist() == ranking.columns.tolist()) == (reranker == "body")


def test_systems_with_one_first_stage_rank_it_once() -> None:
    asked: list[int] = []

    class Counting(HashingEmbedder):
        def encode_queries(self, texts: Sequence[str]) -> Floats:
            asked.append(len(texts))
            return super().encode_queries(texts)

    embedder = Counting()
    evaluator = Evaluator(
        passages=CORPUS,
        questions={"synthetic": QUESTIONS},
        splits=split_questions({"synthetic": QUESTIONS}, CORPUS, seed=0),
        config=EvaluationConfig(),
        sets=TrainingSetsConfig(),
        seed=0,
        encode=lambda _, texts: embedder.encode_queries(texts),
        index=lambda _: index_passages(CORPUS, embedder, None, IndexStore()),
        score=lambda _, pairs: OverlapReranker().score(pairs),
        reply=lambda *_: [],
        choose=lambda *_: np.zeros((0, 0), np.float32),
        read=lambda *_: np.zeros(0, np.float32),
    )
    evaluator.measure_retrieval(["base"], ["base"])
    assert asked == [len(QUESTIONS)]


# ---- copies


def test_a_copy_is_the_same_object_and_a_pickle_has_loaded_nothing() -> None:
    source = ScriptedModels()
    retriever = open_retriever(HYBRID, PASSAGES, SharedModels(source))
    assert len(retriever.retrieve(["blue red"])[0]) == 4

    assert copy.copy(retriever) is retriever
    assert copy.deepcopy({"any": retriever})["any"] is retriever
    packed = pickle.dumps(retriever)
    assert len(packed) < 4000  # passages and settings, no vectors
    other = pickle.loads(packed)
    assert other is not retriever
    assert (other.settings, other.passages) == (retriever.settings, retriever.passages)
