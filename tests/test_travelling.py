"""Every public class of both host packages is copied, packed and written down as hosts do it.

The copy is then used, and gives what the original gives.
"""

import copy
import inspect
import json
import multiprocessing
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import langchain_aloft
import llama_index_aloft
from aloft.serving.bundle import Bundle
from llama_index_aloft import finetuning

pytestmark = pytest.mark.model

QUESTION = "Where is the ferry?"
TEXTS = ("The ferry is at the quay.", "The market is behind the church.", "A lighthouse blinks.")


@dataclass
class Made:
    """A component, and what it gives.

    Attributes:
        part: The component.
        use: What a copy of it must give too.
        why_not: Why its host cannot write it down and read it back.
    """

    part: Any
    use: Callable[[Any], Any]
    why_not: str = ""


@dataclass
class Site:
    """Where the tiny models lie; paths relative to the working directory, or absolute."""

    root: Path
    is_relative: bool = False

    def path(self, name: str) -> str:
        return name if self.is_relative else str(self.root / name)

    @property
    def encoder(self) -> str:
        return self.path("encoder")

    @property
    def writer(self) -> str:
        return self.path("writer")

    @property
    def run(self) -> str:
        """A finished run that ships the tiny models as they are."""
        return self.path("run")

    @property
    def contract(self) -> Bundle:
        return llama_index_aloft.retriever.read_bundle(Path(self.run))


OWN_HOST = "{} have no form that can be written down"


# ---- LlamaIndex


def li_nodes() -> list[Any]:
    from llama_index.core.schema import TextNode

    return [TextNode(id_=str(i), text=text) for i, text in enumerate(TEXTS)]


def li_embedding(at: Site) -> Made:
    part = llama_index_aloft.AloftEmbedding(at.encoder)
    return Made(part, lambda one: one.get_query_embedding(QUESTION))


def li_llm(at: Site) -> Made:
    part = llama_index_aloft.AloftLLM(at.writer, max_tokens=4)
    return Made(part, lambda one: one.complete(QUESTION).text)


def li_rerank(at: Site) -> Made:
    from llama_index.core.schema import NodeWithScore

    part = llama_index_aloft.AloftRerank(at.encoder, top_n=2)
    nodes = [NodeWithScore(node=node) for node in li_nodes()]
    return Made(part, lambda one: li_found(one.postprocess_nodes(nodes, query_str=QUESTION)))


def li_rater(at: Site) -> Made:
    part = llama_index_aloft.AloftRater(model=at.writer)
    return Made(part, lambda one: [node.metadata["aloft_rating"] for node in one(li_nodes())])


def li_rater_by_llm(at: Site) -> Made:
    part = llama_index_aloft.AloftRater(llm=llama_index_aloft.AloftLLM(at.writer, max_tokens=4))
    return Made(part, lambda one: [node.metadata["aloft_rating"] for node in one(li_nodes())])


def li_found(nodes: list[Any]) -> list[Any]:
    return [(one.node.node_id, pytest.approx(one.score, abs=1e-6)) for one in nodes]


def li_retriever(at: Site) -> Made:
    part = llama_index_aloft.AloftRetriever.from_run(at.run, li_nodes())
    why_not = OWN_HOST.format("LlamaIndex' retrievers")
    return Made(part, lambda one: li_found(one.retrieve(QUESTION)), why_not)


def li_retriever_of_run(at: Site) -> Made:
    part = llama_index_aloft.AloftRetriever.from_run(at.run)
    why_not = OWN_HOST.format("LlamaIndex' retrievers")
    return Made(part, lambda one: li_found(one.retrieve(QUESTION)), why_not)


def li_query_engine(at: Site) -> Made:
    part = llama_index_aloft.AloftCitationQueryEngine.from_run(at.run, li_nodes())
    why_not = OWN_HOST.format("LlamaIndex' query engines")

    def use(one: Any) -> Any:
        response = one.query(QUESTION)
        return response.response, response.metadata["shown"]

    return Made(part, use, why_not)


def li_finetune_engine(at: Site) -> Made:
    config = llama_index_aloft.engine.load_config("cpu", None, {"embedder": at.encoder})
    part = llama_index_aloft.AloftFinetuneEngine(li_nodes(), at.run, config=config)
    why_not = OWN_HOST.format("fine-tune engines")

    def use(one: Any) -> Any:
        texts = [document.text for document in one.documents]
        return texts, one.get_finetuned_model().get_query_embedding(QUESTION)

    return Made(part, use, why_not)


