"""The three trainings on tiny real models: the loss is the claimed one, and it is learnt."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scripted import still_models

from aloft.config import (
    EmbedderTrainingConfig,
    GeneratorTrainingConfig,
    RerankerTrainingConfig,
)
from aloft.errors import ConfigError, DataError, ModelError
from aloft.prompts.formats import format_of
from aloft.records import EmbedderRow, GeneratorRow, RerankerRow

pytestmark = pytest.mark.model

ANIMALS = ("cat", "dog", "owl", "eel", "bat", "fox", "yak", "hen")
PLACES = ("attic", "yard", "barn", "pond", "cave", "wood", "hill", "coop")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both models, without dropout and in float32, so that a loss can be worked out."""
    return still_models(tmp_path, monkeypatch)


@pytest.fixture
def cross_encoder(folder: Path) -> Path:
    """The encoder with a head that is drawn at random."""
    from aloft.backends.sentence_transformers import load_cross_encoder

    with torch.random.fork_rng():
        torch.manual_seed(0)
        load_cross_encoder(folder / "encoder").save_pretrained(str(folder / "cross-encoder"))
    return folder / "cross-encoder"


@pytest.mark.parametrize("state", [None, "", '{"global_step": 1'])
def test_a_checkpoint_that_a_kill_left_unfinished_is_not_resumed_from(
    tmp_path: Path, state: str | None
) -> None:
    from aloft.training.trainer import last_checkpoint

    for step in (4, 12, 9):  # by number, not by name
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-12")
    for step in (12, 9):
        file = tmp_path / f"checkpoint-{step}" / "trainer_state.json"
        file.unlink()
        if state is not None:
            file.write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint-4"]
    shutil.rmtree(tmp_path / "checkpoint-4")
    assert last_checkpoint(tmp_path) is None


def embedder_rows(negatives: int = 1) -> list[EmbedderRow]:
    return [
        EmbedderRow(
            pair_id=animal,
            anchor=f"Where does the {animal} live?",
            positive=f"The {animal} lives in the {place}.",
            negatives=(f"Nobody lives in the {place}, least of all the fly.",)[:negatives],
        )
        for animal, place in zip(ANIMALS, PLACES, strict=True)
    ]


def reranker_rows() -> list[RerankerRow]:
    rows = []
    for i, animal in enumerate(ANIMALS):
        query = f"Where does the {animal} live?"
        for place, label in ((PLACES[i], 1.0), (PLACES[i - 1], 0.0), (PLACES[i - 2], 0.0)):
            text = f"The {animal} lives in the {place}." if label else f"{place}: empty, 4711 m2"
            rows.append(RerankerRow(pair_id=animal, query=query, passage=text, label=label))
    return rows


FORM = format_of("aloftrag", abstains=False)


def generator_rows() -> list[GeneratorRow]:
    contexts = [f"The {a} lives in the {p}." for a, p in zip(ANIMALS, PLACES, strict=True)][:2]
    return [
        GeneratorRow(
            pair_id=animal,
            prompt=FORM.render(f"Where does the {animal} live?", contexts).messages,
            prefix=FORM.prefix,
            completion=f"{FORM.prefix}{FORM.target(f'in the {place}', [i], contexts)}",
        )
        for i, (animal, place) in enumerate(zip(ANIMALS[:2], PLACES[:2], strict=True), start=1)
    ]


def files_of(folder: Path) -> set[str]:
    return {file.suffix for file in folder.rglob("*") if file.is_file()}


def test_the_embedders_loss_is_the_contrastive_one_over_batch_and_hard_negatives(
    folder: Path,
) -> None:
    from aloft.backends.sentence_transformers import SentenceTransformersEmbedder
    from aloft.training import train_embedder

    rows = embedder_rows()
    base = SentenceTransformersEmbedder(str(folder / "encoder"))
    anchors = base.encode_queries([row.anchor for row in rows])
    texts = [row.positive for row in rows] + [row.negatives[0] for row in rows]
    cosines = anchors @ base.encode_passages(texts).T
    wrong = cosines[~np.eye(*cosines.shape, dtype=bool)].reshape(len(rows), -1)
    scale = min((20, 50, 100), key=lambda one: abs(np.log(one * np.median(wrong.std(axis=1)) / 2)))
    expected = np.mean(logsumexp(scale * cosines, axis=1) - scale * cosines.diagonal())

    config = EmbedderTrainingConfig(
        num_train_epochs=1, learning_rate=1e-9, per_device_train_batch_size=8
    )
    done = train_embedder(rows, str(folder / "encoder"), folder / "embedder", config, seed=0)
    assert done.losses == pytest.approx((expected,), abs=2e-3)


