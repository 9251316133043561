"""CSV files: rows become documents, and a broken quote costs its own row."""

from pathlib import Path

import pytest
from reading import read

from aloft.records import Document


def test_table_rows_become_documents(tmp_path: Path) -> None:
    documents, rejections = read(
        tmp_path,
        ports__csv='port,depth\nOban,"12, at low\nwater"\nBute,1,2\n\nIona,\n',
        texts__csv="ID;Text;Title\nk;some text;T\n",
    )
    assert list(documents.values()) == [
        Document(id="ports.csv#1", text="port: Oban\ndepth: 12, at low\nwater"),
        Document(id="ports.csv#3", text="port: Iona"),
        Document(id="k", text="some text", title="T"),
    ]
    assert list(rejections) == ["ports.csv#2"]
    assert rejections["ports.csv#2"].detail.startswith("line 4: it has 3 cells, the header has 2")


def test_a_cell_may_be_as_long_as_a_document(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__csv="text\n" + "x" * 200_000 + "\n")
    assert len(documents["a.csv#1"].text) == 200_000


def test_a_quote_that_is_never_closed_costs_its_own_row(tmp_path: Path) -> None:
    rows = [f'{number},"row {number}"' for number in range(1, 61)]
    rows[9] = '10,"row 10'
    documents, rejections = read(tmp_path, a__csv="\n".join(["number,name", *rows]))
    assert len(documents) == 59
    assert list(rejections) == ["a.csv#10"]
    assert rejections["a.csv#10"].detail.startswith('line 11: a quote (") is opened and never')


def test_a_quote_that_closes_by_accident_costs_its_own_row(tmp_path: Path) -> None:
    rows = [f"{number},row {number}" for number in range(1, 61)]
    rows[9], rows[49] = '10,"row 10', '50,row 50"'
    documents, rejections = read(tmp_path, a__csv="\n".join(["number,name", *rows]))
    assert len(documents) == 59
    assert rejections["a.csv#10"].detail.startswith("line 11: ")


def test_a_quote_that_is_never_closed_in_the_last_row_is_listed(tmp_path: Path) -> None:
    documents, rejections = read(tmp_path, a__csv='a\none\n"two\nthree\n')
    assert [one.text for one in documents.values()] == ["a: one", "a: three"]
    assert rejections["a.csv#2"].detail.startswith("line 3: ")


def test_a_cell_of_several_lines_is_no_broken_quote(tmp_path: Path) -> None:
    cell = "Harbour office\nQuay 5\nOban\nScotland"
    documents, rejections = read(tmp_path, a__csv=f'name,address\nport,"{cell}"\n')
    assert documents["a.csv#1"].text == f"name: port\naddress: {cell}"
    assert rejections == {}


def test_a_table_as_excel_saves_it_is_read(tmp_path: Path) -> None:
    table = "sep=;\r\nPort;Größe\r\nOban;größer, für Fähren geeignet\r\n"
    documents, _ = read(tmp_path, a__csv=table.encode("cp1252"), b__csv=table.encode("utf-16"))
    assert [one.text for one in documents.values()] == [
        "Port: Oban\nGröße: größer, für Fähren geeignet"
    ] * 2


@pytest.mark.parametrize(
    "header",
    [
        "Port,Depth,,Berths,\n,low,high,old,new",  # Port in no group
        "Port,Depth,,Berths\nPort,low,high,old,new",  # in both rows, as where cells are merged
    ],
)
def test_names_of_groups_above_the_names_of_columns(tmp_path: Path, header: str) -> None:
    documents, rejections = read(tmp_path, a__csv=f"{header}\nOban,1,2,3,4\nBute,5,6,7,8\n")
    assert [one.text for one in documents.values()] == [
        "Port: Oban\nDepth low: 1\nDepth high: 2\nBerths old: 3\nBerths new: 4",
        "Port: Bute\nDepth low: 5\nDepth high: 6\nBerths old: 7\nBerths new: 8",
    ]
    assert rejections == {}


def test_groups_of_the_same_columns_are_known_by_that(tmp_path: Path) -> None:
    same = ",Depth,,Berths,\nPort,2022,2023,2022,2023\nOban,1,2,3,4\n"
    documents, _ = read(tmp_path, a__csv=same)
    assert documents["a.csv#1"].text == (
        "Port: Oban\nDepth 2022: 1\nDepth 2023: 2\nBerths 2022: 3\nBerths 2023: 4"
    )


@pytest.mark.parametrize(
    "table",
    [
        "Port,Notes,,Depth\nOban,a,b,3\n",  # a column without a name, and a row of all
        ",Depth,\nOban,1,2\nBute,3,4\n",  # one group alone: its columns have no names
        "Port,Notes\n,deep\nOban,old\n",  # no group
    ],
)
def test_a_column_without_a_name_is_no_group(tmp_path: Path, table: str) -> None:
    documents, _ = read(tmp_path, a__csv=table)
    assert len(documents) == table.count("\n") - 1


def test_many_broken_quotes_take_no_time(tmp_path: Path) -> None:
    table = "a,b\n" + '1,"x\n' * 5_000
    documents, rejections = read(tmp_path, a__csv=table, b__csv="a\ntext\n")
    assert list(documents) == ["b.csv#1"]
    assert len(rejections) == 5_000


def test_tabs_that_excel_states_and_bars_divide_cells(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__csv="sep=\t\nname\tprice\nA\t3", b__csv="name|age\nA|3")
    assert documents["a.csv#1"].text == "name: A\nprice: 3"
    assert documents["b.csv#1"].text == "name: A\nage: 3"


