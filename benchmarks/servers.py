"""Several servers as one teacher: seconds to write the pairs of a corpus with one, two and more.

    python benchmarks/servers.py --servers 1 2 4

Each server is a process of its own that waits --wait seconds before a reply, with at most --slots
replies in work at a time, as one whose GPU is full. What a call waits for is not this machine's
work, so that the figures hold for servers on other machines too; the records must be the same
however many there are. Documents are Python's own topics of help.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory

from aloft.config import RunConfig, load_config
from aloft.records import Document
from aloft.run.job import open_run

SERVE = "--serve"


class Slow(BaseHTTPRequestHandler):
    """Asks about the longest words of what it is shown, after a while."""

    wait: float
    slots: threading.Semaphore
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = body["messages"][0]["content"]
        words = sorted(set(shown.split("Text: ")[-1].split()), key=lambda word: (-len(word), word))
        said = f" What is meant by {' and '.join(words[1:4])}?\nAnswer: {words[0]}"
        with self.slots:
            time.sleep(self.wait)
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(shown) // 4, "completion_tokens": len(said) // 4}
        data = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Patient(ThreadingHTTPServer):
    request_queue_size = 64


def serve(wait: float, slots: int) -> None:
    """Print the address, and answer until the process is ended."""
    Slow.wait, Slow.slots = wait, threading.Semaphore(slots)
    server = Patient(("127.0.0.1", 0), Slow)
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()


def start_server(stack: ExitStack, wait: float, slots: int) -> str:
    """The address of a server in a process of its own, which ends with the stack."""
    command = [sys.executable, __file__, SERVE, "--wait", str(wait), "--slots", str(slots)]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    assert process.stdout is not None
    return process.stdout.readline().strip()


def settings(servers: Sequence[str], passages: int) -> RunConfig:
    """A run of which only the passages and the pairs are worked out."""
    return load_config(
        "cpu",
        overrides={
            "teacher": [f"openai:{url}#slow" for url in servers],
            "generator": "embedded:smollm2-135m-instruct",
            "passages": {"max_tokens": 120},
            "ratings": {"method": "none"},
            "pairs": {"form": "instruct", "max_passages": passages, "per_passage": 2},
        },
    )


def documents() -> list[Document]:
    """Texts that every Python has."""
    return [Document(id=f"{name}.txt", text=topics[name]) for name in sorted(topics)]


def write_pairs(out: Path, servers: Sequence[str], passages: int) -> tuple[float, int, str]:
    """Seconds from the first request to the last, pairs, and a digest of their file."""
    with open_run(out, settings(servers, passages)) as run:
        run.give(documents())
        run.do("selection", "marks", "ratings")
        started = time.monotonic()
        run.do("drafts")
        seconds = time.monotonic() - started
        pairs = len(run.records("drafts"))
    return seconds, pairs, sha256((out / "work/stages/drafts.jsonl").read_bytes()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--wait", type=float, default=0.2)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--passages", type=int, default=160)
    parser.add_argument(SERVE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.wait, options.slots)
    first, digests = 0.0, set()
    for count in options.servers:
        with ExitStack() as stack, TemporaryDirectory() as folder:
            urls = [start_server(stack, options.wait, options.slots) for _ in range(count)]
            seconds, pairs, digest = write_pairs(Path(folder), urls, options.passages)
        first = first or seconds
        digests.add(digest)
        print(f"{count} servers: {pairs} pairs in {seconds:.1f} s, {first / seconds:.2f} times")
    print("the same records" if len(digests) == 1 else "DIFFERENT RECORDS")


if __name__ == "__main__":
    main()
