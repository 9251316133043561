"""Turns a missing optional dependency into one line that says what to install."""

import importlib
from types import ModuleType

from aloft.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # it is installed but broken: its own error says more
        message = f'{module} is not installed. Run: pip install "aloft-rag[{extra}]"'
        raise MissingExtraError(message) from error
