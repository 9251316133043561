"""Composition: which names of a question give way to what another passage says of them."""

from dataclasses import replace
from itertools import permutations

import pytest

from aloft.records import Passage, QAPair
from aloft.synthesis.composition import (
    DefinedNames,
    Definition,
    compose_pairs,
    compose_question,
    define_names,
    find_mention,
)
from aloft.text.overlap import leaks

WEIR = Passage(
    document_id="weir",
    title="Alden Weir",
    text="Alden Weir was an American painter who taught drawing in Boston. He died in 1919.",
    start=0,
)
BRIDGE = Passage(
    document_id="bridge",
    text="The Ulla Bridge was painted by Alden Weir in the winter of 1901, before it fell.",
    start=0,
)
TOWN = Passage(
    document_id="town",
    title="Aberley",
    text="Port Aberley is a town on the coast of Ull where the Ulla Bridge stood until 1903.",
    start=0,
)
OTHERS = [
    Passage(document_id=f"other {i}", text=f"The {i}th ship left Ull with coal.", start=0)
    for i in range(20)
]
CORPUS = [WEIR, BRIDGE, TOWN, *OTHERS]
PAINTER = Definition(
    name="Alden Weir",
    phrase="the American painter who taught drawing in Boston",
    passage_id=WEIR.id,
)
BY_ID = {one.id: one for one in CORPUS}


def pair(question: str, answer: str = "the winter of 1901", passage: Passage = BRIDGE) -> QAPair:
    return QAPair(passage_id=passage.id, question=question, answer=answer)


def composed(*pairs: QAPair, share: float = 1.0, seed: int = 0) -> list[QAPair]:
    return compose_pairs(pairs, BY_ID, [PAINTER], share, seed=seed)


def test_a_name_is_defined_by_one_passage_and_mentioned_by_another() -> None:
    assert define_names(CORPUS, CORPUS) == [PAINTER]  # nothing else mentions Port Aberley
    mention = Passage(document_id="m", text="Coal came to Port Aberley by sea.", start=0)
    town = Definition(
        name="Port Aberley",
        phrase="the town on the coast of Ull where the Ulla Bridge stood until 1903",
        passage_id=TOWN.id,
    )
    assert define_names([*CORPUS, mention], [*CORPUS, mention]) == [PAINTER, town]
    assert define_names([*CORPUS, mention], [mention, WEIR]) == [town]


@pytest.mark.parametrize(
    "more",
    [
        [replace(WEIR, document_id="again", text=f"{WEIR.text} He was tall.")],  # two define it
        # it finds another passage first
        [replace(OTHERS[0], text="An American painter taught drawing in Boston. Drawing, Boston!")],
        [replace(one, text=f"{one.text} Alden Weir was there.") for one in OTHERS],  # not rare
    ],
)
def test_a_name_that_is_not_rare_or_not_told_apart_is_not_defined(more: list[Passage]) -> None:
    assert define_names([*CORPUS, *more], CORPUS) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("By 1901, Alden Weir came.", ["Alden Weir"]),
        ("The 1901 Alden Weir came last.", []),
        ("He saw Alden Weir's house.", ["Alden Weir"]),
        ("Alden Weir came. Alden\nWeir left.", ["Alden Weir", "Alden\nWeir"]),
        ("Julian Alden Weir came.", ["Alden Weir"]),  # a sentence begins with a capital letter
        ("There Julian Alden Weir came.", []),  # another name
        ("The Alden Weir Museum is new.", []),
        ("He left the School of Alden Weir.", []),
        ("He left the school of Alden Weir.", ["Alden Weir"]),
        ("Alden Weirs came, and alden weir.", []),
        ("He saw Alden Weir and Julian Weir.", []),
    ],
)
def test_names_are_found_letter_by_letter(text: str, found: list[str]) -> None:
    places = list(DefinedNames([PAINTER]).find(text))
    assert [text[start:end] for _, start, end in places] == found
    assert all(definition == PAINTER for definition, _, _ in places)


