"""Near-duplicate questions: what comparing all with all decides, in near-linear time."""

import tracemalloc
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from aloft.synthesis.question_copies import KeptQuestions
from aloft.text.tokens import split_words

WORDS = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", "1", "1990", "港口有"])
QUESTIONS = st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=25)


def all_with_all(questions: list[str], similarity: float) -> list[bool]:
    words = [frozenset(split_words(question)) for question in questions]
    numbers = [frozenset(filter(str.isdigit, some)) for some in words]
    kept: list[int] = []
    for i, mine in enumerate(words):
        if not any(
            len(mine & words[j]) >= similarity * len(mine | words[j]) and numbers[i] == numbers[j]
            for j in kept
        ):
            kept.append(i)
    return [i in kept for i in range(len(questions))]


@settings(deadline=None, database=None)
@given(QUESTIONS, st.sampled_from([0.1, 0.3, 0.5, 0.6, 2 / 3, 0.75, 0.8, 0.9, 1.0]))
def test_decisions_are_those_of_comparing_all_with_all(
    questions: list[str], similarity: float
) -> None:
    kept = KeptQuestions(questions, similarity)
    found = [kept.keep(row) for row in range(len(questions))]
    assert found == all_with_all(questions, similarity)


@settings(deadline=None, database=None)
@given(st.data(), st.sampled_from([0.5, 0.8, 0.9]))
def test_long_questions_are_compared_with_long_and_short_ones(
    data: st.DataObject, similarity: float
) -> None:
    """Around the length from which the places of words no longer count."""
    words = [f"w{i}" for i in range(34)]
    sets = st.sets(st.sampled_from(words), min_size=20).map(sorted).map(" ".join)
    questions = data.draw(st.lists(sets, max_size=12))
    kept = KeptQuestions(questions, similarity)
    found = [kept.keep(row) for row in range(len(questions))]
    assert found == all_with_all(questions, similarity)


def test_long_questions_need_no_more_memory_than_their_words() -> None:
    random = Random(0)
    questions = [
        " ".join(f"w{random.randrange(20_000)}" for _ in range(200 + 2 * i)) for i in range(100)
    ]
    tracemalloc.start()
    kept = KeptQuestions(questions, 0.8)
    assert all(kept.keep(row) for row in range(100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000  # of 30,000 words


class Counted(KeptQuestions):
    """Counts comparisons, which is what grew with the square."""

    compared = 0

    def _is_copy(self, words: set[int], row: int) -> bool:
        self.compared += 1
        return super()._is_copy(words, row)


def test_questions_of_one_template_are_hardly_compared() -> None:
    questions = [f"Who is the captain of the ship named Ann{i}?" for i in range(2000)]
    kept = Counted(questions, 0.8)
    assert all(kept.keep(row) for row in range(2000))
    assert kept.compared == 0  # 2 million with each other: seven of nine words are shared
