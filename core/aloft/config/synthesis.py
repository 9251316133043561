"""Settings of rating passages, of writing question-answer pairs and of filtering them."""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field

from aloft.config.base import Count, Settings, Share, Text, Tokens

Kind = Literal["fact", "definition", "how", "why", "comparison", "numeric"]
Filter = Literal[
    "language",
    "self_contained",
    "leak",
    "support",
    "round_trip",
    "duplicate",
    "needs_all",
    "dependency",
]
FILTERS: tuple[Filter, ...] = get_args(Filter)
MAX_STYLE_QUESTIONS = 12  # more only lengthen every prompt
Mark = Annotated[float, Field(ge=0, le=10)]
Gain = Annotated[float, Field(ge=-100, le=100)]


class RatingsConfig(Settings):
    """Which passages are worth asking about (step 1 of ALoFTRAG).

    Attributes:
        method: "generate" lets the teacher write the rating, as the paper does; "expect" takes the
            expected value over the probabilities of the digits, from one forward pass; "none"
            keeps every passage.
        min_rating: Lowest rating kept, from 0 to 10; the paper's 8. None: no fixed threshold.
        drop_share: Share of passages with the lowest ratings that is dropped. Small models order
            passages better than they place them on a scale. The paper drops 6.9 % on average.
    """

    method: Literal["generate", "expect", "none"] = "expect"
    min_rating: Mark | None = None
    drop_share: Annotated[float, Field(ge=0, lt=1)] = 0.07


class PairsConfig(Settings):
    """How questions and answers are written (steps 2 and 3 of ALoFTRAG).

    Attributes:
        form: "instruct" asks about the whole passage, which stands first in the prompt so that it
            is read once and cached; "paper" is ALoFTRAG's own prompt; "examples" shows a few worked
            examples and one focus span of the passage, for models too small to follow instructions.
        per_passage: Pairs requested per passage, up to 8. None: one per 400 letters, where a
            Chinese, Japanese or Korean character counts as three. With "paper" it must be 1.
        kinds: With "instruct", the kinds of question and their shares. A passage gets each kind at
            most once, and a numeric question only where it contains a digit.
        multi_hop: Multi-hop pairs composed for each other pair, at most: a name in a question gives
            way to its definition in another passage, so that it takes both. One question about each
            passage that mentions such a name is asked about it. In English alone. 0: none.
        style: With "instruct", up to 12 real questions whose form and tone are imitated.
        max_passages: Passages asked about, drawn at random with the run's seed. None: all.
        max_new_tokens: Longest reply. Truncated replies are continued up to three times, by models
            that can continue, and then rejected. With "paper" they are rejected at once.
        language: English name of the language to write in; "auto": that of the passage. Filters
            drop questions in another one than their passage's.
        rating: Whether the teacher rates its own pairs (step 3). Off: the paper found that it
            lowers citation accuracy from 82.9 to 77.7.
        min_rating: With `rating`, the lowest rating of question and of answer kept, from 0 to 10.
    """

    form: Literal["instruct", "paper", "examples"] = "instruct"
    per_passage: Annotated[int, Field(ge=1, le=8)] | None = None
    kinds: dict[Kind, Annotated[float, Field(ge=0, le=1_000_000)]] = Field(
        default={
            "fact": 3.0,
            "definition": 1.0,
            "how": 1.0,
            "why": 1.0,
            "comparison": 1.0,
            "numeric": 1.0,
        }
    )
    multi_hop: Annotated[float, Field(ge=0, le=1)] = 0.25
    style: Annotated[tuple[Text, ...], Field(max_length=MAX_STYLE_QUESTIONS)] = ()
    max_passages: Count | None = None
    max_new_tokens: Tokens = 512
    language: Text = "auto"
    rating: bool = False
    min_rating: Mark = 8.0

    def contradictions(self) -> Iterator[str]:
        """Forms that cannot do what other settings ask for."""
        if self.form == "paper" and self.per_passage != 1:
            yield (
                f'per_passage is {self.per_passage}, but form "paper" writes one pair a passage. '
                'Set per_passage to 1 or form to "instruct".'
            )
        if self.style and self.form != "instruct":
            yield (
                f'style is set, but form "{self.form}" has no room for it. Set form to "instruct", '
                "which needs a teacher of half a billion parameters or more."
            )
        if not any(self.kinds.values()):
            yield "kinds has no share above 0. Set the share of at least one kind of question."


class FiltersConfig(Settings):
    """Which pairs are worth training on, by evidence.

    Attributes:
        use: The filters that are on, in the order of `aloft.synthesis.filters`; each sees the pairs
            that those before it kept.
        support: Lowest share of the answer's words that occur in the passage.
        round_trip_depth: Ranks of BM25 and of the embedder in which a question must find its
            passage.
        similarity: Jaccard similarity of words from which a question counts as a copy of an
            earlier one.
        gain: For `dependency`: lowest gain, in nats per token, of the answer's mean log-likelihood
            by the teacher from seeing the passage. Of 100 human questions of xquad_en 99 gain 0.5
            or more from their passage, and 38 from a neighbouring passage (a 0.5B model).
        multi_hop_gain: For `needs_all`: the same, of question and answer together, from each of the
            passages that a multi-hop question needs. Of 20 human questions of hotpotqa_en 13 gain
            0.2 or more from both of theirs, and 1 where a neighbour stands for one of the two (a
            135M model).
    """

    use: tuple[Filter, ...] = FILTERS[:-1]
    support: Share = 0.5
    round_trip_depth: Count = 10
    similarity: Share = 0.8
    gain: Gain = 0.5
    multi_hop_gain: Gain = 0.2

    def contradictions(self) -> Iterator[str]:
        """A filter that is listed twice."""
        if len(set(self.use)) < len(self.use):
            yield f"use lists a filter twice: {', '.join(self.use)}. List each once."
