"""From LangChain's documents, or a store of them, to the parts that ship."""

import random
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from scripted import ScriptedModels, long_words, shared, write_run, write_topics

from aloft.backends.shared import SharedModels
from aloft.config import load_config
from aloft.errors import ConfigError, DataError, ModelError, RunFolderError
from aloft.protocols import LanguageModel
from aloft.testing import ScriptedTeacher
from langchain_aloft import AloftEmbeddings, AloftFinetuner, AloftLLM


def pieces() -> list[Document]:
    """Two sources, cut in windows of 60 characters that overlap by 20, in any order."""
    texts = {name: f"{name} holds " + " ".join(str(n * n) for n in range(60)) for name in "ab"}
    found = [
        Document(text[start : start + 60], metadata={"source": name, "start_index": start})
        for name, text in texts.items()
        for start in range(0, len(text), 40)
    ]
    random.Random(3).shuffle(found)
    return found


def store_of(documents: list[Document]) -> InMemoryVectorStore:
    return InMemoryVectorStore.from_documents(documents, AloftEmbeddings("any", models=shared()))


def test_a_stores_pieces_become_their_documents_again(tmp_path: Path) -> None:
    finetuner = AloftFinetuner.from_vectorstore(store_of(pieces()), tmp_path / "run")
    whole = sorted(document.text for document in finetuner.documents)
    assert whole == [f"{name} holds " + " ".join(str(n * n) for n in range(60)) for name in "ab"]


def test_documents_in_another_order_are_the_same_corpus(tmp_path: Path) -> None:
    """As loaders with several threads and the searches of stores return them."""
    given = [Document(f"Room {n} is locked.", metadata={"source": f"{n}.md"}) for n in range(12)]
    given += [Document(f"Room {n} is open.") for n in range(12)]
    again = random.Random(5).sample(given, len(given))
    first, second = (AloftFinetuner(one, tmp_path / "run") for one in (given, again))
    assert first.documents == second.documents


def test_pieces_without_a_place_stand_for_themselves(tmp_path: Path) -> None:
    bare = [Document(one.page_content, metadata={"source": "a"}) for one in pieces()]
    finetuner = AloftFinetuner.from_vectorstore(store_of(bare), tmp_path / "run")
    assert len(finetuner.documents) == len({one.page_content for one in bare})


def test_an_empty_store_and_an_unfinished_run_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no documents"):
        AloftFinetuner.from_vectorstore(store_of([]), tmp_path / "run")
    finetuner = AloftFinetuner.from_documents(pieces(), tmp_path / "run")
    for ask in (
        lambda: finetuner.report,
        finetuner.get_embeddings,
        finetuner.get_reranker,
        finetuner.get_chat_model,
        finetuner.get_retriever,
        finetuner.get_chain,
    ):
        with pytest.raises(DataError, match=r"holds no finished run. Call finetune\(\) first.$"):
            ask()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llm": "gpt"}, "llm is of type str, but must be a BaseChatModel"),
        ({"llm": AloftLLM(model="any")}, "llm is of type AloftLLM, but must be a BaseChatModel"),
        ({"config": {"parts": ("embedder",)}}, "config is of type dict, but must be a RunConfig"),
        ({"questions": ["Why?"]}, "questions is of type list, but must be the path"),
        ({"group_by": 3}, "group_by is of type int, but must be a str"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        AloftFinetuner(pieces(), tmp_path / "run", **fields)


def test_a_run_on_another_corpus_is_replaced_only_where_that_is_wanted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(RunFolderError, match="overwrite=True"):
        AloftFinetuner(pieces(), run).finetune()
    replacing = AloftFinetuner(pieces(), run, overwrite=True)
    with pytest.raises(ModelError, match="is not on this machine"):
        replacing.finetune()


def test_what_is_no_store_and_no_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="store is of type str, but must be a VectorStore"):
        AloftFinetuner.from_vectorstore("store", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="out is of type NoneType, but must be the path"):
        AloftFinetuner(pieces(), None)  # type: ignore[arg-type]


def test_pages_in_a_store_stand_whole_and_once(tmp_path: Path) -> None:
    pages = [f"Page {n} holds " + " ".join(str(n * i) for i in range(60)) for n in (1, 2, 3)]
    chunks = [
        Document(page[s : s + 60], metadata={"source": "a.pdf", "page": n, "start_index": s})
        for n, page in enumerate(pages)
        for s in range(0, len(page), 40)
    ]
    random.Random(5).shuffle(chunks)

    finetuner = AloftFinetuner.from_vectorstore(store_of(chunks), tmp_path / "run")

    assert [document.text for document in finetuner.documents] == ["\n\n".join(pages)]


@pytest.mark.model
def test_documents_are_tuned_on_and_what_ships_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from aloft.backends.loading import Models
    from aloft.testing import tiny_encoder, tiny_language_model

    def given(models: Models, name: str) -> LanguageModel:
        return ScriptedTeacher(long_words)

    monkeypatch.setattr(Models, "teacher", given)
    settings: dict[str, Any] = {
        "teacher": str(tiny_language_model(tmp_path / "language-model")),
        "embedder": str(tiny_encoder(tmp_path / "encoder")),
        "parts": ("embedder",),
        "pairs": {"form": "examples", "per_passage": 1, "max_passages": 12},
        "filters": {"use": ["duplicate"]},
        "embedder_training": {"num_train_epochs": 1.0},
    }
    topics = write_topics(tmp_path / "docs")
    documents = [
        Document(file.read_text(), metadata={"source": file.name, "shelf": 7})
        for file in sorted(topics.iterdir())
    ]
    config = load_config("cpu", None, settings)
    finetuner = AloftFinetuner(documents, tmp_path / "run", config=config)
    told: list[str] = []
    capsys.readouterr()  # of making the models
    finetuner.finetune(lambda name, _done, _total: told.append(name))
    assert "training the embedder" in told
    assert capsys.readouterr().err == ""  # shown in one way, the caller's
    finetuner.finetune()
    assert "reading documents: done" in capsys.readouterr().err
    AloftFinetuner(documents, tmp_path / "run", config=config, show_progress=False).finetune()
    assert capsys.readouterr().err == ""
    with pytest.raises(RunFolderError, match="holds a run on other documents"):
        AloftFinetuner(pieces(), tmp_path / "run", config=config).finetune()
    assert [verdict.part for verdict in finetuner.verdicts] == ["embedder"]
    vector = finetuner.get_embeddings().embed_query("What is a lambda?")
    assert len(vector) == 32
    found = finetuner.get_retriever(documents, k=2).invoke("What does lambda do?")
    assert len(found) == 2
    assert found[0].metadata["shelf"] == 7
    own = finetuner.get_retriever(k=2, score_key="score")
    assert own.contract.retrieval.relevance is not None  # fitted to the held-out questions
    for one in own.invoke("What does lambda do?", filter={"shelf": 7, "source": "lambda.txt"}):
        assert (one.metadata["shelf"], one.metadata["source"]) == (7, "lambda.txt")
        assert 0 < one.metadata["score"] < 1
    assert own.invoke("What does lambda do?", filter={"shelf": 8}) == []
    models = SharedModels(ScriptedModels(lambda _: "1\n\n### Answer\nIt does."))
    told_by_chain = finetuner.get_chain(models=models).invoke("What does lambda do?")
    assert (told_by_chain["answer"], len(told_by_chain["citations"])) == ("It does.", 1)
