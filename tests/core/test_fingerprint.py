"""A model's fingerprint changes with everything that changes what the model computes."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aloft.backends import fingerprint as module
from aloft.backends.fingerprint import fingerprint_folder
from aloft.errors import ModelError

LARGE = 5 << 20  # with a middle that lies outside the first and the last megabyte
USED = {
    "config.json": b'{"model_type": "bert"}',
    "generation_config.json": b"{}",
    "modules.json": b"[]",
    "config_sentence_transformers.json": b'{"prompts": {"query": "query: "}}',
    "sentence_bert_config.json": b'{"max_seq_length": 256}',
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "special_tokens_map.json": b"{}",
    "vocab.txt": b"a\nb\n",
    "merges.txt": b"a b\n",
    "bpe.codes": b"a b 1\n",
    "spiece.model": b"pieces",
    "chat_template.jinja": b"{{ messages }}",
    "additional_chat_templates/tools.jinja": b"{{ tools }}",
    "adapter_config.json": b'{"r": 8}',
    "adapter_model.safetensors": b"\x00" * 64,
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "2_Dense/model.safetensors": b"\x00" * 64,
    "query_0_Transformer/1_Deeper/config.json": b"{}",
}
UNUSED = {
    "README.md": b"# Model",
    ".gitattributes": b"*.safetensors",
    ".cache/huggingface/download/model.safetensors.metadata": b"abc",
    "LICENSE": b"MIT",
    "pytorch_model.bin": b"pickle",
    "modeling_custom.py": b"print()",
    "training_args.bin": b"pickle",
    "trainer_state.json": b"{}",
    "eval/similarity_evaluation.csv": b"1,2",
    "onnx/model.onnx": b"graph",
    "openvino/openvino_config.json": b"{}",
    "checkpoint-500/model.safetensors": b"\x00",
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_digests", {})
    return write(tmp_path / "model", {**USED, "model.safetensors": bytes(LARGE)})


def settle(path: Path) -> None:
    """Make a file look as if it had been written a minute ago."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 60 * 10**9))


def change_middle(path: Path) -> None:
    """Change one byte in place and put size and modification time back."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(stat.st_size // 2)
        file.write(b"\x01")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the large files that are read whole."""
    seen: list[str] = []
    read: Callable[[str], str] = module._read

    def note(path: str) -> str:
        if os.stat(path).st_size >= LARGE:
            seen.append(Path(path).name)
        return read(path)

    monkeypatch.setattr(module, "_read", note)
    return seen


@pytest.mark.parametrize("name", USED)
def test_every_file_that_is_loaded_counts(model: Path, name: str) -> None:
    before = fingerprint_folder(model)
    (model / name).write_bytes((model / name).read_bytes() + b" ")
    changed = fingerprint_folder(model)
    (model / name).unlink()
    assert len({before, changed, fingerprint_folder(model)}) == 3


@pytest.mark.parametrize("name", UNUSED)
def test_files_that_are_never_loaded_do_not_count(model: Path, name: str) -> None:
    before = fingerprint_folder(model)
    write(model, {name: UNUSED[name]})
    assert fingerprint_folder(model) == before


def test_one_byte_in_the_middle_of_the_weights_counts(model: Path) -> None:
    weights = model / "model.safetensors"
    settle(weights)
    before = fingerprint_folder(model)
    assert fingerprint_folder(model) == before
    change_middle(weights)
    assert fingerprint_folder(model) != before


def test_a_prompt_of_the_embedder_counts(model: Path) -> None:
    before = fingerprint_folder(model)
    path = model / "config_sentence_transformers.json"
    path.write_text(json.dumps({"prompts": {"query": "search_query: "}}))
    assert fingerprint_folder(model) != before


def test_the_same_model_in_another_folder_has_the_same_fingerprint(
    model: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(model, tmp_path / "elsewhere" / "copy")
    assert fingerprint_folder(copy) == fingerprint_folder(model)


def test_a_file_counts_by_its_place(model: Path) -> None:
    before = fingerprint_folder(model)
    (model / "1_Pooling").rename(model / "2_Pooling")
    assert fingerprint_folder(model) != before


def test_a_base_and_its_adapter_are_told_apart(model: Path, tmp_path: Path) -> None:
    adapter = write(tmp_path / "adapter", {"adapter_config.json": b"{}"})
    assert fingerprint_folder(model, adapter) != fingerprint_folder(model)
    assert fingerprint_folder(model, adapter) != fingerprint_folder(adapter, model)


def test_large_files_are_read_once_by_all_processes(
    model: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(model / "model.safetensors")
    first = fingerprint_folder(model)
    assert fingerprint_folder(model) == first
    monkeypatch.setattr(module, "_digests", {})  # another process
    assert fingerprint_folder(model) == first
    assert reads == ["model.safetensors"]


def test_a_file_that_was_just_written_is_not_remembered(model: Path, reads: list[str]) -> None:
    fingerprint_folder(model)
    fingerprint_folder(model)
    assert reads == ["model.safetensors"] * 2


def test_a_damaged_memory_is_replaced(
    model: Path, reads: list[str], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(model / "model.safetensors")
    first = fingerprint_folder(model)
    for damage in (b"", b"{}", b"[1, 2]", b"\xff\x00"):
        (note,) = (own_home / "digests").iterdir()
        note.write_bytes(damage)
        monkeypatch.setattr(module, "_digests", {})
        assert fingerprint_folder(model) == first
    monkeypatch.setattr(module, "_digests", {})
    assert fingerprint_folder(model) == first
    assert len(reads) == 5


def test_without_a_place_to_remember_it_works_within_the_process(
    model: Path, reads: list[str], own_home: Path
) -> None:
    own_home.write_text("a file where the cache folder would be")
    settle(model / "model.safetensors")
    assert fingerprint_folder(model) == fingerprint_folder(model)
    assert reads == ["model.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="links take rights there")
def test_links_are_followed_and_never_in_a_circle(model: Path, tmp_path: Path) -> None:
    """A folder of the model hub's cache holds links alone."""
    linked = tmp_path / "snapshot"
    for name in (*USED, "model.safetensors"):
        path = linked / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(model / name)
    (linked / "circle").symlink_to(linked)
    assert fingerprint_folder(linked) == fingerprint_folder(model)


@pytest.mark.skipif(os.name == "nt", reason="links take rights there")
def test_a_file_that_is_gone_is_named_in_one_line(model: Path, tmp_path: Path) -> None:
    (model / "vocab.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"vocab\.json cannot be read"):
        fingerprint_folder(model)


@pytest.mark.parametrize("makes", [False, True])
def test_a_model_that_is_gone_is_no_model(tmp_path: Path, *, makes: bool) -> None:
    """An adapter that was deleted would otherwise leave its base model in its place."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    (base / "config.json").write_text("{}")
    if makes:
        adapter.mkdir()
    with pytest.raises(ModelError, match=r"adapter (holds no model|is no folder)"):
        fingerprint_folder(base, adapter)
