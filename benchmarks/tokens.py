"""Token counts of both hosts beside what the model reads, in ten languages, and names looked up.

    python benchmarks/tokens.py --data DATA --models embedded:smollm2-135m-instruct,FOLDER

Five passages of each of ten languages are counted as a user turn before they are read, by
`ChatAloft.get_num_tokens_from_messages` and `AloftLLM.count_tokens`, and then read: the usage of
the reply says how many tokens that were. Every name that this process looks up is counted.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage
from uplift import tell

from langchain_aloft import ChatAloft
from llama_index_aloft import AloftLLM

SETS = [f"xquad_{code}" for code in ("en", "de", "es", "ar", "hi", "th", "tr", "vi", "zh", "ru")]
TEXTS = 5
_looked_up: list[str] = []


def texts_of(folder: Path) -> list[str]:
    """The first passages of a set."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(next(file))["text"] for _ in range(TEXTS)]


def count(model: str, texts: list[str]) -> dict[str, int]:
    """How many counts of each host are those of what was read."""
    chat = ChatAloft(model=model, max_tokens=1)
    llm = AloftLLM(model=model, max_tokens=1)
    found = {"texts": 0, "langchain": 0, "llama_index": 0, "tokens": 0}
    for text in texts:
        told = chat.get_num_tokens_from_messages([HumanMessage(text)])
        usage = chat.invoke([HumanMessage(text)]).usage_metadata
        message = ChatMessage(role="user", content=text)
        also_told = llm.count_tokens([message])
        raw = llm.chat([message]).additional_kwargs
        found["texts"] += 1
        found["tokens"] += told
        found["langchain"] += usage is not None and told == usage["input_tokens"]
        found["llama_index"] += also_told == raw["prompt_tokens"]
    return found


def main() -> None:
    """Count, read and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="embedded:smollm2-135m-instruct")
    options = parser.parse_args()
    sys.addaudithook(
        lambda event, given: (
            _looked_up.append(str(given[0])) if event == "socket.getaddrinfo" else None
        )
    )
    texts = [text for name in SETS for text in texts_of(options.data / name)]
    counts = {model: count(model, texts) for model in options.models.split(",")}
    tell("tokens.py", None, None, counts=counts, names_looked_up=_looked_up)


if __name__ == "__main__":
    main()
