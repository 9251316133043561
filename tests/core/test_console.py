"""What documents hold is shown and never acts on the terminal."""

import io

import pytest
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aloft.terminal.console import SafeConsole, escape_controls, screen

ATTACKS = [
    "\x1b[2J",  # clears the screen
    "\x1b]0;owned\x07",  # sets the title
    "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",  # a link that says something else
    "\x9b31m",  # a C1 control sequence introducer
    "a\rb",  # writes over the line
    "a\b\b\bb",
    "\x7f\x00\x08",
    "abc\u202egnp.exe",  # turns around what follows
    "\u2066hidden\u2069",
    "\x0b\x0c",
]


def shown(*renderables: object, colour: bool = False) -> str:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=colour, width=200, soft_wrap=True)
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()


def table_of(text: str) -> Table:
    table = Table("cell")
    table.add_row(escape(text))
    return table


@pytest.mark.parametrize("text", ATTACKS)
def test_controls_are_written_out_wherever_they_stand(text: str) -> None:
    for renderable in (escape(text), Text(text), table_of(text)):
        out = shown(renderable)
        assert not {c for c in out if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)}
        assert not set(out) & set("\u202e\u2066\u2069")


def test_what_is_written_out_can_be_read() -> None:
    assert escape_controls("\x1b[2Jé港\tx\ny\u202e") == "\\x1b[2Jé港\tx\ny\\u202e"


def test_colours_of_the_program_itself_stay() -> None:
    assert shown("[red]x[/red]", colour=True) == "\x1b[31mx\x1b[0m\n"


def test_names_of_emoji_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    screen.print(escape("docs/:key:.txt 1:100:1"))
    assert capsys.readouterr().out == "docs/:key:.txt 1:100:1\n"


def test_a_terminal_without_a_width_is_printed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    file = io.StringIO()
    SafeConsole(file=file, soft_wrap=True).print(table_of("found"))
    assert "found" in file.getvalue()
