"""Nodes and an LLM to questions with the nodes that answer them, in the retired package's JSON."""

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
    write_text,
)
from aloft.config import PairsConfig
from llama_index_aloft.convert import to_passage
from llama_index_aloft.teacher import teacher_of

_MOST = 8  # questions of a node
_NUMBERING = re.compile(r"^\s*(?:\d+[.):]?|[-*•])\s+")
_QUESTION_MARKS = ("?", "？", "؟", ";")  # the last is the Greek one
logger = logging.getLogger(__name__)


class EmbeddingQAFinetuneDataset(BaseModel):
    """Questions, texts, and which texts answer which question, each by its id."""

    queries: dict[str, str]
    corpus: dict[str, str]
    relevant_docs: dict[str, list[str]]
    mode: str = "text"

    @property
    def query_docid_pairs(self) -> list[tuple[str, list[str]]]:
        """Each question with the ids of the texts that answer it."""
        return [(query, self.relevant_docs[key]) for key, query in self.queries.items()]

    def save_json(self, path: str) -> None:
        """Write it as JSON in UTF-8, whole or not at all."""
        write_text(Path(path), self.model_dump_json(indent=4) + "\n")

    @classmethod
    def from_json(cls, path: str) -> Self:
        """Read what `save_json` wrote, here or in the retired package.

        Raises:
            DataError: the file is missing or holds something else.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise DataError(f"{path} does not exist. Check the path of the dataset.") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(
                f"{path} is no dataset: {place}: {first['msg']}. It holds an object with "
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
    """Let an LLM write questions about nodes; what is in `output_path` already is not asked again.

    A file that also holds questions about other nodes keeps them, and they are not returned: a
    validation set never holds the training's. A node whose call failed is asked the next time.

    Args:
        nodes: To be asked about.
        llm: What asks; None: `Settings.llm`.
        qa_generate_prompt_tmpl: A request of your own, with {context_str} and
            {num_questions_per_chunk}, whose reply has a question a line; None: Aloft's, which
            mixes kinds of questions and asks anew where a reply can not be used.
        num_questions_per_chunk: Of each node, 1 to 8.
        retry_limit: Times that a node is tried where the LLM raises an error.
        on_failure: Whether such a node is then left out, or ends the work.
        save_every: Nodes between two savings.
        output_path: The file.
        verbose: Whether progress is drawn.
        pairs: How Aloft's own request is made, such as `PairsConfig(form="examples")` for a model
            too small to follow instructions; None: as usual.

    Raises:
        ConfigError: there are too few or too many questions to ask, or `on_failure` is unknown.
        DataError: the file is there and holds something else.
        ModelError: with "fail", a node that could not be asked about.
    """
    if not 1 <= num_questions_per_chunk <= _MOST:
        raise ConfigError(
            f"num_questions_per_chunk is {num_questions_per_chunk}. It may be 1 to {_MOST}."
        )
    if on_failure not in ("continue", "fail"):
        raise ConfigError(f'on_failure is "{on_failure}". It may be "continue" or "fail".')
    path = Path(output_path)
    none = EmbeddingQAFinetuneDataset(queries={}, corpus={}, relevant_docs={})
    known = EmbeddingQAFinetuneDataset.from_json(output_path) if path.exists() else none
    how = (pairs or PairsConfig()).model_copy(update={"per_passage": num_questions_per_chunk})
    write = _writer(llm or Settings.llm, qa_generate_prompt_tmpl, how)
    left = [node for node in nodes if node.node_id not in known.corpus]
    for count, node in enumerate(get_tqdm_iterable(left, verbose, "Writing questions"), start=1):
        questions = _try(write, node, retry_limit, fails=on_failure == "fail")
        if questions is None:
            continue
        known.corpus[node.node_id] = node.get_content(MetadataMode.NONE)
        for question in questions:
            key = content_id(node.node_id, question)
            known.queries[key] = question
            known.relevant_docs[key] = [node.node_id]
        if count % save_every == 0:
            known.save_json(output_path)
    known.save_json(output_path)
    return _about(known, {node.node_id for node in nodes})


def _writer(llm: LLM, template: str | None, config: PairsConfig) -> Callable[[BaseNode], list[str]]:
    """What writes the questions of a node."""
    if template is None:
        teacher = teacher_of(llm)

        def write(node: BaseNode) -> list[str]:
            written = generate_pairs([to_passage(node)], teacher, config, seed=0)
            return [pair.question for pair in written if isinstance(pair, QAPair)]

        return write

    def ask(node: BaseNode) -> list[str]:
        text = node.get_content(MetadataMode.NONE)
        asked = template.format(context_str=text, num_questions_per_chunk=config.per_passage)
        lines = [_NUMBERING.sub("", line).strip() for line in llm.complete(asked).text.split("\n")]
        return [line for line in lines if line.endswith(_QUESTION_MARKS)][: config.per_passage]

    return ask


def _try(
    write: Callable[[BaseNode], list[str]], node: BaseNode, limit: int, *, fails: bool
) -> list[str] | None:
    """The questions of a node; None where the LLM failed as often as it may."""
    fault: Exception | None = None
    for _ in range(max(1, limit)):
        try:
            return list(dict.fromkeys(write(node)))
        except Exception as error:
            fault = error
    message = f"node {node.node_id} could not be asked about in {limit} tries ({fault})"
    if fails:
        raise ModelError(f"{message}. Run again to go on, or look at the LLM.") from fault
    logger.warning("%s: it is left out, and tried the next time.", message)
    return None


def _about(dataset: EmbeddingQAFinetuneDataset, wanted: set[str]) -> EmbeddingQAFinetuneDataset:
    """What is about these nodes alone."""
    asked = {key for key, some in dataset.relevant_docs.items() if wanted.issuperset(some)}
    return EmbeddingQAFinetuneDataset(
        queries={key: text for key, text in dataset.queries.items() if key in asked},
        corpus={key: text for key, text in dataset.corpus.items() if key in wanted},
        relevant_docs={key: some for key, some in dataset.relevant_docs.items() if key in asked},
        mode=dataset.mode,
    )
