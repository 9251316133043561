"""Whether models can do what a run asks of them is known from their files, before any work."""

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aloft.backends.checking import (
    check_adapter,
    check_dimensions,
    check_encoder,
    check_language_model,
    check_models,
    check_reranker,
    has_tokens,
    outgrows,
)
from aloft.backends.loading import Models
from aloft.config import check_config
from aloft.errors import ModelError

POOLED = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def change(folder: Path, name: str, **facts: Any) -> Path:
    """Set facts of a configuration; None takes one out."""
    path = folder / name
    known = json.loads(path.read_bytes()) if path.exists() else {}
    known |= facts
    path.write_text(json.dumps({key: value for key, value in known.items() if value is not None}))
    return folder


def test_files_that_pass_for_a_model_pass(encoder: Path) -> None:
    check_encoder(str(encoder))


def test_a_name_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match=r"is not a model folder"):
        check_encoder("nowhere/at/all")


def test_pickled_weights_are_never_loaded(encoder: Path) -> None:
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickle files alone.*safetensors"):
        check_encoder(str(encoder))


def test_pickled_weights_of_one_module_are_found_too(encoder: Path) -> None:
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (encoder / "modules.json").write_text(json.dumps([*POOLED, dense]))
    (encoder / "2_Dense").mkdir()
    (encoder / "2_Dense" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"weights in 2_Dense as pickle"):
        check_encoder(str(encoder))


def test_vectors_are_cut_to_no_more_dimensions_than_they_have(encoder: Path) -> None:
    change(encoder, "config.json", hidden_size=384)
    check_dimensions(str(encoder), (384, 64))
    check_dimensions(str(encoder), ())
    with pytest.raises(ModelError, match=r"of 384 dimensions.* names 385\. Name numbers up to 384"):
        check_dimensions(str(encoder), (64, 385))

    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (encoder / "modules.json").write_text(json.dumps([*POOLED, dense]))
    (encoder / "2_Dense").mkdir()
    change(encoder / "2_Dense", "config.json", out_features=128)
    with pytest.raises(ModelError, match="of 128 dimensions"):
        check_dimensions(str(encoder), (256,))


def test_a_folder_without_weights_is_refused(encoder: Path) -> None:
    (encoder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds no safetensors weights"):
        check_encoder(str(encoder))


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 91\n",
        b"",
        (64).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}        ',
    ],
    ids=["pointer", "empty", "cut"],
)
def test_weights_that_were_not_fetched_whole_are_refused(encoder: Path, content: bytes) -> None:
    (encoder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"incomplete weights.*Fetch it again"):
        check_encoder(str(encoder))


@pytest.mark.parametrize(
    ("names", "asked", "fault"),
    [
        (("encoder.layer.0.w", "encoder.layer.1.w"), {"num_hidden_layers": 2}, ""),
        (
            ("encoder.layer.0.w", "encoder.layer.1.w"),
            {"num_hidden_layers": 12},
            "2 of the 12 layers",
        ),
        (("model.layers.0.w",), {"num_hidden_layers": 3}, "1 of the 3 layers"),
        (("h.0.w", "h.10.w"), {"n_layer": 12}, "11 of the 12"),
        (("layers.0.moe.experts.7.w",), {"num_hidden_layers": 1}, ""),
        # T5 numbers what lies within a block, too
        (("encoder.block.0.layer.0.w", "encoder.block.3.layer.1.w"), {"num_layers": 4}, ""),
        (("encoder.albert_layer_groups.0.w",), {"num_hidden_layers": 12}, ""),  # one for all
        (("encoder.layer.0.w",), {"num_hidden_layers": None}, ""),
    ],
)
def test_a_model_has_the_layers_that_it_says(
    encoder: Path, names: tuple[str, ...], asked: dict[str, int | None], fault: str
) -> None:
    header = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}
    text = json.dumps(header).encode()
    whole = len(text).to_bytes(8, "little") + text + bytes(4)
    (encoder / "model.safetensors").write_bytes(whole.replace(b"[0, 0]}}", b"[0, 4]}}"))
    change(encoder, "config.json", **asked)
    if fault:
        with pytest.raises(ModelError, match=f"has weights for {fault}"):
            check_encoder(str(encoder))
    else:
        check_encoder(str(encoder))