@pytest.mark.parametrize("part", ["embedder", "reranker", "late interaction"])
def test_texts_are_cut_in_training_alone(folder: Path, cross_encoder: Path, part: str) -> None:
    from aloft.backends.late_interaction import load_late_interaction
    from aloft.backends.sentence_transformers import load_cross_encoder, load_encoder
    from aloft.training import train_embedder, train_reranker

    short = {"num_train_epochs": 1, "max_seq_length": 16}
    base = str(cross_encoder if part == "reranker" else folder / "encoder")
    if part == "embedder":
        train_embedder(
            embedder_rows(), base, folder / part, EmbedderTrainingConfig(**short), seed=0
        )
        before, after = load_encoder(Path(base)), load_encoder(folder / part)
    else:
        train_reranker(
            reranker_rows(), base, folder / part, RerankerTrainingConfig(**short), seed=0
        )
        load: Any = load_cross_encoder if part == "reranker" else load_late_interaction
        before, after = load(Path(base)), load(folder / part)
    assert before.max_seq_length == after.max_seq_length > 16


def test_a_body_is_taken_as_it_is(folder: Path) -> None:
    from aloft.backends.checking import is_multi_vector
    from aloft.backends.late_interaction import LateInteractionReranker
    from aloft.training import take_body

    pairs = [(row.query, row.passage) for row in reranker_rows()]
    taken = take_body(folder / "encoder", folder / "reranker")
    assert (taken.kind, taken.path, taken.losses) == ("reranker", "reranker", ())
    assert is_multi_vector(folder / "reranker")
    wanted = LateInteractionReranker(str(folder / "encoder")).score(pairs)
    found = LateInteractionReranker(str(folder / "reranker")).score(pairs)
    assert found == pytest.approx(wanted, abs=1e-6)


def test_the_embedder_learns_and_is_saved_whole(folder: Path) -> None:
    from safetensors.torch import load_file

    from aloft.backends.sentence_transformers import SentenceTransformersEmbedder
    from aloft.training import train_embedder

    rows = [*embedder_rows()[:4], *embedder_rows(negatives=0)[4:]]  # lists of unlike length
    config = EmbedderTrainingConfig(
        num_train_epochs=30, learning_rate=2e-3, per_device_train_batch_size=4
    )
    told: list[tuple[int, int]] = []
    done = train_embedder(
        rows,
        str(folder / "encoder"),
        folder / "embedder",
        config,
        seed=0,
        checkpoints=folder / "checkpoints",
        progress=lambda stage, step, steps: told.append((step, steps)),
    )
    assert done.losses[-1] < done.losses[0] / 2
    assert told[0] == (1, 60)
    assert told[-1] == (60, 60)
    tuned = SentenceTransformersEmbedder(str(folder / "embedder"))
    assert tuned.fingerprint == done.fingerprint
    scores = (
        tuned.encode_queries([r.anchor for r in rows])
        @ tuned.encode_passages([r.positive for r in rows]).T
    )
    assert (scores.argmax(1) == np.arange(len(rows))).mean() > 0.7
    assert files_of(folder / "embedder") <= {".safetensors", ".json"}
    assert not (folder / "checkpoints").exists()
    assert not (folder / "work").exists()
    before = load_file(folder / "encoder" / "model.safetensors")
    after = load_file(folder / "embedder" / "model.safetensors")
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still <= {name for name in before if name.startswith("pooler")}


@pytest.mark.parametrize("method", ["all", "lora", "query_lora", "query_adapter"])
def test_an_embedder_is_as_far_from_its_start_as_its_share_says(folder: Path, method: str) -> None:
    from aloft.backends.sentence_transformers import load_encoder
    from aloft.training import train_embedder

    base = folder / "encoder"
    for share in (1.0, 0.25):
        config = EmbedderTrainingConfig(
            method=method, num_train_epochs=2, learning_rate=1e-3, tuned_share=share
        )
        train_embedder(embedder_rows(), str(base), folder / str(share), config, seed=0)
    start, part = load_encoder(base), load_encoder(folder / "0.25")
    whole = load_encoder(folder / "1.0").state_dict()
    known, moved = start.state_dict(), 0
    for name, weight in part.state_dict().items():
        before = known.get(name.removeprefix("0.sub_modules.query."))
        if "linear.weight" in name and before is None:
            before = torch.eye(len(weight))  # the map that "query_adapter" adds
        if before is None or not weight.is_floating_point():
            continue
        expected = 0.75 * before + 0.25 * whole[name]
        torch.testing.assert_close(weight, expected, atol=1e-6, rtol=1e-5)
        moved += not torch.equal(weight, before)
    assert moved


