"""What a question costs at serving: late interaction behind the hybrid, and choosing the citation.

    python benchmarks/serving.py RUN --questions 50 --answers 10

RUN is a finished run folder with human questions. Each question is asked by itself, as an
application does; figures are medians in milliseconds. Late interaction is timed twice: where no
vector of a token is kept, and where those of the passages are. Answers are those of --generator to
the passages that the run ships, with and without the order of the passages in what it cites.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from uplift import tell

from aloft.backends.loading import Models
from aloft.evaluation.blending import ORDER_WEIGHT
from aloft.jsonl import RecordFile
from aloft.records import LabelledQuestion, Passage
from aloft.retrieval.index_store import IndexStore
from aloft.serving.answering import answer_streaming
from aloft.serving.bundle import Bundle, open_retriever, read_bundle


def median_of(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Milliseconds that one item takes."""
    taken = []
    for item in items:
        started = time.perf_counter()
        work(item)
        taken.append(time.perf_counter() - started)
    return round(1000 * float(np.median(taken)), 1)


def time_retrieval(run: Path, bundle: Bundle, asked: Sequence[str]) -> dict[str, float]:
    """The hybrid alone, then with late interaction."""
    passages = RecordFile(run / "passages.jsonl", Passage)
    vectors = IndexStore(run / "work")
    found = {}
    for name, one in (
        ("hybrid", replace(bundle, reranker=None)),
        ("with late interaction", replace(bundle, reranker=bundle.reranker or bundle.embedder)),
    ):
        retriever = open_retriever(one, passages, Models(), vectors)
        retriever.retrieve(["What is loaded, indexed and embedded before the first question?"])
        found[name] = median_of(lambda text, r=retriever: r.retrieve([text]), asked)
        if one.reranker:
            found["its passages read before"] = median_of(
                lambda text, r=retriever: r.retrieve([text]), asked
            )
    return found


def time_answers(
    run: Path, bundle: Bundle, asked: Sequence[str], generator: str
) -> dict[str, float]:
    """Answers that cite by themselves, and answers whose citation is chosen with the order."""
    passages = RecordFile(run / "passages.jsonl", Passage)
    retriever = open_retriever(bundle, passages, Models(), IndexStore(run / "work"))
    contexts = list(zip(asked, retriever.retrieve(list(asked)), strict=True))
    plain = replace(bundle, generator=generator, adapter=None, order_weight=None)

    def time_one(one: Bundle) -> float:
        models = Models()  # of its own: what the other way has read of the passages is kept
        list(answer_streaming(one, *contexts[0], models))  # loads the model
        return median_of(lambda item: list(answer_streaming(one, *item, models)), contexts[1:])

    return {
        "answers, by itself": time_one(plain),
        "answers, with the order": time_one(replace(plain, order_weight=ORDER_WEIGHT)),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Time all ways."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--answers", type=int, default=10)
    parser.add_argument("--generator", default="embedded:smollm2-135m-instruct")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    bundle = read_bundle(options.run)
    human = RecordFile(options.run / "human.jsonl", LabelledQuestion)
    asked = [one.question for one in human if one.passage_ids][: options.questions]
    figures = time_retrieval(options.run, bundle, asked)
    if options.answers:
        some = asked[: options.answers]
        figures |= time_answers(options.run, bundle, some, options.generator)
    for name, milliseconds in figures.items():
        print(f"{name:<28}{milliseconds:>9.1f} ms")
    tell(
        "serving.py",
        argv,
        options.json,
        milliseconds=figures,
        questions=len(asked),
        contexts=bundle.contexts,
        rerank_depth=bundle.retrieval.rerank_depth,
    )


if __name__ == "__main__":
    main()
