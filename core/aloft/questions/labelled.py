"""Reads the user's own questions and finds the passages that answer them.

A question points at text (a document, a quote of it, an answer in it); this module finds the
passages that hold that text now, so that one file of questions serves however documents are split.

The file is JSON Lines, a JSON array or CSV. A row needs `question`, and `document_id` (or `doc_id`)
or `passage`, one verbatim quote or several; without these, `context` is a quote, and `file`,
`source` and their like name the document. It may have `answers`, `answer_start` (character offset
in the document), `id` and `also_ok` (or `doc_ids`: further documents that answer it). With
`unanswerable` true nothing answers it, whatever document is named, and it has no passages. The
passages of other questions are, in each document:

1. with a quote, one for each place where it occurs, white space aside: where the quote spans
   several passages, the one that holds the answer or else most of the quote;
2. otherwise those that hold the answer at `answer_start` or wherever it occurs;
3. otherwise all of the document.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aloft.corpus.locating import PassageLocator
from aloft.errors import DataError
from aloft.questions.rows import ANSWER, NOTHING, Fault, Row, clean, columns, read_rows
from aloft.records import Document, LabelledQuestion, Passage, Rejection, content_id
from aloft.text.normalising import find_normalized, unify_forms

_COLUMNS = columns(
    {
        "answers": (
            *("answers", *ANSWER, "ground_truth", "ground_truths", "expected_answer"),
            *("expected_output", "expected", "reference", "reference_answer"),
        ),
        "passage": ("passage", "quote"),
        "context": ("context", "reference_context", "reference_contexts"),
        "file": ("file", "filename", "file_name", "document", "source", "path", "file_path"),
        "unanswerable": ("unanswerable", "is_impossible"),
    },
    lists=("answers", "also_ok", "doc_ids"),
)
_FLAGS = {"": False, "false": False, "no": False, "0": False, "true": True, "yes": True, "1": True}
_DIGITS = re.compile(r"([0-9]{1,20})(?:\.0+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A row of the file, checked for form alone."""

    id: str
    question: str
    answers: tuple[str, ...]
    document_ids: tuple[str, ...]  # none: wherever the quote occurs
    quotes: tuple[str, ...]
    answer_start: int | None
    is_unanswerable: bool


class _FaultError(Exception):
    """What is wrong with a row; becomes a `DataError` that also names the file and line."""


class _MisfitError(Exception):
    """Why no passage answers a question; it is left out, unless most questions are."""


def read_questions(
    path: Path,
    documents: Sequence[Document],
    passages: Sequence[Passage],
    rejections: Sequence[Rejection] = (),
) -> list[LabelledQuestion | Rejection]:
    """Read questions and find the passages that answer them.

    A question that fits no passage, because its document was not read or its quote is not in it,
    is left out. Rows with the id of an earlier one, or without ids and about the same text, are one
    question with the answers and passages of all.

    Args:
        path: The file, plain or packed by gzip; see the docstring of this module.
        documents: All documents that were read.
        passages: All passages that were kept.
        rejections: Of reading and splitting; a passage dropped as a copy stands for the kept one.

    Returns:
        The questions in order, for each that is left out a rejection that says why, and one for
        each row that repeats a question.

    Raises:
        DataError: the file is missing or has no questions, a row is malformed, or fewer than half
            of the questions fit; the first such row is named with what to do.
    """
    corpus = _Corpus(documents, passages, rejections)
    found: dict[str, LabelledQuestion | Rejection] = {}
    repeated: list[Rejection] = []
    first: dict[str, tuple[str, _Asked]] = {}
    for place, row in read_rows(path, _COLUMNS):
        try:
            if isinstance(row, Fault):
                raise _FaultError(row.what)
            asked = _parse(row)
            if asked.id in first:
                _check_same(asked, *first[asked.id])
                repeated.append(_reject(place, "asked before", asked.question))
            labelled = _label(asked, corpus)
        except _FaultError as fault:
            raise DataError(f"{path} {place}: {fault}") from fault
        except _MisfitError as misfit:
            found.setdefault(asked.id, _reject(asked.id, "fits no passage", f"{place}: {misfit}"))
        else:
            found[asked.id] = _merge(found.get(asked.id), labelled)
        first.setdefault(asked.id, (place, asked))
    if not found:
        raise DataError(f'{path} holds no questions. Write one {{"question": ...}} object a line.')
    misfits = [one.detail for one in found.values() if isinstance(one, Rejection)]
    if 2 * len(misfits) > len(found):
        others = f" {len(misfits)} of {len(found)} questions fit no passage of the documents."
        raise DataError(f"{path} {misfits[0]}{others if len(found) > 1 else ''}")
    return [*found.values(), *repeated]


