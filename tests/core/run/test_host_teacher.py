"""A host's teacher is remembered by its fingerprint, and stands in the way only when asked."""

from pathlib import Path

import pytest

from aloft.errors import DataError, ModelError
from aloft.protocols import Message, Prompt
from aloft.run.host_teacher import recall_teacher, remember_teacher
from aloft.testing import ScriptedTeacher


def test_it_is_known_by_its_fingerprint_until_a_run_names_another(tmp_path: Path) -> None:
    assert recall_teacher(tmp_path) is None
    teacher = ScriptedTeacher(lambda _: "")
    remember_teacher(tmp_path, teacher)
    found = recall_teacher(tmp_path)
    assert found is not None
    assert found.fingerprint == teacher.fingerprint

    remember_teacher(tmp_path, None)
    assert recall_teacher(tmp_path) is None


def test_asked_again_it_says_who_can_answer(tmp_path: Path) -> None:
    remember_teacher(tmp_path, ScriptedTeacher(lambda _: ""))
    found = recall_teacher(tmp_path)
    assert found is not None
    with pytest.raises(ModelError, match="from the application, or name a teacher"):
        found.complete([Prompt(messages=(Message(role="user", content="Why?"),))], max_new_tokens=1)


def test_a_damaged_note_names_its_file(tmp_path: Path) -> None:
    remember_teacher(tmp_path, ScriptedTeacher(lambda _: ""))
    note = tmp_path / "manifests" / "teacher.json"
    note.write_text("[]")
    with pytest.raises(DataError, match=str(note)):
        recall_teacher(tmp_path)
