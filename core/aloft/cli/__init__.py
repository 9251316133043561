"""The command line: a handler checks its options and calls one function of the library."""

from aloft.cli.app import app, main

__all__ = ["app", "main"]
