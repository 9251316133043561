"""PowerPoint, Excel, EPUB and e-mail: what their readers would see."""

import base64
import codecs
import datetime
import io
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from docx import Document as Docx
from openpyxl import Workbook
from openpyxl.chart import BarChart
from pptx import Presentation
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.enum.shapes import PROG_ID
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls
from pptx.util import Inches
from reading import read, read_all

from aloft.config import DocumentsConfig
from aloft.records import Document


def test_slides_are_read_in_order_with_tables_groups_and_notes(tmp_path: Path) -> None:
    show = Presentation()
    first = show.slides.add_slide(show.slide_layouts[0])
    first.shapes.title.text = "Travel  claims"
    first.placeholders[1].text = "Rules of 2024\nfor all offices"
    second = show.slides.add_slide(show.slide_layouts[5])
    second.shapes.title.text = "Rates"
    table = second.shapes.add_table(2, 2, 0, 0, Inches(3), Inches(1)).table
    for place, text in enumerate(("kind", "cents", "car", "30")):
        table.cell(place // 2, place % 2).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "in a group"
    second.notes_slide.notes_text_frame.text = "Say that trains come first."
    show.save(str(tmp_path / "a.pptx"))
    (document,), rejections = read_all(tmp_path)
    assert document.title == "Travel claims"
    assert document.text == (
        "Travel  claims\n\nRules of 2024\nfor all offices\n\nRates\n\nkind | cents\ncar | 30\n\n"
        "in a group\n\nSay that trains come first."
    )
    assert rejections == []


def test_slides_in_sections_are_read_once_and_those_that_are_missing_are_listed(
    tmp_path: Path,
) -> None:
    show = Presentation()
    for text in ("First", "Second", "Third"):
        show.slides.add_slide(show.slide_layouts[5]).shapes.title.text = text
    sections = (
        f'<p:extLst {nsdecls("p")} xmlns:s="http://schemas.microsoft.com/office/powerpoint/2010/main">'
        '<p:ext uri="{521415D9-36F7-43E2-AB2F-B90AF26B5E84}"><s:sectionLst><s:section name="All" '
        'id="{9A2C5D31-7A51-4E0B-9E5D-3B1C8F6E2A10}"><s:sldIdLst><s:sldId id="256"/>'
        '<s:sldId id="257"/></s:sldIdLst></s:section></s:sectionLst></p:ext></p:extLst>'
    )
    show.part._element.append(parse_xml(sections))
    show.save(str(tmp_path / "a.pptx"))
    show.slides._sldIdLst[1].rId = "rId999"
    show.save(str(tmp_path / "b.pptx"))
    documents, rejections = read(tmp_path)
    assert documents["a.pptx"].text == "First\n\nSecond\n\nThird"
    assert documents["b.pptx"].text == "First\n\nThird"
    assert [one.subject_id for one in rejections.values()] == ["b.pptx#slide 2"]


def save(book: Workbook) -> bytes:
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def test_a_damaged_row_number_is_not_filled_up_with_empty_rows(tmp_path: Path) -> None:
    book, damaged = Workbook(), io.BytesIO()
    for row in (["name", "fee"], ["permit", 30], ["berth", 40]):
        book.active.append(row)
    with zipfile.ZipFile(io.BytesIO(save(book))) as whole, zipfile.ZipFile(damaged, "w") as broken:
        for part in whole.namelist():
            content = whole.read(part).replace(b'<row r="3"', b'<row r="99999999999"')
            broken.writestr(part, content)
    documents, _ = read(tmp_path, a__xlsx=damaged.getvalue())
    assert [one.text for one in documents.values()] == ["name: permit\nfee: 30"]


def test_rows_of_a_sheet_are_read_as_rows_of_a_csv(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    sheet.append(["Ferries of the north"])
    sheet.append([])
    sheet.append(["Port", "Depth", "Since", "Open"])
    sheet.append(["Oban", 12.0, datetime.date(2024, 5, 1), True])
    sheet.append(["Bute", 9.25, datetime.datetime(2024, 5, 1, 9, 30), None, "a remark"])
    book.create_sheet("Lists").sheet_state = "hidden"
    documents, rejections = read(tmp_path, a__xlsx=save(book))
    assert list(documents.values()) == [
        Document(
            id="a.xlsx#Sheet!4",
            title="Ferries of the north",
            text="Port: Oban\nDepth: 12\nSince: 2024-05-01\nOpen: TRUE",
        ),
        Document(
            id="a.xlsx#Sheet!5",
            title="Ferries of the north",
            text="Port: Bute\nDepth: 9.25\nSince: 2024-05-01 09:30\na remark",
        ),
    ]
    assert [(name, one.reason) for name, one in rejections.items()] == [
        ("a.xlsx#Lists", "hidden sheet")
    ]


def test_a_sheet_with_a_text_column_gives_texts(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["id", "Title", "Text"])
    book.active.append(["k", "T", "some text"])
    book.active.append(["m", "T", None])
    documents, rejections = read(tmp_path, a__xlsx=save(book))
    assert list(documents.values()) == [Document(id="k", title="T", text="some text")]
    assert rejections["a.xlsx#Sheet!3"].reason == "empty"


def test_a_header_may_name_no_first_column(tmp_path: Path) -> None:
    book = Workbook()
    for row in ([None, "fare"], [0, "five"], [1, "six"]):  # as pandas writes an index
        book.active.append(row)
    documents, _ = read(tmp_path, a__xlsx=save(book))
    assert [one.text for one in documents.values()] == ["0\nfare: five", "1\nfare: six"]


def test_a_cell_far_out_costs_no_time(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["a", "b"])
    book.active["XFD9"] = "far"
    book.active["B1048576"] = "low"
    documents, _ = read(tmp_path, a__xlsx=save(book))
    assert [one.text for one in documents.values()] == ["far", "b: low"]


def book_of(
    chapters: dict[str, str],
    extra: dict[str, str] | None = None,
    kind: str = "application/xhtml+xml",
    title: str = "The ferry",
) -> bytes:
    """An EPUB; the chapters are read in the order given."""
    items = "".join(
        f'<item id="c{number}" href="{name}" media-type="{kind}"/>'
        for number, name in sorted(enumerate(chapters), reverse=True)
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    parts = {
        "META-INF/container.xml": (
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
        ),
        "OPS/book.opf": (
            '<package xmlns="http://www.idpf.org/2007/opf" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
            f"<dc:title>{title}</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
        ),
        **{f"OPS/{name.replace('%20', ' ')}": text for name, text in chapters.items()},
        **(extra or {}),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_an_old_book_is_read(tmp_path: Path) -> None:
    book = book_of({"a.html": "<p>First.</p>"}, kind="text/x-oeb1-document")
    documents, _ = read(tmp_path, a__epub=book)
    assert documents["a.epub"].text == "First."


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    chapters = {"z one.xhtml": "", "text/a.xhtml": "<html><body><p>Second.</p></body></html>"}
    chapters = {"z%20one.xhtml": "<?xml version='1.0'?><html><p>First.</p></html>", **chapters}
    del chapters["z one.xhtml"]
    documents, rejections = read(tmp_path, a__epub=book_of(chapters))
    assert documents["a.epub"] == Document(id="a.epub", title="The ferry", text="First.\n\nSecond.")
    assert rejections == {}


@pytest.mark.parametrize(
    ("stated", "title"),
    [
        ("Salt & Wind", "Salt & Wind"),
        ("A&B;C &amp; &#233;", "A&B;C & \u00e9"),
        ("Caf&eacute;&nbsp;Nord", "Caf\u00e9 Nord"),
        ('Tides</dc:title><meta opf:role="aut"/><dc:title>', "Tides"),
    ],
    ids=["bare", "unknown", "html", "prefix"],
)
def test_a_book_whose_contents_are_not_quite_xml_is_read(
    tmp_path: Path, stated: str, title: str
) -> None:
    chapters = {"a&b.xhtml": "<p>First.</p>", "c.xhtml": "<p>Second.</p>"}
    documents, rejections = read(tmp_path, a__epub=book_of(chapters, title=stated))
    assert documents["a.epub"] == Document(id="a.epub", title=title, text="First.\n\nSecond.")
    assert rejections == {}


def test_a_book_without_contents_is_listed(tmp_path: Path) -> None:
    raw = book_of({"a.xhtml": "<p>First.</p>"}, {"OPS/book.opf": "not XML"})
    _, rejections = read(tmp_path, a__epub=raw, b__txt="text")
    assert "OPS/book.opf holds no XML" in rejections["a.epub"].detail


def test_a_chapter_that_is_missing_is_listed(tmp_path: Path) -> None:
    raw = book_of({"a.xhtml": "<p>Here.</p>", "b.xhtml": "<p>Gone.</p>"}).replace(
        b"OPS/b.xhtml", b"OPS/x.xhtml"
    )
    documents, rejections = read(tmp_path, a__epub=raw)
    assert documents["a.epub"].text == "Here."
    assert list(rejections) == ["a.epub#OPS/b.xhtml"]


def test_a_protected_book_says_so(tmp_path: Path) -> None:
    locked = '<encryption><CipherReference URI="OPS/a.xhtml"/></encryption>'
    raw = book_of({"a.xhtml": "<p>Text</p>"}, {"META-INF/encryption.xml": locked})
    _, rejections = read(tmp_path, a__epub=raw, b__txt="text")
    assert rejections["a.epub"].reason == "encrypted EPUB"


@pytest.mark.parametrize("kind", ["xlsx", "epub"])
def test_what_unpacks_to_more_than_the_limit_is_listed(tmp_path: Path, kind: str) -> None:
    if kind == "epub":
        raw = book_of({"a.xhtml": "<p>x</p>" * 300_000})
    else:
        book = Workbook()
        for _ in range(12_000):
            book.active.append([1.5, 2.5])
        raw = save(book)
    (tmp_path / f"a.{kind}").write_bytes(raw)
    (tmp_path / "b.txt").write_text("text")
    assert len(raw) < 1_000_000
    _, rejections = read_all(tmp_path, DocumentsConfig(max_megabytes=1))
    assert [one.reason for one in rejections] == ["too large"]


def test_office_files_with_macros_are_read_as_those_without(tmp_path: Path) -> None:
    show, text, sheet = io.BytesIO(), io.BytesIO(), Workbook()
    slides = Presentation()
    slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "Travel claims"
    slides.save(show)
    letter = Docx()
    letter.add_paragraph("Claims are due in May.")
    letter.save(text)
    sheet.active.append(["kind", "cents"])
    sheet.active.append(["car", 30])
    files = {"a__pptm": show.getvalue(), "a__docm": text.getvalue(), "a__xlsm": save(sheet)}
    documents, rejections = read(tmp_path, **files)
    assert {name: one.text for name, one in documents.items()} == {
        "a.pptm": "Travel claims",
        "a.docm": "Claims are due in May.",
        "a.xlsm#Sheet!2": "kind: car\ncents: 30",
    }
    assert rejections == {}


def message(text: str, charset: str = "utf-8") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = "Fähre nach Bute"
    mail["From"] = "Ann Reed <ann@example.org>"
    mail["To"] = "desk@example.org"
    mail["Date"] = "Thu, 02 May 2024 09:00:00 +0000"
    mail.set_content(text, charset=charset)
    return mail


HEAD = (
    "From: Ann Reed <ann@example.org>\nTo: desk@example.org\nDate: Thu, 02 May 2024 09:00:00 +0000"
)


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "cp1252"])
def test_a_message_is_read_with_its_head(tmp_path: Path, charset: str) -> None:
    documents, _ = read(tmp_path, a__eml=message("Sie fährt täglich.", charset).as_bytes())
    assert documents["a.eml"] == Document(
        id="a.eml", title="Fähre nach Bute", text=f"{HEAD}\n\nSie fährt täglich."
    )


def test_a_japanese_message_is_read(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__eml=message("休暇の申請", "iso-2022-jp").as_bytes())
    assert documents["a.eml"].text.endswith("\n\n休暇の申請")


def test_of_two_versions_one_is_read_and_never_a_stub(tmp_path: Path) -> None:
    page = "<html><body><p>The ferry <b>sails</b> daily at nine.</p></body></html>"
    both, stub, alone = (message(text) for text in ("It sails daily at nine.", "See HTML", "x"))
    both.add_alternative(page, subtype="html")
    stub.add_alternative(page, subtype="html")
    alone.set_content(page, subtype="html")
    documents, _ = read(
        tmp_path, a__eml=both.as_bytes(), b__eml=stub.as_bytes(), c__eml=alone.as_bytes()
    )
    texts = [one.text.removeprefix(HEAD).strip() for one in documents.values()]
    sails = "The ferry sails daily at nine."
    assert texts == ["It sails daily at nine.", sails, sails]


def test_attachments_are_read_as_files_are(tmp_path: Path) -> None:
    mail = message("See the table.")
    mail.add_attachment(b"port\nOban\n", maintype="text", subtype="csv", filename="ports.csv")
    mail.add_attachment(b"?", maintype="application", subtype="zip", filename="a.zip")
    mail.add_attachment(message("An earlier message."))
    for _ in range(2):
        mail.add_attachment("A note", filename="note.txt")
    documents, rejections = read(tmp_path, a__eml=mail.as_bytes())
    assert {name: one.text.removeprefix(HEAD).strip() for name, one in documents.items()} == {
        "a.eml": "See the table.",
        "a.eml#ports.csv#1": "port: Oban",
        "a.eml#Fähre nach Bute.eml": "An earlier message.",
        "a.eml#note.txt": "A note",
        "a.eml#2 note.txt": "A note",
    }
    assert {name: one.reason for name, one in rejections.items()} == {
        "a.eml#a.zip": "not a kind Aloft reads"
    }


def test_messages_in_messages_end(tmp_path: Path) -> None:
    mail = message("level 0")
    for level in range(1, 7):
        outer = message(f"level {level}")
        outer.add_attachment(mail)
        mail = outer
    documents, rejections = read(tmp_path, a__eml=mail.as_bytes())
    assert len(documents) == 4
    assert [one.reason for one in rejections.values()] == ["nested too deep"]


def test_a_slide_that_is_broken_is_listed_and_cells_that_span_rows_are_in_each(
    tmp_path: Path,
) -> None:
    show = Presentation()
    for text in ("First", "Second"):
        slide = show.slides.add_slide(show.slide_layouts[5])
        slide.shapes.title.text = text
    table = slide.shapes.add_table(3, 2, 0, 0, 100, 100).table
    table.cell(0, 0).merge(table.cell(1, 0))
    for row, texts in enumerate([("North", "A"), ("", "B"), ("South", "C")]):
        for column, text in enumerate(texts):
            if text:
                table.cell(row, column).text = text
    stream = io.BytesIO()
    show.save(stream)
    damaged = io.BytesIO()
    with zipfile.ZipFile(stream) as whole, zipfile.ZipFile(damaged, "w") as broken:
        for name in whole.namelist():
            is_first = name == "ppt/slides/slide1.xml"
            broken.writestr(name, b"<p:sld" if is_first else whole.read(name))
    documents, rejections = read(tmp_path, a__pptx=damaged.getvalue())
    assert documents["a.pptx"].text == "Second\n\nNorth | A\nNorth | B\nSouth | C"
    assert rejections["a.pptx#slide 1"].reason == "unreadable PPTX"


def test_control_characters_that_excel_writes_out_are_no_text(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["a", "b"])
    book.active.append(["first_x000D_\nsecond", 1])
    documents, _ = read(tmp_path, a__xlsx=save(book))
    assert documents["a.xlsx#Sheet!2"].text == "a: first\nsecond\nb: 1"


def test_heads_in_other_encodings_and_behind_marks_are_read(tmp_path: Path) -> None:
    head = "From: Jörg Müller\nSubject: Kündigung über Prüfung\n\n"
    body = "Die Gebühr für den Führerschein beträgt neun Euro. " * 3
    documents, rejections = read(
        tmp_path,
        a__eml=(head + body).encode("cp1252"),
        b__eml=codecs.BOM_UTF8 + (head + body).encode(),
        c__eml=b"\r\n" + head.replace("\n", "\r\n").encode() + b"Hello.",
        d__eml="Subject: Note\n\nGrüße, J".encode("cp1252"),
    )
    for name in ("a.eml", "b.eml", "c.eml"):
        assert documents[name].title == "Kündigung über Prüfung"
        assert "Jörg Müller" in documents[name].text
    assert body.strip() in documents["a.eml"].text
    assert rejections["d.eml"].reason == "not UTF-8"


@pytest.mark.parametrize("address", ["Jörg <a@", "ward@[7"])
def test_a_head_that_is_malformed_costs_no_message(tmp_path: Path, address: str) -> None:
    head = f"Subject: Keys\nFrom: {address}\nCc: =?utf-8?q?Caf=C3=A9?= <b@\n\n"
    outer = b"Subject: Fwd\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nSee below.\n"
    outer += b"--x\nContent-Type: message/rfc822\n\n" + head.encode() + b"At the desk.\n--x--\n"
    documents, rejections = read(tmp_path, a__eml=head.encode() + b"At the desk.", b__eml=outer)
    assert rejections == {}
    assert documents["a.eml"].text == f"From: {address}\nCc: Café <b@\n\nAt the desk."
    assert documents["b.eml"].text == "See below."
    assert documents["b.eml#Keys.eml"].text == documents["a.eml"].text


def test_no_part_of_a_message_is_left_without_a_line(tmp_path: Path) -> None:
    made = message("See below.")
    for subtype, text in (("x-patch", "+ a line"), ("calendar", "BEGIN:VCALENDAR")):
        made.add_attachment(text, subtype=subtype, disposition="inline")
    documents, rejections = read(tmp_path, a__eml=made.as_bytes())
    assert "+ a line" in documents["a.eml"].text
    assert "a.eml#part.ics" in rejections


def test_a_cell_that_spans_rows_is_in_each_of_them(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    rows = [
        ("region", "zone"),
        ("North", "A"),
        (None, "B"),
        (None, "C"),
        ("South", "D"),
        (None, "E"),
    ]
    for row in rows:
        sheet.append(row)
    sheet.merge_cells("A2:A4")
    sheet.merge_cells("B5:C5")  # beside one another: given once
    documents, _ = read(tmp_path, a__xlsx=save(book))
    texts = [documents[f"a.xlsx#Sheet!{number}"].text for number in range(2, 7)]
    assert texts == [
        *(f"region: North\nzone: {zone}" for zone in "ABC"),
        *("region: South\nzone: D", "zone: E"),
    ]


def test_a_header_in_two_rows_names_groups_of_columns(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    for row in [
        ("Ports of 2024", None, None),
        ("region", "depth", None),
        (None, "low", "high"),
        ("North", 1, 2),
        ("South", 3, 4),
    ]:
        sheet.append(row)
    sheet.merge_cells("A1:C1")
    sheet.merge_cells("A2:A3")
    sheet.merge_cells("B2:C2")
    documents, rejections = read(tmp_path, a__xlsx=save(book))
    assert [(one.title, one.text) for one in documents.values()] == [
        ("Ports of 2024", "region: North\ndepth low: 1\ndepth high: 2"),
        ("Ports of 2024", "region: South\ndepth low: 3\ndepth high: 4"),
    ]
    assert rejections == {}


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (0.0825, "0.00%", "8.25%"),
        (12, "General", "12"),
        (1_234_567_890_123_456, "General", "1234567890123456"),
        (1e15, "0", "1000000000000000"),
        (1.5e300, "General", "1.5e+300"),
        (1234.567, "#,##0.00", "1234.567"),
        (1234.5, "_-* #,##0.00\\ [$€-407]_-;-* #,##0.00", "1234.5 €"),
        (-5, '[Red]"EUR" 0', "EUR -5"),
        (70, '0.0 "kg per m"', "70 kg per m"),
        (0.5, "# ?/?", "0.5"),
        (12_345, '#,##0,"k"', "12345"),
        (3, "@", "3"),
        (1234, "00000", "01234"),
        (-7.5, '"P-"000.00', "P--007.5"),
        (5, "0E+00", "5"),
        (datetime.timedelta(hours=26, minutes=30), "[h]:mm", "26:30"),
        (-0.5, "[h]:mm", "-12:00"),
        (datetime.timedelta(seconds=3725), "[h]:mm:ss", "1:02:05"),
    ],
)
def test_a_number_is_written_as_its_format_shows(
    tmp_path: Path, value: float | datetime.timedelta, number_format: str, text: str
) -> None:
    book = Workbook()
    book.active.append(("name", "amount"))
    book.active.append(("x", value))
    book.active["B2"].number_format = number_format
    documents, _ = read(tmp_path, a__xlsx=save(book))
    assert documents["a.xlsx#Sheet!2"].text == f"name: x\namount: {text}"


def test_facts_above_a_table_are_not_its_header(tmp_path: Path) -> None:
    book = Workbook()
    for row in (
        *(("Fares",), ("Date", datetime.date(2024, 5, 1)), ("By", "Ann"), ()),
        *(("Port", "Fare", "Boats", "Since"), ("Oban", 5, 2, 1881), ("Bute", 6, 1, 1900)),
    ):
        book.active.append(row)
    documents, _ = read(tmp_path, a__xlsx=save(book))
    assert [one.text for one in documents.values()] == [
        "Port: Oban\nFare: 5\nBoats: 2\nSince: 1881",
        "Port: Bute\nFare: 6\nBoats: 1\nSince: 1900",
    ]
    assert documents["a.xlsx#Sheet!6"].title == "Fares Date 2024-05-01 By Ann"


def test_tables_one_below_the_other_keep_their_own_columns(tmp_path: Path) -> None:
    book = Workbook()
    for row in (
        *(("Port", "Fare"), ("Oban", 5), ("Bute", "n/a"), (), ("Mull", 6), ("Coll", 7), ()),
        *(("Boats",), ("Name", "Berths", "Since"), ("Isis", 40, 1990), ("Juno", 30, None), ()),
        *(("Note", "by Ann"), ("and", "more")),
    ):
        book.active.append(row)
    documents, _ = read(tmp_path, a__xlsx=save(book))
    assert [one.text for one in documents.values()] == [
        *("Port: Oban\nFare: 5", "Port: Bute\nFare: n/a"),
        *("Port: Mull\nFare: 6", "Port: Coll\nFare: 7"),
        *("Name: Isis\nBerths: 40\nSince: 1990", "Name: Juno\nBerths: 30"),
        *("Name: Note\nBerths: by Ann", "Name: and\nBerths: more"),
    ]
    assert documents["a.xlsx#Sheet!10"].title == "Boats"


def test_no_sheet_with_text_is_left_without_a_line(tmp_path: Path) -> None:
    book = Workbook()
    book.active["B3"] = "All prices are without VAT."
    book.create_sheet("Rates").append(("kind", "cents"))
    book.create_sheet("Empty")
    documents, rejections = read(tmp_path, a__xlsx=save(book))
    assert documents["a.xlsx#Sheet!3"].text == "All prices are without VAT."
    assert {place: one.reason for place, one in rejections.items()} == {"a.xlsx#Rates": "empty"}


def test_files_that_slides_and_sheets_embed_are_read(tmp_path: Path) -> None:
    memo = Docx()
    memo.add_paragraph("The pier is short.")
    raw = io.BytesIO()
    memo.save(raw)
    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Piers"
    slide.shapes.add_ole_object(raw, PROG_ID.DOCX, 0, 0)
    show.save(str(tmp_path / "a.pptx"))
    book = Workbook()
    for row in (("kind", "cents"), ("car", 30)):
        book.active.append(row)
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
        'relationships/package" Target="../embeddings/memo.docx"/></Relationships>'
    )
    saved = io.BytesIO(save(book))
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("xl/worksheets/_rels/sheet1.xml.rels", relations)
        archive.writestr("xl/embeddings/memo.docx", raw.getvalue())
    documents, rejections = read(tmp_path, b__xlsx=saved.getvalue())
    texts = {name.rpartition("/")[2]: one.text for name, one in documents.items()}
    assert texts.pop("memo.docx") == "The pier is short."
    (embedded,) = [text for name, text in texts.items() if name.endswith(".docx")]
    assert embedded == "The pier is short."
    assert documents["a.pptx"].text == "Piers"
    assert rejections == {}


def test_text_boxes_of_a_sheet_are_read(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(("town", "fare"))
    book.active.append(("Oban", 5))
    book.active.add_chart(BarChart(), "D1")
    box = (
        b"<xdr:sp xmlns:xdr='http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing' "
        b"xmlns:a='http://schemas.openxmlformats.org/drawingml/2006/main'><xdr:txBody><a:p><a:r>"
        b"<a:t>Children go free.</a:t></a:r></a:p></xdr:txBody></xdr:sp>"
    )
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(save(book))) as before, zipfile.ZipFile(changed, "w") as copy:
        for name in before.namelist():
            raw = before.read(name)
            end = raw.rfind(b"</") if name == "xl/drawings/drawing1.xml" else len(raw)
            copy.writestr(name, raw[:end] + box * (end < len(raw)) + raw[end:])
    documents, rejections = read(tmp_path, a__xlsx=changed.getvalue())
    assert documents["a.xlsx#Sheet!text boxes"].text == "Children go free."
    assert documents["a.xlsx#Sheet!2"].text == "town: Oban\nfare: 5"
    assert rejections == {}


def test_a_workbook_of_strict_open_xml_says_how_to_save_it(tmp_path: Path) -> None:
    strict = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(save(Workbook()))) as book,
        zipfile.ZipFile(strict, "w") as copy,
    ):
        for name in book.namelist():
            raw = book.read(name)
            for language in (b"spreadsheetml", b"officeDocument"):
                usual = b"schemas.openxmlformats.org/" + language + b"/2006"
                raw = raw.replace(usual, b"purl.oclc.org/ooxml/" + language)
            copy.writestr(name, raw)
    _, rejections = read(tmp_path, a__xlsx=strict.getvalue(), b__txt="Some text.")
    assert "Strict Open XML" in rejections["a.xlsx"].detail


