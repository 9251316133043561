"""A language model behind OpenAI-compatible servers on this machine or its network.

vLLM, llama.cpp, Ollama, LM Studio and others share two endpoints: `/chat/completions` for
conversations and `/completions` for plain text. A model is named `openai:URL`, or
`openai:URL#MODEL` where the server has several, such as `openai:http://localhost:8000/v1#qwen`.
Several such names with commas between them are servers of one model.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np

from aloft.backends.host_models import (
    after_thoughts,
    escape_control_tokens,
    plain_text,
    read_reply,
    stream_growth,
)
from aloft.backends.server_balancing import BalancedServers
from aloft.backends.server_connection import ATTEMPTS, CONCURRENCY, PAUSES, Read, ServerConnection
from aloft.backends.server_protocol import (
    collect_calls,
    conversation_of,
    first_alternatives,
    first_choice,
    request_settings,
    stream_events,
    text_of,
    token_counts,
    tool_calls_of,
    unread_response,
    whole_choice,
    with_usage,
)
from aloft.backends.server_settings import DEFAULT_SETTINGS, ServerSettings
from aloft.backends.tool_calls import described
from aloft.config import SERVER, check_addresses, server_names
from aloft.errors import ModelError, ProbabilitiesError
from aloft.protocols import Floats, Prompt, Reply
from aloft.records import content_id

_ALTERNATIVES = 20  # vLLM's maximum; the digits 0 to 9 are among them
T = TypeVar("T")
_UNREAD = Reply(text="", is_finished=False, is_unread=True)


def parse_name(name: str) -> tuple[tuple[str, ...], str]:
    """Split an `openai:` name into its servers' addresses and their model, "" where none is named.

    Raises:
        ConfigError: an address holds a password.
        ModelError: it contains no address, or names several models.
    """
    check_addresses(name)
    addresses, models = [], set()
    for one in server_names(name):
        address, _, model = one.removeprefix(SERVER).partition("#")
        if not one.startswith(SERVER) or not _is_address(address):
            raise ModelError(
                f'"{one}" contains no server address. Write openai:URL or openai:URL#MODEL, such '
                "as openai:http://localhost:8000/v1"
            )
        addresses.append(address.rstrip("/"))
        models |= {model} - {""}
    if len(models) > 1:
        raise ModelError(
            f'"{name}" names {len(models)} models, but the servers of one model must have the '
            "same. Start them with one model, and name that."
        )
    return tuple(dict.fromkeys(addresses)), "".join(models)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of its host or port
        return False


def fingerprint_of(name: str) -> str | None:
    """Fingerprint of the named model; None where only the server knows which model it has.

    Addresses do not count: a run can continue with the server on another port, or with more of
    them.
    """
    model = parse_name(name)[1]
    return content_id("server", model) if model else None


class ServerLanguageModel:
    """A language model behind one OpenAI-compatible server, or several.

    Prompts are sent concurrently, each to the server with the fewest in flight. Temporary failures
    (429, 5xx, no or an unreadable response) are retried after a pause. A server that stays down is
    left out, and where there is no other, an error in one line is raised, and the run can be
    resumed later.

    Proxies from the environment are not used, because documents would pass through them. If the
    server requires an API key, it is read from ALOFT_API_KEY.

    Args:
        name: `openai:URL` or `openai:URL#MODEL`; several with commas.
        concurrency: Prompts sent to a server at a time.
        pauses: Seconds between attempts.
        attempts: How often a request is sent before the last server counts as down.
        settings: What the application sets of the requests; its `max_retries` goes before
            `attempts`.

    Raises:
        ModelError: no model is named and no server responds, or one has more than one.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int = CONCURRENCY,
        pauses: Sequence[float] = PAUSES,
        attempts: int = ATTEMPTS,
        settings: ServerSettings = DEFAULT_SETTINGS,
    ) -> None:
        addresses, model = parse_name(name)
        connect = partial(
            ServerConnection,
            model=model,
            concurrency=concurrency,
            pauses=pauses,
            attempts=attempts,
            settings=settings,
        )
        connections = [connect(address) for address in addresses]
        self._servers = BalancedServers(connections, concurrency=concurrency)
        self._lock = threading.Lock()
        self.tokens_scored = 0  # read by choice_probabilities, where the server reports it
        self.model = self._servers.model

    @property
    def fingerprint(self) -> str:
        """Identifies the model, not the address."""
        return content_id("server", self.model)

    @property
    def retries(self) -> int:
        """Requests that were sent again."""
        return self._servers.retries

    def context_window(self) -> int | None:
        """Context window in tokens, where a server reports it; an adapter has its model's.

        A server without a list of models can still reply to prompts: its window is unknown.

        Raises:
            ModelError: no server responds, it is not ready, or it requires a key.
        """
        return self._servers.call(lambda server: server.context_window())

    def tokenize(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A server's answer about the tokens of a text or a conversation.

        Raises:
            ModelError: it gives none.
        """
        return self._servers.call(lambda server: server.tokenize(asked))

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt, by greedy decoding or sampled with the prompt's seed."""
        ask = partial(self._complete, max_new_tokens=max_new_tokens, stop=stop)
        return self._each(ask, prompts)

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        """The reply of `complete`, in the server's pieces.

        Raises:
            ModelError: the connection broke in the middle of a reply.
        """
        settings = request_settings(prompt, max_new_tokens, stop)
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        server, response = self._ask(prompt, {**settings, **streamed}, unread_response)
        if response is None:
            yield _UNREAD
            return
        said, facts, usage = "", dict[str, Any](), dict[str, Any]()
        calls: dict[int, dict[str, str]] = {}

        def grow() -> Iterator[str]:
            nonlocal said, facts, usage
            for piece, choice, counts in self._read_stream(server, response):
                said, usage = said + piece, counts or usage
                facts = choice if choice.get("finish_reason") else facts
                collect_calls(calls, choice)
                if not f"{prompt.prefix.strip()}\n".startswith(said.lstrip()):
                    yield read_reply(said, prompt).text  # until then it may repeat the prefix

        with closing(response):
            sent = yield from stream_growth(grow(), stop)
        continues = prompt.is_plain or server.can_continue
        reply = read_reply(said, prompt, stop, facts, continues=continues)
        reply = replace(reply, text=reply.text[sent:], tool_calls=tool_calls_of(calls))
        yield with_usage(reply, usage)

    def _read_stream(
        self, server: ServerConnection, response: httpx.Response
    ) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Added text, choice and token counts of each event of a stream."""
        try:
            for event in stream_events(response):
                choice = (event.get("choices") or [{}])[0]
                text = text_of(whole_choice(choice)) if choice else ""
                collect_calls({}, choice)  # raises here where a call has another form
                yield text, choice, event.get("usage") or {}
        except (httpx.RequestError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The server at {server.address} disconnected in the middle of a reply "
                f"({error or type(error).__name__}). Ask again."
            ) from error

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice as the next token; (prompts, choices), rows sum to 1.

        All are equal after a prompt that exceeds the context window, or where none is likely.

        Raises:
            ProbabilitiesError: the server returns none after any of the prompts.
        """
        rows = self._each(partial(self._score, choices=choices), prompts)
        scores = np.array(rows, np.float64).reshape(len(prompts), len(choices))
        unlikely = ~scores.any(axis=1)
        if len(prompts) and unlikely.all():
            raise ProbabilitiesError(
                f"The server of {self.model} returns no probabilities of {', '.join(choices)}. "
                'Set ratings.method to "generate" or "none".'
            )
        scores[unlikely] = 1.0
        shares: Floats = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def _each(self, work: Any, prompts: Sequence[Prompt]) -> list[Any]:
        with ThreadPoolExecutor(self._servers.at_once) as pool:
            pending = [pool.submit(work, prompt) for prompt in prompts]
            try:
                return [future.result() for future in pending]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _complete(self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str]) -> Reply:
        body = request_settings(prompt, max_new_tokens, stop)
        server, answer = self._ask(prompt, body, first_choice)
        if answer is None:
            return _UNREAD
        choice, usage = answer
        continues = prompt.is_plain or server.can_continue
        text = text_of(choice)
        if prompt.prefix:  # of a form that begins with it, thoughts are no part
            text = after_thoughts(text)
        reply = read_reply(text, prompt, stop, choice, continues=continues)
        calls: dict[int, dict[str, str]] = {}
        collect_calls(calls, choice)
        return with_usage(replace(reply, tool_calls=tool_calls_of(calls)), usage)

    def _score(self, prompt: Prompt, *, choices: Sequence[str]) -> list[float]:
        options: dict[str, Any] = {"logprobs": _ALTERNATIVES}
        if not prompt.is_plain:
            options = {"logprobs": True, "top_logprobs": _ALTERNATIVES}
        free = replace(prompt, pattern="")
        body = {"max_tokens": 1, "temperature": 0.0, **options}
        _, answer = self._ask(free, body, first_alternatives)
        if answer:
            with self._lock:
                self.tokens_scored += token_counts(answer[1])[0]
        likely = answer[0] if answer else {}
        return [sum(p for token, p in likely.items() if token.strip() == c) for c in choices]

    def _ask(
        self, prompt: Prompt, body: dict[str, Any], read: Read[T]
    ) -> tuple[ServerConnection, T | None]:
        """Who answered a prompt, and what; None where it exceeds the model's context window."""
        return self._servers.call(lambda server: (server, server.ask(prompt, body, read)))


