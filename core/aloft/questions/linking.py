"""Turns the entries of a log into questions linked to passages, each link with its confidence.

The confidence is the share of the passage in a softmax over the scores of all that may hold the
answer: the passages of the clicked documents, or else the best of the corpus. The score is the
hybrid one, in which BM25 reads the accepted answer too. Both constants were fitted on human
questions; the README, "Past questions", shows how often a link of some confidence is right.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from aloft.config import LinksConfig
from aloft.corpus.locating import PassageLocator
from aloft.records import LinkedQuestion, LogEntry, Passage, Rejection
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import Ranking
from aloft.text.tokens import split_words

DEPTH = 100  # ranks of the corpus that a question is looked for in
_DENSE_SHARE = 0.3  # of the score
_TEMPERATURE = 0.1  # of the softmax
_SHORTEST_QUOTE = 4  # words; what is shorter and names no document is no quote either


def link_log(
    entries: Sequence[LogEntry],
    passages: Sequence[Passage],
    places: PassageLocator,
    dense: Ranking,
    config: LinksConfig,
) -> list[LinkedQuestion | Rejection]:
    """Link each question to the passage that most likely answers it, or say why there is none.

    Args:
        entries: The questions of the log.
        passages: The whole corpus.
        places: Where the passages stand in the documents.
        dense: The passages that the embedder ranks highest for each question; (entries, DEPTH).
        config: The confidence that a link needs.
    """
    columns = {passage.id: column for column, passage in enumerate(passages)}
    clicked = _Clicked(places)
    outcomes: list[LinkedQuestion | Rejection] = []
    for entry, scores in zip(entries, _rank(entries, passages, dense), strict=True):
        if entry.clicks:
            ids = [passage_id for click in entry.clicks for passage_id in clicked.passages(click)]
            scores = {columns[i]: scores.get(columns[i], 0.0) for i in ids}
        if not scores:
            detail = f"{entry.question} ({'; '.join(entry.clicks)})"
            outcomes.append(_reject(entry, "clicked text is not here", detail[:300]))
            continue
        best = max(scores, key=lambda column: scores[column])
        confidence = _confidence(list(scores.values()))
        if confidence < config.min_confidence:
            outcomes.append(_reject(entry, "too unsure", f"{confidence:.2f}: {entry.question}"))
            continue
        outcomes.append(
            LinkedQuestion(
                passage_id=passages[best].id,
                question=entry.question,
                answer=entry.answer,
                confidence=round(confidence, 3),
            )
        )
    return outcomes


def _rank(
    entries: Sequence[LogEntry], passages: Sequence[Passage], dense: Ranking
) -> Iterator[dict[int, float]]:
    """For each question the scores of its best passages, in [0, 1], by column and best first."""
    texts = [f"{entry.question}\n{entry.answer}" for entry in entries]
    lexical = BM25Index([passage.content for passage in passages]).rank(texts, DEPTH)
    ranking = fuse(dense, lexical, DEPTH, _DENSE_SHARE)
    for columns, scores in zip(ranking.columns.tolist(), ranking.scores.tolist(), strict=True):
        yield dict(zip(columns, scores, strict=True))


def _confidence(scores: Sequence[float]) -> float:
    """Share of the highest score in a softmax over all; in (0, 1]."""
    top = max(scores)
    return 1 / sum(math.exp((score - top) / _TEMPERATURE) for score in scores)


def _reject(entry: LogEntry, reason: str, detail: str) -> Rejection:
    return Rejection(subject_id=entry.id, stage="links", reason=reason, detail=detail)


class _Clicked:
    """What was clicked, as logs name it, to the passages that may hold the answer."""

    def __init__(self, places: PassageLocator) -> None:
        self._places = places
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for document_id in places.texts:
            self._by_name[_segments(document_id)[-1]].append(document_id)

    def passages(self, click: str) -> Iterator[str]:
        """Ids of the passages of a document, or of those that a quote stands in, or none."""
        document_id = self._document(click)
        if document_id is not None:
            yield from (span.passage_id for span in self._places.spans(document_id))
        elif len(split_words(click)) >= _SHORTEST_QUOTE:
            for holder, quotes in self._places.find(click.rstrip(" .…")).items():
                for start, end in quotes:
                    spans = self._places.overlapping(holder, start, end)
                    yield from (span.passage_id for span in spans)

    def _document(self, click: str) -> str | None:
        """The document of that id, or the one whose path ends most like the click's."""
        if click in self._places.texts:
            return click
        wanted = _segments(unquote(urlsplit(click).path) if "://" in click else click)
        found: dict[int, list[str]] = {}
        for document_id in self._by_name.get(wanted[-1], ()):
            known = _segments(document_id)
            depth = min(len(known), len(wanted))
            if known[-depth:] == wanted[-depth:]:
                found.setdefault(depth, []).append(document_id)
        best = found[max(found)] if found else []
        return best[0] if len(best) == 1 else None


def _segments(path: str) -> list[str]:
    return path.replace("\\", "/").casefold().strip("/").split("/")
