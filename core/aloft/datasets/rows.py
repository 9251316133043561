"""Training rows of each part, made from pairs and hard negatives one at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from random import Random

from aloft.config import Part, TrainingSetsConfig
from aloft.corpus.sections import WHOLE, Sections
from aloft.corpus.windows import choose_window
from aloft.prompts.abstention import abstain_in
from aloft.prompts.citation import Format
from aloft.prompts.formats import format_of
from aloft.randomness import deal_places, rng_for
from aloft.records import (
    EmbedderRow,
    Frame,
    GeneratorRow,
    LabelledQuestion,
    Negatives,
    Passage,
    QAPair,
    RerankerRow,
    RetrievedRow,
)
from aloft.retrieval.ranking import Ranking
from aloft.text.language import language_of
from aloft.text.spans import cut_spans

_CUT = 0.9  # of cloze rows, those whose passage lacks the span


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The passages that rows are made of.

    Attributes:
        passages: By id.
        windows: Windows of those passages that are not embedded whole, by passage id.
    """

    passages: Mapping[str, Passage]
    windows: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def embedded(self, passage_id: str, pair: QAPair) -> str:
        """The text of a passage that the embedder reads: the window that contains the answer."""
        whole = (self.passages[passage_id].embedded,)
        return choose_window(pair.question, pair.answer, self.windows.get(passage_id, whole))


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """The rows of each part.

    A part's rows are made while they are read, so that they need not fit into memory.

    Attributes:
        pairs: The training pairs.
        held_out: The held-out questions; a further positive in one of their documents is not
            trained on.
        negatives: What was mined, by the id of each pair.
        sections: Of documents that are divided.
    """

    pairs: Sequence[QAPair]
    held_out: Sequence[LabelledQuestion]
    corpus: Corpus
    negatives: Mapping[str, Negatives]
    config: TrainingSetsConfig
    seed: int
    sections: Sections = WHOLE

    def of(self, part: Part) -> Iterator[EmbedderRow | RerankerRow | GeneratorRow]:
        """The rows of one part."""
        if part == "embedder":
            return self.embedder()
        return self.reranker() if part == "reranker" else self.generator()

    def embedder(self) -> Iterator[EmbedderRow]:
        """A row for each pair and gold passage, with the hardest negatives; then cloze rows."""
        for pair, golds in self._golds():
            chosen = self.negatives[pair.id].passage_ids[: self.config.embedder_negatives]
            for gold in golds:
                yield EmbedderRow(
                    pair_id=pair.id,
                    anchor=pair.question,
                    positive=self.corpus.embedded(gold, pair),
                    negatives=tuple(self.corpus.embedded(i, pair) for i in chosen),
                )
        yield from self._cloze()

    def _cloze(self) -> Iterator[EmbedderRow]:
        """Rows of passages that no pair is about, where a span of one stands for a question.

        The right passage lacks the span in nine of ten rows, so that mostly words alone cannot tell
        it. Those of held-out documents have none.

        Source: the inverse cloze task of Lee et al. 2019 (arXiv:1906.00300).
        """
        passages = self.corpus.passages
        asked = {i for pair in self.pairs for i in pair.passage_ids}
        rng = rng_for(self.seed, "cloze rows")
        ids = [i for i in passages if i not in asked]
        rng.shuffle(ids)
        drawn = self._trainable(ids)
        rows = filter(None, (_cloze_row(i, self.corpus, rng) for i in drawn))
        yield from islice(rows, self.config.cloze_rows)

    def reranker(self) -> Iterator[RerankerRow]:
        """A row for each pair and passage: every gold passage and the hardest negatives."""
        for pair, golds in self._golds():
            chosen = self.negatives[pair.id].passage_ids[: self.config.reranker_negatives]
            for passage_id, label in (*((i, 1.0) for i in golds), *((i, 0.0) for i in chosen)):
                yield RerankerRow(
                    pair_id=pair.id,
                    query=pair.question,
                    passage=self.corpus.passages[passage_id].embedded,
                    label=label,
                )

    def generator(self) -> Iterator[GeneratorRow]:
        """A conversation for each pair that is drawn.

        The gold passage stands at every place among a row's contexts equally often, for each
        number of contexts; where a question has fewer hard negatives than the prompt has room
        for, the prompt is shorter. A pair without an answer, or without what the format needs,
        gives no row. `abstaining_share` of the rows ask a question again, without its passages.
        """
        answered = [pair for pair in self.pairs if pair.answer]
        asked = _choose_asked(answered, self.config, self.seed)
        others = _deal_others(asked, self.negatives, self.config, self.seed)
        sizes = [1 + len(ids) for (_, is_held), ids in zip(asked, others, strict=True) if is_held]
        places = iter(deal_places(sizes, self.seed, "gold places"))
        form = format_of(self.config.format, abstains=self.config.abstains)
        for (pair, is_held), ids in zip(asked, others, strict=True):
            contexts = _ordered(pair, ids, next(places) if is_held else None, self.seed)
            row = generator_row(pair, contexts, self.corpus.passages, form)
            if row:
                yield row

    def _golds(self) -> Iterator[tuple[QAPair, tuple[str, ...]]]:
        """Each pair with its gold passages: its own, and positives outside held-out documents."""
        for pair in self.pairs:
            further = self._trainable(self.negatives[pair.id].positive_ids)
            yield pair, (*pair.passage_ids, *further)

    def _trainable(self, ids: Iterable[str]) -> Iterator[str]:
        """Passages outside what held-out questions are about."""
        return (i for i in ids if self._apart.isdisjoint(self._sections_of(i)))

    @cached_property
    def _apart(self) -> frozenset[str]:
        asked = (i for question in self.held_out for i in question.passage_ids)
        return frozenset(name for i in asked for name in self._sections_of(i))

    def _sections_of(self, passage_id: str) -> tuple[str, ...]:
        return self.sections.of(self.corpus.passages[passage_id])


