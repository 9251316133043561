"""Definitions: which sentences say what a name stands for, and as which noun phrase."""

import pytest

from aloft.text.definitions import find_definitions


@pytest.mark.parametrize(
    ("text", "title", "found"),
    [
        (
            "Alden Weir (August 30, 1852 (Julian) – 1919) was an American painter who taught in "
            "Boston. He was a member of nothing that counts here.",
            "",
            [("Alden Weir", "the American painter who taught in Boston")],
        ),
        # a text's first sentence is about its title
        (
            "Thomas William Hiddle is an English actor and film producer.",
            "Tom Hiddle",
            [("Tom Hiddle", "the English actor and film producer")],
        ),
        (
            "He sang.\nThe Rhine Falls are wide. The Ulla Bridge was the longest bridge of its "
            "time, and it fell.",
            "Rhine",
            [("Ulla Bridge", "the longest bridge of its time")],
        ),
        # up to the first clause that ends, once it says enough
        (
            "Port Aberley is a town, a parish and a harbour on the coast of Ull, England, where it "
            "rains.",
            "",
            [("Port Aberley", "the town, a parish and a harbour on the coast of Ull")],
        ),
        (
            "Ulla Weir is a Norwegian painter, singer, harbour pilot, and fisherman, born in Ull.",
            "",
            [("Ulla Weir", "the Norwegian painter, singer, harbour pilot, and fisherman")],
        ),
        (
            "Sigmund Weir is a pilot, who became the first Norwegian (or Dane)[2] to fly over Ull.",
            "",
            [("Sigmund Weir", "the pilot, who became the first Norwegian to fly over Ull")],
        ),
        ("Sigmund Weir is the first Norwegian pilot (or Dane to fly over Ull.", "", []),
        # a title that is told from others
        ("Thomas Hiddle is an English actor and film producer.", "Thomas Hiddle (actor)", []),
        # a full stop that ends no sentence
        ("New Deal Act is a law enacted by President Franklin D. Roosevelt in 1933.", "", []),
        ("Insulin is a peptide hormone that the beta cells produce.", "Insulin", []),  # one word
        ("This Port is a large town on the coast of Ull.", "", []),
        ("Port Aberley is a town.", "", []),  # fits many
        ("Port Aberley is one of the oldest towns on the coast.", "", []),
        ("Port Aberley is the same town that we named above in brief.", "", []),
        ("Port Aberley is the home of the team, which he left for the", "", []),
        ('Port Aberley is a novel about "Ulla, the town on the coast.', "", []),
        ("port aberley is a large town on the coast of Ull.", "", []),
    ],
)
def test_a_sentence_defines_a_name(text: str, title: str, found: list[tuple[str, str]]) -> None:
    assert list(find_definitions(text, title)) == found
