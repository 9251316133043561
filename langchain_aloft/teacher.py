"""A LangChain chat model as the teacher that writes training data."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from aloft.api import (
    ConfigError,
    LanguageModel,
    Message,
    Prompt,
    Reply,
    after_thoughts,
    check_kind,
    fingerprint_of_host,
    is_whole,
    plain_text,
    read_reply,
    stops_to_send,
    turns,
    warn_of_unused,
)
from langchain_aloft.chat_models import ChatAloft

_MESSAGES: dict[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}
_ROUNDS = 8  # so that the slowest reply of a round is waited for seldom


class LangChainTeacher:
    """Asks a LangChain chat model; satisfies `aloft.protocols.LanguageModel`.

    During a run, a model that connects to another machine is refused.

    Args:
        model: Decides temperature and length by its own settings.
        options: Passed to each call, such as {"max_tokens": 512} for a model that accepts it.
        concurrency: Prompts sent at a time; raise it for a model behind a local server.

    Raises:
        ConfigError: an argument has the wrong class, or `concurrency` is less than 1.
    """

    def __init__(
        self,
        model: BaseChatModel,
        options: Mapping[str, Any] | None = None,
        *,
        concurrency: int = 1,
    ) -> None:
        check_kind("model", model, BaseChatModel, "One of ours is ChatAloft(model=name).")
        if options is not None:
            check_kind("options", options, Mapping, 'Such as {"max_tokens": 512}.')
        if not is_whole(concurrency) or concurrency < 1:
            raise ConfigError(f"concurrency is {concurrency!r}, but must be a number from 1.")
        self._model = model
        self._options = dict(options or {})
        self._concurrency = concurrency

    @property
    def at_once(self) -> int:
        """Each reply is kept as it comes, or some rounds of those that are asked for together."""
        return 1 if self._concurrency == 1 else _ROUNDS * self._concurrency

    @property
    def fingerprint(self) -> str:
        """Identifies the model by class, name and settings: LangChain does not know its weights.

        Among them are all that the model itself declares to tell its replies apart by.
        """
        name = self._model._get_ls_params().get("ls_model_name") or ""
        declared = str(sorted(self._model._identifying_params.items()))
        return fingerprint_of_host(self._model, name, self._options, declared)

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt; `max_new_tokens` is ignored: models name it differently."""
        sent = stops_to_send(prompts, stop)
        options = {**({"stop": sent} if sent else {}), **self._options}
        replies = self._model.batch(
            [_conversation(prompt) for prompt in prompts],
            RunnableConfig(max_concurrency=self._concurrency),
            **options,
        )
        return [
            read_reply(after_thoughts(str(message.text)), prompt, stop, message.response_metadata)
            for prompt, message in zip(prompts, replies, strict=True)
        ]


def teacher_of(llm: BaseChatModel) -> LanguageModel:
    """The teacher for a chat model; one of Aloft's own is used directly.

    Then prompts are batches, and probabilities are read, which LangChain's chat models do not give.
    """
    if isinstance(llm, ChatAloft):
        warn_of_unused(llm)
        return llm.loaded
    return LangChainTeacher(llm)


def _conversation(prompt: Prompt) -> list[BaseMessage]:
    asked = turns(prompt)
    if prompt.is_plain:
        asked = [Message(role="user", content=plain_text(prompt))]
    return [_MESSAGES[turn.role](content=turn.content) for turn in asked]