def _cloze_row(passage_id: str, corpus: Corpus, rng: Random) -> EmbedderRow | None:
    """A span of a passage and the rest of it; None where it has no second one."""
    passage = corpus.passages[passage_id]
    text = rng.choice(corpus.windows.get(passage_id, (passage.embedded,)))
    head, tail = _find_text(text, passage.embedded_in)
    spans = cut_spans(text[head:tail])
    if len(spans) == 1:
        return None
    start, end = (head + place for place in rng.choice(spans))
    is_cut = rng.random() < _CUT
    rest = f"{text[:start].rstrip(' ')} {text[end:].lstrip()}" if is_cut else text
    return EmbedderRow(
        pair_id=passage_id, anchor=" ".join(text[start:end].split()), positive=rest, negatives=()
    )


def _find_text(window: str, frame: Frame) -> tuple[int, int]:
    """Characters [start, end) of a window between what stands around the passage's text."""
    before, after = frame[0], "" if len(frame) == 1 else frame[-1]
    is_whole = window.startswith(before)
    start = len(before) if is_whole else len(window.partition("\n")[0]) + 1  # it was cut to a line
    return start, len(window) - len(after) * (is_whole and window.endswith(after))


def _choose_asked(
    pairs: Sequence[QAPair], config: TrainingSetsConfig, seed: int
) -> list[tuple[QAPair, bool]]:
    """The pairs that the generator is asked, and whether the contexts contain the answer."""
    share, most = config.abstaining_share, config.max_generator_rows
    asked = _sample(pairs, None if most is None else max(1, round(most * (1 - share))), seed)
    count = round(len(asked) * share / (1 - share))
    again = rng_for(seed, "abstaining rows").sample(asked, count)
    return [*((pair, True) for pair in asked), *((pair, False) for pair in again)]


def _deal_others(
    asked: Sequence[tuple[QAPair, bool]],
    negatives: Mapping[str, Negatives],
    config: TrainingSetsConfig,
    seed: int,
) -> list[list[str]]:
    """The other contexts of each pair; the numbers of contexts are dealt equally often."""
    fewest = config.min_contexts or config.contexts
    spread = [1 + config.contexts - fewest] * len(asked)
    return [
        _others(pair, negatives, fewest + more, is_held=is_held)
        for (pair, is_held), more in zip(
            asked, deal_places(spread, seed, "numbers of contexts"), strict=True
        )
    ]


def _others(
    pair: QAPair,
    negatives: Mapping[str, Negatives],
    contexts: int,
    *,
    is_held: bool,
) -> list[str]:
    """The contexts beside a pair's first passage: its further passages and hard negatives."""
    hard = negatives[pair.id].passage_ids
    if not is_held:
        return list(hard[:contexts])
    return [*pair.additional_passage_ids, *hard[: contexts - len(pair.passage_ids)]]


def _ordered(pair: QAPair, others: Sequence[str], place: int | None, seed: int) -> list[str]:
    """The contexts in random order, with the pair's first passage at its place, if it has one."""
    contexts = list(others)
    rng_for(seed, "contexts", pair.id).shuffle(contexts)
    if place is not None:
        contexts.insert(place, pair.passage_id)
    return contexts


def generator_row(
    pair: QAPair, contexts: Sequence[str], passages: Mapping[str, Passage], form: Format
) -> GeneratorRow | None:
    """A conversation about passages in the given order, and the target.

    The target cites the pair's passages; where none of them is among the contexts, it says that no
    passage holds the answer.

    Returns:
        None where there is no passage, or none with what the format needs.

    Source: step 5 of ALoFTRAG (arXiv:2501.11929).
    """
    contents = [passages[i].content for i in contexts]
    cited = [i for i, context in enumerate(contexts, start=1) if context in pair.passage_ids]
    answer = pair.answer if cited else abstain_in(language_of(passages[pair.passage_id].text))
    target = form.target(answer, cited, contents)
    if not contents or target is None:
        return None
    return GeneratorRow(
        pair_id=pair.id,
        prompt=form.render(pair.question, contents).messages,
        prefix=form.prefix,
        completion=form.prefix + target,
    )


def retrieved_rows(
    pairs: Sequence[QAPair], ranking: Ranking, passages: Sequence[Passage], form: Format
) -> list[RetrievedRow]:
    """Questions with the passages retrieved for them, each in a prompt of its own.

    Args:
        pairs: Questions and answers.
        ranking: The passages retrieved for each; (pairs, k).
        passages: The corpus.
        form: A format whose target is the answer, whichever passage is shown.
    """
    return [
        RetrievedRow(
            pair_id=pair.id,
            question=pair.question,
            columns=tuple(columns),
            scores=tuple(scores),
            prompts=tuple(
                form.render(pair.question, [passages[column].content]).messages
                for column in columns
            ),
            prefix=form.prefix,
            answer=form.target(pair.answer, [], []) or "",
        )
        for pair, columns, scores in zip(
            pairs, ranking.columns.tolist(), ranking.scores.tolist(), strict=True
        )
    ]


def _sample(pairs: Sequence[QAPair], count: int | None, seed: int) -> list[QAPair]:
    if count is None or count >= len(pairs):
        return list(pairs)
    chosen = rng_for(seed, "generator rows").sample(range(len(pairs)), count)
    return [pairs[i] for i in sorted(chosen)]
