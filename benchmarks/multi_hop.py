"""What the filter "needs_all" keeps: multi-hop questions of people, and pairs that are composed.

    python benchmarks/multi_hop.py human --data FOLDER --sets hotpotqa_en --questions 20
    python benchmarks/multi_hop.py composed --data FOLDER --sets hotpotqa_en,tydiqa_en \\
        --config benchmarks/multi_hop.toml --seed 1

`human` reads questions that need two documents with both, with each, and with a neighbour by BM25
in the place of the one that does not hold the answer: such a pair should not pass. `composed` runs
the job as far as the filters and counts what is composed and what of that they keep. Both tell the
gains of the answer alone as well, by the model --reader. Other options are those of uplift.py, and
FOLDER is as there. The last line on standard output is one JSON object.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from uplift import OneSet, cut_set, open_set, read_lines, sets_of, tell
from uplift import parse as parse_uplift

from aloft.backends.loading import Models
from aloft.config import FiltersConfig
from aloft.prompts import answering
from aloft.protocols import Floats, Reader
from aloft.randomness import rng_for
from aloft.retrieval.bm25 import BM25Index
from aloft.synthesis.composition import KIND

Asked = tuple[str, ...]  # question, answer, the answer's passage, the other one


def gains(asked: Sequence[Asked], read: Reader) -> tuple[Floats, Floats]:
    """The least gain from a passage, of question and answer together and of the answer alone."""
    prompts, replies = [], []
    for question, answer, first, second in asked:
        for shown in ((first, second), (second,), (first,)):
            prompts += [answering.render_pair(shown), answering.render(question, shown)]
            replies += [answering.reply_of_pair(question, answer), answering.reply_of(answer)]
    read_off = read(prompts, replies).reshape(len(asked), 3, 2)
    least = read_off[:, 0] - read_off[:, 1:].max(axis=1)
    return least[:, 0], least[:, 1]


def figures(asked: Sequence[Asked], read: Reader) -> dict[str, Any]:
    """How many pairs gain enough."""
    config = FiltersConfig()
    pair, answer = gains(asked, read) if asked else (np.zeros(0), np.zeros(0))
    return {
        "pairs": len(asked),
        "pass": int((pair >= config.multi_hop_gain).sum()),
        "pass_by_answer": int((answer >= config.gain).sum()),
        "gains": [round(float(one), 3) for one in pair],
    }


def measure_human(source: Path, questions: int, seed: int, read: Reader) -> dict[str, Any]:
    """Human questions with their own documents, and with a neighbour."""
    rows = read_lines(source / "corpus.jsonl.gz")
    texts = {str(row["id"]): f"{row['title']}\n{row['text'][:600]}" for row in rows}
    ids, index = list(texts), BM25Index(texts.values())
    asked = [row for row in read_lines(source / "qa.jsonl.gz") if len(row.get("doc_ids", ())) == 2]
    found: dict[str, Any] = {}
    for kind in sorted({row.get("hop_type", "") for row in asked}):
        same = [row for row in asked if row.get("hop_type", "") == kind]
        drawn = rng_for(seed, kind).sample(same, min(questions, len(same)))
        own: list[Asked] = []
        neighbours: list[Asked] = []
        for row in drawn:
            first = str(row["doc_id"])
            (second,) = (str(i) for i in row["doc_ids"] if str(i) != first)
            near = (ids[c] for c in index.rank([texts[first]], 3).columns[0].tolist())
            other = next(i for i in near if i not in (first, second))
            words = (row["question"], row["answers"][0], texts[first])
            own.append((*words, texts[second]))
            neighbours.append((*words, texts[other]))
        found[kind or "all"] = {"own": figures(own, read), "neighbour": figures(neighbours, read)}
    return found


def measure_composed(one: OneSet, options: argparse.Namespace, read: Reader) -> dict[str, Any]:
    """What is composed of a set, and what the filters keep of it."""
    cut_set(one.source, one.folder, options.limit_documents, options.limit_questions)
    with open_set(one.folder, one.config, one.replies, blind=True) as run:
        run.do("filters")
        pairs, kept = run.records("pairs"), {pair.id for pair in run.records("filtered")}
        composed = [pair for pair in pairs if pair.kind == KIND]
        passages = run.records("passages").by_id
        asked = [
            (pair.question, pair.answer, *(passages[i].content for i in pair.passage_ids))
            for pair in composed
        ]
        return {
            "single_hop": len(pairs) - len(composed),
            **figures(asked, read),
            "kept": sum(pair.id in kept for pair in composed),
            "questions": [[pair.question, pair.answer, pair.id in kept] for pair in composed],
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement on each set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], add_help=False)
    parser.add_argument("measurement", choices=["human", "composed"])
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--reader", default="embedded:smollm2-135m-instruct")
    own, rest = parser.parse_known_args(argv)
    options = parse_uplift(rest, __doc__)
    read = Models().language_model(own.reader).score_replies
    found: dict[str, Any] = {}
    unusable: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for one in sets_of(options, options.out or Path(temporary), unusable):
            found[one.name] = (
                measure_human(one.source, own.questions, options.seed, read)
                if own.measurement == "human"
                else measure_composed(one, options, read)
            )
            print(json.dumps({one.name: found[one.name]}), file=sys.stderr)
    tell("multi_hop.py", argv, options.json, sets=found, unusable=unusable)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
