"""Generates questions about nodes with an LLM, as datasets in the retired package's JSON."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from string import Formatter
from typing import Any, Literal, Self, TypeVar

from llama_index.core import Settings
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.llms import LLM
from llama_index.core.schema import BaseNode, MetadataMode

from aloft.api import (
    ConfigError,
    DataError,
    EmbedderRow,
    ModelError,
    Progress,
    QAPair,
    after_thoughts,
    check_kind,
    content_id,
    generate_pairs,
    is_whole,
    read_json_object,
    replace_surrogates,
    shown_progress,
    write_text,
)
from aloft.config import PairsConfig, read_path
from llama_index_aloft.convert import has_text, read_nodes, to_passage
from llama_index_aloft.teacher import teacher_of

DEFAULT_QA_GENERATE_PROMPT_TMPL = """\
Read the text between the lines.

---------------------
{context_str}
---------------------

Write {num_questions_per_chunk} questions that this text alone answers. Each must be understood \
without the text, ask about another part of it, and stand on a line of its own. Write nothing else.
"""
SAVED_AFTER = 30.0  # seconds: what a kill can cost
_MAX_QUESTIONS = 8  # per node
# what models write in front of a question: a number, a bullet, "Q1:", "**Question 2:**"
_LABELS = re.compile(
    r"^(?:\**(?:(?:\d+[.):]?|[-*•])\s+|(?:q|question)\s*\d*\s*[.):][\s*]*))+", re.IGNORECASE
)
_EMPHASIS = " \t*"  # of Markdown, around a question
_BETWEEN = re.compile(r"\n|(?<=[?？؟])\s*;")
_QUESTION_MARKS = ("?", "？", "؟", ";")  # the last is the Greek one
NodeT = TypeVar("NodeT")
logger = logging.getLogger(__name__)


class EmbeddingQAFinetuneDataset(BaseModel):
    """Questions and texts by id, and the ids of the texts that answer each question."""

    queries: dict[str, str]
    corpus: dict[str, str]
    relevant_docs: dict[str, list[str]]
    mode: str = "text"

    @property
    def query_docid_pairs(self) -> list[tuple[str, list[str]]]:
        """Each question with the ids of the texts that answer it."""
        return [(query, self.relevant_docs[key]) for key, query in self.queries.items()]

    def save_json(self, path: str) -> None:
        """Write the dataset as JSON in UTF-8, in one step.

        A lone surrogate is written as its escape.

        Raises:
            ConfigError: the path is none, or an empty one.
        """
        text = json.dumps(self.model_dump(), ensure_ascii=False, indent=4)
        write_text(read_path("path", path), text + "\n")

    @classmethod
    def from_json(cls, path: str) -> Self:
        """Read a file that `save_json` wrote, here or in the retired package.

        Raises:
            ConfigError: the path is none, or an empty one.
            DataError: the file is missing or is no dataset.
        """
        file = read_path("path", path)
        form = 'A dataset is an object with "queries", "corpus" and "relevant_docs".'
        missing = f"{file} does not exist. Check the path of the dataset."
        values = read_json_object(file, missing=missing, repair=f"It is no dataset. {form}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(f"{file} is no dataset: {place}: {first['msg']}. {form}") from error


def check_dataset(name: str, dataset: Any) -> EmbeddingQAFinetuneDataset:
    """A dataset each of whose questions has its texts.

    Args:
        name: Of the argument.
        dataset: Ours, the retired package's, or any object with the same fields.

    Raises:
        DataError: it is something else, holds no questions, or lacks a question's text.
    """
    fields = ("queries", "corpus", "relevant_docs")
    if not all(isinstance(getattr(dataset, field, None), Mapping) for field in fields):
        raise DataError(
            f"{name} is of type {type(dataset).__name__}, but must be an "
            "EmbeddingQAFinetuneDataset. Read one by EmbeddingQAFinetuneDataset.from_json(path)."
        )
    for key in dataset.queries:
        keys = dataset.relevant_docs.get(key, [])
        missing = [text_id for text_id in keys if text_id not in dataset.corpus]
        if missing or not keys:
            what = f'text "{missing[0]}"' if missing else "text"
            raise DataError(f'{name}: question "{key}" has no {what} in the corpus. Correct it.')
    if not dataset.queries:
        raise DataError(f"{name} holds no questions. Generate some, or check its file.")
    checked: EmbeddingQAFinetuneDataset = dataset
    return checked


def rows_of(dataset: EmbeddingQAFinetuneDataset, *, all_docs: bool) -> list[EmbedderRow]:
    """A row per question, or per question and text that answers it."""
    return [
        EmbedderRow(
            pair_id=key,
            anchor=replace_surrogates(query),
            positive=replace_surrogates(dataset.corpus[text_id]),
            negatives=(),
        )
        for key, query in dataset.queries.items()
        for text_id in dataset.relevant_docs[key][: None if all_docs else 1]
    ]


def generate_qa_embedding_pairs(  # noqa: PLR0913 - the retired function's signature
    nodes: Sequence[BaseNode],
    llm: LLM | None = None,
    qa_generate_prompt_tmpl: str | None = None,
    num_questions_per_chunk: int = 2,
    retry_limit: int = 3,
    on_failure: Literal["continue", "fail"] = "continue",
    save_every: int = 500,
    output_path: str = "qa_finetune_dataset.json",
    verbose: bool = True,
    *,
    pairs: PairsConfig | None = None,
) -> EmbeddingQAFinetuneDataset:
    """Generate questions about nodes with an LLM, except about texts that the file holds.

    A text is known by its characters, not by the ids of its nodes, which splitters draw at random:
    its entry in the file gets the ids of these nodes, and no text is asked about twice. The file
    may also hold questions about other texts. They are kept, but not returned, so that a validation
    set never contains the training's. A node whose call failed, or whose reply held no question, is
    asked about again the next time. Nodes without text are skipped.

    Args:
        nodes: The nodes to ask about.
        llm: Writes the questions; None: `Settings.llm`.
        qa_generate_prompt_tmpl: A prompt with {context_str} and {num_questions_per_chunk}, such as
            `DEFAULT_QA_GENERATE_PROMPT_TMPL`, whose reply holds one question per line; None:
            Aloft's prompt, which mixes kinds of questions and asks again if a reply cannot be used.
        num_questions_per_chunk: Questions per node, 1 to 8.
        retry_limit: Number of attempts at a node if the LLM raises an error.
        on_failure: "continue" skips a node that failed, "fail" raises an error.
        save_every: Nodes after which the file is saved; it is also saved every 30 seconds, at the
            end and when the work is interrupted.
        output_path: The file.
        verbose: Whether to show progress.
        pairs: Settings of Aloft's prompt, such as `PairsConfig(form="examples")` for a model that
            is too small to follow instructions; None: the defaults.

    Raises:
        ConfigError: an argument is out of range, or the prompt has other places.
        DataError: the file exists and is no dataset, or anything other than nodes is given.
        ModelError: a node failed, with "fail".
    """
    check_number("num_questions_per_chunk", num_questions_per_chunk, _MAX_QUESTIONS)
    check_number("retry_limit", retry_limit)
    check_number("save_every", save_every)
    if pairs is not None:
        check_kind("pairs", pairs, PairsConfig, 'Such as PairsConfig(form="examples").')
    if on_failure not in ("continue", "fail"):
        raise ConfigError(f'on_failure is "{on_failure}". It may be "continue" or "fail".')
    how = (pairs or PairsConfig()).model_copy(update={"per_passage": int(num_questions_per_chunk)})
    write = _writer(llm_or_default(llm), qa_generate_prompt_tmpl, how)
    asked = [node for node in read_nodes(nodes) if has_text(node)]
    texts = {replace_surrogates(node.node_id): text_of(node) for node in asked}
    file = QuestionFile(output_path, texts)
    without = 0
    with file.saved(save_every), shown_progress(verbose) as progress:
        for text, node in file.left({text_of(node): node for node in asked}, progress):
            questions = _try(partial(write, node), node, retry_limit, fails=on_failure == "fail")
            if questions is not None:
                file.add(text, questions)
                without += not questions
    if without:
        logger.warning(
            "%d of %d texts have no question: no reply about them held one. They are asked about "
            "again the next time.",
            *(without, len(set(texts.values()))),
        )
    return file.about(texts)


class QuestionFile:
    """A dataset on disk to which questions about texts are added, by the texts themselves.

    Args:
        path: The file; created at once, so that one which cannot be written is found first.
        texts: The texts that are to be asked about, by the ids that they have now.

    Raises:
        DataError: the file exists and is no dataset.
    """

    def __init__(self, path: str | None, texts: Mapping[str, str]) -> None:
        none = EmbeddingQAFinetuneDataset(queries={}, corpus={}, relevant_docs={})
        self._path = None if path is None else read_path("output_path", path)
        is_known = self._path is not None and self._path.exists()
        known = EmbeddingQAFinetuneDataset.from_json(str(self._path)) if is_known else none
        self._ids: dict[str, list[str]] = {}
        for text_id, text in texts.items():
            self._ids.setdefault(text, []).append(text_id)
        self._dataset = _renamed(known, self._ids, texts)
        self._added = 0
        self._save_every = 1
        self._save()

    @contextmanager
    def saved(self, every: int) -> Iterator[None]:
        """Save after so many texts or 30 seconds, at the end, and where it is interrupted."""
        self._save_every = every
        try:
            yield
        finally:
            self._save()

    def left(self, texts: Mapping[str, NodeT], progress: Progress) -> Iterator[tuple[str, NodeT]]:
        """The texts without a question, with what a mapping has for them."""
        answered = {key for keys in self._dataset.relevant_docs.values() for key in keys}
        known = {text for key, text in self._dataset.corpus.items() if key in answered}
        left = [(text, node) for text, node in texts.items() if text not in known]
        for count, pair in enumerate(left):
            progress("writing questions", count, len(left))
            yield pair
        if left:
            progress("writing questions", len(left), len(left))

    def add(self, text: str, questions: Iterable[str]) -> None:
        """Add a text and the questions about it."""
        ids = self._ids[text]
        self._dataset.corpus.update(dict.fromkeys(ids, text))
        for question in questions:
            key = content_id(text, question)
            self._dataset.queries[key] = question
            self._dataset.relevant_docs[key] = list(ids)
        self._added += 1
        is_late = time.monotonic() - self._saved_at >= SAVED_AFTER
        if is_late or self._added % self._save_every == 0:
            self._save()

    def about(self, wanted: Mapping[str, str]) -> EmbeddingQAFinetuneDataset:
        """The part that is about texts of these ids alone."""
        whole = self._dataset
        asked = {key for key, ids in whole.relevant_docs.items() if wanted.keys() >= set(ids)}
        return EmbeddingQAFinetuneDataset(
            queries={key: text for key, text in whole.queries.items() if key in asked},
            corpus={key: text for key, text in whole.corpus.items() if key in wanted},
            relevant_docs={key: ids for key, ids in whole.relevant_docs.items() if key in asked},
            mode=whole.mode,
        )

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self._path is not None:
            self._dataset.save_json(str(self._path))


def _renamed(
    dataset: EmbeddingQAFinetuneDataset,
    ids: Mapping[str, list[str]],
    texts: Mapping[str, str],
) -> EmbeddingQAFinetuneDataset:
    """The dataset with its texts under the ids that they have now.

    Args:
        dataset: As a file holds it.
        ids: The present ids of a text.
        texts: The text of a present id. Another text that had this id is named after its content.
    """
    names: dict[str, list[str]] = {}
    for key, text in dataset.corpus.items():
        names[key] = ids.get(text) or [content_id(text) if key in texts else key]
    return EmbeddingQAFinetuneDataset(
        queries=dict(dataset.queries),
        corpus={name: text for key, text in dataset.corpus.items() for name in names[key]},
        relevant_docs={
            question: list(dict.fromkeys(name for key in keys for name in names.get(key, [key])))
            for question, keys in dataset.relevant_docs.items()
        },
        mode=dataset.mode,
    )


def check_number(name: str, value: Any, most: int | None = None) -> None:
    """Check that an argument is a whole number from 1.

    Raises:
        ConfigError: it is not, or is above `most`.
    """
    if not is_whole(value) or value < 1 or (most is not None and value > most):
        limits = "a number from 1" if most is None else f"1 to {most}"
        raise ConfigError(f"{name} is {value!r}, but must be {limits}.")


def check_template(name: str, template: Any, needed: Sequence[str] = (), **places: Any) -> None:
    """Check that a prompt can be filled in, before the first call.

    Args:
        name: Of the argument.
        template: The prompt.
        needed: Those of the places that it must have.
        places: What each is filled with.

    Raises:
        ConfigError: it is no text, or has other places than these, or lacks the text it is about.
    """
    known = ", ".join(f"{{{place}}}" for place in places)
    if not isinstance(template, str):
        raise ConfigError(f"{name} is of type {type(template).__name__}, but must be a str.")
    try:
        template.format(**places)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"{name} cannot be filled in ({type(error).__name__}: {error}). It may hold {known}; "
            "write other braces twice."
        ) from error
    missing = set(needed) - {place for _, place, _, _ in Formatter().parse(template) if place}
    if missing:
        raise ConfigError(
            f"{name} does not hold {{{min(missing)}}}, so that the LLM would not see what it is "
            "asked about. Add it."
        )


def llm_or_default(llm: LLM | None) -> LLM:
    """An LLM, or `Settings.llm`.

    Raises:
        ConfigError: something else is given.
    """
    if llm is not None:
        check_kind("llm", llm, LLM, "A local model by its name is AloftLLM(model=name).")
    return llm or Settings.llm


def read_questions(reply: str, count: int) -> list[str]:
    """The first questions of a reply that holds one a line, or separated by semicolons."""
    lines = _BETWEEN.split(replace_surrogates(after_thoughts(reply)))
    bare = (_LABELS.sub("", line.strip(), count=1).strip(_EMPHASIS) for line in lines)
    return [line for line in bare if line.endswith(_QUESTION_MARKS)][:count]


def text_of(node: BaseNode) -> str:
    """A node's text without metadata."""
    return replace_surrogates(node.get_content(MetadataMode.NONE))


