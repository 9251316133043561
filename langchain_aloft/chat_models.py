"""A local language model, with a tuned adapter or without, as a LangChain chat model."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import (
    BaseChatModel,
    LangSmithParams,
    LanguageModelInput,
    ModelProfile,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import (
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    JsonOutputToolsParser,
    PydanticToolsParser,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ContextThreadPoolExecutor
from langchain_core.tools import BaseTool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ConfigDict

from aloft.api import ConfigError, ModelError, Prompt, Reply, stream_reply
from aloft.config import SERVER
from langchain_aloft.local import AT_ONCE, LocalModel, at_once, keyed_by_content
from langchain_aloft.messages import to_chunk, to_message, to_messages
from langchain_aloft.parsers import WholeJson, WholeObject, with_raw
from langchain_aloft.schemas import json_schema_of, openai_tool_of

_METHODS = ("json_schema", "function_calling", "json_mode")


class ChatAloft(LocalModel, BaseChatModel):
    """Replies with a local model and its own chat template; thread-safe.

    Calls that are made at the same time, from a batch, threads or tasks, are answered as one batch
    of the model. Control tokens in messages are read as text. Tools can be bound where the model's
    chat template takes them. Fields and call options: see `LocalModel`.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    streaming: bool = False

    def _resolve_model_profile(self) -> ModelProfile:
        """What LangChain's agents and middleware decide by; no server is asked for it."""
        profile = ModelProfile(structured_output=True, text_inputs=True, image_inputs=False)
        if not self.model.startswith(SERVER):
            with suppress(ModelError):  # said when the model is asked
                profile["max_input_tokens"] = self._asked_models.context_window(self.model)
        return profile

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "aloft"
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key of this model's replies in a cache; what `dumps` writes would name folders."""
        params = self._get_invocation_params(stop=stop, **keyed_by_content(kwargs))
        return str(sorted(params.items()))

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Number of tokens that the model reads of a conversation, its chat template included.

        Turns that the template refuses in their order, such as parts of a conversation, are
        counted one by one.

        Raises:
            ModelError: the model is not on this machine, or its server does not count tokens.
        """
        if not messages:
            return 0
        if self.custom_get_token_ids is not None:
            return super().get_num_tokens_from_messages(messages)
        formatted = [openai_tool_of(tool) for tool in tools or ()]
        options = self.options(None, {"tools": formatted})
        tokenizer = self.tokenizer
        turns = to_messages(messages)
        try:
            return tokenizer.count(self.prompt(turns, options))
        except ModelError:
            return sum(len(tokenizer.encode(turn.content)) for turn in turns)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools that replies may call.

        Args:
            tools: Functions, tools, pydantic models, TypedDicts or OpenAI's dictionaries.
            tool_choice: "auto" (or None): the model replies or calls; "any", "required" or True: it
                calls some tool; the name of a tool: it calls that one; "none": it calls none.
            strict: As LangChain's other models take it; arguments always satisfy their schema.
            **kwargs: Other options of a call, such as `parallel_tool_calls`.

        Raises:
            ConfigError: a tool or the choice is not what may be given.
            ModelError: the model's chat template takes no tools.
        """
        if not isinstance(tools, Iterable) or isinstance(tools, dict | BaseTool):
            raise ConfigError(
                f"tools is of type {type(tools).__name__}, but must be a list of tools. "
                "Put one tool into a list, too."
            )
        formatted = [openai_tool_of(tool, strict=strict) for tool in tools]
        given = {**kwargs, "tools": formatted, "tool_choice": tool_choice}
        known = {name: one for name, one in given.items() if not name.startswith("ls_")}
        options = self.options(known.pop("stop", None), known)
        if formatted and not self.tokenizer.takes_tools:
            raise ModelError(
                f"The chat template of {self.model} takes no tools, so that it cannot call them. "
                "Choose an instruct model whose template does, or a server (openai:URL#MODEL). For "
                "structured output use with_structured_output(schema), which needs no tools."
            )
        choice = options.prompt.get("tool_choice", "auto")
        return self.bind(**{**given, "tool_choice": choice})

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A runnable whose replies satisfy a schema; they are held to it while they are generated.

        Models on this machine see nothing of the schema but the names of its properties, in the
        order in which they must be written. What else they should know belongs into the prompt.

        Args:
            schema: A pydantic model, a TypedDict or a JSON schema; with "json_mode" None: any
                object.
            method: "json_schema"; "json_mode", which is the same; or "function_calling": the schema
                is a tool that must be called, where the model's template takes tools.
            include_raw: Return a dictionary with "raw", "parsed" and "parsing_error".
            strict: As LangChain's other models take it; replies always satisfy the schema.
            **kwargs: Other options of the calls.

        Raises:
            ConfigError: the method is unknown, or no schema is given.
        """
        if method not in _METHODS:
            raise ConfigError(f'method is "{method}", but may be {", ".join(_METHODS)}.')
        if schema is None and method != "json_mode":
            raise ConfigError(
                "There is no schema. Pass a pydantic model, TypedDict or JSON schema."
            )
        if method == "function_calling" and self.tokenizer.takes_tools:
            return self._filling_a_tool(schema, include_raw, kwargs)
        wanted = {"type": "object"} if schema is None else json_schema_of(schema)
        self.options(None, {"json_schema": wanted, **kwargs})
        traced = {"kwargs": {"method": method}, "schema": wanted if schema is None else schema}
        model = self.bind(json_schema=wanted, ls_structured_output_format=traced, **kwargs)
        parser: JsonOutputParser = WholeJson()
        if isinstance(schema, type) and is_basemodel_subclass(schema):
            parser = WholeObject(pydantic_object=schema)
        return with_raw(model, parser) if include_raw else model | parser

    def astream_events(self, *given: Any, version: str = "v2", **options: Any) -> Any:
        """Reply in events, as the host does, once the model is known."""
        host: Any = super()
        found = host.astream_events(*given, version=version, **options)
        return self._once_known(found) if version == "v3" else found

    async def _once_known(self, found: Awaitable[Any]) -> Any:
        await self._look_up()
        return await found

    def _filling_a_tool(
        self, schema: Any, include_raw: bool, options: dict[str, Any]
    ) -> Runnable[LanguageModelInput, Any]:
        """As LangChain's own, which takes no options of the calls."""
        traced = {"kwargs": {"method": "function_calling"}, "schema": schema}
        called = {"tool_choice": "any", "ls_structured_output_format": traced, **options}
        model = self.bind_tools([schema], **called)
        parser: JsonOutputToolsParser
        if isinstance(schema, type) and is_basemodel_subclass(schema):
            parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
        else:
            name = openai_tool_of(schema)["function"]["name"]
            parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        return with_raw(model, parser) if include_raw else model | parser

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Reply to each input; up to `max_concurrency` of them are one batch of the model."""
        configs = at_once(config, len(inputs))
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Reply to each conversation; the model is asked for all together."""
        if len(messages) < 2:
            return super().generate(messages, stop, callbacks, **kwargs)
        generate = super().generate
        run_ids = [kwargs.pop("run_id", None), *[None] * (len(messages) - 1)]

        def reply(one: list[BaseMessage], run_id: Any) -> LLMResult:
            return generate([one], stop, callbacks, run_id=run_id, **kwargs)

        with ContextThreadPoolExecutor(min(len(messages), AT_ONCE)) as pool:
            results = list(pool.map(reply, messages, run_ids))
        runs = [run for result in results for run in result.run or ()]
        outputs = [result.llm_output for result in results]
        return LLMResult(
            generations=[result.generations[0] for result in results],
            llm_output=self._combine_llm_outputs(outputs),
            run=runs or None,
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt, limits = self._asked(messages, stop, kwargs)
        (reply,) = self.loaded.complete([prompt], **limits)
        return self._result(reply)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt, limits = self._asked(messages, stop, kwargs)
        (reply,) = await asyncio.wrap_future(self.loaded.submit([prompt], **limits))
        return self._result(reply)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        prompt, limits = self._asked(messages, stop, kwargs)
        return self._chunks(stream_reply(self.loaded, prompt, **limits), run_manager)

    def _chunks(
        self, pieces: Iterable[Reply], run_manager: CallbackManagerForLLMRun | None
    ) -> Iterator[ChatGenerationChunk]:
        for piece in pieces:
            facts = {} if piece.is_piece else self.facts_of(self.read(piece))
            chunk = ChatGenerationChunk(message=to_chunk(piece, facts))
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    def _asked(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> tuple[Prompt, dict[str, Any]]:
        options = self.options(stop, given)
        return self.prompt(to_messages(messages), options), dict(options.limits)

    def _result(self, reply: Reply) -> ChatResult:
        message = to_message(self.read(reply), self.facts_of(reply))
        return ChatResult(generations=[ChatGeneration(message=message)])
