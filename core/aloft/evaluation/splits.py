"""Held-out questions in folds: choices for the questions of one are made on those of the others.

What ships is chosen: the shares of embedder and reranker, and the system variant. A figure on the
questions that it was chosen by is too good. So the questions are divided by document, and those of
each fold are measured with what is chosen on the other folds. All of them count, and none of them
judges its own choice. What ships is then chosen on all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aloft.corpus.sections import WHOLE, Sections
from aloft.evaluation.bootstrap import MIN_CLUSTERS
from aloft.randomness import rng_for
from aloft.records import LabelledQuestion, Passage

MOST_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Rows of a question set, in order.

    Attributes:
        choosing: Those that choices are made on.
        reported: Those that are measured with what was chosen.
    """

    choosing: tuple[int, ...]
    reported: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSplit:
    """The folds of one question set.

    Attributes:
        documents: Per question the document that it is about, or its section.
        folds: Every question is reported in one. Where all are about one document, a single fold
            both chooses and reports.
        are_sections: Whether long documents are divided, as there are few.
    """

    documents: tuple[str, ...]
    folds: tuple[Fold, ...]
    are_sections: bool = False

    @property
    def is_crossed(self) -> bool:
        """Whether choices are made on other questions than those reported."""
        return len(self.folds) > 1

    def documents_of(self, rows: Sequence[int]) -> list[str]:
        """The documents of some questions; (rows,)."""
        return [self.documents[row] for row in rows]


def least_covered(coverage: NDArray[np.float64], least: int = 0) -> NDArray[np.bool_]:
    """The synthetic questions that are most like people's.

    A synthetic question uses the words of its passage more than people's do. Over 13 corpora with
    people's questions, synthetic ones had a mean coverage of 0.74, the half of them with the lowest
    0.62, and people's 0.62.

    Args:
        coverage: See `aloft.retrieval.bm25.BM25Index.coverage`; (questions,).
        least: How many are taken at least, where there are as many.

    Returns:
        (questions,), true for half of them, rounded up.
    """
    found = np.zeros(len(coverage), bool)
    found[np.argsort(coverage, kind="stable")[: max(-(-len(coverage) // 2), least)]] = True
    return found


def split_questions(
    questions: Mapping[str, Sequence[LabelledQuestion]],
    passages: Sequence[Passage],
    sections: Sections = WHOLE,
    *,
    seed: int,
) -> dict[str, QuestionSplit]:
    """Split each question set by document, so that no document is in two folds.

    A question belongs to the document of its gold passage; of several gold passages the first
    counts.

    Args:
        questions: By the name of the set; each question has at least one gold passage.
        passages: The corpus.
        sections: Of documents that are divided: they stand for documents.
        seed: The run's seed: the same questions are split the same way.
    """
    wanted = {question.passage_ids[0] for asked in questions.values() for question in asked}
    document_of = {i: sections.of(one)[0] for one in passages if (i := one.id) in wanted}
    about = {
        name: [document_of[question.passage_ids[0]] for question in asked]
        for name, asked in questions.items()
    }
    return {
        name: replace(
            split_by_document(documents, seed=seed, name=name),
            are_sections=bool(sections.starts),
        )
        for name, documents in about.items()
    }


def split_by_document(documents: Sequence[str], *, seed: int, name: str) -> QuestionSplit:
    """Deal documents to at most `MOST_FOLDS` folds of about as many questions each.

    Documents with many questions are dealt first, each to the fold that has the fewest.

    Args:
        documents: Per question its document.
        seed: The run's seed.
        name: Of the question set.

    Source: cross-fitting, as in Chernozhukov et al. 2018 (arXiv:1608.00060), with documents as
    units.
    """
    rows = tuple(range(len(documents)))
    sizes = dict(sorted(Counter(documents).items()))
    if len(sizes) < MIN_CLUSTERS:
        whole = Fold(choosing=rows, reported=rows)
        return QuestionSplit(documents=tuple(documents), folds=(whole,))
    order = list(sizes)
    rng_for(seed, "folds", name).shuffle(order)
    order.sort(key=lambda document: -sizes[document])
    held = [0] * min(MOST_FOLDS, len(sizes))
    dealt: dict[str, int] = {}
    for document in order:
        dealt[document] = held.index(min(held))
        held[dealt[document]] += sizes[document]
    return QuestionSplit(
        documents=tuple(documents),
        folds=tuple(
            Fold(
                choosing=tuple(row for row in rows if dealt[documents[row]] != number),
                reported=tuple(row for row in rows if dealt[documents[row]] == number),
            )
            for number in range(len(held))
        ),
    )
