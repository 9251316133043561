"""A LlamaIndex LLM as the teacher that writes training data."""

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms import LLM

from aloft.api import (
    LanguageModel,
    Prompt,
    Reply,
    after_thoughts,
    check_kind,
    fingerprint_of_host,
    plain_text,
    read_reply,
    turns,
    warn_of_unused,
)
from llama_index_aloft.llm import AloftLLM


class LlamaIndexTeacher:
    """Asks a LlamaIndex LLM one prompt at a time; satisfies `aloft.protocols.LanguageModel`.

    During a run, an LLM that connects to another machine is refused.

    Args:
        llm: Decides temperature and length by its own settings.
        options: Passed to each call, such as {"max_tokens": 512} for a model that accepts it.

    Raises:
        ConfigError: an argument has the wrong class.
    """

    def __init__(self, llm: LLM, options: Mapping[str, Any] | None = None) -> None:
        check_kind("llm", llm, LLM, "One of ours is AloftLLM(model=name).")
        if options is not None:
            check_kind("options", options, Mapping, 'Such as {"max_tokens": 512}.')
        self._llm = llm
        self._options = dict(options or {})

    @property
    def at_once(self) -> int:
        """Each reply is kept as it comes."""
        return 1

    @property
    def fingerprint(self) -> str:
        """Identifies the model by class, name and settings: LlamaIndex knows no weights."""
        return fingerprint_of_host(self._llm, self._llm.metadata.model_name, self._options)

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt; `max_new_tokens` is ignored: LLMs name it differently."""
        return [self._ask(prompt, stop) for prompt in prompts]

    def _ask(self, prompt: Prompt, stop: Sequence[str]) -> Reply:
        if prompt.is_plain:
            completion = self._llm.complete(plain_text(prompt), formatted=True, **self._options)
            text = after_thoughts(completion.text)
            return read_reply(text, prompt, stop, _facts(completion), continues=True)
        messages = [
            ChatMessage(role=MessageRole(turn.role), content=turn.content) for turn in turns(prompt)
        ]
        response = self._llm.chat(messages, **self._options)
        facts = {**_facts(response), **response.message.additional_kwargs}
        text = after_thoughts(response.message.content or "")
        return read_reply(text, prompt, stop, facts)


def teacher_of(llm: LLM) -> LanguageModel:
    """The teacher for an LLM; one of Aloft's own local models is used directly."""
    if isinstance(llm, AloftLLM):
        warn_of_unused(llm)
        return llm.loaded
    return LlamaIndexTeacher(llm)


def _facts(response: Any) -> dict[str, Any]:
    """Metadata that may state why a reply ended: of the raw answer, its first choice, and more."""
    raw = _as_dict(response.raw)
    choices = raw.get("choices")
    first = _as_dict(choices[0]) if isinstance(choices, list) and choices else {}
    return {**raw, **first, **response.additional_kwargs}


def _as_dict(raw: Any) -> dict[str, Any]:
    if isinstance(raw, Mapping):
        return dict(raw)
    return dict(vars(raw)) if hasattr(raw, "__dict__") else {}
