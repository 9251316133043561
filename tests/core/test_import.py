"""Past questions in a run folder: what they change, what they leave, and what they never do."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted import TOPICS, Wordy, wordy_config, write_topics

from aloft.backends.loading import Models
from aloft.config import RunConfig, check_config
from aloft.corpus.sections import Sections
from aloft.network_guard import NetworkGuard
from aloft.records import LinkedQuestion, Negatives, Rejection, from_json
from aloft.run.context import Shared
from aloft.run.job import OpenRun, read_funnel
from aloft.run.store import RunStore
from aloft.testing import ScriptedTeacher

QUESTION = "What does the text on {} say first of all?"


@pytest.fixture
def config(encoder: Path) -> RunConfig:
    # a passage that a question is linked to has no cloze row
    return wordy_config(encoder, held_out_share=0.3, cloze_rows=0)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_topics(tmp_path / "docs")


class Folder:
    """A run folder, opened anew for each step, as commands do."""

    def __init__(self, path: Path, corpus: Path, config: RunConfig) -> None:
        self.path, self._corpus, self._config = path, corpus, config

    @contextmanager
    def opened(self, models: Models | None = None, **changes: Any) -> Iterator[OpenRun]:
        settings = check_config({**self._config.model_dump(), **changes})
        with RunStore(self.path) as store:
            shared = Shared(store, models or Wordy())
            yield OpenRun(settings, shared, NetworkGuard())
            shared.cache.close()

    def start(self, questions: Path | None = None, **changes: Any) -> None:
        with self.opened(**changes) as run:
            run.give(self._corpus, questions)
            run.do("sets")

    def sets(self, models: Models | None = None, **changes: Any) -> None:
        with self.opened(models, **changes) as run:
            run.do("sets")

    def take_in(self, *rows: Mapping[str, Any]) -> None:
        log = self.path.parent / "log.jsonl"
        log.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        with self.opened() as run:
            run.import_log(log)

    def manifest(self, stage: str) -> bytes:
        return (self.path / "manifests" / f"{stage}.json").read_bytes()

    def rows(self, name: str) -> list[Any]:
        lines = (self.path / name).read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    def anchors(self) -> Counter[str]:
        return Counter(row["anchor"] for row in self.rows("sets/embedder.jsonl"))

    def dropped(self, stage: str) -> dict[str, int]:
        dropped: dict[str, int] = json.loads(self.manifest(stage))["dropped"]
        return dropped


@pytest.fixture
def folder(tmp_path: Path, corpus: Path, config: RunConfig) -> Folder:
    folder = Folder(tmp_path / "run", corpus, config)
    folder.start()
    return folder


def first_words(folder: Folder) -> list[dict[str, Any]]:
    """A line for each document: a question, a quote of its first passage and an answer from it."""
    seen: dict[str, str] = {}
    for passage in folder.rows("passages.jsonl"):
        seen.setdefault(passage["document_id"], passage["text"])
    return [
        {"question": QUESTION.format(name), "passage": text, "answer": text.split()[0]}
        for name, text in seen.items()
    ]


def held_out(folder: Folder) -> set[str]:
    """The documents whose first section is held out."""
    sections = Sections(json.loads((folder.path / "sets" / "sections.json").read_bytes()))
    with folder.opened() as run:
        places = {passage.id: sections.of(passage) for passage in run.records("passages")}
    rows = folder.rows("sets/held_out.jsonl")
    apart = {name for row in rows for i in row["passage_ids"] for name in places[i]}
    return {f"{name}.txt" for name in TOPICS if {f"{name}.txt", f"{name}.txt § 1"} & apart}


def test_past_questions_change_the_sets_and_leave_the_pairs(folder: Folder) -> None:
    earlier = {
        stage: folder.manifest(stage) for stage in ("passages", "pairs", "negatives", "sets")
    }
    pairs, before = folder.rows("pairs.jsonl"), folder.anchors()
    folder.take_in(*first_words(folder))
    models = Wordy()
    folder.sets(models)
    assert isinstance(models.given, ScriptedTeacher)
    assert models.given.asked == []
    changed = {stage for stage in earlier if folder.manifest(stage) != earlier[stage]}
    assert changed == {"negatives", "sets"}
    assert folder.rows("pairs.jsonl") == pairs
    new = folder.anchors() - before
    assert before - folder.anchors() == Counter()
    apart = held_out(folder)
    assert 0 < len(apart) < len(TOPICS)
    wanted = {f"{name}.txt" for name in TOPICS} - apart
    assert new == Counter({QUESTION.format(name): 2 for name in wanted})  # the default weight


def test_they_never_train_on_what_is_held_out(folder: Folder) -> None:
    before = folder.rows("sets/held_out.jsonl")
    folder.take_in(*first_words(folder))
    folder.sets()
    assert folder.rows("sets/held_out.jsonl") == before
    apart = held_out(folder)
    assert folder.dropped("sets") == {"logged question is about a held-out document": len(apart)}
    for part in ("embedder", "reranker", "generator"):
        text = (folder.path / "sets" / f"{part}.jsonl").read_text(encoding="utf-8")
        assert not [name for name in apart if QUESTION.format(name) in text]


def test_they_never_train_on_a_question_of_the_users_evaluation(
    folder: Folder, tmp_path: Path
) -> None:
    rows = first_words(folder)
    folder.take_in(*rows)
    folder.sets()
    asked = next(row["question"] for row in rows if folder.anchors()[row["question"]])
    questions = tmp_path / "questions.jsonl"
    name = asked.split()[5]
    questions.write_text(json.dumps({"question": asked.upper(), "document_id": name}))
    folder.start(questions)
    assert folder.anchors()[asked] == 0
    assert folder.dropped("sets")["logged question is in the evaluation"] == 1
    folder.sets()  # the evaluation is kept in the run folder, and so is what follows from it
    assert folder.anchors()[asked] == 0


def test_only_an_accepted_answer_trains_the_generator(folder: Folder) -> None:
    rows = [{**row, "thumbs": i % 2} for i, row in enumerate(first_words(folder))]
    folder.take_in(*rows)
    folder.sets()
    linked = [LinkedQuestion(**row) for row in folder.rows("links.jsonl")]
    assert len(linked) == len(rows)
    trained = Counter(row["pair_id"] for row in folder.rows("sets/generator.jsonl"))
    anchors = folder.anchors()
    for question in linked:
        weight = anchors[question.question]
        assert trained[question.id] == (weight if question.answer else 0)
    assert {bool(question.answer) for question in linked if anchors[question.question]} == {
        True,
        False,
    }


@pytest.mark.parametrize("weight", [0, 1, 3])
def test_the_weight_says_how_often_a_question_stands(folder: Folder, weight: int) -> None:
    before = folder.anchors()
    folder.take_in(*first_words(folder))
    settings = {"contexts": 3, "held_out_share": 0.3, "cloze_rows": 0, "log_repeat": weight}
    folder.sets(training_sets=settings)
    new = folder.anchors() - before
    assert set(new.values()) == ({weight} if weight else set())


def test_each_question_has_hard_negatives(folder: Folder) -> None:
    folder.take_in(*first_words(folder))
    folder.sets()
    mined = {
        row["pair_id"]: from_json(Negatives, row).passage_ids
        for row in folder.rows("negatives.jsonl")
    }
    for row in folder.rows("links.jsonl"):
        question = LinkedQuestion(**row)
        assert question.passage_id not in mined[question.id]
    assert any(mined[LinkedQuestion(**row).id] for row in folder.rows("links.jsonl"))


def test_they_stay_when_the_run_is_gone_on_with(folder: Folder) -> None:
    folder.take_in(*first_words(folder))
    folder.sets()
    earlier = {stage: folder.manifest(stage) for stage in ("links", "negatives", "sets")}
    folder.start()
    assert {stage: folder.manifest(stage) for stage in earlier} == earlier
    kept = {row.stage: row.kept for row in read_funnel(folder.path)}
    assert kept["log"] == kept["links"] == len(TOPICS)


def test_a_second_log_takes_the_place_of_the_first(folder: Folder) -> None:
    before = folder.anchors()
    folder.take_in(*first_words(folder))
    folder.sets()
    (row, *_) = (row for row in first_words(folder) if folder.anchors()[row["question"]])
    folder.take_in({**row, "question": "Another one?"})
    folder.sets()
    assert folder.anchors() - before == Counter({"Another one?": 2})


def test_links_follow_the_documents(folder: Folder, corpus: Path) -> None:
    rows = first_words(folder)
    folder.take_in(*rows)
    folder.sets()
    (corpus / "power.txt").unlink()
    edited = corpus / "pass.txt"
    edited.write_text("An unrelated heading, new.\n\n" + edited.read_text(encoding="utf-8"))
    folder.start()
    assert folder.dropped("links") == {"clicked text is not here": 1}
    assert folder.rows("rejections/links.jsonl")[0]["detail"].startswith(
        QUESTION.format("power.txt")
    )
    known = {row["passage_id"] for row in folder.rows("links.jsonl")}
    with folder.opened() as run:
        assert known <= run.records("passages").by_id.keys()
    assert len(known) == len(TOPICS) - 1


def test_what_is_dropped_is_told(folder: Folder) -> None:
    (row, *_) = first_words(folder)
    folder.take_in(
        row,
        {**row, "question": row["question"].upper()},
        {"question": "Why?", "thumbs": "down"},
        {"question": "Where?", "rating": 9},
        {"question": "When?", "clicked": "elsewhere.txt"},
        {"question": "How is it?"},
    )
    folder.sets()
    assert folder.dropped("log") == {"asked before": 1, "thumbs down": 1, "bad line": 1}
    assert folder.dropped("links") == {"clicked text is not here": 1, "too unsure": 1}
    told = [Rejection(**row) for row in folder.rows("rejections/log.jsonl")]
    assert [one.subject_id for one in told] == ["line 2", "line 3", "line 4"]


@pytest.mark.model
def test_past_questions_are_trained_on_after_a_finished_training(
    folder: Folder, tmp_path: Path
) -> None:
    from aloft.testing import tiny_encoder

    settings = {
        "embedder": str(tiny_encoder(tmp_path / "tiny")),
        "embedder_training": {"num_train_epochs": 1.0, "max_seq_length": 64},
    }

    def train() -> str:
        with folder.opened(**settings) as run:
            run.train()
            return run.train()["embedder"].fingerprint

    first = train()
    assert train() == first
    pairs = folder.manifest("pairs")
    folder.take_in(*first_words(folder))
    assert train() != first
    assert folder.manifest("pairs") == pairs