def test_a_missing_part_of_the_weights_is_named(encoder: Path) -> None:
    parts = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    change(encoder, "model.safetensors.index.json", **parts)
    with pytest.raises(ModelError, match=r"model-00002-of-00002.safetensors is missing"):
        check_encoder(str(encoder))


def test_an_embedder_needs_a_fast_tokenizer(encoder: Path) -> None:
    (encoder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer of the embedder .* cannot be loaded"):
        check_encoder(str(encoder), "the embedder")
    (encoder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        check_encoder(str(encoder))


def test_a_configuration_that_is_no_json_is_named(encoder: Path) -> None:
    (encoder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json that cannot be read"):
        check_encoder(str(encoder))


@pytest.mark.parametrize("place", ["modules.json", "router_config.json"])
def test_modules_with_code_of_their_own_are_refused(encoder: Path, place: str) -> None:
    if place == "modules.json":
        (encoder / place).write_text(json.dumps([POOLED[0], {**POOLED[1], "type": "custom.Pool"}]))
    else:
        change(encoder, place, types={"query_0": "custom.Pool"})
    with pytest.raises(
        ModelError, match=rf"^The embedder .* needs code of its own \(custom\.Pool in {place}"
    ):
        check_encoder(str(encoder), "the embedder")


@pytest.mark.parametrize(
    ("architecture", "match"),
    [
        ("BertForSequenceClassification", "is a cross-encoder. Set it as reranker"),
        ("LlamaForCausalLM", "is a language model. Choose an embedding model"),
    ],
)
def test_another_kind_of_model_is_no_embedder(encoder: Path, architecture: str, match: str) -> None:
    change(encoder, "config.json", architectures=[architecture])
    with pytest.raises(ModelError, match=match):
        check_encoder(str(encoder))
    (encoder / "modules.json").write_text(json.dumps(POOLED))
    check_encoder(str(encoder))  # embedders are made of language models as well


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        (
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
            "has a tokenizer without an end token",
        ),
        ({"architectures": ["BertForSequenceClassification"]}, "sorts texts into 2 classes"),
        (
            {
                "architectures": ["BertForSequenceClassification"],
                "id2label": {"0": "yes", "1": "no", "2": "maybe"},
            },
            "sorts texts into 3 classes",
        ),
    ],
)
def test_another_kind_of_model_is_no_reranker(
    encoder: Path, facts: dict[str, Any], match: str
) -> None:
    change(encoder, "config.json", **facts)
    with pytest.raises(ModelError, match=match):
        check_reranker(str(encoder))
    kinds = ["BertForSequenceClassification"]
    change(encoder, "config.json", architectures=kinds, id2label={"0": "LABEL_0"})
    check_reranker(str(encoder))


def test_an_embedder_reranks_where_it_has_tokens_and_writes_no_text(encoder: Path) -> None:
    check_reranker(str(encoder))
    (encoder / "modules.json").write_text(json.dumps(POOLED))
    check_reranker(str(encoder))
    assert has_tokens(str(encoder))
    static = [{**POOLED[0], "type": "sentence_transformers.models.StaticEmbedding"}]
    (encoder / "modules.json").write_text(json.dumps(static))
    assert not has_tokens(str(encoder))
    with pytest.raises(ModelError, match=r"has vectors of whole texts alone"):
        check_reranker(str(encoder))
    (encoder / "modules.json").write_text(json.dumps(POOLED))
    with pytest.raises(ModelError, match=r"is an embedding model, which writes no text"):
        check_language_model(str(encoder), chats=False)


def test_an_encoder_writes_no_text(encoder: Path) -> None:
    change(encoder, "config.json", architectures=["BertModel"])
    with pytest.raises(ModelError, match=r"is a BertModel, which writes no text"):
        check_language_model(str(encoder), chats=False)


def test_an_adapter_is_no_whole_model(encoder: Path) -> None:
    (encoder / "model.safetensors").rename(encoder / "adapter_model.safetensors")
    change(encoder, "adapter_config.json", r=8)
    with pytest.raises(ModelError, match=r"is an adapter, not a whole model"):
        check_language_model(str(encoder), chats=False)
    with pytest.raises(ModelError, match=r"holds no adapter_config.json"):
        check_adapter(encoder / "deeper", "any")


def test_a_model_behind_a_server_is_the_servers_affair() -> None:
    check_language_model("openai:http://127.0.0.1:9/v1#any", chats=True)


def test_a_run_without_a_generator_looks_at_no_language_model(encoder: Path) -> None:
    values = {"teacher": "nothing", "embedder": str(encoder), "parts": ("embedder",)}
    check_models(check_config(values), has_teacher=True)
    with pytest.raises(ModelError, match=r"nothing"):
        check_models(check_config(values), has_teacher=False)


@pytest.mark.parametrize(
    ("index", "fault"),
    [
        ({"weight_map": {"a": "model.safetensors"}}, "model.safetensors lacks a"),
        ({"weight_map": {"a": 1}}, "1 is missing"),
        ({"weight_map": {"a": [2]}}, r"\[2\] is missing"),
        ({"weight_map": ["a"]}, ""),
        ([], ""),
    ],
)
def test_the_files_of_an_index_hold_what_it_names(encoder: Path, index: Any, fault: str) -> None:
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    if fault:
        with pytest.raises(ModelError, match=f"is incomplete: {fault}. Fetch it again"):
            check_encoder(str(encoder))
    else:
        check_encoder(str(encoder))


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("config.json", {"architectures": 5}),
        ("config.json", {"id2label": 7, "num_labels": "x"}),
        ("modules.json", 5),
    ],
)
def test_configurations_of_another_form_are_no_traceback(
    encoder: Path, name: str, facts: Any
) -> None:
    (encoder / name).write_text(json.dumps(facts))
    check_encoder(str(encoder))
    check_reranker(str(encoder))


