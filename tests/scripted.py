"""Models without weights for tests of the host packages."""

import asyncio
import json
import pickle
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, TypeVar

import pytest

from aloft.backends.loading import Models
from aloft.backends.shared import SharedModels
from aloft.config import RunConfig, check_config
from aloft.jsonl import encode_record
from aloft.protocols import (
    Embedder,
    Floats,
    ItemT,
    LanguageModel,
    Prompt,
    Reply,
    Reranker,
    ResultT,
    Tokenizer,
)
from aloft.records import Candidate, Negatives, Rejection
from aloft.retrieval.relevance import UNRELATED
from aloft.retrieval.retriever import RetrievalSettings
from aloft.serving.bundle import Bundle
from aloft.testing import HashingEmbedder, OverlapReranker, ScriptedTeacher

T = TypeVar("T")
TOPICS = ("assert", "break", "del", "global", "lambda", "pass", "raise", "return", "power", "yield")


def write_records(path: Path, records: Iterable[Any]) -> None:
    """Write a file of records, as stages do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(encode_record, records)))


def elsewhere(
    work: Callable[[ItemT], Iterable[ResultT]], items: Iterable[ItemT], /
) -> Iterator[list[ResultT]]:
    """A `Spread` that gives each item to another process, as far as pickling goes."""
    for item in items:
        there, given = pickle.loads(pickle.dumps((work, item)))
        yield pickle.loads(pickle.dumps(list(there(given))))


def split_rejections(outcomes: Iterable[Any]) -> tuple[list[Any], list[Rejection]]:
    """Part what a stage kept from what it dropped."""
    found = list(outcomes)
    dropped = [outcome for outcome in found if isinstance(outcome, Rejection)]
    return [outcome for outcome in found if not isinstance(outcome, Rejection)], dropped


def long_words(prompt: Prompt) -> str:
    """A question about a passage's longest words."""
    words = sorted(set(prompt.messages[-1].content.split()), key=lambda w: (-len(w), w))
    return f" What is meant by {' and '.join(words[1:4])}?\nAnswer: {words[0]}"


