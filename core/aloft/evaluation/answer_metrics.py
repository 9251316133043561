"""Citation and answer metrics, a value per question."""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from aloft.prompts import answering
from aloft.prompts.citation import CitedAnswer
from aloft.protocols import Reader
from aloft.text.normalising import fold
from aloft.text.tokens import split_words

ABSTENTION = "abstention when missing"  # says so where the right passages are left out
UNANSWERABLE = "abstention when unanswerable"  # of the user's questions that nothing answers
ANSWERED = "answer when present"  # does not abstain where a right passage is shown
GUESSING = "citation by guessing"  # accuracy of citing as many passages at random
MISCITED = "right answer, wrong citation"
GROUNDED = "groundedness"
CITED_ANSWER = "cited answer"  # mean of citation precision and answer F1, of those that apply
NO_GAINS = (GUESSING, MISCITED)  # higher is not better
OF_CITATIONS = ("citation accuracy", "citation precision", "citation recall", MISCITED, GUESSING)
METRICS = (
    *OF_CITATIONS[:3],
    "answer exact match",
    "answer f1",
    "answer contained",
    MISCITED,
    GUESSING,
)
_OF_CITED_ANSWER = ("citation precision", "answer f1")
_GAIN = 0.5  # nats a token; 99 of 100 human questions of xquad_en gain it from their passage
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def measure_answer(
    reply: CitedAnswer, gold_ordinals: Sequence[int], answers: Sequence[str], shown: int
) -> dict[str, float]:
    """Measure one reply; every value lies in [0, 1].

    Args:
        reply: The citations and the answer.
        gold_ordinals: Ordinals of the right passages in the prompt, from 1; empty where none was
            retrieved, so that no citation can be right.
        answers: Acceptable answers; the best match counts. Empty: answer metrics are left out.
        shown: Number of passages in the prompt.

    Returns:
        Citation accuracy as in the paper (a right ordinal is among those cited), precision (share
        of cited ordinals that is right) and recall (share of right ordinals that is cited); the
        chance of being accurate by citing as many passages, but at least one, at random; exact
        match, token F1 and containment as in SQuAD, after the same normalisation; and whether the
        answer contains a gold answer although no right passage is cited.
    """
    cited, right = set(reply.ordinals), set(gold_ordinals)
    both = len(cited & right)
    measured = {
        "citation accuracy": float(both > 0),
        "citation precision": both / len(cited) if cited else 0.0,
        "citation recall": both / len(right) if right else 0.0,
        GUESSING: _by_guessing(max(1, len(cited)), len(right), shown),
    }
    if answers:
        given = normalize(reply.answer)
        wanted = [normalize(answer) for answer in answers]
        measured |= {
            "answer exact match": float(given in wanted),
            "answer f1": max(token_f1(given, answer) for answer in wanted),
            "answer contained": float(any(answer and answer in given for answer in wanted)),
        }
        measured[MISCITED] = measured["answer contained"] * (1 - measured["citation accuracy"])
    return measured


def cited_answer(values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """What a generator is judged by, from what was measured; (questions,), NaN where nothing was.

    Precision, so that a generator gains nothing by citing everything.
    """
    columns = [values[metric] for metric in _OF_CITED_ANSWER if metric in values]
    table = np.stack(columns)
    counts = (~np.isnan(table)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = np.nansum(table, axis=0) / counts
    return found


def measure_grounding(
    questions: Sequence[str],
    replies: Sequence[CitedAnswer],
    contents: Sequence[Sequence[str]],
    read: Reader,
) -> list[float]:
    """Whether each answer is supported by its citations, judged by likelihood, not shared words.

    An answer is supported where a model that was not trained on the task finds it likelier, by 0.5
    nats per token or more, with the cited passages than without any.

    Args:
        questions: The questions.
        replies: Their answers.
        contents: The passages shown with each question.
        read: Mean log-likelihoods of replies to prompts by the untuned model.

    Returns:
        1 or 0 per reply; 0 for an answer that cites nothing, NaN for one that abstains.
    """
    values = [math.nan if reply.is_abstaining else 0.0 for reply in replies]
    cited = [i for i, reply in enumerate(replies) if reply.ordinals and reply.answer]
    cited = [i for i in cited if not replies[i].is_abstaining]
    shown = [[contents[i][ordinal - 1] for ordinal in replies[i].ordinals] for i in cited]
    prompts = [answering.render(questions[i], some) for i, some in zip(cited, shown, strict=True)]
    prompts += [answering.render(questions[i]) for i in cited]
    if cited:
        likelihoods = read(prompts, [answering.reply_of(replies[i].answer) for i in cited] * 2)
        with_passages, without = likelihoods[: len(cited)], likelihoods[len(cited) :]
        for i, gain in zip(cited, with_passages - without, strict=True):
            values[i] = float(gain >= _GAIN)
    return values


def normalize(text: str) -> str:
    """Letter case, punctuation, English articles and white space aside, where words are left.

    Source: the SQuAD evaluation script, extended from ASCII's punctuation to Unicode's.
    """
    folded = fold(text).translate(_PUNCTUATION)
    folded = "".join(c for c in folded if not unicodedata.category(c).startswith("P"))
    words = " ".join(_ARTICLES.sub(" ", folded).split())
    return words or fold(text)  # of an answer such as "A" or "+" all stays


def _by_guessing(cited: int, right: int, shown: int) -> float:
    return 1 - comb(shown - right, cited) / comb(shown, cited) if cited <= shown else 0.0


def token_f1(given: str, wanted: str) -> float:
    """Harmonic mean of token precision and recall; character pairs in unspaced scripts."""
    mine, theirs = Counter(split_words(given)), Counter(split_words(wanted))
    shared = sum((mine & theirs).values())
    if not shared:
        return float(not mine and not theirs)
    precision, recall = shared / mine.total(), shared / theirs.total()
    return 2 * precision * recall / (precision + recall)
