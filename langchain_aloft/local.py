"""The fields and call options that LangChain's chat model and LLM over a local model share."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Self

from langchain_core.exceptions import ContextOverflowError
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic.json_schema import SkipJsonSchema

from aloft.api import (
    CallOptions,
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
    read_call_options,
    read_text,
)
from aloft.api import (
    PromptTooLongError as TooLongError,
)
from aloft.config import FolderName, ModelName, read_path


class PromptTooLongError(TooLongError, ContextOverflowError):
    """A prompt exceeds the model's context window; nothing of it was read."""


@contextmanager
def overflow_as_langchain_knows_it() -> Iterator[None]:
    """Raise LangChain's error, for which an application may have a fallback.

    Raises:
        PromptTooLongError: the prompt exceeds the context window.
    """
    try:
        yield
    except TooLongError as error:
        raise PromptTooLongError(str(error)) from None


AT_ONCE = 64  # calls of a batch that wait together, if no max_concurrency is set
_PLACES = frozenset({"model", "adapter", "models"})  # fields that say where the weights are
_OF_SERVERS = frozenset({"api_key", "timeout", "max_retries"})


class LocalModel(BaseModel):
    """A local language model, tuned or not.

    Calls take the options `max_tokens`, `stop`, `temperature`, `top_p` and `seed`, and for the form
    of the reply `json_schema` (or `response_format`) or `regex`.

    Attributes:
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

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

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

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        check_server_settings(self.model, self._server)  # here, where pydantic does not wrap it

    @field_validator("temperature", mode="before")
    @classmethod
    def _be_greedy_by_default(cls, given: Any) -> Any:
        return 0.0 if given is None else given

    @field_validator("stop", mode="before")
    @classmethod
    def _list_one_string(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The generator that a run ships, with its adapter if tuning it gained.

        Args:
            run_folder: A finished run.
            **fields: The other fields; `model` names another server of the same generator.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(**generator_fields(read_path("run_folder", run_folder), fields))

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Environment variables that LangChain's `loads` fills secrets from."""
        return {"api_key": "ALOFT_API_KEY"}

    @property
    def _server(self) -> ServerSettings:
        return ServerSettings.of(self.api_key, self.timeout, self.max_retries)

    @property
    def _asked_models(self) -> SharedModels:
        return self.models.asking(self._server)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, for counting."""
        return self._asked_models.tokenizer(self.model)

    @property
    def loaded(self) -> SharedLanguageModel:
        """The model; its weights are loaded on the first call."""
        adapter = Path(self.adapter) if self.adapter else None
        return self._asked_models.language_model(self.model, adapter)

    @property
    def fingerprint(self) -> str:
        """Identifies weights, adapter, tokenizer and chat template, by content.

        Raises:
            ModelError: the model is not on this machine, or a server whose model is not named does
                not respond.
        """
        return self.loaded.fingerprint

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain's `dumps` writes it: its fields, from which `loads` makes another."""
        return True

    @property
    def _llm_type(self) -> str:
        return "aloft"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """All that decides a reply to a prompt; LangChain's caches are keyed by it.

        Where the model lies is left out: a folder may be moved, and be trained again in place.
        """
        known = LocalModel.model_fields.keys() - _PLACES - _OF_SERVERS
        settings = {name: getattr(self, name) for name in known}
        settings["default_stop"] = settings.pop("stop")  # LangChain writes a call's over "stop"
        return {"model": _title_of(self.model), "fingerprint": self.fingerprint, **settings}

    async def agenerate(self, *given: Any, **options: Any) -> LLMResult:
        """Reply to all that is given, as the host does, once the model is known."""
        await self._look_up()
        host: Any = super()
        result: LLMResult = await host.agenerate(*given, **options)
        return result

    async def astream(self, *given: Any, **options: Any) -> AsyncIterator[Any]:
        """Reply in pieces, as the host does, once the model is known."""
        await self._look_up()
        host: Any = super()
        async with aclosing(host.astream(*given, **options)) as pieces:
            async for piece in pieces:
                yield piece

    async def _look_up(self) -> None:
        """Read the model's files in a thread: the host identifies it on its event loop."""
        await asyncio.to_thread(getattr, self, "fingerprint")

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text alone, by the model's own tokenizer.

        Raises:
            ModelError: the model is not on this machine, or its server does not count tokens.
        """
        custom = getattr(self, "custom_get_token_ids", None)
        return list(custom(text)) if custom else self.tokenizer.encode(read_text(text, "A prompt"))

    def options(self, stop: list[str] | str | None, given: dict[str, Any]) -> CallOptions:
        """The options of a call, or else the fields.

        Raises:
            ConfigError: an option is unknown or out of range.
        """
        asked = {name: value for name, value in given.items() if name != "stream"}
        names = ("max_tokens", "temperature", "top_p", "seed", "stop")
        defaults = {name: getattr(self, name) for name in names}
        return read_call_options({**asked, "stop": stop}, defaults)

    def prompt(self, messages: Sequence[Message], options: CallOptions) -> Prompt:
        """A conversation with what a call asks of its reply."""
        return Prompt(messages=tuple(messages), **options.prompt)

    def read(self, reply: Reply) -> Reply:
        """Return a reply to a prompt that was read.

        Raises:
            PromptTooLongError: the prompt exceeds the context window.
        """
        if not reply.is_unread:
            return reply
        with overflow_as_langchain_knows_it():
            return check_read(reply, self.model, self._asked_models.context_window(self.model))

    def facts_of(self, reply: Reply) -> dict[str, Any]:
        """The metadata of a complete reply."""
        return {"model_name": self.model, "finish_reason": reply.finish_reason}


def at_once(
    config: RunnableConfig | list[RunnableConfig] | None, count: int
) -> list[RunnableConfig]:
    """The configuration of each call of a batch, so that up to `max_concurrency` wait together."""
    return [
        {**one, "max_concurrency": one.get("max_concurrency") or AT_ONCE}
        for one in get_config_list(config, count)
    ]


def keyed_by_content(given: dict[str, Any]) -> dict[str, Any]:
    """The options of a call as a cache tells them apart: a class by its schema, not by its name."""
    makers = {name: getattr(value, "model_json_schema", None) for name, value in given.items()}
    return {name: maker() if callable(maker) else given[name] for name, maker in makers.items()}


def _title_of(model: str) -> str:
    """The name of a model, or of its folder without the way there."""
    return Path(model).name if Path(model).is_absolute() else model


def user_message(text: str) -> tuple[Message, ...]:
    """A text as a user's message.

    Raises:
        DataError: it is no text.
    """
    return (Message(role="user", content=read_text(text, "A prompt")),)
