"""A local language model that vLLM runs in a child process.

vLLM needs other versions of torch and transformers than training does, so it is installed in its
own environment: ALOFT_VLLM_PYTHON names that environment's Python. A model is named `vllm:MODEL`.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.packaged import resolve_model
from aloft.backends.tool_calls import call_format_of, callable_tools
from aloft.errors import ModelError
from aloft.network_guard import count_refused
from aloft.protocols import Floats, Prompt, Reply

_WORKER = Path(__file__).with_name("vllm_worker.py")
_PYTHON = "ALOFT_VLLM_PYTHON"
_SET_UP = (
    'Run: python -m venv VENV && VENV/bin/pip install "aloft-rag[vllm]", '
    f"then set {_PYTHON}=VENV/bin/python"
)
_SAMPLED_FROM = 50  # most likely tokens, as in `aloft.backends.decoding`
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the maximum LoRA ranks that vLLM accepts
_FORCED = {
    **dict.fromkeys(("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TRANSFORMERS_OFFLINE"), "1"),
    **dict.fromkeys(("DO_NOT_TRACK", "VLLM_NO_USAGE_STATS"), "1"),
    "VLLM_HOST_IP": "127.0.0.1",  # otherwise it looks up its address in the network
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a single process
    "PYTHONSAFEPATH": "1",  # otherwise modules next to the worker hide libraries of the same name
}
_DEFAULTS = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB; vLLM's default is nearly all memory
    "OMP_WAIT_POLICY": "passive",  # spinning threads halve the speed of a busy CPU
}

_OPTIONS = {
    "max_model_len": -1,  # as much of the model's context window as fits in memory
    "enable_prefix_caching": True,
    "generation_config": "vllm",  # not the model's own settings: greedy means greedy
    "load_format": "safetensors",
    "trust_remote_code": False,
    "structured_outputs_config": {"backend": "guidance"},  # as models in this process are held
}


class VllmLanguageModel:
    """A causal language model in vLLM, with continuous batching and prefix caching.

    vLLM runs in a child process, so its library versions stay separate, and all GPU memory is
    freed when the model is released or this process ends, which vLLM cannot guarantee within one
    process. Prompts are rendered and tokenized here, as for every local model.

    Replies are greedy where a prompt has no seed and sampled with its seed otherwise; they match
    the prompt's pattern or JSON schema. A tool that must be called is called once, with arguments
    that satisfy its schema; calls that the model makes by itself are read as it writes them.

    Args:
        model: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        adapter: A LoRA adapter in peft's format.
        dtype: Number format; "auto": that of the weights, or the nearest one that is fast.

    Raises:
        ModelError: the model is not on this machine, vLLM is missing, or vLLM cannot load it.
    """

    def __init__(self, model: str, adapter: Path | None = None, *, dtype: str = "auto") -> None:
        folder = Path(resolve_model(model))
        python = find_python()
        from aloft.backends.encoding import load_tokenizer

        self.tokenizer = load_tokenizer(folder)
        self._fingerprint = fingerprint_folder(*([folder, adapter] if adapter else [folder]))
        self._worker = _Worker(python)
        options = {"model": str(folder), "dtype": dtype, **_OPTIONS, **_lora_options(adapter)}
        started = self._worker.ask(
            {"options": options, "adapter": str(adapter) if adapter else None}
        )
        self._window: int = started["window"]
        self.tokens_scored = 0  # scores carry no token counts themselves

    @property
    def fingerprint(self) -> str:
        """Identifies the base model and its adapter, whatever engine runs them."""
        return self._fingerprint

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt; one that exceeds the context window gets an empty, cut reply.

        Raises:
            ModelError: vLLM ended.
        """
        prompts = [self._begin_call(prompt) for prompt in prompts]
        encoded = self._encode(prompts)
        sampling = [
            {"max_tokens": max_new_tokens, "stop": list(stop), **_sampling(prompt)}
            for prompt in prompts
        ]
        answers = self._generate(encoded, sampling)
        return [
            self._reply(answer, prompt, len(ids), stop)
            for answer, prompt, ids in zip(answers, prompts, encoded, strict=True)
        ]

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probability of each choice's first token after each prompt; (prompts, choices).

        All choices of a prompt that exceeds the context window are equally likely.

        Raises:
            ModelError: two choices begin with one token, or vLLM ended.
        """
        from aloft.backends.encoding import first_tokens

        first = first_tokens(self.tokenizer, choices)
        asked = {"max_tokens": 1, "temperature": 0.0, "logprob_token_ids": first}
        encoded = self._encode(prompts)
        self.tokens_scored += sum(map(len, encoded))
        answers = self._generate(encoded, [asked] * len(prompts))
        scores = np.zeros((len(prompts), len(choices)), np.float32)
        for row, answer in enumerate(answers):
            if answer is not None:
                scores[row] = [answer["logprobs"][str(token)] for token in first]
        scores = np.exp(scores - scores.max(1, keepdims=True, initial=-np.inf))
        shares: Floats = scores / scores.sum(1, keepdims=True)
        return shares

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Mean log-probability of each reply's tokens after its prompt; (prompts,).

        A prompt that exceeds the context window scores minus infinity.

        Raises:
            ModelError: vLLM ended, as version 0.32 does on a CPU with an adapter.
        """
        from aloft.backends.encoding import encode_text

        ends = [encode_text(self.tokenizer, reply) for reply in replies]
        rows = [row + end for row, end in zip(self._encode(prompts), ends, strict=True)]
        self.tokens_scored += sum(map(len, rows))
        asked = [
            {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "scored": len(end)}
            for end in ends
        ]
        scores = np.full(len(rows), -np.inf, np.float32)
        for row, answer in enumerate(self._generate(rows, asked)):
            if answer is not None:
                scores[row] = np.mean(answer["read"])
        return scores

    def _encode(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        from aloft.backends.encoding import encode_prompt

        return [encode_prompt(self.tokenizer, prompt) for prompt in prompts]

    def _generate(
        self, encoded: Sequence[list[int]], sampling: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any] | None]:
        """The answer to each prompt; None where the prompt fills the context window."""
        short = [i for i, ids in enumerate(encoded) if len(ids) < self._window]
        answers: list[dict[str, Any] | None] = [None] * len(encoded)
        if short:
            batch = [{"ids": encoded[i], "sampling": sampling[i]} for i in short]
            answered = self._worker.ask(batch)["answers"]
            for i, answer in zip(short, answered, strict=True):
                answers[i] = answer
        return answers

    def _begin_call(self, prompt: Prompt) -> Prompt:
        """A prompt whose reply must be a call goes on from the begin of one, by a JSON schema."""
        tools = callable_tools(prompt)
        if not tools or prompt.tool_choice == "auto":
            return prompt
        form = call_format_of(self.tokenizer)
        return replace(prompt, prefix=form.opening, json_schema=form.schema(tools))

    def _reply(
        self, answer: dict[str, Any] | None, prompt: Prompt, read: int, stop: Sequence[str]
    ) -> Reply:
        if answer is None:
            return Reply(text="", is_finished=False, prompt_tokens=read, is_unread=True)
        ids = answer["ids"]
        ids = ids[:-1] if ids and ids[-1] == self.tokenizer.eos_token_id else ids
        tools = callable_tools(prompt)
        form = call_format_of(self.tokenizer) if tools else None
        text: str = self.tokenizer.decode(ids, skip_special_tokens=form is None)
        places = [place for place in (text.find(string) for string in stop) if place >= 0]
        text = text[: min(places)] if places else text
        text, calls = form.parse(prompt.prefix + text, tools) if form else (text, ())
        return Reply(
            text=text,
            is_finished=answer["end"] == "stop" or bool(places),
            prompt_tokens=read,
            new_tokens=len(ids),
            tool_calls=calls,
        )


