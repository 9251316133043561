"""Turns prompts and texts into token ids, under a model's own chat template."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError
from transformers import AutoTokenizer

from aloft.backends.host_models import has_system_turn, merge_system_turn
from aloft.backends.host_state import quiet_libraries
from aloft.backends.tool_calls import (
    call_format_of,
    described,
    plain_turns,
    rendered_turn,
    shown_tools,
    takes_tools,
)
from aloft.errors import ModelError, ProbabilitiesError
from aloft.protocols import Prompt, ToolTurn
from aloft.records import Message
from aloft.text.surrogates import replace_surrogates

_SYSTEM = Message(role="system", content="Reply in one word.")  # to try templates with
_takes_system: "WeakKeyDictionary[Any, tuple[str, bool]]" = WeakKeyDictionary()


def load_tokenizer(folder: Path) -> Any:
    """A model's tokenizer, which pads with its pad token or else with its end token."""
    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt; control tokens inside contents are ordinary text.

    Where the chat template has no system turn, its text stands in front of the first user turn.

    Raises:
        ModelError: the prompt is a conversation, but the tokenizer has no chat template, or one
            that refuses the order of its turns; or it has tools, but the template takes none.
    """
    if prompt.is_plain:
        text = "".join(message.content for message in prompt.messages) + prompt.prefix
        start = (
            []
            if tokenizer.bos_token_id is None or not _opens(tokenizer)
            else [tokenizer.bos_token_id]
        )
        return start + list(encode_text(tokenizer, text))
    if tokenizer.chat_template is None:
        raise _no_template(f'The model "{tokenizer.name_or_path}"')
    tools = shown_tools(prompt)
    if tools:
        call_format_of(tokenizer)
    try:
        ids: list[int] = tokenizer.apply_chat_template(
            _turns(tokenizer, prompt.messages),
            tools=described(tools) or None,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_dict=False,
        )
    except TemplateError as error:
        roles = ", ".join(turn.role for turn in prompt.messages)
        raise ModelError(
            f'The chat template of "{tokenizer.name_or_path}" refuses turns in the order {roles} '
            f"({error}). Merge or reorder the messages."
        ) from error
    return ids + (encode_text(tokenizer, prompt.prefix) if prompt.prefix else [])


def check_template(tokenizer: Any, title: str) -> None:
    """Check that a conversation can be rendered, with a system turn or with its text merged.

    Args:
        tokenizer: Of the model.
        title: What errors call the model.

    Raises:
        ModelError: there is no chat template, it refuses even a single user turn, or leaves out
            what the user says.
    """
    if tokenizer.chat_template is None:
        raise _no_template(title)
    asked = [Message(role="user", content=text) for text in ("What is it?", "Who was that?")]
    try:
        one, other = (encode_prompt(tokenizer, Prompt(messages=(_SYSTEM, turn))) for turn in asked)
    except Exception as error:
        raise ModelError(
            f"The chat template of {title} cannot be rendered ({type(error).__name__}: {error}). "
            "Choose another instruct model."
        ) from error
    if one == other:
        raise ModelError(
            f"The chat template of {title} leaves out what the user says. Choose another instruct "
            "model."
        )


def _no_template(title: str) -> ModelError:
    return ModelError(
        f"{title[0].upper()}{title[1:]} has no chat template, so it cannot be given instructions "
        "or trained to follow them. Choose an instruct model."
    )


def _turns(tokenizer: Any, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A conversation as the template takes it: without a system turn or calls if it has none."""
    if has_system_turn(messages) and not takes_system_turn(tokenizer):
        messages = merge_system_turn(messages)
    if any(isinstance(turn, ToolTurn) for turn in messages) and not takes_tools(tokenizer):
        messages = plain_turns(messages)
    return [rendered_turn(turn) for turn in messages]


def takes_system_turn(tokenizer: Any) -> bool:
    """Whether a chat template renders a system turn: some refuse it, others leave it out."""
    template = str(tokenizer.chat_template)
    known: tuple[str, bool] | None = _takes_system.get(tokenizer)
    if known is None or known[0] != template:
        turns = [{"role": "system", "content": _SYSTEM.content}, {"role": "user", "content": "a"}]
        try:
            takes_it = _SYSTEM.content in tokenizer.apply_chat_template(turns, tokenize=False)
        except Exception:  # what templates raise is theirs to choose
            takes_it = False
        known = _takes_system[tokenizer] = (template, takes_it)
    return known[1]


def first_tokens(tokenizer: Any, choices: Sequence[str]) -> list[int]:
    """First token of each choice.

    Some tokenizers begin every text with the same token. With those, each choice is tokenized
    after a line break, and the first token behind the line break is taken.

    Raises:
        ProbabilitiesError: two choices begin with the same token.
    """
    for before in ("", "\n"):
        skipped = len(_tokenize(tokenizer, before)["input_ids"])
        rows = [_tokenize(tokenizer, before + choice)["input_ids"] for choice in choices]
        first = [row[skipped] for row in rows if len(row) > skipped]
        if len(set(first)) == len(choices):
            return first
    raise ProbabilitiesError(f"The choices {list(choices)} do not begin with different tokens.")


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of plain text, in which nothing is read as a control token."""
    ids: list[int] = _tokenize(tokenizer, text)["input_ids"]
    return ids


def encode_located(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of `encode_text`, and the character span of each."""
    encoded = _tokenize(tokenizer, text, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


def _tokenize(tokenizer: Any, text: str, **options: Any) -> Any:
    return tokenizer(
        replace_surrogates(text),
        add_special_tokens=False,
        split_special_tokens=True,
        verbose=False,  # long texts are cut or refused elsewhere
        **options,
    )


def _opens(tokenizer: Any) -> bool:
    """Whether the tokenizer begins plain text with a start token."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids and ids[0] == tokenizer.bos_token_id)


class LocalTokenizer:
    """The tokenizer of a model on this machine, which counts what the model reads; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._lock = Lock()  # fast tokenizers refuse two threads

    @property
    def takes_tools(self) -> bool:
        """Whether the model can call tools here."""
        with self._lock:
            return takes_tools(self._tokenizer)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text alone, without a chat template."""
        with self._lock:
            return encode_text(self._tokenizer, text)

    def count(self, prompt: Prompt) -> int:
        """Number of tokens that the model reads of a prompt."""
        with self._lock:
            return len(encode_prompt(self._tokenizer, prompt))
