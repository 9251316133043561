"""Turns what models are asked into what they say: each once, and kept in the run folder."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.loading import Models
from aloft.config import RunConfig, plain_name
from aloft.errors import ModelError
from aloft.files import write_text
from aloft.protocols import (
    Floats,
    LanguageModel,
    Progress,
    Prompt,
    ReadingModel,
    TokenReadingModel,
    no_progress,
)
from aloft.records import Rejection, content_id, from_json, to_json
from aloft.run.usage import Meter, Usage, metered, total
from aloft.storage import Journal, RunFolder, cache_key, vectors_recipe

TEACHER_BATCH = 64  # subjects between two writes to the journal: what a kill can cost
_ANSWER_BATCH = 32
_SCORE_BATCH = 512
_READ_BATCH = 128  # enough that prompts about one passage meet in a batch
RecordT = TypeVar("RecordT")


class Work:
    """Asks a run's models for what its folder does not hold yet.

    Attributes:
        folder, config, models: The run's.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        models: Models,
        progress: Progress = no_progress,
    ) -> None:
        self.folder = folder
        self.config = config
        self.models = models
        self._progress = progress
        self._meter = Meter()
        self._spent: dict[str, Usage] = {}

    # ---- the teacher

    @property
    def _teacher_id(self) -> str:
        return self.models.teacher_fingerprint(self.config.teacher)

    @property
    def _teacher(self) -> LanguageModel:
        return metered(self.models.teacher(self.config.teacher), self._meter)

    def _journalled(
        self,
        stage: str,
        recipe: list[Any],
        subjects: Sequence[Any],
        work: Callable[[Sequence[Any]], Iterable[RecordT | Rejection]],
        cls: type[RecordT],
        progress: Progress | None = None,
    ) -> list[RecordT | Rejection]:
        """Do what the journal lacks, batch by batch, and return all outcomes in subject order."""
        journal = self.folder.journal(stage, cache_key(stage, *recipe))
        tell = progress or self._progress
        missing = [subject for subject in subjects if subject.id not in journal]
        done = len(subjects) - len(missing)
        for start in range(0, len(missing), TEACHER_BATCH):
            batch = missing[start : start + TEACHER_BATCH]
            found: dict[str, list[Any]] = {subject.id: [] for subject in batch}
            with self._meter.apart():
                for outcome in work(batch):
                    kind = type(outcome).__name__
                    found[_subject_of(outcome, found)].append([kind, to_json(outcome)])
                journal.add(found.items(), note=to_json(self._meter.read()))
            tell(f"writing {stage}", done + start + len(batch), len(subjects))
        self._spent[stage] = total(from_json(Usage, note) for note in journal.notes)
        outcomes: list[RecordT | Rejection] = []
        for subject in subjects:
            for kind, values in journal[subject.id]:
                is_kept = kind == cls.__name__
                outcomes.append(from_json(cls, values) if is_kept else from_json(Rejection, values))
        return outcomes

    @property
    def readings(self) -> Journal:
        """How likely the teacher found replies so far."""
        return self.folder.journal("readings", cache_key(self._teacher_id))

    def _read(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """How likely the teacher finds replies; what it read before a kill is not read again."""
        teacher = self._teacher
        if not isinstance(teacher, ReadingModel):
            raise ModelError(
                "This teacher can not tell how likely an answer is. Leave dependency and needs_all "
                "out of filters.use."
            )
        journal = self.readings
        keys = [cache_key(*_as_json(p), r) for p, r in zip(prompts, replies, strict=True)]

        def read(rows: Sequence[int]) -> list[float]:
            asked = [prompts[i] for i in rows], [replies[i] for i in rows]
            return list(map(float, teacher.score_replies(*asked)))

        with self._meter.apart():
            found = self._known(journal, keys, read, TEACHER_BATCH, "reading answers")
        self._spent["readings"] = total(from_json(Usage, note) for note in journal.notes)
        return np.array(found, np.float32)

    # ---- encoders

    def _encode(self, model: str, kind: str, texts: Sequence[str]) -> Floats:
        """Vectors, computed once per model and texts and kept in the run folder."""
        recipe = vectors_recipe(kind, self.models.fingerprint(model), texts)

        def encode_all(texts: Sequence[str]) -> Floats:
            embedder = self.models.embedder(model)
            started = time.monotonic()
            queries = kind == "queries"
            vectors = embedder.encode_queries(texts) if queries else embedder.encode_passages(texts)
            self._encoded.add([(kind, [len(texts), round(time.monotonic() - started, 1)])])
            return vectors

        def encode() -> Floats:
            known = self._known_vectors(model, texts) if kind == "passages" else None
            if known is None:
                return encode_all(texts)
            vectors, rows = known
            whole = np.empty((len(texts), vectors.shape[1]), np.float32)
            is_new = rows < 0
            whole[~is_new] = vectors[rows[~is_new]]
            if is_new.any():
                whole[is_new] = encode_all([texts[i] for i in np.flatnonzero(is_new).tolist()])
            return whole

        vectors = self.folder.vectors(kind, recipe, encode)
        if kind == "passages":
            self._describe_vectors(model, recipe, texts)
        return vectors

    def _describe_vectors(self, model: str, recipe: str, texts: Sequence[str]) -> None:
        """Say whose vectors of what they are, for a run that goes on from this one."""
        path = self.folder.path / "work" / f"passages-{recipe}.json"
        if not path.exists():
            weights, ids = self.models.fingerprint(model), [content_id(text) for text in texts]
            write_text(path, json.dumps({"model": weights, "texts": ids}))

    def _known_vectors(
        self, model: str, texts: Sequence[str]
    ) -> tuple[Floats, NDArray[np.intp]] | None:
        """Vectors of texts that were embedded before, and per text its row there or -1."""
        return None

    @property
    def _encoded(self) -> Journal:
        """How many texts of a kind were embedded last, and in how many seconds."""
        return self.folder.journal("encoded", cache_key("encoded"))

    def _score(self, model: str, texts: Sequence[tuple[str, str]], doing: str) -> Floats:
        """Scores of pairs: those known from another ranking are not worked out again."""
        journal = self.folder.journal("scores", cache_key(self.models.fingerprint(model)))
        load = cache(lambda: self.models.reranker(model))

        def score(rows: Sequence[int]) -> list[float]:
            return list(map(float, load().score([texts[i] for i in rows])))

        keys = [content_id(*pair) for pair in texts]
        found = self._known(journal, keys, score, _SCORE_BATCH, doing)
        return np.array(found, np.float32)

    # ---- generators

    @property
    def replies(self) -> Journal:
        """What generators answered so far."""
        return self.folder.journal("answers", cache_key(self.config.evaluation.max_new_tokens))

    def _reply(
        self,
        name: str,
        adapter: Path | None,
        prompts: Sequence[Prompt],
        stop: Sequence[str],
        doing: str,
    ) -> list[str]:
        """What a model says, with an adapter or without, before any of the stop strings."""
        base, limit = self.models.fingerprint(name), self.config.evaluation.max_new_tokens
        weights = fingerprint_folder(adapter) if adapter else ""

        def reply(rows: Sequence[int]) -> list[str]:
            model = self.models.language_model(name, adapter)
            replies = model.complete([prompts[i] for i in rows], max_new_tokens=limit, stop=stop)
            return [reply.text for reply in replies]

        keys = [cache_key(base, weights, _as_json(p), p.pattern, list(stop)) for p in prompts]
        return self._known(self.replies, keys, reply, _ANSWER_BATCH, doing)

    def _read_answers(
        self,
        name: str,
        adapter: Path | None,
        prompts: Sequence[Prompt],
        answers: Sequence[str],
        doing: str,
    ) -> list[list[float]]:
        """Log-probabilities that a model, with an adapter or without, gives answers' tokens.

        It reads in this process: vLLM can not with an adapter, wherever it runs.
        """
        name = plain_name(name)
        weights = fingerprint_folder(adapter) if adapter else ""
        recipe = cache_key(self.models.fingerprint(name), weights)

        def read(rows: Sequence[int]) -> list[list[float]]:
            model = self.models.language_model(name, adapter)
            if not isinstance(model, TokenReadingModel):
                raise ModelError(f"{name} can not tell how likely an answer is. Choose another.")
            return model.token_logprobs([prompts[i] for i in rows], [answers[i] for i in rows])

        keys = [
            cache_key(_as_json(prompt), answer)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        journal = self.folder.journal("answers_read", recipe)
        return self._known(journal, keys, read, _READ_BATCH, doing)

    def _known(
        self,
        journal: Journal,
        keys: Sequence[str],
        work: Callable[[Sequence[int]], Iterable[Any]],
        size: int,
        doing: str,
    ) -> list[Any]:
        """What the journal holds under the keys; what it lacks is worked out batch by batch."""
        missing = list({key: i for i, key in enumerate(keys) if key not in journal}.items())
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            values = work([i for _, i in batch])
            entries = [(key, value) for (key, _), value in zip(batch, values, strict=True)]
            spent = self._meter.read()
            journal.add(entries, note=to_json(spent) if spent.calls else None)
            self._progress(doing, start + len(batch), len(missing))
        return [journal[key] for key in keys]


def _subject_of(outcome: Any, asked: Collection[str]) -> str:
    """A pair's subject is its passage while it is written, and itself while it is marked."""
    names = ("id", "passage_id", "subject_id")
    return next(i for i in (str(getattr(outcome, n, "")) for n in names) if i in asked)


def _as_json(prompt: Prompt) -> Any:
    return [[[m.role, m.content] for m in prompt.messages], prompt.prefix, prompt.is_plain]
