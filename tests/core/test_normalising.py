"""Normalising: what counts as the same text, and where it stands in the original."""

from unicodedata import category
from unicodedata import normalize as unicode_form

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aloft.text.normalising import find_normalized, fold, fold_question, normalize
from aloft.text.overlap import copies, holds, leaks, word_grams
from aloft.text.tokens import split_terms, split_words

EXAMPLES = settings(deadline=None, database=None)
# letters that are composed, decomposed, folded, replaced or removed, in several scripts
TRICKY = st.sampled_from(
    [
        *"aeIiıİßẞςσΣÜüÉéﬁﬀŉſǰΐ½①㎡ﷺﻻﺍ１２ｶﾞﾊﾟ가각한ㄱㅏㅐㄳกำàéक्षिশোை"
        " .,\n\t\u3000\xa0\xad\u200b\u200d\ufeff\u0301\u0307\u0323"
    ]
)
TEXTS = st.one_of(st.text(TRICKY), st.text())
WORDS = st.text(TRICKY.filter(lambda c: category(c)[0] in "LN"), min_size=1)


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("Kündigung", "kündigung"),
        (unicode_form("NFD", "Kündigung"), "kündigung"),
        (unicode_form("NFD", "환불은 언제"), "환불은 언제"),
        ("ﬁnal oﬃce", "final office"),  # ligatures
        ("Straße STRASSE", "strasse strasse"),
        ("ΟΔΥΣΣΕΥΣ Οδυσσευς", "οδυσσευσ οδυσσευσ"),  # the final sigma
        ("İstanbul ISPARTA ısparta", "istanbul isparta isparta"),  # dotless i
        ("１２３ ＡＢＣ", "123 abc"),  # full-width
        ("ﻣﺮﺣﺒﺎ", "مرحبا"),  # Arabic presentation forms
        ("مــرحبا", "مرحبا"),  # stretched
        ("ｶﾞｲﾄﾞ", "ガイド"),  # half-width kana
        ("Kün\xaddi\xadgung", "kündigung"),  # soft hyphens
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("Aloft™", "aloft"),  # a mark is no letter of the word
        ("a\xa0b\u3000c", "a b c"),
    ],
)
def test_spellings_of_a_text_are_compared_as_one(written: str, compared: str) -> None:
    assert normalize(written) == compared


@EXAMPLES
@given(TEXTS)
def test_composed_and_decomposed_texts_are_one_and_normalising_is_stable(text: str) -> None:
    composed, decomposed = unicode_form("NFC", text), unicode_form("NFD", text)
    assert normalize(composed) == normalize(decomposed) == normalize(normalize(text))
    assert split_words(composed) == split_words(decomposed)
    assert split_terms(composed) == split_terms(decomposed)


@EXAMPLES
@given(TEXTS, TEXTS, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"]))
def test_no_comparison_depends_on_how_letters_are_composed(
    text: str, quote: str, text_form: str, quote_form: str
) -> None:
    forms = unicode_form(text_form, f"{quote} {text}"), unicode_form(quote_form, quote)
    plain = unicode_form("NFC", f"{quote} {text}"), unicode_form("NFC", quote)
    for measure in (holds, leaks, copies):
        assert measure(*forms) == measure(*plain)
    assert word_grams(forms[0]) == word_grams(plain[0])


@EXAMPLES
@given(TEXTS, TEXTS, TEXTS)
def test_a_located_quote_is_the_quote_in_the_original(before: str, quote: str, after: str) -> None:
    text = before + quote + after
    for start, end in find_normalized(quote, text):
        assert fold(text[start:end]) == fold(quote) != ""


@EXAMPLES
@given(st.lists(WORDS, min_size=1), TEXTS, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_a_quote_is_located_in_whatever_form_it_was_copied(
    words: list[str], other: str, form: str
) -> None:
    quote = " ".join(words)
    text = f"{other} x {quote}\n{other}"
    assert find_normalized(unicode_form(form, quote).replace(" ", "\n "), text)


@pytest.mark.parametrize(
    ("quote", "text", "found"),
    [
        ("Der  Hafen", "Der\nHafen. der hafen", ["Der\nHafen"]),  # its own case comes first
        ("der hafen", "Der Hafen und DER HAFEN", ["Der Hafen", "DER HAFEN"]),
        ("US", "us in the US", ["US"]),
        ("land", "Island land Landung", ["land"]),  # whole words come first
        ("land", "Island", ["land"]),
        ("office", "The ofﬁce", ["ofﬁce"]),
        ("re", "the ﬁre", ["re"]),
        ("ire", "the ﬁre", []),  # no span begins inside of a ligature
        ("Kündigung", "Ku\u0308n\xaddigung", ["Ku\u0308n\xaddigung"]),
        ("u", "ku\u0308n", []),  # nor inside of a letter
        ("12 %", "１２ ％", ["１２ ％"]),
        ("It's", "it’s so. It’s", ["It’s"]),  # as Word writes what a keyboard has no key for
        ('the "old" town', "the “old” town", ["the “old” town"]),
        ("2019-2020", "2019–2020", ["2019–2020"]),
        ("a well\u2011known", "a well-known", ["a well-known"]),
        ("\xad", "so\xadft", []),
        ("", "text", []),
    ],
)
def test_quotes_are_located_as_far_as_spellings_allow(
    quote: str, text: str, found: list[str]
) -> None:
    assert [text[start:end] for start, end in find_normalized(quote, text)] == found


@pytest.mark.parametrize("same", ["who signs", "Who  signs ?", "WHO\nSIGNS?!", " Who signs。"])
def test_questions_are_compared_by_their_words(same: str) -> None:
    assert fold_question(same) == "who signs"


def test_other_questions_stay_others() -> None:
    folded = {fold_question(one) for one in ("What is C?", "What is C++?", "What is C#?")}
    assert len(folded) == 3


def test_questions_in_two_spellings_are_one() -> None:
    assert fold_question(unicode_form("NFD", "Wer kündigt？")) == fold_question("WER KÜNDIGT?")
