"""report.json: written and read back exactly, of this format and of earlier ones."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_pages import full_report, measurements, reranked_report

from aloft.errors import DataError
from aloft.evaluation.pages import render_html, render_markdown, write_report
from aloft.evaluation.report import (
    AnswerRow,
    Indexing,
    PreviousRunFacts,
    QuestionCounts,
    Report,
    dump,
    from_json,
    funnel_row,
    read_report,
    to_json,
)
from aloft.evaluation.systems import SystemVariant
from aloft.retrieval.fusion import CoverageShare

EARLIER = sorted((Path(__file__).parents[1] / "fixtures").glob("format-*/**/report.json"))


def whole_report() -> Report:
    """With every field set."""
    return replace(
        full_report(),
        indexing=Indexing(texts=3, seconds=0.1, is_kept=True),
        previous_run=PreviousRunFacts(
            run="one", passages=3, new_passages=1, new_pairs=2, replayed_pairs=0
        ),
        connections_refused=("a.example",),
        text_sent_to=("b.example",),
    )


@pytest.mark.parametrize("report", [Report(), full_report(), whole_report()])
def test_it_is_read_back_as_it_was_written(report: Report, tmp_path: Path) -> None:
    assert from_json(to_json(report)) == report
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    assert to_json(read_report(tmp_path)) == to_json(report)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "report.html"}


def test_people_find_what_was_measured_beside_the_facts() -> None:
    values = json.loads(dump(full_report()))
    assert values["format"] == 3
    assert values["deciding"] == "human"
    counts = {"questions": 60, "documents": 12, "is_crossed": True, "are_sections": False}
    assert values["questions"]["human"] == counts
    assert values["comparisons"][0]["part"] == "what ships"
    assert values["verdicts"][0]["comparison"]["metric"] == "ndcg@10"
    assert values["shipped"] == values["variants"][0]
    assert values["shipped"]["parts"] == ["embedder", "generator"]
    assert values["shipped"]["dense_share"] == {"uncovered": 1.1, "covered": 0.3}
    assert [variant["order_weight"] for variant in values["variants"]] == [4.0, 4.0]
    assert not any("score" in variant for variant in values["variants"])
    assert (
        values["retrieval"][3]["dense_share"],
        values["shipped"]["rerank_share"]["covered"],
    ) == (0.55, 0.6)
    assert values["funnel"][1]["teacher"]["pairs"]["calls"] == 3100


def format_2(report: Report) -> dict[str, Any]:
    """What a run's report was while some questions chose, and the others were reported."""
    values = json.loads(dump(report))
    values["format"] = 2
    values["questions"] = {
        name: {
            "validation": 25,
            "test": one["questions"],
            "documents": one["documents"],
            "is_parted": one["is_crossed"],
        }
        for name, one in values["questions"].items()
    }
    for variant in values["variants"]:
        variant["score"] = 0.5
        del variant["order_weight"]
    return values


def unweighted(variants: Sequence[SystemVariant]) -> tuple[SystemVariant, ...]:
    """What becomes of variants that `format_2` has rewritten: generators cited by themselves."""
    return tuple(replace(one, order_weight=None) for one in variants)


def test_reports_of_format_2_are_read_with_the_questions_that_were_reported() -> None:
    report = whole_report()
    whole = QuestionCounts(questions=300, documents=2, is_crossed=False)
    counts = {**report.measured.questions, "synthetic": whole}
    report = replace(report, measured=replace(report.measured, questions=counts))
    written = format_2(report)
    variants = unweighted(report.measured.variants)
    report = replace(report, measured=replace(report.measured, variants=variants))
    assert written["questions"]["synthetic"] == {
        "validation": 25,
        "test": 300,
        "documents": 2,
        "is_parted": False,
    }
    read = from_json(written)
    assert read.measured.questions == counts
    assert read == report
    assert render_markdown(read) == render_markdown(report)
    assert render_html(read) == render_html(report)


def test_a_report_of_format_2_without_questions_is_read() -> None:
    read = from_json({"format": 2, "deciding": "human"})
    assert (read.measured.questions, read.measured.deciding) == ({}, "human")


def format_1(report: Report) -> dict[str, Any]:
    """What a run's report was while a hybrid had one share, and a reranker the whole say."""
    values = format_2(report)
    values["format"] = 1
    for row in values["retrieval"]:
        row["weight"] = row.pop("dense_share")
        del row["rerank_share"]
    for variant in values["variants"]:
        variant["weight"] = variant.pop("dense_share")["covered"]
        del variant["rerank_share"]
    for stage in values["funnel"]:
        stage["mended"] = stage.pop("repaired")
    return values


def migrated(variants: Sequence[SystemVariant]) -> tuple[SystemVariant, ...]:
    """What becomes of variants that `format_1` has rewritten."""
    share = CoverageShare.constant(0.3)
    return tuple(
        replace(one, dense_share=share, rerank_share=CoverageShare.constant(1.0))
        for one in unweighted(variants)
    )


