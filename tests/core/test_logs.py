"""A log of past questions: what of a line counts, and that no faulty line costs another."""

from pathlib import Path

import pytest

from aloft.errors import DataError
from aloft.questions.logs import read_log
from aloft.records import LogEntry


def read(folder: Path, text: str | bytes) -> tuple[list[LogEntry], list[tuple[str, str]]]:
    """Entries, and (line, reason) of what was dropped."""
    path = folder / "log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    entries, dropped = read_log(path)
    return entries, [(one.subject_id, one.reason) for one in dropped]


WHO = LogEntry(question="Who signs?", answer="Mary", clicks=("a.md", "b.md"))


@pytest.mark.parametrize(
    "text",
    [
        "question,answer,clicked\nWho signs?,Mary,a.md|b.md\n",
        "\ufeffquestion,answer,clicked\r\nWho signs?,Mary,a.md|b.md\r\n",  # as Excel writes it
        "Question;Answer;Clicked\nWho signs?;Mary;a.md|b.md",
        'clicked\tanswer\tquestion\n"a.md|b.md"\tMary\tWho signs?\n',
        "question,answers,document id,user\nWho signs?,Mary,a.md | b.md,7\n\n",
        '{"question": "Who signs?", "answer": "Mary", "clicked": ["a.md", "b.md"]}',
        '\ufeff{"question": "Who signs?", "answers": ["Mary", "M."], "clicked": ["a.md", "b.md"]}',
        '\n{"question": " Who signs? ", "answer": "Mary", "doc_id": ["a.md", "b.md", "a.md"]}\n',
        '{"question": "Who signs?", "answer": "Mary", "document_id": "a.md", "passage": "b.md"}',
    ],
)
def test_one_line_in_every_form(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == ([WHO], [])


def test_a_file_of_questions_alone(tmp_path: Path) -> None:
    entries, dropped = read(tmp_path, 'question\nWho signs?\n"When, and why?"\n')
    assert [entry.question for entry in entries] == ["Who signs?", "When, and why?"]
    assert dropped == []


def test_a_whole_number_may_be_an_id(tmp_path: Path) -> None:
    ((entry,), _) = read(tmp_path, '{"question": "Who?", "document_id": 7}')
    assert entry.clicks == ("7",)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("thumbs", '"up"', "Mary"),
        ("thumbs", '"Up "', "Mary"),
        ("thumbs", "true", "Mary"),
        ("thumbs", "1", "Mary"),
        ("thumbs", "0", ""),  # no opinion: nobody accepted the answer, but the question counts
        ("thumbs", '""', ""),
        ("thumbs", "null", ""),
        ("rating", "5", "Mary"),
        ("rating", '"4"', "Mary"),
        ("rating", "3", ""),
        ("thumbs", "-1", None),
        ("thumbs", "false", None),
        ("thumbs", '"down"', None),
        ("rating", "2", None),
        ("rating", "1", None),  # one star, not one thumb
    ],
)
def test_an_opinion_decides_whether_the_answer_counts(
    tmp_path: Path, name: str, value: str, expected: str | None
) -> None:
    line = f'{{"question": "Who?", "answer": "Mary", "{name}": {value}}}'
    entries, dropped = read(tmp_path, '{"question": "Where?"}\n' + line)
    if expected is None:
        assert len(entries) == 1
        assert dropped == [("line 2", "thumbs down")]
    else:
        assert entries[1] == LogEntry(question="Who?", answer=expected)
        assert dropped == []


def test_a_question_asked_again_adds_what_it_knows(tmp_path: Path) -> None:
    text = "question,answer,clicked\nWho signs?,,a.md\nWhen?,,\nwho  SIGNS,Mary,b.md|a.md\nWhen,,"
    entries, dropped = read(tmp_path, text)
    assert entries == [WHO, LogEntry(question="When?")]
    assert dropped == [("line 4", "asked before"), ("line 5", "asked before")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"question": "Who?"', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"answer": "Mary"}', '"question" is missing'),
        (b'{"question": " ?! "}', '"question" is missing'),
        (b'{"question": 5}', '"question" must be a string'),
        (b'{"question": "Who?", "answer": {"text": "Mary"}}', '"answer" must be a string'),
        (b'{"question": "Who?", "clicked": [true]}', '"clicked" must be a string'),
        (b'{"question": "Who?", "thumbs": "maybe"}', "up, down, true, false, 1, -1, 0"),
        (b'{"question": "Who?", "rating": 7}', "1, 2, 3, 4, 5"),
        (b'{"question": "caf\xe9?"}', "not UTF-8"),
    ],
)
def test_a_bad_line_is_told_and_costs_no_other(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"question": "Where?"}\n' + line + b'\n{"question": "When?"}\n')
    entries, (bad,) = read_log(path)
    assert [entry.question for entry in entries] == ["Where?", "When?"]
    assert (bad.subject_id, bad.stage, bad.reason) == ("line 2", "log", "bad line")
    assert said in bad.detail
    assert "\n" not in bad.detail


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'"Who signs,Mary', "not CSV"),  # a quote that is never closed
        (b'"Who "signs"?",Mary', "not CSV"),
        (b"Who, or what?,Mary", "3 cells in 2 columns"),
        (b",Mary", '"question" is missing'),
        (b"caf\xe9?,Mary", "not UTF-8"),
    ],
)
def test_a_bad_row_is_told_and_costs_no_other(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "log.csv"
    good = b'Where?,here\n"When,\nand why?",never\n'
    path.write_bytes(b"question,answer\n" + good + line + b"\n" + b'"Whose ""it""?",hers\nHow?\n')
    entries, (bad,) = read_log(path)
    found = [(entry.question, entry.answer) for entry in entries]
    assert found == [
        ("Where?", "here"),
        ("When,\nand why?", "never"),
        ('Whose "it"?', "hers"),
        ("How?", ""),
    ]
    assert (bad.subject_id, bad.reason) == ("line 5", "bad line")  # a cell above holds a line end
    assert said in bad.detail


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no columns"),
        (b"text,answer\nWho?,Mary\n", 'no column "question", but text, answer'),
        (b'[{"question": "Who?"}]', 'no column "question"'),
        (b"question,answer\n", "Is it empty?"),
        (b"question,answer\n,Mary\n", 'line 2: "question" is missing'),
        ("question\nWho?\n".encode("utf-16"), "Save it as UTF-8"),
        (b"\x00\x01\x02", 'no column "question"'),
    ],
)
def test_a_file_without_a_question_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_log(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_log(tmp_path / "log.csv")


def test_lone_surrogates_reach_no_tokenizer(tmp_path: Path) -> None:
    ((entry,), _) = read(tmp_path, '{"question": "Who \\ud800?"}')
    assert entry.question == "Who \ufffd?"
