"""A local language model, with a tuned adapter or without, as a LangChain chat model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from aloft.backends.shared import SharedModels
from aloft.models import LanguageModel, Prompt, Reply, stream_reply
from aloft.stack import read_contract
from langchain_aloft.convert import to_messages


class ChatAloft(BaseChatModel):
    """Replies greedily with a local model under its own chat template; threads may share it.

    Control tokens in what it is given are read as text.

    Attributes:
        model: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        adapter: Folder of a LoRA adapter.
        max_tokens: Longest reply.
        temperature: 0, because replies are greedy.
        stop: A reply ends before any of these, where a call names no others.
        models: Where it is loaded from; pass one to several components to share weights.
    """

    model: str
    adapter: str | None = None
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=0.0)
    stop: list[str] | None = None
    models: SharedModels = Field(default_factory=SharedModels, exclude=True, repr=False)

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The generator that a run ships, with its adapter where that one gained.

        Raises:
            DataError: the folder holds no finished run.
        """
        contract = read_contract(Path(run_folder) / "models")
        shipped = {
            "model": contract.generator,
            "adapter": contract.adapter,
            "max_tokens": contract.max_new_tokens,
        }
        return cls(**{**shipped, **fields})

    @property
    def _llm_type(self) -> str:
        return "aloft"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "adapter": self.adapter, "max_tokens": self.max_tokens}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "aloft"
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = Prompt(messages=to_messages(messages))
        (reply,) = self._model.complete([prompt], **self._limits(stop, kwargs))
        message = AIMessage(
            content=reply.text,
            usage_metadata=_usage_of(reply),
            response_metadata=self._facts_of(reply),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        prompt = Prompt(messages=to_messages(messages))
        for piece in stream_reply(self._model, prompt, **self._limits(stop, kwargs)):
            message = AIMessageChunk(content=piece.text)
            if not piece.is_piece:
                message = AIMessageChunk(
                    content=piece.text,
                    usage_metadata=_usage_of(piece),
                    response_metadata=self._facts_of(piece),
                    chunk_position="last",
                )
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    @property
    def _model(self) -> LanguageModel:
        return self.models.language_model(self.model, Path(self.adapter) if self.adapter else None)

    def _limits(self, stop: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "max_new_tokens": options.get("max_tokens") or self.max_tokens,
            "stop": stop or self.stop or (),
        }

    def _facts_of(self, reply: Reply) -> dict[str, Any]:
        return {
            "model_name": self.model,
            "finish_reason": "stop" if reply.is_finished else "length",
        }


def _usage_of(reply: Reply) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=reply.prompt_tokens,
        output_tokens=reply.new_tokens,
        total_tokens=reply.prompt_tokens + reply.new_tokens,
    )
