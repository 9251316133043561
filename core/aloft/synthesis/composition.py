"""Composes multi-hop pairs of single-hop pairs: a name in a question gives way to what defines it.

"When was Alden Weir born?" is answered by one passage. Another one says that Alden Weir was an
American painter who taught in Boston. "When was the American painter who taught in Boston born?"
needs both, and has the same answer. Nothing is written for it but the first question; questions
about a name that another passage defines are asked for on purpose (`find_mention`).

Source: bridge questions of HotpotQA (Yang et al. 2018, arXiv:1809.09600) and the composition of
MuSiQue (Trivedi et al. 2022, arXiv:2108.00573), with definitions as the first hop.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from aloft.randomness import rng_for
from aloft.records import Passage, QAPair, content_id
from aloft.retrieval.bm25 import BM25Index
from aloft.text.definitions import LANGUAGE, find_definitions
from aloft.text.language import language_of
from aloft.text.normalising import unify_forms
from aloft.text.overlap import holds, leaks
from aloft.text.spans import cut_spans

KIND = "multi_hop"
_RARE = 0.01  # share of the passages that may hold a name; and always this many:
_FEW = 8
_USES = 3  # pairs composed with one definition
_LEAST = 3  # words of a question besides the name; with fewer it asks what the name stands for
_TOKEN = re.compile(r"\w+")
_NEAR = 60  # characters
_BEFORE = re.compile(  # in mid-sentence
    r"(?:(?<=[^.!?\s] )[A-Z0-9À-ÖØ-ÞĀ-Ž][\w'’.&]*(?: of(?: the)? |[ -]))$"
)
_BEYOND = re.compile(r"(?: and |[ -]|['’]s )[A-Z0-9À-ÖØ-ÞĀ-Ž]|-\w")

_PREPOSITION = (
    "of|in|on|at|for|to|from|by|with|about|into|over|under|after|before|during|since|until|between|"
    "near|against|like|than|as|through|around|within|without|behind|across"
)
_AUXILIARY = "did|does|do|can|could|will|would|should|has|had|have|may|might|must"
_COPULA = "is|was|are|were"
# a name that is a noun of its own stands behind one of these and before one of those, or before the
# verb that an auxiliary needs
_LEADS = re.compile(
    rf"(?:^|\b(?:{_PREPOSITION}|{_AUXILIARY}|{_COPULA}|and|or|that|who|which|\w+ed|wrote|won|made|"
    r"built|led|founded|sang|sold|held|ran|saw|met|beat|left|taught|bought)\s)$",
    re.IGNORECASE,
)
_FOLLOWS = re.compile(
    rf"\s*(?:$|[?,;:)]|\.$)|\s(?:{_PREPOSITION}|{_AUXILIARY}|{_COPULA}|and|or|that|which|who|when|"
    r"where|if|because|be|been)\b"
)
_ASKS_VERB = re.compile(rf"\b(?:{_AUXILIARY})\s$", re.IGNORECASE)
_ASKS_STATE = re.compile(rf"\b(?:{_COPULA})\s$", re.IGNORECASE)
_PARTICIPLE = re.compile(r"\s(?:\w+ed|born|known|built|made|written|found|held|set|shown|named)\b")
_OWNED = re.compile(r"['’]s? (?P<what>(?:[\w-]+ ){0,4}[\w-]+)(?P<end>\s?\?)$")
_ARTICLE = re.compile(r"\b[Tt]he\s$")
_ASKS_NAME = re.compile(r"\b(?:name|title|meaning|definition) of $", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What one passage says that a name stands for.

    Attributes:
        name: As written.
        phrase: A noun phrase, such as "the river that flows through Rome".
        passage_id: Of the passage that says so.
    """

    name: str
    phrase: str
    passage_id: str

    @property
    def id(self) -> str:
        """A name has one definition."""
        return content_id(self.name)


def define_names(passages: Sequence[Passage], asked: Iterable[Passage]) -> list[Definition]:
    """The names that exactly one passage defines and that another one, which is asked about, holds.

    A definition counts where its phrase finds its passage first by BM25, so that it fits nothing
    else, and where few passages hold the name.

    Args:
        passages: The corpus; it is read three times at most, one passage at a time.
        asked: Passages that are asked about.
    """
    found: dict[tuple[str, ...], list[Definition]] = {}
    for passage in passages:
        for name, phrase in _definitions(passage):
            definition = Definition(name=name, phrase=phrase, passage_id=passage.id)
            found.setdefault(_tokens(name), []).append(definition)
    single = [same[0] for same in found.values() if len({one.passage_id for one in same}) == 1]
    if not single:
        return []
    held: Counter[str] = Counter()
    names = DefinedNames(single)
    for passage in passages:
        held.update({one.id for one, _, _ in names.find(passage.content)})
    most = max(_FEW, int(_RARE * len(passages)))
    wanted = {
        one.id
        for passage in asked
        for one, _, _ in names.find(passage.content)
        if one.passage_id != passage.id
    }
    rare = [one for one in single if one.id in wanted and held[one.id] <= most]
    if not rare:
        return []
    index = BM25Index(passage.content for passage in passages)
    first = [index.rank([one.phrase], 1).columns[0].tolist() for one in rare]
    return [
        one
        for one, columns in zip(rare, first, strict=True)
        if [passages[column].id for column in columns] == [one.passage_id]
    ]


def _definitions(passage: Passage) -> Iterator[tuple[str, str]]:
    found = list(find_definitions(passage.text, passage.title))
    if found and language_of(passage.text) == LANGUAGE:
        yield from found


