"""PDF: the text of each page as PDFium reads it, the reader of Chrome.

A word that is broken at the end of a line is whole again, and what a form was filled in with stands
behind its label. What was typed or stamped upon a page stands behind the page's own text. A page
that is damaged or holds no text is listed and the others are read; attached files follow.
"""

import ctypes
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from aloft.corpus.readers.columns import Box, in_lines, reading_order
from aloft.corpus.readers.source import (
    Found,
    Source,
    UnreadableError,
    parser_message,
    too_large,
)

_LOCK = threading.Lock()  # PDFium is not thread-safe
_WRITTEN = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
_WRITTEN |= dict.fromkeys((0xF0A7, 0xF0B7, 0xF0D8), "•")  # of the fonts Symbol and Wingdings
_NO_LETTER = re.compile("[\x00-\x08\x0e-\x1f\ue000-\uf8ff]")
_MOST_GLYPHS = 0.1  # share of a page; in a font that has no map to letters spaces alone are more
_BROKEN_WORD = "\ufffe"  # PDFium's mark for the hyphen at the end of a line


def read(source: Source) -> Iterator[Found | Source]:
    """One document, a line about pages without text, and a file for each attachment."""
    pages, attached = _read_pages(source)
    if not any(pages):
        yield from attached
        why = "its pages are images, or their fonts do not say their letters; run OCR on it"
        raise UnreadableError("no text in the PDF", why)
    yield source.document("\n\n".join(page for page in pages if page))
    damaged = [number for number, page in enumerate(pages, start=1) if page is None]
    empty = [number for number, page in enumerate(pages, start=1) if page == ""]
    if damaged:
        place = f"{source.name}#{_ranges(damaged)}"
        yield source.reject("unreadable page", "export the PDF again", place=place)
    if empty:
        place = f"{source.name}#{_ranges(empty)}"
        why = "if they are images, or their font does not say its letters, run OCR on them"
        detail = f"{len(empty)} of {len(pages)} pages; {why}"
        yield source.reject("page without text", detail, place=place)
    yield from attached


def _read_pages(source: Source) -> tuple[list[str | None], list[Found | Source]]:
    """The text of each page, None where it is damaged, and the attached files."""
    import pypdfium2 as pdfium
    import pypdfium2.raw as library

    with _LOCK:
        try:
            pdf = pdfium.PdfDocument(source.raw)
        except pdfium.PdfiumError as error:
            if "password" in str(error).lower():
                detail = "it needs a password to be opened; save it without"
                raise UnreadableError("encrypted PDF", detail) from error
            detail = f"{parser_message(error)}; export it again"
            raise UnreadableError("unreadable PDF", detail) from error
        try:
            if pdf.get_formtype() == library.FORMTYPE_XFA_FULL:  # its page says "Please wait..."
                detail = "only Adobe's programs show what it holds; print it there to a PDF"
                raise UnreadableError("XFA form", detail)
            with suppress(pdfium.PdfiumError):  # a damaged form costs its fields, not the pages
                pdf.init_forms()
            pages = [_read_page(pdf, number) for number in range(len(pdf))]
            return pages, [*_attached(pdf, source)]
        finally:
            pdf.close()


def _attached(pdf: Any, source: Source) -> Iterator[Found | Source]:
    """The files that a PDF carries, as portfolios do."""
    import pypdfium2 as pdfium
    import pypdfium2.raw as library

    left = source.max_bytes
    for number in range(pdf.count_attachments()):
        with suppress(pdfium.PdfiumError, UnicodeError):  # it has no content, or no name
            attachment = pdf.get_attachment(number)
            inner = source.inner(attachment.get_name(), b"")
            length = ctypes.c_ulong()
            library.FPDFAttachment_GetFile(attachment, None, 0, length)
            left -= length.value
            if left < 0:
                fault = too_large("more with the files before it", source.max_bytes)
                yield source.reject(fault.reason, fault.detail, place=inner.name)
            else:
                yield replace(inner, raw=bytes(attachment.get_data()))


def _read_page(pdf: Any, number: int) -> str | None:
    import pypdfium2 as pdfium
    import pypdfium2.raw as library

    try:
        page = pdf[number]
        try:
            is_form = _has_fields(page)
            if is_form or _is_typed_upon(page):  # which is drawn after all else of the page
                if (
                    library.FPDFPage_Flatten(page, library.FLAT_NORMALDISPLAY)
                    == library.FLATTEN_FAIL
                ):
                    return None
                page.close()
                page = pdf[number]
            text = (_text_of_form if is_form else _text_of)(page.get_textpage())
        finally:
            page.close()
    except pdfium.PdfiumError:
        return None
    lines = (line.rstrip() for line in text.replace("\r\n", "\n").split("\n"))
    text = mend_words("\n".join(lines)).strip()
    return "" if len(_NO_LETTER.findall(text)) > _MOST_GLYPHS * len(text) else text


def _has_fields(page: Any) -> bool:
    """Whether a page has fields that are filled in; a button and a signature are not."""
    import pypdfium2.raw as library

    if not page.formenv:
        return False
    filled = {
        library.FPDF_FORMFIELD_CHECKBOX,
        library.FPDF_FORMFIELD_RADIOBUTTON,
        library.FPDF_FORMFIELD_COMBOBOX,
        library.FPDF_FORMFIELD_LISTBOX,
        library.FPDF_FORMFIELD_TEXTFIELD,
    }
    kinds = _annotations(page, partial(library.FPDFAnnot_GetFormFieldType, page.formenv))
    return not filled.isdisjoint(kinds)


def _is_typed_upon(page: Any) -> bool:
    """Whether text was put upon a page, as who fills in a form without fields does."""
    import pypdfium2.raw as library

    kinds = _annotations(page, library.FPDFAnnot_GetSubtype)
    return not kinds.isdisjoint((library.FPDF_ANNOT_FREETEXT, library.FPDF_ANNOT_STAMP))


def _annotations(page: Any, kind_of: Callable[[Any], int]) -> set[int]:
    import pypdfium2.raw as library

    kinds = set()
    for number in range(library.FPDFPage_GetAnnotCount(page)):
        annotation = library.FPDFPage_GetAnnot(page, number)
        kinds.add(kind_of(annotation))
        library.FPDFPage_CloseAnnot(annotation)
    return kinds


def _text_of(page: Any) -> str:
    areas = reading_order(_boxes(page))
    if not areas:
        return str(page.get_text_range())
    texts = (page.get_text_bounded(*area).strip() for area in areas)
    return "\n".join(text for text in texts if text)


def _text_of_form(page: Any) -> str:
    lines = in_lines(_boxes(page))
    return "\n".join(
        " ".join(page.get_text_bounded(*box).strip() for box in line) for line in lines
    )


def _boxes(page: Any) -> list[Box]:
    return [page.get_rect(number) for number in range(page.count_rects())]


def mend_words(text: str) -> str:
    """Join words that were broken at line ends, and write ligatures as letters, bullets as bullets.

    A hyphen is kept where the word has it elsewhere in the text too.
    """
    text = text.translate(_WRITTEN)
    if _BROKEN_WORD not in text:
        return text

    def join(match: re.Match[str]) -> str:
        hyphened = f"{match[1]}-{match[2]}"
        return hyphened if hyphened in text else match[1] + match[2]

    return re.sub(rf"(\w+){_BROKEN_WORD}(\w+)", join, text).replace(_BROKEN_WORD, "")


def _ranges(numbers: Sequence[int]) -> str:
    """Page numbers, neighbours as a range: "pages 1-3, 5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"page{'s' if len(numbers) > 1 else ''} {', '.join(texts)}"
