"""Constrains replies while they are generated: to JSON schemas, regular expressions and tool calls.

llguidance compiles each of these to a grammar over the tokenizer's own tokens and follows a reply
token by token. A token that the model likes best is kept wherever the grammar allows it. Only where
it leaves one text, this is written in the tokens that the tokenizer makes of it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from numpy.typing import NDArray

from aloft.backends.tool_calls import FENCES, CallFormat, call_format_of, callable_tools
from aloft.errors import ConfigError
from aloft.protocols import Prompt, Tool

# one way to write a value, as compact as models write it: whitespace could repeat forever
_WRITTEN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_LENIENT = {"lenient": True}  # what cannot be enforced, such as uniqueItems, is left to the host
_ANY_TEXT = r"/(.|\n)+/"
# "1" before "0": there is no year 0000, and no month or day 00
_CLOSERS = ('"', "}", "]", ",", ":", "1", "0", "a", "n", "t", "f", "{", "[", "-", " ")
_LONGEST_ENDING = 512  # tokens
_NEAR = 128  # tokens before the limit from which on an end is looked for


class Grammars:
    """Compiles what prompts ask of their replies, for the tokenizer of one model.

    Args:
        tokenizer: Of the model.
        vocabulary: Number of logits, at least the tokenizer's own number of tokens.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._compiled: LLTokenizer | None = None
        self._closers: list[int] = []

    def constraint(self, prompt: Prompt, limit: int) -> "Constraint | None":
        """What a prompt asks of its reply of at most `limit` tokens; None where it is free.

        Raises:
            ConfigError: the schema, pattern or tool cannot be compiled.
        """
        grammar = self._grammar(prompt)
        if grammar is None:
            return None
        if self._compiled is None:  # takes seconds
            end = self._tokenizer.eos_token_id
            self._compiled = from_tokenizer(self._tokenizer, self._vocabulary, end)
            self._closers = [self._compiled.greedy_tokenize(text)[0] for text in _CLOSERS]
        matcher = LLMatcher(self._compiled, grammar, log_level=0)
        if matcher.is_error():
            raise ConfigError(_refusal(prompt, matcher.get_error()))
        closers = self._closers if prompt.json_schema is not None or prompt.tools else []
        return Constraint(matcher, self._compiled, limit, closers)

    def _grammar(self, prompt: Prompt) -> str | None:
        tools = callable_tools(prompt)
        if tools:
            form = call_format_of(self._tokenizer)
            several = prompt.calls_in_parallel and bool(form.between)
            lark = _calls(form, tools, self._literal, several=several)
            if prompt.tool_choice == "auto":
                lark = _or_reply(lark, form, self._literal, tools, prompt.json_schema)
            return LLMatcher.grammar_from_lark(lark)
        if prompt.json_schema is not None:
            return json_grammar(prompt.json_schema)
        return LLMatcher.grammar_from_regex(prompt.pattern) if prompt.pattern else None

    def _literal(self, text: str) -> str:
        """A text in a Lark grammar; control tokens of the tokenizer stand for themselves."""
        added = {token.content: i for i, token in self._tokenizer.added_tokens_decoder.items()}
        parts, plain = list[str](), ""
        while text:
            control = next(
                (one for one in sorted(added, key=len)[::-1] if text.startswith(one)), ""
            )
            if control:
                parts += [json.dumps(plain)] if plain else []
                parts.append(f"<[{added[control]}]>")
                plain, text = "", text[len(control) :]
            else:
                plain, text = plain + text[0], text[1:]
        return " ".join([*parts, *([json.dumps(plain)] if plain else [])])


