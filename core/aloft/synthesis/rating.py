"""Turns passages and pairs into marks by the teacher, and marks into what is kept."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from aloft.config import PairsConfig, RatingsConfig
from aloft.errors import ModelError
from aloft.prompts import rating as prompts
from aloft.protocols import LanguageModel, Prompt, ScoringModel
from aloft.records import Passage, QAPair, Rating, Rejection

_DIGITS = tuple("0123456789")
_MAX_NEW_TOKENS = 20  # the paper's: the mark and nothing else


def rate_passages(
    passages: Sequence[Passage],
    teacher: LanguageModel,
    config: RatingsConfig,
    *,
    passage_first: bool = False,
) -> Iterator[Rating | Rejection]:
    """Yield one rating per passage, or the reason there is none.

    With "expect" the rating is the expected value over the digits 0 to 9, scaled to 0 to 10: single
    digits are single tokens in every tokenizer, and one forward pass replaces a generation. With
    `passage_first` the prompt begins with the passage, as the prompts of the pairs will, so that
    both read it once.

    Raises:
        ModelError: "expect" needs token probabilities, which this teacher does not return.

    Source: step 1 of ALoFTRAG (arXiv:2501.11929); the expected mark follows G-Eval
    (arXiv:2303.16634).
    """
    if config.method == "expect":
        if not isinstance(teacher, ScoringModel):
            raise ModelError(
                "This teacher does not return token probabilities. Set ratings.method to "
                '"generate".'
            )
        asked = [prompts.render_digit(p.content, passage_first=passage_first) for p in passages]
        values = teacher.choice_probabilities(asked, _DIGITS) @ np.arange(10) * (10 / 9)
        for passage, value in zip(passages, values, strict=True):
            yield Rating(subject_id=passage.id, criterion="passage", value=round(float(value), 4))
        return
    asked = [prompts.render("passage", p.content) for p in passages]
    for passage, mark in zip(passages, _read_ratings(asked, teacher), strict=True):
        if mark is None:
            yield Rejection(subject_id=passage.id, stage="ratings", reason="unreadable rating")
        else:
            yield Rating(subject_id=passage.id, criterion="passage", value=mark)


def rate_pairs(
    pairs: Sequence[tuple[QAPair, Passage]], teacher: LanguageModel, config: PairsConfig
) -> Iterator[QAPair | Rejection]:
    """Yield the pairs whose question and answer are both rated `config.min_rating` or higher.

    Source: step 3 of ALoFTRAG, which its own paper finds harmful; off by default.
    """
    questions = [prompts.render("question", p.content, question=q.question) for q, p in pairs]
    answers = [
        prompts.render("answer", p.content, question=q.question, answer=q.answer) for q, p in pairs
    ]
    marks = zip(_read_ratings(questions, teacher), _read_ratings(answers, teacher), strict=True)
    for (pair, _), (question, answer) in zip(pairs, marks, strict=True):
        if question is None or answer is None:
            yield Rejection(subject_id=pair.id, stage="pair_ratings", reason="unreadable rating")
        elif min(question, answer) < config.min_rating:
            yield Rejection(
                subject_id=pair.id,
                stage="pair_ratings",
                reason="rated too low",
                detail=f"question {question:g}, answer {answer:g}",
            )
        else:
            yield pair


def may_be_kept(outcome: Rating | Rejection, config: RatingsConfig) -> bool:
    """Whether a passage may be kept, before the ratings of all others are known."""
    return isinstance(outcome, Rating) and outcome.value >= (config.min_rating or 0)


def select_rated(
    ratings: Sequence[Rating], config: RatingsConfig
) -> tuple[list[Rating], list[Rejection]]:
    """Separate the ratings that are kept from those that are too low.

    Returns:
        Kept ratings in order, and a rejection for each other one. Equal ratings at the threshold of
        `drop_share` are all kept: no passage is dropped for its position in the corpus.
    """
    floor = -math.inf if config.min_rating is None else config.min_rating
    if config.drop_share and ratings:
        ranked = sorted(rating.value for rating in ratings)
        floor = max(floor, ranked[math.floor(config.drop_share * len(ranked))])
    kept = [rating for rating in ratings if rating.value >= floor]
    dropped = [
        Rejection(
            subject_id=rating.subject_id,
            stage="ratings",
            reason="rated too low",
            detail=f"{rating.value:g} < {floor:g}",
        )
        for rating in ratings
        if rating.value < floor
    ]
    return kept, dropped


def _read_ratings(asked: Sequence[Prompt], teacher: LanguageModel) -> list[float | None]:
    replies = teacher.complete(asked, max_new_tokens=_MAX_NEW_TOKENS, stop=("\n",))
    return [prompts.parse(reply.text) for reply in replies]
