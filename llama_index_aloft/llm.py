"""A local language model, with a tuned adapter or without, as a LlamaIndex LLM."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from pydantic.json_schema import SkipJsonSchema

from aloft.api import (
    LanguageModel,
    Message,
    Prompt,
    Reply,
    SharedModels,
    generator_fields,
    in_threads,
    replace_surrogates,
    reply_limits,
    stream_reply,
)
from aloft.config import FolderName, ModelName
from llama_index_aloft.convert import to_messages
from llama_index_aloft.identity import Identified


class AloftLLM(Identified, CustomLLM):
    """Replies greedily with a local model and its own chat template; thread-safe.

    Control tokens in messages are read as text.

    Args:
        model: An `embedded:` name, a folder, a Hugging Face id that is on this machine, `vllm:` and
            one of these, or `openai:URL#MODEL` for a model that a server has loaded.
        adapter: Folder of a LoRA adapter.
        max_tokens: Maximum length of a reply, in tokens.
        models: Loads the model; pass one object to several components to share weights.
    """

    model_config = ConfigDict(extra="forbid")

    model: ModelName
    adapter: FolderName | None = None
    max_tokens: int = Field(default=256, ge=1)
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    def __init__(self, model: str, **fields: Any) -> None:
        super().__init__(**{"model": model, **fields})

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The generator that a run ships, with its adapter if tuning it gained.

        Args:
            run_folder: A finished run.
            **fields: The other arguments; `model` names another server of the same generator.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(**generator_fields(Path(run_folder), fields))

    @classmethod
    def class_name(cls) -> str:
        """The class name in LlamaIndex's serialized form."""
        return "AloftLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The limits by which LlamaIndex sizes its prompts."""
        return LLMMetadata(
            context_window=self.models.context_window(self.model),
            num_output=self.max_tokens,
            is_chat_model=True,
            model_name=self.model,
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """Reply to a conversation."""
        return _as_chat(self._reply(Prompt(messages=to_messages(messages)), options))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponseGen:
        """Reply to a conversation in pieces, as it is generated."""
        pieces = self._stream(Prompt(messages=to_messages(messages)), options)
        return (_as_chat(said, delta) for said, delta in pieces)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """Reply to a conversation."""
        prompt = Prompt(messages=to_messages(messages))
        return _as_chat(await asyncio.to_thread(self._reply, prompt, options))

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **options: Any
    ) -> ChatResponseAsyncGen:
        """Reply to a conversation in pieces, as it is generated."""
        pieces = in_threads(self._stream(Prompt(messages=to_messages(messages)), options))
        return (_as_chat(said, delta) async for said, delta in pieces)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponse:
        """Reply to a text as to a user's message; a `formatted` text is continued as it stands."""
        return _as_completion(self._reply(_prompt_of(prompt, formatted), options))

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponseGen:
        """Reply to a text in pieces, as it is generated."""
        pieces = self._stream(_prompt_of(prompt, formatted), options)
        return (_as_completion(said, delta) for said, delta in pieces)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponse:
        """Reply to a text as to a user's message; a `formatted` text is continued as it stands."""
        return _as_completion(
            await asyncio.to_thread(self._reply, _prompt_of(prompt, formatted), options)
        )

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponseAsyncGen:
        """Reply to a text in pieces, as it is generated."""
        pieces = in_threads(self._stream(_prompt_of(prompt, formatted), options))
        return (_as_completion(said, delta) async for said, delta in pieces)

    def _reply(self, prompt: Prompt, options: dict[str, Any]) -> Reply:
        limits = reply_limits(options, max_tokens=self.max_tokens)
        (reply,) = self.loaded.complete([prompt], **limits)
        return reply

    def _stream(self, prompt: Prompt, options: dict[str, Any]) -> Iterator[tuple[Reply, str]]:
        """Yield the reply so far, and the text that is new in it."""
        limits = reply_limits(options, max_tokens=self.max_tokens)
        text = ""
        for piece in stream_reply(self.loaded, prompt, **limits):
            text += piece.text
            yield replace(piece, text=text), piece.text

    def _fingerprint(self) -> str:
        return self.loaded.fingerprint

    @property
    def loaded(self) -> LanguageModel:
        """The model; its weights are loaded on the first call."""
        return self.models.language_model(self.model, Path(self.adapter) if self.adapter else None)


def _prompt_of(text: str, is_plain: bool) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content=replace_surrogates(text)),), is_plain=is_plain
    )


def _as_completion(reply: Reply, delta: str | None = None) -> CompletionResponse:
    return CompletionResponse(text=reply.text, delta=delta, additional_kwargs=_facts_of(reply))


def _as_chat(reply: Reply, delta: str | None = None) -> ChatResponse:
    message = ChatMessage(role=MessageRole.ASSISTANT, content=reply.text)
    return ChatResponse(message=message, delta=delta, additional_kwargs=_facts_of(reply))


def _facts_of(reply: Reply) -> dict[str, Any]:
    if reply.is_piece:
        return {}
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.new_tokens,
        "total_tokens": reply.prompt_tokens + reply.new_tokens,
        "finish_reason": "stop" if reply.is_finished else "length",
    }
