"""What shares that are drawn to other sites' gain over shares that each site fits alone.

    python benchmarks/shared_shares.py --runs RUNS --json shares.json

RUNS is what `federation.py` has kept with --out: the sites' run folders and the shared embedder. At
each site some of its articles are drawn, with the first questions about them: shares are fitted on
these and measured on the questions about all other articles, alone and drawn to what the other
sites have measured on all of theirs. That is done anew for many draws, and each question's values
are averaged over those that left it out. Intervals resample articles. The last line on standard
output is one JSON object.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from uplift import tell

from aloft.backends.loading import Models
from aloft.config import read_run_config
from aloft.evaluation.blending import (
    at_share,
    fit_share,
    rerank_table,
    share_table,
)
from aloft.evaluation.bootstrap import compare
from aloft.evaluation.shared_shares import PRIORS, expect, measure_gains
from aloft.jsonl import RecordFile
from aloft.randomness import rng_for
from aloft.records import LabelledQuestion, Passage
from aloft.retrieval.fusion import fuse
from aloft.retrieval.ranking import pairs_of
from aloft.retrieval.retriever import FIRST_STAGE_DEPTH, Bm25Ranker, DenseRanker
from aloft.terminal.progress import shown_progress

METRIC = "ndcg@10"
RERANKED = 30
WAYS = ("prior", "alone", "drawn")


@dataclass(frozen=True, slots=True)
class Site:
    """What was measured at a site, by share: nDCG@10 of each question at each share."""

    tables: dict[str, NDArray[np.float64]]
    coverage: NDArray[np.float64]
    articles: list[str]


def measure_site(run: Path, shared: Path, models: Models) -> Site:
    """All shares of one site's run folder."""
    passages = list(RecordFile(run / "passages.jsonl", Passage))
    human = RecordFile(run / "human.jsonl", LabelledQuestion)
    asked = [question for question in human if question.passage_ids]
    column = {passage.id: place for place, passage in enumerate(passages)}
    gold = [frozenset(column[one] for one in question.passage_ids) for question in asked]
    texts = [question.question for question in asked]
    words = Bm25Ranker(passages)
    lexical = words.rank(texts, FIRST_STAGE_DEPTH)
    coverage = words.coverage(texts, lexical)
    tables = {}
    for kind, name in (("untuned", read_run_config(run).embedder), ("tuned", str(shared))):
        embedder = models.embedder(name)
        dense = DenseRanker(passages, embedder).rank(texts, FIRST_STAGE_DEPTH)
        tables[f"{kind}_dense"] = share_table(dense, lexical, gold)
        first = fuse(dense, lexical, RERANKED, PRIORS[f"{kind}_dense"].of(coverage))
        scores = models.reranker(name).score(pairs_of(first, texts, passages))
        tables[f"{kind}_late"] = rerank_table(first, scores, gold)
    first_of = [passages[min(columns)] for columns in gold]
    return Site(tables, coverage, [one.title or one.document_id for one in first_of])


def draw(site: Site, questions: int, rng: Any) -> list[int]:
    """Questions about whole articles, which are drawn until there are enough."""
    articles = sorted(set(site.articles))
    rng.shuffle(articles)
    order = [row for one in articles for row, name in enumerate(site.articles) if name == one]
    return order[:questions]


def fitted(sites: Sequence[Site], place: int, name: str, questions: int, draws: int) -> Any:
    """nDCG@10 of each question at a site, by way, averaged over the draws that left it out."""
    site, others = sites[place], [one for i, one in enumerate(sites) if i != place]
    counts = [len(one.articles) for one in others]
    gains = [
        measure_gains(one.tables[name], one.coverage, one.articles, PRIORS[name]) for one in others
    ]
    average = np.average(np.stack(gains), axis=0, weights=counts).astype(np.float32)
    expected = expect({name: average}, sum(counts), len(others))[name]
    table, prior = site.tables[name], PRIORS[name]
    sums = np.zeros((len(WAYS), len(table)))
    times = np.zeros(len(table))
    for number in range(draws if questions else 1):
        rows = draw(site, questions, rng_for(0, "draw", f"site {place}", f"{number}"))
        known = {site.articles[row] for row in rows}
        left = np.array([article not in known for article in site.articles])
        some = table[rows], site.coverage[rows], [site.articles[row] for row in rows], prior
        shares = (prior, fit_share(*some), fit_share(*some, expected))
        times += left
        for way, share in enumerate(shares):
            sums[way, left] += at_share(table, share, site.coverage)[left]
    return sums / np.where(times, times, np.nan)


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every share with every number of questions."""
    with shown_progress() as progress:
        models = Models(progress=progress)
        folders = sorted(options.runs.glob("site-*/run"))
        sites = [measure_site(one, options.runs / "parts" / "global", models) for one in folders]
    articles = [f"{i} {name}" for i, site in enumerate(sites) for name in site.articles]
    rows = []
    for name in PRIORS:
        for questions in options.questions:
            each = [fitted(sites, i, name, questions, options.draws) for i in range(len(sites))]
            values = np.concatenate(each, axis=1)
            known = np.isfinite(values).all(axis=0)
            clusters = [one for one, is_known in zip(articles, known, strict=True) if is_known]
            found = compare(METRIC, values[1, known], values[2, known], clusters, seed=0)
            row = {way: float(values[i, known].mean()) for i, way in enumerate(WAYS)}
            ends = {"gain": found.gain, "low": found.low, "high": found.high, "n": found.n}
            rows.append({"share": name, "questions": questions, **row, **ends})
    return rows


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True, help="what federation.py has kept")
    parser.add_argument(
        "--questions",
        type=lambda text: [int(one) for one in text.split(",")],
        default=[0, 20, 50, 100, 200],
        help="of a site's own, with commas",
    )
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    options = parse(argv)
    started = time.monotonic()
    rows = run(options)
    for row in rows:
        cells = "".join(f"{100 * row[way]:>8.1f}" for way in WAYS)
        gain = f"{100 * row['gain']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        print(f"{row['share']:<15}{row['questions']:>5}{cells}   over alone {gain}")
    seconds = round(time.monotonic() - started, 1)
    tell("shared_shares.py", argv, options.json, seconds=seconds, rows=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
