"""Synthetic pairs: how many replies can be used, how many pairs pass the filters, and how fast.

    python benchmarks/synthesis.py quality --data FOLDER --sets xquad_en,xquad_de --teacher ID
    python benchmarks/synthesis.py speed --data FOLDER --sets xquad_en --teacher ID --passages 64
    python benchmarks/synthesis.py downstream --data FOLDER --sets pira_en --teacher ID \\
        --config benchmarks/downstream.toml
    python benchmarks/synthesis.py ablation --data FOLDER --sets pira_en --teacher ID

`quality` runs the job as far as the filters and counts. `speed` asks the same prompts in several
ways in one run: one call at a time, as deprecated `generate_qa_embedding_pairs` drives a model, or
in Aloft's batches; ratings generated, read off probabilities, and read off on the way to the pairs.
`downstream` trains on our pairs and on those of the paper's preset, at the same teacher tokens;
`ablation` trains with and without each filter. Both are measured on human questions.
FOLDER is as in uplift.py. The last line on standard output is one JSON object.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from downstream import measure_ablation, measure_downstream
from uplift import cut_set, read_lines, tell

from aloft.backends.loading import Models
from aloft.backends.packaged import resolve_model
from aloft.config import RatingsConfig, RunConfig, load_config, plain_name
from aloft.errors import AloftError
from aloft.protocols import LanguageModel, Prompt, Reply
from aloft.records import Passage, QAPair
from aloft.run.job import open_run, read_funnel
from aloft.synthesis import rating as ratings
from aloft.synthesis.pairs import generate_pairs
from aloft.terminal.progress import shown_progress


def measure_quality(
    name: str, options: argparse.Namespace, config: RunConfig, out: Path
) -> dict[str, Any]:
    """What becomes of the replies of one set."""
    sizes = cut_set(options.data / name, out, options.passages, None)
    with shown_progress() as progress, open_run(out / "run", config, progress=progress) as run:
        run.give(out / "corpus")
        run.do("filters")
        written = [to_dict(pair) for pair in run.records("pairs")]
    stages = {row.stage: row for row in read_funnel(out / "run")}
    lost, dropped = stages["pairs"].dropped, stages["filters"].dropped
    unusable = sum(lost.get(reason, 0) for reason in UNUSABLE)
    asked = len(written) + sum(lost.values())
    return {
        "documents": sizes["documents"],
        "asked": asked,
        "unusable": unusable,
        "unusable_share": round(unusable / asked, 5),
        "second_tries": sum(pair["tries"] > 1 for pair in written),
        "passed": stages["filters"].kept,
        "passed_share": round(stages["filters"].kept / asked, 4),
        "dropped": {**lost, **dropped},
        "examples": written[:5],
    }


UNUSABLE = ("reply was cut", "unreadable reply", "repeats an example")


def to_dict(pair: QAPair) -> dict[str, Any]:
    """What a person wants to see of a pair."""
    return {name: getattr(pair, name) for name in ("question", "answer", "kind", "tries")}


WARMING = Passage(document_id="warming", text="The port has eleven berths. " * 9, start=0)


def load(name: str) -> LanguageModel:
    """Aloft's teacher, with nothing read yet."""
    return Models().language_model(name)


