"""A run that goes on from a finished one knows what that knew, and spends nothing twice."""

import json
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aloft.config import check_config, load_config
from aloft.errors import ConfigError, DataError, RunFolderError
from aloft.evaluation.report import Report
from aloft.jsonl import RecordFile, encode_record
from aloft.records import LabelledQuestion, Passage, QAPair, content_id
from aloft.run.cache import CallCache
from aloft.run.store import RunStore
from aloft.run.warm_start import (
    PreviousRun,
    check_previous_run,
    known_vectors,
    read_previous_run,
    take_over,
)

PASSAGES = [Passage(document_id=f"d{i}", text=f"text {i}", start=0) for i in range(4)]
PAIRS = [QAPair(passage_id=p.id, question=f"{p.text}?", answer="yes") for p in PASSAGES]


def write(path: Path, records: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(encode_record, records)))


def finished_run(folder: Path, **models: str | None) -> Path:
    """Three documents trained on, the last held out; the contract's models as given."""
    held_out = LabelledQuestion(
        id=PAIRS[3].id,
        question=PAIRS[3].question,
        answers=("yes",),
        passage_ids=(PAIRS[3].passage_id,),
        origin="synthetic",
    )
    write(folder / "passages.jsonl", PASSAGES)
    write(folder / "sets" / "train.jsonl", PAIRS[:3])
    write(folder / "sets" / "held_out.jsonl", [held_out])
    contract = {"embedder": "embedder", "generator": "a teacher", "reranker": None, "adapter": None}
    contract |= models
    rest = {"retriever": "dense", "dense_weight": 1, "contexts": 3, "rerank_depth": 5}
    (folder / "models").mkdir()
    for name in dict.fromkeys(filter(None, contract.values())):
        if " " not in name:
            (folder / "models" / name).mkdir()
            (folder / "models" / name / "config.json").write_text(f'{{"is": "{name}"}}')
    text = json.dumps({**contract, **rest, "max_new_tokens": 8})
    (folder / "models" / "aloft.json").write_text(text)
    config = check_config({"teacher": "a teacher", "embedder": "an embedder", "seed": 7})
    (folder / "config.json").write_text(config.model_dump_json())
    CallCache(folder / "work" / "calls.sqlite").add({"a call": ("a reply", {"calls": 5})})
    return folder


def test_its_parts_take_the_place_of_untuned_ones(tmp_path: Path) -> None:
    finished_run(tmp_path / "one", adapter="generator")
    settings = load_config(after=tmp_path / "one")
    with RunStore(tmp_path / "two") as store:
        config = take_over(settings, store)

    models = tmp_path / "two" / "earlier" / "models"
    assert config.embedder == str(models / "embedder")
    assert config.generator_training.init_adapter == str(models / "generator")
    assert (config.teacher, config.generator, config.reranker) == ("a teacher", "a teacher", None)
    assert config.seed == 7
    assert (models / "embedder" / "config.json").read_text() == '{"is": "embedder"}'


@pytest.mark.parametrize(
    ("shipped", "expected"),
    [("reranker", "reranker"), ("embedder", None), (None, None)],  # its own, the body, and none
)
def test_a_reranker_is_taken_over_unless_the_embedders_body_is_it(
    tmp_path: Path, shipped: str | None, expected: str | None
) -> None:
    settings = load_config(after=finished_run(tmp_path / "one", reranker=shipped))
    with RunStore(tmp_path / "two") as store:
        config = take_over(settings, store)
    models = tmp_path / "two" / "earlier" / "models"
    assert config.embedder == str(models / "embedder")
    assert config.reranker == (str(models / expected) if expected else None)


def test_the_earlier_folder_is_needed_once(tmp_path: Path) -> None:
    one = finished_run(tmp_path / "one")
    settings = load_config(after=one)
    with RunStore(tmp_path / "two") as store:
        first = take_over(settings, store)
        one.rename(tmp_path / "gone")
        assert take_over(first, store) == first
        assert read_previous_run(tmp_path / "two").trained == {"d0", "d1", "d2"}


def test_a_folder_continues_from_the_run_that_is_named_last(tmp_path: Path) -> None:
    one = finished_run(tmp_path / "one")
    other = finished_run(tmp_path / "other", embedder="encoder")
    write(other / "sets" / "train.jsonl", PAIRS[:1])
    with RunStore(tmp_path / "two") as store:
        take_over(load_config(after=one), store)
        config = take_over(load_config(after=other), store)
        assert config.embedder == str(tmp_path / "two" / "earlier" / "models" / "encoder")
        assert read_previous_run(tmp_path / "two").trained == {"d0"}
        with pytest.raises(RunFolderError, match=r"continues from another run.*--from"):
            check_previous_run(load_config(), store)
        check_previous_run(load_config(), store, overwrite=True)
        take_over(load_config(), store)
        assert read_previous_run(tmp_path / "two") == PreviousRun()


