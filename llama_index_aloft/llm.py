"""A local language model, with a tuned adapter or without, as a LlamaIndex LLM."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
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
from llama_index.core.bridge.pydantic import ConfigDict, Field, field_validator
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool
from pydantic import AliasChoices, SecretStr
from pydantic.json_schema import SkipJsonSchema

from aloft.api import (
    CallOptions,
    ConfigError,
    DataError,
    Message,
    Prompt,
    Reply,
    ServerSettings,
    SharedLanguageModel,
    SharedModels,
    Tokenizer,
    check_read,
    check_server_settings,
    generator_fields,
    in_threads,
    read_call_options,
    read_text,
    stream_reply,
)
from aloft.config import FolderName, ModelName, read_path
from llama_index_aloft.identity import Identified
from llama_index_aloft.messages import (
    as_chat,
    as_completion,
    calls_of,
    to_messages,
    to_openai_tool,
)
from llama_index_aloft.structured import StructuredPredictions

_HEADERS = "extra_headers"  # of a service, which LlamaIndex' DocumentContextExtractor gives any LLM


class AloftLLM(Identified, StructuredPredictions):
    """Replies with a local model and its own chat template; thread-safe.

    Calls that are made at the same time, by threads or tasks, are answered as one batch of the
    model. Control tokens in messages are read as text. Calls take the options `max_tokens`, `stop`,
    `temperature`, `top_p` and `seed`, and for the form of the reply `json_schema` (or
    `response_format`) or `regex`. Structured predictions are held to their schema while they are
    generated. Agents can give tools to models whose chat template takes them.

    Args:
        model: An `embedded:` name, a folder, a Hugging Face id that is on this machine, `vllm:` and
            one of these, or `openai:URL#MODEL` for a model that a server has loaded.
        adapter: Folder of a LoRA adapter.
        max_tokens: Maximum length of a reply, in tokens; `max_new_tokens` is the same.
        temperature: 0: greedy replies. Above: sampled ones, from the 50 likeliest tokens.
        top_p: Share of the probability that sampled replies are drawn from; None: all of it.
        seed: Of sampled replies; None: another one for each call.
        stop: Strings that end a reply, unless a call names others.
        api_key: Of a server; None: ALOFT_API_KEY, if set. It is never written down.
        timeout: Longest wait for a server's response, in seconds; None: 600.
        max_retries: How often a request to a server is repeated; None: for about a minute.
        models: Loads the model; pass one object to several components to share weights.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    model: ModelName
    adapter: FolderName | None = None
    max_tokens: int = Field(
        default=256, ge=1, validation_alias=AliasChoices("max_tokens", "max_new_tokens")
    )
    temperature: float = Field(default=0.0, ge=0.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    seed: int | None = Field(default=None, ge=0)
    stop: list[str] | None = None
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    timeout: float | None = Field(default=None, gt=0)
    max_retries: int | None = Field(default=None, ge=0)
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    def __init__(self, model: str, **fields: Any) -> None:
        for name in ("messages_to_prompt", "completion_to_prompt"):
            if fields.get(name) is not None:
                raise ConfigError(
                    f"{name} has no effect here: prompts are written by the model's own chat "
                    "template. Leave it out."
                )
        super().__init__(**{"model": model, **fields})
        check_server_settings(self.model, self._server)  # here, where pydantic does not wrap it

    @field_validator("stop", mode="before")
    @classmethod
    def _list_one_string(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The generator that a run ships, with its adapter if tuning it gained.

        Args:
            run_folder: A finished run.
            **fields: The other arguments; `model` names another server of the same generator.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(**generator_fields(read_path("run_folder", run_folder), fields))

    @classmethod
    def class_name(cls) -> str:
        """The class name in LlamaIndex's serialized form."""
        return "AloftLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The limits by which LlamaIndex sizes its prompts, and whether agents can give tools."""
        return LLMMetadata(
            context_window=self._window,
            num_output=self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=self._tokenizer.takes_tools,
            model_name=self.model,
        )

    def to_payload(self) -> dict[str, Any]:
        """Fields for LlamaIndex' instrumentation; no model is loaded and no server is asked."""
        return {
            "class_name": self.class_name(),
            "model_name": self.model,
            "num_output": self.max_tokens,
            "temperature": self.temperature,
        }

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The model's own tokenizer, for `Settings.tokenizer` and `TokenCountingHandler`.

        It copies and pickles, and so do memories and handlers that hold it.
        """
        return partial(_encode, self._asked_models, self.model)

    def count_tokens(self, messages: Sequence[ChatMessage], tools: Sequence[BaseTool] = ()) -> int:
        """Number of tokens that the model reads of a conversation, its chat template included.

        Raises:
            ModelError: the model is not on this machine, or its server does not count tokens.
        """
        options = self._options({"tools": [to_openai_tool(tool) for tool in tools]})
        prompt = Prompt(messages=to_messages(messages), **options.prompt)
        return self._tokenizer.count(prompt)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """Reply to a conversation."""
        return as_chat(self._reply(to_messages(messages), options))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponseGen:
        """Reply to a conversation in pieces, as it is generated."""
        pieces = self._stream(to_messages(messages), options)
        return (as_chat(said, delta) for said, delta in pieces)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """Reply to a conversation."""
        return as_chat(await self._areply(to_messages(messages), options))

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **options: Any
    ) -> ChatResponseAsyncGen:
        """Reply to a conversation in pieces, as it is generated."""
        pieces = in_threads(self._stream(to_messages(messages), options))
        return (as_chat(said, delta) async for said, delta in pieces)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponse:
        """Reply to a text as to a user's message; a `formatted` text is continued as it stands."""
        return as_completion(self._reply(_user_message(prompt), options, is_plain=formatted))

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponseGen:
        """Reply to a text in pieces, as it is generated."""
        pieces = self._stream(_user_message(prompt), options, is_plain=formatted)
        return (as_completion(said, delta) for said, delta in pieces)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponse:
        """Reply to a text as to a user's message; a `formatted` text is continued as it stands."""
        return as_completion(await self._areply(_user_message(prompt), options, is_plain=formatted))

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponseAsyncGen:
        """Reply to a text in pieces, as it is generated."""
        pieces = in_threads(self._stream(_user_message(prompt), options, is_plain=formatted))
        return (as_completion(said, delta) async for said, delta in pieces)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls that a response makes.

        Raises:
            DataError: it makes none, and `error_on_no_tool_call` is set.
        """
        calls = calls_of(response.message)
        if not calls and error_on_no_tool_call:
            is_cut = response.additional_kwargs.get("finish_reason") == "length"
            advice = (
                f"It was cut: raise max_tokens (here {self.max_tokens})."
                if is_cut
                else "Pass tool_required=True, or allow a reply without calls."
            )
            raise DataError(
                f"The reply calls no tool: {str(response.message.content)[:100]!r}. {advice}"
            )
        return calls

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or [])
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        choice = kwargs.pop("tool_choice", None) or ("required" if tool_required else None)
        return {
            "messages": [*messages, *([user_msg] if user_msg else [])],
            "tools": [to_openai_tool(tool) for tool in tools],
            "tool_choice": choice,
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def _options(self, given: dict[str, Any]) -> CallOptions:
        names = ("max_tokens", "temperature", "top_p", "seed", "stop")
        asked = {name: one for name, one in given.items() if name != _HEADERS}
        return read_call_options(asked, {name: getattr(self, name) for name in names})

    def _reply(
        self, turns: Sequence[Message], given: dict[str, Any], *, is_plain: bool = False
    ) -> Reply:
        options = self._options(given)
        prompt = Prompt(messages=tuple(turns), is_plain=is_plain, **options.prompt)
        (reply,) = self.loaded.complete([prompt], **options.limits)
        return self._read(reply)

    async def _areply(
        self, turns: Sequence[Message], given: dict[str, Any], *, is_plain: bool = False
    ) -> Reply:
        options = self._options(given)
        prompt = Prompt(messages=tuple(turns), is_plain=is_plain, **options.prompt)
        (reply,) = await asyncio.wrap_future(self.loaded.submit([prompt], **options.limits))
        return self._read(reply)

    def _stream(
        self, turns: Sequence[Message], given: dict[str, Any], *, is_plain: bool = False
    ) -> Iterator[tuple[Reply, str]]:
        """Yield the reply so far, and the text that is new in it."""
        options = self._options(given)
        prompt = Prompt(messages=tuple(turns), is_plain=is_plain, **options.prompt)

        def grow() -> Iterator[tuple[Reply, str]]:
            text = ""
            for piece in stream_reply(self.loaded, prompt, **options.limits):
                text += self._read(piece).text
                yield replace(piece, text=text), piece.text

        return grow()

    def _read(self, reply: Reply) -> Reply:
        if not reply.is_unread:
            return reply
        return check_read(reply, self.model, self._window)

    def _fingerprint(self) -> str:
        return self.loaded.fingerprint

    @property
    def _server(self) -> ServerSettings:
        return ServerSettings.of(self.api_key, self.timeout, self.max_retries)

    @property
    def _asked_models(self) -> SharedModels:
        return self.models.asking(self._server)

    @property
    def _window(self) -> int:
        return self._asked_models.context_window(self.model)

    @property
    def _tokenizer(self) -> Tokenizer:
        return self._asked_models.tokenizer(self.model)

    @property
    def loaded(self) -> SharedLanguageModel:
        """The model; its weights are loaded on the first call."""
        adapter = Path(self.adapter) if self.adapter else None
        return self._asked_models.language_model(self.model, adapter)


def _encode(models: SharedModels, name: str, text: str) -> list[int]:
    return models.tokenizer(name).encode(text)


def _user_message(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=read_text(text, "A prompt")),)