class PlainGenerate:
    """`generate` of transformers, called with one prompt after the other, as LlamaIndex does.

    Same weights, number format and token ids as Aloft's teacher; nothing is batched or kept.
    """

    def __init__(self, name: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from aloft.backends.device import best_device, has_bf16
        from aloft.backends.encoding import load_tokenizer

        folder = Path(resolve_model(plain_name(name)))
        self.fingerprint = name
        self._torch = torch
        self._tokenizer = load_tokenizer(folder)
        dtype = torch.bfloat16 if has_bf16(best_device()) else torch.float32
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(best_device())

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt by a call of its own."""
        return [self._reply(prompt, max_new_tokens, stop) for prompt in prompts]

    def _reply(self, prompt: Prompt, max_new_tokens: int, stop: Sequence[str]) -> Reply:
        from aloft.backends.encoding import encode_prompt

        ids = encode_prompt(self._tokenizer, prompt)
        inputs = self._torch.tensor([ids], device=self._model.device)
        output = self._model.generate(
            inputs,
            attention_mask=self._torch.ones_like(inputs),
            max_new_tokens=max_new_tokens,
            do_sample=prompt.seed is not None,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=self._tokenizer.eos_token_id,
            **({"stop_strings": list(stop), "tokenizer": self._tokenizer} if stop else {}),
        )
        written = output[0, len(ids) :].tolist()
        text = self._tokenizer.decode(written, skip_special_tokens=True)
        ends = [place for place in (text.find(string) for string in stop) if place >= 0]
        has_ended = bool(ends) or self._tokenizer.eos_token_id in written
        return Reply(
            text=text[: min(ends)] if ends else text,
            is_finished=has_ended or len(written) < max_new_tokens,
        )


def measure_speed(
    name: str, options: argparse.Namespace, config: RunConfig, _out: Path
) -> dict[str, Any]:
    """Seconds of each way to rate and to write, on the same passages."""
    rows = read_lines(options.data / name / "corpus.jsonl.gz")[: options.passages]
    passages = [
        Passage(document_id=str(row["id"]), text=row["text"], title=row["title"], start=0)
        for row in rows
    ]
    generate = config.ratings.model_copy(update={"method": "generate"})
    expect = config.ratings.model_copy(update={"method": "expect"})

    def write(teacher: LanguageModel) -> list[Any]:
        return list(generate_pairs(passages, teacher, config.pairs, seed=config.seed))

    def rate(teacher: LanguageModel, how: RatingsConfig, *, first: bool = False) -> list[Any]:
        return list(ratings.rate_passages(passages, teacher, how, passage_first=first))

    first = config.pairs.form == "instruct"
    ways: dict[str, tuple[Any, Callable[[Any], list[Any]]]] = {
        "pairs, one call at a time": (PlainGenerate, write),
        "pairs, in batches": (load, write),
        "ratings, generated one call at a time": (PlainGenerate, lambda m: rate(m, generate)),
        "ratings, generated in batches": (load, lambda m: rate(m, generate)),
        "ratings, read off": (load, lambda m: rate(m, expect)),
        "ratings read off, then pairs": (
            load,
            lambda m: [*rate(m, expect, first=first), *write(m)],
        ),
    }
    seconds: dict[str, float] = {}
    outcomes: dict[str, list[Any]] = {}
    for way, (open_model, work) in ways.items():
        model = open_model(config.teacher)  # anew, so that nothing is known from the way before
        list(generate_pairs([WARMING], model, config.pairs, seed=9))
        started = time.monotonic()
        outcomes[way] = work(model)
        seconds[way] = round(time.monotonic() - started, 2)
        print(f"  {way:<40} {seconds[way]:8.1f} s", file=sys.stderr)
    return {"passages": len(passages), **compare(outcomes, seconds)}


def compare(outcomes: dict[str, list[Any]], seconds: dict[str, float]) -> dict[str, Any]:
    """Pairs an hour and ratios, with a check that all ways wrote the same things."""
    one, many = outcomes["pairs, one call at a time"], outcomes["pairs, in batches"]
    pairs = {way: sum(isinstance(o, QAPair) for o in outcomes[way]) for way in outcomes}
    hourly = {
        way: round(3600 * pairs[way] / seconds[way])
        for way in outcomes
        if pairs[way] and seconds[way]
    }
    extra = seconds["ratings read off, then pairs"] - seconds["pairs, in batches"]
    generated = seconds["ratings, generated in batches"]
    return {
        "seconds": seconds,
        "pairs": pairs,
        "pairs_an_hour": hourly,
        "same_pairs": sum((Counter(map(key, one)) & Counter(map(key, many))).values()),
        "faster": {
            "pairs in batches against one call at a time": ratio(
                seconds["pairs, one call at a time"], seconds["pairs, in batches"]
            ),
            "rating read off against generated, both in batches": ratio(
                generated, seconds["ratings, read off"]
            ),
            "rating read off against generated one call at a time": ratio(
                seconds["ratings, generated one call at a time"], seconds["ratings, read off"]
            ),
            "rating on the way to pairs against generated in batches": ratio(generated, extra),
        },
        "rating_on_the_way_seconds": round(extra, 2),
    }


def key(outcome: Any) -> tuple[str, ...]:
    """What makes two outcomes the same."""
    return tuple(getattr(outcome, name, "") for name in ("passage_id", "question", "answer"))


def ratio(slow: float, fast: float) -> float | None:
    """How many times as fast; None where the second took no time that can be told."""
    return round(slow / fast, 2) if fast > 0 else None


def measure_worth(
    name: str, options: argparse.Namespace, config: RunConfig, out: Path
) -> dict[str, Any]:
    """Parts trained on the paper's pairs and on ours, on human questions."""
    sizes = cut_set(options.data / name, out, options.passages, None)
    return {**sizes, **measure_downstream(out, config, options.config)}


def measure_filters(
    name: str, options: argparse.Namespace, config: RunConfig, out: Path
) -> dict[str, Any]:
    """The embedder with and without each filter, on human questions."""
    sizes = cut_set(options.data / name, out, options.passages, None)
    return {**sizes, **measure_ablation(out, config)}


MEASURES: dict[str, Callable[[str, argparse.Namespace, RunConfig, Path], dict[str, Any]]] = {
    "quality": measure_quality,
    "speed": measure_speed,
    "downstream": measure_worth,
    "ablation": measure_filters,
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", required=True, help="names below --data, with commas")
    parser.add_argument("--teacher")
    parser.add_argument("--embedder")
    parser.add_argument("--parts", default="embedder,generator", help="trained by downstream")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--config", type=Path, help="TOML file laid over the preset")
    parser.add_argument("--passages", type=int, help="the first so many documents of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the run folders here; run again to go on")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all sets; returns the exit status."""
    options = parse(argv)
    chosen = {k: getattr(options, k) for k in ("teacher", "embedder") if getattr(options, k)}
    chosen |= {"parts": tuple(options.parts.split(","))}
    results = []
    try:
        config = load_config(options.preset, options.config, {**chosen, "seed": options.seed})
        with tempfile.TemporaryDirectory() as temporary:
            for name in options.sets.split(","):
                print(name, file=sys.stderr)
                out = (options.out or Path(temporary)) / name
                results.append({"set": name, **MEASURES[options.what](name, options, config, out)})
                print(json.dumps(results[-1], indent=2, ensure_ascii=False), file=sys.stderr)
    except AloftError as error:
        print(f"synthesis: {error}", file=sys.stderr)
        return 2
    tell("synthesis.py", argv, options.json, config=config.model_dump(mode="json"), sets=results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