def li_progress_event(_at: Site) -> Made:
    part = llama_index_aloft.AloftProgressEvent(stage="training", done=1, total=2)
    why_not = "LlamaIndex' events are sent, and not read back"
    return Made(part, lambda one: (one.stage, one.done, one.total), why_not)


def li_teacher(at: Site) -> Made:
    part = llama_index_aloft.LlamaIndexTeacher(llama_index_aloft.AloftLLM(at.writer, max_tokens=4))
    return Made(part, use_teacher, "it is our protocol, not LlamaIndex' class")


def use_teacher(one: Any) -> Any:
    from aloft.protocols import Prompt
    from aloft.records import Message

    prompt = Prompt(messages=(Message(role="user", content=QUESTION),))
    return one.complete([prompt], max_new_tokens=4), one.fingerprint


def li_dataset(_at: Site) -> Made:
    return Made(qa_dataset(), lambda one: one.query_docid_pairs, "it has save_json and from_json")


def qa_dataset() -> finetuning.EmbeddingQAFinetuneDataset:
    return finetuning.EmbeddingQAFinetuneDataset(
        queries={str(i): f"{text}?" for i, text in enumerate(TEXTS)},
        corpus={str(i): text for i, text in enumerate(TEXTS)},
        relevant_docs={str(i): [str(i)] for i in range(len(TEXTS))},
    )


def li_sample(_at: Site) -> Made:
    part = finetuning.CrossEncoderFinetuningDatasetSample(QUESTION, TEXTS[0], 1.0)
    return Made(part, lambda one: (one.query, one.context, one.score), "it is a dataclass")


def li_adapter_embedding(at: Site) -> Made:
    base = llama_index_aloft.AloftEmbedding(at.encoder)
    part = finetuning.AdapterEmbedding(base, at.path("map"))
    return Made(part, lambda one: (one.get_query_embedding(QUESTION), one.fingerprint))


def li_embedder_engine(at: Site) -> Made:
    part = finetuning.SentenceTransformersFinetuneEngine(
        qa_dataset(), at.encoder, at.path("embedder"), epochs=1, show_progress_bar=False
    )

    def use(one: Any) -> Any:
        one.finetune()
        return one.get_finetuned_model().get_query_embedding(QUESTION)

    return Made(part, use, OWN_HOST.format("fine-tune engines"))


def li_adapter_engine(at: Site) -> Made:
    base = llama_index_aloft.AloftEmbedding(at.encoder)
    folder = at.path("new map")
    part = finetuning.EmbeddingAdapterFinetuneEngine(qa_dataset(), base, model_output_path=folder)

    def use(one: Any) -> Any:
        one.finetune()
        return one.get_finetuned_model().get_query_embedding(QUESTION)

    return Made(part, use, OWN_HOST.format("fine-tune engines"))


def li_cross_encoder_engine(at: Site) -> Made:
    samples = [
        finetuning.CrossEncoderFinetuningDatasetSample(QUESTION, text, float(i == 0))
        for i, text in enumerate(TEXTS)
    ]
    part = finetuning.CrossEncoderFinetuneEngine(
        samples, at.encoder, at.path("reranker"), epochs=1, show_progress_bar=False
    )

    def use(one: Any) -> Any:
        one.finetune()
        model = one.get_finetuned_model()
        return model.models.reranker(model.model).score([(QUESTION, text) for text in TEXTS])

    return Made(part, use, OWN_HOST.format("fine-tune engines"))


# ---- LangChain


def lc_documents() -> list[Any]:
    from langchain_core.documents import Document

    return [Document(text, metadata={"source": str(i)}) for i, text in enumerate(TEXTS)]


def lc_embeddings(at: Site) -> Made:
    part = langchain_aloft.AloftEmbeddings(at.encoder)
    why_not = OWN_HOST.format("LangChain's embeddings")
    return Made(part, lambda one: one.embed_query(QUESTION), why_not)


def lc_llm(at: Site) -> Made:
    part = langchain_aloft.AloftLLM(model=at.writer, max_tokens=4)
    return Made(part, lambda one: one.invoke(QUESTION))


def lc_chat(at: Site) -> Made:
    part = langchain_aloft.ChatAloft(model=at.writer, max_tokens=4)
    return Made(part, lambda one: one.invoke(QUESTION).content)


def lc_chat_in_sequence(at: Site) -> Made:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    prompt = ChatPromptTemplate.from_messages([("user", "Say it: {it}")])
    chat = langchain_aloft.ChatAloft(model=at.writer, max_tokens=4)
    return Made(prompt | chat | StrOutputParser(), lambda one: one.invoke({"it": QUESTION}))


