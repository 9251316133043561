"""Generates questions about documents, and labels which of their chunks answer a question."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import BaseNode, Document

from aloft.api import (
    DataError,
    Message,
    Prompt,
    ScoringModel,
    after_thoughts,
    content_id,
    read_list,
    replace_surrogates,
    shown_progress,
    write_text,
)
from aloft.config import read_path
from llama_index_aloft.convert import has_text, read_nodes
from llama_index_aloft.finetuning.embeddings.common import (
    SAVED_AFTER,
    QuestionFile,
    check_number,
    check_template,
    llm_or_default,
    read_questions,
    text_of,
)
from llama_index_aloft.teacher import teacher_of

DEFAULT_QUERY_GEN_SYSTEM_PROMPT = """\
You know a lot about {qa_topic}. You write {num_questions_per_chunk} questions about each document \
that you are shown, and nothing else: one question a line, each ending with a question mark."""
DEFAULT_QUERY_GEN_USER_PROMPT = """\
Write {num_questions_per_chunk} questions that this document answers. Each must be understood \
without the document.
Document: {context}"""
DEFAULT_QUERY_DOC_RELEVANCE_PROMPT = '''\
Does the document answer the query? Reply with one word, "Yes" or "No".

Query: When does the ferry to the island leave?
Document: """Bicycles travel free of charge. Dogs must be on a lead while they are on board."""
Relevant: No

Query: When does the ferry to the island leave?
Document: """From May to September ships to the island depart at 8:10 and at 16:40."""
Relevant: Yes

Query: {query}
Document: """{document}"""
Relevant:
'''
_SAVED_EVERY = 500  # chunks
_CHOICES = ("Yes", "No")
_FIRST_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
logger = logging.getLogger(__name__)


@dataclass
class CrossEncoderFinetuningDatasetSample:
    """A question, a text, and whether it answers the question: 1 or 0."""

    query: str
    context: str
    score: float


def generate_synthetic_queries_over_documents(  # noqa: PLR0913 - the retired function's signature
    documents: Sequence[Document],
    num_questions_per_chunk: int = 5,
    max_chunk_length: int = 3000,
    qa_topic: str = "everything",
    llm: LLM | None = None,
    qa_generate_system_msg: str = DEFAULT_QUERY_GEN_SYSTEM_PROMPT,
    qa_generate_user_msg: str = DEFAULT_QUERY_GEN_USER_PROMPT,
    *,
    output_path: str | None = None,
    verbose: bool = True,
) -> list[str]:
    """Generate questions about each chunk of some documents with an LLM.

    Args:
        documents: LlamaIndex documents or nodes.
        num_questions_per_chunk: Questions per chunk, at most.
        max_chunk_length: Length of a chunk in tokens of LlamaIndex's global tokenizer.
        qa_topic: What the documents are about, for the prompt.
        llm: Writes the questions; None: `Settings.llm`.
        qa_generate_system_msg: System message with {qa_topic} and {num_questions_per_chunk}.
        qa_generate_user_msg: User message with {context} and {num_questions_per_chunk}. Of the
            reply, lines or parts between semicolons that end with a question mark count.
        output_path: File that keeps the questions as an `EmbeddingQAFinetuneDataset`, also if the
            work is interrupted; chunks whose text it holds are not asked about again. None: no
            file.
        verbose: Whether to show progress.

    Raises:
        ConfigError: an argument is out of range, or a message has other places.
        DataError: anything other than nodes is given, or the file is no dataset.
    """
    check_number("num_questions_per_chunk", num_questions_per_chunk)
    count = num_questions_per_chunk
    system, user = qa_generate_system_msg, qa_generate_user_msg
    check_template("qa_generate_system_msg", system, qa_topic="", num_questions_per_chunk=count)
    check_template(
        "qa_generate_user_msg", user, ("context",), context="", num_questions_per_chunk=count
    )
    llm = llm_or_default(llm)
    chunks = [text_of(chunk) for chunk in _cut(documents, max_chunk_length)]
    texts = {content_id(chunk): chunk for chunk in chunks}
    file = QuestionFile(output_path, texts)
    fewer = 0
    with file.saved(_SAVED_EVERY), shown_progress(verbose) as progress:
        for chunk, _ in file.left(dict.fromkeys(chunks), progress):
            about = system.format(qa_topic=qa_topic, num_questions_per_chunk=count)
            asked = user.format(context=chunk, num_questions_per_chunk=count)
            reply = llm.chat(
                [
                    ChatMessage(role="system", content=about),
                    ChatMessage(role="user", content=asked),
                ]
            )
            questions = read_questions(reply.message.content or "", count)
            fewer += len(questions) < count
            file.add(chunk, questions)
    if fewer:
        logger.warning(
            "%d of %d chunks have fewer than %d questions.",
            *(fewer, len(texts), count),
        )
    return list(file.about(texts).queries.values())


def generate_ce_fine_tuning_dataset(  # noqa: PLR0913 - the retired function's signature
    documents: Sequence[Document],
    questions_list: Sequence[str],
    max_chunk_length: int = 1000,
    llm: LLM | None = None,
    qa_doc_relevance_prompt: str = DEFAULT_QUERY_DOC_RELEVANCE_PROMPT,
    top_k: int = 8,
    *,
    embed_model: BaseEmbedding | None = None,
    output_path: str | None = None,
    verbose: bool = True,
) -> list[CrossEncoderFinetuningDatasetSample]:
    """Label with an LLM whether the nearest chunks of each question answer it.

    A local model of Aloft's is asked for the probabilities of "Yes" and "No". Of any other LLM the
    first word of the reply counts; pairs for which it is neither are left out.

    Args:
        documents: LlamaIndex documents or nodes.
        questions_list: The questions; empty ones are skipped.
        max_chunk_length: Length of a chunk in tokens of LlamaIndex's global tokenizer.
        llm: Labels the pairs; None: `Settings.llm`.
        qa_doc_relevance_prompt: A prompt with {query} and {document}.
        top_k: Chunks per question.
        embed_model: Finds the nearest chunks; None: `Settings.embed_model`.
        output_path: JSON Lines file that keeps the labels, also if the work is interrupted; pairs
            that it holds are not asked about again. None: no file.
        verbose: Whether to show progress.

    Raises:
        ConfigError: an argument is out of range, or the prompt has other places.
        DataError: anything other than nodes and questions is given, or the file holds none.
    """
    check_number("top_k", top_k)
    check_template(
        "qa_doc_relevance_prompt",
        qa_doc_relevance_prompt,
        ("query", "document"),
        query="",
        document="",
    )
    asked = read_list(questions_list, str, "Generate them from the documents, or list your own.")
    questions = [replace_surrogates(question) for question in asked if question.strip()]
    judge = _judge(llm_or_default(llm))
    file = _LabelFile(output_path)
    chunks = _cut(documents, max_chunk_length)
    retriever = VectorStoreIndex(chunks, embed_model=embed_model).as_retriever(
        similarity_top_k=top_k
    )
    samples, unread = list[CrossEncoderFinetuningDatasetSample](), 0
    with file.saved(), shown_progress(verbose) as progress:
        for count, question in enumerate(questions):
            progress("labelling", count, len(questions))
            for found in retriever.retrieve(question):
                text = text_of(found.node)
                request = qa_doc_relevance_prompt.format(query=question, document=text)
                label = file.label(question, text, partial(judge, request))
                if label is None:
                    unread += 1
                else:
                    samples.append(CrossEncoderFinetuningDatasetSample(question, text, label))
        progress("labelling", len(questions), len(questions))
    if unread:
        logger.warning(
            'Of %d replies %d are neither "Yes" nor "No", and left out.',
            *(unread + len(samples), unread),
        )
    return samples


def _cut(documents: Sequence[BaseNode], length: int) -> list[BaseNode]:
    """Chunks of documents that hold text."""
    check_number("max_chunk_length", length)
    parser = TokenTextSplitter(
        separator=" ", chunk_size=length, chunk_overlap=0, backup_separators=["\n"]
    )
    chunks = parser(read_nodes(documents))
    held = [chunk for chunk in chunks if has_text(chunk)]
    if not held:
        raise DataError("The documents hold no text. Check how they were loaded.")
    return held


def _judge(llm: LLM) -> Callable[[str], int | None]:
    """A function from a request to the label 1 or 0; None: the reply is neither."""
    model = teacher_of(llm)
    if isinstance(model, ScoringModel):
        scoring = model

        def choose(request: str) -> int:
            prompt = Prompt(messages=(Message(role="user", content=request),))
            (yes, no) = scoring.choice_probabilities([prompt], _CHOICES)[0]
            return int(yes > no)

        return choose

    def read(request: str) -> int | None:
        found = _FIRST_WORD.match(after_thoughts(llm.complete(request).text))
        return None if found is None else int(found[1].lower() == "yes")

    return read


class _LabelFile:
    """Labels of questions with texts, as JSON Lines.

    Args:
        path: The file; None: labels are kept in memory.

    Raises:
        DataError: the file exists and holds something else.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else read_path("output_path", path)
        self._labels: dict[tuple[str, str], int | None] = {}
        if self._path is not None and self._path.exists():
            try:  # as bytes: a text may hold a line separator of Unicode's, which ends no line here
                lines = self._path.read_bytes().splitlines()
            except OSError as error:
                raise DataError(f"{self._path} cannot be read ({error.strerror}).") from error
            for number, line in enumerate(lines, 1):
                self._read(line, number)
        self._save()

    def _read(self, line: bytes, number: int) -> None:
        try:
            row: Any = json.loads(line)
            self._labels[row["query"], row["context"]] = row["score"]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f'{self._path} line {number} holds no "query", "context" and "score" ({error}). '
                "Name another output_path."
            ) from error

    @contextmanager
    def saved(self) -> Iterator[None]:
        """Save every 30 seconds, at the end, and where the work is interrupted."""
        try:
            yield
        finally:
            self._save()

    def label(self, query: str, text: str, ask: Callable[[], int | None]) -> int | None:
        """The label of a pair, as the file has it or as it is asked for."""
        if (query, text) not in self._labels:
            self._labels[query, text] = ask()
            if time.monotonic() - self._saved_at >= SAVED_AFTER:
                self._save()
        return self._labels[query, text]

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self._path is not None:
            rows = (
                CrossEncoderFinetuningDatasetSample(query, text, label)  # type: ignore[arg-type]
                for (query, text), label in self._labels.items()
            )
            lines = (json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
            write_text(self._path, "".join(lines))
