"""Marks: what the teacher's probabilities and replies come to, and which marks are kept."""

from collections.abc import Sequence

import pytest

from aloft.config import PairsConfig, RatingsConfig
from aloft.errors import ModelError
from aloft.protocols import Prompt, Reply
from aloft.records import Passage, QAPair, Rating, Rejection
from aloft.synthesis.rating import rate_pairs, rate_passages, select_rated
from aloft.testing import ScriptedTeacher

EXPECT = RatingsConfig(method="expect")
GENERATE = RatingsConfig(method="generate")


class Writer:
    """A teacher that writes and returns no token probabilities."""

    fingerprint = "writer"

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        return [Reply(text="9", is_finished=True) for _ in prompts]


def passage(text: str) -> Passage:
    return Passage(document_id="a.txt", text=text, start=0)


def marked(*values: float) -> list[Rating]:
    return [
        Rating(subject_id=f"p{i}", criterion="passage", value=value)
        for i, value in enumerate(values)
    ]


def weights(**of_digits: float) -> list[float]:
    return [of_digits.get(f"d{digit}", 0.0) for digit in range(10)]


@pytest.mark.parametrize(
    ("weights", "mark"),
    [
        (weights(d9=1), 10.0),  # the highest digit is a ten
        (weights(d0=1), 0.0),
        ([1.0] * 10, 5.0),  # 4.5 of 9
        (weights(d8=3, d0=1), 6.6667),  # 6 of 9
        (weights(d1=1, d2=1), 1.6667),  # 1.5 of 9
    ],
)
def test_the_expected_mark_is_stretched_from_nine_to_ten(weights: list[float], mark: float) -> None:
    teacher = ScriptedTeacher(lambda _: None, score=lambda _: weights)
    subject = passage("The port has 11 berths.")
    assert list(rate_passages([subject], teacher, EXPECT)) == [
        Rating(subject_id=subject.id, criterion="passage", value=mark)
    ]
    (prompt,) = teacher.asked
    assert "to 9 (dense" in prompt.messages[0].content


def test_each_passage_gets_its_own_mark_with_its_title() -> None:
    def score(prompt: Prompt) -> list[float]:
        return weights(d9=1) if "Harbour\nberths" in prompt.messages[-1].content else weights(d3=1)

    subjects = [passage("menu"), Passage(document_id="a", text="berths", start=0, title="Harbour")]
    for first in (False, True):
        teacher = ScriptedTeacher(lambda _: None, score)
        assert list(rate_passages(subjects, teacher, EXPECT, passage_first=first)) == [
            Rating(subject_id=subjects[0].id, criterion="passage", value=3.3333),  # 3 of 9
            Rating(subject_id=subjects[1].id, criterion="passage", value=10.0),
        ]
        assert len(teacher.asked[0].messages) == (1 if first else 2)


def test_a_teacher_without_probabilities_can_not_be_asked_for_them() -> None:
    with pytest.raises(ModelError, match=r'Set ratings\.method to "generate"'):
        list(rate_passages([passage("x")], Writer(), EXPECT))
    (rated,) = rate_passages([passage("x")], Writer(), GENERATE)
    assert isinstance(rated, Rating)
    assert rated.value == 9.0


def test_a_written_mark_is_read_or_the_passage_rejected() -> None:
    replies = {"good": "8/10", "odd": "Ten!", "high": "11", "low": " 0"}
    teacher = ScriptedTeacher(lambda prompt: replies[prompt.messages[1].content.split("\n")[1]])
    subjects = [passage(text) for text in replies]
    good, odd, high, low = rate_passages(subjects, teacher, GENERATE)
    assert good == Rating(subject_id=subjects[0].id, criterion="passage", value=8.0)
    assert low == Rating(subject_id=subjects[3].id, criterion="passage", value=0.0)
    for outcome, subject in ((odd, subjects[1]), (high, subjects[2])):
        assert outcome == Rejection(
            subject_id=subject.id, stage="ratings", reason="unreadable rating"
        )
    assert "to 10 (dense" in teacher.asked[0].messages[0].content


@pytest.mark.parametrize(
    ("values", "share", "at_least", "kept"),
    [
        ([3, 1, 4, 2], 0.25, None, [3, 4, 2]),  # one of four
        ([3, 1, 4, 2], 0.49, None, [3, 4, 2]),  # not yet two
        ([3, 1, 4, 2], 0.5, None, [3, 4]),
        ([3, 1, 4, 2], 0.0, None, [3, 1, 4, 2]),
        ([1, 1, 3, 4], 0.25, None, [1, 1, 3, 4]),  # one of two alike: both are kept
        ([2, 1, 2, 3], 0.5, None, [2, 2, 3]),
        ([5, 5, 5, 5], 0.9, None, [5, 5, 5, 5]),
        ([8, 7.99, 9, 0], 0.0, 8.0, [8, 9]),
        ([8, 7.99, 9, 0], 0.25, 8.0, [8, 9]),  # whichever drops more
        ([8, 7.99, 9, 0], 0.75, 8.0, [9]),
        ([1, 2], 0.0, 8.0, []),
        ([], 0.5, None, []),
    ],
)
def test_the_lowest_marks_are_dropped(
    values: list[float], share: float, at_least: float | None, kept: list[float]
) -> None:
    config = RatingsConfig(drop_share=share, min_rating=at_least)
    good, dropped = select_rated(marked(*values), config)
    assert [rating.value for rating in good] == kept
    assert len(good) + len(dropped) == len(values)


def test_a_dropped_mark_tells_the_edge() -> None:
    _, dropped = select_rated(marked(7.25, 9), RatingsConfig(drop_share=0, min_rating=8))
    assert dropped == [
        Rejection(subject_id="p0", stage="ratings", reason="rated too low", detail="7.25 < 8")
    ]


@pytest.mark.parametrize(
    ("question", "answer", "reason", "detail"),
    [
        ("8", "8", None, ""),
        ("7.5", "10", "rated too low", "question 7.5, answer 10"),
        ("10", "7", "rated too low", "question 10, answer 7"),
        ("good", "10", "unreadable rating", ""),
        ("10", "", "unreadable rating", ""),
    ],
)
def test_a_pair_needs_two_good_marks(
    question: str, answer: str, reason: str | None, detail: str
) -> None:
    pair = QAPair(passage_id="p", question="Who?", answer="Mary")
    teacher = ScriptedTeacher(
        lambda prompt: question if prompt.prefix.startswith("### Question") else answer
    )
    (outcome,) = rate_pairs([(pair, passage("Mary."))], teacher, PairsConfig())
    if reason is None:
        assert outcome == pair
    else:
        assert outcome == Rejection(
            subject_id=pair.id, stage="pair_ratings", reason=reason, detail=detail
        )
    asked = [prompt.messages[1].content for prompt in teacher.asked]
    assert asked == [
        "### Context\nMary.\n\n### Question\nWho?",  # the question is marked without its answer
        "### Context\nMary.\n\n### Question\nWho?\n\n### Answer\nMary",
    ]