@pytest.mark.parametrize("kind", ["late interaction", "cross-encoder"])
def test_a_reranker_is_as_far_from_its_start_as_its_share_says(
    folder: Path, cross_encoder: Path, kind: str
) -> None:
    from safetensors.torch import load_file

    from aloft.training import train_reranker

    base = cross_encoder if kind == "cross-encoder" else folder / "encoder"
    for share in (1.0, 0.25):
        config = RerankerTrainingConfig(num_train_epochs=2, learning_rate=1e-3, tuned_share=share)
        train_reranker(reranker_rows(), str(base), folder / str(share), config, seed=0)
    before, whole, part = (
        load_file(path / "model.safetensors") for path in (base, folder / "1.0", folder / "0.25")
    )
    moved = 0
    for name, weight in part.items():
        torch.testing.assert_close(
            weight, 0.75 * before[name] + 0.25 * whole[name], atol=1e-6, rtol=1e-5
        )
        moved += not torch.equal(weight, before[name])
    assert moved


def test_two_trainings_with_one_seed_give_one_model(folder: Path) -> None:
    from aloft.training import train_embedder

    config = EmbedderTrainingConfig(num_train_epochs=2, per_device_train_batch_size=4)
    rows, base = embedder_rows(), str(folder / "encoder")
    once = train_embedder(rows, base, folder / "once", config, seed=5)
    again = train_embedder(rows, base, folder / "again", config, seed=5)
    other = train_embedder(rows, base, folder / "other", config, seed=6)
    assert once.fingerprint == again.fingerprint
    assert once.fingerprint != other.fingerprint


def test_the_rerankers_loss_weighs_positives_by_their_rarity(
    folder: Path, cross_encoder: Path
) -> None:
    from aloft.backends.sentence_transformers import load_cross_encoder
    from aloft.training import train_reranker

    rows = reranker_rows()
    base = load_cross_encoder(cross_encoder)
    pairs = [(row.query, row.passage) for row in rows]
    scores = base.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    terms = [
        2 * math.log1p(math.exp(-score)) if row.label else math.log1p(math.exp(score))
        for row, score in zip(rows, scores.tolist(), strict=True)
    ]  # two negatives stand by each positive
    config = RerankerTrainingConfig(
        num_train_epochs=1, learning_rate=1e-9, per_device_train_batch_size=len(rows)
    )
    done = train_reranker(rows, str(cross_encoder), folder / "reranker", config, seed=4)
    assert done.losses == pytest.approx((np.mean(terms),), abs=2e-3)


def test_the_reranker_learns_and_is_saved_whole(folder: Path, cross_encoder: Path) -> None:
    from aloft.backends.sentence_transformers import SentenceTransformersReranker
    from aloft.training import train_reranker

    rows = reranker_rows()
    config = RerankerTrainingConfig(
        num_train_epochs=60, learning_rate=2e-3, per_device_train_batch_size=8
    )
    done = train_reranker(rows, str(cross_encoder), folder / "reranker", config, seed=0)
    assert done.losses[-1] < done.losses[0] / 2
    tuned = SentenceTransformersReranker(str(folder / "reranker"))
    assert tuned.fingerprint == done.fingerprint
    scores = tuned.score([(row.query, row.passage) for row in rows]).reshape(-1, 3)
    assert (scores.argmax(1) == 0).mean() > 0.7
    assert files_of(folder / "reranker") <= {".safetensors", ".json"}


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_listwise_loss_is_what_swaps_cost(
    folder: Path, cross_encoder: Path, repeats: int
) -> None:
    """NDCG-Loss2++ with gains 1 and 0: all pairs of a right and a wrong passage, weighted.

    A question that stands twice among the rows, as one of a log does, is two lists of its passages.
    """
    from aloft.backends.sentence_transformers import load_cross_encoder
    from aloft.training import train_reranker

    rows = reranker_rows()[:3]  # one question: right, wrong, wrong
    base = load_cross_encoder(cross_encoder)
    pairs = [(row.query, row.passage) for row in rows]
    scores = base.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    order = np.argsort(-scores).tolist()
    place = order.index(0)  # of the right one, from 0
    discounts = [1 / math.log2(2 + i) for i in range(4)]
    expected = 0.0
    for wrong, other in enumerate(order):
        if other == 0:
            continue
        apart = abs(wrong - place)
        swap = abs(discounts[apart - 1] - discounts[apart])
        weight = 10 * swap + abs(discounts[place] - discounts[wrong])
        chance = 1 / (1 + math.exp(-(scores[0] - scores[other])))
        expected -= weight * math.log2(chance)
    config = RerankerTrainingConfig(
        loss="listwise", learning_rate=1e-9, per_device_train_batch_size=3 * repeats
    )
    done = train_reranker(rows * repeats, str(cross_encoder), folder / "reranker", config, seed=4)
    assert done.losses == pytest.approx((expected / 2,), abs=5e-3)  # of two such pairs the mean


