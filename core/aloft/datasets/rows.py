"""Turns pairs and hard negatives into rows for each part, apart from held-out questions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from aloft.config import TrainingSetsConfig
from aloft.corpus.windows import choose_window
from aloft.errors import DataError
from aloft.prompts.abstention import abstain_in
from aloft.prompts.citation import Format
from aloft.prompts.formats import format_of
from aloft.randomness import deal_places, rng_for
from aloft.records import (
    EmbedderRow,
    GeneratorRow,
    LabelledQuestion,
    LinkedQuestion,
    Negatives,
    Passage,
    QAPair,
    Rejection,
    RerankerRow,
    RetrievedRow,
)
from aloft.retrieval.ranking import Ranking
from aloft.text.language import language_of
from aloft.text.normalising import fold_question


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What rows are made of.

    Attributes:
        passages: By id.
        windows: By id the windows of those that are not embedded whole.
    """

    passages: Mapping[str, Passage]
    windows: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def embedded(self, passage_id: str, pair: QAPair) -> str:
        """What of a passage the embedder is shown: the window that tells the answer."""
        whole = (self.passages[passage_id].content,)
        return choose_window(pair.question, pair.answer, self.windows.get(passage_id, whole))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSets:
    """What each part is trained on."""

    embedder: tuple[EmbedderRow, ...]
    reranker: tuple[RerankerRow, ...]
    generator: tuple[GeneratorRow, ...]


def split_pairs(
    pairs: Sequence[QAPair],
    passages: Mapping[str, Passage],
    groups: Sequence[Sequence[str]],
    config: TrainingSetsConfig,
    *,
    seed: int,
    settled: Mapping[str, bool] = MappingProxyType({}),
) -> tuple[list[QAPair], list[QAPair], list[Rejection]]:
    """Split pairs by groups of documents, so that no held-out question is about text trained on.

    Args:
        pairs: All pairs.
        passages: Passages by id.
        groups: Document ids that share text and therefore stay on one side.
        config: The share of questions to hold out.
        seed: The run's seed.
        settled: By document that a run before has split, whether it was held out: what was
            trained on never will be, and what was held out is again.

    Returns:
        Training pairs and held-out pairs, each in their first order, and what can be neither: a
        multi-hop question that needs a held-out document. None is held out, as no passage answers
        one alone. Groups are drawn at random until the held-out ones hold the share asked for; a
        group that would take it past one and a half times the share is passed over.

    Raises:
        DataError: there are too few pairs or documents to hold any out.
    """
    group_of = {document: i for i, group in enumerate(groups) for document in group}
    groups_of = {
        pair.id: {group_of[passages[i].document_id] for i in pair.passage_ids} for pair in pairs
    }
    members: dict[int, list[QAPair]] = {}
    for pair in pairs:
        if not pair.additional_passage_ids:
            members.setdefault(min(groups_of[pair.id]), []).append(pair)
    known = [(group_of[i], is_apart) for i, is_apart in settled.items() if i in group_of]
    seen = {group for group, is_apart in known if not is_apart}
    chosen = {group for group, is_apart in known if is_apart} - seen
    held_out = {pair.id for group in chosen for pair in members.get(group, ())}
    order = sorted(members.keys() - seen - chosen)
    rng_for(seed, "held-out documents").shuffle(order)
    wanted = config.held_out_share * len(pairs)
    for group in order:
        if len(held_out) >= wanted:
            break
        if len(held_out) + len(members[group]) <= max(1.5 * wanted, 1):
            held_out.update(pair.id for pair in members[group])
            chosen.add(group)
    train = [pair for pair in pairs if chosen.isdisjoint(groups_of[pair.id])]
    test = [pair for pair in pairs if pair.id in held_out]
    neither = [
        Rejection(subject_id=pair.id, stage="sets", reason="needs a held-out document")
        for pair in pairs
        if pair.additional_passage_ids and not chosen.isdisjoint(groups_of[pair.id])
    ]
    if not train or not test:
        raise DataError(
            f"{len(pairs)} pairs from {len(members)} unrelated documents can not be split into "
            "training and held-out questions. Give more documents, or split one large file into "
            "its chapters."
        )
    return train, test, neither


def select_linked(
    linked: Sequence[LinkedQuestion],
    held_out: Sequence[QAPair],
    evaluated: Iterable[str],
    passages: Mapping[str, Passage],
    groups: Sequence[Sequence[str]],
) -> list[LinkedQuestion | Rejection]:
    """Keep the questions of the user's log that give nothing away of what is evaluated.

    Args:
        linked: All questions of the log that are linked.
        held_out: The held-out pairs; no text of their groups may be trained on.
        evaluated: Every question of the evaluation.
        passages: Passages by id.
        groups: Document ids that share text.
    """
    apart = {passages[pair.passage_id].document_id for pair in held_out}
    apart = {document for group in groups if apart & set(group) for document in group}
    asked = {fold_question(question) for question in evaluated}
    outcomes: list[LinkedQuestion | Rejection] = []
    for question in linked:
        if fold_question(question.question) in asked:
            reason = "logged question is in the evaluation"
        elif passages[question.passage_id].document_id in apart:
            reason = "logged question is about a held-out document"
        else:
            outcomes.append(question)
            continue
        outcomes.append(
            Rejection(subject_id=question.id, stage="sets", reason=reason, detail=question.question)
        )
    return outcomes


