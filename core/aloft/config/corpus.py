"""Settings of reading documents and splitting them into passages."""

from typing import Annotated

from pydantic import Field

from aloft.config.base import Settings, Share, Tokens


class DocumentsConfig(Settings):
    """Which files are read.

    Attributes:
        max_megabytes: A larger file is skipped and listed, so that one file cannot dominate the
            corpus.
    """

    max_megabytes: Annotated[float, Field(gt=0, le=1_000_000)] = 20.0


class PassagesConfig(Settings):
    """How documents are split into passages.

    Attributes:
        max_tokens: Longest passage, in tokens of the embedder's tokenizer. ALoFTRAG's texts come
            already split; 200 tokens with a title fit the 256 that small encoders read.
        window_tokens: Longest stretch of a passage that is embedded at once; a passage scores as
            its best window does. None: as many tokens as the embedder reads.
        min_characters: A shorter passage has too little to ask about and is dropped. A character of
            Chinese, Japanese or Korean counts as three.
        near_duplicate_similarity: Jaccard similarity of word 5-shingles from which a passage counts
            as a copy of an earlier one; MinHash finds the candidates.
    """

    max_tokens: Tokens = 200
    window_tokens: Tokens | None = None
    min_characters: Annotated[int, Field(ge=0, le=1_000_000)] = 40
    near_duplicate_similarity: Share = 0.9
