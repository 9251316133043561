"""Word files: the text that Word shows with all changes accepted."""

import io
import zipfile
from pathlib import Path

import pytest
from docx import Document as new_docx
from docx.document import Document as Docx
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from openpyxl import Workbook
from reading import read, read_all

from aloft.config import DocumentsConfig

NAMESPACES = " ".join(
    f'xmlns:{prefix}="http://schemas.{path}"'
    for prefix, path in {
        "w": "openxmlformats.org/wordprocessingml/2006/main",
        "m": "openxmlformats.org/officeDocument/2006/math",
        "a": "openxmlformats.org/drawingml/2006/main",
        "r": "openxmlformats.org/officeDocument/2006/relationships",
        "wp": "openxmlformats.org/drawingml/2006/wordprocessingDrawing",
        "mc": "openxmlformats.org/markup-compatibility/2006",
        "wps": "microsoft.com/office/word/2010/wordprocessingShape",
    }.items()
)
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def add(file: Docx, xml: str) -> None:
    """Put elements at the end of the body."""
    body = file.element.body
    for element in parse_xml(f"<w:body {NAMESPACES}>{xml}</w:body>"):
        body.insert(len(body) - 1, element)


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(inside: str) -> str:
    return f"<w:p>{inside}</w:p>"


def control(inside: str) -> str:
    return f"<w:sdt><w:sdtPr/><w:sdtContent>{inside}</w:sdtContent></w:sdt>"


def set_in(font: str, text: str) -> str:
    return f'<w:r><w:rPr><w:rFonts w:ascii="{font}"/></w:rPr><w:t>{text}</w:t></w:r>'


def sign(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


def formula(inside: str) -> str:
    return f"<m:oMath>{inside}</m:oMath>"


def field(inside: str) -> str:
    return f'<w:r><w:fldChar w:fldCharType="begin"><w:ffData>{inside}</w:ffData></w:fldChar></w:r>'


def read_body(folder: Path, xml: str) -> str:
    file = new_docx()
    add(file, xml)
    return read_saved(folder, file)


def read_saved(folder: Path, file: Docx) -> str:
    file.save(str(folder / "a.docx"))
    (document,), rejections = read_all(folder)
    assert rejections == []
    return document.text


def test_a_word_file_gives_paragraphs_and_tables_in_order(tmp_path: Path) -> None:

    file = new_docx()
    file.add_paragraph("Before.")
    table = file.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("port", "depth", "wide", "wide"), strict=True):
        cell.text = text
    table.cell(1, 0).merge(table.cell(1, 1)).text = "over both"
    file.add_paragraph("After.")
    assert read_saved(tmp_path, file) == "Before.\n\nport | depth\nover both\n\nAfter."


def raised(text: str, align: str = "superscript", more: str = "") -> str:
    return f'<w:r><w:rPr><w:vertAlign w:val="{align}"/></w:rPr><w:t>{text}</w:t>{more}</w:r>'


