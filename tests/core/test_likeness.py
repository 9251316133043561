"""How many documents are among others, counted by hand."""

from aloft.corpus.likeness import kept_share
from aloft.records import Document

BOILER = Document(id="boiler", text="The boiler is blue. It hums. Is it warm? Yes.")
CATS = Document(id="cats", text="Cats sleep all day.\n\nDogs do not")
BOTH = [BOILER, CATS]


def test_a_moved_document_is_known_by_its_text() -> None:
    moved = Document(id="animals/cats", text="cats sleep\nall day. dogs do not")
    assert kept_share(BOTH, [moved]) == 1 / 2
    assert kept_share(BOTH, [moved, BOILER]) == 1


def test_an_edited_document_is_known_by_its_id_and_most_of_its_sentences() -> None:
    def known(text: str, name: str = "boiler") -> bool:
        return kept_share([BOILER], [Document(id=name, text=text)]) == 1

    assert known("The boiler is red. It hums. Is it warm? Yes.")  # three of four
    assert known("Yes. Is it\nwarm? New: it hums. IT HUMS. And more, and more, and more.")
    assert not known("The boiler is blue. It hums.")  # half
    assert not known("The boiler is red. It hums. Is it warm? Yes.", "heating")
    japanese = Document(id="a", text="猫は眠る。犬は眠らない。鳥は歌う。")
    assert kept_share([japanese], [Document(id="a", text="犬は眠らない。鳥は歌う。")]) == 1


def test_nothing_is_not_among_anything() -> None:
    assert kept_share([], BOTH) == kept_share(BOTH, []) == 0
