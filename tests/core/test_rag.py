"""Training on what was retrieved, on tiny real models: the claimed loss moves what it should."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scripted import still_models

from aloft.backends.encoding import encode_prompt
from aloft.backends.sentence_transformers import SentenceTransformersEmbedder, load_encoder
from aloft.backends.transformers import TransformersLanguageModel
from aloft.config import RunConfig, check_config
from aloft.config.strategies import STRATEGIES, Phase
from aloft.datasets.rows import retrieved_rows
from aloft.errors import DataError
from aloft.prompts.formats import format_of
from aloft.protocols import Floats, Prompt
from aloft.records import Artifact, Passage, QAPair, RetrievedRow
from aloft.retrieval.ranking import Ranking, rank_block
from aloft.training import train_rag

pytestmark = pytest.mark.model

ANIMALS = ("cat", "dog", "owl", "eel", "bat", "fox", "yak", "hen")
PLACES = ("attic", "yard", "barn", "pond", "cave", "wood", "hill", "coop")
K = 3
STILL = 1e-9  # a rate at which nothing moves
SCALE = 100.0  # of cosines: the tiny encoder hardly tells texts apart, as one made at 0.01
CORPUS = [
    Passage(document_id=animal, text=f"The {animal} lives in the {place}.", start=0)
    for animal, place in zip(ANIMALS, PLACES, strict=True)
]
PAIRS = [
    QAPair(passage_id=passage.id, question=f"Where is the {animal}?", answer=f"in the {place}")
    for passage, animal, place in zip(CORPUS, ANIMALS, PLACES, strict=True)
]
FORM = format_of("ralt", abstains=False)
JOINT = Phase(("embedder", "generator"), "marginal")
FIRST, SECOND = STRATEGIES["two_phase"][:2]
LSR = Phase(("embedder",), "lsr")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both models, without dropout and in float32, so that a loss can be worked out."""
    still_models(tmp_path, monkeypatch)
    prompts = tmp_path / "encoder" / "config_sentence_transformers.json"
    prompts.write_text(
        json.dumps(json.loads(prompts.read_text()) | {"prompts": {"query": "query: "}})
    )
    return tmp_path


def settings(folder: Path, rate: float = STILL, **rag: Any) -> RunConfig:
    """One step with all rows in it."""
    steps = {"num_train_epochs": 1, "per_device_train_batch_size": 8, "learning_rate": rate}
    return check_config(
        {
            "teacher": str(folder / "language-model"),
            "embedder": str(folder / "encoder"),
            "seed": 3,
            "training_sets": {"format": "ralt"},
            "embedder_training": {**steps, "method": "query_lora", "warmup_share": 0},
            "generator_training": {
                **steps,
                "r": 4,
                "lora_dropout": 0.0,
                "gradient_checkpointing": False,
            },
            "rag_training": rag,
        }
    )


def longer(config: RunConfig, **changes: Any) -> RunConfig:
    """The same with other settings for both parts."""
    values = config.model_dump()
    for part in ("embedder_training", "generator_training"):
        values[part] |= changes
    return check_config(values)


def vectors(folder: Path) -> Floats:
    model = SentenceTransformersEmbedder(str(folder / "encoder"))
    return model.encode_passages([passage.content for passage in CORPUS])


def rows(folder: Path) -> list[RetrievedRow]:
    """With what the untuned encoder retrieves and the untuned generator reads."""
    embedder = SentenceTransformersEmbedder(str(folder / "encoder"))
    asked = embedder.encode_queries([pair.question for pair in PAIRS])
    plain = retrieved_rows(PAIRS, rank_block(asked, vectors(folder), K), CORPUS, FORM)
    generator = TransformersLanguageModel(str(folder / "language-model"))
    return [
        replace(row, logs=tuple(map(tuple, generator.token_logprobs(prompts, [row.answer] * K))))
        for row in plain
        for prompts in [[Prompt(messages=m, prefix=row.prefix) for m in row.prompts]]
    ]


