"""The embedder's losses and what each of them moves, on a tiny real model."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.special import logsumexp

from aloft.backends.sentence_transformers import SentenceTransformersEmbedder, load_encoder
from aloft.config import EmbedderTrainingConfig, load_config
from aloft.errors import DataError, ModelError
from aloft.protocols import Floats, Prompt
from aloft.records import Document, EmbedderRow
from aloft.run.job import open_run
from aloft.testing import ScriptedTeacher
from aloft.training import losses, train_embedder, tuning

pytestmark = pytest.mark.model

ANIMALS = ("cat", "dog", "owl", "eel")
PLACES = ("attic", "yard", "barn", "pond")
ROWS = [
    EmbedderRow(
        pair_id=animal,
        anchor=f"Where does the {animal} live?",
        positive=f"The {animal} lives in the {place}.",
        negatives=(f"Nobody lives in the {place}.", f"A fly sat on the {animal}."),
        grades=(0.9, 0.1 * i, 0.3),
    )
    for i, (animal, place) in enumerate(zip(ANIMALS, PLACES, strict=True))
]
PROMPTS = {"query": "query: ", "document": "passage: "}


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without dropout and in float32, so that a loss can be worked out, and with prompts."""
    from aloft.testing import tiny_encoder

    folder = tiny_encoder(tmp_path / "encoder")
    change(folder / "config.json", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    change(folder / "config_sentence_transformers.json", prompts=PROMPTS)
    monkeypatch.setattr("aloft.training.trainer.has_bf16", lambda device: False)
    return folder


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def train(encoder: Path, rows: list[EmbedderRow] = ROWS, **settings: Any) -> tuple[float, ...]:
    """One step with all rows in it; returns its loss, and leaves the model in "tuned"."""
    config = EmbedderTrainingConfig(
        **{"num_train_epochs": 1, "warmup_share": 0, "per_device_train_batch_size": 8} | settings
    )
    folder = encoder.parent / "tuned"
    return train_embedder(rows, str(encoder), folder, config, seed=0).losses


def vectors(folder: Path) -> tuple[Floats, Floats, Floats]:
    """Of questions, right passages and, (rows, 2, dimensions), wrong ones."""
    model = SentenceTransformersEmbedder(str(folder))
    wrong = model.encode_passages([text for row in ROWS for text in row.negatives])
    return (
        model.encode_queries([row.anchor for row in ROWS]),
        model.encode_passages([row.positive for row in ROWS]),
        wrong.reshape(len(ROWS), 2, -1),
    )


def cross_entropy(logits: Floats) -> float:
    """Against the diagonal; what is not to count is minus infinity."""
    return float(np.mean(logsumexp(logits, axis=1) - logits.diagonal()))


def scale_of(asked: Floats, right: Floats, wrong: Floats) -> int:
    """Two over the spread of a question's wrong passages before training, or what is nearest."""
    cosines = asked @ np.concatenate([right, *wrong.swapaxes(0, 1)]).T
    spread = np.median([np.std([*row[:i], *row[i + 1 :]]) for i, row in enumerate(cosines)])
    return min((20, 50, 100), key=lambda scale: max(scale * spread / 2, 2 / (scale * spread)))


STILL = 1e-9  # a learning rate that leaves the loss of the first step to be looked at


def test_contrast_reads_questions_and_passages_by_their_prompts(encoder: Path) -> None:
    asked, right, wrong = vectors(encoder)
    scale = scale_of(asked, right, wrong)
    expected = cross_entropy(scale * asked @ np.concatenate([right, *wrong.swapaxes(0, 1)]).T)
    assert train(encoder, learning_rate=STILL) == pytest.approx((expected,), abs=2e-3)
    change(encoder / "config_sentence_transformers.json", prompts={})
    assert abs(train(encoder, learning_rate=STILL)[0] - expected) > 0.01


@pytest.mark.parametrize(
    ("cosines", "scale"),
    [
        # wrong passages 0.1 around their mean, as far as twice a temperature of 0.05 has it
        ([[0.9, 0.1, 0.3], [0.2, 0.9, 0.4], [0.0, 0.2, 0.9]], 20.0),
        ([[0.9, 0.7, 0.72], [0.75, 0.9, 0.77], [0.8, 0.82, 0.9]], 100.0),
        # right ones count for nothing, and the second question's spread is the middle one
        ([[0.1, 0.7, 0.71], [0.75, 0.2, 0.83], [0.1, 0.8, 0.9]], 50.0),
        ([[0.9, 0.5], [0.5, 0.9]], 20.0),  # one wrong passage has no spread
        ([[0.9], [0.9]], 20.0),
    ],
)
def test_the_scale_goes_with_how_far_unlike_texts_are_spread(
    cosines: list[list[float]], scale: float
) -> None:
    right = list(range(len(cosines))) if len(cosines[0]) > 1 else [0, 0]
    assert losses.natural_scale(np.array(cosines), right) == scale


def test_a_model_whose_cosines_lie_close_together_is_not_pulled_apart(encoder: Path) -> None:
    # all of its vectors have one large coordinate in common, as those of models made at a
    # temperature of 0.01 do
    weights = load_file(encoder / "model.safetensors")
    last = max(name for name in weights if name.endswith("output.LayerNorm.bias"))
    weights[last][0] += 6.0
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    asked, right, wrong = vectors(encoder)
    cosines = asked @ np.concatenate([right, *wrong.swapaxes(0, 1)]).T
    assert cosines.min() > 0.9
    (told,) = train(encoder, learning_rate=STILL)
    assert told == pytest.approx(cross_entropy(100 * cosines), abs=5e-3)
    assert told < cross_entropy(20 * cosines) - 0.05


def test_guidance_leaves_out_what_the_untuned_model_finds_nearer(encoder: Path) -> None:
    asked, right, wrong = vectors(encoder)
    own = (asked * right).sum(1, keepdims=True)
    texts = [right.T, asked.T, *(some.T for some in wrong.swapaxes(0, 1))]
    tables = [
        asked @ texts[0],
        asked @ texts[1],
        right @ right.T,
        asked @ texts[2],
        asked @ texts[3],
    ]
    scale = scale_of(asked, right, wrong)
    masked = [np.where(table > own + 1e-6, -np.inf, scale * table) for table in tables]
    expected = cross_entropy(np.concatenate(masked, axis=1))
    assert np.isinf(np.concatenate(masked, axis=1)).any()
    assert train(encoder, loss="guided", learning_rate=STILL) == pytest.approx(
        (expected,), abs=5e-3
    )


def test_triplets_keep_a_margin_of_distances(encoder: Path) -> None:
    asked, right, wrong = vectors(encoder)
    far = 1 - (asked * right).sum(1)
    terms = [
        max(0.0, far[i] - (1 - asked[i] @ wrong[i, j]) + 0.2) for i in range(4) for j in (0, 1)
    ]
    told = train(encoder, loss="triplet", learning_rate=STILL)
    assert told == pytest.approx((np.mean(terms),), abs=1e-3)


def test_grades_order_what_is_similar(encoder: Path) -> None:
    asked, right, wrong = vectors(encoder)
    likeness = [(r.grades[0], asked[i] @ right[i]) for i, r in enumerate(ROWS)]
    likeness += [
        (r.grades[1 + j], asked[i] @ wrong[i, j]) for i, r in enumerate(ROWS) for j in (0, 1)
    ]
    scale = scale_of(asked, right, wrong)
    terms = [
        math.exp(scale * (low - high))
        for grade, high in likeness
        for other, low in likeness
        if grade > other + 1e-6
    ]
    told = train(encoder, loss="graded", learning_rate=STILL, per_device_train_batch_size=12)
    assert told == pytest.approx((math.log1p(sum(terms)),), abs=5e-3)


def test_margins_are_taken_over_from_the_grades(encoder: Path) -> None:
    asked, right, wrong = vectors(encoder)
    terms = [
        (asked[i] @ right[i] - asked[i] @ wrong[i, j] - (r.grades[0] - r.grades[1 + j])) ** 2
        for i, r in enumerate(ROWS)
        for j in (0, 1)
    ]
    told = train(encoder, loss="distilled", learning_rate=STILL)
    assert told == pytest.approx((np.mean(terms),), abs=1e-3)


@pytest.mark.parametrize("trains", ["query_lora", "query_adapter"])
def test_fixed_passages_stand_against_each_question_once(encoder: Path, trains: str) -> None:
    asked, right, wrong = vectors(encoder)
    scale = scale_of(asked, right, wrong)
    expected = cross_entropy(scale * asked @ np.concatenate([right, *wrong.swapaxes(0, 1)]).T)
    told = train(encoder, method=trains, learning_rate=STILL)
    assert told == pytest.approx((expected,), abs=2e-3)
    # the second asks about the first one's passage: its text is no negative of either
    again = EmbedderRow(
        pair_id="x", anchor="Who is there?", positive=ROWS[0].positive, negatives=()
    )
    model = SentenceTransformersEmbedder(str(encoder))
    more = np.concatenate([asked[:1], model.encode_queries([again.anchor])])
    cosines = more @ np.concatenate([right[:1], wrong[0]]).T
    spread = np.median(cosines[:, 1:].std(axis=1))
    scale = min((20, 50, 100), key=lambda one: abs(np.log(one * spread / 2)))
    expected = np.mean(logsumexp(scale * cosines, axis=1) - scale * cosines[:, 0])
    told = train(encoder, [ROWS[0], again], method=trains, learning_rate=STILL)
    assert told == pytest.approx((expected,), abs=2e-3)


def test_fixed_passages_of_all_rows_stand_against_a_batchs_questions(encoder: Path) -> None:
    from aloft.training.losses import IndexLoss

    asked, right, wrong = vectors(encoder)
    logits = 30 * asked @ np.concatenate([right, *wrong.swapaxes(0, 1)]).T
    expected = np.log(np.exp(logits[2]).sum()) - logits[2, 2]
    model = load_encoder(encoder)
    loss = IndexLoss(model, load_encoder(encoder), ROWS, 30.0)
    features = model.preprocess([ROWS[2].anchor], prompt=model.prompts.get("query"))
    with torch.no_grad():
        value = float(loss([features], torch.tensor([2])))
    assert value == pytest.approx(expected, abs=2e-3)


def test_an_encoder_of_questions_learns_on_from_where_it_was(encoder: Path) -> None:
    learning = {"num_train_epochs": 5, "learning_rate": 3e-3, "tuned_share": 1.0}
    before = train(encoder, method="query_lora", **learning)
    once = encoder.parent / "tuned"
    first = once.rename(encoder.parent / "first")
    after = train(first, method="query_lora", **learning)
    assert after[0] < before[0] - 0.1
    np.testing.assert_array_equal(vectors(encoder.parent / "tuned")[1], vectors(encoder)[1])
    (routed,) = load_encoder(encoder.parent / "tuned").children()
    assert all("Router" not in type(one).__name__ for one in routed.sub_modules["query"])

    with pytest.raises(ModelError, match=r"embedder_training\.method to .query_lora"):
        train(first, method="all", **learning)


def test_shorter_vectors_have_the_loss_too(encoder: Path) -> None:
    asked, right, wrong = vectors(encoder)
    texts = np.concatenate([right, *wrong.swapaxes(0, 1)])

    def cut(some: Floats, size: int) -> Floats:
        short = some[:, :size]
        scaled: Floats = short / np.linalg.norm(short, axis=1, keepdims=True)
        return scaled

    scale = scale_of(asked, right, wrong)
    sizes = (8, asked.shape[1])
    expected = sum(cross_entropy(scale * cut(asked, n) @ cut(texts, n).T) for n in sizes)
    told = train(encoder, matryoshka=(8,), learning_rate=STILL)
    assert told == pytest.approx((expected,), abs=5e-3)


LEARNING: dict[str, dict[str, Any]] = {
    "contrastive": {},
    "guided": {"loss": "guided"},
    "triplet": {"loss": "triplet"},
    "graded": {"loss": "graded"},
    "distilled": {"loss": "distilled"},
    "matryoshka": {"matryoshka": (8,)},
    "lora": {"method": "lora"},
    "query_lora": {"method": "query_lora"},
    "query_adapter": {"method": "query_adapter"},
}


@pytest.mark.parametrize("settings", LEARNING.values(), ids=LEARNING)
def test_each_loss_is_learnt_and_moves_what_it_should(
    encoder: Path, settings: dict[str, Any]
) -> None:
    asked, right, wrong = vectors(encoder)
    told = train(encoder, num_train_epochs=30, learning_rate=3e-3, tuned_share=1.0, **settings)
    assert told[-1] < 0.8 * told[0]
    tuned = encoder.parent / "tuned"
    assert {file.suffix for file in tuned.rglob("*") if file.is_file()} <= {".safetensors", ".json"}
    now, right_now, wrong_now = vectors(tuned)
    before = (asked * right).sum(1) - (asked[:, None] * wrong).sum(2).max(1)
    after = (now * right_now).sum(1) - (now[:, None] * wrong_now).sum(2).max(1)
    # a wrong passage has become e times less likely
    assert after.mean() > before.mean() + 1 / scale_of(asked, right, wrong)
    assert np.abs(now - asked).max() > 1e-3
    if str(settings.get("method")).startswith("query"):
        np.testing.assert_array_equal(right_now, right)  # to the last bit
        np.testing.assert_array_equal(wrong_now, wrong)
    else:
        assert np.abs(right_now - right).max() > 1e-3
    assert load_encoder(tuned).prompts == load_encoder(encoder).prompts


@pytest.mark.parametrize("trains", ["lora", "query_lora"])
def test_low_rank_updates_are_merged_into_the_weights(encoder: Path, trains: Any) -> None:
    config = EmbedderTrainingConfig(method=trains, r=2, tuned_share=1.0)
    model = tuning.prepare(load_encoder(encoder), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            assert weight.requires_grad == ("lora_" in name)
            if "lora_B" in name:
                weight.normal_(std=0.05)
    texts = [row.anchor for row in ROWS]
    adapted = model.encode_query(texts, show_progress_bar=False)
    whole = tuning.finish(model, encoder, config)
    whole.save(str(encoder.parent / "whole"), create_model_card=False)
    names = {
        n for file in (encoder.parent / "whole").rglob("*.safetensors") for n in load_file(file)
    }
    assert names and not any("lora" in name for name in names)
    loaded = load_encoder(encoder.parent / "whole")
    np.testing.assert_allclose(
        loaded.encode_query(texts, show_progress_bar=False), adapted, atol=1e-5
    )


def test_an_adapter_begins_as_no_change(encoder: Path) -> None:
    config = EmbedderTrainingConfig(method="query_adapter")
    model = tuning.finish(tuning.prepare(load_encoder(encoder), config), encoder, config)
    texts = [row.anchor for row in ROWS]
    asked = load_encoder(encoder).encode_query(texts, show_progress_bar=False)
    np.testing.assert_allclose(model.encode_query(texts, show_progress_bar=False), asked, atol=1e-6)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 1 and trained[0].endswith("linear.weight")


def test_control_tokens_in_questions_and_passages_stay_text(encoder: Path) -> None:
    train(encoder, method="query_lora", learning_rate=STILL)
    model = load_encoder(encoder.parent / "tuned")
    for encode in (model.encode_query, model.encode_document):
        told, plain = encode(["a [SEP] b", "a SEP b"], show_progress_bar=False)
        other = load_encoder(encoder).encode_query(["a [SEP] b"], show_progress_bar=False)
        assert told.shape == plain.shape == other[0].shape
    tokenizers = [module.tokenizer for module in model.modules() if hasattr(module, "tokenizer")]
    assert tokenizers and all(tokenizer.split_special_tokens for tokenizer in tokenizers)


def test_rows_without_negatives_are_told(encoder: Path) -> None:
    bare = [EmbedderRow(pair_id="x", anchor="Who?", positive="The cat.", negatives=())]
    with pytest.raises(DataError, match='The loss "triplet" compares positives with negatives'):
        train(encoder, bare, loss="triplet")


def test_rows_of_unlike_lengths_are_never_padded() -> None:
    short = EmbedderRow(pair_id="x", anchor="Who?", positive="The cat.", negatives=())
    datasets = losses.datasets_for([*ROWS, short], EmbedderTrainingConfig())
    assert {name: len(dataset) for name, dataset in datasets.items()} == {
        "columns_2": 1,
        "columns_4": 4,
    }


@pytest.mark.parametrize("trains", ["all", "query_adapter"])
def test_passages_of_a_kept_index_are_embedded_once(tmp_path: Path, trains: str) -> None:
    from aloft.testing import tiny_encoder

    documents = [
        Document(id=f"{i}.txt", text=f"Berth {i} of the port of Aberley is {i + 40} metres long.")
        for i in range(30)
    ]

    def ask(prompt: Prompt) -> str:
        number = prompt.messages[-1].content.split("Text: Berth ")[1].split()[0]
        return f" How long is berth {number}?\nAnswer: {int(number) + 40} metres"

    config = load_config(
        overrides={
            "teacher": "given",
            "generator": str(tiny_encoder(tmp_path / "encoder")),  # nobody asks it
            "embedder": str(tmp_path / "encoder"),
            "parts": ("embedder", "reranker"),
            "filters": {"use": ()},
            "pairs": {"form": "examples", "per_passage": 1},
            "embedder_training": {"method": trains, "num_train_epochs": 4.0},
        }
    )
    with open_run(tmp_path / "run", config, ScriptedTeacher(ask)) as run:
        run.give(documents)
        indexing = run.report().indexing
    assert (indexing.texts, indexing.is_kept) == (30, trains != "all")
    kept = list((tmp_path / "run" / "work").glob("passages-*.npy"))
    assert len(kept) == (2 if trains == "all" else 1)
    (reranker,) = (tmp_path / "run" / "reranker.jsonl").read_text().splitlines()
    artifact = json.loads(reranker)
    assert (artifact["base_model"], artifact["losses"]) == ("the tuned embedder's body", [])
