"""What models return is kept under all that it depends on, and no call is made twice."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aloft.backends.loading import Models
from aloft.config import load_config
from aloft.errors import DataError, ModelError, RunFolderError
from aloft.protocols import Embedder, Floats, Prompt, Reply
from aloft.records import Message
from aloft.run.cache import CallCache
from aloft.run.calls import CachedLanguageModel, CachedReranker, Caller, NotCachedError
from aloft.run.context import Context, Shared
from aloft.run.graph import Graph
from aloft.run.model_calls import Call, ModelRef, Perform, perform_in_order
from aloft.run.stage import Setup
from aloft.run.store import RunStore
from aloft.run.usage import Meter, Usage
from aloft.testing import HashingEmbedder, OverlapReranker, ScriptedTeacher

PROMPT = Prompt(messages=(Message(role="user", content="Why?"),))


class Counting(ScriptedTeacher):
    """Reports 100 tokens for every prompt, and a token for every word that it writes."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: f"You said: {prompt.messages[-1].content}")
        self.tokens_scored = 0

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        replies = super().complete(prompts, max_new_tokens=max_new_tokens, stop=stop)
        return [replace(r, prompt_tokens=100, new_tokens=len(r.text.split())) for r in replies]

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        self.tokens_scored += 90 * len(prompts)
        return super().choice_probabilities(prompts, choices)


def performing(model: Any) -> Perform:
    """Works calls out by a model that is there."""
    return lambda calls: ((place, call.of(model)) for place, call in enumerate(calls))


TEACHER = ModelRef("teacher", "given")


