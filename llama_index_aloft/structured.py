"""Structured predictions of LlamaIndex by constrained decoding, in place of prompts or tools."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.program.utils import process_streaming_objects
from llama_index.core.types import PydanticProgramMode
from llama_index_instrumentation import get_dispatcher

from aloft.api import ConfigError, DataError, schema_of

_dispatcher = get_dispatcher(__name__)


class StructuredPredictions(FunctionCallingLLM):
    """An LLM whose structured predictions are held to their schema while they are generated.

    The model sees nothing of the schema but the names of its fields, in the order in which they
    must be written. What else it should know belongs into the prompt. A stream ends with the whole
    object, or with the error that a prediction without a stream raises. With a
    `pydantic_program_mode` other than the default LlamaIndex predicts in that mode.
    """

    @_dispatcher.span
    def structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Fill a pydantic model.

        Args:
            output_cls: The pydantic model.
            prompt: Template of the prompt.
            llm_kwargs: Options of the call.
            **prompt_args: Values for the template.

        Raises:
            ConfigError: `output_cls` is no pydantic model.
            DataError: the reply was cut, or a validator of the model refuses it.
        """
        if not self._holds_to_schema:
            return super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        _tell_start(output_cls, prompt, prompt_args)
        messages = self._get_messages(prompt, **prompt_args)
        response = self.chat(messages, **_options(output_cls, llm_kwargs))
        return _tell_end(_parse(output_cls, response))

    @_dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Fill a pydantic model; see `structured_predict`."""
        if not self._holds_to_schema:
            return await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        _tell_start(output_cls, prompt, prompt_args)
        messages = self._get_messages(prompt, **prompt_args)
        response = await self.achat(messages, **_options(output_cls, llm_kwargs))
        return _tell_end(_parse(output_cls, response))

    def _structured_stream_call(
        self,
        output_cls: type[BaseModel],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        if not self._holds_to_schema:
            return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        messages = self._get_messages(prompt, **prompt_args)
        responses = self.stream_chat(messages, **_options(output_cls, llm_kwargs))

        def grow() -> Generator[Any, None, None]:
            found: Any = None
            for response in responses:
                found = process_streaming_objects(response, output_cls, found and [found])
                yield found
            if found != (whole := _parse(output_cls, response)):
                yield whole

        return grow()

    async def _structured_astream_call(
        self,
        output_cls: type[BaseModel],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        if not self._holds_to_schema:
            return await super()._structured_astream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
        messages = self._get_messages(prompt, **prompt_args)
        responses = await self.astream_chat(messages, **_options(output_cls, llm_kwargs))

        async def grow() -> AsyncGenerator[Any, None]:
            found: Any = None
            async for response in responses:
                found = process_streaming_objects(response, output_cls, found and [found])
                yield found
            if found != (whole := _parse(output_cls, response)):
                yield whole

        return grow()

    @property
    def _holds_to_schema(self) -> bool:
        return self.pydantic_program_mode is PydanticProgramMode.DEFAULT


def _options(output_cls: type[BaseModel], given: dict[str, Any] | None) -> dict[str, Any]:
    if not (isinstance(output_cls, type) and issubclass(output_cls, BaseModel)):
        raise ConfigError(
            f"output_cls is {str(output_cls)[:100]}, but must be a pydantic model. For a list or a "
            "choice, pass a model with such a field."
        )
    options = {name: one for name, one in (given or {}).items() if name != "tool_required"}
    return {**options, "json_schema": schema_of(output_cls)}


def _parse(output_cls: type[BaseModel], response: ChatResponse) -> BaseModel:
    text = response.message.content or ""
    try:
        return output_cls.model_validate_json(text)
    except ValueError as error:
        if response.additional_kwargs.get("finish_reason") == "length":
            raise DataError(
                f"The reply was cut before its JSON was whole: {text[-80:]!r}. Raise max_tokens."
            ) from error
        name = output_cls.__name__
        raise DataError(f"{name} refuses the reply {text[:200]!r}: {error}") from error


def _tell_start(output_cls: type[BaseModel], prompt: Any, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(
        LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
    )


def _tell_end(output: BaseModel) -> BaseModel:
    _dispatcher.event(LLMStructuredPredictEndEvent(output=output))
    return output