def write_topics(folder: Path) -> Path:
    """Ten topics of the language reference that Python carries, a file each."""
    folder.mkdir()
    for name in TOPICS:
        (folder / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    return folder


def still_models(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both tiny models, without dropout and in float32, so that a loss can be worked out."""
    from aloft.testing import tiny_encoder, tiny_language_model

    tiny_language_model(folder / "language-model")
    config = tiny_encoder(folder / "encoder") / "config.json"
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(json.loads(config.read_text()) | dropout))
    for module in ("training.trainer", "training.generator", "backends.transformers"):
        monkeypatch.setattr(f"aloft.{module}.has_bf16", lambda device: False)
    return folder


def last_words(prompt: Prompt) -> str:
    """A reply that shows what was read last."""
    return f"You said: {prompt.messages[-1].content}"


def mined(pair_id: str, negatives: Sequence[str] = (), positives: Sequence[str] = ()) -> Negatives:
    """What mining finds where it finds these."""
    verdicts = [*((i, "positive") for i in positives), *((i, "negative") for i in negatives)]
    candidates = tuple(
        Candidate(passage_id=i, rank=rank, score=0.0, verdict=verdict)
        for rank, (i, verdict) in enumerate(verdicts, start=1)
    )
    return Negatives(pair_id=pair_id, score=0.5, candidates=candidates)


class ScriptedModels(Models):
    """Gives models of `aloft.testing` under any name, and remembers what was loaded."""

    def __init__(self, reply: Callable[[Prompt], str | None] = last_words) -> None:
        super().__init__()
        self.loaded: list[tuple[str, str]] = []
        self.adapters: list[Path | None] = []
        self.texts: list[str] = []  # that embedders and rerankers read
        self.embedded = 0  # passages
        self.teacher_model = ScriptedTeacher(reply)

    def embedder(self, name: str) -> Embedder:
        self.loaded.append(("embedder", name))
        return _RememberingEmbedder(self)

    def reranker(self, name: str) -> Reranker:
        self.loaded.append(("reranker", name))
        return _RememberingReranker(self)

    def read(self) -> list[str]:
        """All texts that a model was given."""
        asked = self.teacher_model.asked
        return [*self.texts, *(turn.content for prompt in asked for turn in prompt.messages)]

    def language_model(self, name: str, adapter: Path | None = None) -> LanguageModel:
        self.loaded.append(("language model", name))
        self.adapters.append(adapter)
        return self.teacher_model

    def context_window(self, name: str) -> int:
        return 512

    def tokenizer(self, name: str) -> Tokenizer:
        return WordTokenizer()

    def fingerprint(self, name: str, adapter: Path | None = None) -> str:
        return f"{name}+{adapter}" if adapter else name


class Wordy(Models):
    """A scripted teacher and bags of words under any name."""

    def __init__(self) -> None:
        super().__init__(ScriptedTeacher(long_words))

    def embedder(self, name: str) -> Embedder:
        return HashingEmbedder()


def wordy_config(encoder: Path, **sets: Any) -> RunConfig:
    """A run of `Wordy` models; what is given is of the training sets."""
    return check_config(
        {
            "teacher": str(encoder),
            "embedder": str(encoder),
            "parts": ("embedder",),
            "passages": {"max_tokens": 60},
            "ratings": {"method": "none"},
            "pairs": {"form": "examples"},
            "negatives": {"count": 4, "depth": 20},
            "training_sets": {"contexts": 3, **sets},
        }
    )


class WordTokenizer:
    """Counts words."""

    takes_tools = True

    def encode(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def count(self, prompt: Prompt) -> int:
        return sum(len(self.encode(turn.content)) for turn in prompt.messages)


class _RememberingEmbedder(HashingEmbedder):
    def __init__(self, models: ScriptedModels) -> None:
        self._models = models

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        self._models.texts += texts
        return super().encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        if tuple(texts) != UNRELATED:  # which scores are measured by, and no host gave
            self._models.texts += texts
            self._models.embedded += len(texts)
        return super().encode_passages(texts)


class _RememberingReranker(OverlapReranker):
    def __init__(self, models: ScriptedModels) -> None:
        self._models = models

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        self._models.texts += [text for pair in pairs for text in pair]
        return super().score(pairs)


class WordByWord(ScriptedTeacher):
    """Streams a word at a time, and tells with the last how many there were."""

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        (whole,) = self.complete([prompt], max_new_tokens=max_new_tokens, stop=stop)
        *first, last = whole.text.split(" ")
        for word in first:
            yield Reply(text=f"{word} ", is_finished=False, is_piece=True)
        yield replace(whole, text=last, new_tokens=1 + len(first))


class OpenWords(WordByWord):
    """Knows whether a stream of its is open, as a server's connection is."""

    is_open = False

    def stream(
        self, prompt: Prompt, *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Iterator[Reply]:
        self.is_open = True
        try:
            yield from super().stream(prompt, max_new_tokens=max_new_tokens, stop=stop)
        finally:
            self.is_open = False


class SlowWords(WordByWord):
    """Takes its time with each call."""

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        time.sleep(0.02)
        return super().complete(prompts, max_new_tokens=max_new_tokens, stop=stop)


async def count_beats(work: Awaitable[T]) -> tuple[T, int]:
    """What work comes to, and how often the event loop had a turn for something else meanwhile."""
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.005)
            beats += 1

    heart = asyncio.create_task(beat())
    done = await work
    heart.cancel()
    return done, beats


def shared(reply: Callable[[Prompt], str | None] = last_words) -> SharedModels:
    """Scripted models as hosts get them."""
    return SharedModels(ScriptedModels(reply))


CONTRACT = Bundle(
    embedder="any embedder",
    generator="any generator",
    reranker=None,
    adapter=None,
    retrieval=RetrievalSettings(retriever="dense", rerank_depth=10, count=4),
    max_new_tokens=32,
)


def retrieving(contract: Bundle, **settings: Any) -> Bundle:
    """The contract with other settings of its retrieval."""
    return replace(contract, retrieval=replace(contract.retrieval, **settings))


def write_run(folder: Path, **changes: object) -> Path:
    """A run folder that holds nothing but a contract; parts named are folders inside `models`."""
    import json
    from dataclasses import asdict

    flat = asdict(CONTRACT)
    settings = flat.pop("retrieval")
    known = {name: settings[name] for name in ("retriever", "rerank_depth")}
    rest = {"contexts": CONTRACT.contexts, "dense_weight": 0.5}
    fields = {**flat, **known, **rest, **changes}  # as the earliest version wrote them
    (folder / "models").mkdir(parents=True)
    for name in ("embedder", "reranker", "adapter"):
        if changes.get(name):
            (folder / "models" / str(changes[name])).mkdir()
    (folder / "models" / "aloft.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


ANIMALS = ("cat", "dog", "owl", "eel", "bat", "fox", "yak", "hen")
PLACES = ("attic", "yard", "barn", "pond", "cave", "wood", "hill", "coop")
_TUNED: list[tuple[Path, Path, list[str], list[str]]] = []


def tuned_questions(
    folders: pytest.TempPathFactory,
) -> tuple[Path, Path, list[str], list[str]]:
    """A tiny encoder, the same tuned for questions alone, the questions, and what answers them."""
    if not _TUNED:
        from aloft.config import EmbedderTrainingConfig
        from aloft.records import EmbedderRow
        from aloft.testing import tiny_encoder
        from aloft.training import train_embedder

        folder = folders.mktemp("tuned")
        asked = [f"Where does the {animal} live?" for animal in ANIMALS]
        texts = [f"{place}: {animal}." for animal, place in zip(ANIMALS, PLACES, strict=True)]
        rows = [
            EmbedderRow(pair_id=question, anchor=question, positive=text, negatives=())
            for question, text in zip(asked, texts, strict=True)
        ]
        base = tiny_encoder(folder / "encoder")
        config = EmbedderTrainingConfig(
            method="query_adapter", num_train_epochs=60, learning_rate=1e-2
        )
        train_embedder(rows, str(base), folder / "embedder", config, seed=0)
        _TUNED.append((base, folder / "embedder", asked, texts))
    return _TUNED[0]
