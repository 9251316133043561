"""Worked examples: the same four facts in every language, each answered by a span of its text."""

import pytest

from aloft.prompts.languages import LANGUAGES, code_of
from aloft.synthesis.pairs import holds


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_example_is_whole(code: str) -> None:
    language = LANGUAGES[code]
    assert len(language.examples) == 4
    assert len(set(language.labels)) == 4
    for title, text, question, answer in language.examples:
        assert title and question
        assert holds(text, answer)  # so that they teach to answer by a span
        assert not holds(question, answer)
        assert "\n" not in title + text + question + answer  # a line each in the prompt


def test_each_example_states_the_same_fact_everywhere() -> None:
    for language in LANGUAGES.values():
        falls, office, _, _ = language.examples
        assert "600" in falls[3]
        assert "150" in falls[1]
        assert not any(character.isdigit() for character in office[3])


def test_a_language_is_found_by_its_english_name_or_code() -> None:
    names = ("German", "german", "DE", "Klingon")
    assert [code_of(name) for name in names] == ["de", "de", "de", None]
