"""Reads from a run folder why each candidate became a negative of a question, or did not."""

from dataclasses import dataclass
from pathlib import Path

from aloft.errors import DataError
from aloft.files import read_json_object
from aloft.jsonl import RecordFile
from aloft.records import LinkedQuestion, Negatives, Passage, QAPair
from aloft.text.normalising import fold_question


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """The candidates that were examined for the negatives of a question.

    Attributes:
        right: The passage that the question is about; the first of several.
        passages: The candidates' passages, in their order.
    """

    pair: QAPair
    negatives: Negatives
    right: Passage
    passages: tuple[Passage, ...]


def read_mined(out: Path, question: str) -> Mined:
    """Return the verdicts on the candidates of a question.

    Args:
        out: The run folder.
        question: The question or a part of it, in any letter case.

    Raises:
        DataError: no negatives have been mined yet, or of other passages; or the words match none
            or several questions.
    """
    missing = f"{out} contains no negatives yet. Mine them: aloft negatives {out}"
    manifest = out / "manifests" / "negatives.json"
    read_json_object(manifest, missing=missing, repair="Delete it, and mine them again.")
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
        many = f"{len(found)} questions contain these words, such as: {shown}"
        none = f"None of {len(asked)} questions contains these words"
        raise DataError(f"{many if found else none}. See {out / 'filtered.jsonl'}.")
    pair = found[0]
    record = mined[pair.id]
    ids = [pair.passage_id, *(one.passage_id for one in record.candidates)]
    if not all(one in passages for one in ids):
        raise DataError(
            f"The documents of {out} have changed since its negatives were mined. Mine them again: "
            f"aloft negatives {out}"
        )
    right, *others = (passages[one] for one in ids)
    return Mined(pair=pair, negatives=record, right=right, passages=tuple(others))