def test_what_was_split_and_asked_is_known(tmp_path: Path) -> None:
    settings = load_config(after=finished_run(tmp_path / "one"))
    with RunStore(tmp_path / "two") as store:
        take_over(settings, store)
    earlier = read_previous_run(tmp_path / "two")
    assert earlier.split == {"d0": False, "d1": False, "d2": False, "d3": True}
    assert earlier.passages == {passage.id for passage in PASSAGES}
    assert earlier.pairs == {pair.id for pair in PAIRS[:3]}


def test_sections_of_the_earlier_run_stay_where_they_were(tmp_path: Path) -> None:
    one = finished_run(tmp_path / "one")
    book = [Passage(document_id="book", text=f"text {i}", start=10 * i) for i in range(4)]
    write(one / "passages.jsonl", book)
    asked = [
        replace(pair, passage_id=passage.id) for pair, passage in zip(PAIRS, book, strict=True)
    ]
    write(one / "sets" / "train.jsonl", asked[:3])
    held_out = RecordFile(one / "sets" / "held_out.jsonl", LabelledQuestion)[0]
    write(one / "sets" / "held_out.jsonl", [replace(held_out, passage_ids=(book[3].id,))])
    (one / "sets" / "sections.json").write_text('{"book": [0, 20, 30]}')
    with RunStore(tmp_path / "two") as store:
        take_over(load_config(after=one), store)
    earlier = read_previous_run(tmp_path / "two")
    assert earlier.sections == {"book": [0, 20, 30]}
    assert earlier.split == {"book § 1": False, "book § 2": False, "book § 3": True}


def test_what_models_returned_counts_and_what_it_took_does_not(tmp_path: Path) -> None:
    settings = load_config(after=finished_run(tmp_path / "one"))
    with RunStore(tmp_path / "two") as store:
        take_over(settings, store)
    cache = CallCache(tmp_path / "two" / "work" / "calls.sqlite")
    assert cache.get(["a call", "another"]) == {"a call": ("a reply", None)}


def continued_run(folder: Path) -> Path:
    """A finished run that continued from another one."""
    finished_run(folder / "one")
    with RunStore(folder / "two") as store:
        config = take_over(load_config(after=folder / "one"), store)
    later = finished_run(folder / "later")
    (later / "earlier").symlink_to(folder / "two" / "earlier")
    (later / "config.json").write_text(config.model_dump_json())
    return later


def test_a_third_run_knows_what_the_first_trained_on(tmp_path: Path) -> None:
    later = continued_run(tmp_path)
    write(later / "sets" / "train.jsonl", PAIRS[:1])  # one replayed
    with RunStore(tmp_path / "three") as store:
        take_over(load_config(after=later), store)
    earlier = read_previous_run(tmp_path / "three")
    assert earlier.trained == {"d0", "d1", "d2"}
    assert earlier.pairs == {pair.id for pair in PAIRS[:3]}


def test_a_third_run_holds_out_what_the_first_did_though_the_second_lacked_it(
    tmp_path: Path,
) -> None:
    later = continued_run(tmp_path)
    new = Passage(document_id="d4", text="text 4", start=0)
    write(later / "passages.jsonl", [*PASSAGES[:3], new])
    held_out = RecordFile(later / "sets" / "held_out.jsonl", LabelledQuestion)[0]
    write(later / "sets" / "held_out.jsonl", [replace(held_out, passage_ids=(new.id,))])
    with RunStore(tmp_path / "three") as store:
        take_over(load_config(after=later), store)
    split = read_previous_run(tmp_path / "three").split
    assert split == {"d0": False, "d1": False, "d2": False, "d3": True, "d4": True}


@pytest.mark.parametrize(("share", "old"), [(0, 0), (0.5, 1), (1, 2), (9, 3)])
def test_old_pairs_are_replayed_beside_new_ones(share: float, old: int) -> None:
    new = [QAPair(passage_id="p", question=f"new {i}?", answer="yes") for i in range(2)]
    earlier = PreviousRun(pairs=frozenset(pair.id for pair in PAIRS[:3]))
    for seed in range(5):
        rows = earlier.replayed([*PAIRS[:3], *new], share, seed)
        assert rows[-2:] == new
        assert len(rows) == 2 + old
        assert set(rows[:-2]) <= set(PAIRS[:3])


def test_where_no_pair_is_new_all_are_trained_on_once_more() -> None:
    earlier = PreviousRun(pairs=frozenset(pair.id for pair in PAIRS))
    assert earlier.replayed(PAIRS, 1.0, 0) == PAIRS
    assert PreviousRun().replayed(PAIRS, 1.0, 0) == PAIRS  # and there is no earlier run


