"""A host's text becomes a reply: no prefix, no stop string, and cut only where it was."""

import pytest

from aloft.backends.host_models import (
    fingerprint_of_host,
    plain_text,
    read_reply,
    stream_growth,
)
from aloft.prompts import pair
from aloft.protocols import Prompt, Reply
from aloft.records import Message

PROMPT = Prompt(messages=(Message(role="user", content="Ask."),), prefix="### Question\n")


def test_a_plain_text_ends_with_the_prefix() -> None:
    assert plain_text(PROMPT) == "Ask.### Question\n"


@pytest.mark.parametrize(
    "text",
    [
        "Why?\n### Answer\nBecause.",  # the prefix was understood as written
        "### Question\nWhy?\n### Answer\nBecause.",  # it was repeated
        " \n### Question\nWhy?\n### Answer\nBecause.",
    ],
)
def test_a_repeated_prefix_is_dropped(text: str) -> None:
    assert pair.parse_headings(read_reply(text, PROMPT).text) == ("Why?", "Because.")


def test_a_reply_ends_before_the_first_stop_string() -> None:
    reply = read_reply("one\n\ntwo", PROMPT, ("two", "\n\n"), {"finish_reason": "length"})

    # what was cut lay behind the stop
    assert reply == Reply(text="one", is_finished=True, is_anew=True)


@pytest.mark.parametrize(
    ("text", "continues", "is_anew"),
    [
        ("Why?", False, True),
        (f"{PROMPT.prefix}Why?", False, False),  # it repeats what it was to begin with
        ("Why?", True, False),
    ],
)
def test_a_reply_begins_anew_unless_the_host_continues(
    text: str, continues: bool, is_anew: bool
) -> None:
    assert read_reply(text, PROMPT, continues=continues).is_anew is is_anew


@pytest.mark.parametrize(
    ("facts", "is_finished"),
    [
        ({"finish_reason": "length"}, False),
        ({"stop_reason": "max_tokens"}, False),
        ({"finish_reason": "MAX_TOKENS"}, False),
        ({"finish_reason": "stop"}, True),
        ({}, True),
    ],
)
def test_a_reply_is_cut_where_the_host_says_so(facts: dict[str, str], is_finished: bool) -> None:
    assert read_reply("one", PROMPT, (), facts).is_finished is is_finished


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("One. ##", "One. "),
        ("One.\n", "One."),
        ("One.\n#", "One."),
        ("One. \n\n", "One. \n"),
        ("One\ufffd", "One"),
        ("One", "One"),
        ("", ""),
    ],
)
def test_what_may_begin_a_stop_string_is_not_told_yet(text: str, sure: str) -> None:
    pieces = list(stream_growth(iter([text]), ("\n###", "###")))
    assert "".join(piece.text for piece in pieces) == sure
    assert all(piece.text and piece.is_piece for piece in pieces)


class Hosted:
    """A host's model with settings of its own."""

    def __init__(self, **settings: object) -> None:
        self.__dict__.update(settings)


def test_a_hosts_model_is_known_by_all_that_changes_its_replies() -> None:
    known = {
        fingerprint_of_host(Hosted(**settings), "name", options, declared)
        for settings, options, declared in (
            ({}, {}, ""),
            ({"temperature": 1.0}, {}, ""),
            ({"additional_kwargs": {"seed": 1}}, {}, ""),
            ({"reasoning": False}, {}, ""),
            ({}, {"stop": ["#"]}, ""),
            ({}, {}, "[('responses', ['a'])]"),
            ({}, {}, "[('responses', ['b'])]"),
        )
    }
    assert len(known) == 7
    lying = (fingerprint_of_host(Hosted(model_kwargs={"hook": object()}), "a", {}) for _ in "ab")
    assert len({*lying}) == 1
    assert fingerprint_of_host(Hosted(timeout=3), "a", {}) == fingerprint_of_host(Hosted(), "a", {})