@pytest.mark.parametrize(
    "settings", [{"loss": "listwise"}, {"method": "lora"}, {"loss": "listwise", "method": "lora"}]
)
def test_each_way_to_train_a_reranker_learns_and_saves_plain_weights(
    folder: Path, cross_encoder: Path, settings: dict[str, Any]
) -> None:
    from safetensors.torch import load_file

    from aloft.backends.sentence_transformers import SentenceTransformersReranker
    from aloft.training import train_reranker

    rows = reranker_rows()
    config = RerankerTrainingConfig(
        num_train_epochs=80, learning_rate=5e-3, per_device_train_batch_size=12, **settings
    )
    done = train_reranker(rows, str(cross_encoder), folder / "reranker", config, seed=0)
    assert done.losses[-1] < 0.7 * done.losses[0]
    tuned = SentenceTransformersReranker(str(folder / "reranker"))
    scores = tuned.score([(row.query, row.passage) for row in rows]).reshape(-1, 3)
    assert (scores.argmax(1) == 0).mean() > 0.7
    names = load_file(folder / "reranker" / "model.safetensors")
    assert not any("lora" in name or "modules_to_save" in name for name in names)
    assert files_of(folder / "reranker") <= {".safetensors", ".json"}


def test_late_interaction_is_trained_against_every_passage_of_its_batch(folder: Path) -> None:
    from aloft.backends.late_interaction import LateInteractionReranker
    from aloft.training import train_reranker

    rows = reranker_rows()
    rows = [*rows[:3], *rows[12:15]]  # two questions, each with a right passage and two wrong ones
    base = LateInteractionReranker(str(folder / "encoder"))
    texts = [row.passage for row in rows]
    table = np.array([base.score([(query, text) for text in texts]) for query in
                      (rows[0].query, rows[3].query)], float)  # fmt: skip
    scaled = 40 * table
    terms = np.log(np.exp(scaled).sum(1)) - scaled[[0, 1], [0, 3]]
    config = RerankerTrainingConfig(
        num_train_epochs=1, learning_rate=1e-9, per_device_train_batch_size=2
    )
    done = train_reranker(rows, str(folder / "encoder"), folder / "late", config, seed=4)
    assert done.losses == pytest.approx((terms.mean(),), abs=5e-3)


@pytest.mark.parametrize("method", ["all", "lora"])
def test_late_interaction_learns_and_is_saved_as_a_multi_vector_model(
    folder: Path, method: Any
) -> None:
    from safetensors.torch import load_file
    from sentence_transformers import MultiVectorEncoder

    from aloft.backends.checking import check_reranker, is_multi_vector
    from aloft.backends.late_interaction import LateInteractionReranker
    from aloft.backends.loading import Models
    from aloft.training import train_reranker

    rows = reranker_rows()
    config = RerankerTrainingConfig(
        num_train_epochs=40, learning_rate=5e-3, per_device_train_batch_size=8, method=method
    )
    done = train_reranker(rows, str(folder / "encoder"), folder / "late", config, seed=0)
    assert done.losses[-1] < 0.7 * done.losses[0]
    check_reranker(str(folder / "late"))
    assert is_multi_vector(folder / "late")
    tuned = Models().reranker(str(folder / "late"))
    assert isinstance(tuned, LateInteractionReranker)
    assert tuned.fingerprint == f"{done.fingerprint}-tokens"
    pairs = [(row.query, row.passage) for row in rows]
    scores = tuned.score(pairs)
    assert (scores.reshape(-1, 3).argmax(1) == 0).mean() > 0.7
    model = MultiVectorEncoder(str(folder / "late"), local_files_only=True, device="cpu")
    theirs = model.similarity_pairwise(
        model.encode_query([query for query, _ in pairs]),
        model.encode_document([text for _, text in pairs]),
    )
    np.testing.assert_allclose(scores, theirs, atol=2e-3)  # kept tokens are in half precision
    names = load_file(folder / "late" / "model.safetensors")
    assert not any("lora" in name for name in names)
    assert files_of(folder / "late") <= {".safetensors", ".json"}


