"""What a Ray cluster costs on pure computing, and what a second node gains where work waits.

    python benchmarks/executors.py

Overhead: passages are cut, embedded with the packaged MiniLM, and searched for negatives, in this
process and by one worker of a cluster, both with their models loaded. CPU seconds are those of all
processes, Ray's own among them: they hold on a machine that does other work too. Nodes: a server
that takes --wait seconds a call writes the pairs of --passages passages, asked by one node and by
two, each of which has 16 requests in flight. Kills (--kills): a run of tiny models up to the
trained parts, on two nodes, of which a random worker, or one node with all its processes, is killed
(-9) at random times; runs follow each other until there were so many kills. Records and weights
must be the same everywhere.

A real corpus (--data FOLDER --set covidqa_en, as for `uplift.py`; nothing else is measured): the
whole job for embedder and reranker, --written passages written about by the packaged teacher, here
and by one worker: records, weights and figures must be the same.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from servers import documents, settings, start_server
from uplift import cut_set

from aloft.backends.loading import Models
from aloft.config import Part, RunConfig, load_config
from aloft.errors import ClusterError
from aloft.evaluation.report import to_json
from aloft.jsonl import RecordFile
from aloft.records import Artifact
from aloft.run.context import Shared
from aloft.run.executors.local import Executor, LocalExecutor
from aloft.run.executors.ray_executor import RayExecutor
from aloft.run.job import open_run
from aloft.run.runner import Runner
from aloft.run.stage import Setup
from aloft.run.store import RunStore
from aloft.terminal.progress import shown_progress
from aloft.testing import ScriptedTeacher, tiny_encoder, tiny_language_model

PARTS: tuple[Part, ...] = ("embedder", "reranker", "generator")
NODES_KILLED = 0.25  # share of kills that end a whole node


def ask(prompt: Any) -> str:
    """A question about the longest words that are shown."""
    text = prompt.messages[-1].content.split("Text: ")[-1]
    words = sorted(set(text.split()), key=lambda word: (-len(word), word))
    return f" What is meant by {' and '.join(words[1:4])}?\nAnswer: {words[0]}"


def computing() -> RunConfig:
    """A run whose teacher costs nothing."""
    return load_config(
        "cpu",
        overrides={
            "teacher": "given",
            "generator": "embedded:smollm2-135m-instruct",
            "passages": {"max_tokens": 120},
            "ratings": {"method": "none"},
            "pairs": {"form": "examples", "per_passage": 1},
        },
    )


def cpu_seconds() -> float:
    """Of this process and all that it has started."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def opened(out: Path, config: RunConfig, models: Models, executor: Executor) -> Iterator[Runner]:
    """A run of some documents, with the models that it needs loaded."""
    with RunStore(out) as store:
        shared = Shared(store, models, calling=executor.call)
        shared.encode(config.embedder, "queries", ["Who is there?"])
        runner = Runner(Setup(config), shared, executor)
        yield runner
        shared.cache.close()


def compute(executor: Executor, count: int) -> tuple[float, float, str]:
    """Seconds and CPU seconds of all stages up to negatives, and a digest of these."""
    config = computing()
    with (
        TemporaryDirectory() as folder,
        opened(Path(folder), config, Models(ScriptedTeacher(ask)), executor) as runner,
    ):
        runner.take_in("documents", documents()[:count])
        started, used = time.monotonic(), cpu_seconds()
        runner.do("negatives")
        spent = time.monotonic() - started, cpu_seconds() - used
        return *spent, digest_of(Path(folder) / "negatives.jsonl")


def wait(executor: Executor, url: str, passages: int) -> tuple[float, str]:
    """Seconds in which a slow server writes pairs, and a digest of these."""
    config = settings([url], passages)
    with (
        TemporaryDirectory() as folder,
        opened(Path(folder), config, Models(), executor) as runner,
    ):
        runner.take_in("documents", documents())
        runner.do("ratings")
        started = time.monotonic()
        runner.do("drafts")
        return time.monotonic() - started, digest_of(Path(folder) / "work/stages/drafts.jsonl")


