"""The file aloft.json of a bundle: what ships, by relative paths, names and fingerprints.

`format` counts changes that an older version could not read. A version ignores fields that it does
not know, so a field may be added without a new format.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aloft._version import __version__
from aloft.backends.fingerprint import fingerprint_folder
from aloft.backends.packaged import resolve_model
from aloft.config import SERVER, FormatName, in_place, plain_name
from aloft.errors import AloftError, DataError, ModelError
from aloft.files import is_there, read_json_object
from aloft.prompts.formats import PROMPTS_VERSION
from aloft.retrieval.fusion import WHOLE, CoverageShare
from aloft.retrieval.retriever import RetrieverName

logger = logging.getLogger(__name__)
FORMAT = 2
FILE = "aloft.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class ModelReference(_Record):
    """A model that a bundle needs, inside it or elsewhere.

    Attributes:
        name: The base model, as the configuration named it: `embedded:NAME`, a Hugging Face id, a
            folder or a server, with the engine that runs it.
        fingerprint: Of the base model; None: not known, as behind a server.
        path: Absolute path that a base model's folder had when the bundle was written.
        relative_path: Path from the bundle to that folder, with "/" between names.
        weights: Folder inside the bundle with weights that replace the base model's.
        adapter: Folder inside the bundle with a LoRA adapter for the base model.
    """

    name: str
    fingerprint: str | None = None
    path: str | None = None
    relative_path: str | None = None
    weights: str | None = None
    adapter: str | None = None

    @field_validator("weights", "adapter")
    @classmethod
    def _lies_inside(cls, folder: str | None) -> str | None:
        if folder is not None and (not folder.strip(". ") or set(folder) & set('/\\:"')):
            raise ValueError("must be the name of a folder inside the bundle.")
        return folder

    @classmethod
    def of(cls, name: str, bundle: Path, **inside: str) -> Self:
        """Describe the model that a name stands for on this machine.

        Args:
            name: The base model.
            bundle: Where the bundle will lie.
            inside: `weights` or `adapter`.
        """
        folder = Path(plain_name(name)).expanduser()
        path = folder.absolute() if folder.is_dir() else None
        return cls(
            name=name,
            fingerprint=_fingerprint(name),
            path=str(path) if path else None,
            relative_path=_relative(path, bundle.absolute()) if path else None,
            **inside,
        )

    def locate(self, bundle: Path) -> str:
        """The name to load the model by, with an absolute path where it is a folder.

        A base model that is not found keeps its name: loading it says what is missing.

        Args:
            bundle: Absolute path of the bundle.

        Raises:
            ModelError: there is another model in the base model's place.
        """
        if self.weights is not None:
            return in_place(self.name, bundle / self.weights)
        if self.name.startswith(SERVER):
            return self.name
        others = []
        for name, folder in self._candidates(bundle):
            found = fingerprint_folder(folder) if self.fingerprint else None
            if found == self.fingerprint:
                return in_place(self.name, name)
            others.append(f"{folder} ({found})")
        if others:
            raise ModelError(
                f"{' and '.join(others)} is not the model that {bundle} was made with: "
                f"{self.name} had the fingerprint {self.fingerprint}. Put that model back, or run "
                "Aloft again with the other one."
            )
        return in_place(self.name, self.path or plain_name(self.name))

    def _candidates(self, bundle: Path) -> Iterator[tuple[str, Path]]:
        """Names and folders of models that may be the base model, likeliest first."""
        name = plain_name(self.name)
        folders = [Path(self.path)] if self.path else []
        folders += [(bundle / self.relative_path).resolve()] if self.relative_path else []
        for folder in dict.fromkeys(folders):
            if is_there(folder) and folder.is_dir():  # another user's is no candidate
                yield str(folder), folder
        try:
            resolved = Path(resolve_model(name)).absolute()
        except AloftError:
            return
        yield (str(resolved) if Path(name).expanduser().is_dir() else name), resolved


class ShareRecord(_Record):
    """See `aloft.retrieval.fusion.CoverageShare`; an end may lie somewhat outside [0, 1]."""

    uncovered: float = Field(ge=-2, le=2)
    covered: float = Field(ge=-2, le=2)


class RelevanceRecord(_Record):
    """What scores are computed by; see `aloft.retrieval.relevance.Relevance`."""

    constant: float
    similarity: float
    overlap: float
    reranker: float


class RetrievalRecord(_Record):
    """How passages are retrieved; see `aloft.retrieval.retriever.RetrievalSettings`."""

    retriever: RetrieverName
    dense_share: ShareRecord
    rerank_depth: int = Field(ge=1)
    rerank_share: ShareRecord
    late_depth: int | None = Field(default=None, ge=1)
    late_share: ShareRecord | None = None
    window_tokens: int | None = None
    relevance: RelevanceRecord | None = None
    reranker_relevance: RelevanceRecord | None = None


class AnsweringRecord(_Record):
    """How the generator is asked; see `Bundle`."""

    format: FormatName
    abstains: bool
    contexts: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)
    order_weight: float | None = Field(default=None, ge=0)
    abstention_threshold: float | None = Field(default=None, ge=0, le=1)
    abstention_relevance: RelevanceRecord | None = None


class BundleFile(_Record):
    """The content of aloft.json.

    Attributes:
        format: Of this file.
        aloft: The version that wrote it.
        prompts: Version of the answering prompts that the generator was trained and measured with.
        blend_weights: By part, the share of the tuned weights where a part ships as an average of
            tuned and base weights; a part that is not named is not blended.
    """

    format: int = FORMAT
    aloft: str = __version__
    prompts: int = PROMPTS_VERSION
    embedder: ModelReference
    generator: ModelReference
    reranker: ModelReference | None = None
    retrieval: RetrievalRecord
    answering: AnsweringRecord
    blend_weights: dict[str, float] = {}

    def to_json(self) -> dict[str, Any]:
        """JSON types; what is not set is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], bundle: Path) -> Self:
        """Read JSON types of this format or an earlier one.

        Args:
            values: The file's content.
            bundle: The folder that it lies in.

        Raises:
            DataError: the format is newer than this version of Aloft, or values are missing.
        """
        path = bundle / FILE
        for migrate in _MIGRATIONS[_format_of(values, path) :]:
            values = migrate(values, bundle)
        for name in _unknown_fields(cls, values):
            logger.warning("%s: the field %s is not known to Aloft %s.", path, name, __version__)
        try:
            read = cls.model_validate({**values, "format": FORMAT})
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise DataError(
                f"{path} is damaged ({place}: {fault['msg']}). Restore it from a copy, or write it "
                "again with: aloft evaluate RUN"
            ) from error
        if read.prompts != PROMPTS_VERSION:
            logger.warning(
                "%s: the generator knows version %d of the prompts, and this is version %d.",
                *(path, read.prompts, PROMPTS_VERSION),
            )
        return read