def label_held_out(
    held_out: Sequence[QAPair], negatives: Mapping[str, Negatives]
) -> list[LabelledQuestion]:
    """The held-out pairs as questions, each with all passages that answer it."""
    return [
        LabelledQuestion(
            id=pair.id,
            question=pair.question,
            answers=(pair.answer,),
            passage_ids=(pair.passage_id, *negatives[pair.id].positive_ids),
            origin="synthetic",
        )
        for pair in held_out
    ]


def build_training_sets(
    train: Sequence[QAPair],
    held_out: Iterable[LabelledQuestion],
    corpus: Corpus,
    negatives: Mapping[str, Negatives],
    config: TrainingSetsConfig,
    *,
    seed: int,
) -> TrainingSets:
    """Lay out rows for the three trainers.

    The gold passage stands at every place among a generator row's contexts equally often, whatever
    their number; where a question has fewer hard negatives than the prompt has room for, the prompt
    is shorter. A pair without an answer, or without what the format asks for, gives no generator
    row; `abstaining_share` asks some a second time, without their passages. All passages of a
    multi-hop question are gold, and so are further positives that do not stand in a held-out
    document.
    """
    passages = corpus.passages
    asked = _choose_asked([pair for pair in train if pair.answer], config, seed)
    others = _deal_others(asked, negatives, config, seed)
    sizes = [1 + len(some) for (_, is_held), some in zip(asked, others, strict=True) if is_held]
    places = iter(deal_places(sizes, seed, "gold places"))
    form = format_of(config.format, abstains=config.abstains)
    apart = {passages[i].document_id for question in held_out for i in question.passage_ids}
    golds = {
        pair.id: (
            *pair.passage_ids,
            *(i for i in negatives[pair.id].positive_ids if passages[i].document_id not in apart),
        )
        for pair in train
    }
    return TrainingSets(
        embedder=tuple(
            row
            for pair in train
            for row in _embedder_rows(pair, golds[pair.id], corpus, negatives, config)
        ),
        reranker=tuple(
            row
            for pair in train
            for row in _reranker_rows(pair, golds[pair.id], passages, negatives, config)
        ),
        generator=tuple(
            row
            for (pair, is_held), some in zip(asked, others, strict=True)
            if (
                row := generator_row(
                    pair,
                    _ordered(pair, some, next(places) if is_held else None, seed),
                    passages,
                    form,
                )
            )
        ),
    )


def _choose_asked(
    pairs: Sequence[QAPair], config: TrainingSetsConfig, seed: int
) -> list[tuple[QAPair, bool]]:
    """What the generator is asked, and whether the passages are to hold the answer."""
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
    """What stands beside the first passage of each pair, in as many contexts as it is dealt."""
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
    """What stands beside a pair's first passage: its further ones and hard negatives."""
    hard = negatives[pair.id].passage_ids
    if not is_held:
        return list(hard[:contexts])
    return [*pair.additional_passage_ids, *hard[: contexts - len(pair.passage_ids)]]


def _ordered(pair: QAPair, others: Sequence[str], place: int | None, seed: int) -> list[str]:
    """The others in random order, with the pair's first passage at its place or nowhere."""
    contexts = list(others)
    rng_for(seed, "contexts", pair.id).shuffle(contexts)
    if place is not None:
        contexts.insert(place, pair.passage_id)
    return contexts


def generator_row(
    pair: QAPair, contexts: Sequence[str], passages: Mapping[str, Passage], form: Format
) -> GeneratorRow | None:
    """One conversation about passages in their order, and the target.

    Those of the pair are cited; where none of them is shown, the target says that none holds the
    answer.

    Returns:
        None where there is no passage, or none that gives what the format asks for.

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
    """Questions with the passages retrieved for them, each put before the generator by itself.

    Args:
        pairs: Questions and answers.
        ranking: What was retrieved for them; (pairs, k).
        passages: The corpus.
        form: A format whose target is the answer, whatever passage it came from.
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


def _embedder_rows(
    pair: QAPair,
    golds: Sequence[str],
    corpus: Corpus,
    negatives: Mapping[str, Negatives],
    config: TrainingSetsConfig,
) -> list[EmbedderRow]:
    chosen = negatives[pair.id].passage_ids[: config.embedder_negatives]
    return [
        EmbedderRow(
            pair_id=pair.id,
            anchor=pair.question,
            positive=corpus.embedded(gold, pair),
            negatives=tuple(corpus.embedded(i, pair) for i in chosen),
        )
        for gold in golds
    ]


def _reranker_rows(
    pair: QAPair,
    golds: Sequence[str],
    passages: Mapping[str, Passage],
    negatives: Mapping[str, Negatives],
    config: TrainingSetsConfig,
) -> list[RerankerRow]:
    chosen = negatives[pair.id].passage_ids[: config.reranker_negatives]
    labelled = [*((i, 1.0) for i in golds), *((i, 0.0) for i in chosen)]
    return [
        RerankerRow(pair_id=pair.id, query=pair.question, passage=passages[i].content, label=label)
        for i, label in labelled
    ]


def _sample(pairs: Sequence[QAPair], count: int | None, seed: int) -> list[QAPair]:
    if count is None or count >= len(pairs):
        return list(pairs)
    chosen = rng_for(seed, "generator rows").sample(range(len(pairs)), count)
    return [pairs[i] for i in sorted(chosen)]
