"""LangChain's own suites: with fakes in the default tier, with the embedded models in `model`."""

import os
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests
from scripted import CONTRACT, shared
from syrupy.assertion import SnapshotAssertion

from aloft.serving.bundle import Bundle
from langchain_aloft import AloftEmbeddings, AloftRetriever, ChatAloft

ENCODER = "embedded:all-minilm-l6-v2"
LANGUAGE_MODEL = "embedded:smollm2-135m-instruct"
DOCUMENTS = [Document(f"Animal number {i} is a {name}.") for i, name in
             enumerate(["fox", "whale", "newt", "crow", "hare"])]  # fmt: skip
_LISTED = (
    "allowed_objects='all' means the integrations that LangChain lists; by name it loads: see "
    "test_travelling"
)
_FIELDS = {name: getattr(CONTRACT, name) for name in Bundle.__slots__}


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[AloftEmbeddings]:
        return AloftEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "any", "models": shared()}


class TestScriptedEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[AloftEmbeddings]:
        return AloftEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "any", "models": shared()}


# the suites' own also set what a server is asked by, which models of this process refuse
_OF_THIS_PROCESS = {"temperature": 0, "max_tokens": 100, "stop": []}


class TestServedChatModelUnit(ChatModelUnitTests):
    """With all standard parameters, which are for a server."""

    @property
    def chat_model_class(self) -> type[ChatAloft]:
        return ChatAloft

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "openai:http://localhost:1/v1#any"}

    @pytest.mark.xfail(reason=_LISTED, strict=True)
    def test_serdes(self, model: BaseChatModel, snapshot: SnapshotAssertion) -> None:
        super().test_serdes(model, snapshot)


class TestChatModelUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[ChatAloft]:
        return ChatAloft

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "any", "models": shared()}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return _OF_THIS_PROCESS

    @pytest.mark.xfail(reason=_LISTED, strict=True)
    def test_serdes(self, model: BaseChatModel, snapshot: SnapshotAssertion) -> None:
        super().test_serdes(model, snapshot)


class TestScriptedChatModel(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[ChatAloft]:
        return ChatAloft

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "any", "models": shared()}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return _OF_THIS_PROCESS

    has_tool_calling = False  # a script keeps to no schema; see TestTinyChatModel
    has_structured_output = False


class TestScriptedRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[AloftRetriever]:
        return AloftRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"documents": DOCUMENTS, "contract": CONTRACT, "models": shared()}

    @property
    def retriever_query_example(self) -> str:
        return "Which animal is a newt?"


@pytest.mark.model
@pytest.mark.usefixtures("embedded_models")
class TestEmbeddedEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[AloftEmbeddings]:
        return AloftEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": ENCODER}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    from aloft.testing import tiny_language_model

    return str(tiny_language_model(tmp_path_factory.mktemp("tiny") / "model"))


_RANDOM = "random weights do not understand the question"


@pytest.mark.model
class TestTinyChatModel(ChatModelIntegrationTests):
    """Random weights say nothing sensible, but what they are held to holds."""

    folder = ""

    @pytest.fixture(autouse=True)
    def _find(self, tiny: str) -> None:
        type(self).folder = tiny

    @property
    def chat_model_class(self) -> type[ChatAloft]:
        return ChatAloft

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.folder}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return _OF_THIS_PROCESS

    @property
    def supports_json_mode(self) -> bool:
        return True

    @pytest.mark.xfail(reason=_RANDOM)
    def test_tool_calling(self, model: BaseChatModel) -> None:
        super().test_tool_calling(model)

    @pytest.mark.xfail(reason=_RANDOM)
    async def test_tool_calling_async(self, model: BaseChatModel) -> None:
        await super().test_tool_calling_async(model)

    @pytest.mark.xfail(reason=_RANDOM)
    def test_agent_loop(self, model: BaseChatModel) -> None:
        super().test_agent_loop(model)

    @pytest.mark.xfail(reason=_RANDOM)
    def test_unicode_tool_call_integration(self, model: BaseChatModel, **given: Any) -> None:
        super().test_unicode_tool_call_integration(model, **given)


@pytest.mark.model
@pytest.mark.skipif("ALOFT_TEST_CALLER" not in os.environ, reason="names no model that calls tools")
class TestCallingChatModel(ChatModelIntegrationTests):
    """A model that was trained to call tools, such as one of half a billion parameters."""

    @property
    def chat_model_class(self) -> type[ChatAloft]:
        return ChatAloft

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": os.environ["ALOFT_TEST_CALLER"], "max_tokens": 60}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0}

    @property
    def supports_json_mode(self) -> bool:
        return True


@pytest.mark.model
@pytest.mark.usefixtures("embedded_models")
class TestEmbeddedChatModel(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[ChatAloft]:
        return ChatAloft

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": LANGUAGE_MODEL, "max_tokens": 40}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0}  # the suite's 100 tokens show no more than 40 do

    has_tool_calling = False  # the template of this model takes no tools

    @property
    def supports_json_mode(self) -> bool:
        return True


@pytest.mark.model
@pytest.mark.usefixtures("embedded_models")
class TestEmbeddedRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[AloftRetriever]:
        return AloftRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        contract = Bundle(**{**_FIELDS, "embedder": ENCODER})
        return {"documents": DOCUMENTS, "contract": contract}

    @property
    def retriever_query_example(self) -> str:
        return "Which animal is a newt?"
