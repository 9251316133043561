"""One run on tiny models that is killed where it is told to; driven by test_resume.py, test_ray.py.

Arguments: corpus, run folder, encoder, language model, log of what the teacher was asked, the
stages to die in, with commas ("never" to finish), the executor, and who dies: "self", or the
"workers" that an executor has.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from aloft.config import check_config
from aloft.protocols import Floats, Prompt, Reply
from aloft.run.executors.opening import open_executor
from aloft.run.stages import drafts, marks
from aloft.run.whole import Aloft

marks.AT_ONCE = drafts.AT_ONCE = 5  # several batches of a small corpus


class LoggingTeacher:
    """Asks about a passage's longest words, and writes down what it was shown."""

    fingerprint = "logging-teacher"

    def __init__(self, log: Path) -> None:
        self._log = log

    def _note(self, prompts: Sequence[Prompt]) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.writelines(f"{prompt.messages[-1].content!r}\n" for prompt in prompts)

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        self._note(prompts)
        texts = []
        for prompt in prompts:
            texts_shown, task = prompt.messages[-1].content.split("### Task")
            passage, _, further = texts_shown.partition("### Second text")
            words = sorted(set(passage.split()), key=lambda w: (-len(w), w))
            asked = words[1:4] if "why" in task else words[4:7]
            asked += sorted(further.split(), key=len)[-2:]
            texts.append(f" What is meant by {' and '.join(asked)}?\nAnswer: {words[0]}")
        return [
            Reply(text=text, is_finished=True, prompt_tokens=50, new_tokens=len(text.split()))
            for text in texts
        ]

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        self._note(prompts)
        rows = [1 + np.arange(len(choices)) * (len(p.messages[-1].content) % 7) for p in prompts]
        table = np.array(rows, np.float32)
        return table / table.sum(1, keepdims=True)

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        self._note(prompts)
        shared = [
            sum(word in prompt.messages[-1].content for word in reply.split()) / len(reply)
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
        return np.array(shared, np.float32)


def settings(encoder: str, language_model: str) -> dict[str, object]:
    """Everything small."""
    steps = {"num_train_epochs": 1.0, "per_device_train_batch_size": 4}
    return {
        "teacher": language_model,
        "embedder": encoder,
        "seed": 3,
        "passages": {"max_tokens": 60},
        "ratings": {"method": "expect", "drop_share": 0.1},
        "pairs": {
            "form": "instruct",
            "kinds": {"fact": 1, "why": 1},
            "multi_hop": 1.0,
            "per_passage": 2,
            "max_passages": 24,
            "max_new_tokens": 32,
        },
        "filters": {"use": ["support", "duplicate", "needs_all", "dependency"], "gain": 0.001},
        "negatives": {"count": 4, "depth": 20},
        "training_sets": {"contexts": 3, "held_out_share": 0.25},
        "embedder_training": {**steps, "max_seq_length": 64},
        "reranker_training": {**steps, "per_device_train_batch_size": 8, "max_seq_length": 64},
        "generator_training": {**steps, "r": 4, "max_length": 4096},
        "evaluation": {
            "rerank_depth": 5,
            "max_answer_questions": 6,
            "max_stack_questions": 4,
            "max_new_tokens": 8,
            "resamples": 200,
        },
    }


def kill_workers() -> None:
    """Kill the processes that work for this one in a Ray cluster of its own."""
    for process in psutil.Process().children(recursive=True):
        if process.name().startswith("ray::RayWorker"):
            process.kill()


def main() -> None:
    corpus, out, encoder, language_model, log, deadly, executor, victim = sys.argv[1:]
    left = set(deadly.split(","))

    def die(stage: str, done: int, total: int) -> None:
        if stage in left and done * 2 >= total:
            if victim == "self":
                os.kill(os.getpid(), signal.SIGKILL)
            left.remove(stage)
            kill_workers()

    config = check_config(settings(encoder, language_model))
    with open_executor(executor) as where:
        job = Aloft(config, teacher=LoggingTeacher(Path(log)), executor=where)
        job.run(Path(corpus), Path(out), progress=die)


if __name__ == "__main__":
    main()
