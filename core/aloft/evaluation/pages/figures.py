"""How figures and names are written in reports."""

from collections.abc import Iterable, Mapping, Sequence

from aloft.evaluation.report import Report
from aloft.evaluation.systems import System
from aloft.retrieval.fusion import CoverageShare

NONE = "–"
OF_ANSWERS = ("citation accuracy", "answer f1")
_SETS = {"human": "Human questions", "synthetic": "Synthetic held-out questions"}


def set_title(report: Report, question_set: str, *, count: bool = True) -> str:
    """A question set's title, with the number of its questions where it is known."""
    counts = report.measured.questions.get(question_set)
    title = _SETS.get(question_set, f"{question_set} questions")
    return f"{title} (n = {counts.questions})" if count and counts else title


def percent(share: float) -> str:
    """A share in percent, to a tenth."""
    return f"{100 * share:.1f}"


def percents(values: Mapping[str, float], metrics: Sequence[str]) -> tuple[str, ...]:
    """A cell for each metric."""
    return tuple(percent(values[m]) if m in values else NONE for m in metrics)


def points(share: float) -> str:
    """A gain in percentage points, with its sign."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # no "-0.0"


def interval(low: float | None, high: float | None) -> str:
    """A gain's 95 % interval in percentage points."""
    return NONE if low is None or high is None else f"[{points(low)}, {points(high)}]"


def count(number: int | None) -> str:
    """A count, or a dash where it is not known."""
    return NONE if number is None else f"{number:,}"


def metrics_of(
    rows: Iterable[Mapping[str, float]], wanted: Sequence[str] | None = None
) -> list[str]:
    """Metrics that at least one row has: those wanted in their order, else all as they come."""
    found = dict.fromkeys(metric for metrics in rows for metric in metrics)
    return list(found) if wanted is None else [metric for metric in wanted if metric in found]


SYSTEM_HEADER = ("retriever", "embedder", "dense share", "reranker", "its share")


def system_cells(
    system: System, dense_share: str | None, rerank_share: str | None
) -> tuple[str, str, str, str, str]:
    """Retriever, embedder, the hybrid's dense share, reranker and its share."""
    embedder, reranker = (
        NONE if part == "none" else part for part in (system.embedder, system.reranker)
    )
    shares = (
        dense_share if system.retriever == "hybrid" else None,
        rerank_share if system.reranker != "none" else None,
    )
    return system.retriever, embedder, shares[0] or NONE, reranker, shares[1] or NONE


def share_words(share: CoverageShare) -> str:
    """A share, or its range from a question that BM25 covers to one that it does not."""
    ends = [min(max(end, 0.0), 1.0) for end in (share.covered, share.uncovered)]
    return " to ".join(dict.fromkeys(f"{end:.2f}" for end in ends))


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
