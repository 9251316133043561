"""Several servers of one model: who is asked, and what a dead one costs."""

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import openai_server
import pytest
from openai_server import NO_PAUSE, Answer, Serve, asked, chat, repeat

from aloft.backends.loading import Models
from aloft.backends.server import ServerLanguageModel, fingerprint_of, parse_name
from aloft.backends.server_balancing import BalancedServers
from aloft.backends.server_connection import ServerConnection
from aloft.config import RunConfig, load_config
from aloft.errors import ConfigError, ModelError
from aloft.records import Document
from aloft.run.job import servers_of
from aloft.run.whole import open_run

DOCUMENTS = [Document(id=f"{name}.txt", text=topics[name]) for name in sorted(topics)[:6]]
NOBODY = "http://127.0.0.1:1/v1"


def name_of(*urls: str) -> str:
    return ", ".join(f"openai:{url}" for url in urls)


def model_of(*urls: str, **options: Any) -> ServerLanguageModel:
    return ServerLanguageModel(name_of(*urls), **{"pauses": NO_PAUSE, **options})


def texts(model: ServerLanguageModel, count: int) -> list[str]:
    replies = model.complete([asked(str(i)) for i in range(count)], max_new_tokens=9)
    return [reply.text for reply in replies]


def test_replies_come_in_the_order_of_prompts_whoever_gave_them(serve: Serve) -> None:
    one, other = serve(repeat), serve(repeat)
    assert texts(model_of(one.url, other.url), 40) == [f"to {i}" for i in range(40)]
    assert len(one.calls) + len(other.calls) == 40
    assert one.calls and other.calls


def test_the_server_with_fewer_requests_in_flight_is_asked(serve: Serve) -> None:
    held = threading.Event()

    def slow(path: str, body: dict[str, Any]) -> Answer:
        assert held.wait(60)
        return repeat(path, body)

    def quick(path: str, body: dict[str, Any]) -> Answer:
        if len(fast.calls) == 18:  # all but the two that the slow one has
            held.set()
        return repeat(path, body)

    stuck, fast = serve(slow), serve(quick)
    assert texts(model_of(stuck.url, fast.url, concurrency=2), 20) == [f"to {i}" for i in range(20)]
    assert (len(stuck.calls), len(fast.calls)) == (2, 18)


def test_no_server_has_more_requests_in_flight_than_it_may(serve: Serve) -> None:
    lock, at_once, most = threading.Lock(), 0, 0

    def count(path: str, body: dict[str, Any]) -> Answer:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        with lock:
            at_once -= 1
        return repeat(path, body)

    alone, dead = serve(count), serve(repeat)
    dead.stop()
    texts(model_of(dead.url, f"{alone.url}#small", concurrency=3), 30)
    assert most == 3


