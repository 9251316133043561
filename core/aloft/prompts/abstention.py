"""The sentence, by language, with which a generator says that no passage contains the answer."""

from aloft.text.normalising import fold

NONE = "none"  # in place of passage numbers
SENTENCES = {  # by ISO 639-1 code
    "en": "The documents do not hold the answer.",
    "ar": "لا تحتوي الوثائق على الإجابة.",
    "de": "Die Dokumente enthalten die Antwort nicht.",
    "el": "Τα έγγραφα δεν περιέχουν την απάντηση.",
    "es": "Los documentos no contienen la respuesta.",
    "fi": "Asiakirjat eivät sisällä vastausta.",
    "fr": "Les documents ne contiennent pas la réponse.",
    "hi": "दस्तावेज़ों में उत्तर नहीं है।",
    "it": "I documenti non contengono la risposta.",
    "ja": "文書に答えはありません。",
    "ko": "문서에 답이 없습니다.",
    "nl": "De documenten bevatten het antwoord niet.",
    "no": "Dokumentene inneholder ikke svaret.",
    "pl": "Dokumenty nie zawierają odpowiedzi.",
    "pt": "Os documentos não contêm a resposta.",
    "ro": "Documentele nu conțin răspunsul.",
    "ru": "В документах нет ответа.",
    "sw": "Nyaraka hazina jibu.",
    "th": "เอกสารไม่มีคำตอบ",
    "tr": "Belgelerde yanıt yok.",
    "vi": "Các tài liệu không có câu trả lời.",
    "zh": "文档中没有答案。",
}
_SAID = frozenset(fold(sentence).rstrip(".。।") for sentence in SENTENCES.values())


def abstain_in(language: str | None) -> str:
    """Return the sentence in a language, given its ISO 639-1 code; in English if there is none."""
    return SENTENCES.get(language or "en", SENTENCES["en"])


def is_abstention(answer: str) -> bool:
    """Return whether an answer is one of the sentences."""
    return fold(answer).rstrip(".。।") in _SAID


def names_none(reply: str) -> bool:
    """Return whether a reply's first line says that no passage contains the answer."""
    return fold(reply.strip().split("\n")[0]).strip(" .") == NONE
