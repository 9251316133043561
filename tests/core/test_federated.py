"""What a site trains of a federation, without one: updates, starts, averages, budgets."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted import still_models
from test_training import embedder_rows, generator_rows

from aloft.config import EmbedderTrainingConfig, GeneratorTrainingConfig
from aloft.errors import DataError

pytestmark = pytest.mark.model

EMBEDDER = EmbedderTrainingConfig(
    method="lora", num_train_epochs=4, learning_rate=1e-3, per_device_train_batch_size=4, r=4
)
GENERATOR = GeneratorTrainingConfig(
    num_train_epochs=3, learning_rate=1e-2, r=4, lora_alpha=8, lora_dropout=0.0
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return still_models(tmp_path, monkeypatch)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    files = path.rglob("*.safetensors")
    return {f"{f.relative_to(path)} {n}": w for f in files for n, w in load_file(f).items()}


@pytest.mark.parametrize("method", ["lora", "query_lora", "query_adapter"])
def test_one_site_and_one_round_are_a_plain_training_of_the_embedder(
    folder: Path, method: str
) -> None:
    from aloft.training import train_embedder
    from aloft.training.federated import initial_weights, local_update, save_shared

    base, rows = str(folder / "encoder"), embedder_rows()
    config = EMBEDDER.model_copy(update={"method": method})
    train_embedder(rows, base, folder / "plain", config, seed=3)
    first = initial_weights(base, config, seed=3)
    trained, count = local_update(rows, base, config, first.tensors, seed=3)
    save_shared(base, config, trained, folder / "shared")
    assert count == 8
    plain, shared = weights_of(folder / "plain"), weights_of(folder / "shared")
    assert plain.keys() == shared.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(shared[name], weights, atol=1e-6, rtol=1e-5)
    assert any(not np.array_equal(trained[name], first.tensors[name]) for name in trained)


def test_one_site_and_one_round_are_a_plain_training_of_the_generator(folder: Path) -> None:
    from aloft.training import train_generator
    from aloft.training.federated import initial_weights, local_update, save_shared

    base, rows = str(folder / "language-model"), generator_rows()
    train_generator(rows, base, folder / "plain", GENERATOR, seed=3)
    first = initial_weights(base, GENERATOR, seed=3)
    trained, count = local_update(rows, base, GENERATOR, first.tensors, seed=3)
    save_shared(base, GENERATOR, trained, folder / "shared")
    assert count == 2
    plain, shared = weights_of(folder / "plain"), weights_of(folder / "shared")
    assert plain.keys() == shared.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(shared[name], weights, atol=1e-6, rtol=1e-5)


def test_a_round_has_its_share_of_the_epochs_and_an_order_of_its_own(folder: Path) -> None:
    from aloft.training.federated import initial_weights, local_update

    base, rows = str(folder / "encoder"), embedder_rows()
    first = initial_weights(base, EMBEDDER, seed=0).tensors
    told: list[int] = []
    found = [
        local_update(
            rows,
            base,
            EMBEDDER,
            first,
            seed=0,
            round_number=number,
            rounds=2,
            progress=lambda _, step, steps: told.append(steps),
        )[0]
        for number in (1, 2)
    ]
    assert set(told) == {4}  # 8 rows in batches of 4, twice: half of the four epochs
    assert any(not np.array_equal(found[0][name], found[1][name]) for name in first)


def test_the_proximal_term_adds_mu_times_the_distance_to_the_gradient() -> None:
    from aloft.training.start import ProximalTerm

    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    term = ProximalTerm([weight], mu=0.5)
    with torch.no_grad():
        weight.add_(torch.tensor([2.0, 4.0]))  # now 3 and 2
    loss = (weight**2).sum()
    loss.backward()  # 6 and 4
    term.on_pre_optimizer_step(None, None, None)
    assert weight.grad is not None
    assert weight.grad.tolist() == [6 + 0.5 * 2, 4 + 0.5 * 4]
    expected = torch.autograd.grad(
        (weight**2).sum() + 0.25 * ((weight - torch.tensor([1.0, -2.0])) ** 2).sum(), weight
    )[0]
    assert torch.equal(weight.grad, expected)  # of the loss with half of mu times the square


def test_a_strong_proximal_term_keeps_an_update_short(folder: Path) -> None:
    from aloft.training.federated import initial_weights, local_update

    base, rows = str(folder / "encoder"), embedder_rows()
    first = initial_weights(base, EMBEDDER, seed=0).tensors

    def length(mu: float) -> float:
        trained, _ = local_update(rows, base, EMBEDDER, first, seed=0, proximal_mu=mu)
        return math.sqrt(sum(float(((trained[n] - first[n]) ** 2).sum()) for n in first))

    assert length(3.0) < length(1.0) < length(0.0)


@pytest.mark.parametrize("fault", ["name", "shape", "nan"])
def test_weights_of_another_model_are_refused_before_training(folder: Path, fault: str) -> None:
    from aloft.training.federated import initial_weights, local_update

    base = str(folder / "encoder")
    weights = dict(initial_weights(base, EMBEDDER, seed=0).tensors)
    name = next(iter(weights))
    if fault == "name":
        weights["another"] = weights.pop(name)
    elif fault == "shape":
        weights[name] = weights[name][:, :-1].copy()
    else:
        weights[name].flat[0] = np.nan
    with pytest.raises(DataError, match="do not fit this model"):
        local_update(embedder_rows(), base, EMBEDDER, weights, seed=0)


def test_a_blend_of_embedders_is_the_average_of_their_weights(folder: Path) -> None:
    from aloft.training import train_embedder
    from aloft.training.federated import save_blend

    base = str(folder / "encoder")
    for seed in (1, 2):
        train_embedder(embedder_rows(), base, folder / str(seed), EMBEDDER, seed=seed)
    save_blend(base, EMBEDDER, [folder / "1", folder / "2"], folder / "blend")
    one, other, blend = (weights_of(folder / name) for name in ("1", "2", "blend"))
    for name, weights in blend.items():
        torch.testing.assert_close(weights, (one[name] + other[name]) / 2, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", ["lora", "rslora"])
def test_a_blend_of_adapters_is_the_average_of_their_updates(folder: Path, method: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from aloft.training import train_generator
    from aloft.training.federated import save_blend

    base = str(folder / "language-model")
    config = GENERATOR.model_copy(update={"method": method})
    for seed in (1, 2):
        train_generator(generator_rows(), base, folder / str(seed), config, seed=seed)
    save_blend(base, config, [folder / "1", folder / "2"], folder / "blend")

    def merged(adapter: str) -> dict[str, torch.Tensor]:
        whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        return (
            PeftModel.from_pretrained(whole, str(folder / adapter)).merge_and_unload().state_dict()
        )

    one, other, blend = merged("1"), merged("2"), merged("blend")
    moved = 0
    for name, weights in blend.items():
        torch.testing.assert_close(weights, (one[name] + other[name]) / 2, atol=1e-6, rtol=1e-4)
        moved += not torch.equal(one[name], other[name])
    assert moved


def test_a_site_that_is_started_again_knows_the_rounds_that_it_has_answered(folder: Path) -> None:
    from scripted import long_words, write_topics

    from aloft.config import check_config
    from aloft.run.federated_parts import read_participation
    from aloft.run.federation import FederatedSite, size_of
    from aloft.run.job import open_run
    from aloft.testing import ScriptedTeacher
    from aloft.training.federated import initial_weights

    config = check_config(
        {
            "teacher": "given",
            "embedder": str(folder / "encoder"),
            "parts": ("embedder",),
            "pairs": {"form": "examples", "per_passage": 1, "max_passages": 12},
            "filters": {"use": ["duplicate"]},
            "embedder_training": EMBEDDER.model_dump() | {"num_train_epochs": 1.0},
        }
    )
    first = initial_weights(config.embedder, config.embedder_training, seed=0)
    facts = {"part": "embedder", "base": first.base, "sites": 2}

    def order(number: int) -> dict[str, object]:
        return {**facts, "rounds": 3, "server-round": number}

    with open_run(folder / "run", config, ScriptedTeacher(long_words)) as run:
        run.give(write_topics(folder / "docs"))
        FederatedSite(run).update(order(1), first.tensors)  # and is killed before the next round
        site = FederatedSite(run)
        site.take({**facts, "rounds": 3, "round": 1}, first.tensors)
        site.update(order(2), first.tensors)
        last = FederatedSite(run)
        last.take({**facts, "rounds": 3, "round": 3}, first.tensors)  # without the third round
        known = read_participation(run.folder, "embedder")
        assert (known.answered, known.round, known.sites) == (2, 3, 2)
        assert known.bytes_sent == 2 * size_of(first.tensors)
        FederatedSite(run).update(order(1), first.tensors)  # of another federation
        assert read_participation(run.folder, "embedder").answered == 1
