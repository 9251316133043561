"""A language model behind an OpenAI-compatible server on this machine or its network.

vLLM, llama.cpp, Ollama, LM Studio and others share two endpoints: `/chat/completions` for
conversations and `/completions` for plain text. A model is named `openai:URL`, or
`openai:URL#MODEL` where the server has several, such as `openai:http://localhost:8000/v1#qwen`.
"""

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import numpy as np

from aloft.backends.host_models import (
    escape_control_tokens,
    has_system_turn,
    merge_system_turn,
    plain_text,
    read_reply,
    stream_growth,
    turns,
)
from aloft.backends.server_protocol import (
    alternatives,
    collect_calls,
    conversation_of,
    first_choice,
    listed_models,
    request_messages,
    request_settings,
    shortened,
    stream_events,
    text_of,
    tool_calls_of,
    unread_response,
    whole_choice,
    with_usage,
)
from aloft.backends.tool_calls import described
from aloft.config import SERVER
from aloft.errors import ModelError, ProbabilitiesError
from aloft.protocols import Floats, Prompt, Reply
from aloft.records import content_id

_CONCURRENCY = 16  # a local server batches so many well; more would wait in its queue
_TIMEOUT = httpx.Timeout(600.0, connect=10.0)  # seconds; large models are slow on a CPU
_ATTEMPTS = 7  # with the pauses below about a minute: time to restart a server
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds
_AGAIN = frozenset({408, 409, 425, 429})  # and every 5xx
_NOT_NOW = _AGAIN | {502, 503, 504}  # also while a server is still loading its model
_REFUSED_FORM = frozenset({400, 422})
_WANTS_KEY = frozenset({401, 403})
_NO_SYSTEM = ("system role", "roles must alternate", "system message")
_TOO_LONG = ("context", "too long", "maximum", "exceed")
_ALTERNATIVES = 20  # vLLM's maximum; the digits 0 to 9 are among them
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}  # vLLM's extension
_jitter = random.Random()  # the host's own generator is left alone
_UNREAD = Reply(text="", is_finished=False, is_unread=True)
_HOLD = "structured_outputs"  # vLLM's as well; other servers ignore or refuse it


def parse_name(name: str) -> tuple[str, str]:
    """Split an `openai:` name into address and model, "" where no model is named.

    Raises:
        ModelError: it contains no address.
    """
    address, _, model = name.removeprefix(SERVER).partition("#")
    if not address.startswith(("http://", "https://")):
        raise ModelError(
            f'"{name}" contains no server address. Write openai:URL or openai:URL#MODEL, such as '
            "openai:http://localhost:8000/v1"
        )
    return address.rstrip("/"), model


def fingerprint_of(name: str) -> str | None:
    """Fingerprint of the named model; None where only the server knows which model it has.

    The address does not count: a run can continue with the server on another port.
    """
    model = parse_name(name)[1]
    return content_id("server", model) if model else None


