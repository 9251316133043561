"""A local language model, with a tuned adapter or without, as a LangChain LLM."""

from collections.abc import Iterator
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LLM
from langchain_core.outputs import GenerationChunk, LLMResult
from pydantic import ConfigDict

from aloft.api import Message, Prompt, replace_surrogates, stream_reply
from langchain_aloft.local import LocalModel


class AloftLLM(LocalModel, LLM):
    """Replies greedily to a text as to a user's message; thread-safe.

    Control tokens in prompts are read as text. Fields: see `LocalModel`.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Reply to each prompt; a call's options are settings of the model that is asked.

        LangChain's cache keys know the settings of a model, but not the options of a call.
        """
        return super(AloftLLM, self._with(kwargs)).generate(prompts, stop, callbacks, **kwargs)

    async def agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Reply to each prompt; see `generate`."""
        model = self._with(kwargs)
        return await super(AloftLLM, model).agenerate(prompts, stop, callbacks, **kwargs)

    def _with(self, options: dict[str, Any]) -> Self:
        """This model with the options of a call among its settings."""
        settings = options.keys() & LocalModel.model_fields.keys()
        if not settings:
            return self
        return self.model_copy(update={name: options[name] for name in settings})

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        (reply,) = self.loaded.complete([_user_prompt(prompt)], **self.limits(stop, kwargs))
        return reply.text

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        for piece in stream_reply(self.loaded, _user_prompt(prompt), **self.limits(stop, kwargs)):
            facts = None if piece.is_piece else self.facts_of(piece)
            chunk = GenerationChunk(text=piece.text, generation_info=facts)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk


def _user_prompt(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=replace_surrogates(text)),))
