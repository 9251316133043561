"""Turns written pairs into those worth training on, by evidence and not by a model's mark.

Each filter says of every pair whether it stays. Their order is from cheap to dear, and each looks
only at what those before it left. Where the evidence is the teacher's, it is how likely it finds
an answer that stands there already, with and without the passages: read off, not asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aloft.config import Filter, FiltersConfig
from aloft.prompts import answering
from aloft.protocols import Floats, Reader
from aloft.records import Passage, QAPair, Rejection
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.dense import DenseIndex
from aloft.text.language import can_be_in, language_of
from aloft.text.overlap import leaks
from aloft.text.self_contained import points_at_text
from aloft.text.tokens import split_words

_TELLING_ANSWER = 60  # characters; of a shorter one its language can not be told
READING: tuple[Filter, ...] = ("needs_all", "dependency")  # those that the teacher reads for
Stays = NDArray[np.bool_]  # (pairs,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the filters look at.

    Attributes:
        pairs: As written.
        queries: Vectors of the questions; (pairs, dimensions), rows of length one.
        passages: The whole corpus.
        index: Vectors of the passages.
        read: Asks the teacher how likely replies are; only filters that need it call it.
    """

    pairs: Sequence[QAPair]
    queries: Floats
    passages: Sequence[Passage]
    index: DenseIndex
    read: Reader

    @property
    def golds(self) -> list[list[int]]:
        """Places in the corpus of all passages that each pair needs, its own first."""
        known = {passage.id: column for column, passage in enumerate(self.passages)}
        return [[known[i] for i in pair.passage_ids] for pair in self.pairs]

    @property
    def contents(self) -> list[list[str]]:
        """What stands in the passages that each pair needs."""
        return [[self.passages[column].content for column in columns] for columns in self.golds]

    @property
    def sources(self) -> list[Passage]:
        """The passage that each pair was written from, or the first of several."""
        return [self.passages[columns[0]] for columns in self.golds]

    @property
    def languages(self) -> list[str | None]:
        """The language of each pair's passage; None where it has none that can be told."""
        sources = self.sources
        spoken = {p.id: language_of(p.content) for p in {p.id: p for p in sources}.values()}
        return [spoken[passage.id] for passage in sources]

    def only(self, rows: NDArray[np.intp]) -> "Evidence":
        """The same of some pairs."""
        return replace(self, pairs=[self.pairs[i] for i in rows], queries=self.queries[rows])


def filter_pairs(evidence: Evidence, config: FiltersConfig) -> tuple[list[QAPair], list[Rejection]]:
    """Part the pairs that pass every filter in use from the others, both in order."""
    pairs, left = evidence.pairs, np.arange(len(evidence.pairs))
    reasons: dict[int, str] = {}
    for name, (reason, passes) in _FILTERS.items():
        if name not in config.use or not len(left):
            continue
        stays = passes(evidence.only(left), config)
        reasons.update(dict.fromkeys(left[~stays].tolist(), reason))
        left = left[stays]
    dropped = [
        Rejection(
            subject_id=pairs[i].id, stage="filters", reason=reasons[i], detail=_shown(pairs[i])
        )
        for i in sorted(reasons)
    ]
    return [pairs[i] for i in left.tolist()], dropped


def speaks_its_language(evidence: Evidence, _config: FiltersConfig) -> Stays:
    """Whether question and answer may be in the language of their passage, where it has one."""
    stays = []
    for pair, passage, language in zip(
        evidence.pairs, evidence.sources, evidence.languages, strict=True
    ):
        tells = len(pair.answer) >= _TELLING_ANSWER and pair.answer not in passage.content
        texts = [pair.question, pair.answer] if tells else [pair.question]
        stays.append(language is None or all(can_be_in(text, language) for text in texts))
    return np.array(stays, bool)


def is_self_contained(evidence: Evidence, _config: FiltersConfig) -> Stays:
    """Whether the question can be asked by somebody who never saw the passage."""
    asked = zip(evidence.pairs, evidence.languages, strict=True)
    return np.array([not points_at_text(pair.question, spoken) for pair, spoken in asked], bool)


def finds_no_leak(evidence: Evidence, _config: FiltersConfig) -> Stays:
    """Whether the answer, word for word, does not stand in the question."""
    return np.array([not leaks(pair.question, pair.answer) for pair in evidence.pairs], bool)


