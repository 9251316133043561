"""How the name of a model says what runs it: `openai:URL#MODEL`, `vllm:MODEL`, or plain."""

from pathlib import Path

SERVER = "openai:"  # prefix of a model behind a server that speaks OpenAI's protocol
VLLM = "vllm:"  # prefix of a model that vLLM runs


def plain_name(name: str) -> str:
    """The name of a model without the prefix of the engine that runs it."""
    return name.removeprefix(VLLM)


def in_place(name: str, weights: str | Path) -> str:
    """The name of other weights, run by the same engine as `name`."""
    return name.removesuffix(plain_name(name)) + str(weights)
