"""The user's questions: which passages they point at, and one line for every fault."""

import gzip
import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from aloft.errors import DataError
from aloft.questions.labelled import _parse, read_questions
from aloft.records import Document, LabelledQuestion, Passage, Rejection, content_id

PORT = "The port has 11 berths.\n\nIts pilot is called Mary. The office opens at\nnine."
FERRY = "The ferry leaves at nine. In 2011 it was late."
DOCUMENTS = [Document(id="port.md", text=PORT), Document(id="ferry.txt", text=FERRY)]
P1 = Passage(document_id="port.md", text=PORT[:23], start=0)  # The port has 11 berths.
P2 = Passage(document_id="port.md", text=PORT[25:50], start=25)  # Its pilot is called Mary.
P3 = Passage(document_id="port.md", text=PORT[51:], start=51)  # The office opens at\nnine.
F1 = Passage(document_id="ferry.txt", text=FERRY, start=0)
PASSAGES = [P1, P2, P3, F1]
NAMES = {P1.id: "P1", P2.id: "P2", P3.id: "P3", F1.id: "F1"}


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return path


def gold(folder: Path, rejections: list[Rejection] | None = None, **fields: Any) -> list[str]:
    """Names of the gold passages of one question."""
    path = write(folder, {"question": "Q?", **fields})
    (question,) = read_questions(path, DOCUMENTS, PASSAGES, rejections or [])
    return [NAMES[one] for one in question.passage_ids]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"document_id": "port.md"}, ["P1", "P2", "P3"]),  # nothing narrower is said
        ({"doc_id": "ferry.txt"}, ["F1"]),
        ({"document_id": "port.md", "answers": "Mary"}, ["P2"]),
        ({"document_id": "port.md", "answers": ["nobody", "nine"]}, ["P3"]),
        ({"document_id": "port.md", "answers": "nobody"}, ["P1", "P2", "P3"]),
        ({"document_id": "port.md", "answer_start": 30}, ["P2"]),  # inside "pilot"
        # "The" stands at 0 and at 51: the offset decides, and may be off by a few
        ({"document_id": "port.md", "answers": "The", "answer_start": 49}, ["P3"]),
        ({"document_id": "port.md", "answers": "The"}, ["P1", "P3"]),
        ({"passage": "opens at nine"}, ["P3"]),  # white space aside, in whichever document
        ({"passage": "at nine"}, ["P3", "F1"]),
        ({"passage": "at nine", "document_id": "ferry.txt"}, ["F1"]),
        ({"passage": "11 berths. Its pilot is called"}, ["P2"]),  # 10 characters in P1, 19 in P2
        ({"passage": "11 berths. Its pilot is called", "answers": "11"}, ["P1"]),
        ({"document_id": "port.md", "answers": "nine", "also_ok": ["ferry.txt"]}, ["P3", "F1"]),
        ({"doc_ids": ["ferry.txt", "port.md"], "answers": "11"}, ["F1", "P1"]),
        ({"document_id": ["ferry.txt", "port.md"], "answers": "11"}, ["F1", "P1"]),
        ({"document_id": ".\\port.md", "answers": "nine"}, ["P3"]),  # as Windows lists files
        ({"document_id": "./old/../port.md", "answers": "nine"}, ["P3"]),
        ({"document_id": "port.md", "passage": "nan", "also_ok": "None"}, ["P1", "P2", "P3"]),
        ({"passage": ["11 berths", "at nine"], "document_id": "port.md"}, ["P1", "P3"]),
        # as other tools name them; beside ours, such names may stand for something else
        ({"reference_contexts": ["opens at nine"], "reference": "nine"}, ["P3"]),
        ({"context": "opens at nine"}, ["P3"]),
        ({"context": "The opening hours", "doc_id": "ferry.txt"}, ["F1"]),
        ({"source": "port.md", "ground_truth": "nine"}, ["P3"]),
        ({"source": "by hand", "passage": "opens at nine"}, ["P3"]),
        ({"is_impossible": True}, []),
    ],
)
def test_a_question_finds_its_passages(
    tmp_path: Path, fields: dict[str, Any], expected: list[str]
) -> None:
    assert gold(tmp_path, **fields) == expected


