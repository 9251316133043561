"""What hosts' caches are keyed by changes with all that changes a result, and with nothing else."""

import asyncio
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

QUESTION = "Where is the ferry?"


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    from aloft.testing import tiny_encoder

    return tiny_encoder(tmp_path / "encoder")


@pytest.fixture
def writer(tmp_path: Path) -> Path:
    from aloft.testing import tiny_language_model

    return tiny_language_model(tmp_path / "writer")


def train_again(folder: Path) -> None:
    """Put other weights in a model's place."""
    from aloft.testing import tiny_encoder, tiny_language_model

    tiny = tiny_encoder if (folder / "modules.json").exists() else tiny_language_model
    shutil.rmtree(folder)
    tiny(folder, seed=1)


def change_pooling(folder: Path) -> None:
    change_json(folder / "1_Pooling" / "config.json", {"pooling_mode": "cls"})


def change_prompts(folder: Path) -> None:
    change_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: "}})


def change_chat_template(folder: Path) -> None:
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "model"))


def change_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def touch_all(folder: Path) -> None:
    """The same bytes, written later, with a page about them."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    shutil.move(copy, folder)
    (folder / "README.md").write_text("About this model.")


# ---- what each host makes its keys of


def ingestion_key(folder: Path) -> str:
    from llama_index.core.ingestion.pipeline import get_transformation_hash

    from llama_index_aloft import AloftEmbedding

    return get_transformation_hash([], AloftEmbedding(str(folder)))


def extractor_key(folder: Path) -> str:
    from llama_index.core.extractors import TitleExtractor
    from llama_index.core.ingestion.pipeline import get_transformation_hash

    from llama_index_aloft import AloftLLM

    return get_transformation_hash([], TitleExtractor(llm=AloftLLM(str(folder))))


def rater_key(folder: Path) -> str:
    from llama_index.core.ingestion.pipeline import get_transformation_hash

    from llama_index_aloft import AloftRater

    return get_transformation_hash([], AloftRater(model=str(folder)))


def chat_key(folder: Path) -> str:
    from langchain_aloft import ChatAloft

    return ChatAloft(model=str(folder))._get_llm_string()


def llm_key(folder: Path) -> str:
    from langchain_aloft import AloftLLM

    return str(sorted(AloftLLM(model=str(folder)).asdict().items()))


def namespace(folder: Path) -> str:
    from langchain_aloft import AloftEmbeddings

    return AloftEmbeddings(str(folder)).fingerprint


def reranker_key(folder: Path) -> str:
    from langchain_aloft import AloftReranker

    return AloftReranker(model=str(folder)).fingerprint


ENCODERS = (ingestion_key, namespace, reranker_key)
WRITERS = (extractor_key, rater_key, chat_key, llm_key)
OF_ENCODERS = (train_again, change_pooling, change_prompts)


@pytest.mark.parametrize("change", OF_ENCODERS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("key", ENCODERS, ids=lambda one: one.__name__)
def test_keys_of_encoders_change_with_what_changes_vectors(
    encoder: Path, key: Callable[[Path], str], change: Callable[[Path], None]
) -> None:
    before = key(encoder)
    touch_all(encoder)
    assert key(encoder) == before
    change(encoder)
    assert key(encoder) != before


@pytest.mark.parametrize("change", [train_again, change_chat_template], ids=lambda o: o.__name__)
@pytest.mark.parametrize("key", WRITERS, ids=lambda one: one.__name__)
def test_keys_of_language_models_change_with_what_changes_replies(
    writer: Path, key: Callable[[Path], str], change: Callable[[Path], None]
) -> None:
    before = key(writer)
    touch_all(writer)
    assert key(writer) == before
    change(writer)
    assert key(writer) != before


@pytest.mark.parametrize("key", [namespace, reranker_key, chat_key, llm_key])
def test_where_a_folder_lies_changes_no_key_and_no_file_name(
    encoder: Path, writer: Path, tmp_path: Path, key: Callable[[Path], str]
) -> None:
    folder = encoder if key in (namespace, reranker_key) else writer
    moved = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, moved)
    assert key(moved) == key(folder)
    if folder is encoder:
        assert re.fullmatch("[a-z0-9]+", key(folder))


def test_a_part_is_known_by_the_weights_that_it_has_loaded(encoder: Path) -> None:
    from langchain_aloft import AloftEmbeddings

    first = AloftEmbeddings(str(encoder))
    vector, known = first.embed_query(QUESTION), first.fingerprint
    train_again(encoder)
    second = AloftEmbeddings(str(encoder))

    assert (first.embed_query(QUESTION), first.fingerprint) == (vector, known)
    assert second.embed_query(QUESTION) != vector
    assert second.fingerprint != known


# ---- hosts' caches


def test_an_ingestion_cache_has_no_vectors_for_a_model_trained_again(encoder: Path) -> None:
    from llama_index.core import Document
    from llama_index.core.ingestion import IngestionCache, IngestionPipeline

    from llama_index_aloft import AloftEmbedding

    cache = IngestionCache()

    def embed() -> list[float]:
        model = AloftEmbedding(str(encoder))
        pipeline = IngestionPipeline(transformations=[model], cache=cache)
        (node,) = pipeline.run(documents=[Document(id_="d", text=QUESTION)])
        assert node.embedding == model.get_text_embedding(QUESTION)
        return node.embedding or []

    first = embed()
    assert embed() == first
    assert len(cache.cache.get_all(cache.collection)) == 1
    train_again(encoder)
    assert embed() != first


def test_a_cache_of_embeddings_keeps_models_questions_and_texts_apart(
    encoder: Path, tmp_path: Path
) -> None:
    from llama_index.core.storage.kvstore import SimpleKVStore

    from aloft.testing import tiny_encoder
    from llama_index_aloft import AloftEmbedding

    change_prompts(encoder)
    other = tiny_encoder(tmp_path / "other", seed=1)
    cache = SimpleKVStore()

    def vectors(**cached: Any) -> list[Any]:
        found = []
        for folder in (encoder, other):
            model = AloftEmbedding(str(folder), **cached)
            found += [model.get_query_embedding(QUESTION), model.get_text_embedding(QUESTION)]
            found += model.get_text_embedding_batch([QUESTION])
            found.append(asyncio.run(model.aget_query_embedding(QUESTION)))
            found += asyncio.run(model.aget_text_embedding_batch([QUESTION]))
        return found

    plain = vectors()
    assert vectors(embeddings_cache=cache) == plain
    assert len(cache.get_all("embeddings")) == 4  # two models, each for a question and a text
    assert vectors(embeddings_cache=cache) == plain
    assert len(cache.get_all("embeddings")) == 4
    later = [AloftEmbedding(str(folder)) for folder in (encoder, other)]
    later[0].embeddings_cache = cache  # set afterwards, in both ways that there are
    later[1] = later[1].model_copy(update={"embeddings_cache": cache})
    assert [one.get_query_embedding(QUESTION) for one in later] == [plain[0], plain[5]]
    assert len(cache.get_all("embeddings")) == 4


@pytest.mark.parametrize("kind", ["ChatAloft", "AloftLLM"])
def test_a_cache_of_replies_answers_for_no_other_model_or_settings(writer: Path, kind: str) -> None:
    from langchain_core.caches import InMemoryCache

    import langchain_aloft

    cache = InMemoryCache()

    def ask(*, call: dict[str, Any] | None = None, **fields: Any) -> tuple[str, int]:
        model = getattr(langchain_aloft, kind)(model=str(writer), cache=cache, **fields)
        reply = model.invoke(QUESTION, **(call or {}))
        fresh = getattr(langchain_aloft, kind)(model=str(writer), cache=False, **fields)
        again = fresh.invoke(QUESTION, **(call or {}))
        text, true = (getattr(one, "content", one) for one in (reply, again))
        assert text == true
        return text, len(cache._cache)

    first, held = ask(max_tokens=4)
    assert ask(max_tokens=4) == (first, held)
    assert ask(max_tokens=8)[1] == held + 1
    assert ask(max_tokens=4, call={"max_tokens": 6})[1] == held + 2
    assert ask(max_tokens=4, stop=[first[0]])[1] == held + 3
    train_again(writer)
    assert ask(max_tokens=4)[1] == held + 4


def test_a_cache_on_disk_takes_the_namespace(encoder: Path, tmp_path: Path) -> None:
    from langchain_classic.embeddings import CacheBackedEmbeddings
    from langchain_classic.storage import LocalFileStore

    from langchain_aloft import AloftEmbeddings

    def embed() -> list[float]:
        model = AloftEmbeddings(str(encoder))
        cached = CacheBackedEmbeddings.from_bytes_store(
            model,
            LocalFileStore(tmp_path / "cache"),
            namespace=model.fingerprint,
            key_encoder="sha256",
        )
        (vector,) = cached.embed_documents([QUESTION])
        assert vector == pytest.approx(model.embed_documents([QUESTION])[0])
        return vector

    first = embed()
    assert embed() == first
    train_again(encoder)
    assert embed() != pytest.approx(first)


def langchain_teacher(folder: Path, options: dict[str, Any]) -> Any:
    from langchain_aloft import ChatAloft, LangChainTeacher

    return LangChainTeacher(ChatAloft(model=str(folder)), options)


def llama_index_teacher(folder: Path, options: dict[str, Any]) -> Any:
    from llama_index_aloft import AloftLLM, LlamaIndexTeacher

    return LlamaIndexTeacher(AloftLLM(str(folder)), options)


@pytest.mark.parametrize("make", [langchain_teacher, llama_index_teacher])
def test_a_teacher_of_a_host_is_known_by_its_settings_and_weights(
    writer: Path, make: Callable[[Path, dict[str, Any]], Any]
) -> None:
    before = make(writer, {}).fingerprint
    assert make(writer, {}).fingerprint == before
    assert make(writer, {"max_tokens": 9}).fingerprint != before
    train_again(writer)
    assert make(writer, {}).fingerprint != before


def test_equal_models_are_loaded_once_and_released_with_the_last_part(encoder: Path) -> None:
    import gc

    from aloft.backends.shared import SharedModels, _in_memory

    gc.collect()
    before = len(_in_memory)
    copy = encoder.with_name("copy")
    shutil.copytree(encoder, copy)
    parts = [SharedModels(), SharedModels()]
    for models, folder in zip(parts, (encoder, copy), strict=True):
        models.embedder(str(folder)).encode_queries([QUESTION])

    held = [
        models.loaded("embedder", str(at))
        for models, at in zip(parts, (encoder, copy), strict=True)
    ]
    assert held[0] is held[1]
    assert len(_in_memory) == before + 1
    del held, models
    parts.clear()
    gc.collect()
    assert len(_in_memory) == before