def with_ends(folder: Path, some: list[RetrievedRow]) -> list[RetrievedRow]:
    """The answers' ends read too, as a generator that is trained does."""
    generator = TransformersLanguageModel(str(folder / "language-model"))

    def end(row: RetrievedRow, place: int) -> float:
        prompt = Prompt(messages=row.prompts[place], prefix=row.prefix + row.answer)
        ids = torch.tensor([encode_prompt(generator.tokenizer, prompt)])
        with torch.inference_mode():
            logits = generator._model(input_ids=ids).logits[0, -1]
        return float(logits.log_softmax(-1)[generator.tokenizer.eos_token_id])

    return [
        replace(row, logs=tuple((*told, end(row, i)) for i, told in enumerate(row.logs)))
        for row in some
    ]


def marginal(some: list[RetrievedRow], kind: str, scale: float = SCALE) -> float:
    """The mean over questions, by hand."""
    losses = []
    for row in some:
        weights = np.exp(scale * np.array(row.scores))
        weights /= weights.sum()
        told = np.exp(np.array(row.logs, np.float64))  # (k, tokens)
        if kind == "sequence":
            losses.append(-np.log(weights @ told.prod(1)))
        else:
            losses.append(-np.log(weights @ told).sum())
    return float(np.mean(losses))


def train(
    folder: Path, phase: Phase, config: RunConfig, some: list[RetrievedRow] | None = None
) -> dict[str, Artifact]:
    trained = train_rag(some or rows(folder), vectors(folder), phase, config, folder)
    return {artifact.kind: artifact for artifact in trained}


def weights(file: Path) -> dict[str, Any]:
    return {name: weight.numpy() for name, weight in load_file(file).items()}


@pytest.mark.parametrize("kind", ["sequence", "token"])
@pytest.mark.parametrize("phase", [JOINT, FIRST])
def test_the_marginal_goes_over_all_retrieved_passages(
    folder: Path, phase: Phase, kind: str
) -> None:
    some = rows(folder)
    done = train(folder, phase, settings(folder, marginal=kind), some)
    assert done.keys() == set(phase.trains)
    expected = marginal(with_ends(folder, some), kind)
    for artifact in done.values():
        assert artifact.losses == pytest.approx((expected,), rel=1e-4)


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_of_a_generator_that_stays_what_it_read_is_enough(folder: Path, kind: str) -> None:
    some = rows(folder)
    done = train(folder, SECOND, settings(folder, marginal=kind), some)
    assert done["embedder"].losses == pytest.approx((marginal(some, kind),), rel=1e-4)
    assert not (folder / "generator").exists()


def test_passages_are_weighed_at_the_temperature_of_an_encoder(folder: Path) -> None:
    spread = np.random.default_rng(1).normal(size=vectors(folder).shape).astype(np.float32)
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    some = rows(folder)
    (done,) = train_rag(some, spread, FIRST, settings(folder), folder)
    expected = marginal(with_ends(folder, some), "sequence", 20.0)
    assert done.losses == pytest.approx((expected,), rel=1e-4)


def test_the_retriever_is_held_against_mean_likelihoods(folder: Path) -> None:
    some = rows(folder)
    expected = []
    for row in some:
        retrieved = np.exp(SCALE * np.array(row.scores))
        retrieved /= retrieved.sum()
        wanted = np.exp(np.array([np.mean(told) for told in row.logs]) / 0.2)
        wanted /= wanted.sum()
        expected.append((retrieved * np.log(retrieved / wanted)).sum())
    done = train(folder, LSR, settings(folder, temperature=0.2), some)
    assert done["embedder"].losses == pytest.approx((np.mean(expected),), rel=1e-3)


