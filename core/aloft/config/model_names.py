"""How the name of a model says what runs it: `openai:URL#MODEL`, `vllm:MODEL`, or plain.

Servers of one model are several `openai:` names with commas between them.
"""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from aloft.config.base import Text
from aloft.errors import ConfigError

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

    Raises:
        ConfigError: it is no text.
    """
    if not isinstance(name, str):
        raise ConfigError(
            f"A model is named by a text, but {type(name).__name__} was given. Pass its folder, or "
            "its embedded: or Hugging Face name."
        )
    plain = plain_name(name)
    folder = absolute_folder(plain)
    is_there = os.path.isdir(folder)  # noqa: PTH112 - Path's raises where a name is too long
    is_path = plain.startswith((".", "~")) or (plain.strip() and is_there)
    return in_place(name, folder) if is_path else name


def absolute_folder(folder: str | os.PathLike[str]) -> str:
    """The absolute path of a folder; `~` is the user's home."""
    home_put_in = os.path.expanduser(folder)  # noqa: PTH111 - Path's raises for an unknown user
    return str(Path(home_put_in).absolute())


def read_path(name: str, given: Any) -> Path:
    """The absolute path that an argument names; `~` is the user's home.

    Raises:
        ConfigError: it is no path, or an empty one, as of a variable that is not set.
    """
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(
            f"{name} is of type {type(given).__name__}, but must be the path of a file or folder."
        )
    if not os.fspath(given):
        raise ConfigError(f"{name} is empty. Write a path, or . for the working folder.")
    return Path(absolute_folder(given))


def server_names(name: str) -> tuple[str, ...]:
    """The names of the servers behind a model's name; none where the model is on this machine."""
    if not name.startswith(SERVER):
        return ()
    return tuple(one.strip() for one in name.split(",") if one.strip())


def check_addresses(name: str) -> None:
    """Check that the addresses of a model's servers hold no password.

    They are written down: in run folders, reports, bundles and errors.

    Raises:
        ConfigError: one does.
    """
    for one in server_names(name):
        _, at, host = one.partition("://")[2].partition("/")[0].rpartition("@")
        if at:
            raise ConfigError(
                f"{SERVER}...@{host}: an address with a user name or password is written down in "
                "run folders and reports. Leave them out; for a server that requires a key, set "
                "ALOFT_API_KEY, or pass api_key."
            )


def _join_servers(given: Any) -> Any:
    """One name of several servers of one model, which a file lists."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        return given
    others = [one for one in given if not one.startswith(SERVER)]
    if len(given) > 1 and others:
        raise ValueError(
            f'it lists "{others[0]}", but only servers of one model ({SERVER}URL#MODEL) can be '
            "listed. Name one model, or servers alone."
        )
    name = ", ".join(given)
    check_addresses(name)
    return name


LanguageModelName = Annotated[Text, BeforeValidator(_join_servers)]
"""Setting that names a language model, or lists several servers that have the same one."""


def _read_name(given: Any) -> Any:
    is_name = isinstance(given, str | os.PathLike)
    return absolute_name(os.fspath(given)) if is_name else given  # else pydantic says what is wrong


def _read_folder(given: Any) -> Any:
    is_path = isinstance(given, str | os.PathLike)
    return str(read_path("The folder", given)) if is_path else given


ModelName = Annotated[str, BeforeValidator(_read_name)]
"""Field of a component that holds a model's name; see `absolute_name`."""
FolderName = Annotated[str, BeforeValidator(_read_folder)]
"""Field of a component that holds the absolute path of a folder."""
