"""Every example, run as its reader would run it: from an empty folder, with real models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aloft.config import RunConfig

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("0*.py"))
SAYS = {  # what its last lines must hold, whatever the figures
    "01_first_run": "embedder: ",
    "02_llama_index": "embedder: ",
    "03_langchain": "embedder: ",
    "04_llama_index_citations": "What does the assert statement do?",
    "05_llama_index_migration": " dimensions",
    "06_qdrant_without_reembedding": "of while: while: ",
    "07_own_teacher": "your model was asked ",
    "08_vllm_server": "10 of 10 answers cite a passage",
    "09_app_before_and_after": "all: hit@5 ",
}


def test_examples_are_short_and_all_known() -> None:
    assert [example.stem for example in EXAMPLES] == list(SAYS)
    assert [int(stem[:2]) for stem in SAYS] == list(range(1, len(SAYS) + 1))
    assert all(len(example.read_text().splitlines()) < 80 for example in EXAMPLES)


@pytest.mark.example
@pytest.mark.timeout(900)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs(example: Path, embedded_models: RunConfig, tmp_path: Path) -> None:
    if "vllm" in example.stem and not os.environ.get("ALOFT_VLLM_PYTHON"):
        pytest.skip("ALOFT_VLLM_PYTHON names no Python that has vLLM: make test-examples")
    ran = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert SAYS[example.stem] in ran.stdout
