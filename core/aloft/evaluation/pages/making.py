"""The sections of a report that show how the run was made."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from aloft.evaluation.charts import Length, draw_bars, draw_curve
from aloft.evaluation.pages.blocks import Block, Picture, Table
from aloft.evaluation.pages.figures import NONE
from aloft.evaluation.pages.rows import TEACHER_HEADER, teacher_rows
from aloft.evaluation.report import FunnelRow, Report
from aloft.records import Artifact, Probe


def funnel(report: Report) -> Iterator[Block]:
    """What each stage kept and dropped, and what the teacher was asked."""
    stages = report.funnel
    if not stages:
        return
    counted = [stage for stage in stages if _is_counted(report, stage)]
    if counted:
        bars = [_funnel_bar(stage) for stage in counted]
        longest = max(bar.value + bar.rest for bar in bars)
        yield Picture(
            svg=draw_bars("funnel", "Kept and dropped per stage", bars, longest),
            caption="What each stage kept, and behind it what it dropped.",
        )
    yield Table(
        caption="What each stage kept, what it dropped and why.",
        header=("stage", "kept", "dropped", "reasons", "rows", "seconds"),
        rows=[_funnel_cells(stage, is_counted=stage in counted) for stage in stages],
    )
    asked = teacher_rows(stages)
    if asked:
        yield Table(
            caption="What the teacher was asked; seconds are those that the run waited for it.",
            header=TEACHER_HEADER,
            rows=asked,
        )


def _is_counted(report: Report, stage: FunnelRow) -> bool:
    """Whether a stage keeps records, as training sets, trained parts and evaluation do not."""
    return stage.stage not in ("sets", "evaluate", *report.parts)


def _funnel_bar(stage: FunnelRow) -> Length:
    dropped = sum(stage.dropped.values())
    figure = f"{stage.kept:,} kept" + (f", {dropped:,} dropped" if dropped else "")
    return Length(
        group="", label=stage.stage, value=stage.kept, rest=dropped, figure=figure, mark="tuned"
    )


def _funnel_cells(stage: FunnelRow, *, is_counted: bool) -> tuple[str, ...]:
    rows = stage.rows
    if isinstance(rows, Mapping):
        laid_out = "; ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in rows.items())
    else:
        laid_out = "" if rows is None else f"{rows:,}"
    return (
        stage.stage,
        f"{stage.kept:,}" if is_counted else NONE,
        f"{sum(stage.dropped.values()):,}" if is_counted else NONE,
        "; ".join(f"{n:,} {reason}" for reason, n in stage.dropped.items()) or NONE,
        laid_out or NONE,
        f"{stage.seconds:,.1f}",
    )


def training(report: Report) -> Iterator[Block]:
    """The trained parts, their losses and what the collapse guard saw."""
    parts = report.parts
    for i, (part, artifact) in enumerate(parts.items()):
        losses = [loss for loss in artifact.losses if isfinite(loss)]
        if losses:
            svg = draw_curve(f"loss-{i}", f"Training loss of the {part}", losses)
            yield Picture(svg=svg, caption=f"Loss of the {part}", is_small=True)
    if parts:
        yield Table(
            caption="Trained parts.",
            header=("part", "trained from", "seconds", "loss as logged, first to last"),
            rows=[(part, *_artifact_cells(artifact)) for part, artifact in parts.items()],
        )
    watched = [(part, probe) for part, artifact in parts.items() for probe in artifact.probes]
    if watched:
        yield Table(
            caption="Watched during training, on a few rows: mean reciprocal rank and score of the "
            "right passages, spread of all scores, rank correlation with the untrained part.",
            header=("part", "step", "MRR", "score of right", "spread", "correlation"),
            rows=[(part, *_probe_cells(probe)) for part, probe in watched],
        )
    for part, artifact in parts.items():
        if artifact.event:
            yield f"The {part}: {artifact.event}."


def _probe_cells(probe: Probe) -> tuple[str, ...]:
    rest = (f"{value:.3f}" for value in (probe.right, probe.spread, probe.likeness))
    return str(probe.step), f"{100 * probe.found:.1f}", *rest


def _artifact_cells(artifact: Artifact) -> tuple[str, ...]:
    losses = " ".join(f"{loss:.3f}" for loss in artifact.losses)
    return artifact.base_model, f"{artifact.seconds:,.1f}", losses or NONE


def circumstances(report: Report) -> Iterator[Block]:
    """Command, machine, time, memory and network."""
    known = (("command", report.command), ("made", report.created), ("Aloft", report.aloft))
    rows = [(name, value) for name, value in known if value]
    seed = report.config.get("seed")
    if seed is not None:
        rows.append(("seed", str(seed)))
    rows += [(f"machine: {key}", str(value)) for key, value in report.machine.items()]
    if report.funnel:
        seconds = sum(stage.seconds for stage in report.funnel)
        rows.append(("seconds in all", f"{seconds:,.1f} ({seconds / 60:,.1f} minutes)"))
    if report.peak_memory_megabytes is not None:
        rows.append(("peak memory", f"{report.peak_memory_megabytes:,} MB"))
    if report.connections_refused is not None:
        rows.append(("network", _connections(report.connections_refused)))
    if report.text_sent_to:
        rows.append(("text left this machine for", ", ".join(report.text_sent_to)))
    if rows:
        yield Table(caption="Circumstances.", header=("what", "value"), rows=rows)


def _connections(refused: Sequence[str]) -> str:
    if not refused:
        return "0 outbound connections were attempted"
    times = "connection was" if len(refused) == 1 else "connections were"
    hosts = ", ".join(dict.fromkeys(refused))
    return f"{len(refused)} outbound {times} attempted and refused: {hosts}"


def settings(report: Report) -> Iterator[Block]:
    """The whole configuration."""
    rows = list(_flat(report.config))
    if rows:
        yield Table(caption="The whole configuration.", header=("setting", "value"), rows=rows)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{above}{name}", ", ".join(map(str, value))
        else:
            yield f"{above}{name}", NONE if value is None else str(value)
