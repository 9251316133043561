"""The generator's training beside trl's own, on the same rows: tokens a second, memory, losses.

    python benchmarks/generator_training.py --data FOLDER --set xquad_en --rows 32 --seed 1

Rows are a set's human questions, each with its passage among the best others by BM25, in the form
and with the settings of Aloft's preset. All train the same adapter of the same model on the same
batches, and the loss is the reply's alone: Aloft, and trl's SFTTrainer on its prompt-completion
rows in Aloft's number format, both with gradient checkpointing and without; trl with batches of
rows alike in length, which are other batches; and trl as it comes, with checkpointing and weights
in 32 bits. Each way runs in a process of its own, in turn, `--rounds` times, of which the quickest
counts. Seconds are those of the steps behind the first, by the clock and by what the processor
worked for this process (alike where one thread has a core to itself); memory is the peak beyond
what imports take. The last line on standard output is one JSON object.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from embedder_training import plain_arguments
from mining import read_status, reset_peak
from uplift import read_lines, tell

from aloft.config import GeneratorTrainingConfig, load_config
from aloft.randomness import deal_places
from aloft.records import GeneratorRow, content_id

BY_LENGTH = "trl, by length"
FEWEST = 3  # contexts; from row to row they grow to the most that are asked for


def read_rows(source: Path, options: argparse.Namespace) -> list[GeneratorRow]:
    """Questions among the passages that BM25 finds for them, with what is to be replied."""
    from aloft.prompts.formats import format_of
    from aloft.retrieval.bm25 import BM25Index

    corpus = read_lines(source / "corpus.jsonl.gz")
    texts = [f"{one['title']}\n{one['text']}" if one["title"] else one["text"] for one in corpus]
    place = {one["id"]: i for i, one in enumerate(corpus)}
    asked = read_lines(source / "qa.jsonl.gz")
    asked = asked[:: max(1, len(asked) // options.rows)][: options.rows]
    ranking = BM25Index(texts).rank([one["question"] for one in asked], options.contexts)
    counts = [FEWEST + i % (1 + options.contexts - FEWEST) for i in range(len(asked))]
    form = format_of("aloftrag", abstains=False)
    rows = []
    for one, columns, count, at in zip(
        asked,
        ranking.columns.tolist(),
        counts,
        deal_places(counts, options.seed, "gold places"),
        strict=True,
    ):
        right = place[one["doc_id"]]
        shown = [texts[column] for column in columns if column != right][: count - 1]
        shown.insert(at, texts[right])
        rows.append(
            GeneratorRow(
                pair_id=content_id(one["question"]),
                prompt=form.render(one["question"], shown).messages,
                prefix=form.prefix,
                completion=f"{form.prefix}{form.target(one['answers'][0], [at + 1], shown)}",
            )
        )
    return rows


def settings(options: argparse.Namespace, has_checkpoints: bool) -> GeneratorTrainingConfig:
    """Those of the preset, with a loss that is trl's too."""
    chosen = {
        "per_device_train_batch_size": options.batch,
        "gradient_checkpointing": has_checkpoints,
        "citation_weight": 1.0,
    }
    return load_config("cpu").generator_training.model_copy(update=chosen)


def by_aloft(
    rows: Sequence[GeneratorRow], folder: Path, options: argparse.Namespace, **how: bool
) -> Any:
    from aloft.training import train_generator

    ticks: list[tuple[float, float]] = []
    done = train_generator(
        rows,
        options.model,
        folder / "tuned",
        settings(options, **how),
        seed=options.seed,
        progress=lambda *_: ticks.append(clocks()),
    )
    return ticks, done.losses