def test_the_longest_name_counts() -> None:
    longer = replace(PAINTER, name="Alden Weir Junior")
    names = DefinedNames([PAINTER, longer])
    assert [one.name for one, _, _ in names.find("Where did Alden Weir Junior live?")] == [
        "Alden Weir Junior"
    ]
    assert list(DefinedNames([]).find("Alden Weir")) == []


def test_a_passage_mentions_what_another_one_defines() -> None:
    names = DefinedNames([PAINTER])
    assert find_mention(BRIDGE, names, seed=0) == (PAINTER, BRIDGE.text)
    assert find_mention(WEIR, names, seed=0) is None  # its own
    assert find_mention(TOWN, names, seed=0) is None


WHO = "the painter who taught in Boston"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("When was Alden Weir born?", f"When was {WHO} born?"),
        ("What did Alden Weir paint?", f"What did {WHO} paint?"),
        ("Which bridge was painted by Alden Weir?", f"Which bridge was painted by {WHO}?"),
        ("Where is the Alden Weir in the winter?", f"Where is {WHO} in the winter?"),
        ('Who painted with "Alden Weir"?', f"Who painted with {WHO}?"),
        ("What was Alden Weir's first work?", f"What was the first work of {WHO}?"),
        ("Alden Weir is known for what?", f"The{WHO[3:]} is known for what?"),
        # what asks who he is
        ("Who is Alden Weir?", None),
        ("What is the name of Alden Weir?", None),
        # the name is no noun of its own
        ("What is an Alden Weir painting?", None),
        ("What is the Alden Weir prize for?", None),
        ("What is the painter Alden Weir known for?", None),
        ("When did Alden Weir's house burn?", None),
        ("What does an Alden Weir cost?", None),
    ],
)
def test_a_noun_phrase_takes_a_names_place(question: str, expected: str | None) -> None:
    start = question.index("Alden Weir")
    assert compose_question(question, start, start + len("Alden Weir"), WHO) == expected


def test_a_composed_pair_needs_both_passages_and_has_the_answer() -> None:
    (found,) = composed(pair("When did Alden Weir paint the Ulla Bridge?"))
    assert found == QAPair(
        passage_id=BRIDGE.id,
        question=f"When did {PAINTER.phrase} paint the Ulla Bridge?",
        answer="the winter of 1901",
        kind="multi_hop",
        additional_passage_ids=(WEIR.id,),
    )


@pytest.mark.parametrize(
    "given",
    [
        pair("When did Alden Weir die at last?", "1919", WEIR),  # its own passage
        pair("When did Alden Weir die at last?", "1919"),  # which the defining passage answers too
        pair("Where did Alden Weir live, as Alden Weir says?"),  # the name is still there
        pair("What did Alden Weir like best?", "painter who taught"),  # a phrase gives it away
        pair("When was the Ulla Bridge painted?"),
    ],
)
def test_what_one_passage_answers_is_not_composed(given: QAPair) -> None:
    assert composed(given) == []


MANY = [pair(f"When did Alden Weir paint the Ulla Bridge for the {i}th time?") for i in range(6)]


def test_what_is_composed_depends_neither_on_order_nor_on_other_pairs() -> None:
    other = pair("When was the Ulla Bridge painted?")
    expected = set(composed(*MANY[:4]))
    assert len(expected) == 3  # a definition is used three times at most
    for order in permutations(MANY[:4]):
        assert set(composed(*order, other)) == expected
    drawn = {frozenset(composed(*MANY, seed=seed)) for seed in range(20)}
    assert len(drawn) > 5  # by the seed
    for some in drawn:
        assert not any(leaks(one.question, "Alden Weir") for one in some)
        assert all(one.passage_ids == (BRIDGE.id, WEIR.id) for one in some)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 1), (0.3, 2), (1.0, 3)])
def test_at_most_a_share_is_composed(share: float, count: int) -> None:
    found = composed(*MANY, share=share)
    assert len(found) == count
    order = [one.question.rpartition(" the ")[2] for one in MANY]
    assert [one.question.rpartition(" the ")[2] for one in found] == [
        end for end in order if end in {one.question.rpartition(" the ")[2] for one in found}
    ]
