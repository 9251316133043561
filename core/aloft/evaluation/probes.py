"""How the place and the number of passages change a generator's answers.

Three probes on a few of the deciding questions, the same for every generator: the right passage
at each place among as many passages as it was trained on; 2, 5, 10 and 20 passages, as far as the
corpus has as many; and no passage at all, where a right answer was known before.
"""

from collections.abc import Iterator, Sequence

from aloft.evaluation.answer_metrics import CITED_ANSWER, OF_CITATIONS
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.report import ProbeRow
from aloft.evaluation.systems import means_of
from aloft.randomness import deal_places

PLACE, COUNT, NOTHING = "place of the right passage", "passages shown", "no passage"
QUESTIONS = 40  # per place or number
COUNTS = (2, 5, 10, 20)


def probe(evaluator: Evaluator, generator: str) -> list[ProbeRow]:
    """A row for each place and number, with the metrics' means."""
    name = evaluator.deciding
    rows = evaluator.chosen(name, QUESTIONS)
    found = []
    for what, value, contexts in _variants(evaluator, name, rows):
        metrics = means_of(evaluator.answer(name, generator, rows, contexts))
        if what == NOTHING:  # there is nothing to cite
            cites = (*OF_CITATIONS, CITED_ANSWER)
            metrics = {metric: mean for metric, mean in metrics.items() if metric not in cites}
        found.append(
            ProbeRow(
                probe=what,
                value=value,
                question_set=name,
                generator=generator,
                n=len(rows),
                metrics=metrics,
            )
        )
    return found


def _variants(
    evaluator: Evaluator, name: str, rows: Sequence[int]
) -> Iterator[tuple[str, int, list[list[int]]]]:
    """The probe, its value, and per question the columns of the passages shown."""
    most = len(evaluator.passages)
    usual = min(evaluator.sets.contexts, most)
    for place in range(usual):
        yield PLACE, place + 1, evaluator.contexts(name, rows, usual, [place] * len(rows))
    for count in (count for count in COUNTS if count <= most):
        places = deal_places([count] * len(rows), evaluator.seed, "probed places", str(count))
        yield COUNT, count, evaluator.contexts(name, rows, count, places)
    yield NOTHING, 0, [[] for _ in rows]