class Desk:
    """A cached model over one cache file, opened anew for each question."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = Counting()

    def ask(self, weights: str = "w", **how: Any) -> tuple[CachedLanguageModel, Meter]:
        meter = Meter()
        caller = Caller(
            role="teacher",
            fingerprint=weights,
            cache=CallCache(self.path),
            meter=meter,
            perform=performing(self.model),
            **how,
        )
        return CachedLanguageModel(TEACHER, caller), meter


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "work" / "calls.sqlite")


def test_a_reply_is_kept_under_all_that_it_depends_on(desk: Desk) -> None:
    held = replace(PROMPT, pattern="[0-9]")
    others = [replace(PROMPT, prefix="So"), replace(PROMPT, is_plain=True), replace(PROMPT, seed=1)]

    def reply(prompts: Sequence[Prompt], weights: str = "w", limit: int = 8, *stop: str) -> int:
        before = len(desk.model.asked)
        model, _ = desk.ask(weights)
        said = model.complete(prompts, max_new_tokens=limit, stop=stop)
        assert [one.text for one in said] == ["You said: Why?"] * len(prompts)
        return len(desk.model.asked) - before

    assert reply([PROMPT, held]) == 2
    assert reply([held, PROMPT, PROMPT]) == 0
    assert reply(others) == 3
    assert reply([PROMPT], "other weights") == 1
    assert reply([PROMPT], "w", 9) == 1
    assert reply([PROMPT], "w", 8, "\n") == 1
    assert reply([PROMPT, held, *others]) == 0
    assert reply([replace(PROMPT, temperature=0.1)]) == 0  # of a greedy reply it is nothing


def test_what_an_earlier_version_was_answered_is_found(tmp_path: Path) -> None:
    asked = (Message(role="user", content="Where?"),)
    drawn = Prompt(messages=asked, prefix="### Q", seed=3, temperature=0.7, pattern="[0-9]+")
    cache = CallCache(tmp_path / "calls.sqlite")
    known = {"text": "Here", "is_finished": True}
    # the keys of version 0.1.0 as it kept them in runs, before replies could be held to a schema
    cache.add({"41b66a11da70d7af": (known, None), "d4a0b0b716733572": (known, None)})
    model, _ = Desk(tmp_path / "calls.sqlite").ask("weights")
    (reply,) = model.complete([drawn], max_new_tokens=64, stop=["\n"])
    assert reply.text == "Here"
    (reply,) = model.complete([Prompt(messages=asked)], max_new_tokens=64)
    assert reply.text == "Here"

    for other in (replace(drawn, top_p=0.9), replace(drawn, json_schema={"type": "object"})):
        (reply,) = model.complete([other], max_new_tokens=64, stop=["\n"])
        assert reply.text == "You said: Where?"


def test_equal_prompts_are_asked_once(desk: Desk) -> None:
    model, meter = desk.ask()
    assert len(model.complete([PROMPT] * 5, max_new_tokens=8)) == 5
    assert len(desk.model.asked) == 1
    assert meter.by_role["teacher"].calls == 1


def test_what_is_found_counts_as_what_it_took(desk: Desk) -> None:
    first, spent = desk.ask()
    first.complete([PROMPT], max_new_tokens=8)
    first.choice_probabilities([PROMPT, replace(PROMPT, prefix="a")], ("1", "2"))
    usage = spent.by_role["teacher"]
    assert (usage.calls, usage.tokens_in, usage.tokens_out) == (3, 100 + 180, 3)
    again, found = desk.ask()
    again.complete([PROMPT], max_new_tokens=8)
    again.choice_probabilities([PROMPT, replace(PROMPT, prefix="a")], ("1", "2"))
    assert found.by_role["teacher"].calls == 3
    assert found.by_role["teacher"].seconds == pytest.approx(usage.seconds)
    assert len(desk.model.asked) == 3


def test_batches_are_kept_one_by_one(desk: Desk) -> None:
    prompts = [replace(PROMPT, prefix=str(i)) for i in range(10)]
    reported: list[tuple[str, int, int]] = []
    model, _ = desk.ask(at_once=4, label="writing", progress=lambda *what: reported.append(what))
    model.complete(prompts, max_new_tokens=8)
    assert reported == [("writing", done, 10) for done in (0, 4, 8, 10)]


@pytest.mark.parametrize(("count", "reported"), [(8, [(8, 8)]), (9, [(0, 9), (9, 9)])])
def test_a_single_batch_that_may_take_minutes_is_announced(
    desk: Desk, count: int, reported: list[tuple[int, int]]
) -> None:
    heard: list[tuple[int, int]] = []
    model, _ = desk.ask(label="answering", progress=lambda _, *what: heard.append(what))
    prompts = [replace(PROMPT, prefix=str(i)) for i in range(count)]
    model.choice_probabilities(prompts, ("1", "2"))
    assert heard == reported


def test_probabilities_come_back_as_they_were(desk: Desk) -> None:
    values = np.array([[0.1, 0.9], [1 / 3, 2 / 3]], np.float32)
    desk.model.choice_probabilities = lambda prompts, choices: values  # type: ignore[method-assign]
    prompts = [PROMPT, replace(PROMPT, prefix="a")]
    for _ in range(2):
        model, _ = desk.ask()
        found = model.choice_probabilities(prompts, ("1", "2"))
        assert found.dtype == np.float32 and (found == values).all()


def test_a_missing_result_is_an_error_offline(desk: Desk) -> None:
    model, _ = desk.ask(offline=True)
    with pytest.raises(NotCachedError):
        model.complete([PROMPT], max_new_tokens=8)
    desk.ask()[0].complete([PROMPT], max_new_tokens=8)
    assert model.complete([PROMPT], max_new_tokens=8)[0].text == "You said: Why?"


def test_a_model_that_returns_no_probabilities_is_reported_in_one_line(tmp_path: Path) -> None:
    class Writer:
        fingerprint = "writer"

        def complete(self, prompts: Any, *, max_new_tokens: int, stop: Any = ()) -> list[Reply]:
            return []

    cache = CallCache(tmp_path / "calls.sqlite")
    caller = Caller(
        role="teacher", fingerprint="w", cache=cache, meter=Meter(), perform=performing(Writer())
    )
    model = CachedLanguageModel(TEACHER, caller)
    with pytest.raises(ModelError, match="The teacher does not return token probabilities"):
        model.choice_probabilities([PROMPT], ("1", "2"))
    with pytest.raises(ModelError, match="likelihood of a given answer"):
        model.score_replies([PROMPT], ["yes"])


def test_scores_of_a_reranker_are_kept(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    class Noting(OverlapReranker):
        def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
            asked.extend(pairs)
            return super().score(pairs)

    def score(pairs: Sequence[tuple[str, str]]) -> Floats:
        cache = CallCache(tmp_path / "calls.sqlite")
        caller = Caller(
            role="reranker",
            fingerprint="r",
            cache=cache,
            meter=Meter(),
            perform=performing(Noting()),
        )
        return CachedReranker(ModelRef("reranker", "given"), caller).score(pairs)

    first = score([("a b", "a"), ("a b", "c")])
    again = score([("a b", "c"), ("new", "c"), ("a b", "a")])
    assert [again[2], again[0]] == first.tolist()
    assert asked == [("a b", "a"), ("a b", "c"), ("new", "c")]


def test_a_cache_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    CallCache(path).add({"known": ("value", None)})
    size = path.stat().st_size
    reader = CallCache(path, read_only=True)
    reader.add({"new": ("own", None)})
    assert reader.get(["known", "new", "other"]) == {
        "known": ("value", None),
        "new": ("own", None),
    }
    assert path.stat().st_size == size
    assert CallCache(path).get(["new"]) == {}


@pytest.mark.parametrize("content", [b"\0" * 16_384, b"no database " * 2000])
def test_a_damaged_cache_is_reported_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(content)
    uses = (
        lambda cache: cache.get(["a"]),
        lambda cache: cache.has_entries,
        lambda cache: list(cache.values()),
        lambda cache: cache.add({"a": ("reply", None)}),
    )
    for use in uses:
        with pytest.raises(DataError, match=r"calls\.sqlite is damaged .* delete it"):
            use(CallCache(path))
    with pytest.raises(DataError, match=r"calls\.sqlite is damaged .* delete it"):
        CallCache(tmp_path / "own.sqlite").take_over(path)
    path.unlink()
    CallCache(path).add({"a": ("reply", None)})


def test_pages_that_are_damaged_are_found_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    cache = CallCache(path)
    cache.add({f"{row:05}": ("reply " * 20, None) for row in range(500)})
    cache.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(DataError, match="is damaged"):
        list(CallCache(path).values())
    with pytest.raises(DataError, match=r"/calls\.sqlite is damaged"):
        CallCache(tmp_path / "own.sqlite").take_over(path)


def test_a_cache_that_cannot_be_opened_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "calls.sqlite").mkdir()
    with pytest.raises(RunFolderError, match="cannot be used"):
        CallCache(tmp_path / "calls.sqlite").add({"a": ("reply", None)})


def test_everything_on_disk_is_listed_by_key(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "c.sqlite")
    assert [*cache.values()] == []
    assert not (tmp_path / "c.sqlite").exists()
    cache.add({"b": ([1.5, None], {"calls": 1}), "a": ("é", None)})
    assert [*cache.values()] == [("a", "é"), ("b", [1.5, None])]
    assert [*CallCache(tmp_path / "c.sqlite", read_only=True).values()] == [*cache.values()]


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    one, other = CallCache(tmp_path / "c.sqlite"), CallCache(tmp_path / "c.sqlite")
    for i in range(20):
        (one if i % 2 else other).add({str(i): (i, {"calls": i})})
    keys = [str(i) for i in range(20)]
    assert one.get(keys) == other.get(keys) == {str(i): (i, {"calls": i}) for i in range(20)}


def test_another_runs_results_come_without_their_costs(tmp_path: Path) -> None:
    CallCache(tmp_path / "one.sqlite").add({"a": (1, {"calls": 1}), "b": (2, None)})
    two = CallCache(tmp_path / "two.sqlite")
    two.add({"a": (9, {"calls": 9})})
    two.take_over(tmp_path / "one.sqlite")
    two.take_over(tmp_path / "missing.sqlite")
    assert two.get(["a", "b"]) == {"a": (9, {"calls": 9}), "b": (2, None)}
    assert Usage(calls=9) == Usage(calls=9)


class Embeds(Models):
    """An embedder without weights."""

    def embedder(self, name: str) -> Embedder:
        return HashingEmbedder()

    def fingerprint(self, name: str) -> str:
        return name


def test_vectors_stand_in_the_order_of_their_texts_however_they_come(tmp_path: Path) -> None:
    def backwards(calls: Iterable[Call], shared: Shared) -> Iterator[tuple[int, Any]]:
        yield from reversed(list(perform_in_order(calls, shared.models)))

    texts = [f"{i} of them" for i in range(1100)]  # two calls of 512, and one of 76
    steps: list[tuple[int, int]] = []
    shared = Shared(
        RunStore(tmp_path),
        Embeds(),
        lambda _doing, done, total: steps.append((done, total)),
        calling=backwards,
    )
    found = shared.encode("any", "passages", texts)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, HashingEmbedder().encode_passages(texts))
    assert steps == [(0, 1100), (76, 1100), (588, 1100), (1100, 1100)]
    assert shared.encode("any", "queries", []).shape == (0, 256)
    shared.cache.close()


def letters(word: str) -> Iterator[str]:
    yield from word


def test_what_is_spread_comes_in_order_and_is_not_all_held(tmp_path: Path) -> None:
    taken: list[int] = []

    def backwards(calls: Iterable[Call], shared: Shared) -> Iterator[tuple[int, Any]]:
        yield from reversed([(i, list(result)) for i, result in perform_in_order(calls, Models())])

    def words() -> Iterator[str]:
        for number in range(200):
            taken.append(number)
            yield f"w{number}"

    shared = Shared(RunStore(tmp_path), Models(), calling=backwards)
    stage = Graph(Setup(load_config())).stages["documents"]
    results = Context(stage, shared).spread(letters, words())
    assert "".join(next(iter(results))) == "w0"
    assert len(taken) == 64
    assert ["".join(result) for result in results] == [f"w{number}" for number in range(1, 200)]
    shared.cache.close()


@pytest.mark.model
def test_an_evaluation_knows_whether_the_generator_is_much_larger_than_its_teacher(
    tmp_path: Path,
) -> None:
    from aloft.testing import tiny_language_model

    small = str(tiny_language_model(tmp_path / "small"))
    large = str(tiny_language_model(tmp_path / "large", head_dim=64))
    store = RunStore(tmp_path / "run")

    def outgrows(teacher: str, generator: str, given: ScriptedTeacher | None = None) -> bool:
        values = {"teacher": teacher, "generator": generator, "embedder": "embedded:all-minilm"}
        stage = Graph(Setup(load_config(overrides=values))).stages["evaluate"]
        shared = Shared(store, Models(given))
        found = Context(stage, shared).outgrows("generator")
        shared.cache.close()
        return found

    assert outgrows(small, large)
    assert not outgrows(large, small)
    assert not outgrows(small, small)
    assert not outgrows("openai:http://localhost:1/v1#any", large)
    assert not outgrows(small, large, Counting())  # the model of an application may be any