@pytest.mark.parametrize(("count", "weight"), [(1, 1.0), (2, 1.0), (2, 10.0)])
def test_the_generators_loss_is_the_replys_alone(folder: Path, count: int, weight: float) -> None:
    """Each row's tokens are predicted as if it stood alone; the passage's number counts more."""
    from transformers import AutoModelForCausalLM

    from aloft.backends.encoding import load_tokenizer
    from aloft.training import train_generator
    from aloft.training.generator import encode_rows

    base = folder / "language-model"
    rows = [replace(row, completion=row.completion + " far" * i) for i, row in
            enumerate(generator_rows()[:count])]  # fmt: skip
    encoded = encode_rows(rows, load_tokenizer(base), 4096)
    assert len({len(row["input_ids"]) for row in encoded}) == count
    total, tokens = 0.0, 0
    for row in encoded:
        labels = torch.tensor(row["labels"][1:])
        with torch.no_grad():
            logits = AutoModelForCausalLM.from_pretrained(base)(torch.tensor([row["input_ids"]]))
        losses = torch.nn.functional.cross_entropy(logits.logits[0, :-1], labels, reduction="none")
        number = int((labels >= 0).nonzero()[0]) + len(FORM.prefix)  # a letter is a token here
        total += float(losses.sum() + (weight - 1) * losses[number])
        tokens += int((labels >= 0).sum())
    config = GeneratorTrainingConfig(
        r=4, lora_dropout=0, max_length=4096, per_device_train_batch_size=count,
        citation_weight=weight,
    )  # fmt: skip
    done = train_generator(
        rows, str(base), folder / "generator", config, seed=0
    )  # a new adapter changes nothing yet
    assert done.losses == pytest.approx((total / tokens,), abs=2e-3)


def test_the_generator_learns_on_an_adapter_that_leaves_its_base_alone(folder: Path) -> None:
    from aloft.backends.fingerprint import fingerprint_folder
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.protocols import Prompt
    from aloft.training import train_generator

    base = folder / "language-model"
    weights = fingerprint_folder(base)
    rows = generator_rows()[1:]
    config = GeneratorTrainingConfig(
        r=16, num_train_epochs=60, learning_rate=1e-2,
        max_length=4096, gradient_checkpointing=False,
    )  # fmt: skip
    done = train_generator(rows, str(base), folder / "generator", config, seed=0)
    assert done.losses[-1] < done.losses[0] / 10
    assert fingerprint_folder(base) == weights
    assert files_of(folder / "generator") <= {".safetensors", ".json", ".jinja"}
    prompts = [Prompt(messages=row.prompt, prefix=FORM.prefix) for row in rows]
    tuned = TransformersLanguageModel(str(base), folder / "generator")
    replies = [r.text for r in tuned.complete(prompts, max_new_tokens=64)]
    assert replies == [row.completion.removeprefix(FORM.prefix) for row in rows]
    untuned = TransformersLanguageModel(str(base))
    assert untuned.fingerprint != tuned.fingerprint
    assert [r.text for r in untuned.complete(prompts, max_new_tokens=64)] != replies


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_other_adapters_learn_and_are_read_back(folder: Path, kind: str) -> None:
    from safetensors.torch import load_file

    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.protocols import Prompt
    from aloft.training import train_generator

    base, rows = str(folder / "language-model"), generator_rows()[1:]
    config = GeneratorTrainingConfig(
        method=kind, r=16, num_train_epochs=60, learning_rate=1e-2,
        max_length=4096, gradient_checkpointing=False,
    )  # fmt: skip
    done = train_generator(rows, base, folder / kind, config, seed=0)
    assert done.losses[-1] < done.losses[0] / 10
    has_lengths = any(
        "magnitude" in name for name in load_file(folder / kind / "adapter_model.safetensors")
    )
    assert has_lengths == (kind == "dora")
    saved = json.loads((folder / kind / "adapter_config.json").read_bytes())
    assert (saved["use_rslora"], saved["use_dora"]) == (kind == "rslora", kind == "dora")
    prompts = [Prompt(messages=row.prompt, prefix=FORM.prefix) for row in rows]
    tuned = TransformersLanguageModel(base, folder / kind)
    replies = [r.text for r in tuned.complete(prompts, max_new_tokens=64)]
    assert replies == [row.completion.removeprefix(FORM.prefix) for row in rows]


