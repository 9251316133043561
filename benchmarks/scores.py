"""How far the scores of retrieved passages can be trusted as probabilities.

    python benchmarks/scores.py --data FOLDER --sets clapnq_en,pira_en,xquad_en,tydiqa_en

Untuned models and human questions; the first ten passages of the hybrid for each. Of each set: the
expected calibration error (ECE) of the default fitted to the sets of other names, and of weights
fitted to half of its own questions on the other half; a reliability table; nDCG@10 in the order of
retrieval and in that of the scores; and what cutoffs keep of right passages and drop for questions
that nothing answers. Printed last are the weights fitted to all sets, which are the default. Set
`NAME:EMBEDDER` chooses another embedder than --embedder.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from fusion import load_set, measured_sets, parse
from numpy.typing import NDArray
from uplift import calibration_error, read_lines, tell

from aloft.backends.loading import Models
from aloft.evaluation.blending import DENSE_SHARE
from aloft.protocols import Progress
from aloft.randomness import rng_for
from aloft.retrieval.fusion import fuse
from aloft.retrieval.relevance import (
    DEFAULT_CUTOFF,
    EMBEDDED,
    LEXICAL,
    Relevance,
    fit,
    overlap,
    standardise,
)
from aloft.retrieval.retriever import FIRST_STAGE_DEPTH, Bm25Ranker, DenseRanker

DEPTH = 10
SHOWN = 5  # passages of a question that a prompt holds
CUTOFFS = (0.02, DEFAULT_CUTOFF, 0.1, 0.2, 0.5)
BINS = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
_FREE = 1e-3  # weight of the prior where there are many sets


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The first passages of each question of a set, with the unanswerable questions last.

    Attributes:
        features: (questions, DEPTH, 3).
        is_right: (questions, DEPTH).
        answerable: Questions that a passage answers.
    """

    name: str
    features: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    answerable: int

    @property
    def family(self) -> str:
        """What its languages and embedders have in common."""
        return self.name.split("_")[0]

    def of(self, rows: Sequence[int] | slice) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Features and labels of some questions' pairs."""
        return self.features[rows].reshape(-1, 3), self.is_right[rows].ravel()


def measure(folder: Path, embedder: str, limits: tuple[int, int], progress: Progress) -> Pairs:
    """Retrieve for the questions of a set, and work out the features of each pair."""
    passages, questions, gold = load_set(folder, *limits)
    answerable = len(questions)
    if (folder / "unanswerable.jsonl.gz").exists():
        rows = read_lines(folder / "unanswerable.jsonl.gz")
        drawn = rng_for(0, folder.name, "unanswerable").sample(rows, min(limits[1], len(rows)))
        questions += [row["question"] for row in drawn]
        gold += [frozenset()] * len(drawn)
    dense = DenseRanker(passages, Models(progress=progress).embedder(embedder))
    words = Bm25Ranker(passages)
    vectors = dense.encode(questions)
    lexical = words.rank(questions, FIRST_STAGE_DEPTH)
    shares = DENSE_SHARE.of(words.coverage(questions, lexical))
    found = fuse(dense.search(vectors, FIRST_STAGE_DEPTH), lexical, DEPTH, shares)
    features = np.zeros((*found.columns.shape, 3))
    for row, columns in enumerate(found.columns.tolist()):
        cosines = dense.index.score(vectors[row], columns)
        features[row, :, 0] = standardise(cosines, dense.unrelated @ vectors[row])
        texts = [passages[column].embedded for column in columns]
        features[row, :, 1] = overlap(questions[row], texts)
    pairs = zip(found.columns.tolist(), gold, strict=True)
    is_right = np.array([[column in right for column in columns] for columns, right in pairs])
    return Pairs(
        name=f"{folder.name} ({embedder.removeprefix('embedded:')})",
        features=features,
        is_right=is_right,
        answerable=answerable,
    )