BY = 'w:id="1" w:author="A. Editor"'
BOX = f"<w:txbxContent>{paragraph(run('in a box'))}</w:txbxContent>"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        pytest.param(
            paragraph(
                run("within ")
                + f"<w:del {BY}><w:r><w:delText>10</w:delText></w:r></w:del>"
                + f"<w:ins {BY}>{run('30')}</w:ins>"
                + run(" days")
            ),
            "within 30 days",
            id="tracked change",
        ),
        pytest.param(
            paragraph(f"<w:moveFrom {BY}>{run('moved')}</w:moveFrom>")
            + paragraph(run("stays"))
            + paragraph(f"<w:moveTo {BY}>{run('moved')}</w:moveTo>"),
            "stays\n\nmoved",
            id="moved paragraph",
        ),
        pytest.param(
            control(paragraph(run("by ") + control(run("the desk")) + run("."))),
            "by the desk.",
            id="content controls",
        ),
        pytest.param(
            paragraph(f"<w:ins {BY}>{control(run('both'))}</w:ins>"), "both", id="inserted control"
        ),
        pytest.param(
            f"<w:customXml>{paragraph('<w:smartTag>' + run('tagged') + '</w:smartTag>')}"
            "</w:customXml>",
            "tagged",
            id="custom tags",
        ),
        pytest.param(
            paragraph(
                f'<w:hyperlink w:anchor="x">{run("a link")}</w:hyperlink>'
                '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> REF </w:instrText>'
                f'</w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>'
                f'<w:fldSimple w:instr="DATE">{run(" of today")}</w:fldSimple>'
            ),
            "a link of today",
            id="links and fields",
        ),
        pytest.param(
            paragraph(
                run("before")
                + '<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:inline>'
                + f"<a:graphic><a:graphicData><wps:wsp><wps:txbx>{BOX}</wps:txbx></wps:wsp>"
                + "</a:graphicData></a:graphic></wp:inline></w:drawing></mc:Choice>"
                + f"<mc:Fallback><w:pict>{BOX}</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
                + run(" and after")
            ),
            "before and after\n\nin a box",
            id="text box",
        ),
        pytest.param(
            paragraph(
                "<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r>"
                '<w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t>shown</w:t></w:r>'
            ),
            "shown",
            id="hidden text",
        ),
        pytest.param(
            paragraph(
                "<w:r><w:t>co</w:t><w:noBreakHyphen/><w:t>op</w:t><w:tab/><w:t>tab</w:t><w:br/>"
                '<w:t>li</w:t><w:softHyphen/><w:t>ne</w:t><w:br w:type="page"/></w:r>'
            ),
            "co-op\ttab\nline",
            id="characters",
        ),
        pytest.param(
            paragraph(
                run("10")
                + raised("-")
                + raised("6")
                + f'<w:hyperlink w:anchor="n">{run(" m") + raised("2")}</w:hyperlink>'
            ),
            "10^-6 m^2",
            id="powers",
        ),
        pytest.param(
            paragraph(
                run("1")
                + raised("st")
                + run(" CO")
                + raised("2", "subscript")
                + run(" (x)")
                + raised("3")
                + run(" note")
                + raised("4", more='<w:footnoteReference w:id="9"/>')
                + f'<w:hyperlink w:anchor="n">{raised("5")}</w:hyperlink>'
            ),
            "1st CO2 (x)3 note4[5]",
            id="no powers",
        ),
        pytest.param(
            paragraph(run("2") + raised("1") + run("/") + raised("2", "subscript") + run(" days")),
            "2 1/2 days",
            id="fraction",
        ),
        pytest.param(
            paragraph(
                "<m:oMath><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r>"
                "</m:sup></m:sSup></m:oMath>"
            ),
            "x^2",
            id="power in a formula",
        ),
        pytest.param(
            paragraph('<w:pPr><w:framePr w:dropCap="drop" w:lines="3"/></w:pPr>' + run("O"))
            + paragraph(run("nce upon a time.") + f"<w:r><w:pict>{BOX}</w:pict></w:r>")
            + paragraph(run("The end.")),
            "Once upon a time.\n\nin a box\n\nThe end.",
            id="initial over several lines",
        ),
        pytest.param(
            paragraph(
                set_in("Wingdings", "\uf0a7 ")
                + run("5 ")
                + set_in("Symbol", "\uf06d")
                + run("g \uf06d")
            ),
            "• 5 μg \uf06d",
            id="text in symbol fonts",
        ),
        pytest.param(
            paragraph(
                run("2 ")
                + formula(f"<m:f><m:num>{sign('1')}</m:num><m:den>{sign('2')}</m:den></m:f>")
                + run(" ")
                + formula(
                    f"<m:sSup><m:e><m:d><m:e>{sign('a+b')}</m:e></m:d></m:e>"
                    f"<m:sup>{sign('n')}</m:sup></m:sSup>{sign('=')}"
                    f"<m:rad><m:radPr/><m:deg/><m:e>{sign('x+1')}</m:e></m:rad>{sign('=')}"
                    '<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr>'
                    f"<m:e>{sign('0')}</m:e><m:e>{sign('1')}</m:e></m:d>"
                )
                + formula(
                    '<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr>'
                    f"<m:sub>{sign('i=1')}</m:sub><m:sup>{sign('n')}</m:sup>"
                    f"<m:e>{sign('i')}</m:e></m:nary>"
                )
            ),
            "2 1/2 (a+b)^n=√(x+1)=[0|1]∑_(i=1)^n i",
            id="fractions, roots and sums",
        ),
        pytest.param(
            paragraph(
                run("End of a page.")
                + '<w:r><w:br w:type="page"/></w:r>'
                + run("Left")
                + '<w:r><w:ptab w:relativeTo="margin" w:alignment="center"/></w:r>'
                + run("right")
            ),
            "End of a page.\nLeft\tright",
            id="breaks of pages and stops of tabs",
        ),
        pytest.param(
            paragraph(
                field("<w:checkBox><w:checked/></w:checkBox>")
                + run(" yes ")
                + field('<w:checkBox><w:default w:val="0"/></w:checkBox>')
                + run(" no, by ")
                + field(
                    '<w:ddList><w:result w:val="1"/><w:listEntry w:val="post"/>'
                    '<w:listEntry w:val="rail"/></w:ddList>'
                )
            ),
            "☒ yes ☐ no, by rail",
            id="form fields",
        ),
        pytest.param(
            paragraph("<m:oMath><m:r><m:t>E=mc</m:t></m:r></m:oMath>"), "E=mc", id="formula"
        ),
        pytest.param(
            "<w:tbl><w:tr><w:tc>"
            + paragraph(run("rate"))
            + "</w:tc>"
            + control(f"<w:tc>{paragraph(run('in control'))}</w:tc>")
            + "</w:tr>"
            + control(
                "<w:tr><w:tc><w:tbl><w:tr><w:tc>"
                + paragraph(run("30 cents"))
                + f"</w:tc><w:tc>{paragraph(run('by car'))}</w:tc></w:tr></w:tbl></w:tc>"
                + f"<w:tc>{paragraph(run('nested'))}</w:tc></w:tr>"
            )
            + f"<w:tr><w:trPr><w:del {BY}/></w:trPr><w:tc>{paragraph(run('deleted'))}</w:tc></w:tr>"
            + "</w:tbl>",
            "rate | in control\n30 cents | by car | nested",
            id="tables",
        ),
        pytest.param(
            "<w:tbl><w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr>"
            + paragraph(run("of its own"))
            + "</w:tc></w:tr></w:tbl>",
            "of its own",
            id="cell that goes on with none",
        ),
    ],
)
def test_word_shows(tmp_path: Path, xml: str, text: str) -> None:
    assert read_body(tmp_path, xml) == text


