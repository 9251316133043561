"""What the host programs share: documents, questions asked by people, one run, and one measure.

    PYTHONPATH=examples python -m hosts.llama_index.router [FOLDER]

FOLDER holds corpus.jsonl.gz (id, title, text) and qa.jsonl.gz (question, doc_id). Without one the
programs search Python's own reference, and are asked what was written for it by hand. They stand
in folders named as their hosts, so PYTHONPATH names the folder above, never this one.
"""

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from python_reference.demo import choose_topics

from aloft import Aloft, load_config
from aloft.backends.packaged import fetch_model
from aloft.evaluation.bootstrap import Comparison, compare
from aloft.evaluation.charts import Estimate, draw_forest
from aloft.records import Document, content_id
from aloft.serving.bundle import ships
from aloft.terminal.progress import shown_progress

BY_HAND = Path(__file__).parents[1] / "python_reference" / "questions.jsonl"
SETTINGS = {  # a small training: under four minutes of processor time
    "parts": ("embedder", "reranker"),
    "pairs": {"max_passages": 80, "per_passage": 1},
    "training_sets": {"cloze_rows": 150},
    "embedder_training": {"num_train_epochs": 1.0, "max_seq_length": 128},
    "evaluation": {"rerank_depth": 20},
}
Found = Sequence[tuple[str, str]]  # document id and text of what was found, best first


@dataclass(frozen=True)
class Question:
    """A question by a person, and where its answer stands."""

    text: str
    document_id: str
    passage: str = ""  # a sentence of that document; empty: any part of it will do

    def is_answered_by(self, document_id: str, text: str) -> bool:
        return document_id == self.document_id and self.passage in " ".join(text.split())


@dataclass(frozen=True)
class Corpus:
    name: str
    documents: list[Document]
    questions: list[Question]

    def sample(self, count: int) -> list[Question]:
        """Some of the questions, drawn with a fixed seed: for programs that ask a chat model."""
        return random.Random(0).sample(self.questions, min(count, len(self.questions)))

    def part(self, characters: int = 80_000) -> "Corpus":
        """Some documents, likewise drawn, and the questions about them."""
        drawn: list[Document] = []
        for document in random.Random(0).sample(self.documents, len(self.documents)):
            if sum(len(one.text) for one in drawn) < characters:
                drawn.append(document)
        known = {one.id for one in drawn}
        asked = [question for question in self.questions if question.document_id in known]
        return Corpus(self.name, drawn, asked)


def read_corpus(folder: str | None = None, *, max_questions: int | None = 200) -> Corpus:
    """Read a folder, or Python's reference; programs pass on their command line."""
    if folder:
        corpus, asked = (_read(Path(folder) / f"{name}.jsonl.gz") for name in ("corpus", "qa"))
        documents = [Document(id=one["id"], title=one["title"], text=one["text"]) for one in corpus]
        questions = [Question(one["question"], one["doc_id"]) for one in asked]
        whole = Corpus(Path(folder).name, documents, questions)
        return replace(whole, questions=whole.sample(max_questions or len(asked)))
    topics = {f"{name}.txt": text for name, text in choose_topics().items()}
    documents = [Document(id=name, title=name[:-4], text=text) for name, text in topics.items()]
    by_hand = [Question(q["question"], q["document_id"], q["passage"]) for q in _read(BY_HAND)]
    known = [q for q in by_hand if q.is_answered_by(q.document_id, topics.get(q.document_id, ""))]
    return Corpus("python-reference", documents, known)


def shared_run(corpus: Corpus) -> Path:
    """The folder of a run on these documents, which is made once."""
    config = load_config("cpu", overrides=SETTINGS)
    texts = (text for one in corpus.documents for text in (one.id, one.title, one.text))
    content = content_id(config.model_dump_json(), *texts)
    out = Path("runs") / "hosts" / f"{corpus.name}-{content[:8]}"
    for name in (config.embedder, config.teacher):
        fetch_model(name)
    if not ships(out):
        with shown_progress() as progress:
            Aloft(config).run(corpus.documents, out, progress=progress)
    return out


def compare_found(
    questions: Sequence[Question], host: Sequence[Found], ours: Sequence[Found]
) -> list[Comparison]:
    """What the host's own part and ours find for the same questions: hit@5 and nDCG@10."""
    before, after = _ranks(questions, host), _ranks(questions, ours)
    clusters = [question.document_id for question in questions]
    return [
        compare("hit@5", 1.0 * (before <= 5), 1.0 * (after <= 5), clusters, seed=0),
        compare("nDCG@10", _gains(before), _gains(after), clusters, seed=0),
    ]


def print_gain(
    program: str, questions: Sequence[Question], host: Sequence[Found], ours: Sequence[Found]
) -> None:
    """A program's last line."""
    parts = []
    for one in compare_found(questions, host, ours):
        interval = f" [{one.low:+.3f}, {one.high:+.3f}]" if one.low is not None else ""
        gain = f"{one.gain:+.3f}{interval}"
        parts.append(f"{one.metric} {one.before:.3f} -> {one.after:.3f}, {gain}")
    print(f"{program}: {'; '.join(parts)}; n = {len(questions)}")


class Picture(str):
    """An SVG that notebooks show."""

    def _repr_svg_(self) -> str:
        return str(self)


STYLE = """<style>text { font: 13px sans-serif } .group { font-weight: bold }
.grid { stroke: #ddd } .zero { stroke: #777 } .stroke { stroke-width: 2.5 }
.kept { stroke: #2a6f4e } .other { stroke: #777 } .dot { fill: #fff; stroke-width: 2.5 }
</style><rect width="100%" height="100%" fill="#fff"/>"""


def draw_gains(gains: Mapping[str, Sequence[Comparison]]) -> Picture:
    """Gains with their intervals, in percentage points, by what was changed."""
    estimates = []
    for change, compared in gains.items():
        for one in compared:
            gain, low, high = (100 * (value or 0.0) for value in (one.gain, one.low, one.high))
            figure = f"{100 * one.before:.0f} to {100 * one.after:.0f}, {gain:+.1f}"
            mark = "other" if one.includes_loss else "kept"
            known = {"gain": gain, "low": low, "high": high, "figure": figure, "mark": mark}
            estimates.append(Estimate(group=change, label=one.metric, **known))
    drawn = draw_forest("gains", "Gains with their 95 % intervals", estimates)
    opening, rest = drawn.split(">", 1)
    return Picture(f'{opening} xmlns="http://www.w3.org/2000/svg">{STYLE}{rest}')


def _ranks(questions: Sequence[Question], found: Sequence[Found]) -> np.ndarray:
    """Rank of the first that answers each question, from 1; infinite where none does."""
    ranks = np.full(len(questions), np.inf)
    for i, (question, pieces) in enumerate(zip(questions, found, strict=True)):
        right = [rank for rank, one in enumerate(pieces, 1) if question.is_answered_by(*one)]
        ranks[i] = min(right, default=np.inf)
    return ranks


def _gains(ranks: np.ndarray) -> np.ndarray:
    """nDCG@10 where one piece is right."""
    return np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0.0)


def _read(file: Path) -> list[dict[str, Any]]:
    whole = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in whole.splitlines()]
