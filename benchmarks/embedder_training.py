"""The embedder's training beside the plain trainer of sentence-transformers, on the same rows.

    python benchmarks/embedder_training.py --data FOLDER --set covidqa_en --rows 512 --seed 1

Rows are a set's human questions, each with its passage and, for a hard negative, the best other
one by BM25. All train the same model with the same batches, rate and epochs: Aloft as its preset
does, the library with MultipleNegativesRankingLoss as its documentation does, once as it comes and
once in Aloft's number format. Each runs in a process of its own. Seconds are those of the steps
behind the first; memory is the peak beyond what imports take. The last line on standard output is
one JSON object.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mining import read_status, reset_peak
from uplift import read_lines, tell

from aloft.records import EmbedderRow, content_id

EMBEDDER = "embedded:all-minilm-l6-v2"


def read_rows(source: Path, count: int) -> list[EmbedderRow]:
    """Questions, right passages and the best wrong ones by BM25."""
    from aloft.retrieval.bm25 import BM25Index

    corpus = read_lines(source / "corpus.jsonl.gz")
    texts = [f"{one['title']}\n{one['text']}" if one["title"] else one["text"] for one in corpus]
    place = {one["id"]: i for i, one in enumerate(corpus)}
    asked = read_lines(source / "qa.jsonl.gz")[:count]
    ranking = BM25Index(texts).rank([one["question"] for one in asked], 2)
    rows = []
    for one, columns in zip(asked, ranking.columns.tolist(), strict=True):
        right = place[one["doc_id"]]
        wrong = next(column for column in columns if column != right)
        rows.append(
            EmbedderRow(
                pair_id=content_id(one["question"]),
                anchor=one["question"],
                positive=texts[right],
                negatives=(texts[wrong],),
            )
        )
    return rows


def by_aloft(rows: Sequence[EmbedderRow], folder: Path, options: argparse.Namespace) -> Any:
    from aloft.config import EmbedderTrainingConfig
    from aloft.training import train_embedder

    config = EmbedderTrainingConfig(
        num_train_epochs=options.epochs, per_device_train_batch_size=options.batch
    )
    ticks: list[float] = []
    done = train_embedder(
        rows,
        EMBEDDER,
        folder / "tuned",
        config,
        seed=options.seed,
        progress=lambda *_: ticks.append(time.monotonic()),
    )
    return ticks, done.losses


def plain_arguments(folder: Path, seed: int) -> dict[str, Any]:
    """What a plain trainer is told that has nothing to do with what it trains."""
    from aloft.backends.device import best_device

    return {
        "output_dir": str(folder / "plain"),
        "use_cpu": best_device() == "cpu",  # all ways on the device that Aloft trains on
        "seed": seed,
        "data_seed": seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def by_library(
    rows: Sequence[EmbedderRow], folder: Path, options: argparse.Namespace, *, is_bf16: bool = False
) -> Any:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.sampler import BatchSamplers
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    from aloft.backends.device import best_device
    from aloft.backends.packaged import resolve_model
    from aloft.config import EmbedderTrainingConfig

    config = EmbedderTrainingConfig()
    ticks: list[float] = []

    class Ticking(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ticks.append(time.monotonic())

    model = SentenceTransformer(resolve_model(EMBEDDER), device=best_device())
    model.max_seq_length = config.max_seq_length
    columns = [
        {"anchor": row.anchor, "positive": row.positive, "negative": row.negatives[0]}
        for row in rows
    ]
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            **plain_arguments(folder, options.seed),
            bf16=is_bf16,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch,
            learning_rate=config.learning_rate,
            warmup_steps=config.warmup_share,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
        ),
        train_dataset=Dataset.from_list(columns),
        loss=MultipleNegativesRankingLoss(model),
        callbacks=[Ticking()],
    )
    trainer.train()
    return ticks, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


WAYS: dict[str, Callable[..., Any]] = {
    "Aloft": by_aloft,
    "sentence-transformers": by_library,
    "sentence-transformers, bf16": lambda *what: by_library(*what, is_bf16=True),
}


def measure(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """One way, in this process."""
    import sentence_transformers  # noqa: F401 - what imports take is no training's

    rows = read_rows(options.data / options.set, options.rows)
    with tempfile.TemporaryDirectory() as folder:
        before = reset_peak()
        ticks, losses = WAYS[way](rows, Path(folder), options)
        peak = read_status("VmHWM") - before
    seconds = ticks[-1] - ticks[0]
    return {
        "rows_a_second": round((len(ticks) - 1) * options.batch / seconds, 2),
        "seconds": round(seconds, 1),
        "steps": len(ticks),
        "megabytes": round(peak / 1024),
        "losses": [round(float(loss), 4) for loss in losses],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all ways; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="covidqa_en")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    rows: dict[str, Any] = {}
    for way in WAYS:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            rows[way] = process.submit(measure, way, options).result()
        print(f"  {way:<28} {rows[way]}", file=sys.stderr)
    tell("embedder_training.py", argv, options.json, ways=rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
