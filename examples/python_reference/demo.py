"""The whole job on a real corpus that every CPython carries: its language reference.

Run by `make demo`. It fetches the two small embedded models (once), writes the reference's topics
as text files, and starts the same job as

    aloft run DOCS --out RUN --config aloft.toml --questions questions.jsonl

The human questions were written by hand for this corpus; a question whose sentence another Python
version words differently is left out and counted.
"""

import json
import re
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics  # type: ignore[import-not-found]

from aloft.backends.packaged import fetch_model
from aloft.cli import main
from aloft.config import load_config
from aloft.terminal.progress import shown_progress

HERE = Path(__file__).parent
OUT = Path("runs") / "python-reference"
EXPECTED_MINUTES = 12  # measured: docs/results/demo.md; half of it on a processor with AMX


def paragraphs(text: str) -> list[str]:
    """Paragraphs long enough to tell copies by, white space aside."""
    flat = (re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in flat if len(part) >= 80]


def choose_topics() -> dict[str, str]:
    """Topics that do not repeat smaller ones: the reference holds many texts twice."""
    seen: set[str] = set()
    chosen: dict[str, str] = {}
    for name in sorted(topics, key=lambda name: (len(topics[name]), name)):
        parts = paragraphs(topics[name])
        repeated = sum(len(part) for part in parts if part in seen)
        if repeated < 0.1 * (sum(map(len, parts)) or 1):
            chosen[name] = topics[name]
            seen.update(parts)
    return chosen


def write_corpus(folder: Path) -> int:
    """One text file a topic; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = choose_topics()
    for name, text in chosen.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return len(chosen)


def write_questions(file: Path, corpus: Path) -> tuple[int, int]:
    """Questions whose sentence stands in this Python's reference; returns kept and left out."""
    lines = (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    kept = []
    for line in lines:
        asked = json.loads(line)
        path = corpus / asked["document_id"]
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if asked["passage"] in re.sub(r"\s+", " ", text):
            kept.append(line)
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return len(kept), len(lines) - len(kept)


def run_demo() -> int:
    """Fetch, write, run; returns the exit status."""
    started = time.monotonic()
    corpus, questions = OUT / "corpus", OUT / "questions.jsonl"
    count = write_corpus(corpus)
    kept, left_out = write_questions(questions, corpus)
    print(f"Corpus: {count} topics of the Python {sys.version.split()[0]} language reference.")
    print(f"Questions written by hand: {kept} ({left_out} do not fit this Python version).")
    print(f"This takes about {EXPECTED_MINUTES} minutes on 2 processor cores. You may stop it:")
    print("the same command resumes it.", flush=True)
    settings = load_config("cpu", HERE / "aloft.toml")
    for name in dict.fromkeys((settings.embedder, settings.teacher)):
        with shown_progress() as progress:
            fetch_model(name, progress)
    options = ["--config", str(HERE / "aloft.toml"), "--questions", str(questions)]
    status = main(["run", str(corpus), "--out", str(OUT / "run"), *options])
    print(f"Minutes: {(time.monotonic() - started) / 60:.1f}")
    if status == 0:
        print(f'Ask it: .venv/bin/aloft ask {OUT / "run"} "What does a bare raise do?"')
    return status


if __name__ == "__main__":
    raise SystemExit(run_demo())
