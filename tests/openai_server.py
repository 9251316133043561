"""A server of OpenAI's protocol over real HTTP, which answers by a function.

As a program it serves by itself, so that it can be killed: it prints its address, and repeats what
it is asked after as many seconds as its argument says.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aloft.backends.server import ServerLanguageModel
from aloft.protocols import Prompt
from aloft.records import Message

Answer = tuple[int, Any]  # status, and JSON or bytes
Answering = Callable[[str, dict[str, Any]], Answer]
NO_PAUSE = (0.0,)


class _Patient(ThreadingHTTPServer):
    request_queue_size = 64  # of 5, others wait a second before they knock again


class Server:
    """Serves one model by a function from (path, body) to an answer, and remembers the calls."""

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.models = ["small"]
        self.cards: dict[str, dict[str, Any]] = {}  # what else is told of them
        self.list_status = 200
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cards = [{"id": name, **outer.cards.get(name, {})} for name in outer.models]
                told = {"data": cards} if outer.list_status == 200 else b"no list"
                self._send(outer.list_status, told)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.calls.append((self.path, body))
                    outer.headers.append(dict(self.headers))
                status, content = outer.answer(self.path, body)
                self._send(status, content)

            def _send(self, status: int, content: Any) -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                if data.startswith(b"data:"):
                    self.send_header("Content-Type", "text/event-stream; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = _Patient(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop to listen; twice is no fault."""
        self.http.shutdown()
        self.http.server_close()

    def model(self, **options: Any) -> ServerLanguageModel:
        return ServerLanguageModel(f"openai:{self.url}", **{"pauses": NO_PAUSE, **options})


def chat(text: str, reason: str = "stop") -> Answer:
    choice = {"message": {"content": text}, "finish_reason": reason}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def asked(text: str = "Ask.", **more: Any) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),), **more)


Serve = Callable[[Answering], "Server"]


def repeat(_path: str, body: dict[str, Any]) -> Answer:
    """What the prompt says, once more."""
    return chat(f"to {body['messages'][0]['content']}")


def _serve_until_killed(seconds: float) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        time.sleep(seconds)
        return repeat(path, body)

    print(Server(answer).url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    _serve_until_killed(float(sys.argv[1]))