def test_a_tokenizer_fits_its_model(encoder: Path) -> None:
    check_encoder(str(change(encoder, "config.json", vocab_size=1)))
    change(encoder, "config.json", vocab_size=0)
    with pytest.raises(ModelError, match=r"a tokenizer of 1 tokens and weights for 0\. Put back"):
        check_encoder(str(encoder))


# ---- with transformers


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from aloft.testing import tiny_encoder, tiny_language_model

    folder = tmp_path_factory.mktemp("models")
    tiny_encoder(folder / "encoder")
    tiny_language_model(folder / "language-model")
    return folder


@pytest.fixture
def writer(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "language-model", tmp_path / "writer")


@pytest.mark.model
def test_real_models_pass(made: Path) -> None:
    from sentence_transformers import CrossEncoder

    check_encoder(str(made / "encoder"))
    check_language_model(str(made / "language-model"), chats=True)
    CrossEncoder(str(made / "encoder"), num_labels=1).save_pretrained(str(made / "reranker"))
    check_reranker(str(made / "reranker"))
    with pytest.raises(ModelError, match=r"is a cross-encoder"):
        check_encoder(str(made / "reranker"))


@pytest.mark.model
def test_a_generator_much_larger_than_its_teacher_is_warned_of(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from aloft.testing import tiny_language_model

    small, encoder = str(made / "language-model"), str(made / "encoder")
    large = str(tiny_language_model(tmp_path / "large", head_dim=64))
    for teacher, generator in ((large, small), (small, small), ("openai:http://a/v1#b", large)):
        values = {"teacher": teacher, "generator": generator, "embedder": encoder}
        check_models(check_config(values), has_teacher=False)
        assert not caplog.records
    values = {"teacher": small, "generator": large, "embedder": encoder}
    check_models(check_config(values), has_teacher=True)
    assert not caplog.records
    check_models(check_config(values), has_teacher=False)
    (record,) = caplog.records
    said = record.getMessage()
    assert re.search(r"many more parameters than the teacher .* no smaller", said)
    assert str(large) in said


@pytest.mark.model
def test_nothing_is_said_of_the_size_of_packed_weights(made: Path, tmp_path: Path) -> None:
    from aloft.testing import tiny_language_model

    small, large = made / "language-model", tiny_language_model(tmp_path / "large", head_dim=64)
    assert outgrows(str(large), str(small))
    file = shutil.copytree(small, tmp_path / "packed") / "config.json"
    packed = {"quantization_config": {"quant_method": "awq", "bits": 4}}  # 8 weights a number
    file.write_text(json.dumps(json.loads(file.read_bytes()) | packed))
    assert not outgrows(str(large), str(file.parent))


@pytest.mark.model
@pytest.mark.parametrize(
    ("facts", "window"),
    [
        ({"model_type": "gpt2", "n_positions": 512}, 512),
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}, 131_072),
        ({"model_type": "llama", "max_position_embeddings": 77}, 77),
        ({"model_type": "mamba"}, 2048),  # it has none
    ],
)
def test_the_context_window_is_what_transformers_takes(
    tmp_path: Path, facts: dict[str, Any], window: int
) -> None:
    change(tmp_path, "config.json", **facts)
    assert Models().context_window(str(tmp_path)) == window


