"""A log of past questions: what of a line counts, and that no faulty line costs another."""

import csv
import gzip
import json
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


def test_a_cell_may_be_as_long_as_its_file(tmp_path: Path) -> None:
    context = "All that was retrieved. " * 6000  # beyond what Python's reader takes by default
    limit = csv.field_size_limit()
    text = f'question,context,answer,clicked\nWho signs?,"{context}",Mary,a.md|b.md\n'
    assert read(tmp_path, text) == ([WHO], [])
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"word " * 40_000, r'no column "question", but word_.{1,60}\. Give CSV'),
        (b"a," + b"x" * 140_000, r'no column "question", but a, x{40}\. Give CSV'),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "is a spreadsheet or an archive"),
    ],
)
def test_what_is_no_log_at_all_is_told_in_one_short_line(
    tmp_path: Path, raw: bytes, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path, raw)


def test_a_file_of_questions_alone(tmp_path: Path) -> None:
    entries, dropped = read(tmp_path, 'question\nWho signs?\n"When, and why?"\n')
    assert [entry.question for entry in entries] == ["Who signs?", "When, and why?"]
    assert dropped == []


def test_a_table_in_an_encoding_of_old_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "question;answer\nWie hei\u00dft die F\u00e4hre nach Norden?;Die Kr\u00f6te\n"
    (tmp_path / "log.csv").write_bytes(text.encode("cp1252"))  # as Excel saves "CSV"
    ((entry,), dropped) = read_log(tmp_path / "log.csv")
    assert entry == LogEntry(
        question="Wie hei\u00dft die F\u00e4hre nach Norden?", answer="Die Kr\u00f6te"
    )
    assert dropped == []
    assert "is not UTF-8: read as cp1252" in caplog.text


def test_a_broken_character_costs_its_row_alone(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(
        b"question,answer\ncaf\xe9?,Mary\n"
        + "Wo?,\u00c4\u00d6\u00dc\u00c4\u00d6\u00dc\u00c4\u00d6\u00dc\n".encode()
    )
    ((entry,), (bad,)) = read_log(tmp_path / "log.csv")
    assert entry.question == "Wo?"
    assert "not UTF-8" in bad.detail


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("question\nHow long, in days?\n", {"How long, in days?": ""}),
        ('{"question": "How much?", "answer": 1.5}', {"How much?": "1.5"}),
        ("question,answer,flag\nA b?,x,Like\nC d?,y,Dislike\n", {"A b?": "x"}),  # Gradio
        ("question,answer,Rating (1-5)\nA b?,x,5\nC d?,y,1\n", {"A b?": "x"}),
        ("question,answer,thumbs_up,thumbs_down\nA b?,x,1,0\nC d?,y,0,1\n", {"A b?": "x"}),
        ("question,answer,upvotes,downvotes\nA b?,x,3,1\nC d?,y,2,2\n", {"A b?": "x", "C d?": ""}),
        (
            '{"conversations": [{"from": "human", "value": "A b?"}, '
            '{"from": "gpt", "value": "x"}]}',
            {"A b?": "x"},  # ShareGPT
        ),
        (
            '{"messages": [{"from": "user", "content": "A b?"}, '
            '{"from": "assistant", "content": "x"}]}',
            {"A b?": "x"},  # of a chat's user interface
        ),
    ],
)
def test_logs_of_further_tools(tmp_path: Path, text: str, answers: dict[str, str]) -> None:
    entries, _ = read(tmp_path, text)
    assert {entry.question: entry.answer for entry in entries} == answers


