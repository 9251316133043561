"""From documents to a cross-encoder's dataset: questions, nearest chunks, labels."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from llama_index.core.schema import Document
from scripted import shared
from test_llama_index_finetune import EchoLLM

from aloft.config import RunConfig
from aloft.errors import ConfigError, DataError
from llama_index_aloft import AloftEmbedding, AloftLLM
from llama_index_aloft.finetuning import (
    CrossEncoderFinetuneEngine,
    CrossEncoderFinetuningDatasetSample,
    EmbeddingQAFinetuneDataset,
    generate_ce_fine_tuning_dataset,
    generate_synthetic_queries_over_documents,
)

DOCUMENTS = [
    Document(text="The ferry leaves from the north quay at nine."),
    Document(text="The canteen serves soup every Wednesday."),
    Document(text=" "),
]
NAMES = ("ferry", "canteen")
QUESTIONS = ["When does the ferry leave from the quay?", "", "When does the canteen serve soup?"]


class Saying(EchoLLM):
    """Replies by a function of the request."""

    say: Callable[[str], str]

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.say(prompt))

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        response = super().chat(messages, **kwargs)
        response.message.content = self.say("|".join(one.content for one in messages))
        return response


def label(say: Callable[[str], str], **fields: Any) -> list[CrossEncoderFinetuningDatasetSample]:
    how: dict[str, Any] = {"questions_list": QUESTIONS, "llm": Saying(say=say), "verbose": False}
    embedding = AloftEmbedding("any", models=shared())
    return generate_ce_fine_tuning_dataset(
        **{"documents": DOCUMENTS, "embed_model": embedding, **how, **fields}
    )


def right(request: str) -> str:
    """Whether the last query and document are about the same thing."""
    asked = request.rpartition("Query: ")[2]
    query, _, document = asked.partition("Document: ")
    return "Yes" if any(name in query and name in document for name in NAMES) else "no."


# ---- labels


def test_the_nearest_chunks_of_each_question_are_labelled() -> None:
    samples = label(right)
    found = {(one.query, one.context): one.score for one in samples}
    assert found == {
        (question, document.text): int(name in document.text)
        for question, name in ((QUESTIONS[0], "ferry"), (QUESTIONS[2], "canteen"))
        for document in DOCUMENTS[:2]
    }
    nearest = label(right, top_k=1)
    assert [(one.context, one.score) for one in nearest] == [
        (document.text, 1) for document in DOCUMENTS[:2]
    ]


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Yes", 1),
        (" yes.\n\nQuery: ...", 1),
        ("**No**", 0),
        ("NO, because yes", 0),
        ("<think>\nNo?\n</think>\n\nYes", 1),
    ],
)
def test_the_first_word_of_a_reply_counts(reply: str, score: int) -> None:
    assert {sample.score for sample in label(lambda _: reply)} == {score}


def test_what_is_neither_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    replies = iter(["Yes", "Perhaps", "Nothing", "no"])
    assert [sample.score for sample in label(lambda _: next(replies))] == [1, 0]
    assert 'Of 4 replies 2 are neither "Yes" nor "No", and left out.' in caplog.messages


def test_labels_are_kept_where_the_work_is_interrupted(tmp_path: Path) -> None:
    file, calls = tmp_path / "labels.jsonl", list[str]()

    def stop(request: str) -> str:
        calls.append(request)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return "Perhaps" if len(calls) == 1 else right(request)

    with pytest.raises(KeyboardInterrupt):
        label(stop, output_path=str(file))
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [row["score"] for row in rows] == [None, 0]
    assert rows[0].keys() == {"query", "context", "score"}

    samples = label(stop, output_path=str(file))
    assert len(calls) == 5  # of four pairs two were left; the third is asked about again
    assert len(samples) == 3
    assert label(lambda _: pytest.fail("asked"), output_path=str(file)) == samples


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"llm": "gpt"}, "llm is of type str, but must be a LLM"),
        ({"top_k": 0}, "top_k is 0"),
        ({"max_chunk_length": -1}, "max_chunk_length is -1"),
        ({"qa_doc_relevance_prompt": "{question}"}, "It may hold {query}, {document}"),
        ({"documents": "docs"}, "A list of BaseNode objects is expected, but str was given"),
        ({"documents": DOCUMENTS[2:]}, "The documents hold no text"),
        ({"questions_list": "Why?"}, "A list of str objects is expected"),
        ({"questions_list": [7]}, "but int was given"),
    ],
)
def test_arguments_are_checked_before_anything_is_asked(fields: Any, words: str) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(words)) as caught:
        label(lambda _: pytest.fail("asked"), **fields)
    assert "\n" not in str(caught.value)


def test_a_file_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text('{"query": "q"}\n')
    with pytest.raises(DataError, match='line 1 holds no "query", "context" and "score"'):
        label(right, output_path=str(file))
    assert file.read_text() == '{"query": "q"}\n'


@pytest.mark.parametrize("content", [b"\x89PNG\xff", None])
def test_what_cannot_be_read_as_labels_is_told_in_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "labels"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read|line 1 holds no"):
        label(right, output_path=str(file))


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_labels_of_texts_with_separators_of_lines_are_read_again(
    tmp_path: Path, separator: str
) -> None:
    file = tmp_path / "labels.jsonl"
    how: dict[str, Any] = {
        "documents": [Document(text=f"The pump{separator}is oiled.")],
        "questions_list": ["What is oiled?"],
        "output_path": str(file),
    }
    asked: list[str] = []

    def say(prompt: str) -> str:
        asked.append(prompt)
        return "Yes"

    for _ in range(2):
        (sample,) = label(say, **how)
        assert separator in sample.context
    assert len(asked) == 1


@pytest.mark.model
def test_a_local_model_labels_by_its_probabilities(embedded_models: RunConfig) -> None:
    llm = AloftLLM(model=embedded_models.teacher)
    samples = label(right, llm=llm)  # of a base of 135M the labels are often wrong, but there
    assert len(samples) == 4
    assert {sample.score for sample in samples} <= {0, 1}


# ---- questions


def ask(say: Callable[[str], str], **fields: Any) -> list[str]:
    how = {"documents": DOCUMENTS, "num_questions_per_chunk": 2, "verbose": False, **fields}
    return generate_synthetic_queries_over_documents(llm=Saying(say=say), **how)


def two(request: str) -> str:
    name = next(name for name in NAMES if name in request)
    return f"Here they are:\n1. Where is the {name}?; When is the {name}?; Who?"


def test_of_a_reply_the_questions_count() -> None:
    told: list[str] = []
    questions = ask(lambda request: told.append(request) or two(request), qa_topic="harbours")  # type: ignore[func-returns-value]
    assert questions == [f"{word} is the {name}?" for name in NAMES for word in ("Where", "When")]
    assert len(told) == 2
    assert all("harbours" in request and "2 questions" in request for request in told)


def test_long_documents_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    text = " ".join(f"The ferry number {n} is red." for n in range(40))
    told: list[str] = []
    documents = [Document(text=text)]
    ask(lambda request: told.append(request) or "Why?", documents=documents, max_chunk_length=100)  # type: ignore[func-returns-value]
    assert len(told) > 2
    assert f"{len(told)} of {len(told)} chunks have fewer than 2 questions." in caplog.messages


def test_questions_are_kept_where_the_work_is_interrupted(tmp_path: Path) -> None:
    file, calls = str(tmp_path / "questions.json"), list[str]()

    def stop(request: str) -> str:
        calls.append(request)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return two(request)

    with pytest.raises(KeyboardInterrupt):
        ask(stop, output_path=file)
    assert len(EmbeddingQAFinetuneDataset.from_json(file).queries) == 2
    assert len(ask(stop, output_path=file)) == 4
    assert len(calls) == 3
    assert len(ask(lambda _: pytest.fail("asked"), documents=DOCUMENTS[:1], output_path=file)) == 2


def test_a_message_that_can_not_be_filled_in_is_told_first() -> None:
    for name in ("qa_generate_system_msg", "qa_generate_user_msg"):
        with pytest.raises(ConfigError, match=f"{name} cannot be filled in"):
            ask(lambda _: pytest.fail("asked"), **{name: "{what}"})


@pytest.mark.model
def test_the_guide_leads_from_documents_to_a_query_engine(tmp_path: Path) -> None:
    from aloft.testing import tiny_encoder

    names = ("cat", "dog", "owl", "eel", "bat", "fox")
    documents = [Document(text=f"The {name} sleeps in room {n}.") for n, name in enumerate(names)]

    def answer(request: str) -> str:
        if "Query: " not in request:
            return f"Where does the {next(name for name in names if name in request)} sleep?"
        query, _, document = request.rpartition("Query: ")[2].partition("Document: ")
        return "Yes" if any(name in query and name in document for name in names) else "No"

    llm = Saying(say=answer)
    questions = generate_synthetic_queries_over_documents(documents, 1, llm=llm, verbose=False)
    embedding = AloftEmbedding("any", models=shared())
    samples = generate_ce_fine_tuning_dataset(
        documents, questions, llm=llm, top_k=6, embed_model=embedding, verbose=False
    )
    assert sorted(sample.score for sample in samples) == [0] * 30 + [1] * 6

    engine = CrossEncoderFinetuneEngine(
        samples,
        str(tiny_encoder(tmp_path / "encoder")),
        str(tmp_path / "out"),
        batch_size=36,
        val_dataset=samples,
        epochs=60,
        show_progress_bar=False,
    )
    engine.finetune()
    rerank = engine.get_finetuned_model(top_n=2)
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    asking = index.as_query_engine(llm=llm, similarity_top_k=6, node_postprocessors=[rerank])
    response = asking.query("Where does the owl sleep?")
    assert len(response.source_nodes) == 2
    scores = rerank.postprocess_nodes(
        index.as_retriever(similarity_top_k=6).retrieve(questions[0]), query_str=questions[0]
    )
    assert scores[0].score > scores[1].score  # type: ignore[operator]