def test_passages_keep_their_vectors(tmp_path: Path) -> None:
    from aloft.backends.fingerprint import fingerprint_folder

    one = finished_run(tmp_path / "one")
    weights = {"shipped": fingerprint_folder(one / "models" / "embedder"), "untuned": "other"}
    texts = [content_id(passage.content) for passage in PASSAGES]
    for name, model in weights.items():
        kept = one / "work" / f"passages-{name}.npy"
        np.save(kept, np.arange(8, dtype=np.float32).reshape(4, 2) + (name == "untuned"))
        kept.with_suffix(".json").write_text(json.dumps({"model": model, "texts": texts}))
    with RunStore(tmp_path / "two") as store:
        config = take_over(load_config(after=one), store)
        found = known_vectors(
            config, tmp_path / "two", config.embedder, ["new", "text 2", "text 0"]
        )
        assert known_vectors(config, tmp_path / "two", "another embedder", ["text 2"]) is None
    assert found is not None
    vectors, rows = found
    assert rows.tolist() == [-1, 2, 0]
    assert vectors[rows[1:]].tolist() == [[4, 5], [0, 1]]


def test_an_unfinished_run_can_not_be_gone_on_from(tmp_path: Path) -> None:
    one = finished_run(tmp_path / "one")
    settings = load_config(after=one)
    (one / "models" / "aloft.json").unlink()
    with RunStore(tmp_path / "two") as store, pytest.raises(DataError, match="Finish a run"):
        take_over(settings, store)
    assert not (tmp_path / "two" / "earlier").exists()


def test_a_run_can_not_go_on_from_itself(tmp_path: Path) -> None:
    one = finished_run(tmp_path / "one")
    with RunStore(one) as store, pytest.raises(DataError, match="from itself"):
        take_over(load_config(after=one), store)


@pytest.mark.parametrize("content", ["[]", '{"passages": 3}', '{"pairs": [1]}', "{"])
def test_what_was_taken_over_and_is_damaged_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "state.json").write_text(content)
    with pytest.raises(DataError, match=r"state\.json is damaged"):
        read_previous_run(tmp_path)


@pytest.mark.parametrize(
    ("preset", "overrides", "named"),
    [("cpu", {}, "preset"), (None, {"embedder": "another"}, "embedder")],
)
def test_what_the_earlier_run_settles_is_not_set_twice(
    tmp_path: Path, preset: str | None, overrides: dict[str, str], named: str
) -> None:
    one = finished_run(tmp_path / "one")
    with pytest.raises(ConfigError, match=f"^{named} is set"):
        load_config(preset, None, overrides, after=one)
    with pytest.raises(ConfigError, match="no run folder"):
        load_config(after=tmp_path / "two")


@pytest.mark.model
def test_after_documents_change_only_new_passages_are_asked_about(tmp_path: Path) -> None:
    from pydoc_data.topics import topics

    from killed_run import LoggingTeacher, settings

    from aloft.run.whole import Aloft
    from aloft.testing import tiny_encoder, tiny_language_model

    names = ("assert", "pass", "del", "return", "raise", "break", "global", "lambda", "yield",
             "integers", "power", "unary")  # fmt: skip
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in names:
        (corpus / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    tiny_encoder(tmp_path / "encoder")
    tiny_language_model(tmp_path / "language-model")
    chosen: dict[str, Any] = settings(str(tmp_path / "encoder"), str(tmp_path / "language-model"))
    chosen["pairs"] |= {"kinds": {"fact": 1, "why": 1}, "max_passages": None}
    chosen["filters"] = {"use": ["support", "duplicate"]}

    def run(name: str, config: Any) -> tuple[list[str], Report]:
        log = tmp_path / f"{name}.log"
        teacher = LoggingTeacher(log)
        report = Aloft(config, teacher=teacher).run(corpus, tmp_path / name).report
        return log.read_text(encoding="utf-8").splitlines(), report

    first, before = run("one", check_config(chosen))
    (corpus / "pass.txt").unlink()
    (corpus / "new.txt").write_text(topics["import"], encoding="utf-8")
    second, report = run("two", load_config(after=tmp_path / "one"))

    assert second
    assert set(first).isdisjoint(second)
    new = RecordFile(tmp_path / "two" / "passages.jsonl", Passage)
    texts = [passage.text for passage in new if passage.document_id == "new.txt"]
    assert all(any(text in literal_eval(asked) for text in texts) for asked in second)
    told = report.previous_run
    assert told is not None
    assert 0 < told.new_passages < told.passages
    assert told.new_pairs > 0
    split = [split_of(tmp_path / name) for name in ("one", "two")]
    assert {i: split[1][i] for i in split[0].keys() & split[1].keys()} == {
        i: side for i, side in split[0].items() if i in split[1]
    }
    went_on = (tmp_path / "two" / "report.md").read_text(encoding="utf-8")
    assert f"{told.new_passages} of {told.passages} passages are new" in went_on
    assert before.previous_run is None


def split_of(run: Path) -> dict[str, bool]:
    """By document whether it was held out."""
    place = {p.id: p.document_id for p in RecordFile(run / "passages.jsonl", Passage)}
    trained = RecordFile(run / "sets" / "train.jsonl", QAPair)
    held_out = RecordFile(run / "sets" / "held_out.jsonl", LabelledQuestion)
    return {place[pair.passage_id]: False for pair in trained} | {
        place[i]: True for question in held_out for i in question.passage_ids
    }
