"""Finds sentences that say what a name stands for, and turns them into noun phrases.

"Alden Weir (born 1852) was an American painter who taught in Boston, and ..." defines Alden Weir as
"the American painter who taught in Boston". In a question the phrase can stand in the name's place.
English alone is covered: elsewhere the phrase would need another case, article or particle there.
"""

import re
from collections.abc import Iterator

from aloft.text.tokens import split_words

LANGUAGE = "en"
_LEAST, _MOST = 6, 24  # words of a phrase: fewer fit many things, more are hard to read
_CLAUSE = 6  # words from which it may end at a comma

_WORD = r"(?:[A-Z0-9À-ÖØ-ÞĀ-Ž][\w'’&-]*\.?)"
_LINK = r"(?:of|the|and|for|in|on|de|del|della|di|von|van|der|la|le|du|al|bin)"
_NOTE = r"\s?\((?:[^()]|\([^()]*\)){0,200}\)"  # pronunciation, dates, other names
_ASIDE = re.compile(rf"(?:{_NOTE}|\s?\[[^\[\]]{{0,40}}\])")  # a footnote's number, too
_DEFINITION = re.compile(
    rf"[\"“]?(?:The )?(?P<name>{_WORD}(?:(?: {_LINK}){{0,2}} {_WORD}){{0,5}})[\"”]?(?:{_NOTE})?,? "
    r"(?:is|was) (?:an?|the) (?P<what>\S.*)"
)
_NO_NAME = re.compile(  # what a sentence begins with besides names
    r"(?:an?|all|although|another|as|both|each|he|her|here|his|i|if|in|its?|many|most|my|one|our|"
    r"she|since|some|table|that|the|their|there|these|they|this|those|though|we|what|while|who|"
    r"you|your)"
)
_BREAK = re.compile(r"(?<=[.!?])[\"”’']?\s+(?=[\"“'(]?[A-Z0-9])|\n+")
_NO_BREAK = re.compile(  # the full stop ends a word, not the sentence
    r"(?:\b[A-Z]|\.\w|\b(?:St|Mr|Mrs|Ms|Dr|Jr|Sr|Inc|Ltd|Co|Corp|No|vs|approx|ca?|Gen|Col|Maj|Lt|"
    r"Capt|Sgt|Rev|Prof|Mt|Ft|feat|ft|est|born|lit))\.$"
)
_STOP = re.compile(  # the sentence goes on with something else
    r"\s?[;:]|\s[–—-]\s|,? (?:and|but|while|although|though|so|because|since|where) "
    r"(?:\w+ly )?(?:it|he|she|they|its|his|her|their|is|was|has|had|are|were)\b|"
    r", (?:but|while|whereas|although|though|making|being|having|also|as well as)\b"
)
_VAGUE = re.compile(  # the phrase points elsewhere, fits many things or breaks off in a bracket
    r".*[()\[\]]|(?:one|name|term|word|example|same|following|type|kind|form|part|set|series|most|only|main)\b|"
    r".*\b(?:same|this|these|those|such|here|above|below|he|she|they|we|our|you|your|I|my|also|not)\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"(?:and|or|to|as well as)\b")  # a list, or a clause, after a comma
_OPEN = re.compile(  # it breaks off
    r"(?:\b(?:an?|the|of|in|on|at|by|for|to|from|with|and|or|that|which|who)|[^\W\d]\.)$"
)


def find_definitions(text: str, title: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the noun phrase of each sentence that says what a name stands for.

    A text's first sentence is about its title, where it shares a word with it: people are called by
    it, not by their full names. Names of one word, and titles with a note in brackets that tells
    them from others, do not count: they mean other things as well.

    Args:
        text: In English.
        title: Of the text.
    """
    heading = re.sub(_NOTE, "", title).strip()
    titled, is_shared = split_words(heading), heading != title.strip()
    for place, sentence in enumerate(_BREAK.split(text)):
        found = _DEFINITION.match(sentence)
        if found is None or _NO_BREAK.search(sentence):
            continue
        name = found["name"].rstrip(".")
        words = split_words(name)
        if not words or _NO_NAME.fullmatch(words[0]):
            continue
        if place == 0 and len(titled) > 1 and set(words) & set(titled) and not is_shared:
            name, words = heading, titled
        phrase = _as_phrase(found["what"])
        if phrase is not None and len(words) > 1 and not (is_shared and words == titled):
            yield name, phrase


def _as_phrase(predicate: str) -> str | None:
    """Return a predicate as a noun phrase, up to where the sentence goes on to something else."""
    plain = _ASIDE.sub("", predicate)
    stop = _STOP.search(plain)
    whole = plain[: stop.start() if stop else None].strip(' .!?,"”')
    clauses = re.split(r"\s?, ", f"the {whole}")
    phrase = clauses[0]
    for clause in clauses[1:]:
        if len(phrase.split()) >= _CLAUSE and not _GOES_ON.match(clause):
            break
        phrase += f", {clause}"
    is_usable = not _VAGUE.match(whole) and not _OPEN.search(phrase) and phrase.count('"') % 2 == 0
    return phrase if is_usable and _LEAST <= len(phrase.split()) <= _MOST else None
