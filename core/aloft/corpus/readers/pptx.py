"""PowerPoint: the text of each slide in the order of its shapes, with its notes behind it.

Embedded files are read by themselves.
"""

from collections.abc import Callable, Iterator

from lxml import etree

from aloft.corpus.readers.archive import Archive, attribute, local_name, relation_id
from aloft.corpus.readers.charts import chart_text
from aloft.corpus.readers.formulas import formula_text
from aloft.corpus.readers.numerals import integer, numeral
from aloft.corpus.readers.source import Found, Source, UnreadableError
from aloft.corpus.readers.superscripts import Lowered, Raised, join_scripts, note_mark

_FURNITURE = ("sldNum", "dt", "ftr", "hdr", "sldImg")  # placeholders that each slide repeats
_OF_FORMULA = "/math}t"  # a text of a formula, which is read as a whole
_BULLETS = ("buNone", "buAutoNum", "buChar", "buBlip")
_FORMS = {
    "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter",
    "romanLc": "lowerRoman",
    "romanUc": "upperRoman",
    "": "decimal",
}
_AROUND = {"Period": "{}. ", "ParenR": "{}) ", "ParenBoth": "({}) ", "": "{} "}

_Counts = dict[int, tuple[tuple[str, str], int]]
"""By level, the kind of its automatic numbers, and the last one."""


def read(source: Source) -> Iterator[Found | Source]:
    """One document, titled as the first slide is; hidden and broken slides are listed."""
    with Archive(source, "PPTX") as archive:
        main = archive.main_part()
        relations = archive.relations(main)
        ids = (relation_id(one) for one in archive.parse(main).iter() if local_name(one) == "sldId")
        slides = [one for one in ids if one]  # the list of sections names them again, without
        title = ""
        blocks: list[str] = []
        left_out: list[Found | Source] = []
        shown: list[str] = []
        for number, relation in enumerate(slides, start=1):
            try:
                _, slide = relations[relation]
                page = archive.parse(slide)
                if page.get("show") in ("0", "false"):
                    raise UnreadableError("hidden slide", "unhide it in PowerPoint to have it read")
                title = title or _title(page)
                blocks.extend(shape_texts(page))
                for kind, name in archive.relations(slide).values():
                    if name not in archive:
                        continue
                    if kind in ("notesSlide", "diagramData"):
                        blocks.extend(shape_texts(archive.parse(name)))
                    elif kind == "chart":
                        blocks.append(chart_text(archive.parse(name)))
                shown.append(slide)
            except Exception as error:  # the parser's; the other slides are read
                fault, place = archive.broken(error), f"{source.name}#slide {number}"
                if fault.reason == "too large":
                    raise
                left_out.append(source.reject(fault.reason, fault.detail, place=place))
        left_out += archive.embedded(source, *shown)
    if blocks or not left_out:
        yield source.document("\n\n".join(blocks), title)
    yield from left_out


def _title(slide: etree._Element) -> str:
    shapes = (shape for shape in slide.iter() if local_name(shape) == "sp")
    titles = (shape for shape in shapes if _placeholder(shape) in ("title", "ctrTitle"))
    return next((" ".join(shape_texts(shape)) for shape in titles), "")


def shape_texts(element: etree._Element) -> Iterator[str]:
    """The text of each shape and table."""
    for child in element:
        name = local_name(child)
        if name == "sp" and _placeholder(child) in _FURNITURE:
            continue
        if name == "AlternateContent":
            yield from shape_texts(child[0])
        elif name in ("txBody", "t"):  # the text of a shape, or of a point of a diagram
            text = "\n".join(_paragraphs(child))
            if text:
                yield text
        elif name == "tbl":
            yield "\n".join(_rows(child))
        else:
            yield from shape_texts(child)


def _paragraphs(body: etree._Element) -> Iterator[str]:
    counts: _Counts = {}
    for paragraph in body:
        if local_name(paragraph) == "p":
            text = join_scripts(_pieces(paragraph)).strip()
            if text:
                yield _number(paragraph, counts) + text


def _number(paragraph: etree._Element, counts: _Counts) -> str:
    """The automatic number of the next paragraph, with a space; "" where it has none."""
    properties = {local_name(one): one for one in paragraph if local_name(one) == "pPr"}
    level = integer(attribute(properties["pPr"], "lvl"), 0) if properties else 0
    for one in paragraph.itersiblings("{*}lstStyle", preceding=True):
        properties |= {local_name(given): given for given in one}
    given = (properties.get(name, ()) for name in ("pPr", f"lvl{level + 1}pPr"))
    bullets = (one for some in given for one in some if local_name(one) in _BULLETS)
    bullet = next(bullets, None)
    last = counts.get(level)
    for deeper in [one for one in counts if one >= level]:
        del counts[deeper]
    if bullet is None or local_name(bullet) != "buAutoNum":
        return ""
    kind = attribute(bullet, "type"), attribute(bullet, "startAt")
    value = last[1] + 1 if last and last[0] == kind else integer(kind[1], 1)
    counts[level] = kind, value
    form = next(form for begin, form in _FORMS.items() if kind[0].startswith(begin))
    around = next(around for end, around in _AROUND.items() if kind[0].endswith(end))
    return around.format(numeral(value, form))


def _pieces(paragraph: etree._Element) -> Iterator[str]:
    for one in paragraph.iter():
        if local_name(one) == "oMath":
            yield formula_text(one)
        elif local_name(one) == "t" and not one.tag.endswith(_OF_FORMULA):
            yield _script(one.getparent())(one.text or "")
        elif local_name(one) == "br":
            yield "\n"


def _script(run: etree._Element) -> Callable[[str], str]:
    """What a run is raised or lowered to; a raised link is the mark of a note."""
    properties = next((one for one in run if local_name(one) == "rPr"), None)
    baseline = 0 if properties is None else integer(attribute(properties, "baseline"), 0)
    if properties is not None and any(local_name(one) == "hlinkClick" for one in properties):
        return note_mark if baseline > 0 else str
    return Raised if baseline > 0 else Lowered if baseline < 0 else str


def _rows(table: etree._Element) -> Iterator[str]:
    """One line a row; a cell that spans columns is given once, one that spans rows in each."""
    above: dict[int, str] = {}
    for row in table:
        if local_name(row) != "tr":
            continue
        texts = []
        for column, cell in enumerate(one for one in row if local_name(one) == "tc"):
            text = " ".join(" ".join(shape_texts(cell)).split())
            above[column] = above.get(column, "") if attribute(cell, "vMerge") else text
            if not attribute(cell, "hMerge"):
                texts.append(above[column])
        yield " | ".join(texts)


def _placeholder(shape: etree._Element) -> str:
    """The type of a shape that stands in a placeholder of the slide's layout."""
    return next((attribute(one, "type") for one in shape.iter() if local_name(one) == "ph"), "")
