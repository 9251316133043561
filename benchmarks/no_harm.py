"""What ships where training taught nothing, or destroyed the weights: no worse than nothing tuned.

    python benchmarks/no_harm.py --data FOLDER --sets tydiqa_en,xquad_en,pira_en \\
        --parts embedder,reranker --config benchmarks/uplift.toml --replies benchmarks/replies \\
        --limit-questions 300 --seed 1 --out RUNS --json no_harm.json

The options are those of "uplift.py"; run folders that it left under --out are used again. The tuned
embedder and its body are replaced, and then gate and choice of what ships run blind: no human
question takes part in any choice.

shuffled  trained with the run's settings on the same rows, each question with another one's passage
random    all weights drawn anew
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from uplift import METRIC, OneSet, cut_set, leave_out, open_set, parse, sets_of, tell

from aloft.backends.late_interaction import LateInteractionReranker
from aloft.backends.packaged import resolve_model
from aloft.backends.sentence_transformers import SentenceTransformersEmbedder, load_encoder
from aloft.corpus.windows import cut_windows
from aloft.errors import AloftError
from aloft.evaluation.evaluator import Evaluator
from aloft.evaluation.measure import SHIPPED, measure_parts
from aloft.evaluation.pages.figures import interval, points
from aloft.protocols import Floats
from aloft.randomness import rng_for
from aloft.records import EmbedderRow
from aloft.retrieval.dense import DenseIndex
from aloft.run.job import OpenRun
from aloft.training import train_embedder


def shuffle(run: OpenRun, folder: Path) -> None:
    """Train the embedder on rows whose questions have changed places."""
    rows: list[EmbedderRow] = list(run.records("embedder_rows"))
    anchors = [row.anchor for row in rows]
    rng_for(run.config.seed, "shuffled questions").shuffle(anchors)
    wrong = [replace(row, anchor=anchor) for row, anchor in zip(rows, anchors, strict=True)]
    config = run.config
    train_embedder(wrong, config.embedder, folder, config.embedder_training, seed=config.seed)


def draw_weights(run: OpenRun, folder: Path) -> None:
    """Save the embedder with all weights drawn from a normal distribution."""
    encoder = load_encoder(Path(resolve_model(run.config.embedder)))
    generator = torch.Generator().manual_seed(run.config.seed)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
    encoder.save(str(folder), create_model_card=False)


HARM: dict[str, Callable[[OpenRun, Path], None]] = {"shuffled": shuffle, "random": draw_weights}


def put_in_place(run: OpenRun, folder: Path) -> Evaluator:
    """The run's evaluator with another encoder as the tuned embedder and reranker."""
    known = run.evaluator
    embedder, reranker = (
        SentenceTransformersEmbedder(str(folder)),
        LateInteractionReranker(str(folder)),
    )
    windows = cut_windows(known.passages, embedder, run.config.passages.window_tokens)
    vectors = embedder.encode_passages(windows.texts)

    def encode(which: str, texts: Sequence[str]) -> Floats:
        return embedder.encode_queries(texts) if which == "tuned" else known.encode(which, texts)

    def index(which: str) -> DenseIndex:
        return DenseIndex(vectors, windows.starts) if which == "tuned" else known.index(which)

    def score(which: str, pairs: Sequence[tuple[str, str]]) -> Floats:
        return reranker.score(pairs) if which == "tuned" else known.score(which, pairs)

    return replace(known, encode=encode, index=index, score=score)


def measure_set(one: OneSet, limits: Sequence[Any]) -> list[dict[str, Any]]:
    """What ships over nothing tuned, by each way of doing harm."""
    cut_set(one.source, one.folder, *limits)
    found = []
    for way, make in HARM.items():
        started = time.monotonic()
        with open_set(one.folder, one.config, one.replies, blind=True) as run:
            run.do("sets")
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / way
                make(run, folder)
                measured = measure_parts(put_in_place(run, folder), ("embedder", "reranker"))
        gain = next(
            c
            for c in measured.comparisons
            if (c.part, c.question_set, c.metric) == (SHIPPED, "human", METRIC)
        )
        assert measured.shipped is not None  # nothing tuned is always a variant
        row = {
            "set": one.name,
            "way": way,
            "ships": measured.shipped.parts,
            **{
                name: getattr(gain, name)
                for name in ("before", "after", "gain", "low", "high", "n")
            },
            "reasons": [verdict.reason for verdict in measured.verdicts],
            "seconds": round(time.monotonic() - started, 1),
        }
        print(
            f"{one.name:<12} {way:<9} {' + '.join(row['ships']) or 'nothing tuned':<22} "
            f"{points(row['gain']):>6} {interval(row['low'], row['high'])}  {row['seconds']:.0f} s"
        )
        found.append(row)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all sets; returns the exit status."""
    options = parse(argv, __doc__)
    unusable: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for one in sets_of(options, options.out or Path(temporary), unusable):
            try:
                rows += measure_set(one, (options.limit_documents, options.limit_questions))
            except AloftError as error:
                leave_out(one.name, str(error), unusable)
    if not rows:
        return 2
    worst = min(row["gain"] for row in rows)
    print(json.dumps({"worst": worst}))
    tell("no_harm.py", argv, options.json, worst=worst, unusable=unusable, rows=rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