def lc_reranker(at: Site) -> Made:
    part = langchain_aloft.AloftReranker(model=at.encoder, top_n=2)
    why_not = OWN_HOST.format("LangChain's compressors")

    def use(one: Any) -> Any:
        return [found.page_content for found in one.compress_documents(lc_documents(), QUESTION)]

    return Made(part, use, why_not)


def lc_retriever(at: Site) -> Made:
    part = langchain_aloft.AloftRetriever.from_run(at.run, lc_documents())
    why_not = OWN_HOST.format("LangChain's retrievers")
    return Made(part, lambda one: [found.page_content for found in one.invoke(QUESTION)], why_not)


def lc_retriever_of_run(at: Site) -> Made:
    part = langchain_aloft.AloftRetriever.from_run(at.run)
    why_not = OWN_HOST.format("LangChain's retrievers")
    return Made(part, lambda one: [found.page_content for found in one.invoke(QUESTION)], why_not)


def lc_chain(at: Site) -> Made:
    part = langchain_aloft.create_citation_chain(at.run)
    why_not = OWN_HOST.format("LangChain's functions in a chain")

    def use(one: Any) -> Any:
        answered = one.invoke(QUESTION)
        return answered["answer"], [found.page_content for found in answered["context"]]

    return Made(part, use, why_not)


def lc_finetuner(at: Site) -> Made:
    config = langchain_aloft.finetuner.load_config("cpu", None, {"embedder": at.encoder})
    part = langchain_aloft.AloftFinetuner(lc_documents(), at.run, config=config)
    why_not = OWN_HOST.format("fine-tuners")

    def use(one: Any) -> Any:
        texts = [document.text for document in one.documents]
        return texts, one.get_embeddings().embed_query(QUESTION)

    return Made(part, use, why_not)


def lc_teacher(at: Site) -> Made:
    chat = langchain_aloft.ChatAloft(model=at.writer, max_tokens=4)
    return Made(langchain_aloft.LangChainTeacher(chat), use_teacher, "it is our protocol")


