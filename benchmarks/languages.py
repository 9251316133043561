"""How well languages are told and pointing questions are seen, on questions that people asked.

    python benchmarks/languages.py --data FOLDER

FOLDER holds a folder per set, whose name ends in its language (xquad_de), with corpus.jsonl.gz and
qa.jsonl.gz. Question and passage are in one language, so every rejection is a false one. Sets whose
name begins alike and whose questions have equal numbers are parallel: there the English question is
held against each foreign passage, and every rejection is a true one. Columns are in %.
"""

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aloft.text.language import can_be_in, language_of
from aloft.text.self_contained import points_at_text

ENGLISH = "xquad_en"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON objects of a packed file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def number_of(row: dict[str, Any]) -> str:
    """What parallel questions share of their ids."""
    return str(row["id"]).rsplit("-", 1)[-1]


def measure(folder: Path, english: dict[str, str]) -> dict[str, float | str]:
    """Shares of one set, in %."""
    wanted = folder.name.rsplit("_", 1)[-1]
    rows = read_lines(folder / "qa.jsonl.gz")
    begun = time.perf_counter()
    corpus = read_lines(folder / "corpus.jsonl.gz")
    told = {str(row["id"]): language_of(row["text"]) for row in corpus}
    spent = time.perf_counter() - begun
    pairs = [(row, told[str(row["doc_id"])]) for row in rows]
    known = [(row, language) for row, language in pairs if language is not None]
    foreign = [
        (english[number_of(row)], language)
        for row, language in known
        if folder.name.startswith(ENGLISH[:-2]) and number_of(row) in english
    ]
    return {
        "set": folder.name,
        "passages": len(corpus),
        "questions": len(rows),
        "passage in no language": share([language is None for language in told.values()]),
        "passage in another": share([x not in (None, wanted) for x in told.values()]),
        "question rejected": share([not can_be_in(row["question"], x) for row, x in known]),
        "English question rejected": share([not can_be_in(x, language) for x, language in foreign]),
        "points at a text": share([points_at_text(row["question"], wanted) for row in rows]),
        "ms a passage": round(1000 * spent / len(corpus), 2),
    }


def share(found: Sequence[bool]) -> float:
    """Of 100."""
    return round(100 * sum(found) / len(found), 2) if found else float("nan")


def main() -> None:
    """Print a JSON object a set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    asked = data / ENGLISH / "qa.jsonl.gz"
    english = (
        {number_of(row): row["question"] for row in read_lines(asked)} if asked.exists() else {}
    )
    for folder in sorted(data.iterdir()):
        if (folder / "qa.jsonl.gz").exists():
            others = {} if folder.name == ENGLISH else english
            print(json.dumps(measure(folder, others)), flush=True)


if __name__ == "__main__":
    main()
