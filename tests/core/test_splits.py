"""Choices for the questions of a fold are made on other documents than those it reports."""

from collections import Counter
from random import Random

import numpy as np
import pytest

from aloft.evaluation.splits import (
    MOST_FOLDS,
    QuestionSplit,
    least_covered,
    split_by_document,
    split_questions,
)
from aloft.records import LabelledQuestion, Passage


def drawn(seed: int) -> list[str]:
    """Documents of up to 80 questions, in any proportion."""
    random = Random(seed)
    names = [f"d{i}" for i in range(random.randint(2, 20))]
    weights = [random.random() ** 3 for _ in names]
    documents = [*names, *random.choices(names, weights, k=random.randint(0, 60))]
    random.shuffle(documents)
    return documents


def groups(split: QuestionSplit) -> set[frozenset[str]]:
    """The documents that are reported together."""
    return {frozenset(split.documents_of(fold.reported)) for fold in split.folds}


@pytest.mark.parametrize("seed", range(200))
def test_every_question_is_reported_once_and_chosen_for_by_all_other_folds(seed: int) -> None:
    documents = drawn(seed)
    split = split_by_document(documents, seed=seed, name="human")

    assert split.is_crossed
    rows = [*range(len(documents))]
    assert sorted(row for fold in split.folds for row in fold.reported) == rows
    for fold in split.folds:
        assert fold.reported == tuple(sorted(fold.reported))
        assert fold.choosing == tuple(row for row in rows if row not in fold.reported)
        assert fold.choosing and fold.reported


@pytest.mark.parametrize("seed", range(200))
def test_no_document_is_in_two_folds_and_folds_are_about_as_large(seed: int) -> None:
    documents = drawn(seed)
    split = split_by_document(documents, seed=seed, name="human")

    sizes = Counter(documents)
    assert len(split.folds) == min(MOST_FOLDS, len(sizes))
    held = [set(split.documents_of(fold.reported)) for fold in split.folds]
    assert sum(map(len, held)) == len(sizes)
    assert all(not held[i] & held[j] for i in range(len(held)) for j in range(i))
    # what a fold was dealt last is its smallest, and it was the smallest fold then
    questions = [len(fold.reported) for fold in split.folds]
    for number, names in zip(questions, held, strict=True):
        assert number - min(sizes[name] for name in names) <= min(questions)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [(2, [1, 1]), (4, [1] * 4), (5, [1] * 5), (23, [5, 5, 5, 4, 4]), (100, [20] * 5)],
)
def test_equal_documents_are_dealt_evenly(documents: int, expected: list[int]) -> None:
    about = [f"d{i // 3}" for i in range(3 * documents)]
    split = split_by_document(about, seed=0, name="human")
    assert sorted((len(names) for names in groups(split)), reverse=True) == expected
    assert sorted((len(fold.reported) for fold in split.folds), reverse=True) == [
        3 * number for number in expected
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_documents_are_dealt_first_each_to_the_smallest_fold(seed: int) -> None:
    sizes = {"a": 6, "b": 5, "c": 4, "d": 3, "e": 2, "f": 2, "g": 1}
    documents = [name for name, size in sizes.items() for _ in range(size)]
    split = split_by_document(documents, seed=seed, name="human")
    # 6, 5, 4, 3 and 2 begin a fold each; 2 goes to 2, then 1 to 3
    assert groups(split) == {frozenset(some) for some in ("a", "b", "c", "dg", "ef")}


def test_a_document_larger_than_a_fold_is_reported_alone() -> None:
    documents = ["large"] * 50 + [f"d{i}" for i in range(20)]
    for seed in range(20):
        split = split_by_document(documents, seed=seed, name="human")
        assert frozenset(["large"]) in groups(split)
        assert sorted(len(fold.reported) for fold in split.folds) == [5, 5, 5, 5, 50]


@pytest.mark.parametrize("documents", [["a"], ["a"] * 60])
def test_questions_about_one_document_are_not_crossed(documents: list[str]) -> None:
    split = split_by_document(documents, seed=0, name="human")
    assert not split.is_crossed
    (fold,) = split.folds
    assert fold.choosing == fold.reported == tuple(range(len(documents)))


@pytest.mark.parametrize("documents", [["a", "b"], ["a"] * 30 + ["b"] * 30, ["b", "a", "b"]])
def test_each_of_two_documents_chooses_for_the_other(documents: list[str]) -> None:
    split = split_by_document(documents, seed=0, name="human")
    one, other = split.folds
    assert split.is_crossed
    assert (one.choosing, one.reported) == (other.reported, other.choosing)
    assert groups(split) == {frozenset("a"), frozenset("b")}


def test_the_seed_and_the_sets_name_draw_the_documents() -> None:
    documents = [f"d{i}" for i in range(40)]
    split = split_by_document(documents, seed=3, name="human")
    assert split == split_by_document(documents, seed=3, name="human")
    assert groups(split) != groups(split_by_document(documents, seed=4, name="human"))
    assert groups(split) != groups(split_by_document(documents, seed=3, name="synthetic"))
    shuffled = Random(0).sample(documents, 40)
    assert groups(split_by_document(shuffled, seed=3, name="human")) == groups(split)


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

    sets = {"human": [ask(5, 0), ask(1), ask(11), ask(4)], "synthetic": [ask(0)]}
    splits = split_questions(sets, passages, seed=0)
    assert splits["human"].documents == ("d2", "d0", "d5", "d2")
    assert groups(splits["human"]) == {frozenset(["d2"]), frozenset(["d0"]), frozenset(["d5"])}
    assert splits["synthetic"].documents == ("d0",)
    assert not splits["synthetic"].is_crossed


def test_the_least_covered_are_half_of_the_questions_and_as_many_as_are_needed() -> None:
    coverage = np.array([0.5, 0.1, 0.9, 0.1, 0.3])
    assert least_covered(coverage).tolist() == [False, True, False, True, True]
    assert least_covered(coverage, 4).tolist() == [True, True, False, True, True]
    assert least_covered(coverage, 19).all()
    assert least_covered(np.full(3, 0.5)).tolist() == [True, True, False]  # equal ones in order
    assert not least_covered(np.empty(0), 19).size
