"""Words as they are compared, and the terms that BM25 looks for."""

import pytest

from aloft.text.tokens import split_terms, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The FERRY's 2 ports", ["the", "ferry", "s", "2", "ports"]),
        ("漢字学", ["漢字", "字学"]),
        ("漢", ["漢"]),
        ("ab漢字12", ["ab", "漢字", "12"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs are no letters, but stand in words
        ("ที่นี่", ["ที", "ี่", "่น", "นี", "ี่"]),
        ("e\u0301te\u0301", ["\xe9t\xe9"]),
        (" .,! ", []),
    ],
)
def test_text_is_split_to_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Ports", ["ports", "~<por", "~port", "~orts", "~rts>"]),
        ("a 12", ["a", "~<a>", "12", "~<12>"]),  # what is shorter is one run
        ("漢字学", ["漢", "字", "学", "漢字", "字学"]),
        ("漢", ["漢"]),
        ("x漢字", ["x", "~<x>", "漢", "字", "漢字"]),
        ("ที่นี่", ["ที่นี่", "~<ที่", "~ที่น", "~ี่นี", "~่นี่", "~นี่>"]),
        ("?", []),
    ],
)
def test_text_is_split_to_terms(text: str, terms: list[str]) -> None:
    assert split_terms(text) == terms


def test_a_run_of_characters_is_no_word() -> None:
    assert not {"port", "sport"} & (set(split_terms("airport")) - {"airport"})
