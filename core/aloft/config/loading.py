"""Reads presets, TOML files, command-line choices and run folders into one checked configuration.

A setting that was renamed is accepted under its old name for one version, with a warning that names
the new one.
"""

import logging
import reprlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from aloft.config.run import PARTS, RunConfig
from aloft.errors import ConfigError
from aloft.files import read_json_object

_logger = logging.getLogger(__name__)

_MAX_SHARE = 1_000_000  # of a kind of question
_PRESET_NAMES = ("cpu", "8gb", "12gb", "24gb", "80gb", "paper")
DEFAULT = "cpu"
RENAMED = {  # old name -> new name; accepted for one version
    "ratings.keep_at_least": "ratings.min_rating",
    "pairs.keep_at_least": "pairs.min_rating",
    "links.keep_at_least": "links.min_confidence",
    "negatives.copied": "negatives.copy_threshold",
    "training_sets.fewest_contexts": "training_sets.min_contexts",
    "training_sets.logged_weight": "training_sets.log_repeat",
    "training_sets.replayed": "training_sets.replay_ratio",
    "embedder_training.trains": "embedder_training.method",
    "reranker_training.trains": "reranker_training.method",
    "generator_training.trains": "generator_training.method",
    "generator_training.start": "generator_training.init_adapter",
}


_TEXT, _WHOLE, _NUMBER = "a text in quotes", "a whole number", "a number"
_TABLE, _FLAG = "a table of settings", "true or false"
_KINDS = {  # what a setting should be, by the type of pydantic's fault
    "string_type": _TEXT,
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _FLAG),
    **dict.fromkeys(("model_type", "dict_type"), _TABLE),
}


def _read_preset(name: str) -> dict[str, Any]:
    text = files("aloft.config").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


PRESETS: Mapping[str, dict[str, Any]] = {name: _read_preset(name) for name in _PRESET_NAMES}


def load_config(
    preset: str | None = None,
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    after: str | Path | None = None,
) -> RunConfig:
    """Combine a preset, or an earlier run's settings, with a TOML file and single choices.

    Args:
        preset: Its name; None: "cpu".
        file: TOML file of settings that replace those of the preset.
        overrides: Settings that replace those of the file.
        after: A finished run to continue from, instead of a preset.

    Raises:
        ConfigError: the preset is unknown, the file cannot be read, `after` is no run folder, or
            settings are at fault; all faults are reported at once.
        DataError: the run folder `after` cannot be read.
    """
    if preset is not None and preset not in PRESETS:
        known = ", ".join(PRESETS)
        raise ConfigError(f'There is no preset "{preset}". It may be one of: {known}.')
    from_file = _rename(_read_toml(Path(file)), str(file)) if file is not None else {}
    own = _merge(from_file, _rename(overrides or {}, "overrides"))
    below = PRESETS[preset or DEFAULT] if after is None else _settings_after(after, preset, own)
    return _validate(_merge(below, own))


def check_config(values: Mapping[str, Any]) -> RunConfig:
    """Check settings, reporting every fault.

    Raises:
        ConfigError: settings are at fault.
    """
    return _validate(_rename(values, "settings"))


def read_run_config(run: Path) -> RunConfig:
    """The settings that a run folder was created with.

    Settings that this version no longer has are ignored, each with a warning.

    Raises:
        ConfigError: settings are at fault.
        DataError: the folder holds no settings, or they are damaged.
    """
    missing = f'{run} is not a run folder. Create one with "aloft passages" or "aloft run".'
    values = _read_run_settings(run, missing)
    try:
        return _validate(values)
    except ConfigError as error:
        raise ConfigError(f"{run / 'config.json'}: {error}") from error


def _settings_after(run: str | Path, preset: str | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a finished run, for a run that continues from it."""
    named = [*(["preset"] if preset else []), *(part for part in PARTS if own.get(part))]
    if named:
        raise ConfigError(
            f"{named[0]} is set, but a run that continues from {run} takes it from there. "
            "Leave out one of the two."
        )
    missing = f"{run} is no run folder. Name a finished run to continue from."
    with suppress(OSError):  # a folder that is not accessible is reported below
        if not (Path(run) / "config.json").exists():
            raise ConfigError(missing)
    return _read_run_settings(Path(run), missing) | {"earlier": str(Path(run).resolve())}


def _read_run_settings(run: Path, missing: str) -> dict[str, Any]:
    path = run / "config.json"
    values = read_json_object(path, missing=missing, repair="Restore it from a copy.")
    return _without_retired(_rename(values, str(path)), path)


def _rename(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Move values from old names to new ones, each with a warning."""
    renamed = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()
    }
    for old, new in RENAMED.items():
        (section, before), after = old.split("."), new.split(".")[1]
        settings = renamed.get(section)
        if not isinstance(settings, dict) or before not in settings:
            continue
        if after in settings:
            raise ConfigError(f"{where} sets both {old} and {new}, its new name. Remove {old}.")
        settings[after] = settings.pop(before)
        _logger.warning("%s: the setting %s is now called %s. Rename it.", where, old, new)
    if isinstance(renamed.get("pairs"), dict):
        renamed["pairs"] = _move_multi_hop(renamed["pairs"], where)
    return renamed


