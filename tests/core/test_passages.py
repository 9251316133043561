"""Cutting: offsets, lengths in tokens, and which of two passages that are alike is dropped."""

from random import Random

import pytest
from scripted import split_rejections
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from aloft.config import PassagesConfig
from aloft.corpus.duplicates import drop_copies
from aloft.corpus.passages import DocumentSplitter
from aloft.records import Document, Passage, Rejection


def word_tokenizer() -> Tokenizer:
    """One token a word, as anyone can count; short truncation and padding as encoders ship it."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=8, pad_id=1)
    return tokenizer


def split(
    *documents: Document, max_tokens: int = 16, min_characters: int = 0, similarity: float = 0.9
) -> tuple[list[Passage], list[Rejection]]:
    config = PassagesConfig(
        max_tokens=max_tokens,
        min_characters=min_characters,
    )
    splitter = DocumentSplitter(word_tokenizer(), config)
    outcomes = [outcome for document in documents for outcome in splitter.split(document)]
    passages, short = split_rejections(outcomes)
    kept, copies = split_rejections(list(drop_copies(passages, similarity)))
    return kept, [*short, *copies]


def numbered(first: int, last: int) -> str:
    return " ".join(f"w{number}" for number in range(first, last + 1))


def random_text(random: Random, length: int) -> str:
    pieces = [
        "word",
        "caf\u00e9",
        "\u6f22\u5b57",
        "\U0001f600",
        ". ",
        "\n",
        "\n\n",
        "  ",
        "# ",
        "\t",
    ]
    return "".join(random.choice(pieces) + " " * random.randrange(2) for _ in range(length))


@pytest.mark.parametrize("suffix", ["txt", "md"])
def test_every_passage_stands_where_it_says(suffix: str) -> None:
    for seed in range(40):
        random = Random(seed)
        document = Document(id=f"a.{suffix}", text=random_text(random, random.randrange(1, 300)))
        passages, _ = split(document)
        ends = 0
        for passage in passages:
            assert document.text[passage.start : passage.end] == passage.text
            assert passage.text == passage.text.strip() != ""
            assert passage.start >= ends
            assert len(passage.text.split()) <= 16
            ends = passage.end


@pytest.mark.parametrize("name", ["a.md", "a.markdown", "A.MD"])
def test_a_passage_of_a_markdown_file_ends_before_a_heading(name: str) -> None:
    text = f"# One\n\n{numbered(0, 6)}\n\n# Two\n\n{numbered(7, 15)}"
    passages, _ = split(Document(id=name, text=text))
    assert [one.text.split("\n")[0] for one in passages] == ["# One", "# Two"]


def test_no_word_is_lost_and_blocks_leave_no_trace() -> None:
    text = "\n\n".join(numbered(number, number + 9) for number in range(0, 20_000, 10))
    passages, rejections = split(Document(id="a.txt", text=text), max_tokens=20)
    assert len(text) > 5 * 20_000  # several blocks
    assert " ".join(passage.text for passage in passages).split() == text.split()
    assert rejections == []
    assert all(text[one.start : one.end] == one.text for one in passages)


def test_paragraphs_stay_whole_where_they_fit() -> None:
    first, second, third = numbered(1, 10), numbered(11, 20), numbered(21, 24)
    text = f"{first}\n\n{second}\n\n{third}"
    passages, _ = split(Document(id="a.txt", text=text))  # 10 + 10 is over 16, 10 + 4 is not
    assert [one.text for one in passages] == [first, f"{second}\n\n{third}"]


def test_the_title_is_carried_on_and_counts() -> None:
    text = numbered(1, 32)
    with_title, _ = split(Document(id="a.txt", text=text, title="one two three four"))
    without, _ = split(Document(id="a.txt", text=text))
    assert [len(one.text.split()) for one in with_title] == [12, 12, 8]
    assert [len(one.text.split()) for one in without] == [16, 16]
    assert with_title[0].content.startswith("one two three four\nw1 ")


def test_a_title_takes_at_most_half_of_a_passage() -> None:
    passages, _ = split(Document(id="a.txt", text=numbered(1, 16), title=numbered(101, 120)))
    assert [one.title for one in passages] == [numbered(101, 108)] * 2
    assert [len(one.text.split()) for one in passages] == [8, 8]


def test_a_script_the_tokenizer_does_not_know_is_cut_by_characters() -> None:
    random = Random(0)
    text = "".join(chr(0x0E01 + random.randrange(46)) for _ in range(1000))  # one Thai "word"
    passages, _ = split(Document(id="a.txt", text=text))
    assert "".join(one.text for one in passages) == text
    assert max(len(one.text) for one in passages) <= 320  # 16 tokens of 20 characters


def test_the_given_tokenizer_is_left_as_it_was() -> None:
    tokenizer = word_tokenizer()
    before = tokenizer.to_str()
    DocumentSplitter(tokenizer, PassagesConfig()).split(Document(id="a", text=numbered(1, 40)))
    assert tokenizer.to_str() == before


def test_titles_of_many_lengths_share_one_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy for each length took 9 MB with a small vocabulary, much more with a large one."""
    splitter = DocumentSplitter(word_tokenizer(), PassagesConfig(max_tokens=64))
    copying = "semantic_text_splitter.TextSplitter.from_huggingface_tokenizer"
    monkeypatch.setattr(copying, None)
    for length in range(1, 30):
        title = numbered(1, length)
        outcomes = splitter.split(Document(id="a.txt", text=numbered(1, 200), title=title))
        lengths = [len(one.text.split()) for one in outcomes if isinstance(one, Passage)]
        assert max(lengths) == 64 - length