class Constraint:
    """Follows one reply, and chooses its next token among those that the grammar allows.

    JSON is closed before the limit is reached: as soon as another token would leave too few for the
    shortest end that is found, that end is written, so that no reply is cut in the middle.
    """

    def __init__(
        self, matcher: LLMatcher, tokenizer: LLTokenizer, limit: int, closers: Sequence[int]
    ) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._left = limit
        self._closers = closers
        self.is_over = False  # whether the end of the turn was chosen
        self._is_closing = False  # whether the model has ended, and forced text follows
        ending = self._ending(matcher)
        self._near = 0 if ending is None else _NEAR + 2 * len(ending)

    def next_token(self, scores: torch.Tensor, likeliest: int) -> int:
        """The next token of the reply: that of forced text, or the likeliest that is allowed.

        Args:
            scores: Of each token; (vocabulary,).
            likeliest: The token whose score is the highest.
        """
        end = self._tokenizer.eos_token
        token = self._allowed_likeliest(scores, likeliest)
        if token != end and self._left <= self._near and not self._can_end_after(token):
            token = next(iter(self._ending(self._matcher) or ()), end)
        self.is_over = token == end
        if not self.is_over:
            self._matcher.consume_token(token)
        self._left -= 1
        return token

    def _allowed_likeliest(self, scores: torch.Tensor, first: int) -> int:
        end = self._tokenizer.eos_token
        if self._matcher.is_stopped():
            return end
        forced = self._matcher.compute_ff_tokens()
        if forced:  # in the tokens that such text is trained in
            self._is_closing |= first == end
            return int(forced[0])
        if self._is_closing and self._matcher.is_accepting():
            return end
        self._is_closing = False
        if self._matcher.validate_tokens([first]) == 1:
            return first
        if self._matcher.is_accepting():
            return end
        allowed = _allowed(self._matcher)[: len(scores)].astype(bool)
        barred = torch.from_numpy(~allowed).to(scores.device)
        return int(scores.masked_fill(barred, float("-inf")).argmax())

    def _can_end_after(self, token: int) -> bool:
        after = self._matcher.deep_copy()
        after.consume_token(token)
        ending = self._ending(after)
        return ending is not None and len(ending) < self._left

    def _ending(self, matcher: LLMatcher) -> list[int] | None:
        """Tokens of a short way to the end of the reply; None where none is found."""
        if not self._closers:
            return None
        after = matcher.deep_copy()
        ending: list[int] = []
        while not after.is_accepting():
            tokens = after.compute_ff_tokens() or self._closing(after)
            if not tokens or not after.consume_tokens(tokens):
                return None
            ending += tokens
            if len(ending) > _LONGEST_ENDING:
                return None
        return ending

    def _closing(self, matcher: LLMatcher) -> list[int]:
        """A token that closes what is open, or goes on as briefly as possible."""
        quote, brace, bracket, *others = self._closers
        letter = self._closers[_CLOSERS.index("a")]
        in_text = matcher.validate_tokens([letter]) == 1
        order = [quote, *others] if in_text else [brace, bracket, quote, *others]
        token = next((one for one in order if matcher.validate_tokens([one]) == 1), None)
        if token is None:
            token = int(_allowed(matcher).argmax())
        return [token]


def _allowed(matcher: LLMatcher) -> NDArray[np.uint8]:
    """Whether each token may come next; (tokens,), 1 or 0."""
    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    return np.unpackbits(bits, bitorder="little")


def json_grammar(schema: Mapping[str, Any]) -> str:
    """The grammar of a JSON schema, in which objects have the properties that it names alone."""
    return LLMatcher.grammar_from_json_schema(json.dumps(guided_schema(schema)))


def check_schema(schema: Mapping[str, Any]) -> None:
    """Check that a JSON schema can be enforced.

    Raises:
        ConfigError: it cannot.
    """
    is_wrong, messages = LLMatcher.validate_grammar_with_warnings(json_grammar(schema))
    if is_wrong:
        raise ConfigError(_refusal(Prompt(messages=(), json_schema=schema), messages[0]))


def _refusal(prompt: Prompt, reason: str) -> str:
    if prompt.tools:
        what = f"The parameters of a tool ({', '.join(tool.name for tool in prompt.tools)})"
    elif prompt.json_schema is not None:
        what = "The JSON schema"
    else:
        what = f"The pattern {prompt.pattern}"
    return f"{what} cannot be enforced: {' '.join(reason.split())[:300]}. Simplify it."