def by_library(
    rows: Sequence[GeneratorRow],
    folder: Path,
    options: argparse.Namespace,
    *,
    has_checkpoints: bool,
    is_bf16: bool = True,
    is_by_length: bool = False,
) -> Any:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from aloft.backends.packaged import resolve_model

    config = settings(options, has_checkpoints)
    base = resolve_model(options.model)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    ticks: list[tuple[float, float]] = []

    class Ticking(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ticks.append(clocks())

    columns = [{"prompt": shown(row, tokenizer), "completion": row.completion} for row in rows]
    trainer = SFTTrainer(
        model=base,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(columns),
        peft_config=LoraConfig(
            r=config.r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        args=SFTConfig(
            **plain_arguments(folder, options.seed),
            model_init_kwargs={"dtype": "bfloat16"} if is_bf16 else None,
            completion_only_loss=True,
            max_length=config.max_length,
            num_train_epochs=config.num_train_epochs,
            per_device_train_batch_size=config.per_device_train_batch_size,
            gradient_checkpointing=has_checkpoints,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=config.warmup_share,
            train_sampling_strategy="group_by_length" if is_by_length else "random",
        ),
        callbacks=[Ticking()],
    )
    trainer.train()
    return ticks, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def clocks() -> tuple[float, float]:
    """Seconds that passed, and those that the processor worked for this process."""
    return time.monotonic(), time.process_time()


def shown(row: GeneratorRow, tokenizer: Any) -> str:
    """A conversation as the model's template writes it, up to the reply."""
    messages = [{"role": one.role, "content": one.content} for one in row.prompt]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


WAYS: dict[str, Callable[..., Any]] = {
    "Aloft": partial(by_aloft, has_checkpoints=False),
    "trl": partial(by_library, has_checkpoints=False),
    "Aloft, checkpointing": partial(by_aloft, has_checkpoints=True),
    "trl, checkpointing": partial(by_library, has_checkpoints=True),
    BY_LENGTH: partial(by_library, has_checkpoints=False, is_by_length=True),
    "trl as it comes": partial(by_library, has_checkpoints=True, is_bf16=False),
}


def measure(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """One way, in this process."""
    import trl.trainer.sft_trainer  # noqa: F401 - what imports take is no training's

    from aloft.backends.encoding import load_tokenizer
    from aloft.backends.packaged import resolve_model
    from aloft.training.generator import encode_rows, plan_generator

    rows = read_rows(options.data / options.set, options)
    encoded = encode_rows(rows, load_tokenizer(Path(resolve_model(options.model))), 1 << 20)
    tokens = sum(len(row["input_ids"]) for row in encoded)
    with tempfile.TemporaryDirectory() as folder:
        before = reset_peak()
        ticks, losses = WAYS[way](rows, Path(folder), options)
        peak = read_status("VmHWM") - before
    is_checkpointing = way == "trl as it comes" or way.endswith("checkpointing")
    plan: Any = plan_generator(rows, options.model, settings(options, is_checkpointing))
    seconds, worked = (last - first for first, last in zip(ticks[0], ticks[-1], strict=True))
    timed = tokens * (len(ticks) - 1) / len(ticks)
    return {
        "tokens_a_second": round(timed / seconds, 1),
        "tokens_a_processor_second": round(timed / worked, 1),
        "seconds": round(seconds, 1),
        "steps": len(ticks),
        "tokens": tokens,
        "megabytes": round(peak / 1024),
        "planned_by_aloft": plan.total >> 20,
        "losses": [round(float(loss), 4) for loss in losses],
    }


def quickest(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The round that was disturbed least."""
    return max(rounds, key=lambda one: one["tokens_a_second"])


def compare(found: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Times as fast, share of the memory, and how far apart the losses of the same batches are."""
    for ours, theirs in product(found, found):
        if not ours.startswith("Aloft") or theirs.startswith("Aloft"):
            continue
        one, other = found[ours], found[theirs]
        losses = [fmean(way["losses"]) for way in (one, other)]
        yield {
            "ways": [ours, theirs],
            "times_as_fast": round(one["tokens_a_second"] / other["tokens_a_second"], 2),
            "by_processor": round(
                one["tokens_a_processor_second"] / other["tokens_a_processor_second"], 2
            ),
            "memory_share": round(one["megabytes"] / other["megabytes"], 2),
            "loss_apart": None if theirs == BY_LENGTH else round(abs(losses[0] / losses[1] - 1), 4),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the ways in turn; returns the exit status, 1 where the losses are not alike."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="xquad_en")
    parser.add_argument("--model", default="embedded:smollm2-135m-instruct")
    parser.add_argument("--ways", default=";".join(WAYS), help="of them, with ; between")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--contexts", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    ways = options.ways.split(";")
    rounds: dict[str, list[Any]] = {way: [] for way in ways}
    for way in ways * options.rounds:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            rounds[way].append(process.submit(measure, way, options).result())
        print(f"  {way:<22} {rounds[way][-1]}", file=sys.stderr)
    found = {way: quickest(some) for way, some in rounds.items()}
    compared = list(compare(found))
    tell("generator_training.py", argv, options.json, ways=found, compared=compared)
    return int(any((one["loss_apart"] or 0) > 0.01 for one in compared))


if __name__ == "__main__":
    raise SystemExit(main())
