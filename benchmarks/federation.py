"""Sites that train together, each site alone, and all documents in one place.

    python benchmarks/federation.py --data FOLDER --set covidqa_en --sites 3 --rounds 3 \\
        --config benchmarks/federation.toml --replies benchmarks/replies --epsilon 50,1000 \\
        --seed 1 --out RUNS --json federation.json
    python benchmarks/federation.py --part generator --data FOLDER --set covidqa_en --sites 3 \\
        --rounds 2 --config benchmarks/federation_generator.toml --replies benchmarks/replies \\
        --seed 1

FOLDER holds the set as for `uplift.py`. Its articles (passages of one title) are dealt to the
sites; of several sets, with commas, each is a site. A site has its own passages, the questions that
people asked about them, and a run folder. The teacher's replies are the kept ones; of a single set,
passages that neither a person nor the teacher asked about are left out, so that it runs on one
core. Each site trains alone, and by rounds of the real server and sites, whose messages are passed
on in this process in place of a network. "Pooled" is trained on the rows of all sites. All are
measured on the human questions of each site over its own passages: an embedder in dense search and
in the hybrid beside BM25, a generator by its answers from what the untuned hybrid finds. What a
site ships is crossed: for each question it is chosen on questions about other documents. Articles
of one title are resampled together. The last line on standard output is one JSON object.
"""

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import uplift

from aloft.api import (
    FederatedSite,
    SharedWeights,
    State,
    initial_weights,
    read_weights,
    write_weights,
)
from aloft.config import FederationConfig, RunConfig, load_config
from aloft.evaluation.answer_metrics import CITED_ANSWER
from aloft.evaluation.bootstrap import Comparison, compare
from aloft.evaluation.federated import choose_candidate
from aloft.evaluation.systems import System
from aloft.randomness import rng_for
from aloft.run.context import Context, Inputs
from aloft.run.job import OpenRun, open_run
from aloft.run.stages.evaluate import build_evaluator
from aloft.run.stages.federated import Candidates
from aloft.terminal.progress import shown_progress
from aloft.training.federated import local_update, save_blend, save_shared
from aloft_flower.rounds import read_rounds, run_rounds
from aloft_flower.testing import LocalGrid

METRIC = "ndcg@10"
ANSWERS = (CITED_ANSWER, "answer f1", "citation accuracy")
CANDIDATES = ("local", "blend", "global")


class OneRound:
    """A site whose whole training is its answer to the only round, with its own privacy.

    One round of a federation is a training by itself, so that it is trained once for all budgets.
    """

    def __init__(self, answer: tuple[State, int], config: FederationConfig, file: Path) -> None:
        self.config, self.budget_file = config, file
        self._answer = answer

    def fault(self, order: Mapping[str, Any]) -> str:
        return ""

    def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
        return self._answer

    def take(self, facts: Mapping[str, Any], weights: State) -> None: ...


Rows = tuple[list[Any], list[Any]]


def sites_of(out: Path, options: argparse.Namespace, config: RunConfig) -> list[tuple[Rows, Path]]:
    """The passages and questions of each site, and what its teacher wrote."""
    names = options.set.split(",")
    replies = {name: options.replies / f"{name}.jsonl.gz" for name in names}
    if len(names) == 1:
        dealt = deal_articles(options.data / names[0], out, options, config)
        return [(rows, replies[names[0]]) for rows in dealt]
    return [(whole_set(options.data / name), replies[name]) for name in names]


def whole_set(source: Path) -> Rows:
    """All passages and questions of a set."""
    corpus, asked = (uplift.read_lines(source / f"{name}.jsonl.gz") for name in ("corpus", "qa"))
    return corpus, asked


def deal_articles(
    source: Path, out: Path, options: argparse.Namespace, config: RunConfig
) -> list[Rows]:
    """The passages and questions of each site: whole articles, dealt at random."""
    corpus = uplift.read_lines(source / "corpus.jsonl.gz")
    titles = sorted({row["title"] for row in corpus})
    rng_for(options.seed, "sites").shuffle(titles)
    site_of = {
        title: place % options.sites for place, title in enumerate(titles[: options.articles])
    }
    asked = uplift.read_lines(source / "qa.jsonl.gz")
    known = {str(row["doc_id"]) for row in asked}
    kept = out / "written-about.json"
    if not kept.exists():
        about = written_about(corpus, options.replies / f"{options.set}.jsonl.gz", config)
        uplift.write_lines(kept, [{"ids": sorted(about)}])
    known |= set(json.loads(kept.read_text(encoding="utf-8"))["ids"])
    place_of = {
        str(row["id"]): site_of[row["title"]]
        for row in corpus
        if row["title"] in site_of and str(row["id"]) in known
    }
    return [
        (
            [row for row in corpus if place_of.get(str(row["id"])) == site],
            [row for row in asked if place_of.get(str(row["doc_id"])) == site],
        )
        for site in range(options.sites)
    ]