class ServerLanguageModel:
    """A language model behind an OpenAI-compatible server.

    Prompts are sent concurrently. Temporary failures (429, 5xx, no or an unreadable response) are
    retried after a pause; a server that stays down raises an error in one line, and the run can be
    resumed later.

    Proxies from the environment are not used, because documents would pass through them. If the
    server requires an API key, it is read from ALOFT_API_KEY.

    Args:
        name: `openai:URL` or `openai:URL#MODEL`.
        concurrency: Prompts sent at a time.
        pauses: Seconds between attempts.
        attempts: How often a request is sent before the server counts as down.

    Raises:
        ModelError: no model is named and the server does not respond or has more than one.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int = _CONCURRENCY,
        pauses: Sequence[float] = _PAUSES,
        attempts: int = _ATTEMPTS,
    ) -> None:
        self._address, wanted = parse_name(name)
        key = os.environ.get("ALOFT_API_KEY")
        self._client = httpx.Client(
            base_url=self._address,
            timeout=_TIMEOUT,
            trust_env=False,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=concurrency),
        )
        self._concurrency = concurrency
        self._pauses = tuple(pauses)
        self._attempts = attempts
        self._can_continue = True  # until the server refuses to continue from a prefix
        self._can_hold = True  # until it refuses a pattern for the reply
        self._takes_system = True  # until its model's template refuses a system turn
        self._lock = threading.Lock()
        self.retries = 0
        self.tokens_scored = 0  # read by choice_probabilities, where the server reports it
        self.model = wanted or self._only_model()

    @property
    def fingerprint(self) -> str:
        """Identifies the model, not the address."""
        return content_id("server", self.model)

    def context_window(self) -> int | None:
        """Context window in tokens, where the server reports it; an adapter has its model's.

        A server without a list of models can still reply to prompts: its window is unknown.

        Raises:
            ModelError: the server does not respond, is not ready, or requires a key.
        """
        try:
            response = self._client.get(self._address + "/models")
        except httpx.TransportError as error:
            raise self._silent(1, str(error) or type(error).__name__) from None
        if response.status_code in _NOT_NOW:
            raise self._silent(1, f"{response.status_code} {shortened(response)}")
        if response.status_code in _WANTS_KEY:
            self._refused(response, None)
        try:
            cards = listed_models(response)
        except (ValueError, KeyError, TypeError):
            return None
        card = cards.get(self.model, {})
        card = cards.get(str(card.get("parent")), card)
        window = card.get("max_model_len")  # as vLLM and SGLang name it
        return window if isinstance(window, int) else None

    def tokenize(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The server's answer about the tokens of a text or a conversation.

        Raises:
            ModelError: it gives none.
        """
        url = self._address.removesuffix("/v1") + "/tokenize"
        try:
            response = self._client.post(url, json={"model": self.model, **asked})
            answer = response.raise_for_status().json()
            if isinstance(answer["tokens"], list):
                return dict(answer)
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            pass
        raise ModelError(
            f"The server at {self._address} does not count tokens: {url} gives no answer. Pass a "
            "tokenizer of your own (LangChain: custom_get_token_ids; LlamaIndex: "
            "Settings.tokenizer), or name the model's folder instead of its server."
        )

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
        response = self._post(prompt, {**settings, **streamed}, unread_response)
        if response is None:
            yield _UNREAD
            return
        said, facts, usage = "", dict[str, Any](), dict[str, Any]()
        calls: dict[int, dict[str, str]] = {}

        def grow() -> Iterator[str]:
            nonlocal said, facts, usage
            for piece, choice, counts in self._read_stream(response):
                said, usage = said + piece, counts or usage
                facts = choice if choice.get("finish_reason") else facts
                collect_calls(calls, choice)
                if not f"{prompt.prefix.strip()}\n".startswith(said.lstrip()):
                    yield read_reply(said, prompt).text  # until then it may repeat the prefix

        with closing(response):
            sent = yield from stream_growth(grow(), stop)
        continues = prompt.is_plain or self._can_continue
        reply = read_reply(said, prompt, stop, facts, continues=continues)
        reply = replace(reply, text=reply.text[sent:], tool_calls=tool_calls_of(calls))
        yield with_usage(reply, usage)

    def _read_stream(
        self, response: httpx.Response
    ) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Added text, choice and token counts of each event of a stream."""
        try:
            for event in stream_events(response):
                choice = (event.get("choices") or [{}])[0]
                text = text_of(whole_choice(choice)) if choice else ""
                yield text, choice, event.get("usage") or {}
        except (httpx.TransportError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The server at {self._address} disconnected in the middle of a reply "
                f"({error or type(error).__name__}). Ask again."
            ) from error

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice as the next token; (prompts, choices), rows sum to 1.

        Raises:
            ProbabilitiesError: the server returns none.
        """
        rows = self._each(partial(self._score, choices=choices), prompts)
        return np.array(rows, np.float32).reshape(len(prompts), len(choices))

    def _each(self, work: Any, prompts: Sequence[Prompt]) -> list[Any]:
        with ThreadPoolExecutor(self._concurrency) as pool:
            pending = [pool.submit(work, prompt) for prompt in prompts]
            try:
                return [future.result() for future in pending]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _complete(self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str]) -> Reply:
        answer = self._post(prompt, request_settings(prompt, max_new_tokens, stop), first_choice)
        if answer is None:
            return _UNREAD
        choice, usage = answer
        continues = prompt.is_plain or self._can_continue
        reply = read_reply(text_of(choice), prompt, stop, choice, continues=continues)
        calls: dict[int, dict[str, str]] = {}
        collect_calls(calls, choice)
        return with_usage(replace(reply, tool_calls=tool_calls_of(calls)), usage)

    def _score(self, prompt: Prompt, *, choices: Sequence[str]) -> list[float]:
        options: dict[str, Any] = {"logprobs": _ALTERNATIVES}
        if not prompt.is_plain:
            options = {"logprobs": True, "top_logprobs": _ALTERNATIVES}
        free = replace(prompt, pattern="")
        answer = self._post(free, {"max_tokens": 1, "temperature": 0.0, **options}, first_choice)
        if answer:
            with self._lock:
                self.tokens_scored += int(answer[1].get("prompt_tokens") or 0)
        likely = alternatives(answer[0]) if answer else {}
        chances = [sum(p for token, p in likely.items() if token.strip() == c) for c in choices]
        if not sum(chances):
            raise ProbabilitiesError(
                f"The server at {self._address} returns no probabilities of {', '.join(choices)}. "
                'Set ratings.method to "generate" or "none".'
            )
        return [chance / sum(chances) for chance in chances]

    def _post(self, prompt: Prompt, body: dict[str, Any], read: Any) -> Any:
        """Send one prompt; None where it exceeds the server's context window."""
        if prompt.is_plain:
            body = {**body, "prompt": plain_text(prompt)}
            return self._ask_held("/completions", body, prompt.pattern, read)
        if self._takes_system:
            try:
                return self._chat(prompt, body, read)
            except _RefusedSystemError:
                self._takes_system = False
        return self._chat(prompt, body, read)

    def _chat(self, prompt: Prompt, body: dict[str, Any], read: Any) -> Any:
        conversation = turns(prompt)
        if has_system_turn(conversation) and not self._takes_system:
            conversation = merge_system_turn(conversation)
        messages = request_messages(conversation)
        if prompt.prefix and self._can_continue:
            begun = [*messages, {"role": "assistant", "content": prompt.prefix}]
            try:
                continued = {**body, **_CONTINUE, "messages": begun}
                return self._ask_held("/chat/completions", continued, prompt.pattern, read)
            except _RefusedFormError:
                self._can_continue = False
        body = {**body, "messages": messages}
        return self._ask_held("/chat/completions", body, prompt.pattern, read)

    def _ask_held(self, path: str, body: dict[str, Any], pattern: str, read: Any) -> Any:
        """Request a reply that matches a pattern, where the server supports that."""
        if not pattern or not self._can_hold:
            return self._ask("POST", path, body, read)
        with suppress(_RefusedFormError):
            return self._ask("POST", path, {**body, _HOLD: {"regex": pattern}}, read)
        answer = self._ask("POST", path, body, read)  # raises where the pattern was not the reason
        self._can_hold = False
        return answer

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, read: Any) -> Any:
        fault = ""
        for attempt in range(self._attempts):
            pause = self._pauses[min(attempt, len(self._pauses) - 1)]
            try:
                sent = {"model": self.model, **body} if body is not None else None
                request = self._client.build_request(method, self._address + path, json=sent)
                response = self._client.send(request, stream=read is unread_response)
                if response.is_success:
                    return read(response)
                response.read()
            except httpx.TransportError as error:
                fault = str(error) or type(error).__name__
            except (ValueError, KeyError, IndexError, TypeError):
                fault = "its response is not a reply"
            else:
                fault = f"{response.status_code} {shortened(response)}"
                _check_system(fault, body)
                if response.status_code not in _AGAIN and response.status_code < 500:
                    return self._refused(response, body)
                pause = _asked_pause(response, pause)
            if attempt + 1 < self._attempts:
                with self._lock:
                    self.retries += 1
                time.sleep(pause * _jitter.uniform(0.8, 1.2))
        raise self._silent(self._attempts, fault)

    def _silent(self, attempts: int, fault: str) -> ModelError:
        return ModelError(
            f"The server at {self._address} gave no reply after {attempts} attempts ({fault}). "
            "Start it, then run the same command again to resume."
        )

    def _refused(self, response: httpx.Response, body: dict[str, Any] | None) -> None:
        said = shortened(response)
        if response.status_code in _WANTS_KEY:
            raise ModelError(f"{self._address} requires an API key ({said}). Set ALOFT_API_KEY.")
        if response.status_code in _REFUSED_FORM | {413}:
            if any(word in said.lower() for word in _TOO_LONG):
                return  # exceeds the context window: a rejection of this passage alone
            if body is not None and not body.keys().isdisjoint({*_CONTINUE, _HOLD}):
                raise _RefusedFormError(said)
        refused = ProbabilitiesError if body is not None and "logprobs" in body else ModelError
        raise refused(
            f"The server at {self._address} refused: {response.status_code} {said}. "
            "Check the address and the model."
        )

    def _only_model(self) -> str:
        listed: list[str] = list(self._ask("GET", "/models", None, listed_models))
        if len(listed) == 1:
            return listed[0]
        raise ModelError(
            f"The server at {self._address} has {len(listed)} models: {', '.join(listed)}. "
            f"Name one: {SERVER}{self._address}#MODEL"
        )


class ServerTokenizer:
    """The tokenizer of a served model, asked over the server's `/tokenize`.

    vLLM counts conversations and texts, llama.cpp texts alone. Nothing is guessed.

    Args:
        name: `openai:URL` or `openai:URL#MODEL`.
    """

    takes_tools = True  # whether it does is the server's to say

    def __init__(self, name: str) -> None:
        self._name = name

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
        model = ServerLanguageModel(self._name, attempts=1)
        return model.tokenize(asked)


class _RefusedFormError(Exception):
    """The server does not support an extension of OpenAI's protocol."""


class _RefusedSystemError(Exception):
    """The model's chat template has no system turn."""


def _check_system(fault: str, body: dict[str, Any] | None) -> None:
    """Raise where a server refuses a conversation for its system turn, in whatever words."""
    messages = (body or {}).get("messages") or [{}]
    names_roles = any(word in fault.lower() for word in _NO_SYSTEM)
    if messages[0].get("role") == "system" and names_roles:
        raise _RefusedSystemError(fault)


def _asked_pause(response: httpx.Response, pause: float) -> float:
    try:
        return min(max(float(response.headers["Retry-After"]), 0.0), 60.0)
    except (KeyError, ValueError):
        return pause