def test_a_list_as_pandas_writes_it(tmp_path: Path) -> None:
    text = 'question,clicked\nWho?,"[\'a.md\', ""b\'s.md""]"\nWhere?,[sic]\n'
    entries, _ = read(tmp_path, text)
    assert [entry.clicks for entry in entries] == [("a.md", "b's.md"), ("[sic]",)]


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
        (b'{"question": "Who?", "answer": true}', '"answer" must be a string'),
        (b'{"question": "Who?", "clicked": [true]}', '"clicked" must be a string'),
        (b'{"question": "Who?", "thumbs": "maybe"}', "up, down, yes, no, true, false"),
        (b'{"question": "Who?", "rating": 7}', "1, 2, 3, 4, 5"),
        (b'{"question": "caf\xe9?"}', "not UTF-8"),
    ],
)
def test_a_bad_line_is_reported_and_costs_no_other(tmp_path: Path, line: bytes, said: str) -> None:
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
    ],
)
def test_a_bad_row_is_reported_and_costs_no_other(tmp_path: Path, line: bytes, said: str) -> None:
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
        (b"", "Is it empty?"),
        (b"\n \n", "Is it empty?"),
        (b"[]", "Is it empty?"),
        (b"PK\x03\x04...", "Save it as CSV or JSON Lines"),
        (b"text,answer\nWho?,Mary\n", 'no column "question", but text, answer'),
        (b'[{"quesion": "Who?"}]', 'line 1: "question" is missing'),
        (b"question,answer\n", "Is it empty?"),
        (b"question,answer\n,Mary\n", 'line 2: "question" is missing'),
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
    with pytest.raises(DataError, match="does not exist"):
        read_log(tmp_path / "log.csv")


def test_lone_surrogates_reach_no_tokenizer(tmp_path: Path) -> None:
    ((entry,), _) = read(tmp_path, '{"question": "Who \\ud800?"}')
    assert entry.question == "Who \ufffd?"


