"""Finds out from a model's files, before any work, whether it can do what a run asks of it.

What can be known without loading weights is known here in seconds: whether it is on this machine
and whole, needs code of its own, is of the right kind, and has a tokenizer and a chat template.
"""

import json
import logging
import math
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aloft._extras import require
from aloft.backends.fingerprint import used_files
from aloft.backends.packaged import resolve_model
from aloft.config import SERVER, VLLM, RunConfig, plain_name
from aloft.errors import AloftError, ModelError

logger = logging.getLogger(__name__)

_MUCH = 2  # times as many parameters
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
_LAYER_COUNTS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")  # by make of model
_LAYER = re.compile(r"(?:^|\.)(?:blocks?|layers?|h)\.([0-9]+)\.")  # in the name of a weight
_OWN_CODE = (
    "needs code of its own ({where}), which Aloft never runs. Choose a model that transformers or "
    "sentence-transformers support by themselves."
)


def check_models(config: RunConfig, *, has_teacher: bool) -> None:
    """Check every local model that a run will load.

    Args:
        config: The run's.
        has_teacher: Whether a host passed a teacher, so that the configured one is not loaded.

    Raises:
        ModelError: a model is missing or incomplete, needs its own code, is of another kind, or
            lacks a tokenizer or the chat template that its prompts take.
        MissingExtraError: the extra `train` is not installed.
    """
    check_encoder(config.embedder, "the embedder")
    if "embedder" in config.parts and config.embedder_training.matryoshka:
        check_dimensions(config.embedder, config.embedder_training.matryoshka)
    if config.reranker is not None:
        check_reranker(config.reranker, "the reranker")
    elif "reranker" in config.parts and not has_tokens(config.embedder):
        raise ModelError(
            f'The embedder "{config.embedder}" has vectors of whole texts alone, so that no '
            "reranker can be made of it. Set reranker to a cross-encoder, or train other parts "
            "(--only)."
        )
    if "generator" in config.parts:
        check_language_model(config.generator_model, "the generator", chats=True)
        if config.generator_training.init_adapter:
            check_adapter(Path(config.generator_training.init_adapter), config.generator_model)
        elif config.generator_training.method != "full":
            check_adapts(config.generator_model)
    if not has_teacher:
        chats = config.pairs.form != "examples" or config.pairs.rating
        chats = chats or config.ratings.method != "none"
        check_language_model(config.teacher, "the teacher", chats=chats)
        if "generator" in config.parts:
            _compare_sizes(config.teacher, config.generator_model)


def _compare_sizes(teacher: str, generator: str) -> None:
    """Warn where a generator would learn from a model that is much smaller than itself."""
    if outgrows(generator, teacher):
        logger.warning(
            'The generator "%s" has many more parameters than the teacher "%s", whose answers it '
            "learns with their mistakes, so that it ships only where people's questions decide. "
            "Set teacher to a model that is no smaller, or train the other parts alone (--only).",
            generator,
            teacher,
        )


def outgrows(generator: str, teacher: str) -> bool:
    """Whether a generator has at least twice as many parameters as its teacher.

    Half a billion taught by 135 million gained on that teacher's answers, and answered people worse
    (docs/results/citations.md). Nothing is known of a model behind a server, nor of quantized
    weights, where several are stored as one number.

    Args:
        generator: Name of a model that was checked.
        teacher: Likewise.
    """
    if teacher == generator or teacher.startswith(SERVER) or generator.startswith(SERVER):
        return False
    fewer, more = (_count_parameters(plain_name(name)) for name in (teacher, generator))
    return 0 < fewer * _MUCH <= more


def _count_parameters(name: str) -> int:
    """Parameters of a checked model, 0 where that is unknown; no weights are read."""
    from safetensors import safe_open

    model = _Files(name, "the model")
    if model.is_quantized:
        return 0
    count = 0
    for file in model.folder.glob("*.safetensors"):
        with safe_open(file, framework="np") as weights:
            count += sum(math.prod(weights.get_slice(k).get_shape()) for k in weights.keys())  # noqa: SIM118
    return count


