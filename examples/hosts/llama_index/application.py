"""The application before the programs here change it: its nodes, and its index."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hosts.corpus import Found, Question
from llama_index.core import (
    Settings,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, NodeWithScore

from aloft.records import Document as Page
from aloft.records import content_id
from llama_index_aloft import AloftEmbedding

Settings.llm = MockLLM()  # where a program asks a model, it names one
UNTUNED = AloftEmbedding("embedded:all-minilm-l6-v2")  # the guides' HuggingFaceEmbedding of it
KEPT = Path("runs") / "hosts"


def to_documents(pages: Sequence[Page]) -> list[Document]:
    return [Document(id_=one.id, text=one.text, metadata={"title": one.title}) for one in pages]


def build_index(pages: Sequence[Page]) -> VectorStoreIndex:
    """The usual index of the usual chunks."""
    splitter = SentenceSplitter(chunk_size=256, chunk_overlap=0)
    return embed(splitter.get_nodes_from_documents(to_documents(pages)), UNTUNED)


def embed(nodes: Sequence[BaseNode], embed_model: AloftEmbedding) -> VectorStoreIndex:
    """An index of nodes, kept beside the shared run: programs embed what others did not."""
    texts = (text for node in nodes for text in (node.ref_doc_id or "", node.get_content()))
    kept = KEPT / f"index-{content_id(str(embed_model.fingerprint), *texts)}"
    if kept.exists():
        storage = StorageContext.from_defaults(persist_dir=str(kept))
        index = load_index_from_storage(storage, embed_model=embed_model)
        assert isinstance(index, VectorStoreIndex)
        return index
    index = VectorStoreIndex(list(nodes), embed_model=embed_model)
    KEPT.mkdir(parents=True, exist_ok=True)
    partly = tempfile.mkdtemp(dir=KEPT)
    index.storage_context.persist(partly)
    Path(partly).rename(kept)
    return index


def found_in(nodes: Sequence[NodeWithScore]) -> Found:
    return [(one.node.ref_doc_id or "", one.text) for one in nodes]


def find(retriever: BaseRetriever, questions: Sequence[Question]) -> list[Found]:
    return [found_in(retriever.retrieve(question.text)) for question in questions]