@pytest.mark.parametrize("known", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_composed_and_decomposed_spellings_are_one(tmp_path: Path, known: str, asked: str) -> None:
    text = normalize(known, "Die Kündigung muss\nschriftlich erfolgen. Bis dahin gilt die Frist.")
    document = Document(id=normalize(known, "Kündigung.txt"), text=text)
    end = text.index("Bis")
    passages = [
        Passage(document_id=document.id, text=text[:end].strip(), start=0),
        Passage(document_id=document.id, text=text[end:], start=end),
    ]
    fields = [
        {"document_id": "Kündigung.txt", "answers": ["Kündigung"]},
        {"passage": "Die Kündigung muss schriftlich"},
        {"passage": "die kündigung muss schriftlich"},
    ]
    lines = [{"question": f"{i}?"} | one for i, one in enumerate(fields)]
    path = tmp_path / "questions.jsonl"
    path.write_text(
        "\n".join(normalize(asked, json.dumps(one, ensure_ascii=False)) for one in lines), "utf-8"
    )
    for question in read_questions(path, [document], passages):
        assert question.passage_ids == (passages[0].id,)


def test_an_answer_is_a_whole_word_where_it_stands_as_one(tmp_path: Path) -> None:
    text = f"{FERRY}\n\nThere are 11 ferries."
    documents = [Document(id="ferries.txt", text=text)]
    years = Passage(document_id="ferries.txt", text=text[:46], start=0)  # holds 2011 only
    count = Passage(document_id="ferries.txt", text=text[48:], start=48)
    path = write(tmp_path, {"question": "How many?", "doc_id": "ferries.txt", "answers": "11"})
    (question,) = read_questions(path, documents, [years, count])
    assert question.passage_ids == (count.id,)


def test_a_passage_dropped_as_a_copy_stands_for_the_kept_one(tmp_path: Path) -> None:
    documents = [*DOCUMENTS, Document(id="copy of 1.md", text="x\n\nThe port has 11 berths.")]
    rejection = Rejection(
        subject_id="gone",
        stage="passages",
        reason="exact duplicate",
        detail=f"of passage {P1.id}, at characters 3 to 26 of copy of 1.md",
    )
    path = write(tmp_path, {"question": "How many?", "document_id": "copy of 1.md", "answer": "11"})
    (question,) = read_questions(path, documents, PASSAGES, [rejection])
    assert question.passage_ids == (P1.id,)


def test_an_answer_in_text_that_was_dropped_is_looked_for_elsewhere(tmp_path: Path) -> None:
    fields = {"question": "When?", "document_id": "port.md", "answers": "The", "answer_start": 0}
    (question,) = read_questions(write(tmp_path, fields), DOCUMENTS, [P2, P3])
    assert question.passage_ids == (P3.id,)
    (question,) = read_questions(write(tmp_path, fields), DOCUMENTS, [P2])  # nowhere: anywhere
    assert question.passage_ids == (P2.id,)


def test_everything_of_a_question_is_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": 5, "question": " Who? ", "document_id": "port.md", "answers": ["Mary", "M."]},
        "",
        {"question": "When?", "passage": "leaves at nine"},
    )
    first, second = read_questions(path, DOCUMENTS, PASSAGES)
    assert first == LabelledQuestion(
        id="5", question="Who?", answers=("Mary", "M."), passage_ids=(P2.id,), origin="human"
    )
    assert second.id == content_id("When?", "leaves at nine")
    assert second.answers == ()


def test_what_nothing_answers_has_no_passages(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"question": "Who sank it?", "unanswerable": True},
        {"question": "And why?", "unanswerable": True, "document_id": "port.md"},
        {"question": "Who?", "unanswerable": False, "document_id": "port.md", "answers": ["Mary"]},
    )
    unknown, beside, known = read_questions(path, DOCUMENTS, PASSAGES)
    assert unknown.passage_ids == beside.passage_ids == ()
    assert known.passage_ids == (P2.id,)


