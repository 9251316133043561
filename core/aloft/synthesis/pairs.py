"""Lets the teacher write question-answer pairs about passages."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from aloft.config import Kind, PairsConfig
from aloft.errors import ConfigError
from aloft.prompts import pair as prompts
from aloft.prompts.languages import LANGUAGES, code_of
from aloft.protocols import LanguageModel, Prompt, Reply
from aloft.randomness import rng_for
from aloft.records import Passage, QAPair, Rejection
from aloft.synthesis.composition import DefinedNames, Definition, compose_questions, find_mention
from aloft.text.language import language_of
from aloft.text.normalising import fold
from aloft.text.overlap import copies, holds, leaks, truncate_repetition
from aloft.text.spans import cut_spans, letters_a_character

_STAGE = "pairs"
_TITLE_CHARACTERS = 80
_CHARACTERS_A_PAIR = 400
_DIGIT = re.compile(r"\d")
_NO_NAMES = DefinedNames(())
_NOT_COMPOSED = "question takes no definition"
_HALF_A_CHARACTER = "\ufffd"  # where the limit split a character of several tokens
_LONE_QUESTION = re.compile(r"\s*[^\n]+[?？؟;]\s*")  # the last is the Greek mark


def generate_pairs(
    passages: Sequence[Passage],
    teacher: LanguageModel,
    config: PairsConfig,
    *,
    seed: int,
    names: DefinedNames = _NO_NAMES,
) -> Iterator[QAPair | Rejection]:
    """Yield the pairs of each passage, or the reason why one is missing.

    A reply that was truncated, does not follow the form or copies a sentence as its question is
    never used. A truncated reply is continued where it ended, and a question without an answer
    after the heading of the answer, where the model can continue a text. A request whose reply
    still cannot be used is repeated up to twice, sampling with seeds of its own instead of greedy
    decoding. With "examples", an answer that its focus span does not contain, or that the question
    contains already, is replaced by the span itself: small models ask better than they answer, and
    the span does contain the answer.

    Args:
        passages: The passages that are asked about.
        teacher: The model that writes.
        config: Form, kinds and number of the pairs.
        seed: The run's seed.
        names: Names that passages define. One question about each passage that mentions a name
            which another one defines is asked about it, so that a multi-hop question can be
            composed of it; not with "paper".

    Source: step 2 of ALoFTRAG (arXiv:2501.11929) for "paper", which asks once.

    Raises:
        ConfigError: see `check_language`.
    """
    check_language(config)
    requests = [
        request for passage in passages for request in _requests(passage, config, seed, names)
    ]
    form = _FORMS[config.form]
    attempts = _ask(teacher, requests, form, config.max_new_tokens, seed)
    for request, attempt in zip(requests, attempts, strict=True):
        text, pair = attempt.reply.text, form.parse(attempt.reply.text)
        if attempt.fault is not None or pair is None:
            yield Rejection(
                subject_id=request.passage.id,
                stage=_STAGE,
                reason=attempt.fault or "",
                detail=text[:200],
            )
            continue
        question, answer = pair
        if request.focus and (not holds(request.focus, answer) or leaks(question, answer)):
            answer = request.focus
        yield QAPair(
            passage_id=request.passage.id,
            question=question,
            answer=answer,
            kind=request.kind,
            attempts=attempt.number,
        )


def check_language(config: PairsConfig) -> None:
    """Check that there are worked examples in the language that is set, where they are shown.

    Raises:
        ConfigError: there are none.
    """
    name = config.language
    if config.form == "examples" and name != "auto" and code_of(name) is None:
        known = ", ".join(one.name for one in LANGUAGES.values())
        raise ConfigError(
            f'pairs.language is "{name}", but form "examples" has examples in these alone: '
            f'{known}. Set it to one of these or to "auto", or form to "instruct".'
        )


def count_pairs(passage: Passage, config: PairsConfig) -> int:
    """How many pairs are requested of a passage: as configured, or by its length."""
    letters = len(passage.text) * letters_a_character(passage.text)
    return config.per_passage or max(1, min(8, round(letters / _CHARACTERS_A_PAIR)))


def choose_kinds(
    passage: Passage, count: int, shares: Mapping[Kind, float], *, seed: int
) -> list[Kind]:
    """Draw kinds of question by their shares, each once at most; a number needs a digit there."""
    rng = rng_for(seed, "kinds", passage.id)
    left = {kind: share for kind, share in shares.items() if share > 0}
    if not _DIGIT.search(passage.text):
        left.pop("numeric", None)
    chosen: list[Kind] = []
    while left and len(chosen) < count:
        (kind,) = rng.choices(list(left), list(left.values()))
        del left[kind]
        chosen.append(kind)
    return chosen or ["fact"]


def choose_focuses(passage: Passage, count: int, *, seed: int, wanted: str = "") -> list[str]:
    """Draw spans of one or two sentences from a passage, in reading order.

    Args:
        passage: That is asked about.
        count: Of spans, if it has as many.
        seed: The run's seed.
        wanted: A span that takes the place of the last one where it is not among them.
    """
    text = passage.text
    cut = [" ".join(text[start:end].split()) for start, end in cut_spans(text)]
    rng = rng_for(seed, _STAGE, passage.id)
    drawn = [cut[i] for i in sorted(rng.sample(range(len(cut)), min(count, len(cut))))]
    return drawn if not wanted or wanted in drawn else [*drawn[:-1], wanted]


def select_passages(
    passages: Sequence[Passage], max_passages: int | None, *, seed: int
) -> Iterator[Passage]:
    """Draw the passages that are asked about, in corpus order.

    Args:
        passages: The corpus; of records on disk only those drawn are read.
        max_passages: How many are drawn; None: all.
        seed: The run's seed.
    """
    if max_passages is None or max_passages >= len(passages):
        yield from passages
        return
    chosen = rng_for(seed, "passages asked about").sample(range(len(passages)), max_passages)
    yield from (passages[row] for row in sorted(chosen))


def drop_repeated_questions(pairs: Sequence[QAPair]) -> tuple[list[QAPair], list[Rejection]]:
    """Drop every question that was asked about several passages: it is specific to none."""
    sources = {(fold(pair.question), pair.passage_id) for pair in pairs}
    asked = Counter(question for question, _ in sources)
    seen: set[tuple[str, str]] = set()
    kept, dropped = [], []
    for pair in pairs:
        key = (fold(pair.question), pair.passage_id)
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


@dataclass(frozen=True, slots=True)
class _Request:
    passage: Passage
    prompt: Prompt
    answer_heading: str = prompts.ANSWER_HEADING
    kind: str = ""
    focus: str = ""
    definition: Definition | None = None  # that is to take a name's place in the question


@dataclass(frozen=True, slots=True)
class _Form:
    parse: Callable[[str], tuple[str, str] | None]
    stop: tuple[str, ...]
    is_repaired: bool  # whether replies that cannot be used are continued and repeated

    @property
    def rounds(self) -> tuple["_Round", ...]:
        return _REPAIRED if self.is_repaired else (_as_requested,)


@dataclass(frozen=True, slots=True)
class _Attempt:
    prompt: Prompt
    reply: Reply
    number: int  # of the reply, from 1
    fault: str | None  # why the reply cannot be used; None where it can


_Round = Callable[["_Request", "_Attempt", int], Prompt | None]


def _as_requested(request: _Request, _last: _Attempt, _seed: int) -> Prompt:
    return request.prompt


def _continued(request: _Request, last: _Attempt, _seed: int) -> Prompt | None:
    """Continue a truncated reply, or after the heading of an answer that is missing."""
    text = last.reply.text.rstrip(_HALF_A_CHARACTER)
    if last.reply.is_anew or not text:
        return None
    if not last.reply.is_finished:
        start = text
    elif _LONE_QUESTION.fullmatch(text):
        start = f"{text.rstrip()}{request.answer_heading}"
    else:
        return None
    # the part of the pattern that remains is not known
    return replace(last.prompt, prefix=request.prompt.prefix + start, pattern="")


def _sampled(request: _Request, last: _Attempt, seed: int) -> Prompt:
    # two requests about one passage differ by their prompts, whatever batch they are in
    asked = request.prompt.messages[-1].content
    which = "second try" if last.prompt.seed is None else "third try"
    rng = rng_for(seed, which, request.passage.id, asked)
    return replace(request.prompt, seed=rng.getrandbits(31))


# scripts that a tokenizer splits finely take several times the tokens of English: the few truncated
# replies are continued, so that the limit need not be that of the longest
_CONTINUED: tuple[_Round, ...] = (_continued,) * 3
_REPEATED: tuple[_Round, ...] = (_sampled, *_CONTINUED)
_REPAIRED: tuple[_Round, ...] = (_as_requested, *_CONTINUED, *_REPEATED, *_REPEATED)
_FORMS = {
    "paper": _Form(prompts.parse_headings, (), is_repaired=False),
    "instruct": _Form(prompts.parse_headings, prompts.STOP_INSTRUCT, is_repaired=True),
    "examples": _Form(prompts.parse_examples, prompts.STOP_EXAMPLES, is_repaired=True),
}


def _requests(
    passage: Passage, config: PairsConfig, seed: int, names: DefinedNames
) -> list[_Request]:
    content, count = passage.content, count_pairs(passage, config)
    is_set = config.language != "auto"
    code = code_of(config.language) if is_set else language_of(passage.text)
    language = config.language if is_set else "the language of the text"
    if code in LANGUAGES:
        language = LANGUAGES[code].name
    if config.form == "paper":
        return [_Request(passage, prompts.render_paper(content, language=language))]
    definition, span = find_mention(passage, names, seed=seed) or (None, "")
    name = definition.name if definition else ""
    if config.form == "examples":
        spoken, topic = code or "", _topic(passage)
        return [
            _Request(
                passage,
                # the examples ask about their topics
                prompts.render_examples(name if focus == span else topic, focus, language=spoken),
                answer_heading=prompts.answer_line(spoken),
                focus=focus,
                definition=definition if focus == span else None,
            )
            for focus in choose_focuses(passage, count, seed=seed, wanted=span)
        ]
    kinds = choose_kinds(passage, count, config.kinds, seed=seed)
    return [
        _Request(
            passage,
            prompts.render_instruct(
                content,
                kind,
                language=language,
                style=config.style,
                about="" if place else name,
            ),
            kind=kind,
            definition=None if place else definition,
        )
        for place, kind in enumerate(kinds)
    ]


def _ask(
    teacher: LanguageModel,
    requests: Sequence[_Request],
    form: _Form,
    max_new_tokens: int,
    seed: int,
) -> list[_Attempt]:
    """The last attempt of each request; each round of a form treats those not usable yet.

    Of questions that never take the definition that they were to take, the first one is used.
    """
    unasked = Reply(text="", is_finished=False)
    attempts = [_Attempt(request.prompt, unasked, 0, "not asked") for request in requests]
    single: dict[int, _Attempt] = {}
    for prepare in form.rounds:
        left = [i for i, attempt in enumerate(attempts) if attempt.fault is not None]
        asked = {i: prepare(requests[i], attempts[i], seed) for i in left}
        todo = {i: prompt for i, prompt in asked.items() if prompt is not None}
        if not todo:
            continue
        replies = teacher.complete(
            list(todo.values()), max_new_tokens=max_new_tokens, stop=form.stop
        )
        for (i, prompt), reply in zip(todo.items(), replies, strict=True):
            if not reply.is_anew:
                forced = prompt.prefix.removeprefix(requests[i].prompt.prefix)
                reply = replace(reply, text=forced + reply.text)
            if form.is_repaired and not reply.is_finished:
                without_loop = truncate_repetition(reply.text)  # to continue would only repeat it
                if without_loop is not None:
                    reply = replace(reply, text=without_loop, is_finished=True)
            fault = _fault_of(reply, requests[i], form)
            attempts[i] = _Attempt(prompt, reply, attempts[i].number + 1, fault)
            if fault == _NOT_COMPOSED:
                single.setdefault(i, replace(attempts[i], fault=None))
    return [
        attempt if attempt.fault is None else single.get(i, attempt)
        for i, attempt in enumerate(attempts)
    ]


def _fault_of(reply: Reply, request: _Request, form: _Form) -> str | None:
    """Why a reply cannot be used; None where it can."""
    if not reply.is_finished:
        return "reply was cut"
    parsed = form.parse(reply.text)
    if parsed is None:
        return "unreadable reply"
    if parsed[0] in prompts.EXAMPLE_QUESTIONS:
        return "repeats an example"
    if form.is_repaired and copies(parsed[0], request.passage.text):
        return "question copies the text"
    if request.definition is None:
        return None
    composed = compose_questions(parsed[0], DefinedNames([request.definition]))
    return None if any(composed) else _NOT_COMPOSED


def _topic(passage: Passage) -> str:
    first_line = passage.title or passage.text.strip().split("\n", 1)[0].split(". ", 1)[0]
    return " ".join(first_line.split())[:_TITLE_CHARACTERS]
