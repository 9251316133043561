"""How the name of a model says what runs it: `openai:URL#MODEL`, `vllm:MODEL`, or plain."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

SERVER = "openai:"  # prefix of a model behind a server that speaks OpenAI's protocol
VLLM = "vllm:"  # prefix of a model that vLLM runs


def plain_name(name: str) -> str:
    """The name of a model without the prefix of the engine that runs it."""
    return name.removeprefix(VLLM)


def in_place(name: str, weights: str | Path) -> str:
    """The name of other weights, run by the same engine as `name`."""
    return name.removesuffix(plain_name(name)) + str(weights)


def absolute_name(name: str) -> str:
    """The name of a model, with an absolute path where it names a folder.

    So it stands for the same model wherever the process's working directory moves.
    """
    plain = plain_name(name)
    folder = Path(plain).expanduser()
    is_path = plain.startswith((".", "~")) or (plain.strip() and folder.is_dir())
    return in_place(name, absolute_folder(plain)) if is_path else name


def absolute_folder(folder: str | os.PathLike[str]) -> str:
    """The absolute path of a folder; `~` is the user's home."""
    return str(Path(folder).expanduser().absolute())


def _read_name(given: Any) -> Any:
    is_name = isinstance(given, str | os.PathLike)
    return absolute_name(os.fspath(given)) if is_name else given  # else pydantic says what is wrong


def _read_folder(given: Any) -> Any:
    return absolute_folder(given) if isinstance(given, str | os.PathLike) else given


ModelName = Annotated[str, BeforeValidator(_read_name)]
"""Field of a component that holds a model's name; see `absolute_name`."""
FolderName = Annotated[str, BeforeValidator(_read_folder)]
"""Field of a component that holds the absolute path of a folder."""