@pytest.mark.parametrize(
    "above",
    [
        "Fares of 2024,,\n,,\n",  # as Excel saves a sheet
        "Fares of 2024\n\n",
        '"Fares of\n2024"\n',
    ],
)
def test_what_stands_above_the_header_is_the_title(tmp_path: Path, above: str) -> None:
    table = f'{above}Port,Fare,Note\nOban,5,\nBute,6,"by ferry, daily"\n'
    documents, rejections = read(tmp_path, a__csv=table)
    assert documents["a.csv#1"].text == "Port: Oban\nFare: 5"
    assert documents["a.csv#2"].text == "Port: Bute\nFare: 6\nNote: by ferry, daily"
    assert {one.title for one in documents.values()} == {"Fares of 2024"}
    assert rejections == {}


@pytest.mark.parametrize(
    ("name", "table", "text"),
    [
        ("csv", "Fares, as of 1 May\nPort;Fare\nOban;5,50\nBute;6,00\n", "Port: Oban\nFare: 5,50"),
        ("csv", "Fares: car, bus, all\n\nPort;Fare\nOban;5\nBute;6\n", "Port: Oban\nFare: 5"),
        ("csv", 'Port;Note\nOban;"a, b,\nc, d,\ne, f"\n', "Port: Oban\nNote: a, b,\nc, d,\ne, f"),
        ("csv", "Port,Note\nOban,a; b; c\nBute,d; e; f\n", "Port: Oban\nNote: a; b; c"),
        (
            "tsv",
            "Fare, net\tTax, all\tSum, all\n1\t2\t3\n",
            "Fare, net: 1\nTax, all: 2\nSum, all: 3",
        ),
        ("csv", '"Port"\t"Fare, net"\n"Oban"\t"5"\n', "Port: Oban\nFare, net: 5"),
        ("csv", "Port;Fare;Note\nOban;5,5\nBute;6,5;x\nIona;7,5\n", "Port: Oban\nFare: 5,5"),
        ("csv", "text\nOpen, daily.\nNo dogs, cats.\n", "Open, daily."),
    ],
)
def test_the_delimiter_is_what_lines_agree_on(
    tmp_path: Path, name: str, table: str, text: str
) -> None:
    documents, rejections = read(tmp_path, **{f"a__{name}": table})
    assert documents[f"a.{name}#1"].text == text
    assert rejections == {}


@pytest.mark.parametrize("more", ["", ",,"])
def test_facts_above_the_header_are_part_of_the_title(tmp_path: Path, more: str) -> None:
    above = f"Report,Fares{more}\nDate,1 May 2024{more}\n{more}\n"
    table = "Port,Fare,Boats,Since\nOban,5,2,1881\nBute,6,1,1900\n"
    documents, rejections = read(tmp_path, a__csv=above + table)
    assert documents["a.csv#1"].text == "Port: Oban\nFare: 5\nBoats: 2\nSince: 1881"
    assert documents["a.csv#2"].title == "Report Fares Date 1 May 2024"
    assert rejections == {}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("Port,,,Fare\nOban,a,b,5\nBute,c,d,6\n", "Port: Oban\na\nb\nFare: 5"),
        ("Port,2023,2024,2025\nOban,a,b,c\n", "Port: Oban\n2023: a\n2024: b\n2025: c"),
    ],
)
def test_a_header_with_few_names_is_one(tmp_path: Path, table: str, text: str) -> None:
    documents, _ = read(tmp_path, a__csv=table)
    assert documents["a.csv#1"].text == text


def test_a_quoted_cell_may_follow_a_space(tmp_path: Path) -> None:
    documents, rejections = read(tmp_path, a__csv='"town", "fare"\n"Oban", "5, or 6 by night"\n')
    assert documents["a.csv#1"].text == "town: Oban\nfare: 5, or 6 by night"
    assert rejections == {}


def test_a_header_may_name_no_first_column(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, a__csv=",fare\n0,five\n1,six\n")  # as pandas writes an index
    assert [one.text for one in documents.values()] == ["0\nfare: five", "1\nfare: six"]


def test_a_list_with_commas_has_no_title(tmp_path: Path) -> None:
    documents, rejections = read(
        tmp_path, a__csv="Rule\nNo dogs, no cats.\nOpen, daily.\nNo bikes.\n"
    )
    assert documents["a.csv#3"].text == "Rule: No bikes."
    assert rejections["a.csv#1"].reason == "bad row"


def test_a_quoted_header_does_not_choose_the_delimiter(tmp_path: Path) -> None:
    table = '"Port, quay, berth";Fare\n"Oban, north, 2";5\n'
    documents, _ = read(tmp_path, a__csv=table)
    assert documents["a.csv#1"].text == "Port, quay, berth: Oban, north, 2\nFare: 5"


def test_empty_cells_beyond_the_header_are_no_cells(tmp_path: Path) -> None:
    documents, rejections = read(tmp_path, a__csv="Port,Fare\nOban,5,\nBute,6,x\n")
    assert documents["a.csv#1"].text == "Port: Oban\nFare: 5"
    assert rejections["a.csv#2"].reason == "bad row"


def test_columns_beside_a_text_are_listed_as_not_read(tmp_path: Path) -> None:
    table = b"id,Title,text,url,Price\n1,Ferry,It sails at noon.,http://a,5\n"
    rows = b'{"text": "one", "url": "a"}\n{"text": "two", "price": 5, "id": 7}\n'
    documents, rejections = read(tmp_path, a__csv=table, b__jsonl=rows, c__csv=b"a,b\n1,2\n")
    assert documents["1"].text == "It sails at noon."
    assert {name: one.detail for name, one in rejections.items()} == {
        name: f'{others}: beside "text" only "id" and "title" are read; put them into the text'
        for name, others in (("a.csv", "url, Price"), ("b.jsonl", "url, price"))
    }
