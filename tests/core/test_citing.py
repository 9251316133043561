"""The passage that is cited: what the generator reads in it, times the chance of its place."""

import numpy as np
import pytest
import regex

from aloft.prompts.aloftrag import AloftragFormat
from aloft.prompts.citation import go_on_from
from aloft.retrieval.citing import MOST, NOTHING, cited, named, read_choices

# By hand: with a power of 1 the places count 1, 1/2 and 1/3.
THREE = np.array([[0.3, 0.4, 0.3], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]], np.float32)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (0.0, [2, 3, 2]),  # the likeliest
        (1.0, [1, 3, 2]),  # 0.3 0.2 0.1; 0.1 0.1 0.23; 0.2 0.25 0.1
        (2.0, [1, 1, 1]),  # 0.3 0.1 0.03; 0.1 0.05 0.078; 0.2 0.125 0.03
        (100.0, [1, 1, 1]),  # the first
    ],
)
def test_probabilities_are_multiplied_by_a_power_of_the_place(
    weight: float, expected: list[int]
) -> None:
    assert cited(THREE, 3, weight).tolist() == expected


def test_what_is_impossible_to_the_generator_still_has_its_place() -> None:
    none_at_all = np.array([[0.0, 0.0], [0.0, 1.0]], np.float32)
    assert cited(none_at_all, 2, 1.0).tolist() == [1, 2]


def test_that_no_passage_holds_the_answer_wins_where_it_is_the_likeliest() -> None:
    four = np.array([[0.2, 0.1, 0.3, 0.4], [0.5, 0.1, 0.0, 0.4]], np.float32)
    assert cited(four, 3, 5.0).tolist() == [NOTHING, 1]
    assert [named(NOTHING), named(3)] == ["none", "3"]


def test_numbers_that_begin_alike_are_not_told_apart() -> None:
    asked = []

    def choose(prompts, choices):  # type: ignore[no-untyped-def]
        asked.append(list(choices))
        return np.full((len(prompts), len(choices)), 1 / len(choices), np.float32)

    prompt = AloftragFormat(abstains=True).render("Why?", ["text"] * 12)
    read = read_choices(choose, [prompt], 12, abstains=True)
    read_choices(choose, [prompt], 2, abstains=False)
    assert asked == [[*"123456789", "none"], ["1", "2"]]
    assert read.shape == (1, MOST + 1)
    assert cited(read, 12, 0.0).tolist() == [1]


def test_a_reply_goes_on_from_its_citation() -> None:
    form = AloftragFormat(abstains=True)
    prompt = form.render("Why?", ["one", "two", "three"])
    begun = go_on_from(prompt, "2", 3)

    assert begun.messages == prompt.messages
    assert begun.prefix == prompt.prefix + "2"
    parsed = form.parse("2" + "\n\n### Answer\nBecause.", ["one", "two", "three"])
    assert (parsed.ordinals, parsed.answer) == ((2,), "Because.")
    whole = regex.compile(begun.pattern)
    assert whole.fullmatch("\n\n### Answer\nBecause.")
    assert whole.fullmatch(", 3\n\n### Answer\nBecause.")
    assert not whole.fullmatch(", 4\n\n### Answer\nBecause.")
    alone = regex.compile(go_on_from(prompt, "none", 3).pattern)
    assert alone.fullmatch("\n\n### Answer\nThe documents do not hold the answer.")
    assert not alone.fullmatch(", 3\n\n### Answer\nBecause.")