def test_charts_are_read_with_their_figures(tmp_path: Path) -> None:
    figures = CategoryChartData(number_format="0%")
    figures.categories = ["North", "South"]
    figures.add_series("2023", (0.25, 0.5))
    figures.add_series("2024", (0.3, None))
    points = XyChartData()
    points.add_series("depth").add_data_point(1, 2.5)
    show = Presentation()
    shapes = show.slides.add_slide(show.slide_layouts[6]).shapes
    place = (Inches(1),) * 4
    chart = shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *place, figures).chart
    chart.has_title = chart.value_axis.has_title = True
    chart.chart_title.text_frame.text = "Ships"
    chart.value_axis.axis_title.text_frame.text = "of all berths"
    shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, *place, points)
    documents, _ = read(tmp_path, a__pptx=save(show))
    shown = "Ships\nof all berths\n| 2023 | 2024\nNorth | 25% | 30%\nSouth | 50% |"
    assert documents["a.pptx"].text == f"{shown}\n\n| depth\n1 | 2.5"


def test_formulas_without_a_value_are_listed(tmp_path: Path) -> None:
    book = Workbook()
    for row in (["Port", "Fare", "Sum"], ["Oban", 5, "=B2*3"], ["Bute", 6, "=B3*3"]):
        book.active.append(row)
    plain = book.create_sheet("Plain")
    plain.append(["a note", "b"])
    plain.append(["c", "d"])
    raw = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(save(book))) as saved, zipfile.ZipFile(raw, "w") as calculated:
        for name in saved.namelist():
            part = saved.read(name).replace(b"<f>B2*3</f><v></v>", b"<f>B2*3</f><v>15</v>")
            part = part.replace(b'<c r="C3"><f>B3*3</f>', b'<c r="C3" t="str"><f>""</f>')
            calculated.writestr(name, part)
    documents, rejections = read(tmp_path, a__xlsx=save(book), b__xlsx=raw.getvalue())
    assert documents["a.xlsx#Sheet!2"].text == "Port: Oban\nFare: 5"
    assert documents["b.xlsx#Sheet!2"].text == "Port: Oban\nFare: 5\nSum: 15"
    assert [(one.subject_id, one.detail) for one in rejections.values()] == [
        ("a.xlsx#Sheet", "2 of them (C2, C3); open the file in Excel and save it")
    ]


