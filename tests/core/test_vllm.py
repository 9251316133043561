"""vLLM in its own process: what passes between the two, and that the process ends in time."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex

from aloft.backends.loading import Models
from aloft.config import FormatName, load_config
from aloft.errors import ConfigError, ModelError
from aloft.network_guard import local_only
from aloft.prompts.formats import format_of
from aloft.protocols import Prompt, Tool
from aloft.records import Message
from aloft.run.graph import Graph
from aloft.run.stage import Setup

PYTHON = "ALOFT_VLLM_PYTHON"
FAKE = '''
"""Stands for vLLM: replies with the prompt's last tokens, and does what FAKE_VLLM says."""
import fcntl, os, signal, socket, time
from types import SimpleNamespace

print("vLLM says hello")
does = os.environ["FAKE_VLLM"]
alive = open(os.environ["FAKE_VLLM_ALIVE"], "a")
fcntl.flock(alive, fcntl.LOCK_EX)


class SamplingParams(SimpleNamespace):
    pass


class LLM:
    def __init__(self, **options):
        if does == "load fails":
            raise ValueError("no memory\\nfor the cache")
        if does == "reaches out":
            for host in ("192.0.2.1", "127.0.0.1"):
                try:
                    socket.create_connection((host, 9), timeout=0.1)
                except OSError:
                    pass
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=50))

    def generate(self, prompts, sampling, lora_request, use_tqdm):
        print("{}")
        os.write(1, b"straight to the pipe\\n")
        os.system("echo from a child; cat")
        if does == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "sleeps":
            time.sleep(60)
        return [SimpleNamespace(outputs=[reply(*one)]) for one in zip(prompts, sampling)]


def reply(prompt, sampling):
    ids = prompt["prompt_token_ids"][-sampling.max_tokens :]
    wanted = getattr(sampling, "logprob_token_ids", ())
    first = {token: SimpleNamespace(logprob=-float(i)) for i, token in enumerate(wanted)}
    return SimpleNamespace(token_ids=ids, finish_reason="length", logprobs=[first])
