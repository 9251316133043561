"""Links the questions of a log to passages, each link with its confidence.

The confidence is the passage's share in a softmax over the scores of all passages that may hold the
answer: those of the clicked documents, or else the best of the corpus. The score is the hybrid one,
for which BM25 reads the accepted answer too. Both constants were fitted on human questions;
docs/results/links.md shows how often a link of a given confidence is right.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from aloft.config import LinksConfig
from aloft.corpus.locating import PassageLocator
from aloft.protocols import Floats
from aloft.records import LinkedQuestion, LogEntry, Rejection
from aloft.retrieval.fusion import fuse
from aloft.retrieval.searchable import SearchableCorpus
from aloft.text.normalising import normalize
from aloft.text.tokens import split_words

_DEPTH = 100  # ranks of the corpus in which a question's passage is looked for
_DENSE_SHARE = 0.3  # of the score
_TEMPERATURE = 0.1  # of the softmax
_SHORTEST_QUOTE = 4  # words; a shorter click that is no document is not taken for a quote either
_LISTED = re.compile(r"\s*[,;\n]\s*")  # between names


def link_log(
    entries: Sequence[LogEntry],
    queries: Floats,
    corpus: SearchableCorpus,
    locator: PassageLocator,
    config: LinksConfig,
) -> list[LinkedQuestion | Rejection]:
    """Link each question to the passage that most likely answers it, or say why there is none.

    Args:
        entries: The questions of the log.
        queries: Unit vectors of the questions; (entries, dimensions).
        corpus: The whole corpus.
        locator: Where its passages stand in the documents.
        config: The least confidence of a link.
    """
    clicks = _ClickResolver(locator)
    rankings = _rank(entries, queries, corpus)
    return [
        _link(entry, scores, clicks, corpus, config)
        for entry, scores in zip(entries, rankings, strict=True)
    ]


def _link(
    entry: LogEntry,
    scores: dict[int, float],
    clicks: "_ClickResolver",
    corpus: SearchableCorpus,
    config: LinksConfig,
) -> LinkedQuestion | Rejection:
    if entry.clicks:
        ids = [passage_id for click in entry.clicks for passage_id in clicks.passages(click)]
        scores = {row: scores.get(row, 0.0) for row in corpus.by_id.rows(ids)}
    if not scores:
        detail = f"{entry.question} ({'; '.join(entry.clicks)})"
        return _reject(entry, "clicked text is not here", detail[:300])
    confidence = _confidence(list(scores.values()))
    if confidence < config.min_confidence:
        return _reject(entry, "too unsure", f"{confidence:.2f}: {entry.question}")
    return LinkedQuestion(
        passage_id=corpus.by_id.id(max(scores, key=lambda row: scores[row])),
        question=entry.question,
        answer=entry.answer,
        confidence=round(confidence, 3),
    )


def _rank(
    entries: Sequence[LogEntry], queries: Floats, corpus: SearchableCorpus
) -> Iterator[dict[int, float]]:
    """Yield for each question the scores of its best passages, in [0, 1], best first, by row."""
    start = 0
    for dense in corpus.dense.rank_blocks(queries, _DEPTH):
        block = entries[start : start + len(dense.columns)]
        start += len(block)
        texts = [f"{entry.question}\n{entry.answer}" for entry in block]
        ranking = fuse(dense, corpus.lexical.rank(texts, _DEPTH), _DEPTH, _DENSE_SHARE)
        for rows, scores in zip(ranking.columns.tolist(), ranking.scores.tolist(), strict=True):
            yield dict(zip(rows, scores, strict=True))


def _confidence(scores: Sequence[float]) -> float:
    """Return the share of the highest score in a softmax over all; in (0, 1]."""
    top = max(scores)
    return 1 / sum(math.exp((score - top) / _TEMPERATURE) for score in scores)


def _reject(entry: LogEntry, reason: str, detail: str) -> Rejection:
    return Rejection(subject_id=entry.id, stage="links", reason=reason, detail=detail)


class _ClickResolver:
    """Resolves clicks, as logs name them, to the passages that may hold the answer."""

    def __init__(self, locator: PassageLocator) -> None:
        self._locator = locator
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for document_id in locator.texts:
            self._by_name[_segments(document_id)[-1]].append(document_id)

    def passages(self, click: str) -> Iterator[str]:
        """Yield the ids of a clicked document's passages, or of those that a quote overlaps."""
        document_id = self._document(click)
        if document_id is not None:
            yield from (span.passage_id for span in self._locator.spans(document_id))
            return
        quotes = {}
        if len(split_words(click)) >= _SHORTEST_QUOTE:
            quotes = self._locator.find(click.rstrip(" .…"))
        for holder, places in quotes.items():
            for start, end in places:
                spans = self._locator.overlapping(holder, start, end)
                yield from (span.passage_id for span in spans)
        if not quotes:  # several names, as tools write lists
            for name in filter(None, map(self._document, _LISTED.split(click))):
                yield from (span.passage_id for span in self._locator.spans(name))

    def _document(self, click: str) -> str | None:
        """Return the document of that id, or the only one whose path ends most like the click's."""
        named = self._locator.resolve(click)
        if named is not None:
            return named
        wanted = _segments(_path_of(click) if "://" in click else click)
        found: dict[int, list[str]] = {}
        for document_id in self._by_name.get(wanted[-1], ()):
            known = _segments(document_id)
            depth = min(len(known), len(wanted))
            if known[-depth:] == wanted[-depth:]:
                found.setdefault(depth, []).append(document_id)
        best = found[max(found)] if found else []
        return best[0] if len(best) == 1 else None


def _path_of(address: str) -> str:
    """The path that an address ends in; of one that is malformed, all of it."""
    try:
        return unquote(urlsplit(address).path)
    except ValueError:
        return address


def _segments(path: str) -> list[str]:
    return normalize(path).replace("\\", "/").strip("/").split("/")
