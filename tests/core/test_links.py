"""Links: which passage a question goes to, and a confidence that can be worked out by hand."""

from math import exp
from unicodedata import normalize

import numpy as np
import pytest

from aloft.config import LinksConfig
from aloft.corpus.locating import PassageLocator
from aloft.questions.linking import link_log
from aloft.records import Document, LinkedQuestion, LogEntry, Passage, Rejection
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.searchable import SearchableCorpus

PORT = "The port has 11 berths.\n\nIts pilot is called Mary. The office opens at\nnine."
FERRY = "The ferry leaves at nine. In 2011 it was late."
DOCUMENTS = [
    Document(id="guide/port.md", text=PORT),
    Document(id="ferry.txt", text=FERRY),
    Document(id="old/ferry.txt", text=FERRY),  # all of it was dropped as a copy
]
P1 = Passage(document_id="guide/port.md", text=PORT[:23], start=0)  # The port has 11 berths.
P2 = Passage(document_id="guide/port.md", text=PORT[25:50], start=25)  # Its pilot is called Mary.
P3 = Passage(document_id="guide/port.md", text=PORT[51:], start=51)  # The office opens at\nnine.
F1 = Passage(document_id="ferry.txt", text=FERRY, start=0)
PASSAGES = [P1, P2, P3, F1]
NAMES = {P1.id: "P1", P2.id: "P2", P3.id: "P3", F1.id: "F1"}
COPY = Rejection(
    subject_id="any",
    stage="passages",
    reason="near duplicate",
    detail=f"of passage {F1.id}, at characters 0 to {len(FERRY)} of old/ferry.txt",
)
LOCATOR = PassageLocator(DOCUMENTS, PASSAGES, [COPY])
# stretched to 0 to 1 and taken by 0.3, the embedder's scores are 0.3, 0.15, 0.075 and 0
SCORES = np.array([0.9, 0.7, 0.6, 0.5], np.float32)
VECTORS = np.stack([SCORES, np.sqrt(1 - SCORES**2)], axis=1)
QUESTION = np.array([[1, 0]], np.float32)
CORPUS = SearchableCorpus(PASSAGES, DenseIndex(VECTORS))


def link(answer: str = "", *clicks: str, keep_at_least: float = 0) -> LinkedQuestion | Rejection:
    """The link of a question of which no word stands in any passage: BM25 has the answer alone."""
    entry = LogEntry(question="¿Quién?", answer=answer, clicks=clicks)
    (outcome,) = link_log(
        [entry], QUESTION, CORPUS, LOCATOR, LinksConfig(min_confidence=keep_at_least)
    )
    return outcome


def found(outcome: LinkedQuestion | Rejection) -> tuple[str, float]:
    assert isinstance(outcome, LinkedQuestion), outcome
    return NAMES[outcome.passage_id], outcome.confidence


def share(*others: float) -> float:
    """Of the best score in a softmax at temperature 0.1, by how far the others lie below it."""
    return round(1 / (1 + sum(exp(-below / 0.1) for below in others)), 3)


def test_the_confidence_is_a_share_among_the_whole_corpus() -> None:
    assert found(link()) == ("P1", share(0.15, 0.225, 0.3)) == ("P1", 0.726)


def test_an_accepted_answer_outweighs_the_embedder() -> None:
    # BM25 finds the answer in P2 alone, which gets its 0.7: 0.85 against 0.3, 0.075 and 0
    assert found(link("Mary")) == ("P2", share(0.55, 0.775, 0.85))


def test_a_click_leaves_the_passages_of_its_document() -> None:
    assert found(link("", "guide/port.md")) == ("P1", share(0.15, 0.225))
    assert found(link("", "ferry.txt")) == ("F1", 1.0)


def test_several_clicks_leave_the_passages_of_all() -> None:
    together = found(link("", "Its pilot is called Mary", "ferry.txt"))
    assert together == ("P2", share(0.15))


