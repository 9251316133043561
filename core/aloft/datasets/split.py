"""Pairs and questions split by document: nothing is trained on that the evaluation is about.

Where a corpus has few documents, sections of them stand for documents.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from aloft.config import TrainingSetsConfig
from aloft.corpus.sections import WHOLE, Sections
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


def split_pairs(  # noqa: PLR0913 - what a split must not tear apart
    pairs: Sequence[QAPair],
    passages: Mapping[str, Passage],
    groups: Sequence[Sequence[str]],
    config: TrainingSetsConfig,
    *,
    seed: int,
    settled: Mapping[str, bool] = MappingProxyType({}),
    sections: Sections = WHOLE,
    mined: Mapping[str, Negatives] = MappingProxyType({}),
) -> tuple[list[QAPair], list[QAPair], list[Rejection]]:
    """Split pairs by groups of documents, so that no held-out question is about text trained on.

    Args:
        pairs: All pairs.
        passages: Passages by id.
        groups: Ids of documents or sections that share text and therefore stay on one side.
        config: The share of questions to hold out.
        seed: The run's seed.
        settled: By document that a previous run split, whether it was held out. A document that
            was trained on is never held out later, and a held-out one stays held out.
        sections: Of documents that are divided.
        mined: By pair, among others the further passages that answer it.

    Returns:
        Training pairs and held-out pairs, each in their given order, and rejections of pairs that
        can be neither: those that need a held-out document, as multi-hop questions may, and those
        about a passage that answers a held-out question. What needs several documents is never held
        out, because no single passage answers it. Groups are drawn at random until
        they hold `config.held_out_share` of the pairs; a group that would take them past one and
        a half times that share is passed over.

    Raises:
        DataError: there are too few pairs or documents to hold any out.
    """
    group_of = {document: i for i, group in enumerate(groups) for document in group}
    groups_of = {
        pair.id: {group_of[name] for i in pair.passage_ids for name in sections.of(passages[i])}
        for pair in pairs
    }
    members: dict[int, list[QAPair]] = {}
    for pair in pairs:
        if not pair.additional_passage_ids and len(groups_of[pair.id]) == 1:
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
    test = [pair for pair in pairs if pair.id in held_out]
    answering = {i for pair in test if pair.id in mined for i in mined[pair.id].positive_ids}
    train, neither = list[QAPair](), list[Rejection]()
    for pair in pairs:
        reason = ""
        if not chosen.isdisjoint(groups_of[pair.id]):
            reason = "needs a held-out document"
        elif not answering.isdisjoint(pair.passage_ids):
            reason = "its passage answers a held-out question"
        if not reason:
            train.append(pair)
        elif pair.id not in held_out:
            neither.append(Rejection(subject_id=pair.id, stage="sets", reason=reason))
    if not train or not test:
        raise DataError(
            f"{len(pairs)} pairs from {len(members)} unrelated documents cannot be split into "
            "training and held-out questions. Give more documents, or split one large file into "
            "its chapters."
        )
    return train, test, neither


def select_linked(
    linked: Sequence[LinkedQuestion],
    held_out: Sequence[LabelledQuestion],
    evaluated: Iterable[str],
    passages: Mapping[str, Passage],
    groups: Sequence[Sequence[str]],
    sections: Sections = WHOLE,
) -> list[LinkedQuestion | Rejection]:
    """Keep the logged questions whose training leaks nothing into the evaluation.

    Args:
        linked: All linked questions of the log.
        held_out: The held-out questions; no text of their groups may be trained on.
        evaluated: Every question of the evaluation.
        passages: Passages by id.
        groups: Ids of documents or sections that share text.
        sections: Of documents that are divided.
    """
    apart = {n for asked in held_out for i in asked.passage_ids for n in sections.of(passages[i])}
    apart = {name for group in groups if apart & set(group) for name in group}
    asked = {fold_question(question) for question in evaluated}
    outcomes: list[LinkedQuestion | Rejection] = []
    for question in linked:
        if fold_question(question.question) in asked:
            reason = "logged question is in the evaluation"
        elif not apart.isdisjoint(sections.of(passages[question.passage_id])):
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