def _reject(subject_id: str, reason: str, detail: str) -> Rejection:
    return Rejection(subject_id=subject_id, stage="questions", reason=reason, detail=detail)


def _check_same(asked: _Asked, place: str, before: _Asked) -> None:
    """Check that a row may repeat the question of an earlier one, which stands at a place."""
    if asked.question != before.question:
        raise _FaultError(
            f'id "{asked.id}" was already used on {place}. '
            "Remove one of the two or give each an id of its own."
        )
    if asked.is_unanswerable != before.is_unanswerable:
        raise _FaultError(
            f'of this question and the same one on {place} one is "unanswerable". Remove it.'
        )


def _merge(before: LabelledQuestion | Rejection | None, more: LabelledQuestion) -> LabelledQuestion:
    """A question with the answers and passages of two rows."""
    if not isinstance(before, LabelledQuestion):
        return more
    return replace(
        before,
        answers=tuple(dict.fromkeys([*before.answers, *more.answers])),
        passage_ids=tuple(dict.fromkeys([*before.passage_ids, *more.passage_ids])),
    )


def _label(asked: _Asked, corpus: "_Corpus") -> LabelledQuestion:
    return LabelledQuestion(
        id=asked.id,
        question=asked.question,
        answers=asked.answers,
        passage_ids=() if asked.is_unanswerable else corpus.gold(asked),
        origin="human",
    )


def _parse(values: Row) -> _Asked:
    question = _string(values, "question")
    if not question:
        raise _FaultError('"question" is missing. Add it.')
    named = _strings(values, "document_id") or _strings(values, "doc_id")
    quotes = _strings(values, "passage")
    if not (named or quotes):  # beside these, such columns may hold something else
        quotes = _strings(values, "context")
        named = () if quotes else _strings(values, "file")
    others = (*_strings(values, "also_ok"), *_strings(values, "doc_ids"))
    document_ids = tuple(dict.fromkeys([*named, *others]))
    answers = _strings(values, "answers")
    is_unanswerable = _flag(values, "unanswerable")
    if is_unanswerable and answers:
        raise _FaultError('it has an answer, but "unanswerable" is true. Remove one of the two.')
    if not (document_ids or quotes or is_unanswerable):
        raise _FaultError(
            '"document_id" and "passage" are missing. Add the id of the document that '
            'answers it, or a quote of the text that does; or "unanswerable": true.'
        )
    return _Asked(
        id=_string(values, "id") or content_id(question, "\n".join(quotes), *document_ids),
        question=question,
        answers=answers,
        document_ids=document_ids,
        quotes=quotes,
        answer_start=_offset(values),
        is_unanswerable=is_unanswerable,
    )


def _string(values: Mapping[str, object], *names: str) -> str:
    """The first of the fields that is given; an id may be a whole number."""
    for name in names:
        value = values.get(name)
        if name.endswith("id") and (number := _whole(value)) is not None:
            value = str(number)
        if not isinstance(value, str | None):
            raise _FaultError(f'"{name}" must be a string. Put it in quotes.')
        if value and _is_given(value):
            return clean(value)
    return ""


