"""The retired package's names: the same JSON and arguments, and models that learn."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import ImageNode, TextNode
from test_llama_index_finetune import EchoLLM

from aloft.errors import ConfigError, DataError, ModelError, RunFolderError
from llama_index_aloft.finetuning import (
    AdapterEmbedding,
    BaseCrossEncoderFinetuningEngine,
    BaseEmbeddingFinetuneEngine,
    CrossEncoderFinetuneEngine,
    CrossEncoderFinetuningDatasetSample,
    EmbeddingAdapterFinetuneEngine,
    EmbeddingQAFinetuneDataset,
    SentenceTransformersFinetuneEngine,
    generate_qa_embedding_pairs,
)
from llama_index_aloft.finetuning.embeddings import common
from llama_index_aloft.finetuning.embeddings.common import DEFAULT_QA_GENERATE_PROMPT_TMPL
from llama_index_aloft.finetuning.training import Output

ANIMALS = ("cat", "dog", "owl", "eel", "bat", "fox", "yak", "hen")
PLACES = ("attic", "yard", "barn", "pond", "cave", "wood", "hill", "coop")
NODES = [
    TextNode(id_="n1", text="Zürich liegt am See."),
    TextNode(id_="n2", text="Bern liegt tief."),
]


def dataset(count: int = 8) -> EmbeddingQAFinetuneDataset:
    chosen = list(zip(ANIMALS, PLACES, strict=True))[:count]
    return EmbeddingQAFinetuneDataset(
        queries={f"q{a}": f"Where does the {a} live?" for a, _ in chosen},
        corpus={a: f"The {a} lives in the {p}." for a, p in chosen},
        relevant_docs={f"q{a}": [a] for a, _ in chosen},
    )


class AskingLLM(EchoLLM):
    """Writes lines, or raises, by a function of the request."""

    say: Callable[[str], str]

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.say(prompt))


TEMPLATE = "{num_questions_per_chunk} questions about: {context_str}"


def generate(
    path: Path, say: Callable[[str], str], nodes: list[TextNode] = NODES, **more: Any
) -> EmbeddingQAFinetuneDataset:
    how = {"qa_generate_prompt_tmpl": TEMPLATE, "verbose": False, **more}
    return generate_qa_embedding_pairs(nodes, AskingLLM(say=say), output_path=str(path), **how)


# ---- datasets


def test_a_dataset_is_the_retired_packages_json_in_utf8(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    old = {
        "queries": {"a": "Wo liegt Zürich?"},
        "corpus": {"n": "Am See."},
        "relevant_docs": {"a": ["n"]},
        "mode": "text",
    }
    file.write_text(json.dumps(old, indent=4))  # as it was written: ASCII with escapes
    read = EmbeddingQAFinetuneDataset.from_json(str(file))
    assert read.model_dump() == old
    assert read.query_docid_pairs == [("Wo liegt Zürich?", ["n"])]
    read.save_json(str(tmp_path / "new.json"))
    written = (tmp_path / "new.json").read_bytes()
    assert "Zürich".encode() in written
    assert json.loads(written) == old


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_dataset_is_read_in_the_encodings_of_json_with_halves_of_characters(
    tmp_path: Path, encoding: str
) -> None:
    """As the retired package wrote them, and as editors of Windows save them."""
    torn = {"queries": {"a": "Who \ud83d?"}, "corpus": {"n": "É"}, "relevant_docs": {"a": ["n"]}}
    file = tmp_path / "set.json"
    file.write_text(json.dumps(torn), encoding=encoding)
    read = EmbeddingQAFinetuneDataset.from_json(str(file))
    assert read.queries == {"a": "Who \ud83d?"}
    read.save_json(str(file))
    assert EmbeddingQAFinetuneDataset.from_json(str(file)) == read


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is no dataset"), ("[]", "is no dataset"), ('{"queries": {}}', "corpus: Field required")],
)
def test_a_file_that_is_none_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "set.json"
    file.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        EmbeddingQAFinetuneDataset.from_json(str(file))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="does not exist"):
        EmbeddingQAFinetuneDataset.from_json(str(tmp_path / "none.json"))


def test_an_own_request_gives_a_question_a_line_and_no_preamble(tmp_path: Path) -> None:
    def say(prompt: str) -> str:
        assert prompt.startswith("2 questions about: ")
        return "Here are 2 questions:\n1. Wo liegt es?\n- Wie tief?\n3) Und warum?"

    made = generate(tmp_path / "set.json", say)
    assert list(made.queries.values()) == ["Wo liegt es?", "Wie tief?"] * 2
    assert made.corpus == {"n1": NODES[0].text, "n2": NODES[1].text}
    assert list(made.relevant_docs.values()) == [["n1"], ["n1"], ["n2"], ["n2"]]


@pytest.mark.parametrize(
    ("reply", "questions"),
    [
        ("1. **Where is it?**\n2. *How deep is it?*", ["Where is it?", "How deep is it?"]),
        ("**Q1:** Where is it?\n**Q2: How deep?**", ["Where is it?", "How deep?"]),
        ("Question 1: Where is it?\n- **Question:** Why?", ["Where is it?", "Why?"]),
        ("Q4 was how good?\nQuestions are which?", ["Q4 was how good?", "Questions are which?"]),
        ("<think>Shall I ask:\nwho?\n</think>\n\nWhere is it?", ["Where is it?"]),
        ("Who?\nHm.\n</think>\nWhere is it?", ["Where is it?"]),
        ("<think>\nShall I ask who?", []),
    ],
)
def test_a_question_has_no_label_no_emphasis_and_no_thought(
    tmp_path: Path, reply: str, questions: list[str]
) -> None:
    made = generate(tmp_path / "set.json", lambda _: reply, NODES[:1])
    assert list(made.queries.values()) == questions


def test_alofts_own_request_asks_by_kinds(tmp_path: Path) -> None:
    made = generate_qa_embedding_pairs(
        [TextNode(id_="a", text="The ferry leaves at nine from the north quay of the harbour.")],
        _Chatting(),
        num_questions_per_chunk=1,
        output_path=str(tmp_path / "set.json"),
        verbose=False,
    )
    assert list(made.queries.values()) == ["When does the ferry leave?"]


class _Chatting(EchoLLM):
    def chat(self, messages: Any, **kwargs: Any) -> Any:
        response = super().chat(messages, **kwargs)
        text = "### Question\nWhen does the ferry leave?\n\n### Answer\nAt nine."
        response.message.content = text
        return response


def test_what_failed_is_asked_again_and_nothing_else(tmp_path: Path) -> None:
    file, asked = tmp_path / "set.json", []

    def fail_once(prompt: str) -> str:
        asked.append(prompt)
        if "Zürich" in prompt:
            raise RuntimeError("busy")
        return "Was?"

    first = generate(file, fail_once, retry_limit=2)
    assert list(first.corpus) == ["n2"]
    assert sum("Zürich" in prompt for prompt in asked) == 2

    asked.clear()
    second = generate(file, lambda prompt: asked.append(prompt) or "Wo?")  # type: ignore[func-returns-value]
    assert [("Zürich" in prompt) for prompt in asked] == [True]
    assert set(second.corpus) == {"n1", "n2"}
    assert sorted(second.queries.values()) == ["Was?", "Wo?"]
    with pytest.raises(ModelError, match="The LLM failed 3 times on node n1"):
        generate(tmp_path / "other.json", fail_once, on_failure="fail")


def test_a_text_whose_reply_held_no_question_is_asked_about_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "set.json"
    assert generate(file, lambda _: '{"questions": []}').queries == {}
    assert "2 of 2 texts have no question" in caplog.text
    caplog.clear()
    assert len(generate(file, lambda _: "Where is it?").queries) == 2
    assert len(generate(file, lambda _: pytest.fail("asked")).queries) == 2
    assert not caplog.messages


def test_a_text_is_known_whatever_id_its_node_has(tmp_path: Path) -> None:
    file, asked = tmp_path / "set.json", list[str]()

    def say(prompt: str) -> str:
        asked.append(prompt)
        return f"What is number {len(asked)}?"

    first = generate(file, say)
    again = [TextNode(id_=f"drawn-{node.node_id}", text=node.text) for node in NODES]
    second = generate(file, say, [*again, TextNode(id_="twin", text=NODES[0].text)])

    assert len(asked) == 2
    assert list(first.queries.items()) == list(second.queries.items())
    assert second.corpus == {
        "drawn-n1": NODES[0].text,
        "twin": NODES[0].text,
        "drawn-n2": NODES[1].text,
    }
    assert list(second.relevant_docs.values()) == [["drawn-n1", "twin"], ["drawn-n2"]]
    assert EmbeddingQAFinetuneDataset.from_json(str(file)) == second  # it did not grow


def test_an_id_that_another_text_has_now_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    train = generate(file, lambda _: "Was?", [TextNode(id_="0", text="Zürich liegt am See.")])
    val = generate(file, lambda _: "Wie?", [TextNode(id_="0", text="Bern liegt tief.")])

    assert val.corpus == {"0": "Bern liegt tief."}
    assert list(val.queries.values()) == ["Wie?"]
    kept = EmbeddingQAFinetuneDataset.from_json(str(file))
    assert set(kept.corpus.values()) == {*train.corpus.values(), *val.corpus.values()}
    said = generate(file, lambda _: "Never?", [TextNode(id_="0", text="Zürich liegt am See.")])
    assert said == train


def test_questions_of_several_texts_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    EmbeddingQAFinetuneDataset(
        queries={"q": "Who?"}, corpus={"a": "One.", "b": "Two."}, relevant_docs={"q": ["a", "b"]}
    ).save_json(str(file))
    made = generate(file, lambda _: "", [TextNode(id_="new", text="Two.")])
    assert made.queries == {}  # it is not about this text alone
    kept = EmbeddingQAFinetuneDataset.from_json(str(file))
    assert kept.relevant_docs == {"q": ["a", "new"]}


def test_what_was_written_before_an_interruption_is_saved(tmp_path: Path) -> None:
    calls: list[str] = []

    def say(asked: str) -> str:
        calls.append(asked)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return "What is it?"

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "set.json", say)
    assert generate(tmp_path / "set.json", say).corpus.keys() == {"n1", "n2"}
    assert len(calls) == 3  # the first node is not asked about again


def test_what_was_written_some_time_ago_is_saved_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []

    def say(_: str) -> str:
        saved.append(len(EmbeddingQAFinetuneDataset.from_json(str(tmp_path / "set.json")).corpus))
        return "What is it?"

    generate(tmp_path / "set.json", say)
    assert saved == [0, 0]
    monkeypatch.setattr(common, "SAVED_AFTER", 0.0)
    (tmp_path / "set.json").unlink()
    generate(tmp_path / "set.json", say)
    assert saved == [0, 0, 0, 1]


def test_lone_surrogates_reach_neither_the_file_nor_a_training(tmp_path: Path) -> None:
    torn = [TextNode(id_="n1", text="A torn \ud83d emoji."), ImageNode(id_="image", image="abc")]

    made = generate(tmp_path / "set.json", lambda _: "What is \ud83d?", torn)

    assert made.corpus == {"n1": "A torn \ufffd emoji."}
    assert list(made.queries.values()) == ["What is \ufffd?"]
    given = EmbeddingQAFinetuneDataset(
        queries={"q": "Who \ud83d?"}, corpus={"t": "The \ud835."}, relevant_docs={"q": ["t"]}
    )
    (row,) = SentenceTransformersFinetuneEngine(given)._rows
    assert (row.anchor, row.positive) == ("Who \ufffd?", "The \ufffd.")
    sample = CrossEncoderFinetuningDatasetSample("Who \ud83d?", "The \ud835.", 1)
    (pair,) = CrossEncoderFinetuneEngine([sample])._rows
    assert (pair.query, pair.passage) == ("Who \ufffd?", "The \ufffd.")


def test_a_validation_set_in_the_same_file_holds_no_training(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    train = generate(file, lambda _: "Was?", NODES[:1])
    val = generate(file, lambda _: "Wie?", NODES[1:])
    assert (list(train.corpus), list(val.corpus)) == (["n1"], ["n2"])
    assert list(val.queries.values()) == ["Wie?"]
    assert set(EmbeddingQAFinetuneDataset.from_json(str(file)).corpus) == {"n1", "n2"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_questions_per_chunk": 9}, "must be 1 to 8"),
        ({"on_failure": "stop"}, 'may be "continue" or "fail"'),
        ({"retry_limit": 0}, "retry_limit is 0, but must be a number from 1"),
        ({"save_every": 0}, "save_every is 0"),
        ({"qa_generate_prompt_tmpl": 'As JSON {"q": ...}'}, "It may hold {context_str}, {num"),
        ({"qa_generate_prompt_tmpl": 7}, "must be a str"),
        ({"pairs": {"form": "examples"}}, "pairs is of type dict"),
        ({"path": ""}, "output_path is empty"),
        ({"qa_generate_prompt_tmpl": "Write questions."}, "does not hold {context_str}"),
    ],
)
def test_what_can_not_be_asked_for(tmp_path: Path, fields: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        generate(**{"path": tmp_path / "set.json", "say": lambda _: pytest.fail("asked"), **fields})
    assert "\n" not in str(caught.value)


def test_what_is_no_llm_and_no_file_is_told_before_it_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="llm is of type str, but must be a LLM"):
        generate_qa_embedding_pairs(NODES, "gpt", output_path=str(tmp_path / "set.json"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be read"):
        generate(tmp_path, lambda _: pytest.fail("asked"))
    (tmp_path / "file").write_text("")
    with pytest.raises((OSError, DataError)):
        generate(tmp_path / "file" / "set.json", lambda _: pytest.fail("asked"))


def test_progress_is_shown_unless_it_is_not_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path / "one.json", lambda _: "Was?", verbose=True)
    assert "writing questions: done" in capsys.readouterr().err
    generate(tmp_path / "two.json", lambda _: "Was?")
    assert capsys.readouterr().err == ""


def test_the_request_that_a_program_imports_can_be_filled_in(tmp_path: Path) -> None:
    own = {"qa_generate_prompt_tmpl": DEFAULT_QA_GENERATE_PROMPT_TMPL}
    asked: list[str] = []
    generate(tmp_path / "set.json", lambda prompt: asked.append(prompt) or "Was?", **own)  # type: ignore[func-returns-value]
    assert "Zürich liegt am See." in asked[0]
    assert "Write 2 questions" in asked[0]


# ---- engines


def test_faults_are_told_before_a_model_is_loaded() -> None:
    torn = dataset().model_copy(update={"corpus": {}})
    for fields, words in (
        ({"trust_remote_code": True}, "never run here"),
        ({"loss": object()}, "Name it, as in"),
    ):
        with pytest.raises(ConfigError, match=words):
            SentenceTransformersFinetuneEngine(dataset(), "any", **fields)  # type: ignore[arg-type]
    with pytest.raises(DataError, match='question "qcat" has no text "cat" in the corpus'):
        SentenceTransformersFinetuneEngine(torn, "any")
    with pytest.raises(DataError, match="holds no questions"):
        SentenceTransformersFinetuneEngine(dataset(0), "any")
    with pytest.raises(DataError, match="dataset is empty"):
        CrossEncoderFinetuneEngine([], "any")


def test_numbers_may_be_numpys() -> None:
    two, rate = np.int64(2), np.float32(0.1)
    fields: dict[str, Any] = {"batch_size": two, "epochs": two}
    for score in (np.float32(1), np.int64(0), True):
        sample = CrossEncoderFinetuningDatasetSample("q", "c", score)  # type: ignore[arg-type]
        (row,) = CrossEncoderFinetuneEngine([sample], "any", **fields)._rows
        assert row.label == float(score) and type(row.label) is float
    SentenceTransformersFinetuneEngine(dataset(), "any", **fields)
    base = TurnedEmbedding()
    engine = EmbeddingAdapterFinetuneEngine(dataset(), base, learning_rate=rate, **fields)  # type: ignore[arg-type]
    assert {type(value) for value in engine._how.values()} == {int, float}


SAMPLES = [
    CrossEncoderFinetuningDatasetSample(f"Where is the {animal}?", f"In the {place}.", 1)
    for animal, place in zip(ANIMALS, PLACES, strict=True)
]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dataset": "set.json"}, "dataset is of type str, but must be an EmbeddingQA"),
        ({"dataset": {"queries": {}}}, "dataset is of type dict"),
        ({"val_dataset": [1]}, "val_dataset is of type list"),
        ({"val_dataset": dataset(0)}, "val_dataset holds no questions"),
        (
            {"val_dataset": dataset().model_copy(update={"relevant_docs": {}})},
            'val_dataset: question "qcat" has no text in the corpus',
        ),
        ({"epochs": 0}, "epochs is 0: Input should be greater than 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"loss": "graded"}, 'loss "graded" needs grades'),
    ],
)
def test_an_embedders_arguments_are_checked_before_it_is_loaded(fields: Any, words: str) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(words)) as caught:
        SentenceTransformersFinetuneEngine(**{"dataset": dataset(), "model_id": "any", **fields})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dataset": dataset()}, "dataset: item 1 is no sample"),
        ({"dataset": "train.json"}, "dataset is of type str, but must be a list"),
        ({"dataset": [("q", "c", 1)]}, "dataset: item 1 is no sample"),
        ({"val_dataset": []}, "val_dataset is empty"),
        ({"val_dataset": [*SAMPLES, None]}, "val_dataset: item 9 is no sample"),
        (
            {"val_dataset": [CrossEncoderFinetuningDatasetSample("q", "c", 7)]},
            "a score from 0 to 1",
        ),
        ({"epochs": -1}, "epochs is -1"),
        ({"loss": "contrastive"}, "loss is 'contrastive'"),
    ],
)
def test_a_cross_encoders_arguments_are_checked_before_it_is_loaded(
    fields: Any, words: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(words)) as caught:
        CrossEncoderFinetuneEngine(**{"dataset": SAMPLES, "model_id": "any", **fields})
    assert "\n" not in str(caught.value)


def test_what_would_be_swallowed_is_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    engine = CrossEncoderFinetuneEngine(SAMPLES, "any", out)
    with pytest.raises(ConfigError, match=r"takes no settings \(epochs\)"):
        engine.finetune(epochs=9)
    with pytest.raises(ConfigError, match=f"hf upload me/mine {out}"):
        engine.push_to_hub("me/mine")
    with pytest.raises(TypeError, match="epoch"):
        SentenceTransformersFinetuneEngine(dataset(), "any", epoch=3)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="embed_model is of type str"):
        EmbeddingAdapterFinetuneEngine(dataset(), "any")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Leave out model_cls"):
        EmbeddingAdapterFinetuneEngine.from_model_path(dataset(), TurnedEmbedding(), out, object)


# ---- output folders


def test_an_output_folder_is_named_and_may_lie_in_the_users_home(tmp_path: Path) -> None:
    for given, fault in (("", "model_output_path is empty"), (None, "is of type NoneType")):
        with pytest.raises(ConfigError, match=fault):
            Output.of(object(), given, overwrite=False)  # type: ignore[arg-type]
    assert Output.of(object(), "~/tuned", overwrite=False).folder == Path.home() / "tuned"


def output(folder: Path, engine: str = "Engine", *, overwrite: bool = False) -> Output:
    return Output(folder=folder, engine=engine, overwrite=overwrite)


def test_only_the_same_engines_work_on_the_same_texts_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    output(folder).claim(["a"])  # there is none
    folder.mkdir()
    output(folder).claim(["a"])  # it is empty
    (folder / "holiday.jpg").write_text("")
    with pytest.raises(RunFolderError, match="holds files that no Engine wrote"):
        output(folder).claim(["a"])
    output(folder, overwrite=True).claim(["a"])

    output(folder).note(["a", "b", "c", "d"])
    output(folder).claim(["c", "e", "d"])
    with pytest.raises(RunFolderError, match="that was trained on another corpus"):
        output(folder).claim(["d", "e"])
    with pytest.raises(RunFolderError, match="that no Other wrote"):
        output(folder, "Other").claim(["a", "b", "c", "d"])


def test_an_engine_refuses_before_it_loads_a_model(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    engines = (
        SentenceTransformersFinetuneEngine(dataset(), "any", str(tmp_path)),
        CrossEncoderFinetuneEngine(SAMPLES, "any", str(tmp_path)),
        EmbeddingAdapterFinetuneEngine(
            dataset(), TurnedEmbedding(), model_output_path=str(tmp_path)
        ),
    )
    for engine in engines:
        with pytest.raises(RunFolderError, match="Choose another model_output_path"):
            engine.finetune()
    assert [path.name for path in tmp_path.glob("*.*")] == ["thesis.tex"]


def test_checkpoints_of_another_training_are_never_resumed(tmp_path: Path) -> None:
    one = output(tmp_path / "out").checkpoints("model", "text")
    (one / "checkpoint-3").mkdir(parents=True)
    assert output(tmp_path / "out").checkpoints("model", "text") == one
    assert (one / "checkpoint-3").exists()
    other = output(tmp_path / "out").checkpoints("model", "texts")
    assert other != one
    assert not one.exists()


def test_a_damaged_map_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "query_map.npy").write_bytes(b"half")
    with pytest.raises(DataError, match=r"query_map\.npy is damaged"):
        AdapterEmbedding(TurnedEmbedding(), str(tmp_path))


def test_what_is_no_embedding_model_is_told_how_to_make_one(tmp_path: Path) -> None:
    name: Any = "any"
    with pytest.raises(ConfigError, match=r"One of ours is AloftEmbedding\(name\)\.$"):
        AdapterEmbedding(name, str(tmp_path))  # its field is model_name, as LlamaIndex' own


def test_before_training_there_is_no_model(tmp_path: Path) -> None:
    engine = SentenceTransformersFinetuneEngine(dataset(), "any", str(tmp_path / "out"))
    with pytest.raises(DataError, match=r"Call finetune\(\) first"):
        engine.get_finetuned_model()


@pytest.mark.model
def test_an_embedder_learns_and_tells_its_gain(tmp_path: Path) -> None:
    from aloft.testing import tiny_encoder

    engine = SentenceTransformersFinetuneEngine(
        dataset(),
        str(tiny_encoder(tmp_path / "encoder")),
        str(tmp_path / "out"),
        batch_size=8,
        val_dataset=dataset(),
        epochs=60,
        show_progress_bar=False,
        save_checkpoints=True,  # of the retired engine: taken, and not needed
        device="cpu",
    )
    assert isinstance(engine, BaseEmbeddingFinetuneEngine)
    engine.finetune()
    (gain,) = [one for one in engine.gains if one.metric == "mrr@10"]
    assert gain.after > gain.before
    tuned = engine.get_finetuned_model(embed_batch_size=4)
    assert isinstance(tuned, BaseEmbedding)
    passages = np.array(tuned.get_text_embedding_batch(list(dataset().corpus.values())))
    asked = np.array([tuned.get_query_embedding(q) for q in dataset().queries.values()])
    ranks = (-(asked @ passages.T)).argsort(1).argsort(1).diagonal() + 1
    assert gain.after == pytest.approx(np.mean(1 / ranks))


class TurnedEmbedding(BaseEmbedding):
    """Texts are axes, and each question is its text's vector turned to the next axis."""

    def _axis(self, text: str, shift: int) -> list[float]:
        place = next(i for i, animal in enumerate(ANIMALS) if animal in text.split())
        return [float(i == (place + shift) % len(ANIMALS)) for i in range(len(ANIMALS))]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._axis(query, 1)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._axis(text, 0)