def _move_multi_hop(pairs: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Turn the share of a kind of question that is no longer asked for into that of its pairs."""
    kinds = pairs.get("kinds")
    if not isinstance(kinds, Mapping) or "multi_hop" not in kinds:
        return dict(pairs)
    if "multi_hop" in pairs:
        raise ConfigError(
            f"{where} sets both pairs.kinds.multi_hop and pairs.multi_hop, its new name. "
            "Remove pairs.kinds.multi_hop."
        )
    others = {kind: share for kind, share in kinds.items() if kind != "multi_hop"}
    share = kinds["multi_hop"]
    if all(isinstance(one, int | float) and 0 <= one <= _MAX_SHARE for one in kinds.values()):
        share = share / (sum(kinds.values()) or 1)
    _logger.warning(
        "%s: the setting pairs.kinds.multi_hop is now pairs.multi_hop: by its share, %s.",
        where,
        share,
    )
    kept = {name: value for name, value in pairs.items() if name != "kinds"}
    return kept | ({"kinds": others} if any(others.values()) else {}) | {"multi_hop": share}


def _without_retired(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Settings that this version knows; the others are named in a warning."""
    kept: dict[str, Any] = {}
    retired: list[str] = []
    for name, value in values.items():
        field = RunConfig.model_fields.get(name)
        known = getattr(field.annotation, "model_fields", None) if field else ()
        if field is None:
            retired.append(name)
        elif known is None or not isinstance(value, Mapping):
            kept[name] = value
        else:
            kept[name] = {inner: value[inner] for inner in value if inner in known}
            retired += [f"{name}.{inner}" for inner in value if inner not in known]
    for name in retired:
        _logger.warning("%s: the setting %s no longer exists and is ignored.", path, name)
    return kept


def _validate(values: Mapping[str, Any]) -> RunConfig:
    """The settings, whose paths count from the folder that the process works in now."""
    try:
        return RunConfig.model_validate(values).with_absolute_paths()
    except ValidationError as error:
        raise ConfigError(" ".join(_explain(fault) for fault in error.errors())) from error


def _explain(fault: Mapping[str, Any]) -> str:
    """A fault as one sentence: the setting, its value, what it may be."""
    name, message = ".".join(map(str, fault["loc"])).removesuffix(".[key]"), fault["msg"]
    if fault["type"] == "extra_forbidden":
        found = " or ".join(_elsewhere(fault["loc"])) or f"one of: {_siblings(fault['loc'])}"
        return f"There is no setting {name}. It may be {found}."
    if fault["type"] == "missing":
        return f"{name} is not set, and the preset names no model. Name one that fits this machine."
    if fault["type"] == "value_error":
        message = message.removeprefix("Value error, ")
        return f"{name}: {message}" if name else message
    kind = _KINDS.get(fault["type"])
    if fault["type"] == "tuple_type":
        kind = f"a list of {_elements(fault['loc'])}, in square brackets"
    message = f"should be {kind}" if kind else message.removeprefix("Input ")
    return f"{name or 'The configuration'} is {_shown(fault['input'])}, but {message}."


def _shown(value: Any) -> str:
    """A value that fits a line; Python writes no integers of thousands of digits."""
    is_huge = isinstance(value, int) and abs(value) >= 10**30
    return "a number of more than 30 digits" if is_huge else reprlib.repr(value)


def _siblings(place: Sequence[str | int]) -> str:
    return ", ".join(_fields_beside(place))


def _elsewhere(place: Sequence[str | int]) -> Iterator[str]:
    """Settings of that name in other sections: in TOML all below [a] is a's, up to the next."""
    name = place[-1]
    if name in RunConfig.model_fields:
        yield f"{name} (above all sections)"
    for section, field in RunConfig.model_fields.items():
        if name in getattr(field.annotation, "model_fields", ()):
            yield f"{section}.{name}"


def _fields_beside(place: Sequence[str | int]) -> Mapping[str, Any]:
    """The settings of a section, one of which stands at a place."""
    settings: Any = RunConfig
    for name in place[:-1]:
        settings = settings.model_fields[name].annotation
    fields: Mapping[str, Any] = settings.model_fields if issubclass(settings, BaseModel) else {}
    return fields


def _elements(place: Sequence[str | int]) -> str:
    """What a setting that is a list may hold."""
    schema = TypeAdapter(_fields_beside(place)[str(place[-1])].annotation).json_schema()
    lists = [one["items"] for one in schema.get("anyOf", [schema]) if "items" in one]
    named = [repr(name) for one in lists for name in one.get("enum", ())]
    if named:
        return f"{', '.join(named[:-1])} or {named[-1]}"
    return {"integer": "whole numbers", "number": "numbers"}.get(lists[0].get("type"), "texts")


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}). Check --config.") from error
    except RecursionError as error:
        raise ConfigError(f"{file} is not valid TOML: it nests too deeply.") from error
    except ValueError as error:  # a fault of TOML or of UTF-8, or a number of too many digits
        reason = str(error).split("\n")[0]
        is_path = "hex value" in reason or "\\" in reason  # of Windows, whose \ begin an escape
        hint = " Write paths with / or in single quotes." if is_path else ""
        raise ConfigError(f"{file} is not valid TOML: {reason}.{hint}") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over others, section by section; a setting that holds a table is replaced."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = {**under, **value}
        merged[name] = value
    return merged