def _strings(values: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = values.get(name)
    if value is None:
        return ()
    elements = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
    strings = [text for element in elements if (text := _text(element)) is not None]
    if len(strings) < len(elements):
        raise _FaultError(f'"{name}" must be a string or a list of strings. Put it in quotes.')
    return tuple(clean(string) for string in strings if _is_given(string))


def _is_given(text: str) -> bool:
    return text.strip() not in ("", *NOTHING)


def _text(value: object) -> str | None:
    """An id or an answer, which may be a number; None where it is neither."""
    if (number := _whole(value)) is not None:
        return str(number)
    if isinstance(value, float) and math.isfinite(value):
        return str(value)
    return value if isinstance(value, str) else None


def _flag(values: Mapping[str, object], name: str) -> bool:
    value = values.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    number = _whole(value)
    folded = str(value if number is None else number).strip().lower()
    if folded not in _FLAGS:
        raise _FaultError(f'"{name}" must be true or false. Correct or remove it.')
    return _FLAGS[folded]


def _whole(value: object) -> int | None:
    """A whole number, as tables write them too: 5.0; None where it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _offset(values: Mapping[str, object]) -> int | None:
    value = values.get("answer_start")
    if isinstance(value, list) and value:
        value = value[0]  # of several answers that of the first
    if isinstance(value, str) and (digits := _DIGITS.fullmatch(value.strip())):
        value = int(digits[1])
    if value is None or value == "":
        return None
    number = _whole(value)
    if number is None or number < 0:
        raise _FaultError('"answer_start" must be a whole number from 0. Correct or remove it.')
    return number


class _Corpus:
    """What questions point into: documents, and the places of their passages."""

    def __init__(
        self,
        documents: Sequence[Document],
        passages: Sequence[Passage],
        rejections: Sequence[Rejection],
    ) -> None:
        self._places = PassageLocator(documents, passages, rejections)
        self._left_out = {
            unify_forms(rejection.subject_id): rejection.reason
            for rejection in rejections
            if rejection.stage == "documents"
        }

    def gold(self, asked: _Asked) -> tuple[str, ...]:
        """Ids of the passages that answer a question, in the order of documents and text."""
        resolved = dict.fromkeys(map(self._resolve, asked.document_ids))
        asked = replace(asked, document_ids=tuple(resolved))
        places = self._quoted(asked)
        gold: list[str] = []
        for document_id in asked.document_ids or places:
            quotes = places.get(document_id)
            if quotes:
                gold += self._holding(asked, document_id, quotes)
            else:
                gold += self._answering(asked, document_id)
        if not gold:
            raise _MisfitError(
                "no passage holds the text it points at, which was dropped as too short or "
                "filtered out. Point at a longer text or remove the question."
            )
        return tuple(dict.fromkeys(gold))

    def _resolve(self, name: str) -> str:
        document_id = self._places.resolve(name)
        if document_id is None:
            raise _MisfitError(self._unknown(name))
        return document_id

    def _unknown(self, document_id: str) -> str:
        reason = self._left_out.get(unify_forms(document_id))
        if reason is not None:
            return f'document "{document_id}" was skipped ({reason}). Repair it first.'
        close = difflib.get_close_matches(document_id, self._places.texts, n=3)
        known = " or ".join(f'"{name}"' for name in close) or "an id of a document that was read"
        return f'there is no document "{document_id}". Write {known}.'

    def _quoted(self, asked: _Asked) -> dict[str, list[tuple[int, int]]]:
        """Where the quotes occur in each document that may hold them; each occurs somewhere."""
        main = asked.document_ids[0] if asked.document_ids else None
        places: dict[str, list[tuple[int, int]]] = {}
        for quote in asked.quotes:
            found = self._places.find(quote, asked.document_ids)
            if not found or (main and main not in found):
                where = f'document "{main}"' if main else "any document"
                normal = " ".join(quote.split())
                start = normal if len(normal) <= 60 else f"{normal[:57]}..."
                raise _MisfitError(
                    f'the "passage" that begins "{start}" is not in {where}. '
                    "Copy it from the text word for word."
                )
            for document_id, spans in found.items():
                places.setdefault(document_id, []).extend(spans)
        return places

    def _holding(
        self, asked: _Asked, document_id: str, quotes: Iterable[tuple[int, int]]
    ) -> Iterator[str]:
        """For each place of the quote, the passage with the answer, or else with most of it."""
        answers = self._answer_places(asked, document_id)
        for start, end in quotes:
            inside = [place for place in answers if start <= place[0] and place[1] <= end]
            spans = self._places.overlapping(document_id, start, end)
            with_answer = [
                span
                for span in spans
                if any(span.start <= place[0] and place[1] <= span.end for place in inside)
            ]
            best = with_answer or spans
            if best:
                yield max(best, key=lambda span: span.overlap(start, end)).passage_id

    def _answering(self, asked: _Asked, document_id: str) -> list[str]:
        """The passages with most of each place of the answer; without one, all passages.

        Where the text at `answer_start` was dropped as too short, the answer's other places count.
        """
        return (
            self._most_of(self._answer_places(asked, document_id), document_id)
            or self._most_of(self._found(asked, document_id), document_id)
            or [span.passage_id for span in self._places.spans(document_id)]
        )

    def _most_of(self, places: Iterable[tuple[int, int]], document_id: str) -> list[str]:
        """For each place that passages share characters with, the passage that shares most."""
        held = [(place, self._places.overlapping(document_id, *place)) for place in places]
        best = [max(spans, key=lambda span: span.overlap(*place)) for place, spans in held if spans]
        return [span.passage_id for span in best]

    def _found(self, asked: _Asked, document_id: str) -> list[tuple[int, int]]:
        """Where the answers occur in a document."""
        text = self._places.texts[document_id]
        return [place for answer in asked.answers for place in find_normalized(answer, text)]

    def _answer_places(self, asked: _Asked, document_id: str) -> list[tuple[int, int]]:
        """Spans of the answer; `answer_start` counts in the first document only."""
        text = self._places.texts[document_id]
        places = self._found(asked, document_id)
        start = asked.answer_start
        if start is None or asked.document_ids[:1] != (document_id,):
            return places
        if places:  # line ends may have been shortened since the offset was counted
            return [min(places, key=lambda place: abs(place[0] - start))]
        if start >= len(text):
            raise _MisfitError(
                f'"answer_start" is {start}, but document "{document_id}" has '
                f"{len(text)} characters. Correct or remove it."
            )
        return [(start, start + 1)]
