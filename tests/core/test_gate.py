"""Every way a part can be kept or refused, and that the reason can be read."""

from dataclasses import replace

import pytest

from aloft.config import Part
from aloft.evaluation.bootstrap import Comparison
from aloft.evaluation.gate import METRICS, Verdict, describe, judge_part


def gain(low: float | None, gained: float, high: float | None, n: int = 60) -> Comparison:
    values = {"before": 0.5, "after": 0.5 + gained, "gain": gained, "low": low, "high": high}
    return Comparison(metric="ndcg@10", n=n, clusters=1 if low is None else 12, **values)


def judged(
    human: Comparison,
    synthetic: Comparison,
    deciding: str = "human",
    part: Part = "embedder",
) -> Verdict:
    return judge_part(part, {"human": human, "synthetic": synthetic}, deciding)


CLEAR = gain(0.05, 0.1, 0.15)
NONE = gain(0, 0, 0)
HARM = gain(-0.15, -0.1, -0.05)


def test_a_gain_whose_interval_excludes_harm_is_kept() -> None:
    verdict = judged(CLEAR, NONE)

    assert verdict.is_kept
    assert (verdict.part, verdict.question_set) == ("embedder", "human")
    assert verdict.comparison is CLEAR
    assert verdict.reason == (
        "the 95 % interval excludes a loss on the human questions: "
        "nDCG@10 50.0 -> 60.0 (+10.0 [+5.0, +15.0], n = 60, 12 documents)"
    )


@pytest.mark.parametrize("part", ["embedder", "reranker", "generator"])
@pytest.mark.parametrize(
    ("deciding", "is_kept", "said"),
    [
        (gain(0, 0.1, 0.2), True, "excludes a loss"),  # the interval may touch zero
        (gain(0.1, 0.1, 0.1, n=1), True, "excludes a loss"),
        (NONE, False, "no gain on the human"),  # nothing changed
        (gain(-0.1, 0, 0.1), False, "no gain on the human"),
        (gain(-0.2, -0.1, 0.1), False, "no gain on the human"),
        (HARM, False, "no gain on the human"),
        (gain(None, 0, None), False, "no gain on the human"),
        (gain(None, -0.1, None), False, "no gain on the human"),
    ],
)
def test_the_deciding_questions(part: Part, deciding: Comparison, is_kept: bool, said: str) -> None:
    verdict = judged(deciding, CLEAR, part=part)

    assert verdict.is_kept is is_kept
    assert said in verdict.reason


UNSURE = [gain(-0.001, 0.1, 0.2), gain(-0.3, 0.1, 0.5, n=3)]  # the second on too few to tell


@pytest.mark.parametrize("unsure", UNSURE)
@pytest.mark.parametrize("part", ["embedder", "reranker"])
def test_a_part_that_is_blended_needs_a_gain_and_no_interval_above_zero(
    part: Part, unsure: Comparison
) -> None:
    verdict = judged(unsure, NONE, part=part)

    assert verdict.is_kept
    assert verdict.reason.startswith(
        "a gain on the human questions, whose 95 % interval includes a loss: nDCG@10 50.0 -> 60.0"
    )
    assert judged(gain(None, 0.1, None), NONE, part=part).is_kept  # all are about one document


@pytest.mark.parametrize("unsure", UNSURE)
@pytest.mark.parametrize("part", ["embedder", "reranker"])
def test_on_synthetic_questions_a_part_must_gain_beyond_doubt(
    part: Part, unsure: Comparison
) -> None:
    verdict = judged(NONE, unsure, "synthetic", part)
    assert not verdict.is_kept
    assert verdict.reason.startswith("the 95 % interval includes a loss on the synthetic questions")
    assert judged(NONE, CLEAR, "synthetic", part).is_kept
    assert not judged(NONE, gain(None, 0.1, None), "synthetic", part).is_kept


@pytest.mark.parametrize(
    ("alone", "stack", "is_kept", "said"),
    [
        (CLEAR, UNSURE[0], True, "a gain on the synthetic questions, whose 95 % interval includes"),
        (CLEAR, CLEAR, True, "the 95 % interval excludes a loss on the synthetic questions: "),
        (gain(0, 0.1, 0.2), UNSURE[0], True, "a gain on the synthetic"),
        (gain(-0.001, 0.1, 0.2), CLEAR, False, "the 95 % interval by itself includes a loss on"),
        (gain(None, 0.1, None), CLEAR, False, "no interval: all synthetic questions are about one"),
        (CLEAR, NONE, False, "no gain on the synthetic questions"),
        (CLEAR, gain(-0.2, -0.1, 0.1), True, "the 95 % interval includes a gain on the synthetic"),
        (CLEAR, gain(-0.2, -0.1, -0.01), False, "no gain on the synthetic questions"),
        (CLEAR, HARM, False, "no gain on the synthetic questions"),
        (CLEAR, gain(None, -0.1, None), False, "no gain on the synthetic questions"),
        (UNSURE[0], gain(-0.2, -0.1, 0.1), False, "the 95 % interval by itself includes a loss on"),
        (HARM, CLEAR, False, "the 95 % interval by itself includes a loss"),
    ],
)
def test_there_an_embedder_gains_by_itself_beyond_doubt_and_the_stack_is_not_clearly_worse(
    alone: Comparison, stack: Comparison, is_kept: bool, said: str
) -> None:
    verdict = judge_part("embedder", {"synthetic": stack, "human": NONE}, "synthetic", alone)
    assert (verdict.is_kept, verdict.comparison) == (is_kept, stack)
    assert verdict.reason.startswith(said)
    assert verdict.reason.endswith(f"; by itself {describe(alone)}")

    vetoed = judge_part("embedder", {"synthetic": stack, "human": HARM}, "synthetic", alone)
    assert not vetoed.is_kept
    # people's questions tell by the stack
    human = judge_part("embedder", {"human": UNSURE[0]}, "human", HARM)
    assert human.is_kept and "itself" not in human.reason