def test_reports_of_format_1_are_read_with_one_share_and_a_rerankers_order_alone() -> None:
    report = reranked_report()
    read = from_json(format_1(report))

    known, measured = report.measured, read.measured
    assert measured.variants[1:] == migrated(known.variants[1:])
    assert measured.variants[0].dense_share == CoverageShare.constant(0.35)
    assert [row.dense_share for row in measured.retrieval] == [0.55, 0.55]
    assert [row.rerank_share for row in measured.retrieval] == [None, 1.0]
    retrieval = tuple(
        replace(row, rerank_share=was.rerank_share)
        for row, was in zip(measured.retrieval, known.retrieval, strict=True)
    )
    same = replace(measured, variants=known.variants, retrieval=retrieval)
    assert replace(read, measured=same) == report
    assert from_json(to_json(read)) == read
    text = render_markdown(read)
    assert "| **hybrid** | **base** | **0.55** | **base** | **1.00** |" in text
    assert "(dense share 0.35), reranked by the base reranker (share 1.00)" in text


def earlier_report() -> dict[str, Any]:
    """What the same run's report was before it had a format."""
    values = format_1(whole_report())
    del values["format"]
    values["questions"] = {"human": 60, "synthetic": 300}
    values["stacks"], values["ability"] = values.pop("variants"), values.pop("forgetting")
    values["earlier"] = values.pop("previous_run")
    for row in values["answers"]:
        row["generator"] += f", {row.pop('questions')}"
        row["weight"] = None
    comparisons = [
        *values["comparisons"],
        *(verdict["comparison"] for verdict in values["verdicts"]),
        values["ability"]["instructions"],
    ]
    for comparison in comparisons:
        del comparison["clusters"]
    for stage in values["funnel"]:
        for name in ("teacher", "rows", "mended", "pairs_an_hour"):
            if not stage[name]:
                del stage[name]
    return values


def test_reports_from_before_there_were_formats_are_read() -> None:
    read = from_json(earlier_report())

    assert read.measured.questions["human"] == QuestionCounts(
        questions=60, documents=None, is_crossed=False
    )
    assert read.measured.answers[0] == AnswerRow(
        question_set="human",
        generator="base",
        questions="all",
        n=50,
        metrics=measurements().answers[0].metrics,
    )
    # each question was resampled by itself
    assert all(row.clusters == row.n for row in read.measured.comparisons)
    assert [v.comparison.clusters for v in read.verdicts if v.comparison] == [60, 60, 50]
    assert read.measured.variants == migrated(measurements().variants)
    assert read.measured.retrieval == measurements().retrieval
    assert read.previous_run == whole_report().previous_run
    assert read.funnel == whole_report().funnel
    assert read.parts == whole_report().parts
    assert from_json(to_json(read)) == read
    assert "Choices were made on the questions that are reported" in render_html(read)


def test_a_report_of_a_run_that_measured_little_is_read_from_before_formats() -> None:
    values = {"aloft": "0.1.0", "questions": {"synthetic": 3}, "deciding": "synthetic"}
    read = from_json({**values, "ability": None, "earlier": None, "stacks": [], "shipped": None})
    assert (read.aloft, read.measured.deciding, read.shipped) == ("0.1.0", "synthetic", None)


@pytest.mark.skipif(not EARLIER, reason="no run folder of an earlier format is in the tree")
@pytest.mark.parametrize("file", EARLIER, ids=lambda file: file.parent.name)
def test_run_folders_of_earlier_formats_keep_their_report(file: Path) -> None:
    read = read_report(file.parent)
    assert read.verdicts and read.shipped and read.funnel and read.measured.retrieval
    assert from_json(to_json(read)) == read
    assert "</html>" in render_html(read)


def test_fields_of_a_later_minor_version_are_ignored() -> None:
    values = to_json(full_report())
    values["weather"] = "fine"
    values["funnel"][0]["weather"] = values["verdicts"][0]["weather"] = "fine"
    assert from_json(values) == full_report()


@pytest.mark.parametrize("written_as", [4, "3"])
def test_a_later_format_is_refused_in_one_line(written_as: Any) -> None:
    said = f"report.json has format {written_as}, but this version of Aloft reads formats up to 3"
    with pytest.raises(DataError, match=said):
        from_json({**to_json(full_report()), "format": written_as})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged"),
        ("[]", "holds no JSON object"),
        ('{"format": 1, "funnel": [{"stage": "pairs"}]}', "funnel.0.kept: Field required"),
        ('{"format": 1, "retrieval": [{"reranker": "none"}]}', "is damaged: KeyError..weight"),
        ('{"format": 1, "variants": 3}', "is damaged"),
        ('{"format": 2, "questions": {"human": {"validation": 3}}}', "is damaged: KeyError..test"),
        ('{"questions": 3}', "is damaged"),
        ('{"comparisons": [{"metric": "hit@1"}]}', "is damaged"),
    ],
)
def test_a_damaged_report_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said) as caught:
        read_report(tmp_path)
    assert "aloft evaluate" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_without_a_report_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no report yet\. Finish it: aloft evaluate"):
        read_report(tmp_path)


def test_a_manifest_becomes_a_row() -> None:
    manifest = {"stage": "pairs", "recipe": "x", "kept": 2, "dropped": {"cut": 1}, "seconds": 1}
    row = funnel_row("pairs", manifest)
    assert (row.stage, row.kept, row.dropped, row.seconds, row.rows) == (
        *("pairs", 2, {"cut": 1}, 1.0),
        None,
    )
