"""Web pages: what a browser shows, in the letters that it shows."""

from pathlib import Path

import pytest
from reading import read

from aloft.records import Document


def test_html_gives_the_text_that_a_reader_sees(tmp_path: Path) -> None:
    page = (
        "<?xml version='1.0'?><html><head><title>The\n port</title><style>p{}</style></head><body>"
        "<nav>Home</nav><h1>Hours</h1>\n<p>Open <b>every</b>\n day.</p><script>x()</script>"
        "<!-- note --><ul><li>one</li><li>two</li></ul><pre>a\n  b</pre></body></html>"
    )
    documents, _ = read(tmp_path, a__html=page)
    expected = "Hours\n\nOpen every day.\n\none\ntwo\n\na\n  b"
    assert documents["a.html"] == Document(id="a.html", text=expected, title="The port")


def test_html_in_the_encoding_it_declares_is_read(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><p>caf\u00e9</p>'.encode("latin-1")
    documents, rejections = read(tmp_path, a__html=page, b__html=page[30:])
    assert documents["a.html"].text == "caf\u00e9"
    assert rejections["b.html"].reason == "not UTF-8"  # too short for a guess


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        ("iso-8859-1", "cp1252"),
        ("latin1", "cp1252"),
        ("us-ascii", "cp1252"),
        ("iso-8859-9", "cp1254"),
        ("utf-16", "utf-8"),
        ("nonsense", "cp1252"),
    ],
)
def test_labels_mean_what_browsers_take_them_for(tmp_path: Path, label: str, encoding: str) -> None:
    text = "The driver’s handbook says “wait” – and the ticket costs 5 € at the counter."
    page = f'<meta http-equiv="Content-Type" content="text/html; charset={label}"><p>{text}</p>'
    documents, _ = read(tmp_path, a__html=page.encode(encoding))
    assert documents["a.html"].text == text


@pytest.mark.parametrize("label", ["shift_jis", "euc-jp", "iso-2022-jp"])
def test_a_japanese_page_is_read_as_it_declares(tmp_path: Path, label: str) -> None:
    page = f'<html><head><meta charset="{label}"></head><body>休暇の申請</body></html>'
    documents, _ = read(tmp_path, a__htm=page.encode(label))
    assert documents["a.htm"].text == "休暇の申請"