def check_encoder(name: str, role: str = "the model") -> None:
    """Check an embedding model, or an encoder that can become one.

    Raises:
        ModelError: see `check_models`.
    """
    model = _Files(name, role)
    model.check()
    if model.is_language_model:
        raise model.error("is a language model. Choose an embedding model.")
    if model.is_cross_encoder:
        raise model.error("is a cross-encoder. Set it as reranker, and an encoder as embedder.")
    model.check_fast_tokenizer()


def check_dimensions(name: str, wanted: Sequence[int]) -> None:
    """Check that an embedder's vectors can be cut to some numbers of dimensions.

    Raises:
        ModelError: its vectors have fewer. Nothing is known of a model that does not say how many.
    """
    model = _Files(name, "the embedder")
    whole = model.dimensions
    if whole is not None and any(one > whole for one in wanted):
        raise model.error(
            f"has vectors of {whole} dimensions, and embedder_training.matryoshka names "
            f"{max(wanted)}. Name numbers up to {whole}."
        )


def check_reranker(name: str, role: str = "the model") -> None:
    """Check a cross-encoder with one score, or a model that serves without a head.

    An encoder serves by late interaction, and a causal language model by likelihoods.

    Raises:
        ModelError: see `check_models`.
    """
    model = _Files(name, role)
    model.check()
    if model.is_cross_encoder:
        if model.sorts and model.classes != 1:
            raise model.error(
                f"sorts texts into {model.classes} classes. Choose a cross-encoder with one score."
            )
    elif model.is_language_model:
        check_language_model(name, role, chats=True)
    elif not model.has_tokens:
        raise model.error(
            "has vectors of whole texts alone. Choose a cross-encoder, or an embedding model that "
            "is a transformer."
        )


def has_tokens(name: str) -> bool:
    """Whether an embedder can rank by late interaction; taken for granted of one not found."""
    try:
        return _Files(name, "the model").has_tokens
    except ModelError:
        return True


def is_cross_encoder(folder: Path) -> bool:
    """Whether a model reads a question and a passage together, by what its files say."""
    return _Files(str(folder), "the model").is_cross_encoder


def is_language_model(folder: Path) -> bool:
    """Whether a folder holds a plain causal language model, by what its files say."""
    return _Files(str(folder), "the model").is_language_model


def window_of(folder: Path) -> int | None:
    """Most tokens that a language model reads; None where it does not say.

    GPT-2's configuration has another name for it, and Gemma 3's leaves it to transformers.

    Raises:
        ModelError: its configuration cannot be read.
    """
    model = _Files(str(folder), "the model")
    found: Any = model.facts.get("max_position_embeddings")
    if found is None and model.facts.get("model_type"):
        require("transformers", extra="train")
        from transformers import AutoConfig

        with reported_loading(model.subject):
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) else None


def reads_pairs(name: str) -> bool:
    """Whether a reranker reads a question and a passage together; taken for granted if not found.

    Others have vectors for the tokens of each, and compare these.
    """
    try:
        files = _Files(name, "the model")
    except ModelError:
        return True
    return files.is_cross_encoder or files.is_language_model


def is_multi_vector(folder: Path) -> bool:
    """Whether a model was trained to have a vector for each token."""
    return _Files(str(folder), "the model").is_multi_vector


