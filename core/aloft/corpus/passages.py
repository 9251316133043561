"""Turns documents into passages that fit the embedder, and drops short ones and copies."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aloft.config import PassagesConfig
from aloft.protocols import Progress, no_progress
from aloft.records import Document, Passage, Rejection

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter
    from tokenizers import Tokenizer

_STAGE = "passages"
_BLOCK_CHARACTERS = 20_000  # the splitter's time grows faster than its text: 1.7 times at 500,000
_CHARACTERS_PER_TOKEN = 20  # a tokenizer that does not know a script makes one token of a page
_SHINGLE = 5
_PERMUTATIONS = 128
_COMPARED = 8  # candidates whose true similarity is computed
_RECALL_WEIGHTS = (0.02, 0.98)  # finds 96 % of pairs that are exactly at the threshold of 0.9
_HIGHEST_INDEXED_SIMILARITY = 0.95  # above it, datasketch finds no bands for 128 permutations
_BREAKS = tuple(re.compile(pattern) for pattern in (r"\n(?=#)", r"\n[ \t]*\n", r"\n", r"\s"))
_UNSPACED = re.compile(  # Thai, Lao, Burmese, Khmer, Japanese, Chinese
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)


def split_documents(
    documents: Sequence[Document],
    config: PassagesConfig,
    tokenizer: "Tokenizer",
    progress: Progress = no_progress,
) -> tuple[list[Passage], list[Rejection]]:
    """Cut documents at the largest joints that fit, and keep the first of passages that are alike.

    Args:
        documents: In the order that decides which of two copies is kept.
        config: Length, in tokens without the special ones, of title and text together.
        tokenizer: The embedder's; it is copied, so its truncation and padding stay as they are.
        progress: Told after each block of about 20,000 characters.

    Returns:
        Passages with `document.text[start:end] == text`, and what was dropped. The detail of a
        copy begins with `of passage <id>`, the one that was kept, and says where the copy stood.
    """
    cutter = _Cutter(tokenizer, config.max_tokens)
    copies = _Copies(config.near_duplicate_similarity)
    passages: list[Passage] = []
    rejections: list[Rejection] = []
    total = sum(len(_blocks(document.text)) for document in documents)
    done = 0
    for document in documents:
        title = cutter.fitting_title(document.title)
        for start, end in _blocks(document.text):
            for passage in cutter.cut(document, title, start, end):
                rejection = _too_short(passage, config) or copies.rejection_of(passage)
                if rejection is None:
                    passages.append(passage)
                else:
                    rejections.append(rejection)
            done += 1
            progress("cutting passages", done, total)
    return passages, rejections


def _too_short(passage: Passage, config: PassagesConfig) -> Rejection | None:
    if len(passage.text) >= config.min_characters:
        return None
    return Rejection(
        subject_id=passage.id,
        stage=_STAGE,
        reason=f"shorter than {config.min_characters} characters",
        detail=_place_of(passage),
    )


def _place_of(passage: Passage) -> str:
    return f"at characters {passage.start} to {passage.end} of {passage.document_id}"


def _blocks(text: str) -> list[tuple[int, int]]:
    """Spans of about 20,000 characters, cut before a heading or at a blank line if there is one."""
    spans: list[tuple[int, int]] = []
    start = 0
    while len(text) - start > 2 * _BLOCK_CHARACTERS:
        low, high = start + _BLOCK_CHARACTERS, start + 2 * _BLOCK_CHARACTERS
        found = (pattern.search(text, low, high) for pattern in _BREAKS)
        end = next((match.end() for match in found if match), high)
        spans.append((start, end))
        start = end
    return [*spans, (start, len(text))]


class _Cutter:
    """A tokenizer and the splitters made of it, one for each room that titles leave."""

    def __init__(self, tokenizer: "Tokenizer", max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._max_tokens = max_tokens
        self._splitters: dict[tuple[int, bool], TextSplitter | MarkdownSplitter] = {}

    def fitting_title(self, title: str) -> str:
        """The title, cut where it would take more than half of every passage."""
        offsets = self._offsets(title)
        most = self._max_tokens // 2
        return title[: offsets[most - 1][1]].rstrip() if len(offsets) > most else title

    def cut(self, document: Document, title: str, start: int, end: int) -> Iterator[Passage]:
        """Passages of one block of a document, trimmed, each with its place in the document."""
        room = self._max_tokens - len(self._offsets(title))
        splitter = self._splitter(room, is_markdown=document.id.lower().endswith(".md"))
        for offset, chunk in splitter.chunk_indices(document.text[start:end]):
            for further, text in self._bounded(chunk, room * _CHARACTERS_PER_TOKEN):
                bare = text.strip()
                if bare:
                    yield Passage(
                        document_id=document.id,
                        text=bare,
                        start=start + offset + further + len(text) - len(text.lstrip()),
                        title=title,
                    )

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer.encode(text, add_special_tokens=False).offsets if text else []

    def _splitter(self, room: int, *, is_markdown: bool) -> "TextSplitter | MarkdownSplitter":
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        key = (room, is_markdown)
        if key not in self._splitters:
            kind = MarkdownSplitter if is_markdown else TextSplitter
            self._splitters[key] = kind.from_huggingface_tokenizer(self._tokenizer, room)
        return self._splitters[key]

    def _bounded(self, chunk: str, most: int) -> list[tuple[int, str]]:
        from semantic_text_splitter import TextSplitter

        return [(0, chunk)] if len(chunk) <= most else TextSplitter(most).chunk_indices(chunk)


class _Copies:
    """The passages kept so far, searchable for copies.

    MinHash finds and ranks candidates; the true Jaccard similarity of their shingles decides, so
    that an estimate never drops a passage. Only the best candidates are compared: filled-in forms
    are all candidates of each other.
    """

    def __init__(self, similarity: float) -> None:
        from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]

        self._similarity = similarity
        self._empty: Any = MinHash(num_perm=_PERMUTATIONS)
        self._index: Any = MinHashLSH(
            threshold=min(similarity, _HIGHEST_INDEXED_SIMILARITY),
            num_perm=_PERMUTATIONS,
            weights=_RECALL_WEIGHTS,
        )
        self._kept: list[Passage] = []
        self._sketches: NDArray[np.uint32] = np.empty((1024, _PERMUTATIONS), dtype=np.uint32)
        self._exact: dict[str, Passage] = {}

    def rejection_of(self, passage: Passage) -> Rejection | None:
        """Why the passage is a copy of an earlier one; where it is none, it is kept in mind."""
        normal = _normalise(passage.text)
        if normal in self._exact:
            return _reject_copy(passage, "exact duplicate", self._exact[normal])
        shingles = _shingles(normal)
        sketch = self._empty.copy()
        sketch.update_batch(shingles)
        for number in self._best(self._index.query(sketch), sketch.hashvalues):
            kept = self._kept[number]
            if _jaccard(shingles, _shingles(_normalise(kept.text))) >= self._similarity:
                return _reject_copy(passage, "near duplicate", kept)
        self._keep(passage, sketch)
        self._exact[normal] = passage
        return None

    def _best(self, candidates: Iterable[int], sketch: NDArray[np.uint32]) -> list[int]:
        """Those of highest estimated similarity, in the order in which they were kept."""
        numbers = np.array(sorted(candidates), dtype=np.intp)
        agreement = np.count_nonzero(self._sketches[numbers] == sketch, axis=1)
        best = np.argsort(-agreement, kind="stable")[:_COMPARED]
        return sorted(int(number) for number in numbers[best])

    def _keep(self, passage: Passage, sketch: Any) -> None:
        number = len(self._kept)
        if number == len(self._sketches):
            self._sketches = np.concatenate([self._sketches, np.empty_like(self._sketches)])
        self._sketches[number] = sketch.hashvalues
        self._index.insert(number, sketch)
        self._kept.append(passage)


def _reject_copy(passage: Passage, reason: str, kept: Passage) -> Rejection:
    return Rejection(
        subject_id=passage.id,
        stage=_STAGE,
        reason=reason,
        detail=f"of passage {kept.id}, {_place_of(passage)}",
    )


def _normalise(text: str) -> str:
    return " ".join(text.casefold().split())


def _shingles(normal: str) -> frozenset[bytes]:
    """Runs of five words, or of five characters where the script puts no space between words."""
    is_unspaced = 3 * len(_UNSPACED.findall(normal)) > len(normal)
    units: Sequence[str] = normal.replace(" ", "") if is_unspaced else normal.split()
    joint = "" if is_unspaced else " "
    count = max(1, len(units) - _SHINGLE + 1)
    return frozenset(
        joint.join(units[number : number + _SHINGLE]).encode("utf-8", "surrogatepass")
        for number in range(count)
    )


def _jaccard(ours: frozenset[bytes], theirs: frozenset[bytes]) -> float:
    return len(ours & theirs) / len(ours | theirs)
