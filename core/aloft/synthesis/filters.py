"""Filters written pairs by evidence, not by a model's rating.

There are three steps, in the order of cost, and each looks only at pairs that those before it kept:
`screen_pairs` judges every pair by itself, `drop_near_duplicates` compares pairs with each other,
and `verify_pairs` asks the teacher how likely it finds pairs with and without the passages. A
filter that is not in `config.use` does nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from aloft.config import Filter, FiltersConfig
from aloft.prompts import answering
from aloft.protocols import Floats, Prompt, Reader
from aloft.records import Passage, QAPair, Rejection
from aloft.retrieval.searchable import SearchableCorpus
from aloft.synthesis.question_copies import KeptQuestions
from aloft.text.language import can_be_in, language_of
from aloft.text.overlap import holds, leaks
from aloft.text.self_contained import points_at_text
from aloft.text.tokens import split_words

READING: tuple[Filter, ...] = ("needs_all", "dependency")  # filters that the teacher reads for
_STAGE = "filters"
_TELLING_ANSWER = 60  # characters; the language of a shorter answer cannot be identified
_BLOCK = 1024  # pairs whose passages are held at once


def screen_pairs(
    pairs: Sequence[QAPair], queries: Floats, corpus: SearchableCorpus, config: FiltersConfig
) -> list[QAPair | Rejection]:
    """Apply the filters that judge each pair by itself; any partition of the pairs does the same.

    In order: "language", "self_contained", "leak", "support" and "round_trip".

    Args:
        pairs: Pairs as written.
        queries: Unit vectors of their questions; (pairs, dimensions).
        corpus: The whole corpus; its BM25 index is used by "round_trip" alone.
        config: The filters in use and their thresholds.

    Returns:
        For each pair, in order, the pair or its rejection by the first filter that it fails.
    """
    return [
        outcome
        for start in range(0, len(pairs), _BLOCK)
        for outcome in _screen_block(
            pairs[start : start + _BLOCK], queries[start : start + _BLOCK], corpus, config
        )
    ]


def drop_near_duplicates(
    pairs: Sequence[QAPair], config: FiltersConfig
) -> Iterator[QAPair | Rejection]:
    """Keep the first of questions that are nearly the same: the filter "duplicate".

    Two questions are, where the Jaccard similarity of their words reaches `config.similarity` and
    their numbers are equal: questions about two years are two questions. By words and not by
    vectors, whose similarities mean something else with every embedder.

    Args:
        pairs: They are read twice, one at a time.
        config: The filters in use and the similarity.

    Yields:
        For each pair, in order, the pair or its rejection.
    """
    if "duplicate" not in config.use:
        yield from pairs
        return
    questions = KeptQuestions((pair.question for pair in pairs), config.similarity)
    for row, pair in enumerate(pairs):
        yield pair if questions.keep(row) else _reject(pair, _REASONS["duplicate"])


def verify_pairs(
    pairs: Sequence[QAPair],
    passages: Mapping[str, Passage],
    read: Reader,
    config: FiltersConfig,
) -> list[QAPair | Rejection]:
    """Apply the filters for which the teacher reads answers; any partition does the same.

    "needs_all" drops a multi-hop pair that hardly gains from one of its passages. Question and
    answer are read together: whoever reads the answer's passage alone finds the answer there, as it
    is the only passage, and only the question tells that another one is missing. "dependency" drops
    a question of one passage whose answer hardly gains from it: such an answer is either common
    knowledge or not in the passage.

    Args:
        pairs: Pairs that passed the other filters.
        passages: The corpus by id.
        read: Returns how likely the teacher finds replies to prompts, in nats per token.
        config: The filters in use and the least gain.

    Returns:
        For each pair, in order, the pair or its rejection.
    """
    concerned: list[tuple[int, int]] = []  # row of the pair, number of readings
    prompts, replies = [], []
    for row, pair in enumerate(pairs):
        if _reading_filter(pair) not in config.use:
            continue
        readings, reply = _readings(pair, [passages[i].content for i in pair.passage_ids])
        prompts += readings
        replies += [reply] * len(readings)
        concerned.append((row, len(readings)))
    outcomes: list[QAPair | Rejection] = list(pairs)
    likelihoods = iter(read(prompts, replies).tolist() if prompts else ())
    gains = {"needs_all": config.multi_hop_gain, "dependency": config.gain}
    for row, count in concerned:
        whole, *less = islice(likelihoods, count)
        name = _reading_filter(pairs[row])
        if whole - max(less) < gains[name]:
            outcomes[row] = _reject(pairs[row], _REASONS[name])
    return outcomes


def _readings(pair: QAPair, contents: Sequence[str]) -> tuple[list[Prompt], str]:
    """Return prompts with all passages and without each of them, and what is read after them."""
    without = ([*contents[:i], *contents[i + 1 :]] for i in range(len(contents)))
    shown = [list(contents), *without]
    if pair.additional_passage_ids:
        reply = answering.reply_of_pair(pair.question, pair.answer)
        return [answering.render_pair(some) for some in shown], reply
    reply = answering.reply_of(pair.answer)
    return [answering.render(pair.question, some) for some in shown], reply


def _reading_filter(pair: QAPair) -> Filter:
    """Return the filter that reads for a pair."""
    return "needs_all" if pair.additional_passage_ids else "dependency"


def _reject(pair: QAPair, reason: str) -> Rejection:
    detail = f"{pair.question[:200]} | {pair.answer[:100]}"
    return Rejection(subject_id=pair.id, stage=_STAGE, reason=reason, detail=detail)


# ---- pair by pair


def _screen_block(
    pairs: Sequence[QAPair], queries: Floats, corpus: SearchableCorpus, config: FiltersConfig
) -> Iterator[QAPair | Rejection]:
    passed: list[QAPair | Rejection] = list(_screen_each(pairs, corpus.by_id, config))
    if "round_trip" in config.use:
        rows = [row for row, outcome in enumerate(passed) if isinstance(outcome, QAPair)]
        asked = [pairs[row] for row in rows]
        found = _find_own_passages(asked, queries[rows], corpus, config.round_trip_depth)
        for row, is_found in zip(rows, found, strict=True):
            if not is_found:
                passed[row] = _reject(pairs[row], _REASONS["round_trip"])
    yield from passed


def _screen_each(
    pairs: Sequence[QAPair], passages: Mapping[str, Passage], config: FiltersConfig
) -> Iterator[QAPair | Rejection]:
    """Apply the filters that look at a pair and its passages alone."""
    filters = [(name, passes) for name, passes in _FILTERS.items() if name in config.use]
    language = lru_cache(_BLOCK)(language_of)
    for pair in pairs:
        sources = [passages[passage_id] for passage_id in pair.passage_ids]
        evidence = _Evidence(pair, sources, language)
        failed = (name for name, passes in filters if not passes(evidence, config))
        name = next(failed, None)
        yield pair if name is None else _reject(pair, _REASONS[name])


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the filters that judge a pair by itself look at."""

    pair: QAPair
    sources: Sequence[Passage]  # those that it takes to answer, its own first
    identify: Callable[[str], str | None]

    @property
    def language(self) -> str | None:
        """The language of the pair's passage; None where it cannot be identified."""
        return self.identify(self.sources[0].text)


