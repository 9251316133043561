"""Generates questions about nodes with an LLM, as datasets in the retired package's JSON."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

from llama_index.core import Settings
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.llms import LLM
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.utils import get_tqdm_iterable

from aloft.api import (
    ConfigError,
    DataError,
    ModelError,
    QAPair,
    content_id,
    generate_pairs,
    replace_surrogates,
    write_text,
)
from aloft.config import PairsConfig
from llama_index_aloft.convert import has_text, read_nodes, to_passage
from llama_index_aloft.teacher import teacher_of

_MAX_QUESTIONS = 8  # per node
_NUMBERING = re.compile(r"^\s*(?:\d+[.):]?|[-*•])\s+")
_QUESTION_MARKS = ("?", "？", "؟", ";")  # the last is the Greek one
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
        """Write the dataset as JSON in UTF-8, in one step."""
        write_text(Path(path), self.model_dump_json(indent=4) + "\n")

    @classmethod
    def from_json(cls, path: str) -> Self:
        """Read a file that `save_json` wrote, here or in the retired package.

        Raises:
            DataError: the file is missing or is no dataset.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise DataError(f"{path} does not exist. Check the path of the dataset.") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(
                f"{path} is no dataset: {place}: {first['msg']}. It must hold an object with "
                '"queries", "corpus" and "relevant_docs".'
            ) from error


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
    """Generate questions about nodes with an LLM, except about nodes that the file holds.

    The file may also hold questions about other nodes. They are kept, but not returned, so that a
    validation set never contains the training's. A node whose call failed is tried again the next
    time. Nodes without text are skipped.

    Args:
        nodes: The nodes to ask about.
        llm: Writes the questions; None: `Settings.llm`.
        qa_generate_prompt_tmpl: A prompt with {context_str} and {num_questions_per_chunk}, whose
            reply holds one question per line; None: Aloft's prompt, which mixes kinds of questions
            and asks again if a reply cannot be used.
        num_questions_per_chunk: Questions per node, 1 to 8.
        retry_limit: Number of attempts at a node if the LLM raises an error.
        on_failure: "continue" skips a node that failed, "fail" raises an error.
        save_every: Nodes after which the file is saved; it is also saved at the end and when the
            work is interrupted.
        output_path: The file.
        verbose: Whether to draw a progress bar.
        pairs: Settings of Aloft's prompt, such as `PairsConfig(form="examples")` for a model that
            is too small to follow instructions; None: the defaults.

    Raises:
        ConfigError: `num_questions_per_chunk` or `on_failure` is out of range.
        DataError: the file exists and is no dataset, or anything other than nodes is given.
        ModelError: a node failed, with "fail".
    """
    if not 1 <= num_questions_per_chunk <= _MAX_QUESTIONS:
        raise ConfigError(
            f"num_questions_per_chunk is {num_questions_per_chunk}, but must be 1 to "
            f"{_MAX_QUESTIONS}."
        )
    if on_failure not in ("continue", "fail"):
        raise ConfigError(f'on_failure is "{on_failure}". It may be "continue" or "fail".')
    path = Path(output_path)
    none = EmbeddingQAFinetuneDataset(queries={}, corpus={}, relevant_docs={})
    known = EmbeddingQAFinetuneDataset.from_json(output_path) if path.exists() else none
    how = (pairs or PairsConfig()).model_copy(update={"per_passage": num_questions_per_chunk})
    write = _writer(llm or Settings.llm, qa_generate_prompt_tmpl, how)
    nodes = read_nodes(nodes)
    asked = [node for node in nodes if has_text(node)]
    left = [node for node in asked if node.node_id not in known.corpus]
    try:
        for count, node in enumerate(get_tqdm_iterable(left, verbose, "Writing questions"), 1):
            questions = _try(write, node, retry_limit, fails=on_failure == "fail")
            if questions is not None:
                _add(known, node, questions)
            if count % save_every == 0:
                known.save_json(output_path)
    finally:  # also when it is interrupted
        known.save_json(output_path)
    return _about(known, {node.node_id for node in nodes})


def _add(dataset: EmbeddingQAFinetuneDataset, node: BaseNode, questions: Sequence[str]) -> None:
    dataset.corpus[node.node_id] = _text_of(node)
    for question in questions:
        key = content_id(node.node_id, question)
        dataset.queries[key] = question
        dataset.relevant_docs[key] = [node.node_id]


def _text_of(node: BaseNode) -> str:
    return replace_surrogates(node.get_content(MetadataMode.NONE))


def _writer(llm: LLM, template: str | None, config: PairsConfig) -> Callable[[BaseNode], list[str]]:
    """A function from a node to questions about it."""
    if template is None:
        teacher = teacher_of(llm)

        def write(node: BaseNode) -> list[str]:
            written = generate_pairs([to_passage(node)], teacher, config, seed=0)
            return [pair.question for pair in written if isinstance(pair, QAPair)]

        return write

    def ask(node: BaseNode) -> list[str]:
        asked = template.format(
            context_str=_text_of(node), num_questions_per_chunk=config.per_passage
        )
        lines = [
            _NUMBERING.sub("", line).strip()
            for line in replace_surrogates(llm.complete(asked).text).split("\n")
        ]
        return [line for line in lines if line.endswith(_QUESTION_MARKS)][: config.per_passage]

    return ask


def _try(
    write: Callable[[BaseNode], list[str]], node: BaseNode, limit: int, *, fails: bool
) -> list[str] | None:
    """The questions about a node; None if the LLM failed `limit` times."""
    fault: Exception | None = None
    for _ in range(max(1, limit)):
        try:
            return list(dict.fromkeys(write(node)))
        except Exception as error:
            fault = error
    message = f"The LLM failed {limit} times on node {node.node_id} ({fault})"
    if fails:
        raise ModelError(f"{message}. Check the LLM, and run again to resume.") from fault
    logger.warning("%s: the node is skipped until the next run.", message)
    return None


def _about(dataset: EmbeddingQAFinetuneDataset, wanted: set[str]) -> EmbeddingQAFinetuneDataset:
    """The part of a dataset that is about these nodes alone."""
    asked = {key for key, ids in dataset.relevant_docs.items() if wanted.issuperset(ids)}
    return EmbeddingQAFinetuneDataset(
        queries={key: text for key, text in dataset.queries.items() if key in asked},
        corpus={key: text for key, text in dataset.corpus.items() if key in wanted},
        relevant_docs={key: ids for key, ids in dataset.relevant_docs.items() if key in asked},
        mode=dataset.mode,
    )
