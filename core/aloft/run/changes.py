"""Finds out what of a run has changed since its report was written, and says so in its pages."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aloft.evaluation.pages import write_pages
from aloft.evaluation.report import FILE, Report, read_report
from aloft.files import read_json_object, write_text
from aloft.run.store import RunStore

REPORT = "report"  # its manifest's name
_BY_OPTION = ("evaluation.probes", "evaluation.learning_curve")  # of a command, not of the run


def note_report(store: RunStore, key: str, made_of: Mapping[str, str], note: str = "") -> None:
    """Write the report's manifest.

    Args:
        store: The run folder.
        key: Of the report.
        made_of: The keys of all stages that it was made of.
        note: What its pages say of changes since.
    """
    facts = {"stage": REPORT, "key": key, "made_of": dict(made_of), "note": note}
    write_text(store.path / "manifests" / f"{REPORT}.json", json.dumps(facts) + "\n")


def mark_pages(store: RunStore) -> None:
    """Let the pages of a run's report say what has changed since, or no longer say it."""
    known = store.manifest(REPORT)
    if known is None or not (store.path / FILE).exists():
        return
    report = read_report(store.path)
    note = describe_changes(store.path, report)
    if note != known.get("note", ""):
        write_pages(report, store.path, note)
        note_report(store, known.get("key", ""), known.get("made_of", {}), note)


def describe_changes(run: Path, report: Report) -> str:
    """What has changed since a run's report was written, and what to do; "": nothing."""
    store = RunStore(run)
    changed = dict.fromkeys(_changed_groups(store))
    missing = f"{run} holds no settings."
    now = _flat(read_json_object(run / "config.json", missing=missing, repair="Restore it."))
    then = _flat(report.config)
    named = [name for name in then if name in now and now[name] != then[name]]
    changed |= dict.fromkeys(name for name in named if name not in _BY_OPTION)
    if not changed:
        return ""
    return (
        f"This report is of an earlier state of the run. Changed since: {', '.join(changed)}. To "
        f"write it anew: aloft evaluate {run}"
    )


def _changed_groups(store: RunStore) -> Iterator[str]:
    """The groups of the stages that are no longer what the report was made of."""
    known = store.manifest(REPORT) or {}
    for name, key in known.get("made_of", {}).items():
        found = store.manifest(name) or {}
        if found.get("key") != key:
            yield found.get("group", name)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted names."""
    flat = {}
    for name, value in settings.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}.{below}".rstrip("."): one for below, one in inner.items()}
    return flat