class DefinedNames:
    """Names that are defined, to be found in texts letter by letter."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._by_first: dict[str, list[tuple[tuple[str, ...], Definition]]] = {}
        for definition in definitions:
            tokens = _tokens(definition.name)
            self._by_first.setdefault(tokens[0], []).append((tokens, definition))
        for known in self._by_first.values():
            known.sort(key=lambda one: -len(one[0]))

    def find(self, text: str) -> Iterator[tuple[Definition, int, int]]:
        """Yield each place of a name in a text: its definition, first character and end.

        Of names that begin at one place the longest counts. What is part of a longer name that is
        not defined does not count.
        """
        tokens = list(_TOKEN.finditer(text))
        words = [token.group() for token in tokens]
        row = 0
        while row < len(words):
            known = self._by_first.get(words[row], ())
            named = next((one for one in known if _stands(one[0], words, row)), None)
            if named is None:
                row += 1
                continue
            start, row = tokens[row].start(), row + len(named[0])
            end = tokens[row - 1].end()
            if not _is_part(text, start, end):
                yield named[1], start, end


def find_mention(
    passage: Passage, names: DefinedNames, *, seed: int
) -> tuple[Definition, str] | None:
    """Draw a name that another passage defines, and the span of this one that mentions it."""
    text = passage.text
    found = [place for place in names.find(text) if place[0].passage_id != passage.id]
    mentions = {
        definition.name: (definition, " ".join(text[first:last].split()))
        for first, last in (cut_spans(text) if found else ())
        for definition, start, end in found
        if first <= start and end <= last
    }
    if not mentions:
        return None
    return mentions[rng_for(seed, "mention", passage.id).choice(sorted(mentions))]


def compose_pairs(
    pairs: Sequence[QAPair],
    passages: Mapping[str, Passage],
    definitions: Iterable[Definition],
    share: float,
    *,
    seed: int,
) -> list[QAPair]:
    """Compose multi-hop pairs; neither the order of the pairs nor other pairs change what comes.

    Args:
        pairs: Single-hop pairs; each is composed once at most.
        passages: The corpus by id.
        definitions: From `define_names`.
        share: Composed pairs for each single-hop pair, at most.
        seed: The run's seed.

    Returns:
        The composed pairs, in the order of those that they are made of. Each has the answer and the
        passage of that, and the defining passage besides.
    """
    names = DefinedNames(definitions)
    found = {pair.id: one for pair in pairs if (one := _compose_first(pair, passages, names))}
    drawn: set[str] = set()
    uses: Counter[str] = Counter()
    for pair_id in sorted(found, key=lambda i: rng_for(seed, "composed", i).random()):
        (defining,) = found[pair_id].additional_passage_ids
        if len(drawn) < share * len(pairs) and uses[defining] < _USES:
            uses[defining] += 1
            drawn.add(pair_id)
    return [found[pair.id] for pair in pairs if pair.id in drawn]


def compose_questions(question: str, names: DefinedNames) -> Iterator[tuple[str, Definition]]:
    """Yield a question with each of its names replaced that can be, and the definition used."""
    whole = unify_forms(question)
    for definition, start, end in names.find(whole):
        composed = compose_question(whole, start, end, definition.phrase)
        if composed is not None and not leaks(composed, definition.name):
            yield composed, definition


def _compose_first(
    pair: QAPair, passages: Mapping[str, Passage], names: DefinedNames
) -> QAPair | None:
    """Compose a pair with the first name of its question that can be replaced."""
    for asked, definition in compose_questions(pair.question, names):
        if (
            definition.passage_id != pair.passage_id
            and not leaks(asked, pair.answer)
            and not holds(passages[definition.passage_id].content, pair.answer)
        ):
            return replace(
                pair,
                question=asked,
                kind=KIND,
                attempts=1,
                additional_passage_ids=(definition.passage_id,),
            )
    return None


def compose_question(question: str, start: int, end: int, phrase: str) -> str | None:
    """Put a noun phrase in a name's place; None where the sentence would not take it.

    Args:
        question: In English.
        start: First character of the name.
        end: Its end.
        phrase: Begins with "the".
    """
    before, after = question[:start], question[end:]
    if before[-1:] in ('"', "“") and after[:1] in ('"', "”"):
        before, after = before[:-1], after[1:]
    before = _ARTICLE.sub("", before)
    is_definition = len(_TOKEN.findall(before + after)) < _LEAST or _ASKS_NAME.search(before)
    if is_definition or not _LEADS.search(before):
        return None
    owned = _OWNED.fullmatch(after)
    if owned is not None and _ASKS_STATE.search(before):
        composed = f"{before}the {owned['what']} of {phrase}{owned['end']}"
    elif (
        _FOLLOWS.match(after)
        or (_ASKS_VERB.search(before) and after[:1] == " ")
        or (_ASKS_STATE.search(before) and _PARTICIPLE.match(after))
    ):
        composed = before + phrase + after
    else:
        return None
    return composed[0].upper() + composed[1:]


def _tokens(name: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(unify_forms(name)))


def _stands(tokens: tuple[str, ...], words: Sequence[str], row: int) -> bool:
    return tuple(words[row : row + len(tokens)]) == tokens


def _is_part(text: str, start: int, end: int) -> bool:
    """Whether a name is only a part of a longer one."""
    is_behind = _BEFORE.search(text[max(0, start - _NEAR) : start]) is not None
    return is_behind or _BEYOND.match(text, end) is not None