def test_a_generator_trained_whole_learns_and_is_a_model_by_itself(folder: Path) -> None:
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.protocols import Prompt
    from aloft.training import train_generator

    base, rows = folder / "language-model", generator_rows()[1:]
    config = GeneratorTrainingConfig(
        method="full", num_train_epochs=60, learning_rate=3e-3, max_length=4096
    )
    done = train_generator(rows, str(base), folder / "whole", config, seed=0)
    assert done.losses[-1] < done.losses[0] / 10
    beside = {file.name for file in base.iterdir()}
    assert {file.name for file in (folder / "whole").iterdir()} == beside
    for name in beside - {"model.safetensors", "config.json"}:
        assert (folder / "whole" / name).read_bytes() == (base / name).read_bytes()
    tuned = TransformersLanguageModel(str(folder / "whole"))
    prompts = [Prompt(messages=row.prompt, prefix=FORM.prefix) for row in rows]
    replies = [r.text for r in tuned.complete(prompts, max_new_tokens=64)]
    assert replies == [row.completion.removeprefix(FORM.prefix) for row in rows]


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_merged_adapter_replies_as_beside_its_model(folder: Path, kind: str) -> None:
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.protocols import Prompt
    from aloft.training import train_generator
    from aloft.training.merging import merge_adapter

    base, rows = str(folder / "language-model"), generator_rows()
    config = GeneratorTrainingConfig(
        method=kind, r=8, num_train_epochs=40, learning_rate=1e-2, max_length=4096
    )
    train_generator(rows, base, folder / "adapter", config, seed=0)
    change = merge_adapter(base, folder / "adapter", folder / "merged", rows)
    assert 0 <= change < 1e-3
    assert not (folder / "merged" / "adapter_config.json").exists()
    prompts = [Prompt(messages=row.prompt, prefix=FORM.prefix) for row in rows]
    adapted, merged, untuned = (
        [r.text for r in TransformersLanguageModel(*which).complete(prompts, max_new_tokens=64)]
        for which in ((base, folder / "adapter"), (str(folder / "merged"),), (base,))
    )
    assert merged == adapted != untuned
    # all weights trained further start from what the adapter had come to
    start = {"method": "full", "init_adapter": str(folder / "adapter"), "learning_rate": 1e-30}
    still = GeneratorTrainingConfig(max_length=4096, **start)
    train_generator(rows, base, folder / "whole", still, seed=0)
    whole = TransformersLanguageModel(str(folder / "whole"))
    assert [r.text for r in whole.complete(prompts, max_new_tokens=64)] == merged


def test_a_model_that_merging_changes_is_not_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aloft.training import merging, train_generator

    base, rows = str(folder / "language-model"), generator_rows()
    config = GeneratorTrainingConfig(num_train_epochs=40, learning_rate=1e-2, max_length=4096)
    train_generator(rows, base, folder / "adapter", config, seed=0)

    def forget(model: Any, source: Path, path: Path) -> None:
        shutil.copytree(source, path, dirs_exist_ok=True)  # the weights without the adapter's

    monkeypatch.setattr(merging, "save_whole", forget)
    with pytest.raises(ModelError, match=r"does not reply like .* Use the adapter as it is"):
        merging.merge_adapter(base, folder / "adapter", folder / "merged", rows)
    assert not (folder / "merged").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_four_bits_are_refused_where_there_is_no_gpu(folder: Path) -> None:
    from aloft.training import train_generator

    config = GeneratorTrainingConfig(method="qlora", max_length=4096)
    with pytest.raises(ConfigError, match=r'needs an NVIDIA GPU.* Set it to "lora"'):
        train_generator(
            generator_rows(), str(folder / "language-model"), folder / "generator", config, seed=0
        )