def test_a_cell_that_spans_rows_stands_in_each(tmp_path: Path) -> None:
    file = new_docx()
    table = file.add_table(rows=3, cols=2)
    for cell, text in zip(table._cells, ("port", "1", "", "2", "pier", "3"), strict=True):
        cell.text = text
    table.cell(0, 0).merge(table.cell(1, 0))
    assert read_saved(tmp_path, file) == "port | 1\nport | 2\npier | 3"


def test_notes_stand_behind_the_paragraph_that_refers_to_them(tmp_path: Path) -> None:
    file = new_docx()
    for kind in ("footnote", "endnote", "comment"):
        separator = f'<w:{kind} w:type="separator" w:id="0">{paragraph(run("line"))}</w:{kind}>'
        xml = (
            f"<w:{kind}s {NAMESPACES}>{separator if kind != 'comment' else ''}"
            f'<w:{kind} w:id="2">{paragraph(run(f"the {kind}"))}</w:{kind}></w:{kind}s>'
        )
        name = PackURI(f"/word/{kind}s.xml")
        part = Part(name, f"application/{kind}s+xml", xml.encode(), file.part.package)
        file.part.relate_to(part, f"{RELATIONS}{kind}s")
    add(
        file,
        paragraph(
            run("one")
            + '<w:r><w:footnoteReference w:id="2"/></w:r>'
            + run(" and two")
            + '<w:r><w:endnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="2"/></w:r>'
        )
        + paragraph(run("next")),
    )
    assert read_saved(tmp_path, file) == "one and two\n\nthe footnote\n\nthe endnote\n\nnext"


