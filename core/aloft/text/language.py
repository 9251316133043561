"""Turns a text into the language it is written in, as far as that can be told.

By py3langid, a naive Bayes model of 4.6 MB, offline. Over 14,222 passages in 18 languages 0.3 % are
told no language and 0.1 % another; of 34,167 questions of people 0.11 % are said to be in another
language than their passage, of English questions on foreign passages (13,014) 99.9 %
(`benchmarks/languages.py`).
"""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

_LOOKED_AT = 2000  # characters; more change nothing
_SURE = 0.5  # a language that is likelier than all the others together
_CLEAR = 10.0  # times likelier


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of a passage's language, or None where no language stands out.

    Lists of names, tables and formulas have none. Nynorsk is "no", and all Chinese is "zh".
    """
    likelihoods = _likelihoods(text)
    language = max(likelihoods, key=likelihoods.__getitem__)
    return language if likelihoods[language] >= _SURE else None


def can_be_in(text: str, language: str) -> bool:
    """Whether a text may be in a language: no other is clearly likelier.

    Made for questions, which are short and hold foreign names: one is told from its language more
    surely than its language is told. Of an answer of less than 60 characters nothing can be said.

    Args:
        text: A question.
        language: ISO 639-1 code, as `language_of` gives it.
    """
    likelihoods = _likelihoods(text)
    return language not in likelihoods or (
        likelihoods[language] * _CLEAR >= max(likelihoods.values())
    )


def _likelihoods(text: str) -> dict[str, float]:
    return dict(_identifier().rank(text[:_LOOKED_AT]))


@cache
def _identifier() -> LanguageIdentifier:
    """The model, on the languages with a code of two letters: the others are their dialects."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([x for x in identifier.labels if len(x) == 2 and x != "nn"])
    return identifier