@pytest.mark.parametrize(
    ("click", "expected"),
    [
        ("guide/port.md", "P1"),
        ("port.md", "P1"),  # the end of its path
        ("/srv/wiki/guide/port.md", "P1"),
        ("/srv/wiki/ferry.txt", "F1"),
        ("https://wiki.example/guide/Port.md?version=2#berths", "P1"),
        (r"C:\wiki\guide\port.md", "P1"),
        ("https://[wiki/guide/port.md", "P1"),  # no address, but it ends in the path of one
        ("old/ferry.txt", "F1"),  # the passage that was kept in its stead
        ("/srv/Old/ferry.txt", "F1"),  # ends like old/ferry.txt more than like ferry.txt
        ("Its pilot  is called\nMary.", "P2"),
        ("The office opens at nine.", "P3"),
        ("berths. Its pilot is cal...", "P1"),  # spans P1 and P2, of which P1 ranks higher
    ],
)
def test_a_click_is_an_id_or_a_path_or_a_quote(click: str, expected: str) -> None:
    assert found(link("", click))[0] == expected


@pytest.mark.parametrize(
    "click",
    [
        "other.md",
        "elsewhere/port.md",  # another port.md
        "Ferry.txt",  # of which there are two
        "at nine",  # too short to be a quote
        "The pilot is called Jane",
        "https://[::1/elsewhere",
    ],
)
def test_a_click_on_what_is_not_here_is_told(click: str) -> None:
    outcome = link("", click)
    assert isinstance(outcome, Rejection)
    assert (outcome.stage, outcome.reason) == ("links", "clicked text is not here")
    assert "¿Quién?" in outcome.detail
    assert click in outcome.detail


@pytest.mark.parametrize("known", ["NFC", "NFD"])
@pytest.mark.parametrize("clicked", ["NFC", "NFD"])
@pytest.mark.parametrize("click", ["Kündigung.txt", "https://a.example/b/K%C3%BCndigung.txt"])
def test_a_click_finds_its_document_however_its_letters_are_composed(
    known: str, clicked: str, click: str
) -> None:
    text = normalize(known, "Die Kündigung muss schriftlich erfolgen.")
    document = Document(id=normalize(known, "Kündigung.txt"), text=text)
    passage = Passage(document_id=document.id, text=text, start=0)
    corpus = SearchableCorpus([passage], DenseIndex(QUESTION))
    locator = PassageLocator([document], [passage], [])
    for wanted in (click, "kündigung muss schriftlich erfolgen"):
        entry = LogEntry(question="¿Quién?", clicks=(normalize(clicked, wanted),))
        (outcome,) = link_log([entry], QUESTION, corpus, locator, LinksConfig(min_confidence=0))
        assert isinstance(outcome, LinkedQuestion)


def test_an_unknown_click_beside_a_known_one_is_passed_over() -> None:
    assert found(link("", "other.md", "ferry.txt")) == ("F1", 1.0)


@pytest.mark.parametrize("between", [", ", ",", "; ", "\n", " ,\n"])
def test_names_of_several_documents_are_a_list(between: str) -> None:
    assert found(link("", f"ferry.txt{between}guide/port.md")) == found(
        link("", "ferry.txt", "guide/port.md")
    )
    assert found(link("", f"other.md{between}ferry.txt")) == ("F1", 1.0)


def test_a_clicked_passage_that_ranks_nowhere_counts_as_the_last() -> None:
    many = [Passage(document_id="more", text=f"more {i}", start=i) for i in range(120)]
    corpus = [*PASSAGES, *many]
    locator = PassageLocator([*DOCUMENTS, Document(id="more", text="")], corpus, [])
    last = np.tile(np.array([[0.4, 0.6]], np.float32), (120, 1))
    searchable = SearchableCorpus(corpus, DenseIndex(np.concatenate([VECTORS, last])))
    entry = LogEntry(question="¿Quién?", clicks=("more",))
    (outcome,) = link_log([entry], QUESTION, searchable, locator, LinksConfig(min_confidence=0))
    assert isinstance(outcome, LinkedQuestion)
    assert outcome.confidence == round(1 / 120, 3)  # nothing sets one of them apart


def test_a_question_that_may_go_to_several_passages_is_dropped() -> None:
    outcome = link(keep_at_least=0.73)
    assert isinstance(outcome, Rejection)
    assert (outcome.reason, outcome.detail) == ("too unsure", "0.73: ¿Quién?")
    assert isinstance(link(keep_at_least=0.725), LinkedQuestion)


def test_a_link_carries_what_is_trained_on() -> None:
    outcome = link("Mary")
    assert isinstance(outcome, LinkedQuestion)
    assert (outcome.question, outcome.answer) == ("¿Quién?", "Mary")
    assert outcome.pair.id == outcome.id
    assert outcome.pair.passage_id == P2.id