def read_bundle_file(bundle: Path) -> BundleFile:
    """Read a bundle's aloft.json.

    Raises:
        DataError: there is none, it is damaged, or its format is newer than this version of Aloft.
    """
    path = bundle / FILE
    missing = f"{bundle} holds no {FILE}. Finish a run first: aloft run DOCS --out RUN."
    values = read_json_object(path, missing=missing, repair="Restore it from a copy.")
    return BundleFile.from_json(values, bundle)


def _format_of(values: Mapping[str, Any], path: Path) -> int:
    """The number before the point: what follows it counts added fields."""
    found = values.get("format") if isinstance(values.get("embedder"), Mapping) else 0
    try:
        number = int(str(found).partition(".")[0])
    except ValueError as error:
        raise DataError(f"{path} is damaged (format: {found}). Restore it from a copy.") from error
    if number > FORMAT:
        raise DataError(
            f"{path} has format {found}, written by Aloft {values.get('aloft', 'of a later date')},"
            f" and Aloft {__version__} reads formats up to {FORMAT}. Upgrade Aloft."
        )
    return max(0, number)


def _unknown_fields(record: type[BaseModel], values: Mapping[str, Any], at: str = "") -> list[str]:
    """Dotted names of fields that a record and the records in it do not have."""
    unknown = []
    for name, value in values.items():
        field = record.model_fields.get(name)
        if field is None:
            unknown.append(at + name)
            continue
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, _Record)]
        if inner and isinstance(value, Mapping):
            unknown += _unknown_fields(inner[0], value, f"{at}{name}.")
    return unknown


def _fingerprint(name: str) -> str | None:
    """Of a model on this machine; None where it is not here."""
    if name.startswith(SERVER):
        return None
    try:
        return fingerprint_folder(Path(resolve_model(plain_name(name))))
    except AloftError:
        return None


def _relative(path: Path, bundle: Path) -> str | None:
    try:
        return Path(os.path.relpath(path, bundle)).as_posix()
    except ValueError:  # another drive
        return None


# ---- earlier formats

_MODELS = ("embedder", "generator", "reranker", "adapter")
_RETRIEVAL = ("retriever", "dense_weight", "rerank_depth", "window_tokens")
_ANSWERING = ("format", "abstains", "contexts", "max_new_tokens")


def _from_format_0(values: Mapping[str, Any], bundle: Path) -> dict[str, Any]:
    """Until Aloft 0.1: flat, without fingerprints; a name is inside if there is such a folder."""

    def reference(part: str) -> dict[str, Any] | None:
        name = values.get(part)
        if not isinstance(name, str):
            return None
        if not Path(plain_name(name)).is_absolute() and (bundle / plain_name(name)).is_dir():
            return {"name": name, "weights": plain_name(name)}
        # a relative path counted from where the run was started, often the folder above the run
        nearby = (above / plain_name(name) for above in list(bundle.parents)[:2])
        found = next((folder for folder in nearby if folder.is_dir()), None)
        return {"name": name} | ({"path": str(found)} if found else {})

    generator = reference("generator") or {}
    adapter = values.get("adapter")
    known = (*_MODELS, *_RETRIEVAL, *_ANSWERING)
    return {
        **{name: value for name, value in values.items() if name not in known},
        "embedder": reference("embedder"),
        "generator": generator | ({"adapter": adapter} if adapter else {}),
        "reranker": reference("reranker"),
        "retrieval": {name: values[name] for name in _RETRIEVAL if name in values},
        "answering": {"format": "aloftrag", "abstains": False}
        | {name: values[name] for name in _ANSWERING if name in values},
    }


def _from_format_1(values: Mapping[str, Any], _bundle: Path) -> dict[str, Any]:
    """Until November 2026: one dense share for all questions, and a reranker's order alone."""
    retrieval = values.get("retrieval")
    if not isinstance(retrieval, Mapping) or "dense_weight" not in retrieval:
        return dict(values)  # damaged, which is said where it is read
    rest = {name: value for name, value in retrieval.items() if name != "dense_weight"}
    dense = asdict(CoverageShare.constant(retrieval["dense_weight"]))
    shares = {"dense_share": dense, "rerank_share": asdict(WHOLE)}
    return {**values, "retrieval": {**shares, **rest}}


_Migration = Callable[[Mapping[str, Any], Path], Mapping[str, Any]]
_MIGRATIONS: tuple[_Migration, ...] = (_from_format_0, _from_format_1)
