"""Reads a log of past questions, with clicks, thumbs and accepted answers, into entries.

`question` is needed; what else counts, with the names that other tools give it:

- `answer` (`response`, `output`, ...): the answer that was accepted, of several the first;
- `clicked` (`document_id`, `doc_id`, `passage`): ids or paths of the documents that were opened,
  or quotes of them; several as a list, in a CSV cell with | between them, or names with commas,
  semicolons or on lines;
- `thumbs` (`feedback`, `helpful`, `vote`, ...): up or down, yes or no, true or false, an emoji, 1
  or -1 (0 and nothing: no opinion);
- `thumbs_up` and `thumbs_down` (`upvotes`, `likes`, ...): how many; the more frequent counts;
- `rating` (`stars`): 1 to 5, of which 4 and 5 are up, 1 and 2 down; or up to 10, of which 8 to 10
  are up, 0 to 4 down, where many of a file are above 5;
- `score`: as `thumbs` if no value of the file is above 1 (0: down), or else as `rating`; so is a
  `rating` where one is below 1 and none above.

Where there is an opinion, an answer counts only if it is up; a line that is down is dropped.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aloft.errors import DataError
from aloft.questions.rows import NOTHING, Fault, Row, clean, columns, read_rows
from aloft.records import LogEntry, Rejection
from aloft.text.normalising import fold_question
from aloft.text.tokens import split_words

_CLICKS = ("clicked", "document_id", "doc_id", "passage")
_LISTS = ("clicked", "document_id", "doc_id")
_COLUMNS = columns(
    {
        "clicked": (
            *("clicked", "clicks", "clicked_documents", "clicked_document", "clicked_ids"),
            *("clicked_id", "clicked_url", "clicked_urls", "opened"),
        ),
        "thumbs": (
            *("thumbs", "thumb", "vote", "reaction", "helpful", "was_helpful", "is_helpful"),
            *("useful", "liked", "like", "sentiment", "user_vote"),
        ),
        "ups": ("thumbs_up", "thumb_up", "upvotes", "up_votes", "likes"),
        "downs": ("thumbs_down", "thumb_down", "downvotes", "down_votes", "dislikes"),
        "feedback": ("feedback", "user_feedback", "feedback_value", "flag"),
        "rating": ("rating", "ratings", "stars", "star_rating", "user_rating"),
        "score": ("score", "scores", "user_score", "feedback_score"),
    },
    _LISTS,
)
_UP = """
    up thumbsup thumbup upvote upvoted true yes y positive pos good great like liked helpful useful
    correct accepted happy 👍 ✅ ✔ ❤ 😀 😃 🙂 😊
"""
_DOWN = """
    down thumbsdown thumbdown downvote downvoted false no n negative neg bad poor dislike disliked
    unhelpful nothelpful useless notuseful incorrect wrong rejected unhappy 👎 ❌ ✖ ☹ 🙁 😞
"""
_NO_OPINION = "none null nan na neutral unknown skipped unrated"
_WORDS: dict[str, bool | None] = {
    "": None,
    **dict.fromkeys(_UP.split(), True),
    **dict.fromkeys(_DOWN.split(), False),
    **dict.fromkeys(_NO_OPINION.split()),
}
_LOOKS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")  # variants of an emoji, skin tones
_NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?)(?:\s*/\s*5|(\s*/\s*10)|\s*stars?)?")
_STAR = re.compile("[★⭐🌟]+")
_SCALES = ("rating", "score")
_STARS, _TEN = 5, 10  # tops of scales
_MANY = 0.25  # of a file's ratings above 5, and more than one; fewer are mistakes
_BAD_LINE = "bad line"


class _DroppedError(Exception):
    """Why a line is not used; becomes a `Rejection` that names the line."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail


