"""The whole job behind one call, and what a finished run folder answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aloft.config import RunConfig, read_path
from aloft.errors import DataError
from aloft.evaluation.gate import Verdict
from aloft.evaluation.report import Report, read_report
from aloft.protocols import LanguageModel, Progress, no_progress
from aloft.records import Document
from aloft.run.executors.local import Executor
from aloft.run.job import open_run
from aloft.serving.bundle import ships
from aloft.terminal.progress import shown_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run comes to.

    Attributes:
        report: What was measured, and on what.
        folder: The run folder; `models/` in it holds what ships.
    """

    report: Report
    folder: Path

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Per trained part whether it is kept and why."""
        return self.report.verdicts


class Aloft:
    """Reads, synthesises, trains, evaluates and reports.

    Args:
        config: What to do; see `aloft.load_config` for presets.
        teacher: A language model of the host's; None: `config.teacher` is loaded.
        executor: Works out the partitions of stages; None: this process.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        teacher: LanguageModel | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.config = config
        self._teacher = teacher
        self._executor = executor

    def run(
        self,
        documents: Path | Sequence[Document],
        out: Path,
        *,
        questions: Path | None = None,
        progress: Progress = no_progress,
        overwrite: bool = False,
    ) -> Result:
        """Do the whole run, or what is missing of it.

        Args:
            documents: A folder or file, or documents that are read already.
            out: The run folder; created, or resumed.
            questions: The user's own labelled questions, reported apart.
            progress: Called with what is being done, how much of it is done, and of how much.
            overwrite: Whether a run on other documents may be replaced.

        Raises:
            AloftError: something that the user can put right, in one line.
        """
        with open_run(out, self.config, self._teacher, progress, self._executor) as run:
            run.give(documents, questions, overwrite=overwrite)
            return Result(report=run.report(), folder=out)


class HostedRun:
    """A run on documents that a host holds, with the methods that fine-tuning engines have.

    Args:
        documents: What to tune on.
        out: The run folder; a second instance on the same folder resumes.
        config: What to do.
        teacher: A language model of the host's; None: the configured one.
        questions: A file of the user's own labelled questions, which then decide what is kept.
        show_progress: Whether `finetune` shows how far it is: bars on a terminal, lines anywhere
            else.
        overwrite: Whether a run on other documents in that folder may be replaced.

    Raises:
        ConfigError: `out` or `questions` is no path, or an empty one.
    """

    def __init__(  # noqa: PLR0913 - what both hosts let choose
        self,
        documents: Sequence[Document],
        out: str | Path,
        config: RunConfig,
        teacher: LanguageModel | None,
        questions: str | Path | None,
        *,
        show_progress: bool,
        overwrite: bool,
    ) -> None:
        # as files are read: what a loader or a store lists in another order is the same corpus
        self.documents = sorted(documents, key=lambda document: document.id)
        self.out = read_path("out", out)
        self.config = config.with_absolute_paths()
        self._teacher = teacher
        self._questions = None if questions is None else read_path("questions", questions)
        self._show_progress = show_progress
        self._overwrite = overwrite

    def finetune(self, progress: Progress | None = None) -> None:
        """Do the whole run, or what is missing of it.

        Args:
            progress: Called with what is being done, how much of it is done, and of how much, in
                place of what is shown.

        Raises:
            AloftError: something that the user can put right, in one line.
        """
        job = Aloft(self.config, teacher=self._teacher)
        with shown_progress(self._show_progress and progress is None) as shown:
            job.run(
                self.documents,
                self.out,
                questions=self._questions,
                progress=progress or shown,
                overwrite=self._overwrite,
            )

    @property
    def shipped(self) -> Path:
        """The run folder, once it holds what ships.

        Raises:
            DataError: `finetune` has not finished.
        """
        if not ships(self.out):
            raise DataError(f"{self.out} holds no finished run. Call finetune() first.")
        return self.out

    @property
    def report(self) -> Report:
        """The finished run's figures.

        Raises:
            DataError: `finetune` has not finished.
        """
        return read_report(self.shipped)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Per trained part whether it is kept and why.

        Raises:
            DataError: `finetune` has not finished.
        """
        return self.report.verdicts
