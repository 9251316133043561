"""One server of OpenAI's protocol: how it is asked, retried, and what it refused to support."""

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import httpx

from aloft.backends.host_models import has_system_turn, merge_system_turn, plain_text, turns
from aloft.backends.server_protocol import (
    listed_models,
    request_messages,
    shortened,
    unread_response,
)
from aloft.backends.server_settings import DEFAULT_SETTINGS, ServerSettings
from aloft.config import SERVER
from aloft.errors import ModelError, ProbabilitiesError
from aloft.protocols import Prompt

CONCURRENCY = 16  # a local server batches so many well; more would wait in its queue
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds
ATTEMPTS = 7  # with the pauses above about a minute: time to restart a server
_TIMEOUT, _CONNECTING = 600.0, 10.0  # seconds; large models are slow on a CPU
_AGAIN = frozenset({408, 409, 425, 429})  # and every 5xx
_NOT_NOW = _AGAIN | {502, 503, 504}  # also while a server is still loading its model
_REFUSED_FORM = frozenset({400, 422})
_WANTS_KEY = frozenset({401, 403})
_NO_SYSTEM = ("system role", "roles must alternate", "system message")
_TOO_LONG = ("context", "too long", "maximum", "exceed")
_UNPAID = ("budget", "quota", "credit", "billing")  # what is exceeded is no context window
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}  # vLLM's extension
_HOLD = "structured_outputs"  # vLLM's as well; other servers ignore or refuse it
_jitter = random.Random()  # the host's own generator is left alone

T = TypeVar("T")
Read = Callable[[httpx.Response], T]
"""Turns a response into what is wanted of it; raises where it is no such response."""


class NoReplyError(ModelError):
    """A server gave no reply, however often it was asked.

    Attributes:
        fault: What happened the last time.
    """

    def __init__(self, message: str, fault: str = "") -> None:
        super().__init__(message)
        self.fault = fault


