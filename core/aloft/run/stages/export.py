"""Writes what ships as plain Hugging Face folders, each with a model card."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from aloft import __version__
from aloft.backends.checking import is_cross_encoder, is_language_model, is_multi_vector
from aloft.backends.packaged import resolve_model
from aloft.config import PARTS, Part, plain_name, server_names
from aloft.errors import ModelError
from aloft.evaluation.report import Measurements, measurements_from_json
from aloft.files import link, write_folder
from aloft.jsonl import RecordFile
from aloft.records import GeneratorRow
from aloft.run.context import Context, Inputs
from aloft.run.stage import Declaration, Fact, Folder, stage
from aloft.run.stages.evaluate import base_models
from aloft.serving.bundle import Bundle, read_bundle

logger = logging.getLogger(__name__)
_COMPARED = 16  # replies that a merged generator is compared by
_CARDS = {
    "embedder": ("sentence-transformers", "sentence-similarity"),
    "reranker": ("sentence-transformers", "text-ranking"),
    "generator": ("transformers", "text-generation"),
}
_USES = {
    "embedder": """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/embedder")
questions = model.encode_query(["How long is the crossing?"])
passages = model.encode_document(["The crossing takes an hour."])""",
    "reranker": """from sentence_transformers import MultiVectorEncoder

model = MultiVectorEncoder("path/to/reranker")
questions = model.encode_query(["How long is the crossing?"])
passages = model.encode_document(["The crossing takes an hour."])
scores = model.similarity(questions, passages)""",
    "cross-encoder": """from sentence_transformers import CrossEncoder

model = CrossEncoder("path/to/reranker")
scores = model.predict([("How long is the crossing?", "The crossing takes an hour.")])""",
    "likelihood": """from aloft.backends.loading import load_reranker

model = load_reranker("path/to/reranker")  # by how likely the question is after the passage
scores = model.score([("How long is the crossing?", "The crossing takes an hour.")])""",
    "body": """from aloft.backends.loading import load_reranker

model = load_reranker("path/to/embedder")  # with its prompts, and all of its layers
scores = model.score([("How long is the crossing?", "The crossing takes an hour.")])""",
    "generator": """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/to/generator")
tokenizer = AutoTokenizer.from_pretrained("path/to/generator")""",
    "peft": """from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("path/to/the/model/that/it/is/of")
model = PeftModel.from_pretrained(base, "path/to/generator")""",
}


def _declare(name: str, doing: str, *, merged: bool) -> Declaration:
    def export(context: Context, part: Inputs) -> Iterator[Fact]:
        bundle = read_bundle(part["bundle"])
        measured = measurements_from_json(part["measured"])

        def write(folder: Path) -> None:
            for one in PARTS:
                _write_part(one, bundle, folder / one, context, merged=merged)
                if (folder / one).is_dir():
                    origin = _origin(one, measured, has_weights=(part["bundle"] / one).is_dir())
                    card = _card(one, folder / one, bundle, measured, origin, merged=merged)
                    (folder / one / "README.md").unlink(missing_ok=True)  # the base model's own
                    (folder / one / "README.md").write_text(card, encoding="utf-8")

        write_folder(context.run / name, write)
        yield Fact("kept", sum(1 for one in PARTS if (context.run / name / one).is_dir()))

    return stage(
        name=name,
        version=3,
        doing=doing,
        inputs=("bundle", "measured", *(("generator_rows",) if merged else ())),
        output=Folder(name),
        models=base_models,
    )(export)


export = _declare("export", "exporting models", merged=False)
export_merged = _declare("export-merged", "exporting merged models", merged=True)


def _write_part(
    part: Part, bundle: Bundle, folder: Path, context: Context, *, merged: bool
) -> None:
    """Write one part's own files; nothing where the bundle has no such part, or it is elsewhere."""
    if part == "generator" and bundle.adapter is not None:
        if merged:
            _merge(bundle, folder, context)
        else:
            shutil.copytree(bundle.adapter, folder, copy_function=link)
            _name_base(folder / "adapter_config.json", _base_name(bundle))
        return
    name = getattr(bundle, part)
    if part == "generator" and not _is_here(name):
        logger.warning(
            "The generator that answers, %s, was not tuned and is not on this machine. It is left "
            "out of the export.",
            name,
        )
        return
    is_embedder = part == "reranker" and name == bundle.embedder  # whose card says so
    if name is None or is_embedder:
        return
    source = Path(resolve_model(plain_name(name)))
    reranks_as_saved = is_cross_encoder(source) or is_multi_vector(source)
    if part == "reranker" and not (reranks_as_saved or is_language_model(source)):
        from aloft.training import take_body

        take_body(source, folder)  # of an embedder that does not ship itself
    else:
        shutil.copytree(source, folder, copy_function=link)


