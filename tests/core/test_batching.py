"""Prompts of many callers are answered together, and each gets its own reply or fault."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest

from aloft.backends.batching import Batcher, given_up
from aloft.protocols import Prompt, Reply
from aloft.records import Message


def prompt(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))


class Echo:
    """Takes its time, repeats what it is asked, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, prompts: Sequence[Prompt], limit: int, stop: Sequence[str]) -> list[Reply]:
        texts = [one.messages[0].content for one in prompts]
        self.batches.append(texts)
        time.sleep(0.02)
        if "bad" in texts:
            raise ValueError("bad")
        if "stop" in texts:
            raise KeyboardInterrupt
        return [Reply(text=f"{text} {limit}", is_finished=True) for text in texts]


def test_threads_that_ask_at_once_are_one_batch_and_each_gets_its_own() -> None:
    echo = Echo()
    batcher = Batcher(echo)
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(batcher.complete, [prompt(str(i))], 5, ()) for i in range(16)]
        assert [future.result()[0].text for future in asked] == [f"{i} 5" for i in range(16)]
    assert len(echo.batches) < 16
    assert sorted(int(text) for batch in echo.batches for text in batch) == list(range(16))


def test_what_is_submitted_is_one_batch_without_a_thread_each() -> None:
    echo = Echo()
    batcher = Batcher(echo)
    asked = [batcher.submit([prompt(str(i)), prompt("again")], 5, ()) for i in range(40)]
    assert [[reply.text for reply in one.result(9)] for one in asked] == [
        [f"{i} 5", "again 5"] for i in range(40)
    ]
    assert len(echo.batches) < 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_was_forked_after_a_call_answers_too() -> None:
    batcher = Batcher(Echo())
    batcher.submit([prompt("here")], 5, ()).result(9)
    child = os.fork()
    if not child:
        with suppress(BaseException):
            os._exit(batcher.submit([prompt("there")], 5, ()).result(2)[0].text != "there 5")
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_calls_with_other_limits_are_other_batches() -> None:
    echo = Echo()
    batcher = Batcher(echo)
    asked = [batcher.submit([prompt("a")], 1 + i % 2, ()) for i in range(8)]
    assert [one.result(9)[0].text for one in asked] == ["a 1", "a 2"] * 4


def test_the_fault_of_one_prompt_is_not_the_others() -> None:
    batcher = Batcher(Echo())
    asked = [batcher.submit([prompt(text)], 5, ()) for text in ("a", "bad", "b")]
    assert [asked[i].result(9)[0].text for i in (0, 2)] == ["a 5", "b 5"]
    with pytest.raises(ValueError, match="bad"):
        asked[1].result(9)


def test_what_was_cancelled_is_not_asked_and_an_interrupt_ends_what_waits_with_it() -> None:
    echo = Echo()
    batcher = Batcher(echo)
    first = batcher.submit([prompt("first")], 1, ())
    gone = batcher.submit([prompt("gone")], 2, ())
    assert gone.cancel()
    assert first.result(9)[0].text == "first 1"
    with pytest.raises(KeyboardInterrupt):
        batcher.complete([prompt("stop")], 5, ())
    assert batcher.complete([prompt("next")], 5, ())[0].text == "next 5"
    assert ["gone"] not in echo.batches


@pytest.mark.parametrize(("cancelled", "is_given_up"), [((0,), False), ((0, 1), True)])
def test_a_batch_is_given_up_once_nobody_waits_for_it(
    cancelled: Sequence[int], is_given_up: bool
) -> None:
    both_wait, begun, go_on = Event(), Event(), Event()
    observed: list[bool] = []

    def answer(prompts: Sequence[Prompt], limit: int, stop: Sequence[str]) -> list[Reply]:
        if limit == 1:  # keeps the model busy until both are asked, which makes them one batch
            assert both_wait.wait(9)
            return [Reply(text="", is_finished=True)]
        begun.set()
        assert go_on.wait(9)
        check = given_up.get()
        assert check is not None
        observed.append(check())
        return [Reply(text=one.messages[0].content, is_finished=True) for one in prompts]

    batcher = Batcher(answer)
    batcher.submit([prompt("first")], 1, ())
    asked = [batcher.submit([prompt(text)], 5, ()) for text in "ab"]
    both_wait.set()
    assert begun.wait(9)
    assert not any(asked[i].cancel() for i in cancelled), "they are being answered"
    go_on.set()
    assert asked[1].result(9)[0].text == "b"
    assert observed == [is_given_up]
    assert given_up.get() is None
