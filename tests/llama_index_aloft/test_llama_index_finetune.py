"""A LlamaIndex LLM teaches, and the engine runs from nodes to models that LlamaIndex takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms import CustomLLM
from llama_index.core.schema import Document, MetadataMode
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from scripted import shared, write_run

from aloft.config import PARTS, RunConfig, load_config
from aloft.errors import ConfigError, DataError, ModelError, RunFolderError
from aloft.protocols import LanguageModel, Prompt
from aloft.questions.labelled import read_questions
from aloft.records import LabelledQuestion, Message, Passage, Rejection
from aloft.run.whole import HostedRun
from llama_index_aloft import (
    AloftEmbedding,
    AloftFinetuneEngine,
    AloftLLM,
    AloftProgressEvent,
    AloftRerank,
    AloftRetriever,
    LlamaIndexTeacher,
)
from llama_index_aloft.finetuning import EmbeddingQAFinetuneDataset
from llama_index_aloft.teacher import teacher_of


class EchoLLM(CustomLLM):
    """Says how it was asked."""

    name: str = "echo"
    reason: str = "stop"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.name)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        text = "|".join(f"{message.role.value}: {message.content}" for message in messages)
        raw = {"choices": [{"finish_reason": self.reason}]}
        return ChatResponse(message=ChatMessage(role="assistant", content=text), raw=raw)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=f"{formatted}: {prompt}")

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        raise NotImplementedError


MESSAGES = (Message(role="system", content="Be brief."), Message(role="user", content="Hi."))


def test_a_conversation_is_a_chat_and_a_plain_prompt_a_completion() -> None:
    teacher: LanguageModel = LlamaIndexTeacher(EchoLLM())
    plain = Prompt(messages=MESSAGES, prefix="Q:", is_plain=True)

    chat, completion = teacher.complete([Prompt(messages=MESSAGES), plain], max_new_tokens=9)

    assert (chat.text, chat.is_finished) == ("system: Be brief.|user: Hi.", True)
    assert completion.text == "True: Be brief.Hi.Q:"


def test_a_cut_reply_is_told_and_stop_strings_end_it() -> None:
    teacher = LlamaIndexTeacher(EchoLLM(reason="length"))

    (cut,) = teacher.complete([Prompt(messages=MESSAGES)], max_new_tokens=9)
    (stopped,) = teacher.complete([Prompt(messages=MESSAGES)], max_new_tokens=9, stop=["|"])

    assert not cut.is_finished
    assert (stopped.text, stopped.is_finished) == ("system: Be brief.", True)


def test_a_reply_of_the_host_holds_no_lone_surrogate() -> None:
    class Torn(EchoLLM):
        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            return ChatResponse(message=ChatMessage(role="assistant", content="Why \ud83d?"))

        def complete(
            self, prompt: str, formatted: bool = False, **kwargs: Any
        ) -> CompletionResponse:
            return CompletionResponse(text="Why \ud83d?")

    prompts = [Prompt(messages=MESSAGES), Prompt(messages=MESSAGES, is_plain=True)]

    replies = LlamaIndexTeacher(Torn()).complete(prompts, max_new_tokens=9)

    assert [reply.text for reply in replies] == ["Why \ufffd?"] * 2


def test_what_a_teacher_thought_is_no_part_of_its_reply() -> None:
    class Thinking(EchoLLM):
        def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            text = "<think>\nWhy not?\n</think>\n\nWhy?"
            return ChatResponse(message=ChatMessage(role="assistant", content=text))

        def complete(
            self, prompt: str, formatted: bool = False, **kwargs: Any
        ) -> CompletionResponse:
            return CompletionResponse(text="Why not?\n</think>\nWhy?")

    prompts = [Prompt(messages=MESSAGES), Prompt(messages=MESSAGES, is_plain=True)]
    replies = LlamaIndexTeacher(Thinking()).complete(prompts, max_new_tokens=9)
    assert [reply.text for reply in replies] == ["Why?"] * 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"llm": "llama3"}, r"llm is of type str.*AloftLLM\(model=name\)"),
        ({"options": ["max_tokens"]}, "options is of type list, but must be a Mapping"),
    ],
)
def test_what_cannot_teach_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LlamaIndexTeacher(**{"llm": EchoLLM(), **given})


def test_settings_without_effect_on_a_teacher_are_told(caplog: pytest.LogCaptureFixture) -> None:
    teacher_of(AloftLLM("any", models=shared()))
    assert not caplog.messages
    teacher_of(AloftLLM("any", models=shared(), temperature=0.7))
    assert "AloftLLM without effect where it teaches: temperature." in caplog.text


def test_another_model_has_another_fingerprint() -> None:
    prints = [LlamaIndexTeacher(EchoLLM(name=name)).fingerprint for name in ("a", "b", "a")]

    assert prints[0] == prints[2] != prints[1]


def test_before_the_run_there_is_no_report_and_no_model(tmp_path: Path) -> None:
    engine = AloftFinetuneEngine([Document(text="Text.")], tmp_path / "run")

    for ask in (lambda: engine.report, lambda: engine.verdicts, engine.get_finetuned_model):
        with pytest.raises(DataError, match=r"holds no finished run. Call finetune\(\) first.$"):
            ask()


def test_models_of_the_settings_are_trained_where_their_weights_are_here(
    tmp_path: Path, encoder: Path
) -> None:
    documents = [Document(text="Text.")]
    for given in (str(encoder), AloftEmbedding(str(encoder))):
        engine = AloftFinetuneEngine(documents, tmp_path / "run", embed_model=given)
        assert engine.config.embedder == str(encoder)
    engine = AloftFinetuneEngine(
        documents, tmp_path / "run", config=load_config("cpu"), reranker=AloftRerank(str(encoder))
    )
    assert (engine.config.reranker, engine.config.embedder) == (
        str(encoder),
        load_config("cpu").embedder,
    )
    for elsewhere in (MockEmbedding(embed_dim=3), "text-embedding-of-a-cloud"):
        with pytest.raises(
            ConfigError, match="are not on this machine, so it cannot be trained"
        ) as caught:
            AloftFinetuneEngine(documents, tmp_path / "run", embed_model=elsewhere)
        assert "\n" not in str(caught.value)


def test_a_part_goes_by_the_name_that_settings_and_reports_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "run", embedder="embedder", reranker="reranker")
    engine = AloftFinetuneEngine([Document(text="Text.")], run)
    classes = {"embedder": AloftEmbedding, "reranker": AloftRerank, "generator": AloftLLM}

    assert tuple(classes) == PARTS
    for name, kind in classes.items():
        assert isinstance(engine.get_finetuned_model(name), kind)  # type: ignore[call-overload]
    assert isinstance(engine.get_finetuned_model(), AloftEmbedding)
    for name in ("rerank", "nonsense", "", "Embedder"):
        with pytest.raises(
            ConfigError,
            match=f'no part "{name}". It may be: embedder, reranker, generator.$',
        ):
            engine.get_finetuned_model(name)  # type: ignore[call-overload]
    for former, name in (("embedding", "embedder"), ("llm", "generator")):
        assert isinstance(engine.get_finetuned_model(former), classes[name])  # type: ignore[call-overload]
        assert f'The part "{former}" is now called "{name}". Rename it.' in caplog.messages


def test_a_run_on_another_corpus_is_replaced_only_where_that_is_wanted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    other = [Document(text="Text.")]
    with pytest.raises(RunFolderError, match="overwrite=True"):
        AloftFinetuneEngine(other, run).finetune()
    with pytest.raises(ModelError, match="is not on this machine"):
        AloftFinetuneEngine(other, run, overwrite=True).finetune()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llm": "gpt"}, "llm is of type str, but must be a LLM"),
        ({"config": {"parts": ("embedder",)}}, "config is of type dict, but must be a RunConfig"),
        ({"questions": ["Why?"]}, "questions is of type list, but must be the path"),
        ({"questions": ""}, "questions is empty"),
        ({"out": ""}, "out is empty"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        AloftFinetuneEngine([Document(text="Text.")], **{"out": tmp_path / "run", **fields})


def test_questions_may_be_a_dataset_of_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"a": "Foxes run.", "b": "Owls\u2028hoot at night.", "c": "Whales sing."}
    documents = [Document(id_=name, text=text) for name, text in texts.items()]
    found: list[LabelledQuestion | Rejection] = []

    def read(run: HostedRun, *_: Any) -> None:
        given = [Passage(document_id=one.id, text=one.text, start=0) for one in run.documents]
        assert run._questions is not None
        found.extend(read_questions(run._questions, run.documents, given))

    monkeypatch.setattr(HostedRun, "finetune", read)
    dataset = EmbeddingQAFinetuneDataset(
        queries={"1": "Who runs?", "2": "Who is heard \ud83d?"},
        corpus=texts,
        relevant_docs={"1": ["a"], "2": ["b", "c"]},
    )
    AloftFinetuneEngine(documents, tmp_path / "run", questions=dataset).finetune()
    runs, heard = (one for one in found if isinstance(one, LabelledQuestion))
    assert (runs.question, len(runs.passage_ids)) == ("Who runs?", 1)
    assert (heard.question, len(heard.passage_ids)) == ("Who is heard \ufffd?", 2)

    other = AloftFinetuneEngine([Document(text="Text.")], tmp_path / "run", questions=dataset)
    with pytest.raises(DataError, match=r"^questions line 1: "):
        other.finetune()
    dataset.relevant_docs["1"] = ["z"]
    with pytest.raises(DataError, match='questions: question "1" has no text "z"'):
        AloftFinetuneEngine(documents, tmp_path / "run", questions=dataset)


def test_a_run_folder_may_lie_in_the_users_home() -> None:
    engine = AloftFinetuneEngine([Document(text="Text.")], "~/run")
    assert engine.out == Path.home() / "run"


class Listening(BaseEventHandler):
    """Remembers what is told."""

    told: list[AloftProgressEvent] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if isinstance(event, AloftProgressEvent):
            self.told.append(event)


@pytest.mark.model
def test_the_engine_runs_from_documents_to_an_index(
    embedded_models: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pydoc_data.topics import topics  # type: ignore[import-not-found]

    names = ("assert", "pass", "del", "return", "raise", "break", "global", "lambda", "yield")
    documents = [
        Document(id_=name, text=topics[name], metadata={"topic": name, "letters": len(name)})
        for name in names
    ]
    config = load_config(
        overrides={
            "parts": ("embedder",),
            "pairs": {"max_passages": 20},
            "evaluation": {"max_answer_questions": 2, "max_stack_questions": 2},
        }
    )
    engine = AloftFinetuneEngine(documents, tmp_path / "run", config=config)
    dispatcher, listener = get_dispatcher(), Listening()
    dispatcher.add_event_handler(listener)
    engine.finetune()
    dispatcher.event_handlers.remove(listener)

    assert "training the embedder" in {event.stage for event in listener.told}
    assert "training the embedder: done" in capsys.readouterr().err
    assert all(0 <= event.done <= event.total for event in listener.told)
    assert [verdict.part for verdict in engine.verdicts] == ["embedder"]
    assert engine.report.connections_refused == ()
    embedding = engine.get_finetuned_model()
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    (best,) = index.as_retriever(similarity_top_k=1).retrieve("What does the assert statement do?")
    assert best.node.ref_doc_id == "assert"
    long = MetadataFilter(key="letters", value=6, operator=FilterOperator.GTE)
    filters = MetadataFilters(filters=[long])
    own = AloftRetriever.from_run(tmp_path / "run", filters=filters, similarity_top_k=3)
    for found in own.retrieve("What does the assert statement do?"):
        assert found.node.metadata["topic"] in {"assert", "return", "global", "lambda"}
        assert "topic: " in found.node.get_content(MetadataMode.EMBED)
        assert 0 < (found.score or 0) < 1
    llm = engine.get_finetuned_model("generator", max_tokens=8)
    assert llm.metadata.context_window > 1000
    assert llm.complete("What is Python?").text