@pytest.mark.model
def test_a_query_map_turns_questions_back_and_leaves_texts(tmp_path: Path) -> None:
    base = TurnedEmbedding(model_name="turned")
    out = str(tmp_path / "map")
    engine = EmbeddingAdapterFinetuneEngine(
        dataset(), base, batch_size=8, epochs=400, model_output_path=out, learning_rate=3e-2
    )
    assert isinstance(engine, BaseEmbeddingFinetuneEngine)
    engine.finetune()
    tuned = engine.get_finetuned_model()
    texts = list(dataset().corpus.values())
    assert tuned.get_text_embedding_batch(texts) == base.get_text_embedding_batch(texts)
    for query, text in zip(dataset().queries.values(), texts, strict=True):
        turned = tuned.get_query_embedding(query)
        assert np.linalg.norm(turned) == pytest.approx(1, abs=1e-5)
        assert int(np.argmax(turned)) == int(np.argmax(base.get_text_embedding(text)))
    again = EmbeddingAdapterFinetuneEngine.from_model_path(
        dataset(), base, out, model_output_path=str(tmp_path / "more"), learning_rate=1e-30
    )
    again.finetune()
    same = again.get_finetuned_model().get_query_embedding("Where does the owl live?")
    assert same == pytest.approx(tuned.get_query_embedding("Where does the owl live?"))
    with pytest.raises(ConfigError, match="linear map without a bias"):
        EmbeddingAdapterFinetuneEngine(dataset(), base, bias=True)


