"""Languages: what a passage is in, and what a question can not be in."""

import pytest

from aloft.prompts.languages import LANGUAGES
from aloft.text.language import can_be_in, language_of

ENGLISH, GERMAN = LANGUAGES["en"].examples, LANGUAGES["de"].examples


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_language_is_told_from_a_sentence_or_two(code: str) -> None:
    for _, text, question, _ in LANGUAGES[code].examples:
        assert language_of(text) == code
        assert can_be_in(question, code)


@pytest.mark.parametrize("code", sorted(set(LANGUAGES) - {"en"}))
def test_an_english_question_can_not_be_in_another_language(code: str) -> None:
    for _, _, question, _ in ENGLISH:
        assert not can_be_in(question, code)


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("Qui est Lady Gaga ?", "fr"),
        ("Hvem er Lady Gaga?", "no"),
        ("1848?", "fi"),
        ("", "fi"),
        ("Wer ist das?", "xx"),  # of a language that is not known nothing can be said
    ],
)
def test_what_can_not_be_told_passes(question: str, code: str) -> None:
    assert can_be_in(question, code)


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("¿Cuántos muelles tiene el puerto?", "pt"),
        ("港口有几个泊位？", "ja"),
        ("Wie viele Liegeplätze hat der Hafen?", "nl"),
        ("Сколько причалов в порту?", "en"),
    ],
)
def test_neighbours_are_told_apart(question: str, code: str) -> None:
    assert not can_be_in(question, code)


@pytest.mark.parametrize(
    "text",
    ["", "1848 1871 1918", "r 1 = a ⋅ m 2 m 1 + m 2", "Ada Lovelace, Alan Turing, Grace Hopper"],
)
def test_what_is_no_prose_has_no_language(text: str) -> None:
    assert language_of(text) is None


def test_nynorsk_is_norwegian_and_traditional_chinese_is_chinese() -> None:
    assert (
        language_of("Eg veit ikkje kvifor ho ikkje kom til hamna i dag, men eg saknar ho.") == "no"
    )
    assert language_of("港口有十一個泊位，引水人叫瑪麗。這座城市以鹽業聞名。") == "zh"


def test_a_long_passage_is_told_by_its_beginning() -> None:
    assert language_of(GERMAN[0][1] * 20 + ENGLISH[0][1] * 200) == "de"