def fit_all(sets: Sequence[Pairs], prior: Relevance) -> Relevance:
    """Weights fitted to the pairs of some sets, each of which counts by its pairs."""
    found = [one.of(slice(None)) for one in sets]
    features = np.concatenate([some for some, _ in found])
    if not prior.similarity:
        features[:, 0] = 0
    return fit(features, np.concatenate([some for _, some in found]), prior, _FREE)


def own_error(one: Pairs, prior: Relevance) -> float:
    """ECE of weights fitted to every other question, on the questions between."""
    count = len(one.is_right)
    scores = np.zeros(one.is_right.shape)
    for half in (0, 1):
        rows, others = range(half, count, 2), range(1 - half, count, 2)
        fitted = fit(*one.of(list(others)), prior, 5.0)
        scores[list(rows)] = fitted.probabilities(one.features[list(rows)])
    return calibration_error(scores.ravel(), one.is_right.ravel())


def ndcg(one: Pairs, scores: NDArray[np.float64]) -> float:
    """nDCG@10 of the questions that have an answer, in the order of some scores."""
    order = np.argsort(-scores[: one.answerable], axis=1, kind="stable")
    gains = np.take_along_axis(one.is_right[: one.answerable], order, axis=1)
    discounts = 1 / np.log2(np.arange(DEPTH) + 2)
    return float(((gains @ discounts) / np.maximum(discounts[0], 1e-9)).clip(0, 1).mean())


def report(one: Pairs, prior: Relevance) -> dict[str, Any]:
    """What the weights of the other sets are worth on this one."""
    scores = prior.probabilities(one.features)
    retrieved = np.broadcast_to(-np.arange(DEPTH), scores.shape)
    return {
        "set": one.name,
        "questions": one.answerable,
        "unanswerable": len(scores) - one.answerable,
        "ece": round(calibration_error(scores.ravel(), one.is_right.ravel()), 3),
        "ece_own": round(own_error(one, prior), 3),
        "ndcg_as_retrieved": round(ndcg(one, retrieved), 3),
        "ndcg_by_score": round(ndcg(one, scores), 3),
        "reliability": reliability(scores.ravel(), one.is_right.ravel()),
        "cutoffs": [cut(one, scores, cutoff) for cutoff in CUTOFFS],
    }


def reliability(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> list[dict[str, float]]:
    """By bins of scores: pairs, their mean score and the share of right ones."""
    rows = []
    for low, high in pairwise(BINS.tolist()):
        inside = (scores >= low) & ((scores < high) | (high == 1))
        if inside.any():
            means = scores[inside].mean(), is_right[inside].mean()
            score, right = (round(float(mean), 3) for mean in means)
            rows.append(
                {
                    "from": low,
                    "to": high,
                    "pairs": int(inside.sum()),
                    "score": score,
                    "right": right,
                }
            )
    return rows


def cut(one: Pairs, scores: NDArray[np.float64], cutoff: float) -> dict[str, float]:
    """What a cutoff keeps of right passages, and how many of the first it leaves a question."""
    kept = scores >= cutoff
    shown = kept[:, :SHOWN].sum(axis=1)
    row = {
        "cutoff": cutoff,
        "right_kept": float(kept[one.is_right].mean()),
        "left": float(shown[: one.answerable].mean()),
    }
    if one.answerable < len(scores):
        nothing = shown[one.answerable :]
        row |= {"left_unanswerable": nothing.mean(), "none_unanswerable": (nothing == 0).mean()}
    return {name: round(float(value), 3) for name, value in row.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the sets, or read what was measured before; returns the exit status."""
    options = parse(argv, __doc__, documents=5000, questions=200)
    sets = measured_sets(options, Pairs, measure)
    rows = []
    for one in sets:
        others = [other for other in sets if other.family != one.family] or [one]
        rows.append(report(one, fit_all(others, EMBEDDED)))
    fitted = {"embedded": asdict(fit_all(sets, EMBEDDED)), "words": asdict(fit_all(sets, LEXICAL))}
    tell("scores.py", argv, options.json, sets=rows, fitted_to_all=fitted)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