def test_a_server_that_is_killed_in_the_middle_is_left_out_in_one_line(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    command = [sys.executable, openai_server.__file__, "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        def killing(path: str, body: dict[str, Any]) -> Answer:
            time.sleep(0.05)
            if len(left.calls) >= 20:
                process.kill()
            return repeat(path, body)

        left = serve(killing)
        model = model_of(url, left.url, concurrency=4)
        with caplog.at_level(logging.WARNING, "aloft"):
            replies = texts(model, 60)
    assert replies == [f"to {i}" for i in range(60)]
    assert 30 < len(left.calls) < 60
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"The server at {url} gives no reply (")
    assert line.endswith("and is left out; 1 of 2 servers is left.")


def test_servers_that_all_die_are_told_in_one_line(serve: Serve) -> None:
    one, other = serve(repeat), serve(repeat)
    model = model_of(one.url, other.url)
    texts(model, 4)
    one.stop()
    other.stop()
    with pytest.raises(ModelError) as caught:
        texts(model, 3)
    assert str(caught.value).startswith(f"None of the servers at {one.url}, {other.url} gives a")
    assert str(caught.value).endswith("Start one, then run the same command again to resume.")
    assert "\n" not in str(caught.value)


def test_the_last_server_is_waited_for_as_long_as_a_single_one(serve: Serve) -> None:
    faults = iter([503] * 6)

    def answer(path: str, body: dict[str, Any]) -> Answer:
        status = next(faults, 200)
        return repeat(path, body) if status == 200 else (status, b"loading")

    slow = serve(answer)
    model = ServerLanguageModel(f"openai:{NOBODY}#small, openai:{slow.url}#small", pauses=NO_PAUSE)
    assert texts(model, 1) == ["to 0"]
    assert len(slow.calls) == 7


def test_a_server_that_is_back_takes_part_again(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    is_loading = True

    def answer(path: str, body: dict[str, Any]) -> Answer:
        return (503, b"loading") if is_loading else repeat(path, body)

    returning, other = serve(answer), serve(repeat)
    connections = [ServerConnection(one.url, pauses=NO_PAUSE) for one in (returning, other)]
    servers = BalancedServers(connections, concurrency=2, rest=0.2)

    def ask() -> str:
        return servers.call(lambda server: _text_of(server))

    with caplog.at_level(logging.WARNING, "aloft"):
        assert [ask() for _ in range(3)] == ["to x"] * 3
        assert len(returning.calls) == 2  # then it rests
        time.sleep(0.3)
        assert ask() == "to x"
        is_loading = False
        time.sleep(0.3)
        assert [ask() for _ in range(3)] == ["to x"] * 3
    assert len(other.calls) > 3
    assert len(returning.calls) > 4  # two for each time that it could not reply
    first, *_, last = [record.getMessage() for record in caplog.records]
    assert "is left out" in first
    assert last == f"The server at {returning.url} replies again."
    assert len(caplog.records) == 2  # that it is still gone is not told again


def _text_of(server: ServerConnection) -> str:
    body = {"max_tokens": 1}
    text: str = server.ask(asked("x"), body, lambda response: _content(response.json()))
    return text


def _content(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_what_one_server_refuses_is_asked_of_the_others(serve: Serve) -> None:
    def strict(_path: str, body: dict[str, Any]) -> Answer:
        if "continue_final_message" in body:
            return 422, {"detail": "Unexpected fields"}
        return chat("### Question\nWhy?")

    one, other = serve(strict), serve(lambda _path, _body: chat("Why?"))
    model = model_of(one.url, other.url, concurrency=1)
    prompts = [asked(prefix="### Question\n")] * 12
    assert {reply.text for reply in model.complete(prompts, max_new_tokens=9)} == {"Why?"}
    assert all("continue_final_message" in body for _, body in other.calls)
    assert ["continue_final_message" in body for _, body in one.calls].count(True) == 1


def test_servers_with_different_models_are_refused(serve: Serve) -> None:
    one, other = serve(repeat), serve(repeat)
    other.models = ["large"]
    model = model_of(one.url, other.url)
    with pytest.raises(ModelError, match=rf"{other.url} has large, the others have small"):
        texts(model, 40)
    with pytest.raises(ModelError, match="names 2 models"):
        parse_name("openai:http://a/v1#small, openai:http://b/v1#large")


def test_a_dead_server_does_not_keep_the_others_from_starting(serve: Serve) -> None:
    server = serve(repeat)
    model = model_of(NOBODY, server.url)
    assert model.model == "small"
    assert model.context_window() is None
    assert texts(model, 3) == ["to 0", "to 1", "to 2"]


def test_the_model_is_named_by_itself_however_many_serve_it() -> None:
    one = "openai:http://a:1/v1#qwen"
    assert fingerprint_of(f"{one}, openai:http://b:2/v1#qwen,openai:http://c/v1") == (
        fingerprint_of(one)
    )
    both = "openai:http://a/v1/#m , openai:http://b/v1, openai:http://a/v1"
    assert parse_name(both) == (("http://a/v1", "http://b/v1"), "m")
    with pytest.raises(ModelError, match='"http://b/v1" contains no server address'):
        parse_name("openai:http://a/v1,http://b/v1")


def test_settings_list_servers_and_nothing_else() -> None:
    def teacher(*names: str) -> RunConfig:
        return load_config(
            overrides={"teacher": [*names], "generator": "g", "parts": ("embedder",)}
        )

    servers = "openai:http://127.0.0.1:1/v1#m", "openai:http://127.0.0.2:1/v1#m"
    config = teacher(*servers)
    assert config.teacher == ", ".join(servers)
    assert config.servers == servers
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert teacher("embedded:smollm2-135m-instruct").teacher == "embedded:smollm2-135m-instruct"
    with pytest.raises(ConfigError, match=r'it lists "qwen", but only servers of one model'):
        teacher(*servers, "qwen")
    with pytest.raises(ConfigError, match="it is empty"):
        teacher()


def test_every_server_of_a_model_is_held_to_the_private_network() -> None:
    names = ["openai:http://127.0.0.1:1/v1#m", "openai:http://10.1.2.3:1/v1#m"]
    settings: dict[str, Any] = {"generator": "g", "parts": ("embedder",)}
    assert servers_of(load_config(overrides={"teacher": names, **settings})) == {"10.1.2.3"}
    public = load_config(overrides={"teacher": [*names, "openai:http://8.8.8.8/v1#m"], **settings})
    with pytest.raises(ConfigError, match=r"http://8\.8\.8\.8/v1#m is on a public network"):
        servers_of(public)


def write(body: dict[str, Any]) -> Answer:
    """A question about the longest words of what is shown."""
    shown = "".join(message["content"] for message in body.get("messages", ()))
    words = sorted(set((shown + body.get("prompt", "")).split()), key=lambda w: (-len(w), w))
    said = f" What is meant by {' and '.join(words[1:4])}?\nAnswer: {words[0]}"
    if "messages" in body:
        return chat(said)
    return 200, {"choices": [{"text": said, "finish_reason": "stop"}]}


def test_records_are_the_same_whichever_server_answered(
    serve: Serve, tmp_path: Path, encoder: Path
) -> None:
    def pairs(out: str, *urls: str) -> bytes:
        config = load_config(
            overrides={
                "teacher": [f"openai:{url}#small" for url in urls],
                "generator": "g",
                "embedder": str(encoder),
                "parts": ("embedder",),
                "passages": {"max_tokens": 60},
                "ratings": {"method": "none"},
                "pairs": {"form": "examples", "per_passage": 2},
            }
        )
        with open_run(tmp_path / out, config) as run:
            run.give(DOCUMENTS)
            assert len(run.records("pairs")) > 10
        return (tmp_path / out / "pairs.jsonl").read_bytes()

    one, other = serve(lambda _path, body: write(body)), serve(lambda _path, body: write(body))
    alone = pairs("alone", one.url)
    assert pairs("both", other.url, one.url) == alone
    assert other.calls
    asked_so_far = len(one.calls) + len(other.calls)
    one.stop()
    assert pairs("both", other.url) == alone  # resumed with one server fewer: nothing is asked
    assert len(one.calls) + len(other.calls) == asked_so_far
    assert Models().fingerprint(name_of(f"{one.url}#small")) == Models().fingerprint(
        name_of(f"{other.url}#small", f"{one.url}#small")
    )