def _is_in_its_language(evidence: _Evidence, _config: FiltersConfig) -> bool:
    """Whether question and answer may be in the language of their passage, where it has one."""
    pair, language = evidence.pair, evidence.language
    is_telling = len(pair.answer) >= _TELLING_ANSWER
    is_copied = holds(evidence.sources[0].content, pair.answer)
    texts = [pair.question, pair.answer] if is_telling and not is_copied else [pair.question]
    return language is None or all(can_be_in(text, language) for text in texts)


def _is_self_contained(evidence: _Evidence, _config: FiltersConfig) -> bool:
    """Whether somebody who never saw the passage can ask the question."""
    return not points_at_text(evidence.pair.question, evidence.language)


def _has_no_leak(evidence: _Evidence, _config: FiltersConfig) -> bool:
    """Whether the question does not contain its answer."""
    return not leaks(evidence.pair.question, evidence.pair.answer)


def _is_supported(evidence: _Evidence, config: FiltersConfig) -> bool:
    """Whether the passages contain enough of the answer's words."""
    contents = " ".join(passage.content for passage in evidence.sources)
    known, words = set(split_words(contents)), split_words(evidence.pair.answer)
    return bool(words) and sum(word in known for word in words) >= config.support * len(words)


def _find_own_passages(
    pairs: Sequence[QAPair], queries: Floats, corpus: SearchableCorpus, depth: int
) -> list[bool]:
    """Whether each question finds its passages in the first ranks of BM25 or of the embedder.

    A question that neither finds is about nothing in particular, or about something else. All
    passages of a multi-hop question must be found.
    """
    if not pairs:
        return []
    dense = corpus.dense.rank(queries, depth).columns.tolist()
    found = []
    for pair, columns in zip(pairs, dense, strict=True):
        missing = set(corpus.by_id.rows(pair.passage_ids)).difference(columns)
        if missing:
            lexical = corpus.lexical.rank([pair.question], depth)
            missing -= set(lexical.columns[lexical.scores > 0].tolist())
        found.append(not missing)
    return found


_FILTERS: dict[Filter, Callable[[_Evidence, FiltersConfig], bool]] = {
    "language": _is_in_its_language,
    "self_contained": _is_self_contained,
    "leak": _has_no_leak,
    "support": _is_supported,
}
_REASONS: dict[Filter, str] = {
    "language": "in another language than its passage",
    "self_contained": "question points at the text",
    "leak": "question holds the answer",
    "support": "answer is not in the passage",
    "round_trip": "question does not find its passage",
    "duplicate": "near duplicate of another question",
    "needs_all": "one of its passages can be missed",
    "dependency": "answer gains nothing from its passage",
}