def digest_of(file: Path) -> str:
    """Names a file's content."""
    return sha256(file.read_bytes()).hexdigest()[:16]


def measure_overhead(count: int) -> None:
    """The same computing in this process and by a worker."""
    here = compute(LocalExecutor(), count)
    with RayExecutor() as executor:
        there = compute(executor, count)
    for name, (seconds, cpu, _) in {"here": here, "one Ray worker": there}.items():
        print(f"{name}: {seconds:.1f} s, {cpu:.1f} CPU s")
    print(f"overhead: {there[1] / here[1] - 1:+.0%} CPU s; {same(here[2], there[2])}")


def measure_nodes(passages: int, seconds_of_a_call: float) -> None:
    """The same waiting on one node and on two."""
    from ray.cluster_utils import Cluster

    taken: list[float] = []
    digests: list[str] = []
    for count in (1, 2):
        with ExitStack() as stack:
            url = start_server(stack, seconds_of_a_call, 64)
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
            stack.callback(cluster.shutdown)
            for _ in range(count - 1):
                cluster.add_node(num_cpus=1)
            executor = stack.enter_context(RayExecutor(cluster.address))
            seconds, digest = wait(executor, url, passages)
        taken.append(seconds)
        digests.append(digest)
        print(f"{count} nodes: {seconds:.1f} s, {taken[0] / seconds:.2f} times")
    print(same(*digests))


def training(models: Path) -> RunConfig:
    """A run that trains all parts of tiny models."""
    epochs = {"num_train_epochs": 4.0, "per_device_train_batch_size": 4}
    return load_config(
        "cpu",
        overrides={
            "teacher": "given",
            "generator": str(tiny_language_model(models / "generator")),
            "embedder": str(tiny_encoder(models / "embedder")),
            "parts": PARTS,
            "passages": {"max_tokens": 60},
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 48},
            "negatives": {"count": 4, "depth": 10},
            "training_sets": {"contexts": 2},
            "embedder_training": epochs,
            "reranker_training": epochs,
            "generator_training": {**epochs, "r": 2, "max_length": 4096},
        },
    )


def train(out: Path, config: RunConfig, executor: Executor) -> str:
    """Work a run out up to its trained parts; a digest of its records and weights."""
    with opened(out, config, Models(ScriptedTeacher(ask)), executor) as runner:
        runner.take_in("documents", documents()[:6])
        runner.do(*PARTS)
    weights = [RecordFile(out / f"{part}.jsonl", Artifact)[0].fingerprint for part in PARTS]
    return " ".join([*map(digest_of, sorted(out.glob("*s.jsonl"))), *weights])


def whole_job(
    folder: Path, config: RunConfig, source: Path, executor: Executor
) -> tuple[float, float, dict[str, str]]:
    """Seconds and CPU seconds of a set's run, and digests of its records, weights and figures."""
    cut_set(source, folder, None, 300)
    started, used = time.monotonic(), cpu_seconds()
    out = folder / "run"
    with shown_progress() as progress, open_run(out, config, None, progress, executor) as run:
        run.give(folder / "corpus", folder / "questions.jsonl")
        figures = to_json(run.report())
        spent = time.monotonic() - started, cpu_seconds() - used
    digests = {
        str(file.relative_to(out)): digest_of(file)
        for file in sorted([*out.glob("*s.jsonl"), *out.glob("sets/*.jsonl")])
    }
    for part in ("embedder", "reranker"):
        digests[part] = RecordFile(out / f"{part}.jsonl", Artifact)[0].fingerprint
    for name in ("comparisons", "verdicts", "shipped"):
        digests[name] = sha256(json.dumps(figures[name]).encode()).hexdigest()[:16]
    return *spent, digests