@pytest.mark.parametrize("unsure", UNSURE)
def test_a_generator_needs_an_interval_that_excludes_a_loss(unsure: Comparison) -> None:
    verdict = judged(unsure, CLEAR, part="generator")
    assert not verdict.is_kept
    assert verdict.reason.startswith("the 95 % interval includes a loss on the human questions: ")

    verdict = judged(gain(None, 0.1, None), CLEAR, part="generator")
    assert not verdict.is_kept
    assert verdict.reason.startswith("no interval: all human questions are about one document: ")


@pytest.mark.parametrize("part", ["embedder", "reranker", "generator"])
@pytest.mark.parametrize(
    ("other", "is_kept"),
    [
        (NONE, True),
        (gain(-0.2, -0.1, 0), True),  # a loss that may be chance
        (gain(None, -0.1, None), True),  # so may one without an interval
        (gain(-0.2, -0.1, -0.001), False),
        (HARM, False),
    ],
)
def test_a_significant_loss_on_the_other_questions_refuses_a_part(
    part: Part, other: Comparison, is_kept: bool
) -> None:
    verdict = judged(CLEAR, other, part=part)

    assert verdict.is_kept is is_kept
    if not is_kept:
        # the figures are those of the deciding set, on which the part did well
        assert verdict.reason == (
            "significantly worse on the synthetic questions: "
            "nDCG@10 50.0 -> 60.0 (+10.0 [+5.0, +15.0], n = 60, 12 documents)"
        )


@pytest.mark.parametrize("unsure", UNSURE)
def test_a_gain_that_may_be_chance_is_outweighed_by_a_significant_loss(unsure: Comparison) -> None:
    verdict = judged(unsure, HARM)
    assert not verdict.is_kept
    assert verdict.reason.startswith("significantly worse on the synthetic questions: ")


def test_a_gain_on_the_other_questions_saves_no_part() -> None:
    assert not judged(NONE, CLEAR).is_kept
    assert not judged(gain(-0.2, -0.01, 0.2), CLEAR).is_kept
    assert not judged(gain(-0.01, 0.1, 0.2), CLEAR, part="generator").is_kept


def test_either_set_may_decide_and_one_alone_is_enough() -> None:
    verdict = judged(HARM, CLEAR, deciding="synthetic")
    assert (verdict.is_kept, verdict.question_set) == (False, "synthetic")
    assert verdict.reason.startswith("significantly worse on the human questions")

    assert judged(NONE, CLEAR, deciding="synthetic").is_kept
    assert judge_part("reranker", {"synthetic": CLEAR}, "synthetic").is_kept


def test_answers_of_a_much_smaller_teacher_do_not_keep_a_generator() -> None:
    def judge(deciding: str, synthetic: Comparison = CLEAR) -> Verdict:
        sets = {"human": CLEAR, "synthetic": synthetic}
        return judge_part("generator", sets, deciding, outgrows_teacher=True)

    refused = judge("synthetic")
    assert not refused.is_kept
    assert refused.reason.startswith("the synthetic questions have the answers of a teacher that")
    assert judge("synthetic", HARM).reason.startswith("no gain on the synthetic questions")
    assert judge("human").is_kept


def test_figures_are_told_in_percent_with_signs() -> None:
    some = Comparison(
        metric="hit@1",
        before=0.12345,
        after=0.1,
        gain=-0.02345,
        low=-0.05,
        high=0.004,
        n=7,
        clusters=3,
    )
    assert describe(some) == "12.3 -> 10.0 (-2.3 [-5.0, +0.4], n = 7, 3 documents)"
    without = replace(some, low=None, high=None, clusters=1)
    assert describe(without) == "12.3 -> 10.0 (-2.3, n = 7, 1 document)"


def test_every_part_is_judged_by_one_metric() -> None:
    assert METRICS == {
        "embedder": "ndcg@10",
        "reranker": "ndcg@10",
        "generator": "cited answer",
    }


@pytest.mark.parametrize(
    ("part", "metric"), [("generator", "cited answer"), ("embedder", "nDCG@10")]
)
def test_a_part_that_cannot_be_judged_on_the_deciding_questions_is_refused(
    part: Part, metric: str
) -> None:
    for others in ({}, {"synthetic": CLEAR}):
        verdict = judge_part(part, others, "human")
        assert (verdict.is_kept, verdict.comparison) == (False, None)
        assert verdict.reason == (
            f"it cannot be judged: {metric} is undefined on all human questions"
        )
