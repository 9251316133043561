"""Reads what a LlamaIndex query carries."""

from contextlib import suppress
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle, QueryType

from aloft.api import DataError, Floats, read_question

_LEAST = 1e-12  # length of a mean of vectors that cancel each other out


def check_query(given: Any) -> None:
    """Check that LlamaIndex can make a query of what was given.

    Raises:
        DataError: it is neither a text nor a QueryBundle.
    """
    if not isinstance(given, str | QueryBundle):
        raise DataError(
            f"A query is a text or a QueryBundle, but {type(given).__name__} was given."
        )


def to_query(given: QueryType) -> QueryBundle:
    """A query as a QueryBundle.

    Raises:
        DataError: it is neither a text nor a QueryBundle.
    """
    check_query(given)
    return QueryBundle(given) if isinstance(given, str) else given


def query_text(query: QueryBundle) -> str:
    """The text of a query, as rerankers read it.

    Raises:
        DataError: the query has no text, or an image.
    """
    if query.image_path is not None:
        raise DataError("The query has an image, but only text is searched. Leave image_path out.")
    text = read_question(query.query_str)
    if not text.strip():
        text = " ".join(map(read_question, query.custom_embedding_strs or ()))
    if not text.strip():
        raise DataError("The query has no text, which BM25 and the reranker read. Pass query_str.")
    return text


def read_query(query: QueryBundle, embedding: BaseEmbedding | None) -> tuple[str, Floats | None]:
    """The text of a query, and the vector that it is searched for by.

    Args:
        query: Its `embedding` is used as it is; otherwise its `custom_embedding_strs` are embedded
            and averaged, as LlamaIndex does; otherwise its text is.
        embedding: Embeds, and tells LlamaIndex of it; None: text alone is searched for.

    Returns:
        The text, and the vector; (1, dimensions), of unit length.

    Raises:
        DataError: the query has no text, or an image, or an embedding that is no vector, or
            something to be embedded where text alone is searched for.
    """
    text = query_text(query)
    further = [read_question(one) for one in query.custom_embedding_strs or ()]
    if embedding is None:
        if further or query.embedding is not None:
            raise DataError("The run ships BM25 alone, which reads text. Pass query_str alone.")
        return text, None
    if query.embedding is None and not further:
        return text, np.array([embedding.get_query_embedding(text)], np.float32)
    if query.embedding is not None:
        vector = _vector_of(query.embedding)
    else:
        vectors = [embedding.get_query_embedding(one) for one in further]
        vector = np.array(vectors, np.float32).mean(axis=0)
    length = max(float(np.linalg.norm(vector)), _LEAST)
    return text, np.asarray(vector / length, np.float32)[None, :]


def _vector_of(embedding: Any) -> Floats:
    with suppress(TypeError, ValueError):
        vector = np.array(embedding, np.float32)
        if vector.ndim == 1 and 0 < np.linalg.norm(vector) < np.inf:
            return vector
    raise DataError("The query's embedding must be a list of numbers, not all of them 0.")
