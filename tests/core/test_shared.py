"""Shared models are loaded when first called, and called by one thread at a time."""

import copy
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted import CONTRACT, ScriptedModels, WordByWord, last_words, write_run

from aloft.backends.shared import SharedModels
from aloft.errors import DataError
from aloft.protocols import Embedder, Floats, Prompt, stream_reply
from aloft.records import Message, Passage
from aloft.retrieval.ranking import best_first
from aloft.serving.bundle import open_retriever, reranker_of
from aloft.testing import HashingEmbedder


class Crowded(HashingEmbedder):
    """Remembers how many threads were ever inside at once."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.embedded: list[Sequence[str]] = []

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        self.embedded.append(texts)
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.01)
        self.inside -= 1
        return super().encode_passages(texts)


class CrowdedModels(ScriptedModels):
    def __init__(self) -> None:
        super().__init__()
        self.crowded = Crowded()

    def embedder(self, name: str) -> Embedder:
        return self.crowded


def test_nothing_is_loaded_before_the_first_call_and_a_reranker_only_once() -> None:
    source = ScriptedModels()
    reranker = SharedModels(source).reranker("any")
    assert source.loaded == []

    for _ in range(2):
        reranker.score([("red fox", "a red fox")])

    assert source.loaded == [("reranker", "any")]


def test_threads_take_turns() -> None:
    source = CrowdedModels()
    embedder = SharedModels(source).embedder("any")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(embedder.encode_passages, [["a"]] * 16))

    assert source.crowded.most == 1


def test_threads_that_retrieve_embed_the_corpus_once() -> None:
    source = CrowdedModels()
    passages = [Passage(document_id="a", text=text, start=0) for text in ("red fox", "blue whale")]
    retriever = open_retriever(CONTRACT, passages, SharedModels(source))

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(retriever.retrieve, [["whale"]] * 16))

    assert {some[0][0].passage.text for some in found} == {"blue whale"}
    assert sum("red fox" in texts for texts in source.crowded.embedded) == 1


def test_a_copy_is_the_same_object_and_a_pickle_has_loaded_nothing() -> None:
    models = SharedModels(ScriptedModels())

    assert copy.deepcopy({"models": models})["models"] is models
    assert type(pickle.loads(pickle.dumps(models))) is SharedModels


def test_equal_scores_stay_in_order() -> None:
    assert best_first([0.5, 0.9, 0.5, 0.9]) == [1, 3, 0, 2]
    assert best_first([0.5, 0.9, 0.5, 0.9], 1) == [1]
    assert best_first([]) == []


def test_a_run_without_a_reranker_says_so_in_one_line(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = write_run(tmp_path_factory.mktemp("run"))
    with pytest.raises(DataError, match="ships no reranker") as caught:
        reranker_of(run)
    assert "\n" not in str(caught.value)


def test_others_have_their_turn_between_the_pieces_of_a_stream() -> None:
    source = ScriptedModels()
    source.teacher_model = WordByWord(last_words)
    model = SharedModels(source).language_model("any")
    prompt = Prompt(messages=(Message(role="user", content="to be"),))
    pieces = stream_reply(model, prompt, max_new_tokens=9)
    said = [next(pieces).text]
    with ThreadPoolExecutor(2) as pool:  # each piece may be asked for by another thread
        (other,) = pool.submit(model.complete, [prompt], max_new_tokens=9).result(timeout=9)
        said += [pool.submit(next, pieces).result(timeout=9).text for _ in range(2)]
    last = next(pieces)
    assert "".join([*said, last.text]) == other.text == "You said: to be"
    assert (last.is_piece, last.new_tokens) == (False, 4)
    assert list(pieces) == []