def finds_support(evidence: Evidence, config: FiltersConfig) -> Stays:
    """Whether enough of the answer's words stand in what the question needs."""
    stays = []
    for pair, contents in zip(evidence.pairs, evidence.contents, strict=True):
        there, words = set(split_words(" ".join(contents))), split_words(pair.answer)
        found = sum(word in there for word in words)
        stays.append(bool(words) and found >= config.support * len(words))
    return np.array(stays, bool)


def finds_its_passage(evidence: Evidence, config: FiltersConfig) -> Stays:
    """Whether the question finds its passages among the first ranks of BM25 or of the embedder.

    A question that neither finds asks about nothing in particular, or about something else. Of a
    multi-hop question each passage must be found.
    """
    depth = config.round_trip_depth
    index = BM25Index([passage.content for passage in evidence.passages])
    lexical = index.rank([pair.question for pair in evidence.pairs], depth)
    dense = evidence.index.rank(evidence.queries, depth)
    shares_words = np.where(lexical.scores > 0, lexical.columns, -1)
    found = np.concatenate([shares_words, dense.columns], axis=1)
    stays = zip(evidence.golds, found.tolist(), strict=True)
    return np.array([set(columns) <= set(row) for columns, row in stays], bool)


def finds_no_copy(evidence: Evidence, config: FiltersConfig) -> Stays:
    """Whether no earlier question that stays is nearly the same, by the words of both.

    Jaccard similarity, and the same numbers: questions after two years are two questions. Words
    and not vectors, whose similarities mean something else with every embedder.
    """
    words = [frozenset(split_words(pair.question)) for pair in evidence.pairs]
    numbers = [frozenset(filter(str.isdigit, some)) for some in words]
    kept: list[int] = []
    for i, mine in enumerate(words):
        copies = (
            len(mine & words[j]) >= config.similarity * len(mine | words[j])
            and numbers[i] == numbers[j]
            for j in kept
        )
        if not any(copies):
            kept.append(i)
    stays: Stays = np.isin(np.arange(len(words)), kept)
    return stays


def needs_all(evidence: Evidence, config: FiltersConfig) -> Stays:
    """Whether no passage of a multi-hop question can be missed; other questions stay.

    By the gain in the answer's mean log-likelihood from the passage that is missed least.
    """
    return _gains_enough(evidence, config, lambda contents: len(contents) > 1)


def depends_on_its_passage(evidence: Evidence, config: FiltersConfig) -> Stays:
    """Whether the answer is likelier with the passage than without it; multi-hop questions stay.

    An answer that the passage does not make likelier is either known to everybody or not in it.
    """
    return _gains_enough(evidence, config, lambda contents: len(contents) == 1)


def _gains_enough(
    evidence: Evidence, config: FiltersConfig, concerns: Callable[[Sequence[str]], bool]
) -> Stays:
    """Whether the answer gains by each of its passages, of the pairs that are concerned."""
    stays = np.ones(len(evidence.pairs), bool)
    prompts, replies, owners = [], [], []
    for i, (pair, contents) in enumerate(zip(evidence.pairs, evidence.contents, strict=True)):
        if not concerns(contents):
            continue
        shown = [contents, *(contents[:j] + contents[j + 1 :] for j in range(len(contents)))]
        prompts += [answering.render(pair.question, some) for some in shown]
        replies += [answering.reply_of(pair.answer)] * len(shown)
        owners.append((i, len(shown)))
    if not owners:
        return stays
    told, start = evidence.read(prompts, replies), 0
    for i, count in owners:
        whole, *less = told[start : start + count].tolist()
        stays[i] = whole - max(less) >= config.gain
        start += count
    return stays


_FILTERS: dict[Filter, tuple[str, Callable[[Evidence, FiltersConfig], Stays]]] = {
    "language": ("in another language than its passage", speaks_its_language),
    "self_contained": ("question points at the text", is_self_contained),
    "leak": ("question holds the answer", finds_no_leak),
    "support": ("answer is not in the passage", finds_support),
    "round_trip": ("question does not find its passage", finds_its_passage),
    "duplicate": ("near duplicate of another question", finds_no_copy),
    "needs_all": ("one of its passages can be missed", needs_all),
    "dependency": ("answer gains nothing from its passage", depends_on_its_passage),
}


def _shown(pair: QAPair) -> str:
    return f"{pair.question[:200]} | {pair.answer[:100]}"
