"""What ships retrieves as its contract says, and is written and read back whole."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import CONTRACT, ScriptedModels, WordByWord, write_run

from aloft.config import FormatName, Part, RunConfig
from aloft.errors import DataError
from aloft.evaluation.evaluator import System, SystemVariant
from aloft.protocols import Prompt, Reply
from aloft.records import Passage
from aloft.serving.bundle import (
    Bundle,
    Retriever,
    ask,
    ask_streaming,
    read_bundle,
    reranker_of,
    write_bundle,
)
from aloft.storage import RunFolder
from aloft.testing import ScriptedTeacher

TEXTS = ("red fox red", "red whale blue whale", "blue", "grey wolf")
PASSAGES = [Passage(document_id="a", text=text, start=0) for text in TEXTS]
HYBRID = replace(CONTRACT, retriever="hybrid")
RERANKED = replace(CONTRACT, reranker="any reranker")


def retrieved(contract: Bundle, question: str, count: int | None = None) -> list[int]:
    """Places of the passages found, best first."""
    (found,) = Retriever(contract, PASSAGES, ScriptedModels()).retrieve([question], count)
    return [TEXTS.index(one.passage.text) for one in found]


def test_dense_is_ordered_by_cosine() -> None:
    # "blue red" has length sqrt(2): cosines 2/sqrt(10), 2/sqrt(12), 1/sqrt(2), 0
    (found,) = Retriever(CONTRACT, PASSAGES, ScriptedModels()).retrieve(["blue red"])

    assert [TEXTS.index(one.passage.text) for one in found] == [2, 0, 1, 3]
    expected = [1 / 2**0.5, 2 / 10**0.5, 2 / 12**0.5, 0]
    assert [one.score for one in found] == [pytest.approx(score) for score in expected]


def test_hybrid_weighs_both_rankings() -> None:
    # Dense as above, stretched: passage 2 gets 1, 0 gets 2/sqrt(5) = 0.894, 1 gets 0.816, 3 0.
    # BM25: "red" is 3 terms and "blue" 4, each in 2 of 4 passages, so all weigh the same. With k1
    # 1.2, b 0.75 and passages of 9, 17, 4 and 8 terms the norms are 1.153 (0), 1.911 (1), 0.679
    # (2): passage 0 gets 3 * 2/(2 + 1.153) = 1.903, 1 gets 7/(1 + 1.911) = 2.405, 2 gets
    # 4/(1 + 0.679) = 2.383. Stretched by the best: 0.791, 1, 0.991, 0.
    assert retrieved(replace(HYBRID, dense_weight=0.0), "blue red") == [1, 2, 0, 3]
    assert retrieved(replace(HYBRID, dense_weight=1.0), "blue red") == [2, 0, 1, 3]
    # at 0.04: 1 has 0.993, 2 has 0.991; at 0.5: 1 has 0.908, 2 has 0.995, 0 has 0.843
    assert retrieved(replace(HYBRID, dense_weight=0.04), "blue red") == [1, 2, 0, 3]

    retriever = Retriever(replace(HYBRID, dense_weight=0.5), PASSAGES, ScriptedModels())
    (found,) = retriever.retrieve(["blue red"])
    assert [TEXTS.index(one.passage.text) for one in found] == [2, 1, 0, 3]
    expected = (0.995, 0.908, 0.843, 0)
    assert [one.score for one in found] == [pytest.approx(score, abs=0.001) for score in expected]


@pytest.mark.parametrize("contract", [CONTRACT, HYBRID, RERANKED, replace(HYBRID, reranker="any")])
def test_some_passages_are_found_as_in_a_corpus_of_their_own(contract: Bundle) -> None:
    retriever = Retriever(contract, PASSAGES, ScriptedModels())
    (found,) = retriever.retrieve(["blue red"], 3, among={1, 3, 2})
    assert {one.passage.text for one in found} == {TEXTS[1], TEXTS[2], TEXTS[3]}
    if contract.retriever == "dense":  # BM25 knows how frequent words are in all of them
        alone = Retriever(contract, [PASSAGES[i] for i in (1, 2, 3)], ScriptedModels())
        assert found == alone.retrieve(["blue red"], 3)[0]
    (one,) = retriever.retrieve(["blue red"], among=[3])
    assert [some.passage.text for some in one] == ["grey wolf"]
    assert retriever.retrieve(["blue red", "wolf"], among=()) == [[], []]


def test_few_of_many_passages_are_found_however_low_they_rank() -> None:
    many = [Passage(document_id=str(i), text="red fox", start=0) for i in range(150)]
    many.append(Passage(document_id="last", text="grey wolf red", start=0))
    for contract in (CONTRACT, HYBRID):
        (found,) = Retriever(contract, many, ScriptedModels()).retrieve(["red fox"], 9, {150})
        assert [one.passage.document_id for one in found] == ["last"]


def test_a_reranker_reorders_the_first_ranks_alone() -> None:
    # shares of the question's words: 0 one half, 1 all, 2 one half; equal ones keep their order
    assert retrieved(RERANKED, "blue red") == [1, 2, 0, 3]
    assert retrieved(replace(RERANKED, retriever="hybrid"), "blue red") == [1, 2, 0, 3]
    # of the two first, 2 and 0, none is better: passage 1 is not seen
    assert retrieved(replace(RERANKED, rerank_depth=2), "blue red") == [2, 0]


def test_the_scores_told_are_those_ranked_by() -> None:
    (found,) = Retriever(RERANKED, PASSAGES, ScriptedModels()).retrieve(["blue red"])
    assert [one.score for one in found] == [1, 0.5, 0.5, 0]


def test_as_many_as_asked_for_or_else_the_contexts() -> None:
    two = replace(CONTRACT, contexts=2)
    assert retrieved(two, "blue red") == [2, 0]
    assert retrieved(two, "blue red", 1) == [2]
    assert retrieved(two, "blue red", 3) == [2, 0, 1]
    assert retrieved(two, "blue red", 99) == [2, 0, 1, 3]  # no more than there are
    assert retrieved(replace(HYBRID, contexts=2), "blue red", 99) == [2, 1, 0, 3]


def test_more_than_the_rerankers_depth_are_all_reranked() -> None:
    shallow = replace(RERANKED, rerank_depth=2, contexts=2)
    assert retrieved(shallow, "blue red") == [2, 0]
    assert retrieved(shallow, "blue red", 3) == [1, 2, 0]


def test_each_question_has_its_own_passages() -> None:
    retriever = Retriever(replace(CONTRACT, contexts=1), PASSAGES, ScriptedModels())
    found = retriever.retrieve(["wolf", "whale", "fox"])
    assert [[one.passage for one in some] for some in found] == [
        [PASSAGES[3]],
        [PASSAGES[1]],
        [PASSAGES[0]],
    ]


@pytest.mark.parametrize("contract", [CONTRACT, HYBRID, replace(HYBRID, reranker="any reranker")])
def test_an_empty_corpus_and_no_questions_load_nothing(contract: Bundle) -> None:
    models = ScriptedModels()

    assert Retriever(contract, [], models).retrieve(["red", "blue"], 3) == [[], []]
    assert Retriever(contract, PASSAGES, models).retrieve([]) == []
    assert models.loaded == []


def test_a_title_is_searched_with_the_text() -> None:
    titled = [*PASSAGES, Passage(document_id="b", text="It swims.", start=0, title="Otter")]
    for contract in (CONTRACT, HYBRID):
        (found,) = Retriever(contract, titled, ScriptedModels()).retrieve(["otter"], 1)
        assert found[0].passage is titled[4]


def test_vectors_of_the_corpus_are_kept_in_a_run_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    for _ in range(2):
        (found,) = Retriever(CONTRACT, PASSAGES, ScriptedModels(), folder).retrieve(["wolf"], 1)
        assert found[0].passage is PASSAGES[3]
    Retriever(CONTRACT, PASSAGES[1:], ScriptedModels(), folder).retrieve(["wolf"])  # other texts

    assert len(list((tmp_path / "run" / "work").glob("passages-*.npy"))) == 2


def test_an_answer_holds_what_was_cited_and_all_that_was_shown() -> None:
    def reply(prompt: Prompt) -> str:
        assert "### 1\nblue\n\n### 2\nred fox red" in prompt.messages[-1].content
        return "2\n\n### Answer\nA fox."

    models = ScriptedModels(reply)
    contract = replace(CONTRACT, contexts=2, adapter="some/adapter")
    answer = ask(Retriever(contract, PASSAGES, models), "blue red", models)

    assert answer.text == "A fox."
    assert [found.passage for found in answer.cited] == [PASSAGES[0]]
    assert [found.passage for found in answer.contexts] == [PASSAGES[2], PASSAGES[0]]
    assert models.adapters == [Path("some/adapter")]


@pytest.mark.parametrize(
    ("name", "reply", "expected"),
    [
        ("aloftrag", "2, 1\n\n### Answer\nA red fox.", ["A", "A red", "A red fox."]),
        ("ralt", "A red fox.", ["A", "A red", "A red fox."]),
        ("aloftrag", "I do not know.", ["I do not know."]),  # it never gets to its answer
    ],
)
def test_a_streamed_answer_grows_to_the_one_that_is_given_at_once(
    name: FormatName, reply: str, expected: list[str]
) -> None:
    models = ScriptedModels()
    models.teacher_model = WordByWord(lambda _: reply)
    retriever = Retriever(replace(CONTRACT, contexts=2, format=name), PASSAGES, models)
    answers = list(ask_streaming(retriever, "blue red", models))

    assert [answer.text for answer in answers] == expected
    models.teacher_model = ScriptedTeacher(lambda _: reply)
    assert answers[-1] == ask(retriever, "blue red", models)
    cited = [PASSAGES[0], PASSAGES[2]] if reply.startswith("2") else []
    assert [[found.passage for found in answer.cited] for answer in answers] == [cited] * len(
        answers
    )


def test_a_generator_is_stopped_where_its_format_ends() -> None:
    stops = []

    class Stopped(ScriptedTeacher):
        def complete(self, prompts: Sequence[Prompt], **options: Any) -> list[Reply]:
            stops.append(options["stop"])
            return super().complete(prompts, **options)

    models = ScriptedModels()
    models.teacher_model = Stopped(lambda prompt: "A fox.\n\n### Note")
    answer = ask(Retriever(replace(CONTRACT, format="ralt"), PASSAGES, models), "red", models)

    assert answer.text == "A fox."
    assert stops == [("\n### ",)]


# ---- what ships


def config(**changes: Any) -> RunConfig:
    return RunConfig(teacher="a teacher", embedder="an embedder", **changes)


def stack(*parts: Part, retriever: str = "hybrid", reranker: str = "none") -> SystemVariant:
    return SystemVariant(
        parts=parts,
        system=System(retriever, "tuned" if "embedder" in parts else "base", reranker),
        weight=0.7,
        question_set="human",
        metrics={},
        n=1,
        score=0.5,
    )


def trained(run: Path, *parts: str) -> Path:
    for part in parts:
        (run / part / "deep").mkdir(parents=True)
        (run / part / "deep" / "weights").write_text(f"weights of the {part}")
    if "generator" in parts:
        (run / "generator" / "adapter_config.json").write_text("{}")
    return run


def test_kept_parts_ship_with_their_files_and_refused_ones_do_not(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "reranker", "generator")
    shipped = stack("embedder", "generator")

    contract = write_bundle(run, config(training_sets={"format": "raft"}), shipped)

    assert contract == Bundle(
        embedder="embedder",
        generator="a teacher",
        reranker=None,
        adapter="generator",
        retriever="hybrid",
        dense_weight=0.7,
        contexts=10,  # the paper's
        rerank_depth=20,
        max_new_tokens=256,
        format="raft",
    )
    found = sorted(str(p.relative_to(run / "models")) for p in (run / "models").rglob("weights"))
    assert found == ["embedder/deep/weights", "generator/deep/weights"]

    back = read_bundle(run / "models")
    assert back == replace(
        contract, embedder=str(run / "models/embedder"), adapter=str(run / "models/generator")
    )
    assert (Path(back.embedder) / "deep/weights").read_text() == "weights of the embedder"


@pytest.mark.parametrize("engine", ["", "vllm:"])
def test_a_generator_trained_whole_ships_in_place_of_its_model(tmp_path: Path, engine: str) -> None:
    run = trained(tmp_path / "run", "generator")
    (run / "generator" / "adapter_config.json").unlink()
    contract = write_bundle(run, config(generator=f"{engine}some/model"), stack("generator"))
    assert (contract.generator, contract.adapter) == (f"{engine}generator", None)
    back = read_bundle(run / "models")
    assert back.generator == f"{engine}{run / 'models' / 'generator'}"


@pytest.mark.parametrize(
    ("shipped", "own", "expected"),
    [
        (stack(), None, None),
        (stack(), "a reranker", None),
        (stack(reranker="base"), "a reranker", "a reranker"),
        (stack("reranker", reranker="tuned"), None, "reranker"),
        (stack("reranker", reranker="tuned"), "a reranker", "reranker"),
    ],
)
def test_the_reranker_that_was_measured_ships(
    tmp_path: Path, shipped: SystemVariant, own: str | None, expected: str | None
) -> None:
    run = trained(tmp_path / "run", "reranker")

    assert write_bundle(run, config(reranker=own), shipped).reranker == expected
    if expected is not None:
        whole = run / "models" / "reranker" if expected == "reranker" else expected
        assert reranker_of(run) == str(whole)


def test_untrained_models_keep_their_names(tmp_path: Path) -> None:
    chosen = config(generator="a generator", training_sets={"contexts": 3})
    write_bundle(trained(tmp_path / "run"), chosen, stack(retriever="dense"))

    back = read_bundle(tmp_path / "run" / "models")
    assert (back.embedder, back.generator, back.adapter) == ("an embedder", "a generator", None)
    assert (back.retriever, back.contexts) == ("dense", 3)


def test_a_second_run_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "embedder", "generator")
    write_bundle(run, config(), stack("embedder"))
    write_bundle(run, config(), stack("generator"))

    assert sorted(p.name for p in (run / "models").iterdir()) == ["aloft.json", "generator"]
    assert sorted(p.name for p in run.iterdir()) == ["embedder", "generator", "models"]
    assert (run / "embedder" / "deep" / "weights").exists()  # only the copy went


def test_the_contract_is_one_readable_file(tmp_path: Path) -> None:
    contract = write_bundle(trained(tmp_path / "run"), config(), stack())
    text = (tmp_path / "run" / "models" / "aloft.json").read_text()

    assert json.loads(text) == {name: getattr(contract, name) for name in Bundle.__slots__}
    assert text.endswith("}\n")


def test_a_moved_run_is_read_where_it_is_now(tmp_path: Path) -> None:
    write_run(tmp_path / "one", embedder="embedder")
    (tmp_path / "one").rename(tmp_path / "two")
    found = read_bundle(tmp_path / "two" / "models")
    assert found.embedder == str(tmp_path / "two" / "models" / "embedder")


@pytest.mark.parametrize("read", [read_bundle, reranker_of])
def test_an_unfinished_run_says_what_to_do(tmp_path: Path, read: Any) -> None:
    with pytest.raises(DataError, match=r"holds no aloft\.json\. Finish a run first: aloft run"):
        read(tmp_path)