def _base_name(bundle: Bundle) -> str:
    """The generator's base model as it is known elsewhere: by its id, or its folder's name."""
    name = plain_name(bundle.generator)
    return Path(name).name if Path(name).is_dir() else name


def _name_base(settings: Path, name: str) -> None:
    """Let an adapter name its base model otherwise than by its folder on this machine."""
    values = json.loads(settings.read_text(encoding="utf-8"))
    settings.unlink()  # what ships has the same file, by a link
    text = json.dumps({**values, "base_model_name_or_path": name}, indent=2)
    settings.write_text(text + "\n", encoding="utf-8")


def _is_here(name: str) -> bool:
    """Whether a language model is on this machine; one that was not trained need not be."""
    if server_names(name):
        return False
    try:
        resolve_model(plain_name(name))
    except ModelError:
        return False
    return True


def _merge(bundle: Bundle, folder: Path, context: Context) -> None:
    """Write the generator with its adapter merged; it is read back and compared."""
    from aloft.training.merging import merge_adapter

    assert bundle.adapter is not None  # noqa: S101 - it is what is merged
    context.release()
    rows = RecordFile(context.run / "sets" / "generator.jsonl", GeneratorRow)[:_COMPARED]
    merge_adapter(plain_name(bundle.generator), Path(bundle.adapter), folder, rows)


def _origin(part: Part, measured: Measurements, *, has_weights: bool) -> str:
    """Whether a part is tuned, and by which run.

    Args:
        part: The part.
        measured: What the run measured.
        has_weights: Whether what ships holds weights of its own for it.
    """
    if not has_weights:
        return "Not tuned: this part was not trained, or its training did not pass the gate."
    origin = "Tuned on questions that a local language model wrote from its owner's documents."
    if measured.shipped is not None and part in measured.shipped.parts:
        return origin
    return (
        f"{origin} An earlier run did that: in the last one this part was not trained further, or "
        "its training did not pass the gate."
    )


def _card(
    part: Part, folder: Path, bundle: Bundle, measured: Measurements, origin: str, *, merged: bool
) -> str:
    """The model card: what the part is, what it gained, and how to load it."""
    is_adapter = part == "generator" and bundle.adapter is not None and not merged
    library, task = ("peft", "text-generation") if is_adapter else _CARDS[part]
    is_writer = part == "reranker" and is_language_model(folder)
    library = "transformers" if is_writer else library
    lines = [
        "---",
        f"library_name: {library}",
        f"pipeline_tag: {task}",
        "tags: [rag, aloft]",
        "---",
        "",
        f"# The {part} of a RAG system",
        "",
        f"Exported by Aloft {__version__}. {origin}",
        "",
    ]
    if is_adapter:
        lines += [f"A LoRA adapter of {_base_name(bundle)}; load both with peft.", ""]
    for verdict in (one for one in measured.verdicts if one.part == part):
        word = "Kept" if verdict.is_kept else "Refused"
        lines += [f"{word}: {verdict.reason}.", ""]
    use = library if is_adapter else str(part)
    if part == "reranker" and is_cross_encoder(folder):
        use = "cross-encoder"
    use = "likelihood" if is_writer else use
    lines += ["```python", _USES[use], "```", ""]
    if part == "embedder" and bundle.reranker == bundle.embedder:
        lines += ["Its body also reranks, by late interaction:", ""]
        lines += ["```python", _USES["body"], "```", ""]
    return "\n".join(lines)