MAKERS = [
    *(li_embedding, li_llm, li_rerank, li_rater, li_rater_by_llm, li_retriever),
    *(li_retriever_of_run, li_query_engine, li_finetune_engine, li_progress_event, li_teacher),
    *(li_dataset, li_sample, li_adapter_embedding, li_embedder_engine, li_adapter_engine),
    *(li_cross_encoder_engine, lc_embeddings, lc_llm, lc_chat, lc_chat_in_sequence, lc_reranker),
    *(lc_retriever, lc_retriever_of_run, lc_chain, lc_finetuner, lc_teacher),
]
ABSTRACT = {
    *("BaseCrossEncoderFinetuningEngine", "BaseEmbeddingFinetuneEngine", "BaseLLMFinetuneEngine"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from scripted import write_records

    from aloft.records import Passage
    from aloft.testing import tiny_encoder, tiny_language_model

    root = tmp_path_factory.mktemp("site")
    encoder, writer = tiny_encoder(root / "encoder"), tiny_language_model(root / "writer")
    for model in (encoder, writer):
        shutil.copytree(model, root / "run" / "models" / model.name)
    flat = {
        "embedder": encoder.name,
        "generator": writer.name,
        "reranker": encoder.name,
        "adapter": None,
        "retriever": "hybrid",
        "dense_weight": 0.5,
        "contexts": 2,
        "rerank_depth": 3,
        "max_new_tokens": 8,
    }
    (root / "run" / "models" / "aloft.json").write_text(json.dumps(flat), encoding="utf-8")
    passages = [Passage(document_id=f"{i}.md", text=text, start=0) for i, text in enumerate(TEXTS)]
    write_records(root / "run" / "passages.jsonl", passages)
    engine = li_adapter_engine(Site(root)).part
    engine._output = replace(engine._output, folder=root / "map")
    engine.finetune()
    return root


def written_by_llama_index(part: Any) -> list[Any]:
    return [type(part).from_dict(part.to_dict()), type(part).from_json(part.to_json())]


def written_by_langchain(part: Any) -> list[Any]:
    from langchain_core.load import dumps, load, loads
    from langchain_core.load.dump import dumpd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reading back is a beta feature
        allowed = allowed_in(dumpd(part))
        given: Any = {"allowed_objects": allowed, "valid_namespaces": ["langchain_aloft"]}
        return [loads(dumps(part), **given), load(dumpd(part), **given)]


def allowed_in(written: Any) -> list[Any]:
    """The classes named in what was written."""
    from importlib import import_module

    from langchain_core.load.load import ALL_SERIALIZABLE_MAPPINGS

    found = []
    if isinstance(written, dict):
        if written.get("type") == "constructor":
            path = ALL_SERIALIZABLE_MAPPINGS.get(tuple(written["id"]), tuple(written["id"]))
            found.append(getattr(import_module(".".join(path[:-1])), path[-1]))
        found += [kind for value in written.values() for kind in allowed_in(value)]
    if isinstance(written, list):
        found += [kind for value in written for kind in allowed_in(value)]
    return found


def unpacked(part: Any) -> Any:
    return pickle.loads(pickle.dumps(part))


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": unpacked,
    "model_copy": lambda part: part.model_copy(),
    "model_copy(deep=True)": lambda part: part.model_copy(deep=True),
    "the host's own form": lambda part: part,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", MAKERS, ids=lambda one: one.__name__)
def test_a_copy_gives_what_the_original_gives(
    root: Path, make: Callable[[Site], Made], way: str
) -> None:
    made = make(Site(root))
    if way.startswith("model_copy") and not hasattr(made.part, "model_copy"):
        pytest.skip("it is no pydantic model, as its host's own are none")
    if way == "the host's own form":
        if made.why_not:
            pytest.skip(made.why_not)
        is_llama_index = hasattr(made.part, "to_dict")
        copies = (written_by_llama_index if is_llama_index else written_by_langchain)(made.part)
    else:
        copies = [WAYS[way](made.part)]
    for one in copies:
        assert type(one) is type(made.part)
        assert one is not made.part
        assert close(made.use(one), made.use(made.part))


def close(one: Any, other: Any) -> bool:
    """Equal, numbers but for rounding."""
    if isinstance(one, float):
        return bool(one == pytest.approx(other, abs=1e-6))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(close, one, other))
    if hasattr(one, "tolist"):
        return close(one.tolist(), other.tolist())
    return bool(one == other)


def test_every_public_class_is_among_them(root: Path) -> None:
    public = {
        name
        for package in (langchain_aloft, llama_index_aloft, finetuning)
        for name in package.__all__
        if inspect.isclass(getattr(package, name))
    }
    tried = {type(make(Site(root)).part).__name__ for make in MAKERS}
    assert public - tried == ABSTRACT


@pytest.mark.parametrize("make", MAKERS, ids=lambda one: one.__name__)
def test_relative_paths_count_from_where_a_component_was_made(
    root: Path, make: Callable[[Site], Made], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(root)
    made = make(Site(root, is_relative=True))
    monkeypatch.chdir(tmp_path)
    there = make(Site(root))
    assert close(made.use(made.part), there.use(there.part))
    assert list(tmp_path.iterdir()) == []


def found_there(packed: bytes) -> list[str]:
    """What a retriever of either host finds in another process."""
    retriever = pickle.loads(packed)
    if hasattr(retriever, "retrieve"):
        return [one.node.text for one in retriever.retrieve(QUESTION)]
    return [one.page_content for one in retriever.invoke(QUESTION)]


def test_retrievers_work_in_processes_that_are_spawned(root: Path) -> None:
    makers = (li_retriever, li_retriever_of_run, lc_retriever, lc_retriever_of_run)
    packed = [pickle.dumps(make(Site(root)).part) for make in makers]
    here = [found_there(one) for one in packed]

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(found_there, packed)

    assert here == there
    assert here[0][0] == TEXTS[0]


def test_what_is_trained_can_be_read_by_other_users(root: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for make in (li_embedder_engine, li_cross_encoder_engine, li_adapter_engine):
            made = make(Site(root))
            made.part._output = replace(made.part._output, folder=tmp_path / make.__name__)
            made.use(made.part)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o644"}


RUNNABLES = (lc_llm, lc_chat, lc_chat_in_sequence, lc_retriever, lc_chain)


@pytest.mark.parametrize("make", RUNNABLES, ids=lambda one: one.__name__)
def test_runnables_say_what_goes_in_and_out(root: Path, make: Callable[[Site], Made]) -> None:
    runnable = make(Site(root)).part
    for schema in (
        runnable.get_input_jsonschema(),
        runnable.get_output_jsonschema(),
        runnable.get_config_jsonschema(),
        runnable.get_graph().to_json(with_schemas=True),
    ):
        assert json.loads(json.dumps(schema)) == schema