def test_a_paragraph_whose_end_was_deleted_goes_on_in_the_next(tmp_path: Path) -> None:
    end = f"<w:pPr><w:rPr><w:del {BY}/></w:rPr></w:pPr>"
    box = f"<w:r><w:pict><w:txbxContent>{paragraph(run('A box.'))}</w:txbxContent></w:pict></w:r>"
    cell = paragraph(end + run("in a cell"))
    text = read_body(
        tmp_path,
        paragraph(end + run("The ferry ") + box)
        + "<w:bookmarkStart w:id='0' w:name='x'/>"
        + paragraph(end)
        + paragraph(run("leaves at six."))
        + paragraph(end + run("Before a table"))
        + f"<w:tbl><w:tr><w:tc>{cell}</w:tc></w:tr></w:tbl>"
        + paragraph(end + run("The last.")),
    )
    assert text == "The ferry leaves at six.\n\nA box.\n\nBefore a table\n\nin a cell\n\nThe last."


def test_headers_and_footers_are_given_once(tmp_path: Path) -> None:
    file = new_docx()
    file.add_paragraph("Text")
    for section in (file.sections[0], file.add_section()):
        section.header.is_linked_to_previous = section.footer.is_linked_to_previous = False
        section.header.paragraphs[0].text = "Policy 12-B,\tvalid from May"
        section.footer.paragraphs[0].text = "Head office"
    assert read_saved(tmp_path, file) == "Policy 12-B, valid from May\n\nText\n\nHead office"


def test_the_title_is_the_paragraph_of_that_style(tmp_path: Path) -> None:
    file = new_docx()
    file.add_paragraph("Draft")
    file.add_paragraph("Travel  claims", style="Title")
    file.save(str(tmp_path / "a.docx"))
    (document,), _ = read_all(tmp_path)
    assert (document.title, document.text) == ("Travel claims", "Draft\n\nTravel  claims")


