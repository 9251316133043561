"""Which documents share text, so that a split by group leaks none."""

import pytest

from aloft.corpus.grouping import group_documents
from aloft.records import Document

SENTENCE = "The tide tables of the northern harbours are printed every winter by the port office."


def test_documents_that_share_a_paragraph_are_grouped() -> None:
    other = "A different paragraph, which is long enough to link two documents, stands in b and d."
    documents = [
        Document(id="a", text=f"Alone.\n\n{SENTENCE}"),
        Document(id="c", text="Short shared line.\n\nMore."),
        Document(id="b", text=SENTENCE.replace(" of ", "\n  of ") + f"\n \n{other}"),
        Document(id="e", text="Short shared line."),
        Document(id="d", text=other),  # linked to a by way of b
    ]
    assert group_documents(documents) == [("a", "b", "d"), ("c",), ("e",)]


def test_documents_that_are_known_to_be_alike_are_grouped_too() -> None:
    documents = [Document(id=name, text=f"Text of {name}.") for name in "abcde"]
    alike = [("d", "b"), ("b", "b"), ("e", "d")]
    assert group_documents(documents, alike) == [("a",), ("b", "d", "e"), ("c",)]


@pytest.mark.parametrize(("copies", "groups"), [(5, 1), (6, 6)])
def test_boilerplate_links_nothing(copies: int, groups: int) -> None:
    documents = [Document(id=str(number), text=SENTENCE) for number in range(copies)]
    assert len(group_documents(documents)) == groups


def test_a_stream_of_documents_is_read_once() -> None:
    stream = (Document(id=name, text=SENTENCE) for name in "ab")
    assert group_documents(stream) == [("a", "b")]
