"""A reranker, tuned or not, as a LangChain document compressor and cross-encoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from aloft.api import (
    Relevance,
    SharedModels,
    best_first,
    read_bundle,
    read_question,
    read_text,
    reranker_of,
)
from aloft.config import ModelName, read_path
from langchain_aloft.convert import TextOf, copy_of, model_text, read_documents


class AloftReranker(BaseDocumentCompressor, BaseCrossEncoder):
    """Reorders documents by how well they answer the query; those given are not changed.

    Attributes:
        model: An `embedded:` name, a folder, or a Hugging Face id that is on this machine.
        top_n: Number of documents kept.
        text_of: What the model reads of a document; None: its page content.
        relevance: What scores of documents are computed by, as a run has fitted it: they are then
            the probabilities that the documents answer. None: they are the model's own.
        score_key: Metadata key that the score is written to; None: results have their own metadata
            alone, so that a document found by two queries is the same document.
        models: Loads the model; pass one object to several components to share weights.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: ModelName
    top_n: int = Field(default=5, ge=1)
    text_of: SkipJsonSchema[TextOf | None] = Field(default=None, exclude=True, repr=False)
    relevance: Relevance | None = None
    score_key: str | None = None
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The reranker that a run ships; by default it keeps as many as the run's prompts hold.

        Raises:
            DataError: the folder holds no finished run, or the run ships no reranker.
        """
        folder = read_path("run_folder", run_folder)
        model = reranker_of(folder)
        bundle = read_bundle(folder)
        known = {"top_n": bundle.contexts, "relevance": bundle.reranker_relevance}
        return cls(**{"model": model, **known, **fields})

    @property
    def fingerprint(self) -> str:
        """Identifies the model by the content of its files; safe in a file name.

        Raises:
            ModelError: the model is not on this machine.
        """
        return self.models.fingerprint(self.model)

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """The model's own scores of how well second texts answer the first; higher is better."""
        pairs = [(read_question(query), read_text(text, "A passage")) for query, text in text_pairs]
        scores: list[float] = self.models.reranker(self.model).score(pairs).tolist()
        return scores

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Copies of the best documents, best first."""
        documents = read_documents(documents)
        texts = [model_text(document, self.text_of) for document in documents]
        found = self.score([(query, text) for text in texts])
        scores = self.relevance.of_reranker(np.array(found)) if self.relevance else found
        return [
            copy_of(documents[place], scores[place], self.score_key)
            for place in best_first(found, self.top_n)
        ]