def test_a_short_passage_is_dropped_with_its_place() -> None:
    passages, rejections = split(
        Document(id="a.txt", text="\n Tiny."), Document(id="b.txt", text="Six ch"), min_characters=6
    )
    assert [one.document_id for one in passages] == ["b.txt"]
    (rejection,) = rejections
    dropped = Passage(document_id="a.txt", text="Tiny.", start=2)
    assert rejection == Rejection(
        subject_id=dropped.id,
        stage="passages",
        reason="shorter than 6 characters",
        detail="at characters 2 to 7 of a.txt",
    )


def test_a_character_of_chinese_counts_as_three() -> None:
    row = "问题: 如何重置密码?\n答案: 点击登录页的忘记密码。"
    passages, rejections = split(
        Document(id="a.csv#1", text=row),
        Document(id="a.csv#2", text="答案: 没有。"),
        min_characters=40,
    )
    assert (len(row) < 40, [one.text for one in passages]) == (True, [row])
    assert [one.reason for one in rejections] == ["shorter than 40 characters"]


def test_the_first_of_exact_copies_is_kept_whatever_its_case_and_spaces() -> None:
    passages, rejections = split(
        Document(id="a", text="High water is at noon."),
        Document(id="b", text="HIGH water\n is at noon.", title="Another title"),
    )
    assert [one.document_id for one in passages] == ["a"]
    (rejection,) = rejections
    assert rejection.reason == "exact duplicate"
    assert rejection.detail == f"of passage {passages[0].id}, at characters 0 to 23 of b"


# 24 words give 20 runs of five; another last word changes one of them, so 19 of 21 are shared.
ALMOST = 19 / 21


@pytest.mark.parametrize(("similarity", "kept"), [(ALMOST - 0.01, 1), (ALMOST + 0.01, 2), (1.0, 2)])
def test_near_copies_are_told_by_shared_runs_of_words(similarity: float, kept: int) -> None:
    passages, rejections = split(
        Document(id="a", text=numbered(1, 24)),
        Document(id="b", text=numbered(1, 23) + " other"),
        max_tokens=30,
        similarity=similarity,
    )
    assert len(passages) == kept
    assert [one.reason for one in rejections] == ["near duplicate"] * (2 - kept)


def test_near_copies_are_told_by_characters_where_words_are_not_spaced() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(100))  # 96 runs, 95 of 97 shared
    passages, rejections = split(
        Document(id="a", text=text), Document(id="b", text=text[:-1] + "x")
    )
    assert [one.document_id for one in passages] == ["a"]
    assert [one.reason for one in rejections] == ["near duplicate"]
