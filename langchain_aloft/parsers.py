"""LangChain's parsers of structured output, for replies that may have been cut."""

import json
import re
from functools import partial
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.output_parsers import (
    BaseOutputParser,
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableMap

_FENCE = re.compile(r"\A[^\[{\"]*```(?:json)?\s*|\A\s+")  # before the JSON of a server's reply
_DECODER = json.JSONDecoder(strict=False)


class WholeJson(JsonOutputParser):
    """Reads JSON; a stream ends with the whole, or with the error that is raised without one.

    LangChain's own completes JSON that was cut, so that a list lacks its end without a word.
    """

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse a reply, or what has come of it so far.

        Raises:
            OutputParserException: the reply was cut, or is not what is asked for.
        """
        reason = _finish_reason(result[0])
        if reason == "length":
            _check_whole(result[0].text)
        return super().parse_result(result, partial=partial and reason is None)


class WholeObject(WholeJson, PydanticOutputParser[Any]):
    """Reads a pydantic model; see `WholeJson`."""


def with_raw(
    model: Runnable[LanguageModelInput, Any], parser: BaseOutputParser[Any]
) -> Runnable[LanguageModelInput, Any]:
    """A model and a parser of its replies, whose errors are part of the output."""
    return RunnableMap(raw=model) | RunnableLambda(partial(_read, parser), name="parser")


def _read(parser: BaseOutputParser[Any], given: dict[str, Any], config: RunnableConfig) -> Any:
    try:
        return {**given, "parsed": parser.invoke(given["raw"], config), "parsing_error": None}
    except Exception as error:
        return {**given, "parsed": None, "parsing_error": error}


def _finish_reason(generation: Generation) -> str | None:
    """Why a reply has ended; None while it goes on."""
    if not isinstance(generation, ChatGeneration):
        return None
    reason: str | None = generation.message.response_metadata.get("finish_reason")
    return reason


def _check_whole(text: str) -> None:
    try:
        _DECODER.raw_decode(_FENCE.sub("", text, count=1))  # what follows may be cut
    except ValueError as error:
        raise OutputParserException(
            f"The reply was cut before its JSON was whole: {text[-80:]!r}. Raise max_tokens.",
            llm_output=text,
        ) from error