class ServerConnection:
    """A server, and what of the protocol it has refused so far.

    Args:
        address: URL below which the protocol's paths lie.
        model: The model's name there; "": the only one that it has.
        concurrency: Requests at a time.
        pauses: Seconds between attempts.
        attempts: How often a request is sent before the server counts as down.
        settings: What the application sets of the requests.

    Raises:
        ModelError: the API key cannot be sent.

    Attributes:
        attempts: As above, or by the settings; it may be changed while requests are waiting.
        can_continue: Whether it continues a reply from a prefix, until it refuses to.
        retries: Requests that were sent again.
    """

    def __init__(
        self,
        address: str,
        model: str = "",
        *,
        concurrency: int = CONCURRENCY,
        pauses: Sequence[float] = PAUSES,
        attempts: int = ATTEMPTS,
        settings: ServerSettings = DEFAULT_SETTINGS,
    ) -> None:
        key = (settings.api_key or os.environ.get("ALOFT_API_KEY") or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ModelError(
                f"The API key of {address} holds characters that no request can. Set ALOFT_API_KEY "
                "anew, or pass api_key."
            )
        longest = settings.timeout or _TIMEOUT
        self.address = address
        self._client = httpx.Client(
            base_url=address,
            timeout=httpx.Timeout(longest, connect=min(longest, _CONNECTING)),
            trust_env=False,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=concurrency),
        )
        self._pauses = tuple(pauses)
        self.attempts = attempts if settings.max_retries is None else settings.max_retries + 1
        self.can_continue = True
        self._can_hold = True  # until it refuses a pattern for the reply
        self._takes_system = True  # until its model's template refuses a system turn
        self._lock = threading.Lock()
        self.retries = 0
        self._named = model

    @property
    def model(self) -> str:
        """Name of the model.

        Raises:
            ModelError: none is named, and the server does not respond or has more than one.
        """
        if not self._named:
            self._named = self._only_model()
        return self._named

    def context_window(self) -> int | None:
        """Context window in tokens, where the server reports it; an adapter has its model's.

        A server without a list of models can still reply to prompts: its window is unknown.

        Raises:
            ModelError: the server does not respond, is not ready, or requires a key.
        """
        try:
            response = self._client.get(self.address + "/models")
        except httpx.RequestError as error:
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
        url = self.address.removesuffix("/v1") + "/tokenize"
        try:
            response = self._client.post(url, json={"model": self.model, **asked})
            answer = response.raise_for_status().json()
            if isinstance(answer["tokens"], list):
                return dict(answer)
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            pass
        raise ModelError(
            f"The server at {self.address} does not count tokens: {url} gives no answer. Pass a "
            "tokenizer of your own (LangChain: custom_get_token_ids; LlamaIndex: "
            "Settings.tokenizer), or name the model's folder instead of its server."
        )

    def ask(self, prompt: Prompt, body: dict[str, Any], read: Read[T]) -> T | None:
        """Send one prompt; None where it exceeds the model's context window.

        Args:
            prompt: What the request is about.
            body: What else is asked.
            read: Reads the response.

        Raises:
            ModelError: the server refuses the request, or gives no reply.
        """
        if prompt.is_plain:
            body = {**body, "prompt": plain_text(prompt)}
            return self._ask_held("/completions", body, prompt.pattern, read)
        if self._takes_system:
            try:
                return self._chat(prompt, body, read)
            except _RefusedSystemError:
                self._takes_system = False
        return self._chat(prompt, body, read)

    def _chat(self, prompt: Prompt, body: dict[str, Any], read: Read[T]) -> T | None:
        conversation = turns(prompt)
        if has_system_turn(conversation) and not self._takes_system:
            conversation = merge_system_turn(conversation)
        messages = request_messages(conversation)
        if prompt.prefix and self.can_continue:
            begun = [*messages, {"role": "assistant", "content": prompt.prefix}]
            try:
                continued = {**body, **_CONTINUE, "messages": begun}
                return self._ask_held("/chat/completions", continued, prompt.pattern, read)
            except _RefusedFormError:
                self.can_continue = False
        body = {**body, "messages": messages}
        return self._ask_held("/chat/completions", body, prompt.pattern, read)

    def _ask_held(self, path: str, body: dict[str, Any], pattern: str, read: Read[T]) -> T | None:
        """Request a reply that matches a pattern, where the server supports that."""
        if not pattern or not self._can_hold:
            return self._send("POST", path, body, read)
        with suppress(_RefusedFormError):
            return self._send("POST", path, {**body, _HOLD: {"regex": pattern}}, read)
        answer = self._send("POST", path, body, read)  # raises where the pattern was not the reason
        self._can_hold = False
        return answer

    def _send(self, method: str, path: str, body: dict[str, Any] | None, read: Read[T]) -> T | None:
        sent = None if body is None else {"model": self.model, **body}
        fault, attempt = "", 0
        while True:
            pause = self._pauses[min(attempt, len(self._pauses) - 1)]
            response: httpx.Response | None = None
            try:
                request = self._client.build_request(method, self.address + path, json=sent)
                response = self._client.send(request, stream=read is unread_response)
                if response.is_success:
                    return read(response)
                response.read()
            except httpx.RequestError as error:
                fault = str(error) or type(error).__name__
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                said = f": {shortened(response)}" if response is not None else ""
                fault = f"its response is not a reply{said}"
            else:
                fault = f"{response.status_code} {shortened(response)}"
                _check_system(fault, body)
                if response.status_code not in _AGAIN and response.status_code < 500:
                    self._refused(response, body)
                    return None
                pause = _asked_pause(response, pause)
            attempt += 1
            if attempt >= self.attempts:
                raise self._silent(attempt, fault)
            with self._lock:
                self.retries += 1
            time.sleep(pause * _jitter.uniform(0.8, 1.2))

    def _silent(self, attempts: int, fault: str) -> NoReplyError:
        return NoReplyError(
            f"The server at {self.address} gave no reply after {attempts} attempts ({fault}). "
            "Start it, then run the same command again to resume.",
            fault,
        )

    def _refused(self, response: httpx.Response, body: dict[str, Any] | None) -> None:
        said = shortened(response)
        if response.status_code in _WANTS_KEY:
            raise ModelError(
                f"{self.address} requires an API key ({said}). Set ALOFT_API_KEY, or pass api_key."
            )
        if response.status_code in _REFUSED_FORM | {413}:
            words = said.lower()
            is_unpaid = any(word in words for word in _UNPAID)
            if not is_unpaid and any(word in words for word in _TOO_LONG):
                return  # exceeds the context window: a rejection of this passage alone
            if body is not None and not body.keys().isdisjoint({*_CONTINUE, _HOLD}):
                raise _RefusedFormError(said)
        refused = ProbabilitiesError if body is not None and "logprobs" in body else ModelError
        raise refused(
            f"The server at {self.address} refused: {response.status_code} {said}. "
            "Check the address and the model."
        )

    def _only_model(self) -> str:
        listed = list(self._send("GET", "/models", None, listed_models) or ())
        if len(listed) == 1:
            return listed[0]
        raise ModelError(
            f"The server at {self.address} has {len(listed)} models: {', '.join(listed)}. "
            f"Name one: {SERVER}{self.address}#MODEL"
        )


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
        return min(max(0.0, float(response.headers["Retry-After"])), 60.0)  # "nan" is no pause
    except (KeyError, ValueError):
        return pause