class ServerTokenizer:
    """The tokenizer of a served model, asked over the server's `/tokenize`.

    vLLM counts conversations and texts, llama.cpp texts alone. Nothing is guessed.

    Args:
        name: `openai:URL` or `openai:URL#MODEL`.
        settings: What the application sets of the requests.
    """

    takes_tools = True  # whether it does is the server's to say

    def __init__(self, name: str, settings: ServerSettings = DEFAULT_SETTINGS) -> None:
        self._name = name
        self._settings = settings

    def encode(self, text: str) -> list[int]:
        """Token ids of a text alone.

        Raises:
            ModelError: the server does not tokenize for its clients.
        """
        text = escape_control_tokens(text)
        asked = {"prompt": text, "content": text, "add_special_tokens": False}
        return [int(token) for token in self._ask(asked)["tokens"]]

    def count(self, prompt: Prompt) -> int:
        """Number of tokens that the model reads of a prompt.

        Raises:
            ModelError: the server does not count the tokens of conversations.
        """
        asked: dict[str, Any] = {"prompt": plain_text(prompt)}
        if not prompt.is_plain:
            asked = {"messages": conversation_of(prompt), "add_generation_prompt": True}
            asked |= {"tools": described(prompt.tools)} if prompt.tools else {}
        answer = self._ask(asked)
        return int(answer["count"]) if "count" in answer else len(answer["tokens"])

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        model = ServerLanguageModel(self._name, attempts=1, settings=self._settings)
        return model.tokenize(asked)