def guided_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema as llguidance enforces it, in this process and inside vLLM."""
    return {**_closed(schema), "x-guidance": _WRITTEN | _LENIENT}


def _closed(schema: Any) -> Any:
    """A schema whose objects take no properties beyond those that it names.

    Small models otherwise invent properties. Schemas that are combined (`allOf`) stay as they are.
    """
    if not isinstance(schema, Mapping):
        return schema
    closed = dict(schema)
    for key in ("properties", "$defs", "definitions"):
        if isinstance(closed.get(key), Mapping):
            closed[key] = {name: _closed(one) for name, one in closed[key].items()}
    for key in ("anyOf", "oneOf", "prefixItems"):
        if isinstance(closed.get(key), list):
            closed[key] = [_closed(one) for one in closed[key]]
    if "items" in closed:
        closed["items"] = _closed(closed["items"])
    is_combined = not closed.keys().isdisjoint({"allOf", "patternProperties", "$ref"})
    if "properties" in closed and not is_combined:
        closed.setdefault("additionalProperties", False)
    return closed


def _written(schema: Mapping[str, Any]) -> str:
    """A schema inside a Lark grammar."""
    return json.dumps(guided_schema(schema))


def _calls(form: CallFormat, tools: Sequence[Tool], literal: Any, *, several: bool) -> str:
    """A Lark grammar of one or more calls."""
    parts = ["%llguidance {}", "start: calls"]
    more = f" ({literal(form.between)} call)*" if several else ""
    parts.append(f"calls: {literal(form.opening)} call{more} {literal(form.closing)}")
    parts.append("call: " + " | ".join(f"call_{i}" for i in range(len(tools))))
    for i, tool in enumerate(tools):
        begin = f'{{"name": {json.dumps(tool.name)}, "{form.arguments}": '
        schema = {"type": "object", "properties": {}, **tool.parameters}
        parts.append(f'call_{i}: {json.dumps(begin)} %json {_written(schema)} "}}"')
    return "\n".join(parts)


def _or_reply(
    lark: str,
    form: CallFormat,
    literal: Any,
    tools: Sequence[Tool],
    schema: Mapping[str, Any] | None,
) -> str:
    """The grammar of calls, of JSON or a text, or of a text with calls behind it."""
    marker = form.opening.strip()
    bare, text = _bare_calls(form, tools)
    if schema is not None:
        start = f"start: calls | json\njson: %json {_written(schema)}"
    elif not marker:  # the first character says whether a call follows
        start = "start: calls | TEXT\nTEXT: /[^{](.|\\n)*/"
    elif literal(marker) != json.dumps(marker):  # by a control token, which no text holds
        start = f"start: calls | TEXT | TEXT calls | bare\n{text}\n{bare}"
    else:
        behind = form.opening.rpartition(marker)[2]
        rest = lark.partition("calls: ")[2].partition("\n")[0].removeprefix(literal(form.opening))
        start = "\n".join(
            [
                "start: calls | TEXT | text_calls | bare",
                f"text_calls: to_marker {literal(behind) if behind else ''} {rest}",
                f"to_marker[lazy]: TEXT {json.dumps(marker)}",
                text,
                bare,
            ]
        )
    return lark.replace("start: calls", start, 1)


def _bare_calls(form: CallFormat, tools: Sequence[Tool]) -> tuple[str, str]:
    """Rules of one call without its markers, and of any text that does not begin like one."""
    fence = "|".join(f"{one}\\n" for one in FENCES if one)
    begins = [
        rf'({fence})?[ \n]?\{{[ \n]{{0,9}}"name": ?"{re.escape(tool.name)}"' for tool in tools
    ]
    rules = ["bare: " + " | ".join(f"bare_{i}" for i in range(len(tools)))]
    for i, (tool, begin) in enumerate(zip(tools, begins, strict=True)):
        schema = {"type": "object", "properties": {}, **tool.parameters}
        rules.append(f"bare_{i}: BARE_{i} %json {_written(schema)} BARE_END")
        rules.append(rf'BARE_{i}: /{begin},[ \n]{{0,9}}"{form.arguments}": ?/')
    rules.append(r"BARE_END: /[ \n]{0,9}\}(\n```)?/")
    likeness = "|".join(f"{begin}(.|\\n)*" for begin in begins)
    return "\n".join(rules), f"TEXT: {_ANY_TEXT} & ~/{likeness}/"
