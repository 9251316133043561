"""Turns passages into question-answer pairs by the teacher."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from semantic_text_splitter import TextSplitter

from aloft.config import PairsConfig
from aloft.models import LanguageModel, Prompt, Reply
from aloft.prompts import pair as prompts
from aloft.randomness import rng_for
from aloft.records import Passage, QAPair, Rejection

_STAGE = "pairs"
_FOCUS_CHARACTERS = (80, 280)  # one or two sentences: what a 135M model can still ask about
_SHORTEST_FOCUS = 40
_TITLE_CHARACTERS = 80


def generate_pairs(
    passages: Sequence[Passage], teacher: LanguageModel, config: PairsConfig, *, seed: int
) -> Iterator[QAPair | Rejection]:
    """Yield the pairs of each passage, or the reason why one is missing.

    A reply that was cut or does not keep the form is never used; its prompt is asked once more,
    with a reply drawn by a seed of the passage's own instead of the greedy one. With "examples" an
    answer that its focus span does not hold is replaced by the span itself: small models ask
    better than they answer, and the span does hold the answer.

    Source: step 2 of ALoFTRAG (arXiv:2501.11929) for "instruct".
    """
    if config.form == "instruct":
        asked = [prompts.render_instruct(p.content, language=config.language) for p in passages]
        form = _Form(prompts.parse_instruct, prompts.STOP_INSTRUCT, config.max_new_tokens)
        for passage, (reply, tries) in zip(
            passages, _ask(teacher, passages, asked, form, seed), strict=True
        ):
            yield _read(passage, reply, prompts.parse_instruct(reply.text), tries)
        return
    spans = [
        (passage, focus)
        for passage in passages
        for focus in choose_focuses(passage, config.per_passage, seed=seed)
    ]
    asked = [prompts.render_examples(_topic(passage), focus) for passage, focus in spans]
    form = _Form(prompts.parse_examples, prompts.STOP_EXAMPLES, config.max_new_tokens)
    answered = _ask(teacher, [passage for passage, _ in spans], asked, form, seed)
    for (passage, focus), (reply, tries) in zip(spans, answered, strict=True):
        parsed = prompts.parse_examples(reply.text)
        if parsed is not None and not holds(focus, parsed[1]):
            parsed = (parsed[0], focus)
        yield _read(passage, reply, parsed, tries)


def choose_focuses(passage: Passage, count: int, *, seed: int) -> list[str]:
    """Draw spans of one or two sentences from a passage, in reading order."""
    chunks = [" ".join(c.split()) for c in TextSplitter(_FOCUS_CHARACTERS).chunks(passage.text)]
    long_enough = [i for i, chunk in enumerate(chunks) if len(chunk) >= _SHORTEST_FOCUS]
    if not long_enough:
        return [" ".join(passage.text.split())]
    rng = rng_for(seed, _STAGE, passage.id)
    return [chunks[i] for i in sorted(rng.sample(long_enough, min(count, len(long_enough))))]


def select_passages(
    passages: Sequence[Passage], config: PairsConfig, *, seed: int
) -> list[Passage]:
    """Draw the passages that are asked about, in corpus order."""
    if config.max_passages is None or config.max_passages >= len(passages):
        return list(passages)
    chosen = rng_for(seed, "passages asked about").sample(range(len(passages)), config.max_passages)
    return [passages[i] for i in sorted(chosen)]


def drop_repeated_questions(pairs: Sequence[QAPair]) -> tuple[list[QAPair], list[Rejection]]:
    """Drop every question that was asked of more than one passage: it names nothing of its own."""
    sources = {(_folded(pair.question), pair.passage_id) for pair in pairs}
    asked = Counter(question for question, _ in sources)
    seen: set[tuple[str, str]] = set()
    kept, dropped = [], []
    for pair in pairs:
        key = (_folded(pair.question), pair.passage_id)
        if asked[key[0]] > 1:
            reason = "asked of several passages"
        elif key in seen:
            reason = "asked twice of one passage"
        else:
            seen.add(key)
            kept.append(pair)
            continue
        dropped.append(Rejection(subject_id=pair.id, stage=_STAGE, reason=reason))
    return kept, dropped


def holds(text: str, answer: str) -> bool:
    """Whether the answer stands in the text, letter case and white space aside."""
    wanted = _folded(answer).strip(" .")
    return bool(wanted) and wanted in _folded(text)


@dataclass(frozen=True, slots=True)
class _Form:
    parse: Callable[[str], tuple[str, str] | None]
    stop: tuple[str, ...]
    max_new_tokens: int


def _ask(
    teacher: LanguageModel,
    passages: Sequence[Passage],
    asked: Sequence[Prompt],
    form: _Form,
    seed: int,
) -> list[tuple[Reply, int]]:
    """Replies with the tries that each took: what can not be used is asked a second time."""

    def complete(some: Sequence[Prompt]) -> list[Reply]:
        return teacher.complete(some, max_new_tokens=form.max_new_tokens, stop=form.stop)

    replies = [(reply, 1) for reply in complete(asked)]
    unusable = [
        i
        for i, (reply, _) in enumerate(replies)
        if _fault_of(reply, form.parse(reply.text)) is not None
    ]
    if unusable:
        # the prompt itself tells two spans of one passage apart, whatever batch they are in
        seeds = [
            rng_for(seed, "second try", passages[i].id, asked[i].messages[-1].content)
            for i in unusable
        ]
        again = [
            replace(asked[i], seed=rng.getrandbits(31))
            for i, rng in zip(unusable, seeds, strict=True)
        ]
        for i, reply in zip(unusable, complete(again), strict=True):
            replies[i] = (reply, 2)
    return replies


def _fault_of(reply: Reply, parsed: tuple[str, str] | None) -> str | None:
    """Why a reply can not be used; None where it can."""
    if not reply.is_finished:
        return "reply was cut"
    if parsed is None:
        return "unreadable reply"
    is_copied = any(parsed[0] == question for _, _, question, _ in prompts.EXAMPLES)
    return "repeats an example" if is_copied else None


def _read(
    passage: Passage, reply: Reply, parsed: tuple[str, str] | None, tries: int
) -> QAPair | Rejection:
    fault = _fault_of(reply, parsed)
    if fault is None and parsed is not None:
        question, answer = parsed
        return QAPair(passage_id=passage.id, question=question, answer=answer, tries=tries)
    detail = reply.text[:200]
    return Rejection(subject_id=passage.id, stage=_STAGE, reason=fault or "", detail=detail)


def _topic(passage: Passage) -> str:
    first_line = passage.title or passage.text.strip().split("\n", 1)[0].split(". ", 1)[0]
    return " ".join(first_line.split())[:_TITLE_CHARACTERS]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
