"""What tests of whole stages share."""

from pathlib import Path

import pytest


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A folder that passes for an encoder until it is loaded: a tokenizer and some weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "encoder"
    folder.mkdir()
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    return folder