def _writer(llm: LLM, template: str | None, config: PairsConfig) -> Callable[[BaseNode], list[str]]:
    """A function from a node to questions about it."""
    if template is None:
        teacher = teacher_of(llm)

        def write(node: BaseNode) -> list[str]:
            written = generate_pairs([to_passage(node)], teacher, config, seed=0)
            return [pair.question for pair in written if isinstance(pair, QAPair)]

        return write
    count = config.per_passage or 1
    check_template(
        "qa_generate_prompt_tmpl",
        template,
        needed=("context_str",),
        context_str="",
        num_questions_per_chunk=count,
    )

    def ask(node: BaseNode) -> list[str]:
        asked = template.format(context_str=text_of(node), num_questions_per_chunk=count)
        return read_questions(llm.complete(asked).text, count)

    return ask


def _try(
    write: Callable[[], list[str]], node: BaseNode, limit: int, *, fails: bool
) -> list[str] | None:
    """The questions about a node; None if the LLM failed `limit` times."""
    fault: Exception | None = None
    for _ in range(limit):
        try:
            return list(dict.fromkeys(write()))
        except Exception as error:
            fault = error
    message = f"The LLM failed {limit} times on node {node.node_id} ({fault})"
    if fails:
        raise ModelError(f"{message}. Check the LLM, and run again to resume.") from fault
    logger.warning("%s: the node is skipped until the next run.", message)
    return None
