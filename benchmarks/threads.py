"""What several threads of one process come to: first use, and trainings side by side.

    python benchmarks/threads.py --starts 20 --trainings 10

A start is a new process in which eight threads use components that have loaded nothing yet, each
with models of its own; it fails if a thread raises, or if any later use gives something else. A
training is two engines in two threads, of which each must give the weights that it gives alone.
Models are tiny and drawn at random: what is counted are failures, not time.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from uplift import tell

from aloft.testing import tiny_encoder, tiny_language_model
from llama_index_aloft.finetuning import (
    CrossEncoderFinetuneEngine,
    CrossEncoderFinetuningDatasetSample,
    EmbeddingQAFinetuneDataset,
    SentenceTransformersFinetuneEngine,
)

TEXTS = [f"Machine {i} is oiled every {i + 2} days." for i in range(12)]
START = """
import sys
from concurrent.futures import ThreadPoolExecutor
from langchain_aloft import AloftEmbeddings, AloftReranker, ChatAloft
from llama_index_aloft import AloftEmbedding, AloftLLM
encoder, writer = (f"{sys.argv[1]}/{name}" for name in ("encoder", "writer"))
pair = [("a", "b")]
uses = [
    lambda: AloftEmbeddings(encoder).embed_query("a"),
    lambda: ChatAloft(model=writer, max_tokens=3).invoke("a").content,
    lambda: AloftEmbedding(encoder).get_query_embedding("a"),
    lambda: AloftLLM(writer, max_tokens=3).complete("a").text,
    lambda: AloftReranker(model=encoder).score(pair),
    lambda: AloftLLM(writer, max_tokens=3).complete("a").text,
    lambda: AloftEmbeddings(encoder).embed_query("a"),
    lambda: AloftReranker(model=encoder).score(pair),
]
with ThreadPoolExecutor(8) as threads:
    first = list(threads.map(lambda use: use(), uses))
assert first == [use() for use in uses], "later uses give something else"
"""


def fails_to_start(models: Path) -> bool:
    """Whether a thread of a new process fails."""
    command = [sys.executable, "-c", START, str(models)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.splitlines()[-1])
    return bool(done.returncode)


def embedder_of(models: Path) -> str:
    """The weights of a trained embedder."""
    named = {str(i): text for i, text in enumerate(TEXTS)}
    data = EmbeddingQAFinetuneDataset(
        queries={key: text.replace("is oiled", "?") for key, text in named.items()},
        corpus=named,
        relevant_docs={key: [key] for key in named},
    )
    out = models / "embedder"
    SentenceTransformersFinetuneEngine(
        data, str(models / "encoder"), str(out), batch_size=3, show_progress_bar=False
    ).finetune()
    return taken(out)


def reranker_of(models: Path) -> str:
    """The weights of a trained cross-encoder, with a new head."""
    samples = [
        CrossEncoderFinetuningDatasetSample(text, other, float(text == other))
        for text in TEXTS
        for other in TEXTS[:3]
    ]
    out = models / "reranker"
    CrossEncoderFinetuneEngine(
        samples, str(models / "encoder"), str(out), batch_size=4, show_progress_bar=False
    ).finetune()
    return taken(out)


def taken(folder: Path) -> str:
    """The digest of a model's weights; the model is deleted."""
    found = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    rmtree(folder)
    return found


def main(argv: list[str] | None = None) -> None:
    """Try, count and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--trainings", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        models = Path(folder)
        tiny_encoder(models / "encoder")
        tiny_language_model(models / "writer")
        failed = sum(fails_to_start(models) for _ in range(options.starts))
        print(f"starts of 8 threads       {options.starts:>4}, failed {failed}", flush=True)
        trainings = (embedder_of, reranker_of)
        alone = [train(models) for train in trainings]
        others = 0
        for _ in range(options.trainings):
            with ThreadPoolExecutor(2) as threads:
                together = list(threads.map(lambda train: train(models), trainings))
            others += together != alone
        print(f"trainings side by side    {options.trainings:>4}, other weights {others}")
    counts = {"starts": options.starts, "failed": failed, "trainings": options.trainings}
    tell("threads.py", argv, options.json, **counts, other_weights=others)


if __name__ == "__main__":
    main()
