"""Choices are made on other documents than those that are reported."""

from collections import Counter
from random import Random

import pytest

from aloft.evaluation.splits import VALIDATION_SHARE, split_by_document, split_questions
from aloft.records import LabelledQuestion, Passage


def drawn(seed: int) -> list[str]:
    """Documents of up to 80 questions, in any proportion."""
    random = Random(seed)
    names = [f"d{i}" for i in range(random.randint(3, 20))]
    weights = [random.random() ** 3 for _ in names]
    return [*names, *random.choices(names, weights, k=random.randint(0, 60))]


@pytest.mark.parametrize("seed", range(200))
def test_no_document_is_on_both_sides_and_no_question_is_lost(seed: int) -> None:
    documents = drawn(seed)
    split = split_by_document(documents, seed=seed, name="human")

    assert split.is_parted
    assert sorted([*split.validation, *split.test]) == [*range(len(documents))]
    assert split.validation == tuple(sorted(split.validation))
    validation, test = (
        set(split.documents_of(split.validation)),
        set(split.documents_of(split.test)),
    )
    assert not validation & test
    assert validation
    assert len(test) >= 2  # an interval takes two
    smallest = min(Counter(documents).values())
    share = VALIDATION_SHARE * len(documents)
    assert len(split.validation) <= max(1.5 * share, smallest)


def test_many_documents_give_validation_its_share() -> None:
    documents = [f"d{i // 3}" for i in range(300)]
    split = split_by_document(documents, seed=0, name="human")
    assert len(split.validation) == 90


def test_a_document_too_large_for_its_share_is_reported_on() -> None:
    documents = ["large"] * 50 + [f"d{i}" for i in range(20)]
    for seed in range(20):
        split = split_by_document(documents, seed=seed, name="human")
        assert "large" not in split.documents_of(split.validation)


def test_where_all_are_too_large_the_smallest_chooses() -> None:
    documents = ["a"] * 20 + ["b"] * 19 + ["c"] * 21
    split = split_by_document(documents, seed=0, name="human")
    assert set(split.documents_of(split.validation)) == {"b"}


@pytest.mark.parametrize("documents", [["a"], ["a"] * 60, ["a", "b"], ["a"] * 30 + ["b"] * 30])
def test_two_documents_are_not_parted(documents: list[str]) -> None:
    split = split_by_document(documents, seed=0, name="human")
    assert not split.is_parted
    assert split.validation == split.test == tuple(range(len(documents)))


def test_the_seed_and_the_sets_name_draw_the_documents() -> None:
    documents = [f"d{i}" for i in range(40)]
    split = split_by_document(documents, seed=3, name="human")
    assert split == split_by_document(documents, seed=3, name="human")
    assert split != split_by_document(documents, seed=4, name="human")
    assert split != split_by_document(documents, seed=3, name="synthetic")
    shuffled = Random(0).sample(documents, 40)
    again = split_by_document(shuffled, seed=3, name="human")
    assert set(again.documents_of(again.validation)) == set(split.documents_of(split.validation))


def test_a_question_is_about_the_document_of_its_first_passage() -> None:
    passages = [Passage(document_id=f"d{i // 2}", text=f"text {i}", start=i) for i in range(12)]

    def ask(*numbers: int) -> LabelledQuestion:
        return LabelledQuestion(
            id=str(numbers),
            question="?",
            answers=(),
            passage_ids=tuple(passages[i].id for i in numbers),
            origin="human",
        )

    sets = {"human": [ask(5, 0), ask(1), ask(11)], "synthetic": [ask(0)]}
    splits = split_questions(sets, passages, seed=0)
    assert splits["human"].documents == ("d2", "d0", "d5")
    assert splits["synthetic"].documents == ("d0",)