@pytest.mark.model
def test_the_maps_loss_is_the_contrastive_one() -> None:
    from aloft.training.query_map import train_query_map

    queries = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    passages = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    how: dict[str, Any] = {"epochs": 1, "batch_size": 2, "seed": 0}
    matrix, losses = train_query_map(queries, passages, [1, 0], learning_rate=1e-30, **how)
    # each question is as near to the wrong passage as can be: 20 against 0
    assert losses == pytest.approx([np.log1p(np.exp(20.0))])
    np.testing.assert_allclose(matrix, np.eye(2), atol=1e-20)
    # two questions of one passage stand against it alone
    _, alone = train_query_map(queries, passages, [1, 1], learning_rate=1e-30, **how)
    assert alone == pytest.approx([0.0], abs=1e-6)


@pytest.mark.model
def test_a_cross_encoder_learns_and_reranks(tmp_path: Path) -> None:
    from aloft.testing import tiny_encoder

    samples = [
        CrossEncoderFinetuningDatasetSample(
            query=f"Where does the {animal} live?",
            context=f"The {animal} lives in the {place}." if right else f"{place}: 4711 m2, empty",
            score=int(right),
        )
        for animal, place in zip(ANIMALS, PLACES, strict=True)
        for right in (True, False)
    ]
    engine = CrossEncoderFinetuneEngine(
        samples,
        str(tiny_encoder(tmp_path / "encoder")),
        str(tmp_path / "out"),
        val_dataset=samples,
        batch_size=16,
        epochs=400,
        show_progress_bar=False,
    )
    assert isinstance(engine, BaseCrossEncoderFinetuningEngine)
    engine.finetune()
    (gain,) = engine.gains
    assert (gain.metric, gain.after) == ("accuracy", 1.0)
    rerank = engine.get_finetuned_model(top_n=1)
    assert isinstance(rerank, BaseNodePostprocessor)
    nodes = [TextNode(id_=str(i), text=sample.context) for i, sample in enumerate(samples[:2])]
    from llama_index.core.schema import NodeWithScore

    given = [NodeWithScore(node=node) for node in reversed(nodes)]
    (best,) = rerank.postprocess_nodes(given, query_str="Where does the cat live?")
    assert best.node_id == "0"


def test_the_base_classes_are_the_retired_packages_where_it_is_installed() -> None:
    types = pytest.importorskip(
        "llama_index.finetuning.types", reason="llama-index-finetuning is not installed"
    )
    assert issubclass(SentenceTransformersFinetuneEngine, types.BaseEmbeddingFinetuneEngine)
    assert issubclass(EmbeddingAdapterFinetuneEngine, types.BaseEmbeddingFinetuneEngine)
    assert issubclass(CrossEncoderFinetuneEngine, types.BaseCrossEncoderFinetuningEngine)
