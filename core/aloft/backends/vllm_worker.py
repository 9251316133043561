"""Generates with vLLM in a separate process: one JSON line in, one JSON line out.

`aloft.backends.vllm` runs this file by its path with the Python that has vLLM. It imports nothing
of Aloft, so that the two need not be installed together. The first line contains the engine's
options, every other line a batch of requests. The process ends when its input pipe closes.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
from typing import Any, TextIO

_ADDRESS_AT = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}
_ADDRESS_AT |= {"socket.getaddrinfo": 0, "socket.gethostbyname": 0}
_HERE = {None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1", b"::1"}

_ON_PROCESSOR = {
    "enforce_eager": True,  # compiling takes over a minute and gains 15 %
    "block_size": 32,  # the default of 128 finds few common beginnings: half the speed
}


class _Guard:
    """Refuses connections that leave this machine, as the parent process does."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _ADDRESS_AT:
            return
        if getattr(arguments[0], "family", None) == socket.AF_UNIX:
            return
        address = arguments[_ADDRESS_AT[event]]
        host = address[0] if isinstance(address, tuple) else address
        if host not in _HERE:
            self.refused.append(str(host))
            raise PermissionError(f"A connection to {host} was refused: this run stays local.")


class _Engine:
    """vLLM with one model and optionally one adapter."""

    def __init__(self, options: dict[str, Any], adapter: str | None) -> None:
        from vllm import LLM
        from vllm.lora.request import LoRARequest
        from vllm.platforms import current_platform

        if current_platform.is_cpu():
            options |= _ON_PROCESSOR
        self._vllm = LLM(**options)
        self._adapter = LoRARequest("adapter", 1, adapter) if adapter else None
        self.window: int = self._vllm.llm_engine.model_config.max_model_len

    def answer(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Token ids, the reason why they end, and alternatives of the first token."""
        scored = [request["sampling"].pop("scored", 0) for request in requests]
        outputs = self._vllm.generate(
            [{"prompt_token_ids": request["ids"]} for request in requests],
            [_sampling(**request["sampling"]) for request in requests],
            lora_request=self._adapter,
            use_tqdm=False,
        )
        return [
            _as_json(output.outputs[0]) | {"read": _last_logprobs(output, last)}
            for output, last in zip(outputs, scored, strict=True)
        ]


def _sampling(pattern: str = "", json_schema: Any = None, **values: Any) -> Any:
    from vllm import SamplingParams

    if pattern or json_schema is not None:
        from vllm.sampling_params import StructuredOutputsParams

        held = {"regex": pattern} if pattern else {"json": json_schema}
        values["structured_outputs"] = StructuredOutputsParams(**held)
    return SamplingParams(**values)


def _last_logprobs(output: Any, last: int) -> list[float]:
    """Log-probabilities of a prompt's last tokens."""
    ids = output.prompt_token_ids if last else []
    return [output.prompt_logprobs[i][ids[i]].logprob for i in range(len(ids) - last, len(ids))]


def _as_json(output: Any) -> dict[str, Any]:
    first = output.logprobs[0] if output.logprobs else {}
    return {
        "ids": list(output.token_ids),
        "end": output.finish_reason,
        "logprobs": {token: found.logprob for token, found in first.items()},
    }


def _read(stream: TextIO, lines: "queue.SimpleQueue[str]") -> None:
    """Pass lines on; end of input means that the parent no longer waits for answers."""
    for line in stream:
        lines.put(line)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Answer until requests end; an error is reported, then ends the process."""
    # duplicates of the pipes: what vLLM and its libraries print goes to stderr
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    guard = _Guard()
    sys.addaudithook(guard)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()

    def send(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer | {"refused": guard.refused}) + "\n")
        guard.refused.clear()

    try:
        engine = _Engine(**json.loads(lines.get()))
        send({"window": engine.window})
        while True:
            send({"answers": engine.answer(json.loads(lines.get()))})
    except Exception as error:
        fault = " ".join(str(error).split())[:300]
        send({"error": f"{type(error).__name__}: {fault}"})
        raise


if __name__ == "__main__":
    main()
