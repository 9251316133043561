"""A run without trainings that kills itself at a point; driven by test_killed_anywhere.py.

A point is whatever Python does to a file: opens, renames or deletes it. Arguments: run folder,
encoder, log of what the teacher replied, and the number of the point to die at; 0: to finish.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

from aloft.backends.loading import Models
from aloft.config import load_config
from aloft.protocols import Embedder, Prompt, Reply
from aloft.records import Document
from aloft.run.context import Shared
from aloft.run.runner import Runner
from aloft.run.stage import Setup
from aloft.run.stages import drafts, marks
from aloft.run.store import RunStore
from aloft.testing import HashingEmbedder

POINTS = ("os.rename", "os.remove", "shutil.rmtree", "open")
NAMES = ("assert", "pass", "del", "return", "raise", "break", "global", "lambda", "yield", "power")


class LoggingTeacher:
    """Asks about a passage's longest words, and logs each reply that is about to be kept."""

    fingerprint = "logging-teacher"

    def __init__(self, log: Path) -> None:
        self._log = log

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        texts = []
        for prompt in prompts:
            text = prompt.messages[-1].content.split("Text: ")[-1]
            words = sorted(set(text.split()), key=lambda w: (-len(w), w))
            texts.append(f" What is meant by {' and '.join(words[1:4])}?\nAnswer: {words[0]}")
        return [Reply(text=text, is_finished=True, prompt_tokens=9, new_tokens=5) for text in texts]


class Scripted(Models):
    """The teacher, and an embedder without weights."""

    def embedder(self, name: str) -> Embedder:
        return HashingEmbedder()


def die_at(point: int, out: Path) -> None:
    """Kill this process when it comes to the numbered point below the run folder."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in POINTS and str(arguments[0]).startswith(str(out)):
            if event == "open" and arguments[1] in (None, "r", "rb"):
                return
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main() -> None:
    out, encoder, log, point = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    config = load_config(
        overrides={
            "teacher": "given",
            "embedder": encoder,
            "passages": {"max_tokens": 60},
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 60},
            "negatives": {"count": 9, "depth": 30},
        }
    )
    documents = [Document(id=f"{name}.txt", text=topics[name]) for name in NAMES]
    if point:
        die_at(point, out)
    with RunStore(out) as store:
        shared = Shared(store, Scripted(LoggingTeacher(log)))
        runner = Runner(Setup(config), shared)
        count_kept(shared, log)
        runner.take_in("documents", documents)
        runner.do("sets", "questions")
        shared.cache.close()


def count_kept(shared: Shared, log: Path) -> None:
    """Log each result once it is in the cache: nothing that is there is asked for again."""
    add = shared.cache.add

    def logged(entries: dict[str, tuple[object, object]]) -> None:
        add(entries)
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"{key}\n" for key in entries)

    shared.cache.add = logged  # type: ignore[method-assign,assignment]


marks.AT_ONCE = 8  # several partitions of a small corpus
drafts.AT_ONCE = 8

if __name__ == "__main__":
    main()
