"""Held-out questions in two parts: those that choices are made on, and those that are reported.

The shares of embedder and reranker and the system variant that ships are chosen. A figure on
the questions that it was chosen by is too good, so these choices see the validation questions
alone, and every reported figure and verdict comes from the test questions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aloft.evaluation.bootstrap import MIN_CLUSTERS
from aloft.randomness import rng_for
from aloft.records import LabelledQuestion, Passage

VALIDATION_SHARE = 0.3  # of a set's questions


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSplit:
    """The parts of one question set.

    Attributes:
        documents: Per question the document that it is about.
        validation: Rows of the questions that choices are made on, in order.
        test: Rows of the questions that are reported, in order. Where the questions are about too
            few documents to part them, both are all rows.
    """

    documents: tuple[str, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def is_parted(self) -> bool:
        """Whether choices are made on other questions than those reported."""
        return self.validation != self.test

    def documents_of(self, rows: Sequence[int]) -> list[str]:
        """The documents of some questions; (rows,)."""
        return [self.documents[row] for row in rows]


def split_questions(
    questions: Mapping[str, Sequence[LabelledQuestion]],
    passages: Sequence[Passage],
    *,
    seed: int,
) -> dict[str, QuestionSplit]:
    """Split each question set by document, so that no document is on both sides.

    A question belongs to the document of its gold passage; of several gold passages the first
    counts.

    Args:
        questions: By the name of the set; each question has at least one gold passage.
        passages: The corpus.
        seed: The run's seed: the same questions are split the same way.
    """
    document_of = {passage.id: passage.document_id for passage in passages}
    return {
        name: split_by_document(
            [document_of[question.passage_ids[0]] for question in asked], seed=seed, name=name
        )
        for name, asked in questions.items()
    }


def split_by_document(documents: Sequence[str], *, seed: int, name: str) -> QuestionSplit:
    """Draw documents for validation until they hold `VALIDATION_SHARE` of the questions.

    A document that would take validation past one and a half times its share is passed over;
    where all are that large, the smallest is taken. At least `MIN_CLUSTERS` documents are left
    for the test questions, which need them for an interval: with no more documents than that the
    questions are not parted.

    Args:
        documents: Per question its document.
        seed: The run's seed.
        name: Of the question set.
    """
    sizes = dict(sorted(Counter(documents).items()))
    spare = len(sizes) - MIN_CLUSTERS
    rows = tuple(range(len(documents)))
    if spare < 1:
        return QuestionSplit(documents=tuple(documents), validation=rows, test=rows)
    wanted = VALIDATION_SHARE * len(documents)
    order = list(sizes)
    rng_for(seed, "validation documents", name).shuffle(order)
    chosen: set[str] = set()
    held = 0
    for document in order:
        if held >= wanted or len(chosen) == spare:
            break
        if held + sizes[document] <= 1.5 * wanted:
            chosen.add(document)
            held += sizes[document]
    chosen = chosen or {min(order, key=sizes.__getitem__)}
    return QuestionSplit(
        documents=tuple(documents),
        validation=tuple(row for row in rows if documents[row] in chosen),
        test=tuple(row for row in rows if documents[row] not in chosen),
    )