@pytest.mark.parametrize("method", ["query_lora", "query_adapter"])
@pytest.mark.parametrize("phase", [JOINT, SECOND, LSR])
def test_questions_move_and_passages_stay_to_the_last_bit(
    folder: Path, phase: Phase, method: str
) -> None:
    values = settings(folder, 1e-3).model_dump()
    values["embedder_training"]["method"] = method
    config = longer(check_config(values), num_train_epochs=3)
    untouched = (folder / "language-model" / "model.safetensors").read_bytes()
    before = SentenceTransformersEmbedder(str(folder / "encoder"))
    train(folder, phase, config)
    after = SentenceTransformersEmbedder(str(folder / "embedder"))
    asked = [pair.question for pair in PAIRS]
    assert np.abs(after.encode_queries(asked) - before.encode_queries(asked)).max() > 1e-3
    texts = [passage.content for passage in CORPUS]
    np.testing.assert_array_equal(after.encode_passages(texts), before.encode_passages(texts))
    assert load_encoder(folder / "embedder").prompts == load_encoder(folder / "encoder").prompts
    assert (folder / "language-model" / "model.safetensors").read_bytes() == untouched
    assert (folder / "generator").exists() == (phase is JOINT)


def test_the_generator_alone_leaves_the_embedder(folder: Path) -> None:
    done = train(folder, FIRST, longer(settings(folder, 1e-2), num_train_epochs=20))
    assert done["generator"].losses[-1] < 0.5 * done["generator"].losses[0]
    assert not (folder / "embedder").exists()
    adapter = weights(folder / "generator" / "adapter_model.safetensors")
    assert any(np.abs(weight).max() > 0 for name, weight in adapter.items() if "lora_B" in name)
    tuned = TransformersLanguageModel(str(folder / "language-model"), folder / "generator")
    row = rows(folder)[0]
    prompt = Prompt(messages=row.prompts[0], prefix=row.prefix)
    assert sum(tuned.token_logprobs([prompt], [row.answer])[0]) > sum(row.logs[0])


def test_questions_come_to_find_what_makes_their_answers_likely(folder: Path) -> None:
    favoured = [(row + 3) % len(CORPUS) for row in range(len(CORPUS))]

    def ranked(model: str) -> Ranking:
        encoder = SentenceTransformersEmbedder(str(folder / model))
        asked = encoder.encode_queries([pair.question for pair in PAIRS])
        return rank_block(asked, vectors(folder), len(CORPUS))

    def found(model: str) -> int:
        top = ranked(model).top(K).columns
        return sum(right in row for right, row in zip(favoured, top, strict=True))

    some = [
        replace(row, logs=tuple((0.0,) if c == right else (-1.0,) for c in row.columns))
        for right, row in zip(
            favoured, retrieved_rows(PAIRS, ranked("encoder"), CORPUS, FORM), strict=True
        )
    ]
    config = longer(settings(folder, 3e-3), num_train_epochs=60, per_device_train_batch_size=4)
    done = train(folder, LSR, config, some)
    assert done["embedder"].losses[-1] < 0.7 * done["embedder"].losses[0]
    assert found("encoder") <= 4
    assert found("embedder") >= 7


def test_a_stopped_training_goes_on_and_ends_the_same(folder: Path) -> None:
    config = longer(settings(folder, 1e-3), num_train_epochs=5, per_device_train_batch_size=4)
    some, corpus = rows(folder), vectors(folder)
    whole = train_rag(some, corpus, JOINT, config, folder / "whole")
    told: list[int] = []

    class StoppedError(Exception):
        pass

    def stop(_stage: str, done: int, _total: int) -> None:
        told.append(done)
        if done == 5 and len(told) == 5:
            raise StoppedError

    how: Any = {"checkpoints": folder / "checkpoints", "progress": stop}
    with pytest.raises(StoppedError):
        train_rag(some, corpus, JOINT, config, folder / "killed", **how)
    checkpoint = folder / "checkpoints" / "checkpoint-4"
    kept = load_file(checkpoint / "model.safetensors")
    assert kept and all("lora_" in name for name in kept)
    again = train_rag(some, corpus, JOINT, config, folder / "killed", **how)
    assert not (folder / "checkpoints").exists()
    assert told == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10]
    assert [a.fingerprint for a in again] == [a.fingerprint for a in whole]


def test_questions_that_do_not_fit_are_told(folder: Path) -> None:
    config = settings(folder)
    short = config.generator_training.model_copy(update={"max_length": 64})
    with pytest.raises(DataError, match="fits into 64 tokens"):
        train(folder, FIRST, config.model_copy(update={"generator_training": short}))