class _BadLineError(_DroppedError):
    """What is wrong with a line and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(_BAD_LINE, detail)


def read_log(path: Path) -> tuple[list[LogEntry], list[Rejection]]:
    """Read a log, each question once, and a rejection for every line that gives no entry.

    A question that was asked several times has the clicks of all and the first accepted answer.

    Raises:
        DataError: the file is missing, has no column `question`, or no line that can be used.
    """
    rows = list(read_rows(path, _COLUMNS))
    tops = _tops([row for _, row in rows if not isinstance(row, Fault)])
    entries: dict[str, LogEntry] = {}
    dropped: list[Rejection] = []
    for place, row in rows:
        try:
            if isinstance(row, Fault):
                raise _BadLineError(row.what)
            entry = _entry(row, tops)
            key = fold_question(entry.question)
            if key in entries:
                entries[key] = _merge(entries[key], entry)
                raise _DroppedError("asked before", entry.question)
            entries[key] = entry
        except _DroppedError as fault:
            dropped.append(
                Rejection(subject_id=place, stage="log", reason=fault.reason, detail=fault.detail)
            )
    if not entries:
        raise DataError(f"{path} holds no question that can be used. {_why_nothing(dropped)}")
    return list(entries.values()), dropped


def _why_nothing(dropped: Sequence[Rejection]) -> str:
    if not dropped:
        return "Is it empty?"
    first = dropped[0]
    is_fault = first.reason == _BAD_LINE
    why = first.detail if is_fault else f"{first.reason} ({first.detail})"
    return f"{first.subject_id}: {why}"


def _entry(values: Row, tops: Mapping[str, int]) -> LogEntry:
    question = "".join(_texts(values, "question")[:1])
    if not split_words(question) or question in NOTHING:
        raise _BadLineError('"question" is missing. Add it.')
    opinions = _opinions(values, tops)
    if False in opinions:
        raise _DroppedError("thumbs down", question)
    answers = [text for text in _texts(values, "answer") if text not in NOTHING]
    is_accepted = not opinions or True in opinions
    clicks = [click for name in _CLICKS for click in _texts(values, name) if click not in NOTHING]
    return LogEntry(
        question=question,
        answer=answers[0] if answers and is_accepted else "",
        clicks=tuple(dict.fromkeys(clicks)),
    )


# ---- opinions


def _opinions(values: Row, tops: Mapping[str, int]) -> list[bool | None]:
    """What each column of the row that holds an opinion says; None: nothing."""
    found: list[bool | None] = []
    for value in _elements(values, "thumbs"):
        found.append(_thumbs("thumbs", value))
    if not values.keys().isdisjoint(("ups", "downs")):
        found.append(_majority(*(_count(values.get(name)) for name in ("ups", "downs"))))
    for name in _SCALES:
        for value in _elements(values, name):
            top = tops.get(name)
            found.append(_stars(name, value, top) if top else _unit(name, value))
    for value in _elements(values, "feedback"):
        number = _number(value)
        if number is None:
            found.append(_word(value))  # a comment is no opinion
        else:
            found.append((_stars if number > 1 else _thumbs)("feedback", value))
    return found


def _elements(values: Row, name: str) -> list[object]:
    value = values.get(name)
    if name not in values or value is None:
        return [None] if name in values else []
    return value if isinstance(value, list) else [value]


def _fold(value: object) -> str:
    """A word without case, emoji variants and marks between its parts."""
    text = _LOOKS.sub("", "" if value is None else str(value)).strip().lower()
    return text if text in _WORDS else re.sub(r"[\W_]+", "", text) or text


def _word(value: object) -> bool | None:
    return _WORDS.get(_fold(value))


def _number(value: object) -> float | None:
    """The number that a cell holds: 5, "5.0", "5,0", "4/5", "8/10" (4), "4 stars" or ★★★★."""
    text = "" if value is None or isinstance(value, bool) else str(value).lower().strip(": ")
    stars = _STAR.match(_LOOKS.sub("", text))
    if stars:
        return float(len(stars[0]))
    number = _NUMBER.fullmatch(text)
    if number is None:
        return None
    return float(number[1].replace(",", ".")) * (_STARS / _TEN if number[2] else 1)


def _thumbs(name: str, value: object) -> bool | None:
    number = _number(value)
    if number in (1.0, -1.0, 0.0):
        return {1.0: True, -1.0: False, 0.0: None}[number]
    if number is None and _fold(value) in _WORDS:
        return _word(value)
    raise _bad_opinion(name, value, "up, down, yes, no, true, false, 👍, 👎, 1, -1, 0")


def _count(value: object) -> float:
    """How many thumbs a cell stands for; a flag or a word is one."""
    number = float(value) if isinstance(value, bool) else _number(value)
    return float(_word(value) is True) if number is None else number


def _majority(ups: float, downs: float) -> bool | None:
    return None if ups == downs else ups > downs


def _stars(name: str, value: object, top: int = _STARS) -> bool | None:
    number = _number(value)
    lowest = 1 if top == _STARS else 0
    if number is not None and lowest <= number <= top:
        return True if number >= 0.8 * top else False if number <= 0.4 * top else None
    if number is None and _fold(value) in _WORDS:
        return _word(value)
    raise _bad_opinion(name, value, ", ".join(map(str, range(lowest, top + 1))))


def _unit(name: str, value: object) -> bool | None:
    number = _number(value)
    if number is not None and -1 <= number <= 1:
        return True if number == 1 else False if number <= 0 else None
    if number is None and _fold(value) in _WORDS:
        return _word(value)
    raise _bad_opinion(name, value, "0, 1")


def _bad_opinion(name: str, value: object, known: str) -> _BadLineError:
    shown = " ".join(str(value).split())[:40]
    return _BadLineError(f'"{name}" is "{shown}", but may be: {known}. Correct it.')


def _tops(rows: Sequence[Row]) -> dict[str, int]:
    """Tops of scales that count stars: those with a value above 1, and ratings of 1 alone."""
    found: dict[str, int] = {}
    for name in _SCALES:
        numbers = [_number(value) for row in rows for value in _elements(row, name)]
        known = [number for number in numbers if number is not None]
        if max(known, default=0) > 1 or (name == "rating" and min(known, default=1) >= 1):
            above = sum(number > _STARS for number in known)
            found[name] = _TEN if above > 1 and above >= _MANY * len(known) else _STARS
    return found


# ---- texts


def _texts(values: Mapping[str, object], name: str) -> list[str]:
    value = values.get(name)
    given = value if isinstance(value, list) else [] if value is None else [value]
    if name != "question":  # an id or an answer may be a number
        given = [str(one) if type(one) in (int, float) else one for one in given]
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) < len(given):
        raise _BadLineError(f'"{name}" must be a string or a list of strings. Put it in quotes.')
    return [clean(text) for text in texts if text.strip()]


def _merge(first: LogEntry, second: LogEntry) -> LogEntry:
    return LogEntry(
        question=first.question,
        answer=first.answer or second.answer,
        clicks=tuple(dict.fromkeys([*first.clicks, *second.clicks])),
    )
