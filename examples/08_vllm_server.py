"""The generator that a run ships, served by vLLM and asked by LangChain and LlamaIndex.

    ALOFT_VLLM_PYTHON=.venv-vllm/bin/python python examples/08_vllm_server.py

`make test-vllm` makes that environment. Any OpenAI-compatible server may take vLLM's place.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pydoc_data.topics import topics

import httpx
from llama_index.core.schema import Document

from aloft import load_config, read_bundle
from aloft.backends.packaged import fetch_model, resolve_model
from langchain_aloft import ChatAloft, create_citation_chain
from llama_index_aloft import AloftCitationQueryEngine, AloftFinetuneEngine

TOPICS = ("assert", "break", "del", "global", "lambda", "pass", "raise", "return", "while", "yield")
OUT, SERVER = Path("runs") / "vllm-server", "http://127.0.0.1:8765"
SETTINGS = {
    "parts": ("generator",),
    "pairs": {"max_passages": 12},
    "training_sets": {"contexts": 2, "max_generator_rows": 8},
    "evaluation": {"max_answer_questions": 4, "max_stack_questions": 4},
}


@contextmanager
def serving(generator: str, adapter: str | None) -> Iterator[str]:
    """vLLM with the generator, and its adapter where that gained; gives the served name."""
    command = [os.environ["ALOFT_VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", resolve_model(generator), "--served-model-name", "base"]
    command += ["--host", "127.0.0.1", "--port", SERVER.rpartition(":")[2], "--enforce-eager"]
    if adapter:
        command += ["--enable-lora", "--max-lora-rank", "32", "--lora-modules", f"aloft={adapter}"]
    own = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}  # gigabytes
    server = subprocess.Popen(command, env={**os.environ, **own}, stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None:  # a minute, on a processor
            time.sleep(0.5)
            with suppress(httpx.HTTPError):
                httpx.get(f"{SERVER}/health", trust_env=False).raise_for_status()
                break
        yield "aloft" if adapter else "base"
    finally:
        server.terminate()
        server.wait(60)


async def main() -> None:
    if "ALOFT_VLLM_PYTHON" not in os.environ:
        sys.exit("ALOFT_VLLM_PYTHON names no Python that has vLLM: see the top of this file.")
    config = load_config("cpu", overrides=SETTINGS)
    fetch_model(config.embedder), fetch_model(config.teacher)
    documents = [Document(id_=name, text=topics[name]) for name in TOPICS]
    AloftFinetuneEngine(documents, OUT, config=config).finetune()
    ships = read_bundle(OUT / "models")
    with serving(ships.generator, ships.adapter) as name:
        served = f"openai:{SERVER}/v1#{name}"
        chain = create_citation_chain(OUT, generator=served)
        async for piece in chain.astream("What does the break statement end?"):
            print(piece.get("answer", ""), end="", flush=True)
        asked = [f"What does the {topic} statement do?" for topic in TOPICS]
        cited = sum(bool(one["citations"]) for one in await chain.abatch(asked))  # all at once
        print(f"\n{cited} of {len(asked)} answers cite a passage")
        print(AloftCitationQueryEngine.from_run(OUT, generator=served).query(asked[0]))
        print((await ChatAloft.from_run(OUT, model=served).ainvoke("Name a loop.")).usage_metadata)


if __name__ == "__main__":
    asyncio.run(main())
