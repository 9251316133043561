"""How many mined "negatives" answer the question after all, by the labels of people.

    python benchmarks/false_negatives.py --data FOLDER --sets covidqa_en,clapnq_en

Documents are cut into windows that overlap by half, as many people cut theirs. A human question's
own window is the first that holds all of its answer; every other window that does, of that document
or of another, answers it too. Where an answer is free, and stands nowhere word for word, it is the
windows of the labelled document that hold half of its words. Negatives are mined once as in the
paper, which looks at nothing, and then with guards: first without telling what the answer is, then
with it, in which case what holds it word for word is left out by construction. The last line on
standard output is one JSON object.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uplift import read_lines, tell

from aloft.backends.sentence_transformers import SentenceTransformersEmbedder
from aloft.config import NegativesConfig
from aloft.records import Negatives, Passage, QAPair
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.negatives import mine_negatives
from aloft.retrieval.searchable import SearchableCorpus
from aloft.text.normalising import fold
from aloft.text.tokens import split_words

VARIANTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "none (the paper)": ((), False),
    "copy": (("copy",), False),
    "margin": (("margin",), False),
    "copy, margin": (("copy", "margin"), False),
    "copy, answer, margin (the default)": (("copy", "answer", "margin"), True),
}


def cut(text: str, size: int) -> list[tuple[int, str]]:
    """Windows of words that overlap by half, each with its place among the words."""
    words = text.split()
    starts = range(0, max(1, len(words) - size // 2), size // 2)
    return [(start, " ".join(words[start : start + size])) for start in starts]


def read_set(source: Path, size: int) -> tuple[list[Passage], list[QAPair], list[set[str]]]:
    """Windows, a pair for each question whose answer one of them holds, and all that hold it."""
    passages = [
        Passage(document_id=str(one["id"]), text=window, start=start, title=one["title"])
        for one in read_lines(source / "corpus.jsonl.gz")
        for start, window in cut(one["text"], size)
    ]
    folded = [fold(passage.text) for passage in passages]
    pairs, holders = [], []
    for row in read_lines(source / "qa.jsonl.gz"):
        answer = fold(row["answers"][0])
        if len(answer) < 4:
            continue
        found = [p for p, text in zip(passages, folded, strict=True) if answer in text]
        own = [passage for passage in found if passage.document_id == str(row["doc_id"])]
        if not own:
            found = own = told_by(answer, [p for p in passages if p.document_id == row["doc_id"]])
        if own:
            pair = QAPair(passage_id=own[0].id, question=row["question"], answer=row["answers"][0])
            pairs.append(pair)
            holders.append({passage.id for passage in found} - {own[0].id})
    return passages, pairs, holders


def told_by(answer: str, passages: Sequence[Passage]) -> list[Passage]:
    """The windows of a document that hold half of a free answer's words, the best one first."""
    words = set(split_words(answer))
    shares = [len(words.intersection(split_words(p.text))) / max(1, len(words)) for p in passages]
    order = sorted(range(len(passages)), key=lambda i: -shares[i])
    return [passages[i] for i in order if shares[i] >= 0.5]


def count(mined: Sequence[Negatives], holders: Sequence[set[str]]) -> dict[str, Any]:
    """Of the negatives, how many answer; of what answers and was looked at, what became of it."""
    negatives = sum(len(one.passage_ids) for one in mined)
    false = sum(len(set(one.passage_ids) & true) for one, true in zip(mined, holders, strict=True))
    hit = sum(bool(set(one.passage_ids) & true) for one, true in zip(mined, holders, strict=True))
    further = sum(
        len(set(one.positive_ids) & true) for one, true in zip(mined, holders, strict=True)
    )
    taken = sum(len(one.positive_ids) for one in mined)
    return {
        "negatives": negatives,
        "false": false,
        "false_share": round(100 * false / max(1, negatives), 2),
        "questions_with_one": round(100 * hit / len(mined), 1),
        "further_positives": taken,
        "of_these_right": round(100 * further / taken, 1) if taken else None,
    }


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All variants on one set."""
    passages, pairs, holders = read_set(options.data / name, options.words)
    embedder = SentenceTransformersEmbedder(options.embedder)
    vectors = embedder.encode_passages([passage.content for passage in passages])
    queries = embedder.encode_queries([pair.question for pair in pairs])
    corpus = SearchableCorpus(passages, DenseIndex(vectors))
    untold = [QAPair(passage_id=p.passage_id, question=p.question, answer="") for p in pairs]
    rows = {}
    for variant, (guards, is_told) in VARIANTS.items():
        settings = {"guards": guards, "count": options.count, "depth": 100}
        asked = pairs if is_told else untold
        config = NegativesConfig.model_validate(settings)
        rows[variant] = count(list(mine_negatives(asked, queries, corpus, config)), holders)
        print(f"  {name} {variant:<36} {rows[variant]}", file=sys.stderr)
    several = sum(map(bool, holders))
    return {
        "set": name,
        "windows": len(passages),
        "questions": len(pairs),
        "with_several": several,
        "by": rows,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all sets; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="covidqa_en,clapnq_en")
    parser.add_argument("--embedder", default="embedded:all-minilm-l6-v2")
    parser.add_argument("--words", type=int, default=100, help="of a window")
    parser.add_argument("--count", type=int, default=9, help="negatives a question")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    rows = [measure(name, options) for name in options.sets.split(",")]
    tell("false_negatives.py", argv, options.json, sets=rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
