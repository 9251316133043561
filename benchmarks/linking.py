"""How often a past question is linked to the right passage, by what the log holds beside it.

    python benchmarks/linking.py --data FOLDER --sets covidqa_en,xquad_en

Questions that people asked stand for a log: each alone, with its accepted answer, with the article
that was clicked, and with both; passages of one title are an article. Where every article is a
single passage, a click tells all, and is left out. The last line on standard output is one JSON
object.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from uplift import read_lines, tell

from aloft.backends.sentence_transformers import SentenceTransformersEmbedder
from aloft.config import LinksConfig
from aloft.corpus.locating import PassageLocator
from aloft.questions.linking import link_log
from aloft.records import Document, LinkedQuestion, LogEntry, Passage, Rejection
from aloft.retrieval.dense import DenseIndex
from aloft.retrieval.searchable import SearchableCorpus

EDGES = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.01)
ALL = LinksConfig(min_confidence=0)
Links = list[tuple[float, bool]]
"""Confidence of a link, and whether it is right."""


def read_set(source: Path) -> tuple[list[Document], list[Passage], dict[Any, int]]:
    """Articles, their passages, and the place of each passage by the set's id."""
    texts: defaultdict[str, str] = defaultdict(str)
    passages, place = [], {}
    for one in read_lines(source / "corpus.jsonl.gz"):
        name = one["title"] or str(one["id"])
        place[one["id"]] = len(passages)
        passages.append(
            Passage(document_id=name, text=one["text"], start=len(texts[name]), title=one["title"])
        )
        texts[name] += one["text"] + "\n\n"
    documents = [Document(id=name, text=text, title=name) for name, text in texts.items()]
    return documents, passages, place


def measure(source: Path, embedder: SentenceTransformersEmbedder) -> dict[str, Links]:
    """Links of one set by what the log holds; "unanswered": in the half that can not answer."""
    documents, passages, place = read_set(source)
    locator = PassageLocator(documents, passages, [])
    once = {row["question"]: row for row in read_lines(source / "qa.jsonl.gz")}
    rows = list(once.values())
    gold = [{place[i] for i in (row["doc_id"], *row.get("also_ok", []))} for row in rows]
    queries = embedder.encode_queries(list(once))
    vectors = embedder.encode_passages([passage.content for passage in passages])
    corpus = SearchableCorpus(passages, DenseIndex(vectors))
    has_articles = len(documents) < len(passages)
    column = {passage.id: i for i, passage in enumerate(passages)}

    def linked(*, answer: bool, click: bool) -> Iterator[tuple[float, bool]]:
        entries = [
            LogEntry(
                question=row["question"],
                answer=row["answers"][0] if answer else "",
                clicks=(passages[place[row["doc_id"]]].document_id,) if click else (),
            )
            for row in rows
        ]
        for one, right in zip(link_log(entries, queries, corpus, locator, ALL), gold, strict=True):
            if is_linked(one):
                yield one.confidence, column[one.passage_id] in right

    told = {
        "nothing": list(linked(answer=False, click=False)),
        "answer": list(linked(answer=True, click=False)),
    }
    if has_articles:
        told["article"] = list(linked(answer=False, click=True))
        told["both"] = list(linked(answer=True, click=True))
    told["unanswered"] = []
    for half in range(2):
        kept = np.arange(half, len(passages), 2)
        asked = [i for i, right in enumerate(gold) if not any(j % 2 == half for j in right)]
        found = link_log(
            [LogEntry(question=rows[i]["question"]) for i in asked],
            queries[asked],
            SearchableCorpus([passages[i] for i in kept], DenseIndex(vectors[kept])),
            locator,
            ALL,
        )
        told["unanswered"] += [(one.confidence, False) for one in found if is_linked(one)]
    return told


def is_linked(one: LinkedQuestion | Rejection) -> TypeGuard[LinkedQuestion]:
    return isinstance(one, LinkedQuestion)


def summarise(links: Links) -> dict[str, Any]:
    """What is linked at the usual confidence, and how much of that is right."""
    taken = [right for confidence, right in links if confidence >= LinksConfig().min_confidence]
    return {
        "questions": len(links),
        "linked": round(100 * len(taken) / len(links), 1),
        "of_these_right": round(100 * float(np.mean(taken)), 1) if taken else None,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all sets; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names below --data, with commas")
    parser.add_argument("--embedder", default="embedded:all-minilm-l6-v2")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    embedder = SentenceTransformersEmbedder(options.embedder)
    told, links = {}, []
    for name in options.sets.split(","):
        by_case = measure(options.data / name, embedder)
        told[name] = {case: summarise(some) for case, some in by_case.items()}
        links += [one for case, some in by_case.items() if case != "unanswered" for one in some]
        print(f"  {name} {told[name]}", file=sys.stderr)
    shares = {}
    for low, high in pairwise(EDGES):
        right = [right for confidence, right in links if low <= confidence < high]
        shares[f"{low} to {high}"] = [len(right), round(100 * float(np.mean(right)), 1)]
    print(f"  {len(links)} links, right by confidence: {shares}", file=sys.stderr)
    tell("linking.py", argv, options.json, sets=told, links=len(links), right_by_confidence=shares)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
