"""Turns a run folder and a question into what was looked at for its hard negatives, and why."""

from dataclasses import dataclass
from pathlib import Path

from aloft.errors import DataError
from aloft.jsonl import RecordFile
from aloft.records import LinkedQuestion, Negatives, Passage, QAPair
from aloft.text.normalising import fold_question


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """What was looked at for the negatives of one question.

    Attributes:
        right: The passage that the question is about, of several the first.
        passages: Those of the candidates, in their order.
    """

    pair: QAPair
    negatives: Negatives
    right: Passage
    passages: tuple[Passage, ...]


def read_mined(out: Path, question: str) -> Mined:
    """What a run's mining took each candidate of a question for.

    Args:
        out: The run folder.
        question: As the run has it, or words of it.

    Raises:
        DataError: nothing is mined yet, or none or several of the run's questions are meant.
    """
    if not (out / "manifests" / "negatives.json").exists():
        raise DataError(f"{out} holds no negatives yet. Mine them: aloft negatives {out}")
    asked = list(RecordFile(out / "filtered.jsonl", QAPair))
    if (out / "links.jsonl").exists():
        asked += [link.pair for link in RecordFile(out / "links.jsonl", LinkedQuestion)]
    mined = RecordFile(out / "negatives.jsonl", Negatives).by_id
    passages = RecordFile(out / "passages.jsonl", Passage).by_id
    wanted = fold_question(question)
    found = [pair for pair in asked if wanted in fold_question(pair.question) and pair.id in mined]
    exact = [pair for pair in found if fold_question(pair.question) == wanted]
    found = exact[:1] or found
    if len(found) != 1:
        shown = "; ".join(pair.question for pair in found[:3])
        many = f"{len(found)} questions hold these words, such as: {shown}"
        none = f"None of {len(asked)} questions holds these words"
        raise DataError(f"{many if found else none}. See {out / 'filtered.jsonl'}.")
    pair = found[0]
    record = mined[pair.id]
    return Mined(
        pair=pair,
        negatives=record,
        right=passages[pair.passage_id],
        passages=tuple(passages[one.passage_id] for one in record.candidates),
    )