@pytest.mark.model
def test_packed_weights_need_what_unpacks_them(writer: Path) -> None:
    change(writer, "config.json", quantization_config={"quant_method": "unheard of"})
    check_language_model(str(writer), chats=True)  # loaded as they are
    change(writer, "config.json", quantization_config={"quant_method": "awq", "bits": 4})
    with pytest.raises(ModelError, match=r"not installed \(.*gptqmodel.*\)\. Install it"):
        check_language_model(str(writer), chats=True)


@pytest.mark.model
def test_a_type_that_transformers_does_not_know_is_refused(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "encoder", tmp_path / "own")
    change(folder, "config.json", model_type="from_the_future")
    with pytest.raises(ModelError, match=r"from_the_future, which the installed transformers"):
        check_encoder(str(folder))
    change(folder, "config.json", auto_map={"AutoModel": "modeling_own.Model"})
    with pytest.raises(ModelError, match=r"needs code of its own \(auto_map in config\.json\)"):
        check_encoder(str(folder))


@pytest.mark.model
def test_code_beside_a_model_that_transformers_knows_is_not_needed(writer: Path) -> None:
    change(writer, "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Model"})
    check_language_model(str(writer), chats=True)


@pytest.mark.model
def test_a_conversation_needs_a_chat_template(writer: Path) -> None:
    (writer / "chat_template.jinja").unlink()
    check_language_model(str(writer), chats=False)
    with pytest.raises(ModelError, match=r"^The generator .*writer\" has no chat template"):
        check_language_model(str(writer), "the generator", chats=True)


@pytest.mark.model
@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{% if %}", "{{ 1 / 0 }}"])
def test_a_template_that_renders_nothing_is_refused_in_one_line(
    writer: Path, template: str
) -> None:
    (writer / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=r"chat template of the model .* cannot be rendered"):
        check_language_model(str(writer), chats=True)


@pytest.mark.model
@pytest.mark.parametrize("template", ["", "{{ 'Hello.' }}"])
def test_a_template_that_leaves_out_what_is_said_is_refused(writer: Path, template: str) -> None:
    (writer / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=r"leaves out what the user says"):
        check_language_model(str(writer), chats=True)


@pytest.mark.model
def test_an_end_token_that_the_model_does_not_have_is_refused(writer: Path) -> None:
    change(writer, "tokenizer_config.json", eos_token="<unheard of>")
    with pytest.raises(ModelError, match=r"has a tokenizer of .* Put back the tokenizer"):
        check_language_model(str(writer), chats=True)


