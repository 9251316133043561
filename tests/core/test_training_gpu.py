"""What only a GPU trains."""

import json
from pathlib import Path

import pytest

from aloft.config import GeneratorTrainingConfig
from aloft.protocols import Prompt
from aloft.records import GeneratorRow, Message

pytestmark = pytest.mark.gpu


def test_an_adapter_beside_weights_in_four_bits_is_read_beside_whole_ones(tmp_path: Path) -> None:
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.testing import tiny_language_model
    from aloft.training import train_generator

    base = tiny_language_model(tmp_path / "language-model", head_dim=32)
    prompt = (Message(role="user", content="Where does the cat live?"),)
    row = GeneratorRow(pair_id="cat", prompt=prompt, prefix="", completion="in the attic")
    config = GeneratorTrainingConfig(
        method="qlora", r=16, num_train_epochs=60, learning_rate=1e-2, max_length=4096
    )
    done = train_generator([row], str(base), tmp_path / "generator", config, seed=0)
    assert done.losses[-1] < done.losses[0] / 2
    saved = json.loads((tmp_path / "generator" / "adapter_config.json").read_bytes())
    assert saved["r"] == 16
    tuned = TransformersLanguageModel(str(base), tmp_path / "generator")
    (before,), (after,) = (
        model.score_replies([Prompt(messages=prompt, prefix="")], [row.completion])
        for model in (TransformersLanguageModel(str(base)), tuned)
    )
    assert after > before