def written_about(corpus: Sequence[Any], replies: Path, config: RunConfig) -> set[str]:
    """Ids of the documents that the teacher's kept replies are about."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with open_replied(folder, config, (list(corpus), []), replies) as run:
            about = {pair.passage_id for pair in run.records("pairs")}
            documents = {p.id: p.document_id for p in run.records("passages")}
        return {documents[passage] for passage in about}


@contextmanager
def open_replied(folder: Path, config: RunConfig, rows: Rows, replies: Path) -> Iterator[OpenRun]:
    """A run whose teacher's replies are there already."""
    uplift.write_lines(folder / "corpus" / "corpus.jsonl", rows[0])
    uplift.write_lines(folder / "questions.jsonl", rows[1])
    kept = uplift.read_lines(replies)
    teacher = uplift.KeptReplies(kept[0]["fingerprint"], 10**9)  # most passages have none
    with shown_progress() as progress, open_run(folder / "run", config, teacher, progress) as run:
        run.give(folder / "corpus", folder / "questions.jsonl" if rows[1] else None)
        run.shared.cache.add({row["key"]: (row["value"], None) for row in kept[1:]})
        yield run


def federate(
    part: Any, folder: Path, first: Any, sites: Mapping[str, Any], config: FederationConfig
) -> Any:
    """Rounds of the real server over the real sites; returns the weights and what was counted."""
    file = folder / f"{part}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    if len(read_rounds(folder)) != config.rounds:  # not there already
        write_weights(file, first)
        (folder / "rounds.jsonl").unlink(missing_ok=True)
        run_rounds(LocalGrid(sites), folder, part, config, is_last=True)
    return read_weights(file).tensors, read_rounds(folder)


def train_once(file: Path, first: Any, site: Any, order: Mapping[str, Any]) -> tuple[State, int]:
    """A site's whole training from the common start; the number of its rows."""
    if not file.exists():
        trained, count = site.update(order, first.tensors)
        write_weights(file, SharedWeights(base=str(count), tensors=trained))
    known = read_weights(file)
    return known.tensors, int(known.base)


def measure(
    part: Any, run: OpenRun, folders: Mapping[str, Path]
) -> tuple[dict[str, dict[str, Any]], list[int], dict[str, Any]]:
    """Values of each way on a site's human questions, which these are, and what the site chooses.

    Of embedders nDCG@10 by itself ("dense") and beside BM25 ("hybrid"); of generators `ANSWERS`.
    """
    stage = run.runner.graph.stages[f"federated_{part}"]
    run.do("held_out", "questions")
    context = Context(stage, run.shared, key="benchmark")
    inputs = Inputs(stage, run.runner.graph, run.runner.store)
    evaluator = build_evaluator(context, inputs, Candidates(context, inputs, folders))
    names = ("base", *folders)
    found: dict[str, dict[str, Any]]
    if part == "embedder":
        rows = list(range(len(evaluator.questions["human"])))
        found = {
            kind: {
                name: evaluator.measure_system("human", System(kind, name, "none")).values[METRIC]
                for name in names
            }
            for kind in ("dense", "hybrid")
        }
    else:
        most = evaluator.config.max_stack_questions
        rows = evaluator.chosen("human", most)
        system = System("hybrid", "base", "none")
        ranking = evaluator.rank("human", system)
        answers = {
            n: evaluator.measure_end_to_end("human", system, ranking, n, most) for n in names
        }
        found = {one: {n: answers[n].values[one] for n in names} for one in ANSWERS}
    for values in found.values():
        deciding = found.get(CITED_ANSWER, values)
        values["ships"] = crossed(evaluator, rows, values, deciding)
    return found, rows, asdict(choose_candidate(evaluator, part, list(CANDIDATES)))


def crossed(
    evaluator: Any, rows: Sequence[int], values: Mapping[str, Any], deciding: Mapping[str, Any]
) -> Any:
    """What a site ships: for each question the candidate that is best on the other folds."""
    chosen = values["local"].copy()
    for fold in evaluator.splits["human"].folds:
        choosing, reported = np.isin(rows, fold.choosing), np.isin(rows, fold.reported)
        best = max(CANDIDATES, key=lambda name: np.nanmean(deciding[name][choosing]))
        chosen[reported] = values[best][reported]
    return chosen


def as_row(found: Comparison) -> dict[str, Any]:
    """A comparison for the JSON object."""
    names = ("before", "after", "gain", "low", "high", "n", "clusters")
    return {name: getattr(found, name) for name in names}


def over_alone(
    values: Sequence[Mapping[str, Any]], clusters: Sequence[str], name: str, before: str, seed: int
) -> Comparison:
    """One way against another over the questions of all sites; articles are resampled whole."""
    one, other = (np.concatenate([site[which] for site in values]) for which in (before, name))
    defined = np.isfinite(one) & np.isfinite(other)
    known = [cluster for cluster, is_known in zip(clusters, defined, strict=True) if is_known]
    return compare(METRIC, one[defined], other[defined], known, seed=seed)


