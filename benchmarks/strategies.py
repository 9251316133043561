"""The strategies of training a RAG system on corpora with human questions: EM, F1, recall, minutes.

    python benchmarks/strategies.py --data FOLDER --sets pira_en,hotpotqa_en --passages 300 \\
        --config benchmarks/strategies.toml --seed 1

All documents of a set are searched; about some of their passages the teacher is asked. Teacher and
generator are SmolLM2-135M-Instruct unless others are named. `--rows` is the budget: so many
questions at most train the generator, and the embedder where no passage is told. FOLDER is as in
uplift.py. The last line on standard output is one JSON object.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uplift import cut_set, tell

from aloft.config import RunConfig, load_config
from aloft.config.strategies import STRATEGIES
from aloft.errors import AloftError
from aloft.run.comparison import compare_strategies, render_comparison
from aloft.terminal.progress import shown_progress

SMALL = "embedded:smollm2-135m-instruct"


def configure(options: argparse.Namespace) -> RunConfig:
    """The preset with the file and the budget over it."""
    return load_config(
        "cpu",
        options.config,
        {
            "teacher": options.teacher,
            "generator": options.generator,
            "seed": options.seed,
            "pairs": {"max_passages": options.passages, "form": options.form},
            "training_sets": {"max_generator_rows": options.rows},
            "evaluation": {"max_answer_questions": options.questions, "min_human_questions": 1},
        },
    )


def compare_on(name: str, out: Path, config: RunConfig, options: argparse.Namespace) -> Any:
    """All strategies on one set."""
    source = options.data / name
    if not (source / "corpus.jsonl.gz").exists():
        raise AloftError(f"{source} holds no corpus.jsonl.gz. Check --data and --sets.")
    sizes = cut_set(source, out, None, None)
    with shown_progress() as progress:
        compared = compare_strategies(
            out / "corpus",
            out / "compared",
            config,
            [strategy for strategy in STRATEGIES if strategy in options.strategies.split(",")],
            out / "questions.jsonl",
            progress,
        )
    print(f"{name}: {render_comparison(compared)}", file=sys.stderr)
    return {"set": name, **sizes, "compared": compared}


def main(argv: Sequence[str] | None = None) -> int:
    """Compare on all sets; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="pira_en,hotpotqa_en", help="names below --data")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--passages", type=int, default=300, help="that are asked about")
    parser.add_argument(
        "--form",
        choices=("examples", "instruct"),
        default="examples",
        help="of pairs: short answers, which the smallest teachers need, or whole sentences",
    )
    parser.add_argument("--questions", type=int, default=300, help="that generators answer")
    parser.add_argument("--rows", type=int, default=150)
    parser.add_argument("--teacher", default=SMALL)
    parser.add_argument("--generator", default=SMALL)
    parser.add_argument("--config", type=Path, help="TOML file laid over the preset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the run folders here; run again to go on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    try:
        config = configure(options)
        with tempfile.TemporaryDirectory() as temporary:
            out = options.out or Path(temporary)
            results = [compare_on(n, out / n, config, options) for n in options.sets.split(",")]
    except AloftError as error:
        print(f"strategies: {error}", file=sys.stderr)
        return 2
    tell("strategies.py", argv, options.json, sets=results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
