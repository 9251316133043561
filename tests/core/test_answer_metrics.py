"""Citations and answers measured by hand, whatever the script they are written in."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from aloft.evaluation.answer_metrics import (
    GUESSING,
    METRICS,
    MISCITED,
    cited_answer,
    measure_answer,
    normalize,
    token_f1,
)
from aloft.prompts.citation import CitedAnswer


def measured(answer: str, *wanted: str) -> list[float]:
    """Exact match, F1 and containment."""
    values = measure_answer(CitedAnswer(ordinals=(), answer=answer), [], wanted, 5)
    return [values[metric] for metric in METRICS[3:6]]


@pytest.mark.parametrize(
    ("cited", "right", "accuracy", "precision", "recall"),
    [
        ((2,), [2], 1, 1, 1),
        ((1,), [2], 0, 0, 0),
        ((1, 2), [2], 1, 1 / 2, 1),
        ((2,), [2, 3], 1, 1, 1 / 2),
        ((1, 2, 3), [2, 3, 4, 5], 1, 2 / 3, 2 / 4),
        ((), [2], 0, 0, 0),
        ((1,), [], 0, 0, 0),  # nothing right was retrieved
        ((), [], 0, 0, 0),
    ],
)
def test_citations(
    cited: tuple[int, ...], right: Sequence[int], accuracy: float, precision: float, recall: float
) -> None:
    values = measure_answer(CitedAnswer(ordinals=cited, answer="nine"), right, (), 5)

    guessed = values.pop(GUESSING)
    assert 0 <= guessed <= 1
    assert values == {
        "citation accuracy": accuracy,
        "citation precision": pytest.approx(precision),
        "citation recall": pytest.approx(recall),
    }  # without gold answers there is nothing to say about the answer


@pytest.mark.parametrize(
    ("cited", "right", "chance"),
    [
        ((3,), [2], 1 / 5),
        ((1, 3), [2], 2 / 5),
        ((1, 2), [2, 4], 1 - (3 / 5) * (2 / 4)),  # both drawn from the three wrong ones
        ((1, 2, 3, 4, 5), [2], 1),  # whoever cites everything is always right
        ((), [2], 1 / 5),  # whoever cites nothing is measured against one guess
        ((1,), [], 0),  # nothing right was retrieved
    ],
)
def test_guessing_cites_as_many_passages_at_random(
    cited: tuple[int, ...], right: Sequence[int], chance: float
) -> None:
    values = measure_answer(CitedAnswer(ordinals=cited, answer=""), right, (), 5)
    assert values[GUESSING] == pytest.approx(chance)


@pytest.mark.parametrize(
    ("cited", "right", "answer", "expected"),
    [
        ((1,), [2], "It leaves at nine.", 1),
        ((1, 2), [2], "at nine", 0),  # the right one is among them
        ((), [2], "at nine", 1),
        ((1,), [], "at nine", 1),  # nothing right was retrieved
        ((1,), [2], "at ten", 0),
    ],
)
def test_a_right_answer_may_be_cited_wrongly(
    cited: tuple[int, ...], right: Sequence[int], answer: str, expected: float
) -> None:
    reply = CitedAnswer(ordinals=cited, answer=answer)
    assert measure_answer(reply, right, ("at nine",), 5)[MISCITED] == expected
    assert MISCITED not in measure_answer(reply, right, (), 5)


@pytest.mark.parametrize(
    ("answer", "wanted", "expected"),
    [
        ("at nine", "at nine", [1, 1, 1]),
        ("At  NINE.", "at nine", [1, 1, 1]),
        # 2 of 3 words and 2 of 2: 2 * (2/3 * 1) / (2/3 + 1)
        ("at nine sharp", "at nine", [0, 0.8, 1]),
        # 1 of 2 and 1 of 3: 2 * (1/2 * 1/3) / (1/2 + 1/3)
        ("nine berths", "nine old ships", [0, 0.4, 0]),
        # a word said twice is shared as often as the other says it: 1 of 2 and 1 of 1
        ("nine nine", "nine", [0, 2 / 3, 1]),
        ("ten", "nine", [0, 0, 0]),
        ("", "nine", [0, 0, 0]),
    ],
)
def test_answers(answer: str, wanted: str, expected: list[float]) -> None:
    assert measured(answer, wanted) == [pytest.approx(value) for value in expected]


def test_the_best_of_several_accepted_answers_counts_for_each_metric_by_itself() -> None:
    # exact only with the second; contained in none of the others
    assert measured("Mary", "her pilot", "Mary", "Mary Celeste") == [1, 1, 1]
    # F1 from the third (1 of 3 and 1 of 1), contained through the second
    assert measured("pilot is Mary", "a captain", "pilot is", "ten") == [0, pytest.approx(0.8), 1]
    assert measured("ten", "nine", "eleven") == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Port, an  old\none!", "port old one"),
        ("theatre and an anthem", "theatre and anthem"),  # articles are whole words
        ("It's 1,000.", "its 1000"),
        ("«Straße» – “FUSS”", "strasse fuss"),  # Unicode's own quotes, dashes and letter case
        ("Ｎｉｎｅ，ﬁne", "ninefine"),  # full-width letters and ligatures
        ("四月、九日。", "四月九日"),
        ("...", "..."),  # where nothing else is left it does
        ("A", "a"),
        ("", ""),
    ],
)
def test_case_punctuation_articles_and_spaces_do_not_matter(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_scripts_without_spaces_share_character_pairs() -> None:
    # 東京 京都 against 東京 京駅: one of two pairs on both sides
    assert token_f1("東京都", "東京駅") == 1 / 2
    assert token_f1("東京都", "大阪府") == 0
    # 東京 京で against 東京: 1 of 2 and 1 of 1
    assert measured("東京で。", "東京") == [0, pytest.approx(2 / 3), 1]


def test_two_texts_without_words_are_alike() -> None:
    assert token_f1("", "") == 1
    assert token_f1("", "nine") == token_f1("nine", "") == 0
    assert measured("", "+") == [0, 1, 0]
    assert measured("+", "+") == [1, 1, 1]


# ---- what a generator is judged by


NAN = math.nan


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"citation precision": [1, 0.5, 0, 1], "answer f1": [1, 0.25, 1, NAN]},
            [1, 0.375, 0.5, 1],
        ),
        ({"answer f1": [0.25, NAN]}, [0.25, NAN]),  # of what cites nothing
        ({"citation precision": [NAN], "answer f1": [NAN]}, [NAN]),
        # accuracy is gained by citing everything
        ({"citation accuracy": [1], "citation precision": [0.25], "answer f1": [0.5]}, [0.375]),
        ({"citation precision": [], "answer f1": []}, []),
    ],
)
def test_a_cited_answer_is_the_mean_of_precision_and_f1_of_those_that_apply(
    values: dict[str, list[float]], expected: list[float]
) -> None:
    found = cited_answer({metric: np.array(column, float) for metric, column in values.items()})
    np.testing.assert_array_equal(found, np.array(expected, float))
