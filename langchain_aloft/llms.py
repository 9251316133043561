"""A local language model, with a tuned adapter or without, as a LangChain LLM."""

import asyncio
from collections.abc import Iterator
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LLM, LanguageModelInput
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import ConfigDict, PrivateAttr

from aloft.api import ConfigError, Prompt, Reply, stream_reply
from langchain_aloft.local import LocalModel, at_once, keyed_by_content, user_message
from langchain_aloft.messages import usage_of

_OF_TRACES = frozenset({"tags", "metadata", "run_name", "run_id"})


class AloftLLM(LocalModel, LLM):
    """Replies to a text as to a user's message; thread-safe.

    All prompts of a batch are one batch of the model. Control tokens in prompts are read as text.
    Fields and call options: see `LocalModel`.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    _of_call: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, **self._of_call}

    def generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Reply to each prompt; LangChain's own cache keys leave out the options of a call."""
        return super(AloftLLM, self._keyed_by(kwargs)).generate(prompts, stop, callbacks, **kwargs)

    async def agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Reply to each prompt; see `generate`."""
        keyed: Any = super(AloftLLM, self._keyed_by(kwargs))
        result: LLMResult = await keyed.agenerate(prompts, stop, callbacks, **kwargs)
        return result

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Reply to each input; LangChain's own returns the fault of one for all of them."""
        if not return_exceptions:
            return super().batch(inputs, config, **kwargs)
        configs = at_once(config, len(inputs))
        return Runnable.batch(self, inputs, configs, return_exceptions=True, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Reply to each input; see `batch`."""
        if not return_exceptions:
            return await super().abatch(inputs, config, **kwargs)
        configs = at_once(config, len(inputs))
        return await Runnable.abatch(self, inputs, configs, return_exceptions=True, **kwargs)

    def _keyed_by(self, given: dict[str, Any]) -> Self:
        """This model, identified by the options of a call too."""
        options = {name: value for name, value in given.items() if name not in _OF_TRACES}
        if not options:
            return self
        keyed = self.model_copy()
        keyed._of_call = keyed_by_content(options)
        return keyed

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        asked, limits = self._asked(prompts, stop, kwargs)
        return self._result(self.loaded.complete(asked, **limits))

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        asked, limits = self._asked(prompts, stop, kwargs)
        return self._result(await asyncio.wrap_future(self.loaded.submit(asked, **limits)))

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        return self._generate([prompt], stop, run_manager, **kwargs).generations[0][0].text

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        (asked,), limits = self._asked([prompt], stop, kwargs)
        for piece in stream_reply(self.loaded, asked, **limits):
            info = None if piece.is_piece else self._info(self.read(piece))
            chunk = GenerationChunk(text=piece.text, generation_info=info)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    def _asked(
        self, prompts: list[str], stop: list[str] | None, given: dict[str, Any]
    ) -> tuple[list[Prompt], dict[str, Any]]:
        if given.get("tools"):
            raise ConfigError("An LLM calls no tools. Bind them to ChatAloft.")
        options = self.options(stop, given)
        asked = [self.prompt(user_message(text), options) for text in prompts]
        return asked, dict(options.limits)

    def _result(self, replies: list[Reply]) -> LLMResult:
        generations = [
            [Generation(text=reply.text, generation_info=self._info(self.read(reply)))]
            for reply in replies
        ]
        return LLMResult(generations=generations)

    def _info(self, reply: Reply) -> dict[str, Any]:
        return {**self.facts_of(reply), "usage": dict(usage_of(reply))}
