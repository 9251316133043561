"""What a Ray cluster costs on pure computing, and what a second node gains where work waits.

    python benchmarks/executors.py

Overhead: passages are cut, embedded with the packaged MiniLM, and searched for negatives, in this
process and by one worker of a cluster, both with their models loaded. CPU seconds are those of all
processes, Ray's own among them: they hold on a machine that does other work too. Nodes: a server
that takes --wait seconds a call writes the pairs of --passages passages, asked by one node and by
two, each of which has 16 requests in flight. Records must be the same everywhere.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from servers import documents, settings, start_server

from aloft.backends.loading import Models
from aloft.config import RunConfig, load_config
from aloft.run.context import Shared
from aloft.run.executors.local import Executor, LocalExecutor
from aloft.run.executors.ray_executor import RayExecutor
from aloft.run.runner import Runner
from aloft.run.stage import Setup
from aloft.run.store import RunStore
from aloft.testing import ScriptedTeacher


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


def same(one: str, other: str) -> str:
    """Whether records are."""
    return "the same records" if one == other else "DIFFERENT RECORDS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20, help="that are computed with; 0: none")
    parser.add_argument("--passages", type=int, default=256, help="that a server writes about")
    parser.add_argument("--wait", type=float, default=0.2)
    options = parser.parse_args()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own name
    if options.documents:
        measure_overhead(options.documents)
    measure_nodes(options.passages, options.wait)


if __name__ == "__main__":
    main()