RESET = LogEntry(question="How do I reset it?", answer="By the link")
ORDER = LogEntry(question="Where is my order?", answer="Under Orders")
LIFT = ("line 4", "thumbs down")


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [
        ("rating", "5.0", "1.0"),  # pandas, where one value is missing
        ("rating", "5,0", "1,0"),
        ("rating", "4/5", "2/5"),
        ("stars", "5 stars", "1 star"),
        ("Rating", "★★★★★", "★"),
        ("thumbs", "1.0", "-1.0"),
        ("thumbs", "👍", "👎"),
        ("thumbs", "👍🏽", "👎🏿"),  # skin tones
        ("vote", "thumbs_up", "thumbs-down"),
        ("Was helpful?", "Yes", "No"),
        ("helpful", "TRUE", "FALSE"),
        ("sentiment", "positive", "negative"),
        ("feedback", "good", "bad"),
        ("userFeedback", "👍", "👎"),
        ("feedback.value", ":+1:", ":thumbsdown:"),
        ("score", "1", "0"),
        ("score", "1.0", "0.0"),
        ("score", "5", "1"),
        ("rating", "9", "3"),
        ("rating (1-10)", "8.0", "4.0"),
        ("rating", "8/10", "4/10"),
        ("Score (0-10)", "10", "0"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_opinions_are_read_as_tools_write_them(
    tmp_path: Path, name: str, up: str, down: str, delimiter: str, encoding: str
) -> None:
    rows = [
        ("user_query", "response", name),
        ("How do I reset it?", "By the link", up),
        ("Where is my order?", "Under Orders", up),
        ("Who repairs the lift?", "Nobody", down),
        ("When is it open?", "At nine", ""),  # no opinion: the question counts alone
    ]
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    text = "\r\n".join(delimiter.join(row) for row in quoted)
    entries, dropped = read(tmp_path, text.encode(encoding))
    assert entries == [RESET, ORDER, LogEntry(question="When is it open?")]
    assert dropped == [LIFT]


def test_a_comment_in_the_users_words_is_no_opinion(tmp_path: Path) -> None:
    text = "question,answer,feedback\nWho?,Mary,I would rather have a table\n"
    assert read(tmp_path, text) == ([LogEntry(question="Who?")], [])


@pytest.mark.parametrize(("up", "down"), [("1", "-1"), ("1.0", "0.0")])
def test_ratings_that_are_no_stars_are_thumbs(tmp_path: Path, up: str, down: str) -> None:
    (tmp_path / "log.csv").write_text(f"question,answer,rating\nWho?,Mary,{up}\nWhen?,Now,{down}\n")
    (entry,), (dropped,) = read_log(tmp_path / "log.csv")
    assert (entry.question, entry.answer) == ("Who?", "Mary")
    assert (dropped.reason, dropped.detail) == ("thumbs down", "When?")


def test_one_rating_beyond_five_of_many_is_a_mistake(tmp_path: Path) -> None:
    rows = [f"Question {n}?,Yes,{stars}" for n, stars in enumerate([5, 4, 3, 2, 9, 5, 4, 5])]
    (tmp_path / "log.csv").write_text("\n".join(["question,answer,rating", *rows]))
    entries, dropped = read_log(tmp_path / "log.csv")
    assert [bool(one.answer) for one in entries] == [True, True, False, True, True, True]
    assert [(one.subject_id, one.reason) for one in dropped] == [
        ("line 5", "thumbs down"),
        ("line 6", "bad line"),
    ]
    assert '"rating" is "9", but may be: 1, 2, 3, 4, 5.' in dropped[1].detail


def test_a_log_of_nothing_but_rejected_answers_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("question,answer,rating\nWho?,Mary,2\n")
    with pytest.raises(DataError, match=r"line 2: thumbs down \(Who\?\)"):
        read_log(tmp_path / "log.csv")


def test_quoted_cells_may_follow_a_space(tmp_path: Path) -> None:
    text = '"question", "answer"\n"Who, then?", "Mary, or Ann"\n'
    (tmp_path / "log.csv").write_text(text)
    (entry,), dropped = read_log(tmp_path / "log.csv")
    assert (entry.question, entry.answer, dropped) == ("Who, then?", "Mary, or Ann", [])


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_a_first_line_may_name_the_delimiter(tmp_path: Path, separator: str) -> None:
    text = f"\ufeffsep={separator}\r\nquestion{separator}answer\r\nWho?{separator}Mary\r\n"
    assert read(tmp_path, text) == ([LogEntry(question="Who?", answer="Mary")], [])


@pytest.mark.parametrize(
    "value",
    [
        [{"question": "Who?", "answer": "Mary"}],
        {"data": [{"input": "Who?", "output": "Mary"}], "meta": {"page": 1}},
        {"hits": {"hits": [{"_source": {"query": "Who?", "response": "Mary"}}]}},
        {"inputs": {"question": "Who?"}, "outputs": {"answer": "Mary"}, "id": "7"},
        {"input": {"text": "Who?"}, "output": {"content": "Mary"}},
        {"userQuery": "Who?", "botResponse": "Mary", "rating": None, "thumbs": 1},
        {
            "messages": [
                {"role": "user", "content": "Who?"},
                {"role": "assistant", "content": "Mary"},
            ]
        },
        {"prompt": "Who?", "completion": "Mary", "scores": [{"name": "user", "value": 1}]},
        {
            "input": [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}],
            "output": {"role": "assistant", "content": "Mary"},
        },
    ],
)
@pytest.mark.parametrize("indent", [None, 1, 4])
def test_objects_are_read_as_tools_nest_them(tmp_path: Path, value: object, indent: int) -> None:
    text = json.dumps(value, indent=indent)
    assert read(tmp_path, text) == ([LogEntry(question="Who?", answer="Mary")], [])


def test_a_table_of_traces_holds_objects_in_its_cells(tmp_path: Path) -> None:
    text = 'id,inputs,outputs\n1,"{""question"": ""Who?""}","{""output"": ""Mary""}"\n'
    assert read(tmp_path, text) == ([LogEntry(question="Who?", answer="Mary")], [])
    text = "id,inputs.question,outputs.answer\n1,Who?,Mary\n"
    assert read(tmp_path, text) == ([LogEntry(question="Who?", answer="Mary")], [])


def test_clicks_may_be_objects(tmp_path: Path) -> None:
    value = {"question": "Who?", "clicked": [{"url": "a.md", "rank": 1}, {"url": "b.md"}]}
    ((entry,), _) = read(tmp_path, json.dumps(value))
    assert entry.clicks == ("a.md", "b.md")


@pytest.mark.parametrize("opened", ['"Who signs,Mary', 'Who signs,"Mary', 'Who "signs,"Mary'])
@pytest.mark.parametrize("closer", ['size 5",x', 'a "word", here', '"fine, so",x', "none"])
def test_an_unclosed_quote_takes_no_row_with_it(tmp_path: Path, opened: str, closer: str) -> None:
    rows = [f"Question {i}?,answer {i}" for i in range(50)]
    lines = ["question,answer", *rows[:10], opened, *rows[10:], closer, "Last?,yes"]
    entries, dropped = read(tmp_path, "\n".join(lines))
    found = {entry.question for entry in entries}
    assert {f"Question {i}?" for i in range(50)} | {"Last?"} <= found
    assert ("line 12", "bad line") in dropped


def test_a_cell_of_several_lines_with_commas_is_one_cell(tmp_path: Path) -> None:
    letter = "Dear all,\n\nthe office opens at nine, on Friday at ten, and\nso on.\nYours, Mary"
    text = f'question,answer,thumbs\nWhen?,"{letter}",up\n"A, b,\nc, d,\ne?",so,\n'
    entries, dropped = read(tmp_path, text)
    assert [entry.answer for entry in entries] == [letter, ""]
    assert dropped == []


def test_quotes_escaped_by_a_backslash_are_read(tmp_path: Path) -> None:
    entries, dropped = read(tmp_path, 'question,answer\n"Who \\"signs\\"?",Mary\nWhen?,now\n')
    assert [entry.question for entry in entries] == ['Who "signs"?', "When?"]
    assert dropped == []


@pytest.mark.parametrize("indent", [None, 2])
def test_a_faulty_element_of_an_array_costs_no_other(tmp_path: Path, indent: int | None) -> None:
    objects = [{"question": f"Q {i}?", "tags": [{"a": 1}, {"b": 2}]} for i in range(5)]
    text = json.dumps(objects, indent=indent).replace('"Q 2?"', "Q 2?")
    entries, dropped = read(tmp_path, text)
    assert [entry.question for entry in entries] == ["Q 0?", "Q 1?", "Q 3?", "Q 4?"]
    assert ("line 1" if indent is None else "line 24", "bad line") in dropped


def test_an_array_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    entries, dropped = read(tmp_path, '[{"question": "Who?"},\n {"question": "Wh')
    assert [entry.question for entry in entries] == ["Who?"]
    assert dropped == [("line 2", "bad line")]


def test_garbage_between_lines_is_named_line_by_line(tmp_path: Path) -> None:
    text = '{"question": "Who?"}\nhello\nthere\n{"question": "When?"}\n'
    entries, dropped = read(tmp_path, text)
    assert [entry.question for entry in entries] == ["Who?", "When?"]
    assert dropped == [("line 2", "bad line"), ("line 3", "bad line")]


def test_many_faulty_lines_take_no_longer_than_their_number(tmp_path: Path) -> None:
    lines = ["question,answer", *(f'"Question {i},answer' for i in range(3000)), "Last?,yes"]
    entries, dropped = read(tmp_path, "\n".join(lines))
    assert len(entries) + len(dropped) >= 1500


def test_a_packed_log_is_read(tmp_path: Path) -> None:
    packed = gzip.compress(b"question,answer\nWho?,Mary\n")
    assert read(tmp_path, packed) == ([LogEntry(question="Who?", answer="Mary")], [])
