"""A local language model, with a tuned adapter or without, as a LangChain LLM."""

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LLM
from langchain_core.outputs import GenerationChunk

from aloft.api import Message, Prompt, stream_reply
from langchain_aloft.local import LocalModel


class AloftLLM(LocalModel, LLM):
    """Replies greedily to a text as to a user's; threads may share it.

    Control tokens in what it is given are read as text. Its fields are those of `LocalModel`.
    """

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        (reply,) = self.loaded.complete([_as_users(prompt)], **self.limits(stop, kwargs))
        return reply.text

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        for piece in stream_reply(self.loaded, _as_users(prompt), **self.limits(stop, kwargs)):
            facts = None if piece.is_piece else self.facts_of(piece)
            chunk = GenerationChunk(text=piece.text, generation_info=facts)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk


def _as_users(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))