def test_rows_of_one_question_count_once_and_are_listed(tmp_path: Path) -> None:
    mary = {"question": "Who?", "document_id": "port.md", "answers": ["Mary"]}
    lost = {"question": "Why?", "document_id": "qqq"}
    rows = [mary, mary, {**mary, "answers": ["nine", "Mary"]}, GOOD, lost, lost]
    who, other, why, *repeated = read_questions(write(tmp_path, *rows), DOCUMENTS, PASSAGES)
    assert isinstance(who, LabelledQuestion) and isinstance(other, LabelledQuestion)
    assert (who.answers, who.passage_ids) == (("Mary", "nine"), (P2.id, P3.id))
    assert isinstance(why, Rejection) and why.reason == "fits no passage"
    assert [(one.subject_id, one.reason) for one in repeated if isinstance(one, Rejection)] == [
        (f"line {number}", "asked before") for number in (2, 3, 6)
    ]
    with pytest.raises(DataError, match='line 2: id "7" was already used on line 1'):
        read_questions(write(tmp_path, {**mary, "id": 7}, {**GOOD, "id": 7}), DOCUMENTS, PASSAGES)


def test_packed_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"question": "Q?", "document_id": "ferry.txt"}'))
    assert len(read_questions(path, DOCUMENTS, PASSAGES)) == 1


GOOD = {"question": "Q?", "document_id": "port.md"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"question": ', ["not JSON", "Write one object a line"]),
        ("[1]", ["not a JSON object"]),
        ({"document_id": "port.md"}, ['"question" is missing']),
        ({"question": ["Q"], "document_id": "port.md"}, ['"question" must be a string']),
        ({"question": "Why?"}, ['"document_id" and "passage" are missing', "Add"]),
        ({**GOOD, "question": "Why?", "answers": True}, ['"answers" must be']),
        ({**GOOD, "question": "Why?", "answers": [["so"]]}, ['"answers" must be']),
        ({**GOOD, "question": "Why?", "answer_start": -1}, ['"answer_start" must be']),
        ({"question": "Why?", "unanswerable": "perhaps"}, ['"unanswerable" must be true or false']),
        (
            {"question": "Why?", "unanswerable": True, "answers": ["so"]},
            ["it has an answer", "Remove one"],
        ),
        ({**GOOD, "unanswerable": True}, ['the same one on line 1 one is "unanswerable"']),
    ],
)
def test_a_bad_line_is_named_with_what_to_do(tmp_path: Path, line: Any, words: list[str]) -> None:
    path = write(tmp_path, GOOD, line)
    left_out = Rejection(subject_id="lost.pdf", stage="documents", reason="encrypted PDF")
    with pytest.raises(DataError) as caught:
        read_questions(path, DOCUMENTS, PASSAGES, [left_out])
    message = str(caught.value)
    assert message.startswith(f"{path} line 2: ")
    assert all(word in message for word in words)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            {"question": "Why?", "document_id": "prt.md"},
            ['there is no document "prt.md"', 'Write "port.md"'],
        ),
        ({"question": "Why?", "document_id": "lost.pdf"}, ["skipped (encrypted PDF)"]),
        ({**GOOD, "question": "Why?", "also_ok": ["qqq"]}, ['there is no document "qqq"']),
        (
            {"question": "Why?", "passage": "no such words"},
            ['"no such words" is not in any document', "word for word"],
        ),
        (
            {"question": "Why?", "passage": "ferry", "document_id": "port.md"},
            ['is not in document "port.md"'],
        ),
        (
            {**GOOD, "question": "Why?", "answer_start": 900},
            ['"answer_start" is 900', f"has {len(PORT)} characters"],
        ),
    ],
)
def test_a_question_that_fits_no_passage_is_left_out_and_said_so(
    tmp_path: Path, line: Any, words: list[str]
) -> None:
    path = write(tmp_path, GOOD, {**line, "id": "a misfit"})
    left_out = Rejection(subject_id="lost.pdf", stage="documents", reason="encrypted PDF")
    question, rejection = read_questions(path, DOCUMENTS, PASSAGES, [left_out])
    assert isinstance(question, LabelledQuestion)
    assert isinstance(rejection, Rejection)
    assert (rejection.subject_id, rejection.stage) == ("a misfit", "questions")
    assert rejection.reason == "fits no passage"
    assert rejection.detail.startswith("line 2: ")
    assert all(word in rejection.detail for word in words)


