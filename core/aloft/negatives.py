"""Turns pairs and a ranking of all passages into hard negatives."""

from collections.abc import Sequence

import numpy as np

from aloft.backends.search import rank_dense
from aloft.config import NegativesConfig
from aloft.errors import DataError
from aloft.models import Floats
from aloft.overlap import fold
from aloft.records import Negatives, Passage, QAPair

_SHORTEST_TELLING_ANSWER = 4  # "3" or "yes" stands in passages that answer nothing


def mine_negatives(
    pairs: Sequence[QAPair],
    passages: Sequence[Passage],
    query_vectors: Floats,
    passage_vectors: Floats,
    config: NegativesConfig,
) -> list[Negatives]:
    """Pick each question's best-ranked passages that are not likely to answer it too.

    Args:
        pairs: The questions, one per row of `query_vectors`.
        passages: The whole corpus, one per row of `passage_vectors`: what is never asked about
            is met at retrieval all the same.
        query_vectors: (pairs, dimensions), rows of length one.
        passage_vectors: (passages, dimensions), rows of length one.
        config: How many to keep, how deep to look, how far below the positive to stay.

    Returns:
        Per pair up to `config.count` passages, hardest first. A list is short where too few
        qualify: padding it would teach the model noise.

    Raises:
        DataError: vectors and records do not match, or a pair's passage is not in the corpus.

    Source: step 4 of ALoFTRAG (arXiv:2501.11929); the margin is TopK-PercPos in NV-Retriever
    (arXiv:2407.15831).
    """
    if (len(pairs), len(passages)) != (len(query_vectors), len(passage_vectors)):
        raise DataError(
            f"{len(pairs)} pairs and {len(passages)} passages, but {len(query_vectors)} and "
            f"{len(passage_vectors)} vectors."
        )
    column_of = {passage.id: column for column, passage in enumerate(passages)}
    needed = (passage_id for pair in pairs for passage_id in pair.passage_ids)
    missing = next((passage_id for passage_id in needed if passage_id not in column_of), None)
    if missing is not None:
        raise DataError(f"Passage {missing} of a pair is not in the corpus. Run pairs again.")
    most = max((len(pair.passage_ids) for pair in pairs), default=1)
    ranking = rank_dense(query_vectors, passage_vectors, config.depth + most)
    folded = [fold(passage.content) for passage in passages]
    mined = []
    for row, pair in enumerate(pairs):
        positives = [column_of[passage_id] for passage_id in pair.passage_ids]
        score = float((passage_vectors[positives] @ query_vectors[row]).min())
        ceiling = score - config.margin * abs(score) if config.has_guard else np.inf
        answer = fold(pair.answer).strip(" .")
        kept = [
            (column, value)
            for column, value in zip(
                ranking.columns[row].tolist(), ranking.scores[row].tolist(), strict=True
            )
            if column not in positives
            and value <= ceiling
            and not (config.has_guard and _tells(answer) and answer in folded[column])
        ][: config.count]
        mined.append(
            Negatives(
                pair_id=pair.id,
                passage_ids=tuple(passages[column].id for column, _ in kept),
                scores=tuple(round(value, 4) for _, value in kept),
            )
        )
    return mined


def _tells(answer: str) -> bool:
    return len(answer) >= _SHORTEST_TELLING_ANSWER
