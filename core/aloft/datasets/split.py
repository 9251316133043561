"""Pairs and questions split by document: nothing is trained on that the evaluation is about."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from aloft.config import TrainingSetsConfig
from aloft.errors import DataError
from aloft.randomness import rng_for
from aloft.records import (
    LabelledQuestion,
    LinkedQuestion,
    Negatives,
    Passage,
    QAPair,
    Rejection,
)
from aloft.text.normalising import fold_question


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
        settled: By document that a previous run split, whether it was held out. A document that
            was trained on is never held out later, and a held-out one stays held out.

    Returns:
        Training pairs and held-out pairs, each in their given order, and rejections of pairs that
        can be neither: multi-hop questions that need a held-out document. A multi-hop question is
        never held out, because no single passage answers it. Groups are drawn at random until
        they hold `config.held_out_share` of the pairs; a group that would take them past one and
        a half times that share is passed over.

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
    known = [(group_of[i], was_held_out) for i, was_held_out in settled.items() if i in group_of]
    seen = {group for group, was_held_out in known if not was_held_out}
    chosen = {group for group, was_held_out in known if was_held_out} - seen
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
            f"{len(pairs)} pairs from {len(members)} unrelated documents cannot be split into "
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
    """Keep the logged questions whose training leaks nothing into the evaluation.

    Args:
        linked: All linked questions of the log.
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
    """The held-out pairs as questions, each with every passage that answers it."""
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
