"""What a generator can still do that it was not trained for.

A generator that is trained on one task may forget others. Two cheap checks, before and after: the
perplexity of a few plain texts, and short instructions whose answers are known. The texts and
instructions were written for Aloft. They are too few to rank models, and enough to see a drop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloft.evaluation.answer_metrics import normalize
from aloft.protocols import Prompt, Reader
from aloft.records import Message

FOLLOWED = "instructions followed"
TEXTS = (  # a beginning as context, and the continuation whose likelihood is measured
    (
        "When the rain stopped, the children ran down to the harbour.",
        " The boats had come in early, and the fishermen were mending their nets on the wall. One "
        "of them waved and held up a crab, which was as large as his hand.",
    ),
    (
        "A lever is one of the oldest machines that people have made use of.",
        " It is a stiff bar that turns around a fixed point. The longer the arm that is pushed, "
        "the smaller the force that is needed to lift the same load.",
    ),
    (
        "The council met on Tuesday to talk about the new bus line.",
        " Several members said that it would cost too much, while others pointed out that many "
        "people in the villages have no car. The vote was put off until next month.",
    ),
    (
        "To make a simple soup, cut two onions and three carrots into small pieces.",
        " Fry them in a little oil until they are soft, then add a litre of water and some salt. "
        "Let it boil for twenty minutes and serve it hot with bread.",
    ),
    (
        "Plants take up water through their roots.",
        " It rises through narrow tubes in the stem to the leaves, where most of it evaporates. "
        "With the help of sunlight the leaves turn water and carbon dioxide into sugar and "
        "oxygen.",
    ),
    (
        "My grandmother learned to drive when she was sixty.",
        " Everybody told her that it was too late, but she passed the test at the first try. For "
        "the next twenty years she drove to the market every Saturday morning.",
    ),
    (
        "A prime number can be divided only by one and by itself.",
        " The first ones are two, three, five and seven. There is no largest prime number: "
        "whatever list of them is given, another one can always be found.",
    ),
    (
        "Dear neighbours, we will move in on the first of May.",
        " There may be some noise during the day, for which we apologise. If you would like to "
        "meet us, please come over for coffee on Sunday afternoon. We look forward to seeing "
        "you.",
    ),
)
INSTRUCTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (  # with the accepted answers
    ("What is the capital of France?", ("Paris",)),
    ("What is the capital of Japan?", ("Tokyo",)),
    ("What is 2 + 3? Reply with the number.", ("5", "five")),
    ("What is 10 minus 4? Reply with the number.", ("6", "six")),
    ("How many days does a week have?", ("7", "seven")),
    ("How many months does a year have?", ("12", "twelve")),
    ("What is the opposite of hot?", ("cold",)),
    ("What is the opposite of big?", ("small", "little", "tiny")),
    ("Which planet do people live on?", ("Earth",)),
    ("What colour do you get by mixing blue and yellow?", ("green",)),
    ("Which animal barks?", ("dog", "dogs")),
    ("Which animal gives us wool?", ("sheep", "lamb", "lambs")),
    ("Which day comes after Monday?", ("Tuesday",)),
    ("Which month comes after March?", ("April",)),
    ("Translate into English: bonjour", ("hello", "good day", "good morning")),
    ("Translate into Spanish: thank you", ("gracias",)),
    ("Write the plural of the word child.", ("children",)),
    ("Write the past tense of the verb go.", ("went",)),
    ("Repeat this word and write nothing else: banana", ("banana",)),
    ("Name the last letter of the alphabet.", ("Z",)),
    ("What do bees make?", ("honey",)),
    ("What is water called when it is frozen?", ("ice",)),
)
_PROMPTS = tuple(
    Prompt(messages=(Message(role="user", content=asked),)) for asked, _ in INSTRUCTIONS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingCheck:
    """What a generator can do beside its task.

    Attributes:
        perplexity: Of the plain texts; the less likely a model finds them, the higher.
        followed: (instructions,), 1 where the reply contains an accepted answer, else 0.
    """

    perplexity: float
    followed: NDArray[np.float64]


def measure_forgetting(
    reply: Callable[[Sequence[Prompt]], Sequence[str]], read: Reader
) -> ForgettingCheck:
    """Give a generator the instructions and let it read the texts.

    The perplexity is exp of minus the mean, over texts, of a text's mean log-likelihood per token:
    every text has the same weight.
    """
    prompts = [
        Prompt(messages=(Message(role="user", content=start),), is_plain=True) for start, _ in TEXTS
    ]
    likelihoods = read(prompts, [rest for _, rest in TEXTS])
    replies = reply(_PROMPTS)
    followed = [
        float(is_followed(said, answers))
        for said, (_, answers) in zip(replies, INSTRUCTIONS, strict=True)
    ]
    return ForgettingCheck(
        perplexity=float(np.exp(-np.mean(likelihoods))), followed=np.array(followed)
    )


def is_followed(reply: str, answers: Sequence[str]) -> bool:
    """Whether a reply contains an accepted answer, as whole words."""
    said = f" {normalize(reply)} "
    return any(f" {normalize(answer)} " in said for answer in answers)
