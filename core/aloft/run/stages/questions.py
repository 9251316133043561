"""Reads the user's own labelled questions and finds the passages that answer them."""

from collections.abc import Iterator

from aloft.questions.labelled import read_questions
from aloft.records import LabelledQuestion, Rejection
from aloft.run.context import Context, Inputs
from aloft.run.stage import Records, stage

FILE = "questions.jsonl"  # the run's own copy of what the user gave


@stage(
    name="questions",
    version=2,
    doing="reading questions",
    inputs=("documents", "passages"),
    files=(FILE,),
    output=Records(LabelledQuestion, "human.jsonl"),
)
def questions(context: Context, part: Inputs) -> Iterator[LabelledQuestion | Rejection]:
    """The labelled questions that fit the documents; none where the user gave none."""
    path = context.run / FILE
    if path.exists():
        yield from read_questions(
            path, part["documents"], part["passages"], part.rejections("passages")
        )
