"""Near copies: the decisions are those of the library's index, and memory stays flat."""

import random
import tracemalloc
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import pytest
from datasketch import MinHash, MinHashLSH
from scripted import elsewhere

from aloft.corpus import duplicates
from aloft.corpus.duplicates import drop_copies
from aloft.records import Passage, Rejection
from aloft.text.normalising import fold


def passage(number: int, text: str) -> Passage:
    return Passage(document_id=f"{number}.txt", text=text, start=0)


def made(count: int, seed: int) -> Iterator[Passage]:
    """Texts of which many are alike to different degrees: forms with some fields filled in."""
    rng = Random(seed)
    forms = [[f"f{form}w{i}" for i in range(60)] for form in range(4)]
    for number in range(count):
        words = list(rng.choice(forms))
        for _ in range(rng.choice([0, 0, 1, 1, 2, 5, 60])):
            words[rng.randrange(60)] = f"n{rng.randrange(10_000)}"
        yield passage(number, " ".join(words) if number % 40 else "THE SAME  form\nagain and again")


def by_library(passages: Iterator[Passage], similarity: float) -> Iterator[tuple[str, str]]:
    """Reason and kept passage of each, with every text and a table of the library in memory."""
    index = MinHashLSH(threshold=similarity, num_perm=128, weights=(0.02, 0.98))
    kept: list[tuple[Passage, frozenset[bytes], MinHash]] = []
    exact: dict[str, Passage] = {}
    for one in passages:
        words = fold(one.text).split()
        runs = frozenset(" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4))
        sketch = MinHash(num_perm=128)
        sketch.update_batch(runs)
        if fold(one.text) in exact:
            yield "exact duplicate", exact[fold(one.text)].id
            continue
        found = sorted(index.query(sketch))
        agreement = [-int((kept[i][2].hashvalues == sketch.hashvalues).sum()) for i in found]
        best = sorted(sorted(zip(agreement, found, strict=True))[:8], key=lambda pair: pair[1])
        for _, i in best:
            if len(kept[i][1] & runs) / len(kept[i][1] | runs) >= similarity:
                yield "near duplicate", kept[i][0].id
                break
        else:
            index.insert(len(kept), sketch)
            kept.append((one, runs, sketch))
            exact[fold(one.text)] = one
            yield "", one.id


def test_decisions_are_those_of_the_librarys_index() -> None:
    for seed, similarity in enumerate((0.7, 0.9)):
        passages = list(made(400, seed))
        expected = list(by_library(iter(passages), similarity))
        outcomes = list(drop_copies(iter(passages), similarity))
        found = [
            (one.reason, one.detail.split()[2].rstrip(","))
            if isinstance(one, Rejection)
            else ("", one.id)
            for one in outcomes
        ]
        assert found == expected
        assert len({reason for reason, _ in found}) == 3  # all of them occur


def test_decisions_are_the_same_where_sketches_are_drawn_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "_SKETCHED", 2_000)  # characters: six passages

    def ahead(work: Any, items: Iterable[Any], /) -> Iterator[Any]:
        return iter(list(elsewhere(work, items)))  # all are sent before the first is back

    passages = list(made(400, 1))
    here = list(drop_copies(passages, 0.9))
    assert list(drop_copies(passages, 0.9, spread=ahead)) == here
    assert {type(one) for one in here} == {Passage, Rejection}


def test_exact_copies_of_what_is_kept_need_no_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_SKETCHED", 1)  # each passage is a block
    sent: list[str] = []

    def noted(work: Any, items: Iterable[list[str]], /) -> Iterator[Any]:
        for item in items:
            sent.extend(item)
            yield work(item)

    texts = ["one quay", "One  quay", "two quays", "one quay"]
    list(drop_copies([passage(i, text) for i, text in enumerate(texts)], 0.9, spread=noted))
    assert sent == ["one quay", "two quays"]


def test_a_text_that_cannot_be_encoded_is_compared_too() -> None:
    outcomes = list(drop_copies([passage(0, "a \ud800 b"), passage(1, "A  \ud800 b")], 0.9))
    assert [type(one).__name__ for one in outcomes] == ["Passage", "Rejection"]


def test_texts_are_not_held_in_memory() -> None:
    def long() -> Iterator[Passage]:
        for number in range(300):
            yield passage(number, f"a text of one very long word {number}" + "x" * 20_000)

    tracemalloc.start()
    kept = sum(isinstance(one, Passage) for one in drop_copies(long(), 1.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept == 300
    assert peak < 3_000_000  # the texts have 6 MB


def test_the_global_random_generator_is_left_alone() -> None:
    random.seed(5)
    before = random.getstate()
    list(drop_copies([Passage(document_id="a", text="The quay is long.", start=0)], 0.87))
    assert random.getstate() == before