'''


def plain(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),), is_plain=True)


# ---- names; no model needed


def test_the_generator_is_the_teacher_without_its_engine() -> None:
    config = load_config("cpu", overrides={"teacher": "vllm:some/model"})
    assert config.generator_model == "some/model"
    assert config.servers == ()
    named = load_config("cpu", overrides={"generator": "vllm:some/model"})
    assert named.generator_model == "vllm:some/model"


def test_a_generator_that_answers_in_vllm_is_trained_by_its_own_name() -> None:
    config = load_config("cpu", overrides={"generator": "vllm:some/model"})
    stage = Graph(Setup(config)).stages["generator"]
    assert stage.models["base"].name == "some/model"
    assert config.base_model("generator") == "some/model"


@pytest.mark.parametrize("part", ["embedder", "reranker"])
def test_vllm_runs_language_models_alone(part: str) -> None:
    with pytest.raises(ConfigError, match=f"{part} is vllm:x, .* Set {part} to x"):
        load_config("cpu", overrides={part: "vllm:x"})


def test_vllm_is_not_asked_for_an_adapter_that_it_can_not_run() -> None:
    settings = {"generator": "vllm:x", "generator_training": {"method": "dora"}}
    with pytest.raises(ConfigError, match="vLLM runs no DoRA adapters"):
        load_config("cpu", overrides=settings)
    assert load_config("cpu", overrides=settings | {"generator": "x"}).generator_model == "x"


def test_weights_go_by_one_name_whatever_runs_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 77}')
    models = Models()
    assert models.fingerprint(f"vllm:{tmp_path}") == models.fingerprint(str(tmp_path))
    assert models.context_window(f"vllm:{tmp_path}") == 77


def test_without_vllm_one_line_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from aloft.backends.vllm import find_python

    monkeypatch.setenv(PYTHON, sys.executable)
    assert find_python() == sys.executable
    monkeypatch.setenv(PYTHON, "/no/such/python")
    with pytest.raises(
        ModelError, match=r"/no/such/python, which is not a program\. Run: python -m"
    ):
        find_python()
    monkeypatch.delenv(PYTHON)
    with pytest.raises(ModelError, match=r"vLLM is not installed in this Python\. Run: python -m"):
        find_python()


# ---- the process, with a stand-in for vLLM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from aloft.testing import tiny_language_model

    return tiny_language_model(tmp_path_factory.mktemp("vllm") / "model", head_dim=32)


@pytest.fixture
def alive(tmp_path: Path) -> Callable[[], bool]:
    """Whether a worker lives: it holds a lock, which the system takes from a dead process."""

    def is_held() -> bool:
        with (tmp_path / "alive").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    return is_held


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set what the stand-in does."""
    for name, text in {
        "vllm/__init__.py": FAKE,
        "vllm/lora/request.py": "LoRARequest = tuple",
        "vllm/platforms.py": "class current_platform:\n    is_cpu = staticmethod(lambda: True)",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv(PYTHON, sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_VLLM_ALIVE", str(tmp_path / "alive"))
    monkeypatch.setenv("FAKE_VLLM", "replies")
    return lambda does: monkeypatch.setenv("FAKE_VLLM", does)


def load(folder: Path) -> Any:
    return Models().language_model(f"vllm:{folder}")


def wait_until(is_so: Callable[[], bool]) -> bool:
    for _ in range(200):
        if is_so():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.model
def test_what_vllm_prints_does_not_get_between(folder: Path, fake: Callable[[str], None]) -> None:
    model = load(folder)
    for _ in range(2):
        replies = model.complete([plain("abcdef"), plain("uvwxyz")], max_new_tokens=3)
        assert [reply.text for reply in replies] == ["def", "xyz"]
    assert [reply.is_finished for reply in replies] == [False, False]
    assert [(reply.prompt_tokens, reply.new_tokens) for reply in replies] == [(6, 3), (6, 3)]
    (ended,) = model.complete([plain("abcdef")], max_new_tokens=3, stop=("f", "ef"))
    assert (ended.text, ended.is_finished) == ("d", True)
    assert model.complete([], max_new_tokens=3) == []


@pytest.mark.model
def test_chances_are_shares_of_the_choices(folder: Path, fake: Callable[[str], None]) -> None:
    model = load(folder)
    scores = model.choice_probabilities([plain("a"), plain("b")], ["0", "1"])
    assert scores == pytest.approx(
        np.array([[0.731059, 0.268941]] * 2), abs=1e-6
    )  # of e^0 and e^-1
    assert model.choice_probabilities([], ["0", "1"]).shape == (0, 2)
    with pytest.raises(ModelError, match="do not begin with different tokens"):
        model.choice_probabilities([plain("a")], ["1", "10"])


@pytest.mark.model
def test_a_prompt_without_room_for_a_reply_is_not_asked(
    folder: Path, fake: Callable[[str], None]
) -> None:
    model = load(folder)
    short, long = plain("a" * 49), plain("a" * 50)  # the stand-in's window is 50 tokens
    replies = model.complete([long, short], max_new_tokens=2)
    assert [(r.text, r.is_finished, r.prompt_tokens) for r in replies] == [
        ("", False, 50),
        ("aa", False, 49),
    ]
    assert model.choice_probabilities([long], ["0", "1"]).tolist() == [[0.5, 0.5]]


@pytest.mark.model
def test_a_fault_of_vllm_is_told_in_one_line(
    folder: Path, fake: Callable[[str], None], alive: Callable[[], bool]
) -> None:
    fake("load fails")
    with pytest.raises(ModelError, match=r"^vLLM ended: ValueError: no memory for the cache\. "):
        load(folder)
    assert not alive()


@pytest.mark.model
def test_a_process_that_dies_at_work_is_told_of_every_time(
    folder: Path, fake: Callable[[str], None]
) -> None:
    fake("dies")
    model = load(folder)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"vLLM ended: status -9.* again to resume"):
            model.complete([plain("a")], max_new_tokens=3)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.model
def test_after_an_interrupt_no_old_answer_is_taken_for_a_new_one(
    folder: Path,
    fake: Callable[[str], None],
    alive: Callable[[], bool],
    interruptible: None,
) -> None:
    fake("sleeps")
    model = load(folder)
    main = threading.get_ident()
    timer = threading.Timer(0.5, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.complete([plain("a")], max_new_tokens=3)
    assert not alive()
    with pytest.raises(ModelError, match="vLLM ended"):
        model.complete([plain("a")], max_new_tokens=3)


@pytest.mark.model
def test_the_process_ends_when_the_model_is_let_go(
    folder: Path, fake: Callable[[str], None], alive: Callable[[], bool]
) -> None:
    models = Models()
    models.language_model(f"vllm:{folder}").complete([plain("a")], max_new_tokens=3)
    assert alive()
    models.release()
    assert not alive()


@pytest.mark.model
def test_the_process_ends_at_work_when_its_parent_is_killed(
    folder: Path, fake: Callable[[str], None], alive: Callable[[], bool]
) -> None:
    fake("sleeps")
    script = (
        "import sys\nfrom aloft.backends.loading import Models\n"
        "from aloft.protocols import Prompt\n"
        "model = Models().language_model('vllm:' + sys.argv[1])\n"
        "print('loaded', flush=True)\n"
        "model.complete([Prompt(messages=(), prefix='a', is_plain=True)], max_new_tokens=3)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"loaded\n"
        assert alive()
        parent.kill()
    assert wait_until(lambda: not alive())


@pytest.mark.model
def test_what_the_process_tries_to_reach_is_refused_and_counted(
    folder: Path, fake: Callable[[str], None]
) -> None:
    fake("reaches out")
    with local_only() as guard:
        load(folder)
    assert guard.refused == ["192.0.2.1"]


# ---- vLLM itself


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Path:
    """A LoRA adapter that changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=12, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder.parent / "adapter")
    return folder.parent / "adapter"


@pytest.fixture(scope="module")
def tuned(folder: Path, adapter: Path) -> Any:
    if not os.environ.get(PYTHON):
        pytest.skip(f"{PYTHON} names no Python that has vLLM: make test-vllm")
    from aloft.backends.vllm import VllmLanguageModel

    return VllmLanguageModel(str(folder), adapter, dtype="float32")


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("aloft.backends.transformers.has_bf16", lambda device: False)
    yield


PROMPTS = [plain("Topic: falls\nMark:"), plain("a " * 60), plain("Why?"), plain("0123456789" * 9)]


@pytest.mark.model
def test_vllm_and_transformers_find_the_same_chances(
    tuned: Any, folder: Path, adapter: Path, exact: None
) -> None:
    from aloft.backends.transformers import TransformersLanguageModel

    choices = list("0123456789")
    expected = TransformersLanguageModel(str(folder), adapter).choice_probabilities(
        PROMPTS, choices
    )
    untuned = TransformersLanguageModel(str(folder)).choice_probabilities(PROMPTS, choices)
    assert np.abs(expected - untuned).max() > 0.1
    assert tuned.choice_probabilities(PROMPTS, choices) == pytest.approx(expected, abs=1e-4)


@pytest.mark.model
def test_vllm_and_transformers_find_replies_as_likely(folder: Path, exact: None) -> None:
    if not os.environ.get(PYTHON):
        pytest.skip(f"{PYTHON} names no Python that has vLLM: make test-vllm")
    from aloft.backends.transformers import TransformersLanguageModel
    from aloft.backends.vllm import VllmLanguageModel

    replies = ["9", " a a a", "Because it is.", "0123456789"]
    expected = TransformersLanguageModel(str(folder)).score_replies(PROMPTS, replies)
    told = VllmLanguageModel(str(folder), dtype="float32").score_replies(PROMPTS, replies)
    assert told == pytest.approx(expected, abs=1e-3)
    assert np.ptp(expected) > 0.1


@pytest.mark.model
def test_vllm_holds_a_reply_to_its_pattern(tuned: Any) -> None:
    free, held, drawn = (
        replace(PROMPTS[0], pattern=pattern, seed=seed)
        for pattern, seed in (("", None), ("[ab]{3} (so|no)", None), ("[ab]{3} (so|no)", 1))
    )
    replies = tuned.complete([free, held, drawn], max_new_tokens=24)
    assert re.fullmatch("[ab]{3} (so|no)", replies[1].text)
    assert re.fullmatch("[ab]{3} (so|no)", replies[2].text)
    assert replies[1].is_finished
    assert replies[0].text == tuned.complete([free], max_new_tokens=24)[0].text
    assert not re.fullmatch("[ab]{3} (so|no)", replies[0].text)


@pytest.mark.model
def test_vllm_holds_replies_to_their_schemas_and_makes_calls_that_must_be_made(
    tuned: Any,
) -> None:
    city = {"type": "string", "enum": ["Oslo", "Rome"]}
    schema = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    weather = Tool(name="weather", description="Tells the weather.", parameters=schema)
    question = Prompt(messages=(Message(role="user", content="Is it sunny?"),))
    asked = [
        replace(question, json_schema=schema),
        replace(question, json_schema=schema, seed=1),
        replace(question, tools=(weather,), tool_choice="required"),
    ]
    greedy, drawn, called = tuned.complete(asked, max_new_tokens=96)
    for reply in (greedy, drawn):
        assert json.loads(reply.text)["city"] in city["enum"]
    assert [call.name for call in called.tool_calls] == ["weather"]
    assert called.tool_calls[0].arguments["city"] in city["enum"]


@pytest.mark.model
@pytest.mark.parametrize("abstains", [False, True])
@pytest.mark.parametrize("name", ["aloftrag", "raft"])
def test_vllm_holds_citations_to_passages_that_were_shown(
    tuned: Any, name: FormatName, abstains: bool
) -> None:
    form = format_of(name, abstains=abstains)
    asked = [form.render("Why?", ["a", "b", "c"][:count]) for count in (1, 3)]
    prompts = [
        replace(plain("Why?"), prefix=one.prefix, pattern=one.pattern, seed=seed)
        for one in asked
        for seed in (None, *range(4))
    ]
    for prompt, reply in zip(prompts, tuned.complete(prompts, max_new_tokens=24), strict=True):
        assert reply.text
        assert regex.fullmatch(prompt.pattern, reply.text, partial=True)


@pytest.mark.model
def test_vllm_draws_by_the_seed_whatever_stands_beside_it(tuned: Any) -> None:
    seeded = [replace(PROMPTS[0], seed=seed) for seed in range(6)]
    alone = [tuned.complete([one], max_new_tokens=12)[0].text for one in seeded]
    together = tuned.complete([*PROMPTS, *seeded], max_new_tokens=12)
    assert [reply.text for reply in together[4:]] == alone
    assert len(set(alone)) > 3
    greedy = tuned.complete(PROMPTS, max_new_tokens=12)
    assert [reply.text for reply in together[:4]] == [reply.text for reply in greedy]


@pytest.mark.model
def test_vllm_cuts_what_its_window_does_not_hold(tuned: Any) -> None:
    replies = tuned.complete([plain("a" * n) for n in (8190, 8192, 9000)], max_new_tokens=24)
    assert [reply.new_tokens for reply in replies] == [2, 0, 0]  # the model reads 8192 tokens
    assert not any(reply.is_finished for reply in replies)
