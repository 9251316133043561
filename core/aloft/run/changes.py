"""Finds out what of a run has changed since its report was written, and says so in its pages."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from aloft.evaluation.pages import write_pages
from aloft.evaluation.report import FILE, Report, read_report
from aloft.files import read_json, read_json_object, write_text
from aloft.run.store import RunStore

_MANIFEST = Path("manifests") / "report.json"
_LOG = "log"  # a stage that a run has once past questions were taken in
_BY_OPTION = ("evaluation.probes", "evaluation.learning_curve")  # of a command, not of the run


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportManifest:
    """What is known of a run's report.

    Attributes:
        key: Of all that it depends on.
        made_of: The keys of all stages that it was made of.
        note: What its pages say of changes since.
    """

    stage: str = "report"
    key: str
    made_of: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def write(self, run: Path) -> None:
        """Write it to a run folder."""
        write_text(run / _MANIFEST, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """That of a run folder; None where there is no report.

        Raises:
            DataError: it is damaged.
        """
        path = run / _MANIFEST
        if not path.exists():
            return None
        repair = f"Delete it, and write the report again: aloft evaluate {run}"
        return cls(**read_json(path, cls, missing="", repair=repair))


def mark_pages(run: Path) -> None:
    """Let the pages of a run's report say what has changed since, or no longer say it."""
    known = ReportManifest.read(run)
    if known is None or not (run / FILE).exists():
        return
    report = read_report(run)
    note = _describe(run, report, known)
    if note != known.note:
        write_pages(report, run, note)
        replace(known, note=note).write(run)


def describe_changes(run: Path, report: Report) -> str:
    """What has changed since a run's report was written, and what to do; "": nothing."""
    return _describe(run, report, ReportManifest.read(run))


def _describe(run: Path, report: Report, known: ReportManifest | None) -> str:
    changed = dict.fromkeys(_changed_groups(run, known))
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


def _changed_groups(run: Path, known: ReportManifest | None) -> Iterator[str]:
    """The groups of the stages that are no longer what the report was made of."""
    store, made_of = RunStore(run), known.made_of if known else {}
    for name, key in made_of.items():
        found = store.manifest(name) or {}
        if found.get("key") != key:
            yield found.get("group", name)
    if made_of and _LOG not in made_of and store.manifest(_LOG) is not None:
        yield _LOG


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}.{below}".rstrip("."): one for below, one in inner.items()}
    return flat
