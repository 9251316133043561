"""A server of OpenAI's protocol as a teacher: what goes over the wire, and what faults cost."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai_server import Answer, Serve, asked, chat

from aloft.backends.loading import Models
from aloft.backends.server import ServerLanguageModel, fingerprint_of, parse_name
from aloft.backends.shared import SharedModels
from aloft.config import RatingsConfig, load_config
from aloft.errors import AloftError, ConfigError, ModelError, ProbabilitiesError
from aloft.network_guard import NetworkRefusedError, hosts_of, local_only
from aloft.prompts import pair
from aloft.protocols import LanguageModel, Prompt, ScoringModel, Tool, ToolCall, ToolTurn
from aloft.records import Message, Passage, Rating
from aloft.synthesis.rating import rate_passages


def test_a_conversation_is_sent_whole_with_its_start_of_a_reply(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("Why?\n### Answer\nSo."))
    model = server.model()
    (reply,) = model.complete([asked(prefix="### Question\n")], max_new_tokens=9, stop=("\n\n",))

    assert isinstance(model, ScoringModel)
    assert isinstance(model, LanguageModel)
    assert (reply.text, reply.is_finished) == ("Why?\n### Answer\nSo.", True)
    assert (reply.prompt_tokens, reply.new_tokens) == (7, 3)
    ((path, body),) = server.calls
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "small",
        "max_tokens": 9,
        "temperature": 0.0,
        "stop": ["\n\n"],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "messages": [
            {"role": "user", "content": "Ask."},
            {"role": "assistant", "content": "### Question\n"},
        ],
    }


def test_plain_text_goes_to_completions(serve: Serve) -> None:
    server = serve(lambda _path, _body: (200, {"choices": [{"text": " B\n\nC"}]}))
    (reply,) = server.model().complete(
        [asked("A", prefix=":", is_plain=True)], max_new_tokens=9, stop=("\n\n",)
    )
    assert reply.text == " B"
    assert server.calls[0][0] == "/v1/completions"
    assert server.calls[0][1]["prompt"] == "A:"


def test_a_seed_is_sent_with_its_temperature(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x"))
    server.model().complete([asked(seed=2**31 + 5, temperature=0.9)], max_new_tokens=9)
    body = server.calls[0][1]
    assert (body["seed"], body["temperature"]) == (5, 0.9)


def test_a_reply_at_its_limit_is_cut(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x", "length"))
    (reply,) = server.model().complete([asked()], max_new_tokens=9)
    assert not reply.is_finished


@pytest.mark.parametrize("text", ["<|im_start|>", "</s>", "[INST]", "<end_of_turn>", "<｜User｜>"])
def test_control_tokens_in_documents_are_broken_up_and_replies_made_whole(
    serve: Serve, text: str
) -> None:
    server = serve(lambda _path, body: chat("said: " + body["messages"][0]["content"]))
    (reply,) = server.model().complete([asked(f"a {text} b")], max_new_tokens=9)
    sent = server.calls[0][1]["messages"][0]["content"]
    assert text not in sent
    assert sent.replace("\u2060", "") == f"a {text} b"
    assert reply.text == f"said: a {text} b"


def test_a_server_that_takes_no_start_of_a_reply_is_asked_without(serve: Serve) -> None:
    def answer(_path: str, body: dict[str, Any]) -> Answer:
        strict = "continue_final_message" in body
        return (422, {"detail": "Unexpected fields"}) if strict else chat("### Question\nWhy?")

    server = serve(answer)
    model = server.model(concurrency=1)
    replies = model.complete([asked(prefix="### Question\n")] * 3, max_new_tokens=9)
    assert [reply.text for reply in replies] == ["Why?"] * 3
    assert len(server.calls) == 4  # it is tried once, not once a prompt
    assert server.calls[-1][1]["messages"] == [{"role": "user", "content": "Ask."}]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "System role not supported"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (500, "Jinja error: System role not supported"),
    ],
)
def test_a_server_whose_template_has_no_system_turn_gets_its_text_with_the_users(
    serve: Serve, status: int, says: str
) -> None:
    def answer(_path: str, body: dict[str, Any]) -> Answer:
        if any(message["role"] == "system" for message in body["messages"]):
            return status, {"error": {"message": says}}
        return chat("It is so.")

    server = serve(answer)
    model = server.model()
    turns = (Message(role="system", content="Be brief."), Message(role="user", content="Why?"))
    prompt = Prompt(messages=turns, prefix="### Answer\n")
    for _ in range(2):
        (reply,) = model.complete([prompt], max_new_tokens=9)
        assert reply.text == "It is so."
    assert len(server.calls) == 3  # the refusal is remembered
    assert server.calls[-1][1]["messages"] == [
        {"role": "user", "content": "Be brief.\n\nWhy?"},
        {"role": "assistant", "content": "### Answer\n"},
    ]


def test_half_of_a_character_reaches_a_server_as_a_replacement(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("So."))
    server.model().complete([asked("Why \ud83d?")], max_new_tokens=9)
    assert server.calls[0][1]["messages"][0]["content"] == "Why \ufffd?"


def test_a_reply_is_held_to_its_pattern_where_the_server_can(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("7"))
    server.model().complete([asked(pattern="[0-9]")], max_new_tokens=3)
    plain = asked(pattern="[ab]", is_plain=True)
    with suppress(ModelError):  # of its answer, which is a conversation's
        server.model().complete([plain], max_new_tokens=3)
    held = [body.get("structured_outputs") for _, body in server.calls[:2]]
    assert held == [{"regex": "[0-9]"}, {"regex": "[ab]"}]


@pytest.mark.parametrize("prefix", ["", "### Reference\n"])
@pytest.mark.parametrize(
    "refused",
    [
        ("structured_outputs",),
        ("continue_final_message",),
        ("structured_outputs", "continue_final_message"),
    ],
)
def test_a_server_that_refuses_a_pattern_or_a_start_is_asked_without(
    serve: Serve, prefix: str, refused: tuple[str, ...]
) -> None:
    def answer(_path: str, body: dict[str, Any]) -> Answer:
        return (422, b"unknown field") if body.keys() & {*refused} else chat("7")

    server = serve(answer)
    model = server.model()
    prompt = asked(prefix=prefix, pattern="[0-9]")
    for _ in range(2):
        assert model.complete([prompt], max_new_tokens=3)[0].text == "7"
    last = server.calls[-1][1]
    assert ("structured_outputs" in last) is ("structured_outputs" not in refused)
    goes_on = bool(prefix) and "continue_final_message" not in refused
    assert ("continue_final_message" in last) is goes_on
    assert model.retries == 0


@pytest.mark.parametrize("continues", [422, 200])  # it refuses to, or passes over the wish
@pytest.mark.parametrize("thoughts", ["", "<think>\n### Question\nWhose?\n</think>\n\n"])
def test_a_server_that_does_not_continue_may_repeat_the_heading(
    serve: Serve, continues: int, thoughts: str
) -> None:
    said = f"{thoughts}### Question\nWho?\n\n### Answer\nAnn.\n\n### Question\nWhat?"

    def answer(_path: str, body: dict[str, Any]) -> Answer:
        if "continue_final_message" in body and continues != 200:
            return continues, b"unknown field"
        ends = [said.find(one) for one in body.get("stop", ()) if one in said]
        return chat(said[: min(ends, default=len(said))])

    prompt = pair.render_instruct("Ann signs.", "fact", language="English")
    model = serve(answer).model()
    (reply,) = model.complete([prompt], max_new_tokens=99, stop=pair.STOP_INSTRUCT)
    assert pair.parse_headings(reply.text) == ("Who?", "Ann.")


@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_a_server_that_does_not_continue_may_repeat_the_heading_of_a_rating(
    serve: Serve, between: str
) -> None:
    said = f"### Filter score{between}8\nIt is dense."

    def answer(_path: str, body: dict[str, Any]) -> Answer:
        if "continue_final_message" in body:
            return 422, b"unknown field"
        ends = [said.find(one) for one in body.get("stop", ()) if one in said]
        return chat(said[: min(ends, default=len(said))])

    passage = Passage(document_id="a", text="Ann signs.", start=0)
    config = RatingsConfig(method="generate")
    (rating,) = rate_passages([passage], serve(answer).model(), config, passage_first=True)
    assert isinstance(rating, Rating)
    assert rating.value == 8


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"error": "slow down"}),
        (500, {"error": "oops"}),
        (503, b""),
        (200, b"<html>busy</html>"),
        (200, {}),
        (200, {"choices": []}),
        (200, {"choices": [{"finish_reason": "stop"}]}),
        (200, {"choices": [{"message": None}]}),
        (200, {"choices": [{"message": "text"}]}),
        (200, {"choices": ["text"]}),
        (200, {"choices": [{"message": {"content": "x", "tool_calls": ["call"]}}]}),
        (200, []),
    ],
)
def test_a_fault_costs_a_retry_and_no_record(serve: Serve, fault: Answer) -> None:
    failed: set[str] = set()

    def answer(_path: str, body: dict[str, Any]) -> Answer:
        text = body["messages"][0]["content"]
        if text in failed:
            return chat(f"to {text}")
        failed.add(text)
        return fault

    server = serve(answer)
    model = server.model()
    replies = model.complete([asked(str(i)) for i in range(20)], max_new_tokens=9)
    assert [reply.text for reply in replies] == [f"to {i}" for i in range(20)]
    assert model.retries >= 20  # a connection that is reset is one more


def test_a_server_that_dies_in_the_middle_is_told_in_one_line(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x"))
    model = server.model()
    model.complete([asked()], max_new_tokens=9)
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ModelError) as caught:
        model.complete([asked()] * 3, max_new_tokens=9)
    assert "gave no reply after 7 attempts (" in str(caught.value)
    assert "run the same command again to resume" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_prompt_longer_than_the_server_reads_is_a_cut_reply(serve: Serve) -> None:
    said = {"error": {"message": "This model's maximum context length is 2048 tokens."}}
    server = serve(lambda _path, _body: (400, said))
    (reply,) = server.model().complete([asked(prefix="x")], max_new_tokens=9)
    assert (reply.text, reply.is_finished) == ("", False)
    assert len(server.calls) == 1


def test_a_budget_that_is_exceeded_is_no_prompt_that_is_too_long(serve: Serve) -> None:
    said = {"error": {"message": "Budget has been exceeded! Max budget: 5.0", "code": "400"}}
    server = serve(lambda _path, _body: (400, said))
    with pytest.raises(ModelError, match=r"refused: 400 .*Budget has been exceeded"):
        server.model().complete([asked(prefix="x")], max_new_tokens=9)


@pytest.mark.parametrize(("status", "says"), [(401, "ALOFT_API_KEY"), (404, "Check the address")])
def test_what_a_retry_can_not_mend_is_told_at_once(serve: Serve, status: int, says: str) -> None:
    server = serve(lambda _path, _body: (status, {"error": "no"}))
    with pytest.raises(ModelError, match=says):
        server.model().complete([asked()], max_new_tokens=9)
    assert len(server.calls) == 1


def test_the_key_is_the_users_own_for_this_and_no_proxy_is_asked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for somebody else")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALOFT_API_KEY", "mine")
    server = serve(lambda _path, _body: chat("x"))
    server.model().complete([asked()], max_new_tokens=9)
    assert server.headers[0]["Authorization"] == "Bearer mine"


def test_choices_are_scored_by_the_first_token(serve: Serve) -> None:
    def answer(_path: str, _body: dict[str, Any]) -> Answer:
        told = [("7", 0.6), (" 7", 0.1), ("3", 0.1), ("x", 0.2)]
        top = [{"token": token, "logprob": log(p)} for token, p in told]
        choice = {"message": {"content": "7"}, "logprobs": {"content": [{"top_logprobs": top}]}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 7}}

    server = serve(answer)
    model = server.model()
    scores = model.choice_probabilities([asked(prefix="Mark: ")] * 2, ("3", "7", "9"))
    assert scores == pytest.approx(np.array([[0.125, 0.875, 0.0]] * 2))
    assert model.tokens_scored == 14
    assert server.calls[0][1]["max_tokens"] == 1
    assert server.calls[0][1]["top_logprobs"] == 20


def test_a_prompt_after_which_no_choice_is_likely_stops_nothing(serve: Serve) -> None:
    def answer(_path: str, body: dict[str, Any]) -> Answer:
        text = body["messages"][0]["content"]
        if text == "long":
            return 400, {"error": "maximum context length exceeded"}
        top = [{"token": "7" if text == "clear" else "Hm", "logprob": 0.0}]
        choice = {"message": {"content": "7"}, "logprobs": {"content": [{"top_logprobs": top}]}}
        return 200, {"choices": [choice]}

    model = serve(answer).model()
    prompts = [asked(text) for text in ("clear", "odd", "long")]
    scores = model.choice_probabilities(prompts, ("3", "7"))
    assert scores.tolist() == [[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(ProbabilitiesError, match="no probabilities of 3, 7"):
        model.choice_probabilities(prompts[1:], ("3", "7"))
    assert model.choice_probabilities([], ("3", "7")).shape == (0, 2)


def test_a_server_without_probabilities_is_told(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("7"))
    with pytest.raises(ModelError, match=r'Set ratings.method to "generate"'):
        server.model().choice_probabilities([asked()], ("3", "7"))


def test_a_server_that_refuses_to_give_probabilities_has_none(serve: Serve) -> None:
    refused = 400, {"error": "no logprobs"}
    server = serve(lambda _path, body: refused if "logprobs" in body else chat("7"))
    with pytest.raises(ProbabilitiesError, match="no logprobs"):
        server.model().choice_probabilities([asked()], ("3", "7"))
    (reply,) = server.model().complete([asked()], max_new_tokens=9)
    assert reply.text == "7"


def test_the_only_model_is_taken_and_one_of_several_must_be_named(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x"))
    assert server.model().model == "small"
    server.models = ["small", "large"]
    with pytest.raises(ModelError, match=r"has 2 models: small, large\. Name one"):
        server.model()
    named = ServerLanguageModel(f"openai:{server.url}#large")
    assert named.model == "large"


def test_a_server_tells_how_much_its_model_and_its_adapters_read(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x"))
    server.models = ["base", "aloft", "other"]
    server.cards = {"base": {"max_model_len": 32_768}, "aloft": {"parent": "base"}}

    def window(name: str) -> int:
        return Models().context_window(f"openai:{server.url}#{name}")

    assert (window("base"), window("aloft")) == (32_768, 32_768)
    assert (window("other"), window("absent")) == (2048, 2048)


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_fails_to_list_its_models_still_replies(serve: Serve, status: int) -> None:
    server = serve(lambda _path, _body: chat("yes"))
    server.list_status = status
    name = f"openai:{server.url}#small"
    assert Models().context_window(name) == 2048
    assert ServerLanguageModel(name).complete([asked()], max_new_tokens=4)[0].text == "yes"


def test_a_server_that_still_loads_its_model_is_not_taken_for_one_of_unknown_window(
    serve: Serve,
) -> None:
    server = serve(lambda _path, _body: chat("x"))
    server.list_status = 503
    with pytest.raises(ModelError, match=r"gave no reply after 1 attempts \(503"):
        Models().context_window(f"openai:{server.url}#small")
    with pytest.raises(ModelError, match=r"gave no reply after 1 attempts \(503"):
        ServerLanguageModel(f"openai:{server.url}#small").context_window()


def test_a_server_that_lists_its_models_for_a_key_alone_says_so(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x"))
    server.list_status = 401
    with pytest.raises(ModelError, match="requires an API key"):
        Models().context_window(f"openai:{server.url}#small")


@pytest.mark.parametrize("model", ["#any", ""])
def test_who_asks_how_much_a_server_reads_does_not_wait_for_it(model: str) -> None:
    with pytest.raises(ModelError, match=r"no reply after 1 attempts \(.* Start it"):
        Models().context_window(f"openai:http://127.0.0.1:1/v1{model}")


def test_a_model_is_named_by_itself_whatever_its_address(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x"))
    named = "openai:http://localhost:1/v1#small"
    assert fingerprint_of(named) == server.model().fingerprint
    assert fingerprint_of("openai:http://localhost:1/v1") is None
    assert Models().fingerprint(named) == server.model().fingerprint  # nobody listens on port 1
    assert parse_name("openai:https://box.lan/v1/#a/b") == (("https://box.lan/v1",), "a/b")
    with pytest.raises(ModelError, match="contains no server address"):
        parse_name("openai:gpt-4")


# ---- pieces


def events(*pieces: str, key: str = "delta", reason: str = "stop", end: str = "[DONE]") -> Answer:
    said: list[Any] = [{"choices": [{"delta": {"role": "assistant"}}]}] if key == "delta" else []
    for piece in pieces:
        said.append(
            {"choices": [{"delta": {"content": piece}} if key == "delta" else {key: piece}]}
        )
    last = {"delta": {}} if key == "delta" else {key: ""}
    said.append({"choices": [{**last, "finish_reason": reason}]})
    said.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    lines = [f"data: {line}\n\n" for line in [*map(json.dumps, said), end]]
    return 200, "".join(lines).encode()


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_reply_comes_in_the_servers_pieces(serve: Serve, is_plain: bool) -> None:
    key = "text" if is_plain else "delta"
    server = serve(lambda _path, _body: events("So ", "it ", "is.", key=key))
    prompt = asked(is_plain=is_plain)
    *pieces, last = server.model().stream(prompt, max_new_tokens=9, stop=("\n",))

    assert [piece.text for piece in pieces] == ["So ", "it ", "is."]
    assert all(piece.is_piece for piece in pieces)
    assert (last.text, last.is_piece, last.is_finished) == ("", False, True)
    assert (last.prompt_tokens, last.new_tokens) == (7, 3)
    ((_, body),) = server.calls
    assert (body["stream"], body["stop"]) == (True, ["\n"])
    assert body["stream_options"] == {"include_usage": True}


def test_no_part_of_a_stop_string_is_told_and_what_follows_it_is_not_read(serve: Serve) -> None:
    server = serve(lambda _path, _body: events("a #", "## b #", "## A", "nswer", "never"))
    said = list(server.model().stream(asked(), max_new_tokens=9, stop=("### Answer",)))
    assert "".join(piece.text for piece in said) == "a ### b "
    assert said[-1].is_finished


def test_a_streamed_reply_at_its_limit_is_cut_and_whole_again(serve: Serve) -> None:
    server = serve(lambda _path, _body: events("<\u2060|im", "_end|> is", reason="length"))
    *pieces, last = server.model().stream(asked(), max_new_tokens=2)
    assert "".join(piece.text for piece in [*pieces, last]) == "<|im_end|> is"
    assert not last.is_finished


def test_a_server_that_does_not_stream_tells_all_at_once(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("Why?"))
    *pieces, last = server.model().stream(asked(), max_new_tokens=9)
    assert "".join(piece.text for piece in [*pieces, last]) == "Why?"
    assert (last.is_piece, last.new_tokens) == (False, 3)


@pytest.mark.parametrize(
    "said",
    [
        ("1\n", "\nSo."),
        ("###", " Refer", "ence", "\n1\n", "\nSo."),
        (" ### Reference\n1\n\nSo.",),
    ],
)
def test_a_stream_that_goes_on_from_a_start_does_not_repeat_it(
    serve: Serve, said: tuple[str, ...]
) -> None:
    model = serve(lambda _path, _body: events(*said)).model()
    *pieces, last = model.stream(asked(prefix="### Reference\n"), max_new_tokens=9)
    assert "".join(piece.text for piece in [*pieces, last]) == "1\n\nSo."
    assert all(piece.text for piece in pieces) and len(pieces) == min(len(said), 2)
    assert not last.is_anew


def test_one_that_takes_no_start_streams_without(serve: Serve) -> None:
    def answer(_path: str, body: dict[str, Any]) -> Answer:
        return (400, b"what is this?") if "continue_final_message" in body else events("So.")

    *_, last = serve(answer).model().stream(asked(prefix="### Reference\n"), max_new_tokens=9)
    assert last.is_anew


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ('{"error": "out of memory"}', "out of memory"),
        ("{", "property name"),
        ('{"choices": [7]}', "int"),
        ('{"choices": [{"delta": 7}]}', "int"),
    ],
)
def test_a_stream_that_breaks_off_is_told_in_one_line(serve: Serve, end: str, says: str) -> None:
    server = serve(lambda _path, _body: events("So ", end=end))
    pieces = server.model().stream(asked(), max_new_tokens=9)
    assert next(pieces).text == "So "
    with pytest.raises(
        ModelError, match=f"disconnected in the middle of a reply.*{says}"
    ) as caught:
        next(pieces)
    assert "\n" not in str(caught.value)


def test_a_stream_is_asked_for_again_until_it_begins(serve: Serve) -> None:
    answers = iter([(503, b"busy"), events("So.")])
    model = serve(lambda _path, _body: next(answers)).model()
    assert "".join(one.text for one in model.stream(asked(), max_new_tokens=9)) == "So."
    assert model.retries == 1
    long = serve(lambda _path, _body: (400, b"maximum context length"))
    (only,) = long.model().stream(asked(), max_new_tokens=9)
    assert (only.text, only.is_finished, only.is_piece) == ("", False, False)


# ---- several threads, and models of this machine beside it


def test_threads_ask_a_server_all_at_once(serve: Serve) -> None:
    met = threading.Barrier(8, timeout=30)

    def answer(_path: str, _body: dict[str, Any]) -> Answer:
        met.wait()
        return chat("x")

    model = SharedModels().language_model(f"openai:{serve(answer).url}")
    with ThreadPoolExecutor(8) as pool:
        asked_at_once = [pool.submit(model.complete, [asked()], max_new_tokens=3) for _ in range(8)]
        assert {one.result(timeout=30)[0].text for one in asked_at_once} == {"x"}


def test_an_adapter_is_the_servers_to_load(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="loads adapters itself"):
        Models().language_model("openai:http://localhost:1/v1#m", tmp_path)


def test_models_loads_a_server_by_its_name(serve: Serve) -> None:
    server = serve(lambda _path, _body: chat("x"))
    model = Models().language_model(f"openai:{server.url}")
    assert model.complete([asked()], max_new_tokens=3)[0].text == "x"


@pytest.mark.parametrize("usage", [[7, 3], "ten", {"prompt_tokens": "ten"}, {"prompt_tokens": [7]}])
def test_token_counts_that_are_none_cost_no_reply(serve: Serve, usage: Any) -> None:
    server = serve(lambda _path, _body: (200, {"choices": [{"text": "7"}], "usage": usage}))
    model = server.model()
    (reply,) = model.complete([asked(is_plain=True)], max_new_tokens=9)
    assert (reply.text, reply.prompt_tokens, reply.new_tokens) == ("7", 0, 0)


def test_probabilities_of_another_form_are_asked_for_again(serve: Serve) -> None:
    told = [{"top_logprobs": [{"token": "1", "logprob": 0.0}]}]
    forms = ["none", {"content": ["1"]}, {"content": told}]
    server = serve(
        lambda _path, _body: (200, {"choices": [{"text": "1", "logprobs": forms.pop(0)}]})
    )
    assert server.model().choice_probabilities([asked()], ["1"]).tolist() == [[1.0]]
    assert not forms


def test_an_alternative_without_a_probability_has_none(serve: Serve) -> None:
    told = {"top_logprobs": [{"token": "1", "logprob": -1.0}, {"token": "2", "logprob": None}]}
    choice = {"text": "1", "logprobs": {"content": [told]}}
    server = serve(lambda _path, _body: (200, {"choices": [choice]}))
    assert server.model().choice_probabilities([asked()], ["1", "2"]).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    "said", [{"error": {"message": "credit\nused up"}}, b"<h1>Sign in</h1>", {"choices": []}]
)
def test_what_a_server_says_in_place_of_a_reply_is_told(serve: Serve, said: Any) -> None:
    server = serve(lambda _path, _body: (200, said))
    with pytest.raises(ModelError) as caught:
        server.model(attempts=2).complete([asked()], max_new_tokens=9)
    raw = said if isinstance(said, bytes) else json.dumps(said).encode()
    assert f"not a reply: {raw.decode()})" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reply_that_cannot_be_unpacked_and_an_odd_pause_are_told_in_one_line(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda _path, _body: (200, b"no gzip"))
    headers = [("Content-Encoding", "gzip"), ("Retry-After", "nan")]
    handler = server.http.RequestHandlerClass
    send_header = handler.send_header

    def send(self: Any, name: str, value: str) -> None:
        for other in headers if name == "Retry-After" else [(name, value)]:
            send_header(self, *other)

    monkeypatch.setattr(handler, "send_header", send)
    for status in (200, 429):
        server.answer = lambda _path, _body, status=status: (status, b"no gzip")
        with pytest.raises(ModelError, match="gave no reply after 2 attempts"):
            server.model(attempts=2).complete([asked()], max_new_tokens=9)
        headers = headers[1:]


@pytest.mark.parametrize("key", ["schl\u00fcssel", "two\nlines"])
def test_a_key_that_cannot_be_sent_is_told_at_once_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("ALOFT_API_KEY", key)
    with pytest.raises(ModelError, match="ALOFT_API_KEY") as caught:
        ServerLanguageModel("openai:http://localhost:1/v1#m")
    assert key[:4] not in str(caught.value).replace("ALOFT_API_KEY", "")


def test_a_line_end_behind_the_key_is_none_of_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALOFT_API_KEY", "mine\r\n")
    server = serve(lambda _path, _body: chat("x"))
    server.model().complete([asked()], max_new_tokens=9)
    assert server.headers[0]["Authorization"] == "Bearer mine"


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1/v1", "http://localhost:port", "http://a:0"]
)
def test_an_address_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(ModelError, match="contains no server address"):
        parse_name(f"openai:{url}#m")


@pytest.mark.parametrize(
    "name",
    [
        "openai:http://me:hunter2@near:8000/v1#m",
        "openai:http://far/v1#m, openai:https://hunter2@near:8000/v1",
    ],
)
def test_a_password_in_an_address_is_refused_before_it_is_written_down(name: str) -> None:
    for read in (parse_name, lambda one: load_config(overrides={"teacher": one})):
        with pytest.raises(ConfigError, match=r"@near:8000: .*ALOFT_API_KEY") as caught:
            read(name)
        assert "hunter2" not in str(caught.value)
    assert parse_name("openai:http://near/v1#a@b://c@d")[1] == "a@b://c@d"


@pytest.mark.parametrize("url", ["http://[::1/v1", "http://a..b/v1"])
def test_a_host_that_is_none_is_told_in_one_line(url: str) -> None:
    with pytest.raises(ConfigError, match=r"Check"):
        hosts_of(url)


# ---- what may leave the machine


def test_a_server_on_this_machine_needs_nothing() -> None:
    assert hosts_of("http://localhost:8000/v1") == set()
    assert hosts_of("http://127.0.0.1:8000/v1#m") == set()
    assert hosts_of("http://[::1]:8000/v1") == set()


@pytest.mark.parametrize("host", ["192.168.1.7", "10.0.0.9"])
def test_a_server_next_to_it_is_open_and_no_other(host: str) -> None:
    allowed = hosts_of(f"http://{host}:8000/v1")
    assert allowed == {host}
    with local_only(allowed) as guard, socket.socket(type=socket.SOCK_DGRAM) as one:
        with suppress(OSError):  # where there is no network
            one.connect((host, 9))  # of datagrams, which sends nothing
        with pytest.raises(NetworkRefusedError):
            one.connect(("192.0.2.1", 9))
    assert guard.reached == {host}
    assert guard.refused == ["192.0.2.1"]


def test_a_server_elsewhere_is_refused_unless_allowed() -> None:
    with pytest.raises(ConfigError, match="allow_remote = true"):
        hosts_of("https://8.8.8.8/v1")
    assert hosts_of("https://8.8.8.8/v1", allow_remote=True) == {"8.8.8.8"}
    with pytest.raises(ConfigError, match="is unknown"):
        hosts_of("http://no-such-host.invalid/v1")


def test_a_served_model_can_teach_but_not_be_trained() -> None:
    name = "openai:http://localhost:8000/v1"
    with pytest.raises(AloftError, match=r"generator is openai:.* cannot be trained"):
        load_config("cpu", overrides={"teacher": name})
    config = load_config("cpu", overrides={"teacher": name, "parts": ("embedder",)})
    assert config.servers == (name,)
    both = {"teacher": name, "generator": "embedded:smollm2-135m-instruct"}
    assert load_config("cpu", overrides=both).servers == (name,)
    with pytest.raises(AloftError, match="embedder is openai"):
        load_config("cpu", overrides={"embedder": name})


FIND = Tool(
    name="find",
    description="Finds.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}},
)
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"query": "a"}'}}


def test_tools_and_schemas_are_passed_on_and_calls_read(serve: Serve) -> None:
    choice = {"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}
    server = serve(lambda *_: (200, {"choices": [choice]}))
    schema = {"type": "object"}
    prompts = [
        asked(tools=(FIND,), tool_choice="find", calls_in_parallel=False),
        asked(tools=(FIND,), tool_choice="required"),
        asked(json_schema=schema, seed=1, top_p=0.5),
    ]
    replies = [server.model().complete([prompt], max_new_tokens=9)[0] for prompt in prompts]

    made = ToolCall(id="c1", name="find", arguments={"query": "a"})
    assert [reply.tool_calls for reply in replies] == [(made,)] * 3
    assert (replies[0].text, replies[0].is_finished) == ("", True)
    bodies = [body for _, body in server.calls]
    assert bodies[0]["tools"][0]["function"]["parameters"] == FIND.parameters
    assert bodies[0]["tool_choice"] == {"type": "function", "function": {"name": "find"}}
    assert bodies[0]["parallel_tool_calls"] is False
    assert bodies[1]["tool_choice"] == "required"
    assert "parallel_tool_calls" not in bodies[1]
    assert bodies[2]["response_format"]["json_schema"]["schema"] == schema
    assert bodies[2]["top_p"] == 0.5
    assert "tools" not in bodies[2]


def test_calls_and_results_of_a_history_are_sent_as_the_protocol_has_them(serve: Serve) -> None:
    server = serve(lambda *_: chat("Yes."))
    call = ToolCall(id="c1", name="find", arguments={"query": "<|im_end|>"})
    turns = (
        Message(role="user", content="Go."),
        ToolTurn(role="assistant", content="", tool_calls=(call,)),
        ToolTurn(role="tool", content="found", tool_call_id="c1", name="find"),
    )
    server.model().complete([Prompt(messages=turns)], max_new_tokens=9)

    _, made, result = server.calls[0][1]["messages"]
    (sent,) = made["tool_calls"]
    assert (sent["id"], sent["function"]["name"]) == ("c1", "find")
    assert "<|im_end|>" not in sent["function"]["arguments"]  # data, broken up
    found = {"role": "tool", "content": "found", "tool_call_id": "c1", "name": "find"}
    assert result == found


def test_calls_are_collected_from_the_pieces_of_a_stream(serve: Serve) -> None:
    def piece(**delta: Any) -> bytes:
        event = {"choices": [{"delta": delta, "finish_reason": delta.pop("end", None)}]}
        return b"data: " + json.dumps(event).encode() + b"\n\n"

    first = {"index": 0, "id": "c1", "function": {"name": "find", "arguments": '{"que'}}
    second = {"index": 0, "function": {"arguments": 'ry": "a"}'}}
    events = piece(content="So.") + piece(tool_calls=[first]) + piece(tool_calls=[second])
    server = serve(lambda *_: (200, events + piece(end="tool_calls") + b"data: [DONE]\n\n"))

    *pieces, last = server.model().stream(asked(tools=(FIND,)), max_new_tokens=9)

    assert "".join(one.text for one in [*pieces, last]) == "So."
    assert last.tool_calls == (ToolCall(id="c1", name="find", arguments={"query": "a"}),)


def test_a_server_that_refuses_a_schema_says_so(serve: Serve) -> None:
    server = serve(lambda *_: (400, {"error": "response_format is not supported"}))
    with pytest.raises(ModelError, match=r"refused: 400 .*response_format is not supported"):
        server.model().complete([asked(json_schema={"type": "object"})], max_new_tokens=9)


def test_a_server_counts_tokens_where_it_can_and_nothing_is_guessed(serve: Serve) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        assert path == "/tokenize"
        tokens = [1, 2, 3] if "prompt" in body else [1, 2, 3, 4]
        return 200, {"tokens": tokens, "count": len(tokens)}

    server = serve(answer)
    tokenizer = SharedModels().tokenizer(f"openai:{server.url}#small")
    assert tokenizer.encode("a red fox") == [1, 2, 3]
    assert tokenizer.count(asked("Go.", tools=(FIND,))) == 4
    assert server.calls[1][1]["messages"] == [{"role": "user", "content": "Go."}]
    silent = serve(lambda *_: (404, {}))
    tokenizer = SharedModels().tokenizer(f"openai:{silent.url}#small")
    with pytest.raises(ModelError, match=r"does not count tokens: .* Pass a tokenizer of your own"):
        tokenizer.encode("a red fox")