def test_a_sheet_that_is_broken_costs_itself_alone(tmp_path: Path) -> None:
    book = Workbook()
    for sheet in (book.active, book.create_sheet("Broken"), book.create_sheet("Last")):
        sheet.append(["Port", "Fare"])
        sheet.append(["Oban", 5])
    damaged = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(save(book))) as whole, zipfile.ZipFile(damaged, "w") as broken:
        for name in whole.namelist():
            is_second = name == "xl/worksheets/sheet2.xml"
            broken.writestr(name, whole.read(name)[: -30 if is_second else None])
    documents, rejections = read(tmp_path, a__xlsx=damaged.getvalue())
    assert list(documents) == ["a.xlsx#Sheet!2", "a.xlsx#Last!2"]
    assert rejections["a.xlsx#Broken"].reason == "unreadable XLSX"


def test_paragraphs_of_slides_have_their_automatic_numbers(tmp_path: Path) -> None:
    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[6])
    for paragraphs, style in (
        (
            [
                ("one", 0, "arabicPeriod", ""),
                ("first", 1, "alphaLcParenR", ""),
                ("second", 1, "alphaLcParenR", ""),
                ("", 0, "", ""),
                ("two", 0, "arabicPeriod", ""),
                ("first again", 1, "alphaLcParenR", ""),
                ("plain", 0, "", ""),
                ("one again", 0, "arabicPeriod", ""),
                ("fourth", 0, "romanUcParenBoth", 'startAt="4"'),
                ("fifth", 0, "romanUcParenBoth", 'startAt="4"'),
                ("circled", 0, "circleNumDbPlain", 'startAt="x"'),
            ],
            "",
        ),
        ([("by the box", 1, "", "")], '<a:lvl2pPr><a:buAutoNum type="arabicPlain"/></a:lvl2pPr>'),
    ):
        body = slide.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame._txBody
        xml = "".join(
            f'<a:p><a:pPr lvl="{level}">'
            + (f'<a:buAutoNum type="{kind}" {start}/>' if kind else "")
            + f"</a:pPr><a:r><a:t>{text}</a:t></a:r></a:p>"
            for text, level, kind, start in paragraphs
        )
        made = parse_xml(f"<a:x {nsdecls('a')}><a:lstStyle>{style}</a:lstStyle>{xml}</a:x>")
        body[1:] = made[:]
    documents, _ = read(tmp_path, a__pptx=save(show))
    assert documents["a.pptx"].text == (
        "1. one\na) first\nb) second\n2. two\na) first again\nplain\n1. one again\n(IV) fourth\n"
        "(V) fifth\n1 circled\n\n1 by the box"
    )