def test_utf8_is_read_as_utf8_whatever_the_page_declares(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><p>Kündigung – 5 €</p>'
    documents, _ = read(tmp_path, a__html=page, b__xhtml=page.encode("utf-16"))
    assert [one.text for one in documents.values()] == ["Kündigung – 5 €"] * 2


def test_what_xhtml_marks_as_text_is_read(tmp_path: Path) -> None:
    page = (
        '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>T</title>'
        "<style><![CDATA[p{}]]></style></head><body><script><!--//--><![CDATA[//><!--\nx()\n"
        "//--><!]]></script><!-- <![CDATA[ --><pre><![CDATA[if (a < b && c) {\n  <p>}]]></pre>"
        "<p>As <![CDATA[R&D]]> says.</p><!-- ]]> --></body></html>"
    )
    documents, _ = read(tmp_path, a__xhtml=page)
    assert documents["a.xhtml"].text == "if (a < b && c) {\n  <p>}\n\nAs R&D says."


def test_icons_have_no_title_and_no_text(tmp_path: Path) -> None:
    page = (
        '<header><svg role="img"><title>Menu</title><desc>three lines</desc><path d="M0"/></svg>'
        "</header><h1>Taxes</h1><svg><text>Revenue</text><text>Cost</text></svg>"
    )
    documents, _ = read(
        tmp_path, a__html=page, b__html=f"<html><body>{page}</body><title>late</title></html>"
    )
    assert documents["a.html"] == Document(id="a.html", text="Taxes\n\nRevenue\nCost", title="")
    assert documents["b.html"].title == "late"


def test_navigation_is_left_out_and_remarks_are_kept(tmp_path: Path) -> None:
    page = (
        '<div role="navigation">Home</div><aside><a href="#">More</a> <a href="#">Old</a></aside>'
        "<p>Claims are due in May.</p><aside>Late ones are <a href='#'>refused</a>.</aside>"
    )
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text == "Claims are due in May.\n\nLate ones are refused."


def test_soft_hyphens_do_not_cut_words(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__html="<p>Kraft&shy;fahr&#173;zeug<wbr>steuer</p>")
    assert documents["a.html"].text == "Kraftfahrzeugsteuer"


def test_a_deep_page_is_read(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__html="<div>" * 3000 + "deep" + "</div>" * 3000)
    assert documents["a.html"].text == "deep"


def test_deep_lists_are_read(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__html="<ol><li>" * 2000 + "deep")
    assert documents["a.html"].text == "1. " * 2000 + "deep"


def test_captions_and_old_blocks_stand_on_lines_of_their_own(tmp_path: Path) -> None:
    page = (
        "<details><summary>How do I reset it?</summary>Hold the button.</details><fieldset><legend>"
        "Hours</legend>All day</fieldset><center>Report</center>Printed in Oslo"
        "<figure><figcaption>Fig. 1</figcaption>A ferry</figure>"
    )
    documents, _ = read(tmp_path, a__html=page)
    lines = [line for line in documents["a.html"].text.split("\n") if line]
    assert lines == [
        *("How do I reset it?", "Hold the button.", "Hours", "All day", "Report"),
        *("Printed in Oslo", "Fig. 1", "A ferry"),
    ]


def test_rows_of_a_table_are_lines_as_those_of_word_are(tmp_path: Path) -> None:
    page = (
        "<p>Fares</p><table><caption>In euros</caption><thead><tr><th>Port</th><th>Class</th>"
        "<th>Car</th></tr></thead><tbody><tr><td rowspan=2><p>Oban</p></td><td><p>first</p></td>"
        "<td></td></tr><tr><td>second</td><td><p>9</p><p>at night 7</p></td></tr>"
        "<tr><td colspan=2 rowspan=2>Bute</td><td>4</td></tr><tr><td>5<br>to 6</td></tr></tbody>"
        "</table><p>Valid in May.</p>"
    )
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text.split("\n") == [
        *("Fares", "", "In euros", "", "Port | Class | Car", "Oban | first |"),
        *("Oban | second | 9 at night 7", "Bute | 4", "Bute | 5 to 6", "", "Valid in May."),
    ]


@pytest.mark.parametrize(
    "page",
    [
        "<table><tr><td>{menu}</td><td>{text}</td></tr></table>",
        "<table role=presentation><tr><td><p>Claims.</p><td><p>Due in May.</p></table>",
        "<table><tr><td><table><tr><td>{text}</td></tr></table></td></tr></table>",
        "<table><tr><td><p>Claims.</p></td></tr><tr><td><p>Due in May.</p></td></tr></table>",
    ],
)
def test_tables_that_lay_out_a_page_keep_its_paragraphs(tmp_path: Path, page: str) -> None:
    text = "<p>Claims.</p><p>Due in May.</p>"
    documents, _ = read(tmp_path, a__html=page.format(text=text, menu="<nav>Home</nav>"))
    assert documents["a.html"].text == "Claims.\n\nDue in May."


def test_code_in_a_table_keeps_its_lines(tmp_path: Path) -> None:
    page = "<table><tr><td><pre>1\n2</pre></td><td><pre>if x:\n    y()</pre></td></tr></table>"
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text.endswith("if x:\n    y()")


def test_a_formula_is_given_once(tmp_path: Path) -> None:
    page = (
        "<p>It is <math><semantics><mrow><mi>x</mi><mo>+</mo><mn>1</mn></mrow>"
        '<annotation encoding="application/x-tex">{x+1}</annotation></semantics></math>.'
    )
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text == "It is x+1."


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<mfrac><mn>1</mn><mn>2</mn></mfrac>", "1/2"),
        ("<mn>2</mn> <mfrac><mn>1</mn><mn>2</mn></mfrac><mi>d</mi>", "2 1/2 d"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>", "(a+b)/c"),
        ("<msqrt><mn>2</mn></msqrt><mroot><mi>x</mi><mn>3</mn></mroot>", "√2x^(1/3)"),
        ("<mi>O</mi><msup><mn>2</mn><mi>n</mi></msup><msup><mi>f</mi><mo>′</mo></msup>", "O2^nf′"),
        ("<mo>)</mo><msup><mi>e</mi><mrow><mo>−</mo><mi>x</mi></mrow></msup>", ")e^−x"),
        ("<msub><mi>a</mi><mn>1</mn></msub><mo>=</mo><mn>5</mn>", "a1=5"),
        (
            "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi>"
            "</munderover><mspace width='1em'></mspace><mi>i</mi>",
            "∑_(i=1)^n i",
        ),
        (
            "<mtable>\n<mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr>"
            "<mtr><mtd><mn>0</mn></mtd><mtd><mn>1</mn></mtd></mtr></mtable>",
            "1 0; 0 1",
        ),
        ("<mtext>if&nbsp;</mtext><mn>2</mn><mo>&InvisibleTimes;</mo><mi>x</mi>", "if 2x"),
        ("<mfenced><mi>x</mi><mi>y</mi></mfenced>", "(x, y)"),
    ],
)
def test_a_formula_is_a_line_of_text(tmp_path: Path, formula: str, text: str) -> None:
    documents, _ = read(tmp_path, a__html=f"<ol><li><math>{formula}</math> here</ol>")
    assert documents["a.html"].text == f"1. {text} here"


def test_a_formula_may_have_a_prefix(tmp_path: Path) -> None:
    page = (
        "<p>It is <m:math xmlns:m='http://www.w3.org/1998/Math/MathML'><m:mfrac><m:mn>1</m:mn>"
        "<m:mn>2</m:mn></m:mfrac></m:math>.</p>"
    )
    documents, _ = read(tmp_path, a__xhtml=page)
    assert documents["a.xhtml"].text == "It is 1/2."


