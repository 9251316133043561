"""The hosts' settings of a model behind a server reach it; a model of this process refuses them."""

import pickle
import socket
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.load import dumps, loads
from openai_server import Answer, Serve, Server, chat
from scripted import shared

from aloft.backends.loading import Models
from aloft.backends.server_settings import ServerSettings
from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, ModelError
from langchain_aloft import AloftLLM as LangChainLLM
from langchain_aloft import ChatAloft
from llama_index_aloft import AloftLLM

Ask = Callable[[Any], str]
HOSTS: list[tuple[type[Any], Ask]] = [
    (ChatAloft, lambda model: str(model.invoke("Go.").text)),
    (LangChainLLM, lambda model: str(model.invoke("Go."))),
    (AloftLLM, lambda model: str(model.complete("Go.").text)),
]
every_host = pytest.mark.parametrize(("host", "ask"), HOSTS, ids=["chat", "llm", "llama_index"])


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALOFT_API_KEY", raising=False)


def hello(path: str, _body: dict[str, Any]) -> Answer:
    return (200, {"tokens": [1, 2], "count": 2}) if "tokenize" in path else chat("Hello.")


def unready(_path: str, _body: dict[str, Any]) -> Answer:
    return 503, {"error": "loading"}


def name_of(server: Server) -> str:
    return f"openai:{server.url}#small"


def keys(server: Server) -> list[str | None]:
    return [headers.get("Authorization") for headers in server.headers]


@every_host
def test_the_key_is_sent_with_each_request(
    host: type[Any], ask: Ask, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(hello)
    model = host(model=name_of(server), api_key="one", models=(models := SharedModels()))
    other = host(model=name_of(server), api_key="two", models=models)
    assert (ask(model), ask(other)) == ("Hello.", "Hello.")
    monkeypatch.setenv("ALOFT_API_KEY", "of the environment")
    ask(host(model=name_of(server)))
    ask(pickle.loads(pickle.dumps(model)))
    assert keys(server) == [
        *("Bearer one", "Bearer two", "Bearer of the environment", "Bearer one"),
    ]


def test_another_process_asks_by_the_same_settings() -> None:
    settings = ServerSettings(api_key="secret", timeout=3.0, max_retries=1)
    assert pickle.loads(pickle.dumps(Models(server=settings))).server == settings


def test_the_key_is_sent_where_tokens_are_counted(serve: Serve) -> None:
    server = serve(hello)
    assert ChatAloft(model=name_of(server), api_key="one").get_num_tokens("Go.") == 2
    assert len(AloftLLM(model=name_of(server), api_key="two").tokenizer("Go.")) == 2
    assert keys(server) == ["Bearer one", "Bearer two"]


@every_host
def test_a_request_is_repeated_as_often_as_it_may_be(
    host: type[Any], ask: Ask, serve: Serve
) -> None:
    server = serve(lambda path, body: (hello if len(server.calls) > 2 else unready)(path, body))
    with pytest.raises(ModelError, match=r"no reply after 1 attempts \(503"):
        ask(host(model=name_of(server), max_retries=0))
    assert ask(host(model=name_of(server), max_retries=1)) == "Hello."


@every_host
@pytest.mark.usefixtures("loopback")
def test_a_response_is_waited_for_as_long_as_it_may_take(host: type[Any], ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"openai:http://127.0.0.1:{silent.getsockname()[1]}/v1#m"
        with pytest.raises(ModelError, match="timed out"):
            ask(host(model=name, timeout=0.2, max_retries=0))


@pytest.mark.parametrize("settings", [{"api_key": "k"}, {"timeout": 5.0}, {"max_retries": 2}])
@every_host
def test_a_model_of_this_process_refuses_them_by_name(
    host: type[Any], ask: Ask, settings: dict[str, Any]
) -> None:
    (name,) = settings
    with pytest.raises(ConfigError, match=f"^any runs in this process, .* use for {name}[.] Leave"):
        host(model="any", models=shared(), **settings)
    unset = dict.fromkeys(settings)
    assert ask(host(model="any", models=shared(), **unset)) == ask(
        host(model="any", models=shared())
    )


@every_host
def test_settings_of_other_services_are_refused_by_name(host: type[Any], ask: Ask) -> None:
    with pytest.raises(ValueError, match="organization"):
        host(model="openai:http://localhost:1/v1#m", organization="mine")
    with pytest.raises(ValueError, match="timeout"):
        host(model="openai:http://localhost:1/v1#m", timeout=0)
    with pytest.raises(ValueError, match="max_retries"):
        host(model="openai:http://localhost:1/v1#m", max_retries=-1)


def test_a_key_is_never_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "openai:http://localhost:1/v1#m"
    given = {"model": name, "api_key": "secret-key", "timeout": 5.0, "max_retries": 1}
    llm = AloftLLM(**given)
    for written in (repr(llm), str(llm.to_dict()), llm.to_json(), repr(llm.models.asking)):
        assert "secret-key" not in written
    again = AloftLLM.from_dict(llm.to_dict())
    assert (again.api_key, again.timeout, again.max_retries) == (None, 5.0, 1)

    monkeypatch.setenv("ALOFT_API_KEY", "of the environment")
    for host in (ChatAloft, LangChainLLM):
        model = host(**given)
        written = dumps(model)
        assert "secret-key" not in written + repr(model)
        known = {"allowed_objects": [host], "valid_namespaces": ["langchain_aloft"]}
        filled = loads(written, secrets_map={"ALOFT_API_KEY": "another"}, **known)
        assert filled.api_key.get_secret_value() == "another"
        assert (filled.timeout, filled.max_retries) == (5.0, 1)


def test_what_changes_no_reply_changes_no_key_of_a_cache() -> None:
    name = "openai:http://localhost:1/v1#m"
    patient = {"api_key": "k", "timeout": 9.0, "max_retries": 3}
    assert ChatAloft(model=name)._get_llm_string() == (
        ChatAloft(model=name, **patient)._get_llm_string()
    )
    assert LangChainLLM(model=name)._identifying_params == (
        LangChainLLM(model=name, **patient)._identifying_params
    )