def repacked(raw: bytes, name: str, content: bytes) -> bytes:
    """The archive with another content of one part."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(raw)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.namelist():
            new.writestr(part, content if part == name else old.read(part))
    return stream.getvalue()


def empty_docx() -> bytes:
    stream = io.BytesIO()
    new_docx().save(stream)
    return stream.getvalue()


def test_what_unpacks_to_more_than_the_limit_is_listed(tmp_path: Path) -> None:
    bomb = f"<w:document {NAMESPACES}><w:body>{paragraph(run('x')) * 100_000}</w:body></w:document>"
    raw = repacked(empty_docx(), "word/document.xml", bomb.encode())
    (tmp_path / "a.docx").write_bytes(raw)
    (tmp_path / "b.txt").write_text("text")
    assert len(raw) < 100_000
    _, rejections = read_all(tmp_path, DocumentsConfig(max_megabytes=2))
    assert [(one.reason, one.detail) for one in rejections] == [
        (
            "too large",
            "more than 2 MB unpacked; the limit is 2 MB; split it or raise documents.max_megabytes",
        )
    ]


def test_entities_are_not_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    xml = (
        f'<!DOCTYPE d [<!ENTITY a "{"LOL" * 100}"><!ENTITY b "{"&a;" * 100}">'
        f'<!ENTITY f SYSTEM "{secret.as_uri()}">]>'
        f"<w:document {NAMESPACES}><w:body>{paragraph(run('text &b; &f;'))}</w:body></w:document>"
    )
    raw = repacked(empty_docx(), "word/document.xml", xml.encode())
    documents, _ = read(tmp_path, a__docx=raw, b__txt="text")
    assert all("LOL" not in one.text and "SECRET" not in one.text for one in documents.values())


def test_a_file_with_a_password_says_so(tmp_path: Path) -> None:
    _, rejections = read(
        tmp_path, a__docx=b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), b__txt="text"
    )
    assert rejections["a.docx"].reason == "encrypted DOCX"


def test_symbols_notes_of_the_usual_type_and_what_is_below_ruby_are_read(tmp_path: Path) -> None:
    symbol = '<w:r><w:sym w:font="{}" w:char="{}"/></w:r>'
    ruby = (
        f"<w:r><w:ruby><w:rt>{run('kan')}</w:rt><w:rubyBase>{run('漢')}</w:rubyBase></w:ruby></w:r>"
    )
    signs = "".join(
        symbol.format(font, char)
        for font, char in (
            ("Symbol", "F0B3"), ("Symbol", "F061"), ("Wingdings", "F0FC"), ("Arial", "2192"),
            ("Webdings", "F001"),
        )
    )  # fmt: skip
    assert read_body(tmp_path, paragraph(f"{run('x ')}{signs}{ruby}")) == "x ≥α✓→\ufffd漢"


def test_a_deleted_row_with_exceptions_of_its_own_is_no_text(tmp_path: Path) -> None:
    cell = f"<w:tc>{paragraph(run('gone'))}</w:tc>"
    row = f"<w:tr><w:tblPrEx/><w:trPr><w:del w:id='1' w:author='a'/></w:trPr>{cell}</w:tr>"
    kept = f"<w:tr><w:tc>{paragraph(run('kept'))}</w:tc></w:tr>"
    assert read_body(tmp_path, f"<w:tbl><w:tblPr/>{row}{kept}</w:tbl>") == "kept"


def test_files_that_word_takes_in_are_read(tmp_path: Path) -> None:
    file = new_docx()
    add(file, paragraph(run("Before.")))
    for number, (name, raw) in enumerate(
        (
            ("part.html", b"<p>The <b>quay</b> is long.</p>"),
            ("part.txt", b"The pier is short."),
            ("part.rtf", b"{}"),
        )
    ):
        part = Part(PackURI(f"/word/{name}"), "application/octet-stream", raw, file.part.package)
        identifier = file.part.relate_to(part, RELATIONS + "aFChunk")
        add(file, f'<w:altChunk r:id="{identifier}"/>')
        add(file, paragraph(run(f"After {number}.")))
    file.save(str(tmp_path / "a.docx"))
    documents, rejections = read(tmp_path)
    assert {name: one.text for name, one in documents.items()} == {
        "a.docx": "Before.\n\nThe quay is long.\n\nAfter 0.\n\nAfter 1.\n\nAfter 2.",
        "a.docx#word/part.txt": "The pier is short.",
    }
    assert [(name, one.reason) for name, one in rejections.items()] == [
        ("a.docx#word/part.rtf", "not a kind Aloft reads")
    ]


def test_embedded_files_are_read_and_older_objects_listed(tmp_path: Path) -> None:
    table = Workbook()
    table.active.append(("kind", "cents"))
    table.active.append(("car", 30))
    raw = io.BytesIO()
    table.save(raw)
    file = new_docx()
    add(file, paragraph(run("The rates:")))
    for name, content, kind in (
        ("embeddings/Sheet1.xlsx", raw.getvalue(), "package"),
        ("embeddings/Deck.key", b"x", "package"),
        ("embeddings/oleObject1.bin", b"x", "oleObject"),
        ("embeddings/oleObject2.bin", b"x", "oleObject"),
    ):
        part = Part(PackURI(f"/word/{name}"), "application/x", content, file.part.package)
        file.part.relate_to(part, RELATIONS + kind)
    file.save(str(tmp_path / "a.docx"))
    documents, rejections = read(tmp_path)
    assert {name: one.text for name, one in documents.items()} == {
        "a.docx": "The rates:",
        "a.docx#word/embeddings/Sheet1.xlsx#Sheet!2": "kind: car\ncents: 30",
    }
    assert {name: one.reason for name, one in rejections.items()} == {
        "a.docx#word/embeddings/Deck.key": "not a kind Aloft reads",
        "a.docx": "embedded object",
    }
    assert "2 of them (oleObject1.bin, oleObject2.bin)" in rejections["a.docx"].detail


def test_paragraphs_of_a_diagram_are_lines(tmp_path: Path) -> None:
    line = "<a:p><a:r><a:t>{}</a:t></a:r></a:p>"
    points = "".join(
        f"<d:pt><d:t>{''.join(map(line.format, some))}</d:t></d:pt>"
        for some in (("Step 1", "Sign"), ("Step 2",), ("",))
    )
    raw = (
        '<d:dataModel xmlns:d="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main">'
        f"<d:ptLst>{points}</d:ptLst></d:dataModel>"
    )
    file = new_docx()
    part = Part(PackURI("/word/diagrams/data1.xml"), "text/xml", raw.encode(), file.part.package)
    identifier = file.part.relate_to(part, RELATIONS + "diagramData")
    add(file, paragraph(f'<w:r><w:drawing><a:relIds r:dm="{identifier}"/></w:drawing></w:r>'))
    assert read_saved(tmp_path, file) == "Step 1\nSign\nStep 2"


def test_a_word_file_may_hold_nothing_but_what_it_takes_in(tmp_path: Path) -> None:
    file = new_docx()
    raw = b"The pier is short."
    part = Part(PackURI("/word/part.txt"), "text/plain", raw, file.part.package)
    add(file, f'<w:altChunk r:id="{file.part.relate_to(part, RELATIONS + "aFChunk")}"/>')
    file.save(str(tmp_path / "a.docx"))
    documents, rejections = read(tmp_path)
    assert ([*documents], rejections) == (["a.docx#word/part.txt"], {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("word/header1.xml", b"<w:hdr"),
        ("word/footer1.xml", b""),
        ("word/footnotes.xml", b"<w:footnotes>"),
        ("word/numbering.xml", b"{}"),
        ("word/styles.xml", b"<x>"),
        ("word/part.html", b"<p>caf\xe9</p>"),
        ("word/c1.xml", b"<c:ser xmlns:c='u'><c:val><c:pt idx='x'/></c:val></c:ser>"),
        ("word/comments.xml", b""),
    ],
)
def test_a_broken_part_costs_itself_alone(tmp_path: Path, name: str, content: bytes) -> None:
    file = new_docx()
    file.sections[0].header.paragraphs[0].text = "The header"
    file.sections[0].footer.paragraphs[0].text = "The footer"
    define(file, abstract(0, level(0, "%1.")) + variant(1, 0))
    note = f'<w:footnote w:id="2">{paragraph(run("The note"))}</w:footnote>'
    chart = "<c:x xmlns:c='u'><c:title><c:t>The chart</c:t></c:title></c:x>"
    ids = []
    for part_name, kind, xml in (
        ("footnotes.xml", "footnotes", f"<w:footnotes {NAMESPACES}>{note}</w:footnotes>"),
        ("part.html", "aFChunk", "<p>The page</p>"),
        ("c1.xml", "chart", chart),
        ("comments.xml", "comments", "<x/>"),
    ):
        part = Part(PackURI(f"/word/{part_name}"), "x/x", xml.encode(), file.part.package)
        ids.append(file.part.relate_to(part, RELATIONS + kind))
    cell = "<w:tc>{}" + paragraph(run("cell")) + "</w:tc>"
    add(
        file,
        numbered("first", 1)
        + paragraph(
            run("body")
            + '<w:r><w:footnoteReference w:id="2"/><w:sym w:char="FFFFFFFF"/><w:drawing>'
            + f'<c:chart xmlns:c="u" r:id="{ids[2]}"/></w:drawing></w:r>'
        )
        + "<w:tbl><w:tr>"
        + cell.format('<w:tcPr><w:gridSpan w:val="wide"/></w:tcPr>')
        + f'{cell.format("")}</w:tr></w:tbl><w:altChunk r:id="{ids[1]}"/>',
    )
    stream = io.BytesIO()
    file.save(stream)
    documents, rejections = read(tmp_path, a__docx=repacked(stream.getvalue(), name, content))
    whole = ["The header", "1. first", "body", "The note", "The chart", "cell | cell", "The page"]
    whole.append("The footer")
    lost = {
        "header1": ("The header", ""),
        "footer1": ("The footer", ""),
        "footnotes": ("The note", ""),
        "numbering": ("1. first", "first"),
        "part": ("The page", ""),
        "c1": ("The chart", ""),
    }.get(name.split("/")[1].split(".")[0], ("", ""))
    kept = [lost[1] if one == lost[0] else one for one in whole]
    assert documents["a.docx"].text.split("\n\n") == [one for one in kept if one]
    assert list(rejections) == ([] if "comments" in name else [f"a.docx#{name}"])


def test_a_chart_is_read_where_it_stands(tmp_path: Path) -> None:
    chart = (
        '<c:chartSpace xmlns:c="urn:c" xmlns:a="urn:a"><c:chart><c:title><a:t>Depth</a:t></c:title>'
        "<c:ser><c:tx><c:v>low</c:v></c:tx><c:cat><c:pt idx='1'><c:v>Pier</c:v></c:pt></c:cat>"
        "<c:val><c:numCache><c:formatCode>0 &quot;m&quot;</c:formatCode><c:pt idx='0'><c:v>3</c:v>"
        "</c:pt><c:pt idx='1'><c:v>#N/A</c:v></c:pt></c:numCache></c:val></c:ser></c:chart>"
        "</c:chartSpace>"
    )
    file = new_docx()
    part = Part(PackURI("/word/c1.xml"), "text/xml", chart.encode(), file.part.package)
    identifier = file.part.relate_to(part, RELATIONS + "chart")
    drawn = f'<w:drawing><c:chart xmlns:c="urn:c" r:id="{identifier}"/></w:drawing>'
    add(file, paragraph(run("Before.") + f"<w:r>{drawn}</w:r>") + paragraph(run("After.")))
    assert read_saved(tmp_path, file) == "Before.\n\nDepth\n| low\n| 3 m\nPier |\n\nAfter."


def level(depth: int, text: str, form: str = "decimal", more: str = "") -> str:
    return (
        f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{form}"/>{more}'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


def variant(number: int, abstract: int, overrides: str = "") -> str:
    return f'<w:num w:numId="{number}"><w:abstractNumId w:val="{abstract}"/>{overrides}</w:num>'


def abstract(number: int, inside: str) -> str:
    return f'<w:abstractNum w:abstractNumId="{number}">{inside}</w:abstractNum>'


def numbered(text: str, number: int | str, depth: int | str = 0, more: str = "") -> str:
    given = f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{number}"/></w:numPr>'
    return paragraph(f"<w:pPr>{given}{more}</w:pPr>{run(text)}")


def styled(text: str, style: str, more: str = "") -> str:
    return paragraph(f'<w:pPr><w:pStyle w:val="{style}"/>{more}</w:pPr>{run(text)}')


def define(file: Docx, numbering: str, styles: str = "") -> None:
    """Put lists and styles in place of those of the template."""
    for part, xml in ((file.part.numbering_part, numbering), (file.part._styles_part, styles)):
        part.element[:] = parse_xml(f"<w:x {NAMESPACES}>{xml}</w:x>")[:]


def lines(folder: Path, file: Docx, xml: str) -> list[str]:
    add(file, xml)
    return read_saved(folder, file).split("\n\n")


def test_headings_and_lists_have_the_numbers_that_word_counts(tmp_path: Path) -> None:
    file = new_docx()
    heading = '<w:style w:type="paragraph" w:styleId="{}"><w:pPr><w:numPr>{}</w:numPr></w:pPr>{}'
    heading += "</w:style>"
    linked = '<w:pStyle w:val="{}"/>'
    define(
        file,
        abstract(
            0,
            level(0, "Part %1", "upperRoman", linked.format("H1"))
            + level(1, "%1.%2", more=linked.format("H2") + "<w:isLgl/>")
            + level(2, "(%3)", "lowerLetter"),
        )
        + abstract(1, level(0, "%1)", "decimalZero") + level(1, "\uf0b7", "bullet"))
        + variant(1, 0)
        + variant(2, 1)
        + variant(3, 1, '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'),
        heading.format("H1", '<w:numId w:val="1"/>', "")
        + heading.format("H2", "", '<w:basedOn w:val="H1"/>'),
    )
    none = '<w:numPr><w:numId w:val="0"/></w:numPr>'
    deleted = f"<w:rPr><w:del {BY}/></w:rPr>"
    assert lines(
        tmp_path,
        file,
        styled("Scope", "H1")
        + styled("Ports", "H2")
        + numbered("open", 1, 2)
        + numbered("", 1, 2, deleted)
        + numbered("closed", 1, 2)
        + styled("Piers", "H2")
        + numbered("long", 1, 2)
        + styled("Preface", "H1", none)
        + styled("Fees", "H1")
        + styled("Late fees", "H2")
        + numbered("cars", 2)
        + numbered("red ones", 2, 1)
        + numbered("vans", 2)
        + numbered("again", 3)
        + numbered("and again", 3)
        + numbered("", 3),
    ) == [
        *("Part I Scope", "1.1 Ports", "(a) open", "(b) closed", "1.2 Piers", "(a) long"),
        *("Preface", "Part II Fees", "2.1 Late fees", "01) cars", "red ones", "02) vans"),
        *("07) again", "08) and again", "09)"),
    ]


def test_a_list_may_be_named_by_a_style_and_say_when_it_starts_again(tmp_path: Path) -> None:
    file = new_docx()
    number = '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr>'
    define(
        file,
        abstract(0, '<w:numStyleLink w:val="Ours"/>')
        + abstract(
            1,
            '<w:styleLink w:val="Ours"/>'
            + level(0, "%1.")
            + level(1, "%2.", more='<w:lvlRestart w:val="0"/>')
            + level(2, "§ %1-%3", more='<w:suff w:val="nothing"/>'),
        )
        + variant(1, 1)
        + variant(2, 0, f'<w:lvlOverride w:ilvl="0">{level(0, "No. %1:")}</w:lvlOverride>'),
        f'<w:style w:type="numbering" w:styleId="Ours">{number}</w:style>',
    )
    assert lines(
        tmp_path,
        file,
        "".join(
            numbered(text, 2, depth)
            for text, depth in (("b", 1), ("a", 0), ("b", 1), ("c", 2), ("a", 0), ("b", 1))
        ),
    ) == ["1. b", "No. 1: a", "2. b", "§ 1-1c", "No. 2: a", "3. b"]


def test_the_title_is_without_its_number(tmp_path: Path) -> None:
    file = new_docx()
    define(file, abstract(0, level(0, "%1.")) + variant(1, 0))
    title = '<w:pStyle w:val="Title"/>'
    add(file, numbered("Travel claims", 1, more=title))
    file.save(str(tmp_path / "a.docx"))
    (document,), _ = read_all(tmp_path)
    assert (document.title, document.text) == ("Travel claims", "1. Travel claims")


@pytest.mark.parametrize(
    ("numbering", "number", "text"),
    [
        (abstract(0, "") + variant(1, 0), 1, "x"),
        (variant(1, 0), 1, "x"),
        ("<w:num/><w:abstractNum/>", "", "x"),
        (abstract(0, level(0, "%1. %2 %9")) + variant(1, 0), 1, "1. x"),
        (abstract(0, level(0, "%1.").replace('"1"', '"9999999999"')) + variant(1, 0), 1, "0. x"),
        (abstract(0, level(0, "%1", "upperRoman").replace('"1"', '"0"')) + variant(1, 0), 1, "0 x"),
        (abstract(0, '<w:numStyleLink w:val="none"/>') + variant(1, 0), 1, "x"),
    ],
)  # fmt: skip
def test_malformed_lists_cost_their_numbers_alone(
    tmp_path: Path, numbering: str, number: int | str, text: str
) -> None:
    file = new_docx()
    in_circles = '<w:style w:styleId="A"><w:basedOn w:val="A"/></w:style>'
    define(file, numbering, in_circles)
    xml = numbered("x", number) + styled("y", "A") + numbered("z", 1, "deep")
    assert lines(tmp_path, file, xml)[:2] == [text, "y"]
