"""Questions written by a language model of your own: any LlamaIndex LLM or LangChain chat model.

python examples/07_own_teacher.py
"""

from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from aloft import load_config
from aloft.backends.embedded import fetch_model
from langchain_aloft import AloftFinetuner, ChatAloft

TOPICS = ("assert", "break", "del", "global", "lambda", "pass", "raise", "return", "yield", "with")
OUT = Path("runs") / "own-teacher"
TEACHER = "embedded:smollm2-135m-instruct"
SETTINGS = {
    "parts": ("embedder",),
    "pairs": {"max_passages": 20},
    "evaluation": {"max_answer_questions": 4, "max_stack_questions": 4},
}


class CountingChat(BaseChatModel):
    """Stands for the chat model of your app: it passes each call on, and counts it."""

    inner: ChatAloft
    calls: int = 0

    @property
    def _llm_type(self) -> str:
        return "counting"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.calls += 1
        return self.inner._generate(messages, stop, run_manager, **kwargs)

    def _stream(self, *given: Any, **more: Any) -> Iterator[ChatGenerationChunk]:
        return self.inner._stream(*given, **more)


def main() -> None:
    config = load_config("cpu", overrides=SETTINGS)
    for name in (config.embedder, TEACHER):
        fetch_model(name)
    mine = CountingChat(inner=ChatAloft(model=TEACHER, max_tokens=64))

    documents = [Document(topics[name], metadata={"source": name}) for name in TOPICS]
    finetuner = AloftFinetuner.from_documents(documents, OUT, config=config, llm=mine)
    finetuner.finetune()
    print(f"your model was asked {mine.calls} times")
    for stage in finetuner.report["funnel"]:
        if stage["stage"] in ("pairs", "filters"):
            print(f"{stage['stage']}: {stage['kept']} kept, dropped {stage['dropped']}")
    for verdict in finetuner.verdicts:
        print(f"{verdict['part']}: {'kept' if verdict['is_kept'] else 'refused'}")


if __name__ == "__main__":
    main()