class _Worker:
    """The process that runs vLLM; it ends with this object or with this process."""

    def __init__(self, python: str) -> None:
        path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the worker writes to it
        self._process = subprocess.Popen(
            [python, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={
                **_DEFAULTS,
                **os.environ,
                **_FORCED,
                "PATH": path,
            },  # ninja is installed next to it
            text=True,
            start_new_session=True,  # ends as one group; Ctrl-C reaches this process alone
        )
        self.end = weakref.finalize(self, _end, self._process)

    def ask(self, question: Any) -> dict[str, Any]:
        """Send one line to the process and return its answer.

        Raises:
            ModelError: the process has ended or reported an error.
        """
        try:
            line = _exchange(self._process, json.dumps(question) + "\n")
        except BaseException:
            self.end()  # an unread answer would be taken for the next one's
            raise
        answer: dict[str, Any] = json.loads(line) if line.endswith("\n") else {}
        count_refused(answer.get("refused", ()))
        if not answer or "error" in answer:
            self.end()
            raise ModelError(
                f"vLLM ended: {answer.get('error') or self._last_words()}. Fix that, or name the "
                "model without vllm:, then run the same command again to resume."
            )
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        last = [line.strip() for line in lines if line.strip()][-1:]
        return " ".join([f"status {self._process.returncode}", *last])[:300]


def find_python() -> str:
    """The Python in whose environment vLLM is installed.

    Raises:
        ModelError: there is none.
    """
    named = os.environ.get(_PYTHON)
    if named:
        found = shutil.which(Path(named).expanduser())
        if found is None:
            raise ModelError(f"{_PYTHON} is {named}, which is not a program. {_SET_UP}")
        return str(found)
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise ModelError(f"vLLM is not installed in this Python. {_SET_UP}")
    return sys.executable


def _lora_options(adapter: Path | None) -> dict[str, Any]:
    if adapter is None:
        return {}
    facts = json.loads((adapter / "adapter_config.json").read_bytes())
    r = max([facts["r"], *facts.get("rank_pattern", {}).values()])
    return {"enable_lora": True, "max_lora_rank": next((n for n in _RANKS if n >= r), r)}


def _sampling(prompt: Prompt) -> dict[str, Any]:
    held: dict[str, Any] = {"pattern": prompt.pattern} if prompt.pattern else {}
    if prompt.json_schema is not None:
        from aloft.backends.grammar import guided_schema

        held["json_schema"] = guided_schema(prompt.json_schema)
    if prompt.seed is None:
        return {"temperature": 0.0, **held}
    drawn = {"temperature": prompt.temperature, "seed": prompt.seed % 2**31, "top_k": _SAMPLED_FROM}
    return {**drawn, **({"top_p": prompt.top_p} if prompt.top_p < 1 else {}), **held}


def _exchange(process: "subprocess.Popen[str]", line: str) -> str:
    """Send a line and return the answer; "" where the process has ended."""
    if process.stdin is None or process.stdout is None or process.poll() is not None:
        return ""
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline()


def _end(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):
        if sys.platform == "win32":  # it has no groups of processes
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):  # for input that was not read
            if pipe is not None:
                pipe.close()