def test_where_most_questions_fit_no_passage_the_first_is_named(tmp_path: Path) -> None:
    lost = [{"question": f"Why {i}?", "document_id": f"qqq{i}"} for i in range(2)]
    with pytest.raises(DataError) as caught:
        read_questions(write(tmp_path, GOOD, *lost), DOCUMENTS, PASSAGES)
    message = str(caught.value)
    assert 'line 2: there is no document "qqq0"' in message
    assert "2 of 3 questions fit no passage of the documents." in message
    assert "\n" not in message
    fitting = {**GOOD, "question": "Why not?"}
    assert len(read_questions(write(tmp_path, GOOD, fitting, *lost), DOCUMENTS, PASSAGES)) == 4


def test_text_that_no_passage_holds_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, {"question": "Q?", "passage": "leaves at nine"})
    with pytest.raises(DataError, match="line 1: no passage holds the text"):
        read_questions(path, DOCUMENTS, [P1])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, "does not exist"),
        (b"\n", "holds no questions"),
        (b'{"question": "\xff"}', "line 1: not UTF-8"),
    ],
)
def test_a_file_without_questions_is_refused(tmp_path: Path, raw: bytes | None, words: str) -> None:
    path = tmp_path / "q.jsonl"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(DataError, match=words):
        read_questions(path, DOCUMENTS, PASSAGES)


def test_a_folder_is_not_a_file_of_questions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_questions(tmp_path, DOCUMENTS, PASSAGES)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"question": "Who?", "document_id": "port.md", "answers": ["Mary", "M."]}]),
        "\ufeffQuestion;Document ID;Answers\r\nWho?;port.md;Mary|M.\r\n",
        "sep=,\nquestion,doc_id,answers,unanswerable,answer_start\nWho?,port.md,Mary|M.,false,46\n",
        '{"question": "Who?", "document": {"id": "port.md"}, "answers": {"text": ["Mary", "M."]}}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_questions_are_read_in_every_form(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "questions"
    path.write_bytes(text.encode(encoding))
    (question,) = read_questions(path, DOCUMENTS, PASSAGES)
    assert (question.question, question.answers) == ("Who?", ("Mary", "M."))
    assert question.passage_ids == (P2.id,)


def test_a_bad_element_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text('[\n {"question": "Who?", "document_id": "port.md"},\n {"question": oops}\n]')
    with pytest.raises(DataError, match="line 3: not JSON"):
        read_questions(path, DOCUMENTS, PASSAGES)


@pytest.mark.parametrize("nothing", ["nan", "NULL", "None", "\\N"])
def test_an_empty_answer_is_none_however_a_table_writes_it(tmp_path: Path, nothing: str) -> None:
    path = tmp_path / "questions.csv"
    path.write_text(f"id,question,answers,document_id\n{nothing},Q?,{nothing},port.md\n")
    (question,) = read_questions(path, DOCUMENTS, PASSAGES)
    assert isinstance(question, LabelledQuestion)
    assert question.answers == ()
    assert question.id not in ("", nothing)


def test_numbers_and_flags_are_read_as_tables_write_them(tmp_path: Path) -> None:
    values = {"question": "Why?", "document_id": 5.0, "answer_start": 30.0, "unanswerable": 0}
    asked = _parse(values)
    assert (asked.document_ids, asked.answer_start) == (("5",), 30)
    assert _parse({**values, "answer_start": "30.0"}).answer_start == 30
    assert _parse({**values, "answers": [1801, "MDCCCI", 2.5, 12.0, None]}).answers == (
        "1801",
        "MDCCCI",
        "2.5",
        "12",
    )
    assert _parse({**values, "answers": 11, "doc_ids": 7}).document_ids == ("5", "7")
    for true in (1, "1", "yes", "TRUE", True):
        assert _parse({"question": "Why?", "unanswerable": true}).is_unanswerable
    for false in (0.0, "no", "", None):
        assert not _parse({**values, "unanswerable": false}).is_unanswerable