def run(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train and measure everything."""
    chosen = {"seed": options.seed}
    config = load_config(options.preset, options.config, chosen)
    settings = FederationConfig(rounds=options.rounds, min_sites=1, strategy=options.strategy)
    part = options.part
    base, training = config.base_model(part), getattr(config, f"{part}_training")
    sources = sites_of(out, options, config)
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begun = cpu_seconds()
        yield
        seconds[name] = round(cpu_seconds() - begun, 1)

    with ExitStack() as stack:
        with timed("training sets"):
            runs = {
                f"site {i}": stack.enter_context(
                    open_replied(out / f"site-{i}", config, rows, replies)
                )
                for i, (rows, replies) in enumerate(sources, 1)
            }
            for one in runs.values():
                one.do("sets")
        sites = {name: FederatedSite(one) for name, one in runs.items()}
        first = initial_weights(base, training, options.seed)
        with timed("federation"):
            shared, rounds = federate(part, out / "federation", first, sites, settings)
        order = {"part": part, "rounds": 1, "server-round": 1, "base": first.base}
        with timed("each site alone"):
            alone = {
                name: train_once(one.folder / "alone.safetensors", first, sites[name], order)
                for name, one in runs.items()
            }
        with timed("pooled"):
            rows = [row for one in runs.values() for row in one.records(f"{part}_rows")]
            pooled, _ = local_update(rows, base, training, first.tensors, seed=options.seed)
        shipped = {"global": shared, "pooled": pooled}
        clipping = float(np.median([norm_of(first.tensors, one) for one, _ in alone.values()]))
        single = settings.model_copy(update={"rounds": 1})
        ways = (None, *options.epsilon) if part == "embedder" else options.epsilon
        for epsilon in ways:
            bounds = {"epsilon": epsilon, "clipping_norm": clipping} if epsilon else {}
            private = single.model_copy(update=bounds)
            name = f"one round, epsilon {epsilon:g}" if epsilon else "one round"
            folder = out / name.replace(",", "").replace(" ", "-")
            trials = {
                site: OneRound(answer, private, folder / f"{site}.json")
                for site, answer in alone.items()
            }
            shipped[name], _ = federate(part, folder, first, trials, single)
        folders = {name: out / "parts" / name for name in shipped}
        for name, weights in shipped.items():
            save_shared(base, training, weights, folders[name])
        values, measured_rows = [], []
        choices = {}
        with timed("measuring"):
            for name, one in runs.items():
                own = {which: out / "parts" / name / which for which in ("local", "blend")}
                save_shared(base, training, alone[name][0], own["local"])
                save_blend(base, training, [own["local"], folders["global"]], own["blend"])
                one.shared.models.release()
                found, rows, choices[name] = measure(part, one, {**own, **folders})
                values.append(found)
                measured_rows.append(rows)
        asked = [
            [one.records("questions")[row] for row in rows]
            for one, rows in zip(runs.values(), measured_rows, strict=True)
        ]
        titles = [{str(r["id"]): r["title"] for r in rows[0]} for rows, _ in sources]
        documents = [
            {p.id: p.document_id for p in one.records("passages")} for one in runs.values()
        ]
        clusters = [
            by_title[documents[i][question.passage_ids[0]]]
            for i, by_title in enumerate(titles)
            for question in asked[i]
        ]
        counts = {
            name: {
                "passages": len(one.records("passages")),
                "pairs": len(one.records("train_pairs")),
                "rows": len(one.records(f"{part}_rows")),
                "questions": len(rows),
            }
            for (name, one), rows in zip(runs.items(), measured_rows, strict=True)
        }
    kinds = list(values[0])
    names = [name for name in values[0][kinds[0]] if name != "local"]
    return {
        "sites": counts,
        "rounds": rounds,
        "clipping_norm": clipping,
        "cpu_seconds": seconds,
        "choices": choices,
        "means": {
            kind: [{n: float(np.nanmean(v)) for n, v in site[kind].items()} for site in values]
            for kind in kinds
        },
        "over_alone": {
            kind: {
                name: as_row(
                    over_alone([s[kind] for s in values], clusters, name, "local", options.seed)
                )
                for name in names
            }
            for kind in kinds
        },
    }


def norm_of(first: State, after: State) -> float:
    """Euclidean norm of an update."""
    return math.sqrt(sum(float(((after[n] - first[n]) ** 2).sum()) for n in first))


def cpu_seconds() -> float:
    """Of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", choices=["embedder", "generator"], default="embedder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", required=True, help="a set, or with commas one for each site")
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--articles", type=int, help="of the set, in all; left out: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategy", default="fedavg")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--replies", type=Path, required=True)
    parser.add_argument(
        "--epsilon", type=lambda text: [float(e) for e in text.split(",")], default=[]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the run folders here; run again to go on")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    options = parse(argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        found = run(options, options.out or Path(temporary))
    for kind, rows in found["over_alone"].items():
        for name, row in rows.items():
            gain = f"{100 * row['gain']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
            print(f"{kind:<7} {name:<12} {100 * row['after']:.1f}, over alone {gain}")
    seconds = round(time.monotonic() - started, 1)
    uplift.tell("federation.py", argv, options.json, seconds=seconds, **found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