def measure_set(source: Path, written: int) -> None:
    """A real corpus in this process and by one worker."""
    pairs = {"form": "examples", "max_passages": written}
    config = load_config("cpu", overrides={"seed": 1, "parts": PARTS[:2], "pairs": pairs})
    with TemporaryDirectory() as folder:
        here = whole_job(Path(folder) / "here", config, source, LocalExecutor())
        with RayExecutor() as executor:
            there = whole_job(Path(folder) / "there", config, source, executor)
    for name, (seconds, cpu, _) in {"here": here, "one Ray worker": there}.items():
        print(f"{name}: {seconds:.0f} s, {cpu:.0f} CPU s")
    for name in sorted({*here[2], *there[2]}):
        is_same = here[2].get(name) == there[2].get(name)
        print(f"{name}: {'the same' if is_same else 'DIFFERENT'}")
    print(f"overhead: {there[1] / here[1] - 1:+.0%} CPU s")


class Victims:
    """What can be killed of a cluster: the workers, and of two nodes the one without the run.

    Args:
        cluster: Of the other node.
        seed: Of who is killed.

    Attributes:
        killed: What was, in order.
    """

    def __init__(self, cluster: Any, seed: int) -> None:
        self._cluster = cluster
        self._node = cluster.add_node(num_cpus=1)
        self._random = Random(seed)
        self.killed: list[str] = []

    def kill(self) -> None:
        """Kill one (-9); for a node another one is started."""
        workers = [one for one in psutil.Process().children(recursive=True) if _is_worker(one)]
        if self._random.random() < NODES_KILLED:
            self._cluster.remove_node(self._node, allow_graceful=False)
            self._node = self._cluster.add_node(num_cpus=1)
            self.killed.append("node")
        elif workers:
            self._random.choice(workers).kill()
            self.killed.append("worker")


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "ray::RayWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def measure_kills(count: int, pause: float, seed: int) -> None:
    """Runs of which something is killed at random times, against one that is left alone."""
    from ray.cluster_utils import Cluster

    times = Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        config = training(folder)
        alone = train(folder / "alone", config, LocalExecutor())
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        stack.callback(cluster.shutdown)
        victims = Victims(cluster, seed)
        executor = stack.enter_context(RayExecutor(cluster.address))
        thread = stack.enter_context(ThreadPoolExecutor(1))
        started, runs, resumed = time.monotonic(), 0, 0
        while len(victims.killed) < count:
            runs += 1
            found = ""
            while not found:
                run = thread.submit(train, folder / f"run-{runs}", config, executor)
                while not wait_for([run], timeout=times.expovariate(1 / pause)).done:
                    if len(victims.killed) < count:
                        victims.kill()
                try:
                    found = run.result()
                except ClusterError as error:
                    resumed += 1
                    print(f"run {runs} is resumed by the same command: {error}", flush=True)
            done = ", ".join(f"{n} {what}s" for what, n in Counter(victims.killed).items())
            print(f"run {runs}: {same(alone, found)}; killed so far: {done}", flush=True)
        seconds = time.monotonic() - started
    print(f"{count} kills, {runs} runs, {resumed} resumed by the same command, {seconds:.0f} s")


def same(one: str, other: str) -> str:
    """Whether records are."""
    return "the same records" if one == other else "DIFFERENT RECORDS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20, help="that are computed with; 0: none")
    parser.add_argument("--passages", type=int, default=256, help="that a server writes about")
    parser.add_argument("--wait", type=float, default=0.2)
    parser.add_argument("--kills", type=int, default=0, help="in all; nothing else is measured")
    parser.add_argument("--pause", type=float, default=15.0, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="a folder with a folder per set")
    parser.add_argument("--set", help="name below --data; nothing else is measured")
    parser.add_argument("--written", type=int, default=100, help="passages that pairs are about")
    options = parser.parse_args()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own name
    if options.set:
        measure_set(options.data / options.set, options.written)
        return
    if options.kills:
        measure_kills(options.kills, options.pause, options.seed)
        return
    if options.documents:
        measure_overhead(options.documents)
    measure_nodes(options.passages, options.wait)


if __name__ == "__main__":
    main()
