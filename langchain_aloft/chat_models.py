"""A local language model, with a tuned adapter or without, as a LangChain chat model."""

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from aloft.api import Prompt, Reply, stream_reply
from langchain_aloft.convert import to_messages
from langchain_aloft.local import LocalModel


class ChatAloft(LocalModel, BaseChatModel):
    """Replies greedily with a local model and its own chat template; thread-safe.

    Control tokens in messages are read as text. Fields: see `LocalModel`.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "aloft"
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key of this model's replies in a cache; what `dumps` writes would name folders."""
        params = self._get_invocation_params(stop=stop, **kwargs)
        return str(sorted(params.items()))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = Prompt(messages=to_messages(messages))
        (reply,) = self.loaded.complete([prompt], **self.limits(stop, kwargs))
        message = AIMessage(
            content=reply.text,
            usage_metadata=_usage_of(reply),
            response_metadata=self.facts_of(reply),
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
        for piece in stream_reply(self.loaded, prompt, **self.limits(stop, kwargs)):
            message = AIMessageChunk(content=piece.text)
            if not piece.is_piece:
                message = AIMessageChunk(
                    content=piece.text,
                    usage_metadata=_usage_of(piece),
                    response_metadata=self.facts_of(piece),
                    chunk_position="last",
                )
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk


def _usage_of(reply: Reply) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=reply.prompt_tokens,
        output_tokens=reply.new_tokens,
        total_tokens=reply.prompt_tokens + reply.new_tokens,
    )
