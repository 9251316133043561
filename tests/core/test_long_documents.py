"""Questions about whole articles stay linked to the right span, however the articles are cut."""

import gzip
import json
from pathlib import Path

import pytest
from scripted import split_rejections
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from aloft.config import DocumentsConfig, PassagesConfig
from aloft.corpus.duplicates import drop_copies
from aloft.corpus.passages import DocumentSplitter
from aloft.corpus.readers import read_documents
from aloft.questions.labelled import read_questions
from aloft.text.normalising import fold
from aloft.text.overlap import holds

SOURCE = Path(__file__).parents[3] / "shared" / "data" / "covidqa_long_en"


@pytest.mark.model
@pytest.mark.skipif(not SOURCE.exists(), reason="the set covidqa_long_en is not here")
@pytest.mark.parametrize("words", [60, 250, 1000])
def test_a_question_is_linked_to_where_its_answer_stands(tmp_path: Path, words: int) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "corpus.jsonl").write_bytes(
        gzip.decompress((SOURCE / "corpus.jsonl.gz").read_bytes())
    )
    read = list(read_documents(corpus, DocumentsConfig()))
    documents, _ = split_rejections(read)
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    splitter = DocumentSplitter(tokenizer, PassagesConfig(max_tokens=words))
    outcomes = [outcome for document in documents for outcome in splitter.split(document)]
    passages, short = split_rejections(outcomes)
    passages, copies = split_rejections(list(drop_copies(passages, similarity=0.9)))
    dropped = [*short, *copies]
    file = SOURCE / "qa.jsonl.gz"
    questions = read_questions(file, documents, passages, dropped)

    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    known = {passage.id: passage for passage in passages}
    text = {document.id: document.text for document in documents}
    moved = wrong = 0
    for question, row in zip(questions, rows, strict=True):
        start, answer = row["answer_start"], row["answers"][0]
        if fold(text[row["doc_id"]][start : start + len(answer)]) != fold(answer):
            moved += 1
            continue
        spans = [known[i] for i in question.passage_ids]  # or else copies, and other places
        wrong += not all(
            (one.start < start + len(answer) and start < one.end) or holds(one.text, answer)
            for one in spans
        )
    assert len(rows) == 1354
    assert moved < 0.01 * len(rows)
    assert wrong == 0
