"""Answers questions from retrieved passages with what a bundle ships, with citations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aloft.backends.loading import Models
from aloft.prompts.citation import CitedAnswer, Quote, begins_answer
from aloft.prompts.formats import format_of
from aloft.protocols import stream_reply
from aloft.retrieval.retriever import Retriever, ScoredPassage
from aloft.serving.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer with the passages it cites, and those that the generator was shown.

    Attributes:
        text: The answer alone, without headings.
        cited: Passages that the answer cites, in the order of the citations.
        contexts: All passages in the prompt, in order.
        quotes: Verbatim quotes found in a passage of the prompt; ordinals count from 1.
        unverified_quotes: Number of quotes found in no passage of the prompt.
        is_abstaining: Whether the answer is that no passage holds one.
    """

    text: str
    cited: tuple[ScoredPassage, ...]
    contexts: tuple[ScoredPassage, ...]
    quotes: tuple[Quote, ...] = ()
    unverified_quotes: int = 0
    is_abstaining: bool = False


def place_of(quote: Quote, contexts: Sequence[ScoredPassage]) -> tuple[int, int]:
    """Characters (start, end) of a quote in its passage's text; the prompt also had the title."""
    passage = contexts[quote.ordinal - 1].passage
    before = len(passage.content) - len(passage.text)
    return max(0, quote.start - before), max(0, quote.end - before)


def ask(bundle: Bundle, retriever: Retriever, question: str, models: Models) -> Answer:
    """Retrieve, generate under the trained prompt, and resolve the citations to passages."""
    *_, answer = ask_streaming(bundle, retriever, question, models)
    return answer


def ask_streaming(
    bundle: Bundle, retriever: Retriever, question: str, models: Models
) -> Iterator[Answer]:
    """Like `ask`, while the answer is generated: each item extends the one before."""
    (contexts,) = retriever.retrieve([question])
    return answer_streaming(bundle, question, contexts, models)


def answer_streaming(
    bundle: Bundle, question: str, contexts: Sequence[ScoredPassage], models: Models
) -> Iterator[Answer]:
    """Like `ask_streaming`, from passages that were retrieved elsewhere, in their order."""
    adapter = Path(bundle.adapter) if bundle.adapter else None
    generator = models.language_model(bundle.generator, adapter)
    contents = [context.passage.content for context in contexts]
    form = format_of(bundle.format, abstains=bundle.abstains)
    prompt = form.render(question, contents)
    reply, limit = "", bundle.max_new_tokens
    for piece in stream_reply(generator, prompt, max_new_tokens=limit, stop=form.stop):
        reply += piece.text
        if not piece.is_piece or not form.cites or begins_answer(reply):
            yield _read_answer(form.parse(reply, contents), contexts)


def _read_answer(parsed: CitedAnswer, contexts: Sequence[ScoredPassage]) -> Answer:
    return Answer(
        text=parsed.answer,
        cited=tuple(contexts[ordinal - 1] for ordinal in parsed.ordinals),
        contexts=tuple(contexts),
        quotes=parsed.quotes,
        unverified_quotes=parsed.unverified_quotes,
        is_abstaining=parsed.is_abstaining,
    )