def leave_out_weights(folder: Path, of: str) -> str:
    """Write a model without one of its weights; returns which."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if of in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return name


@pytest.mark.model
def test_weights_that_are_not_there_are_not_drawn_at_random(made: Path, writer: Path) -> None:
    from aloft.backends.loading import load_embedder, load_language_model

    left_out = leave_out_weights(writer, "layers.0.mlp")
    for load in (partial(check_language_model, chats=True), load_language_model):
        with pytest.raises(ModelError, match=f"no weights for {re.escape(left_out)}, which"):
            load(str(writer))
    encoder = shutil.copytree(made / "encoder", writer.parent / "other")
    leave_out_weights(encoder, "pooler")  # which its vectors are not made with
    load_embedder(str(encoder))
    left_out = leave_out_weights(encoder, "layer.0.output")
    with pytest.raises(ModelError, match=f"no weights for {re.escape(left_out)}, which"):
        load_embedder(str(encoder))


@pytest.mark.model
def test_a_cross_encoder_without_its_head_gets_none_at_random(made: Path, tmp_path: Path) -> None:
    from aloft.backends.loading import load_reranker
    from aloft.training import start_cross_encoder

    model = start_cross_encoder(str(made / "encoder"), tmp_path / "cross-encoder", seed=0)
    load_reranker(model)
    left_out = leave_out_weights(Path(model), "classifier.weight")
    with pytest.raises(ModelError, match=f"no weights for {re.escape(left_out)}, which"):
        load_reranker(model)


@pytest.mark.model
def test_weights_by_another_name_are_found_missing_at_the_start(writer: Path) -> None:
    (writer / "model.safetensors").rename(writer / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"cannot be loaded .*no file named model.safetensors"):
        check_language_model(str(writer), chats=True)


@pytest.mark.model
def test_an_adapter_of_another_model_is_refused_at_the_start(writer: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from aloft.testing import tiny_language_model

    whole: Any = AutoModelForCausalLM.from_pretrained(writer)
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    adapter = tmp_path / "adapter"
    get_peft_model(whole, lora).save_pretrained(str(adapter))
    check_adapter(adapter, str(writer))
    other = str(tiny_language_model(tmp_path / "other", head_dim=64))
    with pytest.raises(ModelError, match=r"adapter .*adapter\" of the generator .* cannot be load"):
        check_adapter(adapter, other)
    change(adapter, "adapter_config.json", peft_type=None)
    with pytest.raises(ModelError, match=r"adapter .* cannot be loaded .*peft_type"):
        check_adapter(adapter, str(writer))


@pytest.mark.model
def test_layers_that_take_no_adapter_are_known_at_the_start(made: Path, tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    writer = shutil.copytree(made / "language-model", tmp_path / "writer")
    size: dict[str, Any] = {"vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 2}
    MambaForCausalLM(MambaConfig(**size, state_size=4)).save_pretrained(writer)
    models = {"teacher": "x/x", "embedder": str(made / "encoder"), "generator": str(writer)}
    with pytest.raises(ModelError, match=r"cannot be given an adapter.*out_proj.*method to \"full"):
        check_models(check_config(models), has_teacher=True)
    check_models(
        check_config(models | {"generator_training": {"method": "full"}}), has_teacher=True
    )
    check_models(
        check_config(models | {"generator": str(made / "language-model")}), has_teacher=True
    )


@pytest.mark.model
def test_a_tokenizer_that_cannot_be_loaded_is_one_line(writer: Path) -> None:
    (writer / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer of the model .* cannot be loaded"):
        check_language_model(str(writer), chats=True)


@pytest.mark.model
def test_a_model_without_an_end_token_is_refused(writer: Path) -> None:
    change(writer, "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match=r"without an end token"):
        check_language_model(str(writer), chats=True)


# ---- before the teacher is asked


@pytest.mark.model
@pytest.mark.parametrize(
    ("role", "fault", "match"),
    [
        ("embedder", "no pooling", r"embedder .*cannot be loaded \(KeyError: 'sentence_embedding'"),
        ("embedder", "no padding", r"embedder .*cannot be loaded \(ValueError: Asking to pad"),
        ("embedder", "damaged", r"embedder .*values that are no numbers"),
        ("reranker", "no padding", r"reranker .*cannot be loaded \(ValueError: Asking to pad"),
        ("reranker", "other sizes", r"cannot be loaded \(RuntimeError"),
    ],
)
def test_what_embeds_and_reranks_is_tried_before_the_teacher_is_asked(
    made: Path, tmp_path: Path, role: str, fault: str, match: str
) -> None:
    from safetensors.numpy import load_file, save_file
    from scripted import write_topics
    from sentence_transformers import CrossEncoder

    from aloft import Aloft
    from aloft.testing import ScriptedTeacher

    model = tmp_path / "model"
    if role == "embedder":
        shutil.copytree(made / "encoder", model)
    else:
        CrossEncoder(str(made / "encoder"), num_labels=1).save_pretrained(str(model))
    if fault == "no pooling":
        (model / "modules.json").write_text(json.dumps(POOLED[:1]))
    elif fault == "no padding":
        known = json.loads((model / "tokenizer_config.json").read_bytes())
        (model / "tokenizer_config.json").write_text(json.dumps(known | {"pad_token": None}))
    elif fault == "damaged":
        weights = load_file(model / "model.safetensors")
        save_file({k: v * float("nan") for k, v in weights.items()}, model / "model.safetensors")
    else:
        change(model, "config.json", hidden_size=64)
    teacher = ScriptedTeacher(lambda _prompt: "")
    settings = {"embedder": str(made / "encoder"), "teacher": "x/x", "parts": ("embedder",)}
    config = check_config(settings | {role: str(model)})
    with pytest.raises(ModelError, match=match):
        Aloft(config, teacher=teacher).run(write_topics(tmp_path / "docs"), tmp_path / "run")
    assert teacher.asked == []
