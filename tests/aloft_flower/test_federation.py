"""A whole federation: a server and three sites with documents of their own, over TLS."""

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from federated_sites import COMMAND, NAMES, configure, spawn
from recording import RecordingProxy

from aloft.api import read_weights
from aloft.evaluation.report import read_report

pytestmark = pytest.mark.flower
GAINS = "federation/share-gains.json"


def test_three_sites_train_together_each_ships_what_is_best_there_and_no_text_leaves_it(
    tmp_path: Path, models: Path, runs: dict[str, Path], stack: ExitStack
) -> None:
    from aloft_flower.processes import free_port
    from aloft_flower.server import run_federation, serving

    folder, port = tmp_path / "federation", free_port()
    stack.enter_context(serving(folder, f"127.0.0.1:{port}", NAMES))
    proxy = RecordingProxy(folder, port)
    stack.callback(proxy.close)
    sites = {}
    for name in NAMES:
        joined = folder / "sites" / name
        (joined / "server.txt").write_text(f"127.0.0.1:{proxy.port}\n")
        arguments = ("-c", COMMAND, "federate", "site", str(runs[name]), "--join", str(joined))
        sites[name] = spawn(stack, tmp_path / f"{name}.log", *arguments)
    rounds: list[int] = []
    found = run_federation(folder, configure(models), lambda one: rounds.append(one["round"]))
    assert rounds == [1, 2, 1]
    rows = {name: count_lines(runs[name] / "sets" / "embedder.jsonl") for name in NAMES}
    asked = {name: count_lines(runs[name] / "human.jsonl") for name in NAMES}
    for one in found:
        assert one["rows"] == (asked if one["part"] == "shares" else rows)
        assert not (one["refused"] or one["failed"] or one["silent"])
    average = read_weights(folder / "shares.safetensors").tensors
    gains = {name: json.loads((runs[name] / GAINS).read_text()) for name in NAMES}
    for share, values in average.items():
        sums = sum(asked[name] * np.array(gains[name][share]) for name in NAMES)
        np.testing.assert_allclose(values, sums / sum(asked.values()), atol=1e-6)
    assert np.abs(average["tuned_late"][0]).max() > 0
    shared = read_weights(folder / "embedder.safetensors")
    for name, site in sites.items():
        assert site.wait(300) == 0, (tmp_path / f"{name}.log").read_text()
        (facts,) = read_report(runs[name]).federation
        assert (facts.part, facts.rounds, facts.sites, facts.answered) == ("embedder", 2, 3, 2)
        assert facts.rows == rows[name]
        assert facts.epsilon is None
        assert set(facts.choice.values) == {"local", "blend", "global"}
        assert facts.choice.values[facts.choice.chosen] >= facts.choice.values["local"]
        kept = read_weights(runs[name] / "federation" / "embedder.safetensors")
        assert kept.base == shared.base
        for tensor, values in shared.tensors.items():
            np.testing.assert_array_equal(values, kept.tensors[tensor])
        shares = read_report(runs[name]).shared_shares
        others = sum(asked.values()) - asked[name]
        assert (shares.questions, shares.others, shares.sites) == (asked[name], others, 2)
        expected = json.loads((runs[name] / "federation" / "expected-gains.json").read_text())
        own = np.array(gains[name]["tuned_dense"][0]) * asked[name]
        rest = average["tuned_dense"][0] * sum(asked.values()) - own
        np.testing.assert_allclose(expected["tuned_dense"]["means"], rest / others, atol=1e-6)
        assert "2 other sites have sent it" in (runs[name] / "report.md").read_text()
        assert (runs[name] / "models" / "aloft.json").exists()
        assert "also trained by a federation: 2 rounds" in (runs[name] / "report.md").read_text()

    streams = proxy.streams
    crossed = sum(map(len, streams))
    weights = sum(one["bytes_sent"] + one["bytes_received"] for one in found)
    assert crossed > weights  # it was seen by the proxy, with the last global part on top
    assert any(b"lora_A" in one for one in streams)  # and is readable there
    texts = list(readings(streams))
    for name in NAMES:
        for secret in secrets_of(runs[name]):
            assert not any(secret in text for text in texts), secret


def count_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n")


def secrets_of(run: Path) -> set[bytes]:
    """Runs of three words of its documents, names of its files, ids of what it holds, its paths."""
    found = {str(run).encode(), run.name.encode() + b"-documents"}
    for line in (run / "documents.jsonl").read_text().splitlines():
        document = json.loads(line)
        words = re.findall(r"\w+", document["text"])
        triples = (words[i : i + 3] for i in range(len(words) - 2))
        found |= {" ".join(three).encode() for three in triples if len("".join(three)) > 9}
    for file in ("documents.jsonl", "passages.jsonl", "sets/train.jsonl", "human.jsonl"):
        for line in (run / file).read_text().splitlines():
            values = json.loads(line)
            found |= {str(values[key]).encode() for key in ("id", "question") if key in values}
    return {secret for secret in found if len(secret) > 6}


def readings(streams: list[bytes]) -> Iterator[bytes]:
    """The streams as they are, and all that can be unpacked from any place of them."""
    for stream in streams:
        yield stream
        for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08|PK\x03\x04", stream):
            place, bits = start.start(), 47  # zlib or gzip, by its header
            if start[0].startswith(b"PK"):
                names = stream[place + 26 : place + 30]
                skipped = int.from_bytes(names[:2], "little") + int.from_bytes(names[2:], "little")
                place, bits = place + 30 + skipped, -15
            try:
                yield zlib.decompressobj(bits).decompress(stream[place:])
            except zlib.error:
                continue


def test_the_search_finds_a_text_that_is_packed() -> None:
    packed = b"\x00\x01" + zlib.compress(b"the fever of ward seventeen" * 3) + b"\x02"
    assert any(b"ward seventeen" in text for text in readings([packed]))