def test_the_generator_goes_on_with_an_adapter_of_its_own_rank(folder: Path) -> None:
    from safetensors.torch import load_file

    from aloft.training import train_generator

    base, rows = str(folder / "language-model"), generator_rows()
    settings = {"max_length": 4096, "gradient_checkpointing": False, "lora_dropout": 0}
    settings["citation_weight"] = 1
    first = GeneratorTrainingConfig(r=8, num_train_epochs=3, learning_rate=1e-2, **settings)
    train_generator(rows, base, folder / "first", first, seed=0)
    still = GeneratorTrainingConfig(
        r=2, init_adapter=str(folder / "first"), learning_rate=1e-30, **settings
    )
    done = train_generator(rows, base, folder / "second", still, seed=0)
    known, found = (
        load_file(folder / name / "adapter_model.safetensors") for name in ("first", "second")
    )
    assert known.keys() == found.keys()
    assert {min(tensor.shape) for tensor in found.values()} == {8}
    for name, tensor in known.items():
        torch.testing.assert_close(found[name], tensor, atol=0, rtol=1e-6)
    untuned = train_generator(
        rows, base, folder / "third", first.model_copy(update={"num_train_epochs": 1}), seed=0
    )
    assert done.losses[0] < untuned.losses[0] / 2


def test_gradient_checkpointing_changes_memory_and_no_weight(folder: Path) -> None:
    from safetensors.torch import load_file

    from aloft.training import train_generator

    config = GeneratorTrainingConfig(r=4, lora_dropout=0, num_train_epochs=3, max_length=4096)
    for name, has_checkpoints in (("with", True), ("without", False)):
        settings = config.model_copy(update={"gradient_checkpointing": has_checkpoints})
        base = str(folder / "language-model")
        train_generator(generator_rows(), base, folder / name, settings, seed=0)
    first, second = (
        load_file(folder / name / "adapter_model.safetensors") for name in ("with", "without")
    )
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=1e-6, rtol=1e-4)


class _StoppedError(Exception):
    """Ends a training as a plug that is pulled does."""


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_generator_that_is_stopped_inside_its_epochs_ends_as_one_that_never_was(
    folder: Path, dropout: float
) -> None:
    """Ten steps in two epochs, a checkpoint after every second: stopped in each epoch once."""
    from safetensors.torch import load_file

    from aloft.training import train_generator

    rows = [
        replace(row, completion=row.completion + " far" * i)
        for i, row in enumerate(generator_rows() * 5)
    ]
    config = GeneratorTrainingConfig(
        r=4, lora_dropout=dropout, num_train_epochs=2, learning_rate=1e-2,
        per_device_train_batch_size=2, max_length=4096,
    )  # fmt: skip
    told: list[int] = []

    def train(name: str, last: int) -> Any:
        def stop(_stage: str, step: int, _steps: int) -> None:
            told.append(step)
            if step == last:
                raise _StoppedError

        base = str(folder / "language-model")
        return train_generator(
            rows,
            base,
            folder / name,
            config,
            seed=3,
            checkpoints=folder / f"{name}-checkpoints",
            progress=stop,
        )

    whole = train("whole", 0)
    told.clear()
    for last in (3, 9):
        with pytest.raises(_StoppedError):
            train("stopped", last)
    stopped = train("stopped", 0)
    assert told == [1, 2, 3, *range(3, 10), *range(9, 11)]
    assert stopped.losses == pytest.approx(whole.losses, abs=1e-3)
    ours, theirs = (
        load_file(folder / name / "adapter_model.safetensors") for name in ("stopped", "whole")
    )
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=1e-5)


def test_rows_that_do_not_fit_are_left_out_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from aloft.backends.encoding import load_tokenizer
    from aloft.training.generator import encode_rows

    tokenizer = load_tokenizer(folder / "language-model")
    short, other = generator_rows()
    long = replace(other, completion=other.completion + " and nowhere else" * 50)
    (kept,) = encode_rows([short], tokenizer, 4096)
    assert encode_rows([short, long], tokenizer, len(kept["input_ids"])) == [kept]
    assert "1 of 2 generator rows are longer" in caplog.text
    with pytest.raises(DataError, match="No generator row fits into 64 tokens"):
        encode_rows([short, long], tokenizer, 64)