def test_items_of_ordered_lists_have_their_numbers(tmp_path: Path) -> None:
    page = (
        "<ol start=4><li>four<li value=7><p>seven<p>more<li><svg><title>x</title></svg><b>eight"
        "</b><ol type=a><li>a<li>b<ul><li>bullet</ul></ol></ol>"
        "<ol reversed><li>two<li>one</ol><ol type=I start=x><li> first </ol>"
        "<ol><li><ol style='list-style-type: lower-alpha' start=28><li>inner</ol></ol>"
        "<ol style='list-style: none inside'><li>plain<li style='list-style-type:decimal'>2</ol>"
        "<ol><li><img src=x><li><sup>2</sup>second</ol>"
        "<table><tr><th>n<th>m<tr><td><ol start=3><li>cell</ol><td>x</table>"
    )
    documents, _ = read(tmp_path, a__html=page)
    assert [line for line in documents["a.html"].text.split("\n") if line] == [
        *("4. four", "7. seven", "more", "8. eight", "a. a", "b. b", "bullet", "2. two", "1. one"),
        *("I. first", "1. ab. inner", "plain", "2. 2", "2. 2second", "n | m", "3. cell | x"),
    ]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("10<sup>6</sup> m<sup> 2</sup>", "10^6 m^2"),
        ("10<sup><b>−</b>6</sup>/L", "10^−6/L"),
        ("<table><tr><th>Area<td>5 m<sup>2</sup></table>", "Area | 5 m^2"),
        ("<math><msup><mi>x</mi><mn>2</mn></msup></math>", "x^2"),
        ("10<sup>0.5</sup> x<sup>1/2</sup> so<sup>1,2</sup>", "10^0.5 x^1/2 so1,2"),
        ("1<sup>st</sup> x<sup>n</sup>", "1st xn"),
        ("CO<sub>2</sub> in (5)<sup>2</sup>", "CO2 in (5)2"),
        ("it is so<sup><a href='#n1'>1</a></sup><a href='#n2'><sup>2</sup></a>", "it is so[1][2]"),
        (
            "in 1852<sup><a href='#n3'>3</a></sup>, so<sup><a href=x>[4]</a></sup>",
            "in 1852[3], so[4]",
        ),
        ("<a href=x>5 m<sup>2</sup></a>", "5 m^2"),
        ("2<sup>1</sup>/<sub>2</sub> days", "2 1/2 days"),
    ],
)
def test_a_power_keeps_apart_from_its_base(tmp_path: Path, page: str, text: str) -> None:
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text == text


def test_a_formula_that_katex_draws_is_given_once(tmp_path: Path) -> None:
    page = (
        "<p>It is <span class=katex><span><math><mi>x</mi><mo>+</mo><mn>1</mn></math></span>"
        '<span aria-hidden="true"><span>x</span><span>+1</span></span></span>.</p>'
    )
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text == "It is x+1."


def test_a_saved_component_is_kept_and_a_template_is_not(tmp_path: Path) -> None:
    page = (
        "<template><p>Row</p></template><x-card><template shadowrootmode=open><p>Fares are "
        "5 euro</p><style>p {}</style></template> by night</x-card>"
    )
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text == "Fares are 5 euro\n\nby night"


def test_a_formula_that_mathjax_draws_is_given_once(tmp_path: Path) -> None:
    page = (
        '<p>It is <span class=MathJax><nobr aria-hidden="true"><span>x</span><span>+1</span></nobr>'
        "<span class=MJX_Assistive_MathML><math><mi>x</mi><mo>+</mo><mn>1</mn></math></span></span>"
        '<script type="math/tex">x+1</script>.</p>'
    )
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text == "It is x+1."


def test_what_a_reader_can_open_is_kept(tmp_path: Path) -> None:
    page = (
        "<p><math><mi>x</mi></math></p><div aria-hidden=true>Panel</div><div hidden>Tab</div>"
        "<span style='display:none'>More</span><details>Answer</details>"
    )
    documents, _ = read(tmp_path, a__html=page)
    assert documents["a.html"].text.split() == ["x", "Panel", "Tab", "More", "Answer"]


def test_a_page_in_a_single_file_is_read_without_its_resources(tmp_path: Path) -> None:
    saved = (
        b"From: <Saved by Blink>\r\nSubject: Fees\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/related; type="text/html"; boundary="--B"\r\n\r\n'
        b"----B\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b'<meta charset=3D"utf-8"><title>Fees</title><p>A caf=C3=A9 =\r\npays 30 euros.</p>\r\n'
        b"----B\r\nContent-Type: text/css\r\n\r\np { color: red }\r\n"
        b"----B\r\nContent-Type: text/html\r\n\r\n<p>An advertisement</p>\r\n----B--\r\n"
    )
    documents, rejections = read(tmp_path, a__mhtml=saved, b__mht=b"no page")
    assert documents["a.mhtml"] == Document(
        id="a.mhtml", text="A caf\u00e9 pays 30 euros.", title="Fees"
    )
    assert rejections["b.mht"].detail == "it holds no HTML; save the page again"