def test_powers_on_slides_and_in_books_have_a_sign(tmp_path: Path) -> None:
    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[6])
    frame = slide.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame
    for text, baseline in (("10", 0), ("6", 30), ("CO", 0), ("2", -25), ("note", 0), ("1", 30)):
        run = frame.paragraphs[0].add_run()
        run.text = text
        run.font._element.set("baseline", f"{baseline}000")
    run.hyperlink.address = "https://example.org"
    formula = slide.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.paragraphs[0]
    formula._p.append(
        parse_xml(
            f"<a14:m {nsdecls('a')} xmlns:a14='http://schemas.microsoft.com/office/drawing/2010/main'"
            " xmlns:m='http://schemas.openxmlformats.org/officeDocument/2006/math'><m:oMath><m:f>"
            "<m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>"
            "</m:oMath></a14:m>"
        )
    )
    book = book_of({"a.xhtml": "<p>5 m<sup>2</sup></p>"})
    documents, _ = read(tmp_path, a__pptx=save(show), b__epub=book)
    assert [one.text for one in documents.values()] == ["10^6CO2note[1]\n\n1/2", "5 m^2"]


FLOWED = b"The ferry \nsails daily.\n From Oban \nto Bute. \n\n> Is it \n> late?\n>> No \n> Or \n"
FLOWED += b"-- \nAnn \nReed"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            b"; Format=Flowed",
            "The ferry sails daily.\nFrom Oban to Bute. \n\n> Is it late?\n>> No \n> Or \n"
            "-- \nAnn Reed",
        ),
        (
            b"; format=flowed; DelSp=yes",
            "The ferrysails daily.\nFrom Obanto Bute.\n\n> Is itlate?\n>> No\n> Or\n-- \nAnnReed",
        ),
        (b"", FLOWED.decode()),
    ],
)
def test_paragraphs_of_flowed_text_are_whole(tmp_path: Path, parameters: bytes, text: str) -> None:
    head = b"Subject: Hours\nContent-Type: text/plain" + parameters
    documents, _ = read(
        tmp_path,
        a__eml=head + b"\n\n" + FLOWED,
        b__eml=(head + b"\n\n" + FLOWED).replace(b"\n", b"\r\n"),
    )
    assert [one.text for one in documents.values()] == [text, text]


