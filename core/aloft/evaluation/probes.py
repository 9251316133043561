"""Turns an evaluator and a generator into what the place and the number of passages do to answers.

Three probes on a few of the questions that decide, which are the same for every generator: the
right passage at each place among as many as it was trained on; with 2, 5, 10 and 20 passages, as
far as there are as many; and no passage at all, where what is still answered rightly was known
before.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from aloft.evaluation.evaluator import Evaluator, means_of
from aloft.randomness import deal_places

PLACE, COUNT, NOTHING = "place of the right passage", "passages shown", "no passage"
QUESTIONS = 40  # of one place or number
COUNTS = (2, 5, 10, 20)


def probe(evaluator: Evaluator, generator: str) -> list[dict[str, Any]]:
    """A row for each place and number: what was varied, its value, and the metrics' means."""
    name = evaluator.deciding
    rows = evaluator.chosen(name, QUESTIONS)
    found = []
    for what, value, contexts in _variants(evaluator, name, rows):
        measured = evaluator.answer(name, generator, rows, contexts)
        metrics = {m: v for m, v in means_of(measured).items() if what != NOTHING or "answer" in m}
        found.append(
            {
                "probe": what,
                "value": value,
                "question_set": name,
                "generator": generator,
                "n": len(rows),
                "metrics": metrics,
            }
        )
    return found


def _variants(
    evaluator: Evaluator, name: str, rows: Sequence[int]
) -> Iterator[tuple[str, int, list[list[int]]]]:
    """What is varied, its value, and per question the passages that are shown."""
    most = len(evaluator.passages)
    usual = min(evaluator.sets.contexts, most)
    for place in range(usual):
        yield PLACE, place + 1, evaluator.contexts(name, rows, usual, [place] * len(rows))
    for count in (count for count in COUNTS if count <= most):
        places = deal_places([count] * len(rows), evaluator.seed, "probed places", str(count))
        yield COUNT, count, evaluator.contexts(name, rows, count, places)
    yield NOTHING, 0, [[] for _ in rows]
