"""Hits, reciprocal ranks and nDCG worked out by hand, and the weight of a hybrid."""

from collections.abc import Sequence

import numpy as np
import pytest

from aloft.evaluation.retrieval_metrics import METRICS, measure_ranking
from aloft.retrieval.ranking import Ranking

SECOND = 0.6309297535714575  # 1 / log2(3), the discount of rank 2
TENTH = 0.2890648263178879  # 1 / log2(11)


def ranked(*rows: Sequence[int], scores: Sequence[Sequence[float]] | None = None) -> Ranking:
    """A ranking of these columns; without scores each is one below the one before."""
    columns = np.array(rows, np.intp)
    steps = -np.arange(columns.shape[1], dtype=np.float32)
    given = np.broadcast_to(steps, columns.shape) if scores is None else scores
    return Ranking(columns=columns, scores=np.array(given, np.float32))


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ({0}, [1, 1, 1, 1, 1, 1]),
        ({1}, [0, 1, 1, 1, 1 / 2, SECOND]),
        ({3}, [0, 1, 1, 1, 1 / 4, 0.43067655807339306]),  # 1 / log2(5)
        ({4}, [0, 1, 1, 1, 1 / 5, 0.38685280723454163]),  # rank 5 is within hit@5
        ({5}, [0, 0, 1, 0, 1 / 6, 0.3562071871080222]),  # rank 6 is not
        ({9}, [0, 0, 1, 0, 1 / 10, TENTH]),
        ({10}, [0, 0, 0, 0, 0, 0]),  # rank 11 counts for nothing
        ({99}, [0, 0, 0, 0, 0, 0]),  # not retrieved at all
        (set(), [0, 0, 0, 0, 0, 0]),
        # both gold on top is the ideal; one on rank 2 and 3 loses (1 - 1/2) of 1 + SECOND
        ({0, 1}, [1, 1, 1, 1, 1, 1]),
        ({1, 2}, [0, 1, 1, 1, 1 / 2, (SECOND + 1 / 2) / (1 + SECOND)]),
        ({0, 99}, [1, 1, 1, 1 / 2, 1, 1 / (1 + SECOND)]),
        ({0, 10}, [1, 1, 1, 1 / 2, 1, 1 / (1 + SECOND)]),  # beyond rank 10 is as good as missing
    ],
)
def test_one_question_by_hand(gold: set[int], expected: list[float]) -> None:
    values = measure_ranking(ranked(range(12)), [frozenset(gold)])

    assert tuple(values) == METRICS
    assert [values[metric].tolist() for metric in METRICS] == [[pytest.approx(v)] for v in expected]


def test_more_gold_than_ranks_can_still_be_ideal() -> None:
    values = measure_ranking(ranked(range(12)), [frozenset(range(12))])
    assert values["recall@5"].tolist() == [pytest.approx(5 / 12)]
    assert values["ndcg@10"].tolist() == [pytest.approx(1)]


def test_each_question_is_measured_by_itself() -> None:
    ranking = ranked([2, 0, 1], [2, 0, 1], [0, 1, 2])
    values = measure_ranking(ranking, [frozenset({2}), frozenset({1}), frozenset({7})])

    assert values["hit@1"].tolist() == [1, 0, 0]
    assert values["hit@5"].tolist() == [1, 1, 0]
    assert values["mrr@10"].tolist() == [1, pytest.approx(1 / 3), 0]
    assert values["ndcg@10"].tolist() == [1, pytest.approx(1 / 2), 0]  # 1 / log2(4)


def test_no_questions_give_no_values() -> None:
    nothing = Ranking(columns=np.empty((0, 5), np.intp), scores=np.empty((0, 5), np.float32))
    assert {len(values) for values in measure_ranking(nothing, []).values()} == {0}


def test_as_many_gold_sets_as_questions_are_due() -> None:
    with pytest.raises(ValueError, match="zip"):
        measure_ranking(ranked([0, 1]), [frozenset({0})] * 2)
