"""Structured output and tools: are replies valid, what does the mask cost, which calls are right?

    python benchmarks/structured.py --model embedded:smollm2-135m-instruct --prompts 100
    python benchmarks/structured.py --model FOLDER --prompts 100 --questions 50

Ten schemas, ten prompts each, are answered held to the schema, and with --free once more without,
the schema in the prompt. A reply is valid if it is JSON that satisfies the schema (jsonschema). The
mask's cost is the time spent in choosing tokens, of which compiling the tokenizer, once a model, is
no part. All times are the processor's, so that other work on the machine does not count. Each of
fifty questions needs one of six tools, and is asked twice: the model may call, or must. A call is
right if tool and arguments are. The model's chat template must take tools.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
from uplift import tell

from aloft.backends.loading import Models
from aloft.protocols import Prompt, Reply, Tool
from aloft.records import Message

BATCH = 10


def an_object(**properties: Any) -> dict[str, Any]:
    """A schema of an object that needs all its properties."""
    return {"type": "object", "properties": properties, "required": [*properties]}


TEXT, WHOLE, NUMBER, YES = ({"type": t} for t in ("string", "integer", "number", "boolean"))
PERSON = an_object(name=TEXT, age=WHOLE)
SCHEMAS: dict[str, tuple[Mapping[str, Any], str]] = {
    "city": (an_object(city=TEXT, country=TEXT, population=WHOLE), "Describe a city in {}."),
    "review": (
        an_object(sentiment={"enum": ["good", "bad", "mixed"]}, score={**WHOLE, "minimum": 1,
                  "maximum": 5}, reason=TEXT), "Judge a short review of a hotel in {}."),
    "recipe": (
        an_object(title=TEXT, minutes=WHOLE, ingredients={"type": "array", "items": an_object(
            name=TEXT, amount=TEXT), "minItems": 1, "maxItems": 4}), "A simple dish from {}."),
    "event": (
        an_object(name=TEXT, date={**TEXT, "format": "date"}, indoors=YES), "A festival in {}."),
    "list": ({"type": "array", "items": TEXT, "minItems": 3, "maxItems": 5}, "Rivers in {}."),
    "choice": (
        {"anyOf": [an_object(answer=TEXT), an_object(question=TEXT)]},
        "Answer about {}, or ask what is unclear."),
    "nested": (
        {**an_object(team=TEXT, lead={"$ref": "#/$defs/p"}, members={"type": "array",
                     "items": {"$ref": "#/$defs/p"}, "maxItems": 2}), "$defs": {"p": PERSON}},
        "Invent a football team of {}."),
    "code": (an_object(code={**TEXT, "pattern": "^[A-Z]{3}-[0-9]{2}$"}), "A product code for {}."),
    "prices": (
        {"type": "object", "additionalProperties": NUMBER, "minProperties": 1},
        "Prices of fruit in {}."),
    "optional": (
        {**an_object(name=TEXT, email=TEXT, phone=TEXT), "required": ["name"]},
        "Invent a contact in {}."),
}  # fmt: skip
PLACES = ("Peru", "Chile", "Spain", "China", "Norway", "Kenya", "Japan", "Egypt", "Canada", "Fiji")

TOOLS = {
    name: Tool(name=name, description=description, parameters=an_object(**properties))
    for name, description, properties in (
        ("get_weather", "The weather in a city.", {"city": TEXT}),
        ("add", "Adds two numbers.", {"a": WHOLE, "b": WHOLE}),
        ("translate", "Translates a word.", {"word": TEXT, "language": TEXT}),
        ("set_alarm", "Sets an alarm.", {"hour": WHOLE, "minute": WHOLE}),
        ("search_documents", "Searches the documents of the office.", {"query": TEXT}),
        ("convert_currency", "Converts an amount of money.",
         {"amount": WHOLE, "source": TEXT, "target": TEXT}),
    )
}  # fmt: skip
CITIES = ("Lima", "Oslo", "Cairo", "Tokyo", "Rome", "Paris", "Quito", "Delhi", "Accra")
PAIRS = ((3, 4), (12, 30), (7, 9), (25, 75), (1, 1), (90, 8), (14, 6), (33, 44))
WORDS = ("house", "tree", "water", "bread", "night", "friend", "book", "river")
TIMES = ((7, 30), (6, 15), (9, 45), (5, 5), (22, 10), (8, 20), (10, 40), (11, 55))
TOPICS = ("parental leave", "boiler service", "lost badges", "parking", "backups", "travel claims",
          "printing", "safety goggles", "honey")  # fmt: skip
SUMS = ((10, "USD", "EUR"), (250, "GBP", "USD"), (99, "EUR", "JPY"), (5, "CHF", "EUR"),
        (40, "USD", "GBP"), (75, "JPY", "USD"), (60, "EUR", "CHF"), (8, "USD", "CHF"))  # fmt: skip
QUESTIONS: list[tuple[str, str, dict[str, Any]]] = [
    *((f"What is the weather in {c}?", "get_weather", {"city": c}) for c in CITIES),
    *((f"Add {a} and {b}.", "add", {"a": a, "b": b}) for a, b in PAIRS),
    *((f"Translate the word {w} to German.", "translate", {"word": w, "language": "German"})
      for w in WORDS),
    *((f"Set an alarm for {h}:{m:02}.", "set_alarm", {"hour": h, "minute": m}) for h, m in TIMES),
    *((f"What do our documents say about {t}?", "search_documents", {"query": t}) for t in TOPICS),
    *((f"Convert {n} {s} to {t}.", "convert_currency", {"amount": n, "source": s, "target": t})
      for n, s, t in SUMS),
]  # fmt: skip


def ask(model: Any, prompts: Sequence[Prompt], limit: int) -> tuple[list[Reply], float]:
    """Replies in batches, and the processor seconds that they took."""
    started = time.process_time()
    replies: list[Reply] = []
    for start in range(0, len(prompts), BATCH):
        replies += model.complete(prompts[start : start + BATCH], max_new_tokens=limit)
    return replies, time.process_time() - started


class Watch:
    """Counts the seconds that are spent in choosing tokens by a grammar."""

    def __init__(self) -> None:
        from aloft.backends.grammar import Constraint

        self.seconds, self.tokens = 0.0, 0
        choose = Constraint.next_token

        def timed(constraint: Constraint, scores: Any, likeliest: int) -> int:
            started = time.process_time()
            token = choose(constraint, scores, likeliest)
            self.seconds += time.process_time() - started
            self.tokens += 1
            return token

        Constraint.next_token = timed  # type: ignore[method-assign]

    def restart(self) -> None:
        """Begin to count again."""
        self.seconds, self.tokens = 0.0, 0

    def figures(self) -> dict[str, float]:
        """Milliseconds in all, and for each token."""
        each = self.seconds / max(1, self.tokens)
        return {
            "mask_ms": round(1000 * self.seconds, 1),
            "mask_ms_per_token": round(1000 * each, 3),
            "tokens": self.tokens,
        }


def is_valid(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether a reply is JSON that satisfies a schema."""
    try:
        jsonschema.validate(json.loads(text), schema, format_checker=jsonschema.FormatChecker())
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def measure_schemas(
    model: Any, count: int, limit: int, watch: Watch, *, is_free: bool
) -> dict[str, Any]:
    """Valid replies, and what holding them costs."""
    asked = [
        (schema, text.format(place)) for place in PLACES for schema, text in SCHEMAS.values()
    ][:count]  # fmt: skip
    held = [
        Prompt(messages=(Message(role="user", content=text),), json_schema=schema)
        for schema, text in asked
    ]
    free = [
        Prompt(
            messages=(
                Message(
                    role="user",
                    content=f"{text} Reply with JSON alone, by this schema: {json.dumps(schema)}",
                ),
            )
        )
        for schema, text in asked
    ]
    model.complete(held[:1], max_new_tokens=1)  # compiles the tokenizer
    found = {}
    for kind, prompts in (("held", held), ("free", free))[: 1 + is_free]:
        watch.restart()
        replies, seconds = ask(model, prompts, limit)
        right = [is_valid(r.text, schema) for r, (schema, _) in zip(replies, asked, strict=True)]
        found[kind] = {
            "prompts": len(prompts),
            "valid": sum(right),
            "at_limit": sum(not reply.is_finished for reply in replies),
            "seconds_per_reply": round(seconds / len(replies), 2),
            "not_valid": [r.text for r, ok in zip(replies, right, strict=True) if not ok][:3],
            **(watch.figures() if kind == "held" else {}),
        }
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two arguments are equal, but for case and the names of currencies and languages."""
    return str(one).strip().casefold() == str(other).strip().casefold()


def measure_calls(model: Any, count: int, watch: Watch) -> dict[str, Any]:
    """Right calls: of those that the model makes by itself, and of those that it must."""
    step = len(QUESTIONS) / count
    chosen = [QUESTIONS[int(i * step)] for i in range(count)]
    found = {}
    for choice in ("auto", "required"):
        prompts = [
            Prompt(
                messages=(Message(role="user", content=text),),
                tools=tuple(TOOLS.values()),
                tool_choice=choice,
                calls_in_parallel=False,
            )
            for text, _, _ in chosen
        ]
        watch.restart()
        replies, seconds = ask(model, prompts, 96)
        made = [
            (one.tool_calls[0], name, arguments)
            for one, (_, name, arguments) in zip(replies, chosen, strict=True)
            if one.tool_calls
        ]
        right = [(call, wanted) for call, name, wanted in made if call.name == name]
        found[choice] = {
            "questions": count,
            "called": len(made),
            "right_tool": len(right),
            "right_call": sum(
                all(same(call.arguments.get(key), value) for key, value in wanted.items())
                for call, wanted in right
            ),
            "seconds_per_reply": round(seconds / count, 2),
            **watch.figures(),
        }
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:smollm2-135m-instruct")
    parser.add_argument("--prompts", type=int, default=100, help="up to 100; 0: none")
    parser.add_argument("--free", action="store_true", help="ask without constraints too")
    parser.add_argument("--questions", type=int, default=0, help="for tools, up to 50; 0: none")
    parser.add_argument("--tokens", type=int, default=128, help="longest reply")
    options = parser.parse_args(argv)
    model = Models().language_model(options.model)
    watch = Watch()
    figures: dict[str, Any] = {}
    if options.prompts:
        figures |= measure_schemas(
            model, options.prompts, options.tokens, watch, is_free=options.free
        )
    if options.questions:
        figures["tools"] = measure_calls(model, options.questions, watch)
    tell("structured.py", argv, None, **figures)


if __name__ == "__main__":
    main()
