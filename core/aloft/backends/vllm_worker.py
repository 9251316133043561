"""Turns token ids to vLLM's replies, in a process of its own: one JSON line in, one out.

`aloft.backends.vllm` runs this file by its path with the Python that has vLLM; nothing of Aloft is
imported, so that neither has to be installed beside the other. The first line holds the engine's
options; every other one a batch of requests. The process ends with the pipe it reads from.
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
    "enforce_eager": True,  # compiling takes a minute and more, and gains 15 %
    "block_size": 32,  # at its 128 little of a common start is found again: half the speed
}


class _Guard:
    """Refuses connections that leave this machine, as the process that started this one does."""

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
    """vLLM with one model, and one adapter or none."""

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
        """Token ids, the reason for their end, and what the first could have been."""
        told = [request["sampling"].pop("told", 0) for request in requests]
        outputs = self._vllm.generate(
            [{"prompt_token_ids": request["ids"]} for request in requests],
            [_sampling(**request["sampling"]) for request in requests],
            lora_request=self._adapter,
            use_tqdm=False,
        )
        return [
            _told(output.outputs[0]) | {"read": _read_off(output, last)}
            for output, last in zip(outputs, told, strict=True)
        ]


def _sampling(pattern: str = "", **values: Any) -> Any:
    from vllm import SamplingParams

    if pattern:
        from vllm.sampling_params import StructuredOutputsParams

        values["structured_outputs"] = StructuredOutputsParams(regex=pattern)
    return SamplingParams(**values)


def _read_off(output: Any, last: int) -> list[float]:
    """Log-probabilities of a prompt's last tokens."""
    ids = output.prompt_token_ids if last else []
    return [output.prompt_logprobs[i][ids[i]].logprob for i in range(len(ids) - last, len(ids))]


def _told(output: Any) -> dict[str, Any]:
    first = output.logprobs[0] if output.logprobs else {}
    return {
        "ids": list(output.token_ids),
        "end": output.finish_reason,
        "logprobs": {token: found.logprob for token, found in first.items()},
    }


def _read(stream: TextIO, lines: "queue.SimpleQueue[str]") -> None:
    """Pass lines on; that there are no more means that nobody waits for an answer."""
    for line in stream:
        lines.put(line)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Answer until the requests end; a fault ends the process after it was told."""
    # own copies of the pipes: what vLLM and the libraries below print goes to the error stream
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    guard = _Guard()
    sys.addaudithook(guard)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()

    def tell(told: dict[str, Any]) -> None:
        answers.write(json.dumps(told | {"refused": guard.refused}) + "\n")
        guard.refused.clear()

    try:
        engine = _Engine(**json.loads(lines.get()))
        tell({"window": engine.window})
        while True:
            tell({"answers": engine.answer(json.loads(lines.get()))})
    except Exception as error:
        fault = " ".join(str(error).split())[:300]
        tell({"error": f"{type(error).__name__}: {fault}"})
        raise


if __name__ == "__main__":
    main()