def check_language_model(name: str, role: str = "the model", *, chats: bool) -> None:
    """Check a causal language model; one behind a server is the server's affair.

    Args:
        name: As in the configuration.
        role: What the run has it for.
        chats: Whether it is given conversations, which take a chat template.

    Raises:
        ModelError: see `check_models`.
        MissingExtraError: the extra `train` is not installed.
    """
    if name.startswith(SERVER):
        return
    model = _Files(plain_name(name), role)
    model.check()
    model.check_writes()
    require("transformers", extra="train")
    from aloft.backends.encoding import check_template, load_tokenizer

    with reported_loading(f"The tokenizer of {model.title}"):
        tokenizer = load_tokenizer(model.folder)
    if tokenizer.eos_token_id is None:
        raise model.error("has a tokenizer without an end token. Choose another model.")
    ends = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.check_vocabulary(max(tokenizer.vocab_size - 1, *ends))
    if chats:
        check_template(tokenizer, model.title)
    if not name.startswith(VLLM):  # which loads more kinds of weights
        model.check_loads()


def check_adapter(folder: Path, base: str) -> None:
    """Check a LoRA adapter that training continues from.

    Args:
        folder: With the adapter.
        base: Name of a checked language model that it is added to.

    Raises:
        ModelError: it is not there, not saved as safetensors, or made for another model.
    """
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(
                f"generator_training.init_adapter is {folder}, which holds no {name}. Name a "
                "folder with a LoRA adapter in safetensors."
            )
    model = _Files(plain_name(base), "the generator")
    if not model.is_quantized:
        model.check_takes(folder)


def check_adapts(name: str) -> None:
    """Check that all linear layers of a checked language model can be given an adapter.

    Raises:
        ModelError: PEFT has none for one of them, as of Falcon-H1.
    """
    model = _Files(plain_name(name), "the generator")
    if not model.is_quantized:
        model.check_adapts()


@contextmanager
def reported_loading(what: str) -> Iterator[None]:
    """Report whatever a library raises over a model's files in one line.

    Raises:
        ModelError: something went wrong while loading.
    """
    try:
        yield
    except AloftError:
        raise
    except Exception as error:
        reason = _reason(error)[:200]
        raise ModelError(
            f"{what} cannot be loaded ({type(error).__name__}: {reason}). Check its files, or "
            "choose another model."
        ) from error