@pytest.mark.parametrize("boundary", [b"", b"; boundary=other"])
@pytest.mark.parametrize("kind", [b"mixed", b"alternative"])
def test_a_message_without_its_boundary_keeps_its_text(
    tmp_path: Path, boundary: bytes, kind: bytes
) -> None:
    head = b"Subject: Hours\nContent-Type: multipart/" + kind + boundary + b"\n\n"
    parts = (
        b"--=_a.1\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    )
    parts += base64.b64encode("Sie fährt täglich.".encode()) + b"\n--=_a.1--\n"
    documents, rejections = read(
        tmp_path, a__eml=head + parts, b__eml=head + b"It sails daily.\n-- \nAnn"
    )
    assert documents["a.eml"].text == "Sie fährt täglich."
    assert documents["b.eml"].text == "It sails daily.\n-- \nAnn"
    assert rejections == {}


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime.datetime(2024, 5, 1, 9, 30, 15), "2024-05-01 09:30:15"),
        (datetime.datetime(2024, 5, 1, 0, 0, 5), "2024-05-01 00:00:05"),
        (datetime.datetime(2024, 5, 1, 0, 0, 0, 250_000), "2024-05-01 00:00:00.250"),
        (datetime.datetime(2024, 5, 1, 9, 30), "2024-05-01 09:30"),
        (datetime.datetime(2024, 5, 1), "2024-05-01"),
        (datetime.time(9, 30, 15), "09:30:15"),
    ],
)
def test_a_time_has_its_seconds(
    tmp_path: Path, time: datetime.datetime | datetime.time, text: str
) -> None:
    book = Workbook()
    book.active.append(("port", "sails"))
    book.active.append(("Oban", time))
    documents, _ = read(tmp_path, a__xlsx=save(book))
    assert documents["a.xlsx#Sheet!2"].text == f"port: Oban\nsails: {text}"


def test_hidden_slides_are_listed_as_hidden_sheets_are(tmp_path: Path) -> None:
    show = Presentation()
    for text in ("First", "Second"):
        slide = show.slides.add_slide(show.slide_layouts[5])
        slide.shapes.title.text = text
        slide.notes_slide.notes_text_frame.text = f"Notes of {text}"
    show.slides[0]._element.set("show", "0")
    one = save(show)
    show.slides[1]._element.set("show", "false")
    documents, rejections = read(tmp_path, a__pptx=one, b__pptx=save(show))
    assert {name: (one.title, one.text) for name, one in documents.items()} == {
        "a.pptx": ("Second", "Second\n\nNotes of Second")
    }
    assert [(name, one.reason, one.detail) for name, one in rejections.items()] == [
        (place, "hidden slide", "unhide it in PowerPoint to have it read")
        for place in ("a.pptx#slide 1", "b.pptx#slide 1", "b.pptx#slide 2")
    ]
