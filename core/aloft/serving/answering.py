"""Answers questions from retrieved passages with what a bundle ships, with citations."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from aloft.backends.call_options import check_read
from aloft.backends.loading import Models
from aloft.config import SERVER, server_names
from aloft.config.loading import read_run_config
from aloft.errors import ProbabilitiesError
from aloft.network_guard import guarded_steps, hosts_of
from aloft.prompts.abstention import abstain_in, is_abstention
from aloft.prompts.citation import CitedAnswer, Quote, begins_answer, go_on_from
from aloft.prompts.formats import format_of
from aloft.protocols import (
    LanguageModel,
    Progress,
    Prompt,
    Reply,
    ScoringModel,
    no_progress,
    stream_reply,
)
from aloft.retrieval.citing import cited, named, read_choices
from aloft.retrieval.retriever import Retriever, ScoredPassage
from aloft.serving.bundle import Bundle, open_run_retriever, rate_passages, read_bundle
from aloft.text.language import language_of


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
        reply: What the generator replied so far, its counts with the last; None where it was not
            asked.
    """

    text: str
    cited: tuple[ScoredPassage, ...]
    contexts: tuple[ScoredPassage, ...]
    quotes: tuple[Quote, ...] = ()
    unverified_quotes: int = 0
    is_abstaining: bool = False
    reply: Reply | None = field(default=None, compare=False)


def place_of(quote: Quote, contexts: Sequence[ScoredPassage]) -> tuple[int, int]:
    """Characters (start, end) of a quote in its passage's text.

    The prompt also had what stands around the text, such as its title: of a quote of that nothing
    is left.
    """
    passage = contexts[quote.ordinal - 1].passage
    before, last = len(passage.read_in[0]), len(passage.text)
    start, end = (min(max(0, place - before), last) for place in (quote.start, quote.end))
    return start, end


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
    bundle: Bundle,
    question: str,
    contexts: Sequence[ScoredPassage],
    models: Models,
    *,
    in_pieces: bool = True,
) -> Iterator[Answer]:
    """Like `ask_streaming`, from passages that were retrieved elsewhere, in their order.

    Without passages no model is asked: the answer is that the documents do not hold one.

    Args:
        bundle: What to answer with.
        question: One text.
        contexts: The passages.
        models: Where the generator is loaded from.
        in_pieces: Whether the answer grows as it is generated. Otherwise there is the whole alone,
            and shared models generate it together with others that are asked for meanwhile.

    Raises:
        PromptTooLongError: question and passages exceed the generator's context window.
    """
    if not contexts:
        yield _abstain(question, ())
        return
    adapter = Path(bundle.adapter) if bundle.adapter else None
    generator = models.language_model(bundle.generator, adapter)
    contents = [context.passage.content for context in contexts]
    form = format_of(bundle.format, abstains=bundle.abstains)
    prompt = answer_prompt(bundle, question, contexts)
    start, written, limit = "", "", bundle.max_new_tokens
    if bundle.order_weight is not None and form.begins_with_citation:
        with suppress(ProbabilitiesError):  # it then cites by itself
            start = _citation(generator, prompt, bundle, question, contexts, models)
            prompt = go_on_from(prompt, start, len(contents))
    pieces: Iterable[Reply] = (
        stream_reply(generator, prompt, max_new_tokens=limit, stop=form.stop)
        if in_pieces
        else generator.complete([prompt], max_new_tokens=limit, stop=form.stop)
    )
    for piece in pieces:
        if piece.is_unread:
            check_read(piece, bundle.generator, models.context_window(bundle.generator))
        written += piece.text
        reply = written if piece.is_anew else start + written
        if piece.is_piece and form.cites and not begins_answer(reply):
            continue
        parsed = form.parse(reply, contents)
        answer = _read_answer(parsed, contexts)
        if parsed.is_abstaining and piece.is_piece:
            continue
        if parsed.is_abstaining and not is_abstention(parsed.answer):
            answer = _abstain(question, contexts)  # an answer beside "none" is made up
        yield replace(answer, reply=replace(piece, text=reply))


def answer_prompt(bundle: Bundle, question: str, contexts: Sequence[ScoredPassage]) -> Prompt:
    """The prompt that a bundle's generator was trained for."""
    form = format_of(bundle.format, abstains=bundle.abstains)
    return form.render(question, [context.passage.content for context in contexts])


def _citation(
    generator: LanguageModel,
    prompt: Prompt,
    bundle: Bundle,
    question: str,
    contexts: Sequence[ScoredPassage],
    models: Models,
) -> str:
    """What the reply begins with, chosen as the evaluator does.

    Raises:
        ProbabilitiesError: the generator returns no probabilities.
    """
    if not isinstance(generator, ScoringModel):
        raise ProbabilitiesError("The generator returns no probabilities.")
    choose, count = generator.choice_probabilities, len(contexts)
    read = read_choices(choose, [prompt], count, abstains=bundle.abstains)
    rated = rate_passages(bundle, question, [one.passage for one in contexts], models)
    highest = None if rated is None else np.array([rated])
    weight, threshold = bundle.order_weight or 0.0, bundle.abstention_threshold
    return named(int(cited(read, count, weight, threshold, highest)[0]))


def _abstain(question: str, contexts: Sequence[ScoredPassage]) -> Answer:
    """The answer that there is none, in the language of the question."""
    text = abstain_in(language_of(question))
    return Answer(text=text, cited=(), contexts=tuple(contexts), is_abstaining=True)


def _read_answer(parsed: CitedAnswer, contexts: Sequence[ScoredPassage]) -> Answer:
    return Answer(
        text=parsed.answer,
        cited=tuple(contexts[ordinal - 1] for ordinal in parsed.ordinals),
        contexts=tuple(contexts),
        quotes=parsed.quotes,
        unverified_quotes=parsed.unverified_quotes,
        is_abstaining=parsed.is_abstaining,
    )


def ask_run(run: Path, question: str, progress: Progress = no_progress) -> Iterator[Answer]:
    """Answer from a finished run's documents, with what it ships and the network shut.

    Any number of processes may ask one run, which may be read-only: nothing is locked, and vectors
    that the folder does not hold are added to it only where it can be written.

    Args:
        run: A finished run.
        question: One text.
        progress: Called with what is loaded and embedded.

    Yields:
        The answer as it grows.

    Raises:
        DataError: the run is not finished.
        ModelError: a model that the run ships with is missing, or another one is in its place.
    """
    bundle = read_bundle(run)
    models = Models(progress=progress)

    def answers() -> Iterator[Answer]:
        yield from ask_streaming(bundle, open_run_retriever(run, models), question, models)

    yield from guarded_steps(answers(), _hosts(run, bundle.generator))


def _hosts(run: Path, generator: str) -> frozenset[str]:
    """Hosts other than this machine that a generator on servers is reached at."""
    urls = [name.removeprefix(SERVER) for name in server_names(generator)]
    if not urls:
        return frozenset()
    is_remote = read_run_config(run).allow_remote
    return frozenset(host for url in urls for host in hosts_of(url, allow_remote=is_remote))
