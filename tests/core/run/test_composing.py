"""A run composes multi-hop pairs, whatever partitions its stages have."""

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from aloft.backends.loading import Models
from aloft.config import load_config
from aloft.errors import ModelError
from aloft.protocols import Embedder, Prompt, Reply
from aloft.records import Document, QAPair, Rejection
from aloft.run import job
from aloft.run.context import Shared
from aloft.run.graph import declared_stages
from aloft.run.runner import Runner
from aloft.run.stage import Setup, by_record
from aloft.run.store import RunStore
from aloft.testing import HashingEmbedder, ScriptedTeacher

WEIR = "Alden Weir was an American painter who taught drawing in Boston. He died in 1919."
WORKS = [
    Document(id=f"{i}.txt", text=f"The bridge of Ull{i} was painted by Alden Weir in May 18{i}.")
    for i in range(60, 66)
]
DOCUMENTS = [Document(id="weir.txt", text=WEIR), *WORKS]


def ask(prompt: Prompt) -> str:
    """When it was painted; of the painter his death."""
    text = prompt.messages[-1].content
    if "Text: Alden Weir" in text:
        return " When did the painter die at last?\nAnswer: 1919"
    span = text.rpartition("Text: ")[2].split()
    bridge, year = span[3], span[-1].rstrip(".")
    return f" When did Alden Weir paint the bridge of {bridge}?\nAnswer: May {year}"


def likelihood(prompt: Prompt, reply: str) -> float:
    """Both passages are needed, but for the bridges with an even number their own alone."""
    text = prompt.messages[-1].content
    is_even = reply.partition("Ull")[2][1] in "024"
    return -0.5 if "bridge" in text and ("American" in text or is_even) else -1.0


class Scripted(Models):
    """A teacher and an embedder without weights."""

    def __init__(self) -> None:
        super().__init__(ScriptedTeacher(ask, read=likelihood))

    def embedder(self, name: str) -> Embedder:
        return HashingEmbedder()


def work_out(run: Path, encoder: Path, **pairs: Any) -> tuple[list[QAPair], list[Rejection]]:
    """What is left of the pairs, and what reading the answers dropped."""
    config = load_config(
        overrides={
            "teacher": "given",
            "embedder": str(encoder),
            "pairs": {"form": "examples", "per_passage": 1, "multi_hop": 1.0, **pairs},
            "filters": {"use": ["needs_all"]},
        }
    )
    with RunStore(run) as store:
        runner = Runner(Setup(config), Shared(store, Scripted()))
        runner.take_in("documents", DOCUMENTS)
        runner.do("filters")
        kept = list(runner.store.read(runner.graph.maker("filtered").outputs["filtered"]))
        dropped = list(store.rejections("verified"))
        runner.shared.cache.close()
    return kept, dropped


def test_composed_pairs_follow_the_others_and_are_filtered(tmp_path: Path, encoder: Path) -> None:
    kept, dropped = work_out(tmp_path, encoder)
    single = [pair for pair in kept if not pair.additional_passage_ids]
    composed = [pair for pair in kept if pair.additional_passage_ids]
    assert kept == [*single, *composed] and len(single) == len(DOCUMENTS)
    assert {pair.kind for pair in composed} == {"multi_hop"}
    phrase = "the American painter who taught drawing in Boston"
    assert all(pair.question.startswith(f"When did {phrase} paint") for pair in composed)
    assert len(composed) + len(dropped) == 3  # uses of a definition
    assert {row.reason for row in dropped} == {"one of its passages can be missed"}
    assert all(pair.question[-2] in "135" for pair in composed) and composed
    assert all(row.detail.partition("?")[0][-1] in "024" for row in dropped)
    assert work_out(tmp_path / "off", encoder, multi_hop=0.0) == (single, [])


class Unread:
    """A teacher that writes alone, as those behind servers and of hosts do."""

    fingerprint = "unread"
    asked = 0

    def complete(self, prompts: Sequence[Prompt], **_: Any) -> list[Reply]:
        self.asked += len(prompts)
        return [Reply(text=ask(prompt), is_finished=True) for prompt in prompts]


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"pairs": {"multi_hop": 1.0}}, "Set pairs.multi_hop to 0,"),
        ({"pairs": {"multi_hop": 0.0}}, ""),
        ({"pairs": {"multi_hop": 1.0}, "filters": {"use": ["support"]}}, ""),
        ({"filters": {"use": ["dependency"]}}, 'Remove "dependency" from filters.use'),
        ({"negatives": {"guards": ["reading"]}}, 'Remove "reading" from negatives.guards'),
    ],
)
def test_a_teacher_that_cannot_read_answers_is_refused_before_it_writes(
    tmp_path: Path,
    encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    advice: str,
) -> None:
    monkeypatch.setattr(job, "try_encoders", lambda *_: None)  # the encoder has no weights
    models = {"teacher": "given", "embedder": str(encoder), "parts": ["embedder"]}
    config, teacher = load_config(overrides={**models, **settings}), Unread()
    refused = pytest.raises(ModelError, match=advice) if advice else nullcontext()
    with job.open_run(tmp_path, config, teacher) as run:
        run.give(DOCUMENTS)
        with refused:
            run.check()
    assert teacher.asked == 0


def test_partitions_change_nothing(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = work_out(tmp_path / "whole", encoder)
    small = tuple(
        dataclasses.replace(one, partition=lambda _: by_record("rated", size=2))
        if one.name == "drafts"
        else one
        for one in declared_stages()
    )
    monkeypatch.setattr("aloft.run.graph.declared_stages", lambda: small)
    assert work_out(tmp_path / "parts", encoder) == whole
