"""PDF files: every page that can be read, and a line about each that cannot."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    DictionaryObject,
    FloatObject,
    NameObject,
    NullObject,
    PdfObject,
    StreamObject,
    TextStringObject,
)
from pypdfium2 import PdfAttachment
from reading import read, read_all

from aloft.corpus.readers.pdf import mend_words
from aloft.corpus.readers.pdf import read as read_pdf
from aloft.corpus.readers.source import Source
from aloft.records import Rejection


def pdf_with(text: str) -> bytes:
    """A PDF of one page with one line."""
    return pdf_with_lines([(20, 100, text)])


def pdf_with_lines(lines: Iterable[tuple[int, int, str]]) -> bytes:
    """A minimal PDF of one page, written object by object, with a right cross-reference table.

    Each line stands at its place, in points from the lower left corner.
    """
    stream = "\n".join(f"BT /F1 12 Tf {x} {y} Td ({text}) Tj ET" for x, y, text in lines).encode()
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + trailer


def locked_pdf() -> bytes:

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_with("secret"))))
    writer.encrypt(user_password="key", algorithm="RC4-40")
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def pages_with(*texts: str) -> PdfWriter:
    writer = PdfWriter()
    for text in texts:
        writer.append(io.BytesIO(pdf_with(text)))
    return writer


def raw_of(writer: PdfWriter) -> bytes:
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def form_with(
    lines: Iterable[tuple[int, int, str]],
    fields: Iterable[tuple[str, int, str]],
    annotation: str = "/Widget",
) -> bytes:
    """The PDF of `pdf_with_lines` with fields: their kinds, their heights, and what stands in them.

    What a field looks like is written beside the page's own text, as programs that fill in do.
    """

    def dictionary(**values: PdfObject) -> DictionaryObject:
        return DictionaryObject({NameObject(f"/{key}"): value for key, value in values.items()})

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_with_lines(lines))))
    page, added = writer.pages[0], ArrayObject()
    font = dictionary(Type=NameObject("/Font"), Subtype=NameObject("/Type1"))
    font[NameObject("/BaseFont")] = NameObject("/Helvetica")
    symbols = DictionaryObject({**font, NameObject("/BaseFont"): NameObject("/ZapfDingbats")})
    for kind, height, text in fields:
        look = StreamObject()
        face = "S" if kind == "/Btn" else "F"
        look.set_data(f"BT /{face} 12 Tf 1 4 Td ({text}) Tj ET".encode())
        fonts = dictionary(F=font, S=symbols)
        box = ArrayObject(map(FloatObject, (0, 0, 200, 16)))
        look.update(
            dictionary(Subtype=NameObject("/Form"), BBox=box, Resources=dictionary(Font=fonts))
        )
        place = ArrayObject(map(FloatObject, (160, height, 360, height + 16)))
        field = dictionary(
            Subtype=NameObject(annotation),
            FT=NameObject(kind),
            T=TextStringObject(f"field {height}"),
            Rect=place,
            AP=dictionary(N=writer._add_object(look)),
        )
        added.append(writer._add_object(field))
    page[NameObject("/Annots")] = added
    if annotation == "/Widget":
        writer._root_object[NameObject("/AcroForm")] = dictionary(Fields=added)
    return raw_of(writer)


def test_what_a_form_was_filled_in_with_stands_behind_its_label(tmp_path: Path) -> None:
    lines = [(20, 100, "Signed in Graz"), (20, 700, "Patient:"), (20, 660, "Fever:")]
    fields = [("/Btn", 656, "4"), ("/Tx", 696, "Maria Huber")]
    signed = form_with(lines, [("/Sig", 96, "by M. H.")])
    documents, _ = read(tmp_path, form__pdf=form_with(lines, fields), signed__pdf=signed)
    assert documents["form.pdf"].text == "Patient: Maria Huber\nFever: \u2714\nSigned in Graz"
    assert documents["signed.pdf"].text.splitlines()[0] == "Signed in Graz", "as it is drawn"


@pytest.mark.parametrize("annotation", ["/FreeText", "/Stamp"])
def test_what_was_typed_upon_a_page_stands_behind_its_text(tmp_path: Path, annotation: str) -> None:
    lines = [(20, 700, "Patient:"), (20, 660, "Ward:")]
    typed = [("/Tx", 696, "Maria Huber"), ("/Tx", 656, "6 B")]
    document = form_with(lines, typed, annotation)
    scan = form_with([], typed, annotation)
    documents, rejections = read(tmp_path, a__pdf=document, scan__pdf=scan)
    assert documents["a.pdf"].text == "Patient:\nWard:\nMaria Huber 6 B"
    assert documents["scan.pdf"].text == "Maria Huber 6 B"
    assert rejections == {}


def test_a_form_that_adobe_alone_shows_is_listed(tmp_path: Path) -> None:
    writer = pages_with("Please wait... If this message is not replaced, get another viewer.")
    form = DictionaryObject({NameObject("/Fields"): ArrayObject()})
    form[NameObject("/XFA")] = writer._add_object(StreamObject())
    writer._root_object[NameObject("/AcroForm")] = form
    static = raw_of(writer)
    writer._root_object[NameObject("/NeedsRendering")] = BooleanObject(True)
    documents, rejections = read(tmp_path, a__pdf=raw_of(writer), b__pdf=static)
    assert rejections["a.pdf"].reason == "XFA form"
    assert list(documents) == ["b.pdf"]


def test_files_that_a_pdf_carries_are_read_as_others_are(tmp_path: Path) -> None:
    writer = pages_with("Open this portfolio in Acrobat.")
    writer.add_attachment("fees.txt", b"The fee is 30 euros.")
    writer.add_attachment("inner.pdf", pdf_with("Signed by Mary"))
    writer.add_attachment("invoice.xml", b"<a/>")
    writer.add_attachment("nothing.txt", b"")
    documents, rejections = read(tmp_path, a__pdf=raw_of(writer))
    assert {name: one.text for name, one in documents.items()} == {
        "a.pdf": "Open this portfolio in Acrobat.",
        "a.pdf#fees.txt": "The fee is 30 euros.",
        "a.pdf#inner.pdf": "Signed by Mary",
    }
    assert rejections["a.pdf#invoice.xml"].reason == "not a kind Aloft reads"


def test_attached_files_are_read_where_pages_hold_no_text(tmp_path: Path) -> None:
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    writer.add_attachment("fees.txt", b"The fee is 30 euros.")
    documents, rejections = read(tmp_path, a__pdf=raw_of(writer))
    assert [*documents] == ["a.pdf#fees.txt"]
    assert rejections["a.pdf"].reason == "no text in the PDF"


def test_attached_files_unpack_to_no_more_than_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied: list[str] = []
    copy = PdfAttachment.get_data

    def count(one: PdfAttachment) -> Any:
        copied.append(one.get_name())
        return copy(one)

    monkeypatch.setattr(PdfAttachment, "get_data", count)
    writer = pages_with("Open this portfolio in Acrobat.")
    writer.add_attachment("a.txt", b"a" * 60)
    writer.add_attachment("b.txt", b"b" * 60)
    *_, one, other = read_pdf(Source(name="a.pdf", raw=raw_of(writer), max_bytes=100))
    assert isinstance(one, Source)
    assert one.raw == b"a" * 60
    assert isinstance(other, tuple)
    place, rejection = other
    assert place == "a.pdf#b.txt"
    assert copied == ["a.txt"]
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "too large"


def test_pages_follow_one_another(tmp_path: Path) -> None:
    documents, rejections = read(tmp_path, a__pdf=raw_of(pages_with("High water", "Low water")))
    assert documents["a.pdf"].text == "High water\n\nLow water"
    assert rejections == {}


def test_what_holds_no_text_or_cannot_be_opened_is_listed(tmp_path: Path) -> None:
    documents, rejections = read(
        tmp_path,
        good__pdf=pdf_with("High water at noon"),
        broken__pdf=pdf_with("x")[:60],
        locked__pdf=locked_pdf(),
        blank__pdf=pdf_with(""),
    )
    assert {name: one.text for name, one in documents.items()} == {"good.pdf": "High water at noon"}
    assert {name: one.reason for name, one in rejections.items()} == {
        "broken.pdf": "unreadable PDF",
        "locked.pdf": "encrypted PDF",
        "blank.pdf": "no text in the PDF",
    }


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
def test_a_pdf_that_opens_without_a_password_is_read(tmp_path: Path, algorithm: str) -> None:
    writer = pages_with("Applications for a parking permit")
    writer.encrypt(user_password="", owner_password="owner", algorithm=algorithm)
    documents, _ = read(tmp_path, a__pdf=raw_of(writer))
    assert documents["a.pdf"].text == "Applications for a parking permit"


@pytest.mark.parametrize("algorithm", ["RC4-40", "AES-256"])
def test_a_pdf_that_needs_a_password_says_so(tmp_path: Path, algorithm: str) -> None:
    writer = pages_with("secret")
    writer.encrypt(user_password="user", owner_password="owner", algorithm=algorithm)
    _, rejections = read(tmp_path, a__pdf=raw_of(writer), b__txt="text")
    assert rejections["a.pdf"].reason == "encrypted PDF"
    assert "needs a password" in rejections["a.pdf"].detail


def test_pages_without_text_are_named(tmp_path: Path) -> None:
    texts = [""] * 10
    texts[3] = "The only page with text"
    documents, rejections = read(tmp_path, a__pdf=raw_of(pages_with(*texts)))
    assert documents["a.pdf"].text == "The only page with text"
    rejection = rejections["a.pdf#pages 1-3, 5-10"]
    assert rejection.reason == "page without text"
    assert rejection.detail.startswith("9 of 10 pages; ")


def test_a_page_in_a_font_that_does_not_say_its_letters_is_named(tmp_path: Path) -> None:
    garbled = r"7KH\001IHUU\\\001VDLOV\001DW\001QLQH"  # each letter by its place in the font
    legible = "The ferry sails at nine."
    raw = raw_of(pages_with(legible, garbled))
    documents, rejections = read(tmp_path, a__pdf=raw, b__pdf=pdf_with(garbled))
    assert {name: one.text for name, one in documents.items()} == {"a.pdf": legible}
    assert rejections["a.pdf#page 2"].reason == "page without text"
    assert "font" in rejections["a.pdf#page 2"].detail
    assert rejections["b.pdf"].reason == "no text in the PDF"


def test_a_malformed_page_costs_itself_alone(tmp_path: Path) -> None:
    writer = pages_with("page one", "page two", "page three", "page four")
    writer.pages[2][NameObject("/Contents")] = TextStringObject("no stream")
    kids = writer.root_object["/Pages"]["/Kids"]
    kids[1] = NullObject()
    (tmp_path / "a.pdf").write_bytes(raw_of(writer))
    (document,), rejections = read_all(tmp_path)
    assert document.text == "page one\n\npage four"
    assert [(one.subject_id, one.reason) for one in rejections] == [
        ("a.pdf#page 2", "unreadable page"),
        ("a.pdf#page 3", "page without text"),
    ]


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a lib\uffferary of func\ufffetions", "a library of functions"),
        ("open\ufffesource, and open-source", "open-source, and open-source"),
        ("at the end\ufffe", "at the end"),
        ("as it is", "as it is"),
        ("o\ufb03ce, \ufb01nd, \ufb02ow", "office, find, flow"),
        ("\uf0b7 one\n\uf0a7 two", "• one\n• two"),
    ],
)
def test_words_that_lines_broke_are_whole_again(text: str, mended: str) -> None:
    assert mend_words(text) == mended


def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    lines = [(40, 760, "The heading of the page stands across both of the columns of its text")]
    for number in range(10, 20):
        y = 940 - 20 * number
        lines += [
            (40, y, f"first {number} has a line of words"),
            (320, y, f"second {number} has others"),
        ]
    documents, _ = read(tmp_path, a__pdf=pdf_with_lines(lines))
    assert documents["a.pdf"].text.split("\n") == [
        lines[0][2],
        *(f"first {number} has a line of words" for number in range(10, 20)),
        *(f"second {number} has others" for number in range(10, 20)),
    ]


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    ports = [
        "Oban",
        "Bute",
        "Port of the northern islands",
        "Iona",
        "Mull",
        "Coll",
        "Tiree",
        "Skye",
    ]
    lines = []
    for number, port in enumerate(ports):
        y = 700 - 20 * number
        lines += [(40, y, port), (320, y, f"{number} metres")]
    documents, _ = read(tmp_path, a__pdf=pdf_with_lines(lines))
    assert documents["a.pdf"].text.split("\n") == [
        f"{port} {number} metres" for number, port in enumerate(ports)
    ]
