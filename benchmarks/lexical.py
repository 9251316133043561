"""BM25 by Aloft's terms beside bm25s with its own tokenizer, on questions that people asked.

    python benchmarks/lexical.py --data FOLDER --sets covidqa_en,xquad_ru

FOLDER holds a folder per set, whose name ends in its language, with corpus.jsonl.gz and
qa.jsonl.gz. bm25s is taken as its documentation takes it: its tokenizer, with English stop words
where the text is English and with the language's stemmer where PyStemmer (`pip install PyStemmer`)
has one. All score by Lucene's constants. The last line on standard output is one JSON object.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer
from uplift import read_lines, tell

from aloft.evaluation.bootstrap import compare
from aloft.evaluation.retrieval_metrics import measure_ranking
from aloft.retrieval.bm25 import BM25Index
from aloft.retrieval.ranking import Ranking

_DEPTH = 10
_METRICS = ("hit@1", "hit@10", "mrr@10")
_STEMMERS = {
    "ar": "arabic",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hi": "hindi",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "tr": "turkish",
}


def by_aloft(texts: Sequence[str], questions: Sequence[str], language: str) -> Ranking:
    return BM25Index(texts).rank(questions, _DEPTH)


def by_library(
    texts: Sequence[str], questions: Sequence[str], language: str, *, stems: bool = False
) -> Ranking:
    how: dict[str, Any] = {"stopwords": "en" if language == "en" else [], "show_progress": False}
    if stems:
        how["stemmer"] = Stemmer.Stemmer(_STEMMERS[language])
    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index(bm25s.tokenize(list(texts), **how), show_progress=False)
    asked = bm25s.tokenize(list(questions), return_ids=False, **how)
    columns, scores = index.retrieve(asked, k=_DEPTH, show_progress=False)
    return Ranking(columns=np.asarray(columns, np.intp), scores=scores)


WAYS: dict[str, Callable[..., Ranking]] = {
    "bm25s": by_library,
    "bm25s, stems": lambda *what: by_library(*what, stems=True),
    "Aloft": by_aloft,
}


def measure(source: Path, seed: int) -> dict[str, Any]:
    """All ways on one set, and Aloft against the better of the others."""
    language = source.name.rsplit("_", 1)[-1]
    corpus, asked = read_lines(source / "corpus.jsonl.gz"), read_lines(source / "qa.jsonl.gz")
    place = {one["id"]: i for i, one in enumerate(corpus)}
    texts = [f"{one['title']}\n{one['text']}" if one["title"] else one["text"] for one in corpus]
    gold = [
        frozenset(place[i] for i in (*row.get("doc_ids", [row["doc_id"]]), *row.get("also_ok", [])))
        for row in asked
    ]
    values: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for way, rank in WAYS.items():
        if "stems" in way and language not in _STEMMERS:
            continue
        started = time.monotonic()
        ranking = rank(texts, [row["question"] for row in asked], language)
        seconds = round(time.monotonic() - started, 2)
        values[way] = measure_ranking(ranking, gold)
        rows[way] = {m: round(100 * float(values[way][m].mean()), 1) for m in _METRICS}
        rows[way]["seconds"] = seconds
    best = max((way for way in rows if way != "Aloft"), key=lambda way: rows[way]["mrr@10"])
    documents = [row["doc_id"] for row in asked]
    how: dict[str, Any] = {"resamples": 10_000, "seed": seed}
    gains = [compare(m, values[best][m], values["Aloft"][m], documents, **how) for m in _METRICS]
    told = " | ".join(f"{way} {row}" for way, row in rows.items())
    print(f"  {source.name:<12} n = {len(asked)} {told}", file=sys.stderr)
    return {
        "set": source.name,
        "passages": len(corpus),
        "questions": len(asked),
        "ways": rows,
        "against": best,
        "comparisons": [asdict(gain) for gain in gains],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all sets; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names below --data, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    rows = [measure(options.data / name, options.seed) for name in options.sets.split(",")]
    tell("lexical.py", argv, options.json, sets=rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