def _reason(error: Exception) -> str:
    """The first line of what a library says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def load_without_weights(kind: Any, folder: Path) -> tuple[Any, Collection[str]]:
    """A model as it would be loaded, and the names of the weights that it lacks; none are read.

    Args:
        kind: A class of transformers.
        folder: The model's.
    """
    whole, found = kind.from_pretrained(
        folder,
        device_map="meta",
        output_loading_info=True,
        local_files_only=True,
        use_safetensors=True,
    )
    return whole, found["missing_keys"]


def refuse_missing(tensors: Iterable[str], title: str) -> None:
    """Refuse a model that lacks weights, which libraries draw at random.

    Args:
        tensors: Names of those that were not found.
        title: What the error calls the model.

    Raises:
        ModelError: there are any.
    """
    if missing := sorted(tensors):
        raise ModelError(
            f"{title[0].upper()}{title[1:]} has no weights for {missing[0]}, which its config.json "
            "asks for. Fetch it again, or correct its configuration."
        )


class _Files:
    """A model's folder, read as far as that takes no model library.

    Raises:
        ModelError: the model is not on this machine, or a configuration is not JSON.
    """

    def __init__(self, name: str, role: str) -> None:
        self.title = f'{role} "{name}"'
        self.folder = Path(resolve_model(name))
        self.files = dict(used_files(self.folder))
        self.modules = self._module_types()
        self.facts = self._read("config.json") or self._first_modules_facts()

    def error(self, what: str) -> ModelError:
        """What is wrong, in one line that begins with the model."""
        return ModelError(f"{self.subject} {what}")

    @property
    def subject(self) -> str:
        """What the model is called where a sentence begins with it."""
        return self.title[0].upper() + self.title[1:]

    @property
    def architectures(self) -> list[str]:
        """Classes that the model was saved from; empty where unknown."""
        found = self.facts.get("architectures")
        return [str(kind) for kind in found] if isinstance(found, list) else []

    @property
    def classes(self) -> int:
        """Outputs of a classification head; transformers saves no number where it is two."""
        number = self.facts.get("num_labels")
        labels = _mapping(self.facts.get("id2label"))
        return len(labels) or (number if isinstance(number, int) and number else 2)

    @property
    def dimensions(self) -> int | None:
        """Length of the vectors of an embedder with one pooling mode; None where unknown."""
        dense = (self._read(f"{path}/config.json").get("out_features") for path in self._paths)
        size = next((one for one in reversed([*dense]) if one), self.facts.get("hidden_size"))
        return size if isinstance(size, int) else None

    @property
    def has_tokens(self) -> bool:
        """Whether it begins with a transformer, which has a vector for each token."""
        if not self.modules or self.modules[0].endswith(".Transformer"):
            return True
        routes = _mapping(_mapping(self._read("router_config.json")).get("structure")).values()
        return bool(routes) and all(str(one[0]).endswith("_Transformer") for one in routes)

    @property
    def sorts(self) -> bool:
        """Whether it has a head that classifies texts."""
        return any(kind.endswith("ForSequenceClassification") for kind in self.architectures)

    @property
    def is_cross_encoder(self) -> bool:
        """Whether it scores two texts together."""
        is_saved_as_one = any(".cross_encoder." in kind for kind in self.modules)
        is_plain = self.sorts and not self.modules
        return is_plain or is_saved_as_one or self._saved_as == "CrossEncoder"

    @property
    def is_language_model(self) -> bool:
        """Whether it is a causal language model, and nothing was made of it."""
        writes = any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in self.architectures)
        return writes and not self.modules

    @property
    def is_multi_vector(self) -> bool:
        """Whether it was trained for late interaction."""
        return self._saved_as in ("MultiVectorEncoder", "ColBERT") or (
            self.architectures == ["HF_ColBERT"]
        )

    @property
    def _saved_as(self) -> str:
        """Class of sentence-transformers that saved it; "" where none is stated."""
        return str(self._read("config_sentence_transformers.json").get("model_type") or "")

    def check(self) -> None:
        """Check what holds for a model of any kind."""
        if "adapter_config.json" in self.files and not self._weights("model"):
            raise self.error(
                "is an adapter, not a whole model. Name the model that it was trained on, and the "
                "adapter as generator_training.init_adapter."
            )
        self._check_weights()
        self._check_code()

    def check_writes(self) -> None:
        """Check that it is a causal language model."""
        kinds = self.architectures
        writes = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
        if self.modules or (kinds and not any(kind.endswith(writes) for kind in kinds)):
            what = "an embedding model" if self.modules else f"a {kinds[0]}"
            raise self.error(f"is {what}, which writes no text. Choose an instruct model.")
        kind = self.facts.get("model_type")
        if kind is None:
            raise self.error("has no config.json that names its type. Choose another folder.")
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise self.error(f"is of the type {kind}, which is no causal language model.")

    @property
    def is_quantized(self) -> bool:
        """Whether its weights are packed, which the library that unpacks them looks at."""
        return bool(self.facts.get("quantization_config"))

    def check_loads(self) -> None:
        """Check that its weights are those of a causal language model; none are read."""
        if self.is_quantized:
            self._check_unpacks()
            return
        with reported_loading(self.subject):
            _, missing = self._without_weights()
        refuse_missing(missing, self.title)

    def _check_unpacks(self) -> None:
        """Check that what unpacks its weights is installed."""
        from transformers.quantizers.auto import AutoHfQuantizer

        quantizers: Any = AutoHfQuantizer  # untyped
        how = self.facts["quantization_config"]
        if not quantizers.supports_quant_method(how):
            return  # then they are loaded as they are
        try:
            unpacker = quantizers.from_config(how, pre_quantized=True)
            unpacker.validate_environment(device_map=None, weights_only=True)
        except ImportError as error:
            reason = _reason(error).rstrip(".")
            raise self.error(
                f"has packed weights, and what unpacks them is not installed ({reason}). Install "
                "it, or choose a model with whole weights."
            ) from error

    def check_takes(self, adapter: Path) -> None:
        """Check that an adapter can be added to it; of its own weights none are read."""
        from peft import PeftModel

        with reported_loading(f'The adapter "{adapter}" of {self.title}'):
            whole, _ = self._without_weights()
            with warnings.catch_warnings(action="ignore"):  # that nothing is copied
                PeftModel.from_pretrained(whole, str(adapter), is_trainable=True)

    def check_adapts(self) -> None:
        """Check that its layers can be given an adapter, which is made without weights."""
        from peft import LoraConfig, get_peft_model

        whole, _ = self._without_weights()
        every = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
        try:
            with warnings.catch_warnings(action="ignore"):  # of libraries that it passes through
                get_peft_model(whole, every)
        except ValueError as error:
            reason = _reason(error).rstrip(".")
            raise self.error(
                f"has layers that cannot be given an adapter ({reason}). Set "
                'generator_training.method to "full", or choose another generator.'
            ) from error

    def _without_weights(self) -> tuple[Any, Collection[str]]:
        """See `load_without_weights`."""
        from transformers import AutoModelForCausalLM

        from aloft.backends.host_state import quiet_libraries

        with quiet_libraries():
            return load_without_weights(AutoModelForCausalLM, self.folder)

    def check_vocabulary(self, last: int) -> None:
        """Check that there are vectors for all tokens up to `last`.

        Further ones, such as Gemma's for pictures, are not asked about: no text becomes one.
        """
        known = self.facts.get("vocab_size")
        if isinstance(known, int) and last >= known:
            raise self.error(
                f"has a tokenizer of {last + 1:,} tokens and weights for {known:,}. Put back the "
                "tokenizer that it came with."
            )

    def check_fast_tokenizer(self) -> None:
        """Check the tokenizer that passages are measured with."""
        from tokenizers import Tokenizer

        if "tokenizer.json" not in self.files:
            raise self.error("has no tokenizer.json. Choose a model with a fast tokenizer.")
        with reported_loading(f"The tokenizer of {self.title}"):
            tokenizer = Tokenizer.from_file(str(self.files["tokenizer.json"]))
        self.check_vocabulary(tokenizer.get_vocab_size(with_added_tokens=False) - 1)

    def _read(self, name: str) -> dict[str, Any]:
        """A configuration; empty where there is none."""
        found = self._json(name)
        return found if isinstance(found, dict) else {}

    def _json(self, name: str) -> Any:
        if name not in self.files:
            return None
        try:
            return json.loads(self.files[name].read_bytes())
        except (OSError, ValueError) as error:
            raise self.error(f"has a {name} that cannot be read ({error}).") from error

    def _module_types(self) -> list[str]:
        """Types of the modules that sentence-transformers puts together."""
        modules = self._json("modules.json")
        is_list = isinstance(modules, list)
        found = [one for one in modules if isinstance(one, dict)] if is_list else []
        self._paths = [str(one.get("path", "")) for one in found]
        return [str(one.get("type", "")) for one in found]

    def _first_modules_facts(self) -> dict[str, Any]:
        return self._read(f"{self._paths[0]}/config.json") if self.modules else {}

    def _weights(self, start: str) -> list[str]:
        names = (name for name in self.files if name.endswith(".safetensors"))
        return [name for name in names if name.rsplit("/", 1)[-1].startswith(start)]

    def _check_weights(self) -> None:
        missing = [folder for folder in self._pickled() if not self._has_weights(folder)]
        if missing:
            place = "" if missing[0] == self.folder else f" in {missing[0].name}"
            raise self.error(
                f"has its weights{place} as pickle files alone, which can run code when they are "
                "loaded. Choose a model with safetensors."
            )
        weights = self._weights("")
        if not weights:
            raise self.error("holds no safetensors weights. Choose another folder.")
        own = {name: self._tensors(name) for name in weights}
        for name in self.files:
            if name.endswith(".safetensors.index.json"):
                self._check_index(name, own)
        self._check_layers(tensor for tensors in own.values() for tensor in tensors)

    def _check_index(self, name: str, own: Mapping[str, Collection[str]]) -> None:
        """Check that the files that an index names hold what it says.

        Args:
            name: Of the index.
            own: Names of the weights in each file of the model.
        """
        start = name.rpartition("/")[0]
        listed = _mapping(self._read(name).get("weight_map"))
        named = {tensor: str(part) for tensor, part in listed.items()}
        held = {part: own.get(f"{start}/{part}".lstrip("/")) for part in named.values()}
        absent = sorted(part for part, tensors in held.items() if tensors is None)
        if absent:
            raise self.error(f"is incomplete: {absent[0]} is missing. Fetch it again.")
        for tensor, part in named.items():
            if tensor not in (held[part] or ()):
                raise self.error(f"is incomplete: {part} lacks {tensor}. Fetch it again.")

    def _check_layers(self, tensors: Iterable[str]) -> None:
        """A layer that its configuration asks for and that has no weights is drawn at random."""
        named = (self.facts.get(name) for name in _LAYER_COUNTS)
        wanted = next((count for count in named if isinstance(count, int)), 0)
        numbers = [int(found[1]) for name in tensors if (found := _LAYER.search(name))]
        if numbers and wanted > max(numbers) + 1:
            raise self.error(
                f"has weights for {max(numbers) + 1} of the {wanted} layers that its config.json "
                "asks for. Fetch it again, or correct its configuration."
            )

    def _pickled(self) -> list[Path]:
        """Folders of the model with weights in formats that are never loaded."""
        places = [self.folder, *(self.folder / path for path in self._paths if path)]
        return [
            place
            for place in places
            if place.is_dir() and any(file.suffix in _PICKLES for file in place.iterdir())
        ]

    def _has_weights(self, folder: Path) -> bool:
        return any(folder.glob("*.safetensors"))

    def _tensors(self, name: str) -> set[str]:
        """Names of the weights in a file that is as long as its header says.

        One that is cut short would fail hours later.
        """
        file = self.files[name]
        try:
            with file.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                size = file.stat().st_size
                tensors = json.loads(stream.read(length)) if length < size else {}
            ends = {k: t["data_offsets"][1] for k, t in tensors.items() if k != "__metadata__"}
            is_whole = length < size and 8 + length + max(ends.values(), default=0) == size
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            is_whole = False
        if not is_whole:
            raise self.error(f"has incomplete weights: {name} is cut off. Fetch it again.")
        return set(ends)

    def _check_code(self) -> None:
        routed = _mapping(self._read("router_config.json").get("types")).values()
        for file, kinds in (("modules.json", self.modules), ("router_config.json", routed)):
            for kind in map(str, kinds):
                if not kind.startswith("sentence_transformers."):
                    raise self.error(_OWN_CODE.format(where=f"{kind} in {file}"))
        family = self.facts.get("model_type")
        if family is not None and not _is_known(str(family)):
            if self.facts.get("auto_map"):
                raise self.error(_OWN_CODE.format(where="auto_map in config.json"))
            raise self.error(
                f"is of the type {family}, which the installed transformers does not know. Update "
                "transformers, or choose another model."
            )
        tokenizer = self._read("tokenizer_config.json")
        own = _mapping(tokenizer.get("auto_map")).get("AutoTokenizer")
        if own and "tokenizer.json" not in self.files:
            raise self.error(_OWN_CODE.format(where="auto_map in tokenizer_config.json"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_known(model_type: str) -> bool:
    """Whether transformers, where it is installed, has a model of that type."""
    require("transformers", extra="train")
    from transformers import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING
