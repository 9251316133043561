"""What a generator can do beside its task, measured by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from aloft.evaluation.forgetting import is_followed, measure_forgetting
from aloft.protocols import Prompt


@pytest.mark.parametrize(
    ("reply", "answers", "expected"),
    [
        ("The capital of France is Paris.", ("Paris",), True),
        ("PARIS", ("Paris",), True),
        ("Parisian cafés", ("Paris",), False),
        ("2 + 3 = 5.", ("5", "five"), True),
        ("It is five", ("5", "five"), True),
        ("55", ("5", "five"), False),
        ("Good day!", ("hello", "good day"), True),
        ("", ("ice",), False),
    ],
)
def test_an_instruction_is_followed_where_a_right_answer_is_said(
    reply: str, answers: Sequence[str], expected: bool
) -> None:
    assert is_followed(reply, answers) is expected


def test_each_text_counts_alike_in_the_perplexity() -> None:
    texts: list[tuple[str, str]] = []

    def read(prompts: Sequence[Prompt], replies: Sequence[str]) -> np.ndarray:
        texts.extend((p.messages[0].content, r) for p, r in zip(prompts, replies, strict=True))
        assert all(prompt.is_plain for prompt in prompts)
        return np.array([-1.0, *[-3.0] * (len(prompts) - 1)], np.float32)

    def reply(prompts: Sequence[Prompt]) -> list[str]:
        assert not any(prompt.is_plain or prompt.pattern for prompt in prompts)
        return ["Tokyo and Paris", "Tokyo and Paris", *["?"] * (len(prompts) - 2)]

    measured = measure_forgetting(reply, read)
    assert measured.perplexity == pytest.approx(np.exp(3 - 2 / len(texts)))
    assert measured.followed.tolist() == [1, 1, *[0] * (len(measured.followed) - 2)]
    assert all(start.endswith(".") and rest.startswith(" ") for start, rest in texts)
