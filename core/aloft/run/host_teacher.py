"""Remembers by which teacher of a host a run was written, for commands that have no host."""

import json
from collections.abc import Sequence
from pathlib import Path

from aloft.errors import ModelError
from aloft.files import read_json_object, write_text
from aloft.protocols import LanguageModel, Prompt, Reply

_FILE = Path("manifests") / "teacher.json"


class AbsentTeacher:
    """Stands for a teacher that is not here now.

    What the teacher wrote is found under its fingerprint. Asked for more, it says that it is gone.

    Args:
        fingerprint: The teacher's.
        complaint: What it says then, and what to do.
    """

    def __init__(self, fingerprint: str, complaint: str) -> None:
        self.fingerprint = fingerprint
        self._complaint = complaint

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Raise: there is nobody to reply.

        Raises:
            ModelError: always.
        """
        raise ModelError(self._complaint)


def remember_teacher(run: Path, teacher: LanguageModel | None) -> None:
    """Note the teacher that a host passed in; None: the run's configuration names it."""
    path = run / _FILE
    if teacher is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, json.dumps({"fingerprint": teacher.fingerprint}) + "\n")


def recall_teacher(run: Path) -> LanguageModel | None:
    """What stands for the host's teacher that a run was last worked on with; None: there was none.

    Raises:
        DataError: the note is damaged.
    """
    path = run / _FILE
    if not path.exists():
        return None
    repair = "Delete it, and do this step from the application."
    known = read_json_object(path, missing=f"{path} is missing.", repair=repair)
    complaint = (
        f"{run} was written by a teacher that an application passed in, and this step asks it "
        f"again. Do it from the application, or name a teacher: aloft run DOCS --out {run} "
        "--teacher MODEL."
    )
    return AbsentTeacher(str(known.get("fingerprint")), complaint)
