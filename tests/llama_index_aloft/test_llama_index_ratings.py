"""Marks of nodes as a step of an ingestion."""

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import ImageNode, MetadataMode, TextNode
from scripted import ScriptedModels
from test_llama_index_finetune import EchoLLM

from aloft.backends.shared import SharedModels
from aloft.errors import ConfigError, DataError
from aloft.testing import ScriptedTeacher
from llama_index_aloft import AloftRater

NODES = [TextNode(id_=str(i), text=text) for i, text in enumerate(["Menu", "Facts and figures"])]


def rater(**fields: object) -> AloftRater:
    """A model that finds text with facts three times as likely a 9 as a 3, and other text a 0."""
    source = ScriptedModels()
    facts, none = [0, 0, 0, 1, 0, 0, 0, 0, 0, 3], [1] + [0] * 9
    source.teacher_model = ScriptedTeacher(
        lambda _: "", lambda prompt: facts if "Facts" in str(prompt.messages) else none
    )
    return AloftRater(model="any", models=SharedModels(source), **fields)


def test_marks_stand_in_copies_and_no_model_is_shown_them() -> None:
    low, high = IngestionPipeline(transformations=[rater()]).run(nodes=NODES)
    assert low.metadata["aloft_rating"] == 0
    assert high.metadata["aloft_rating"] == pytest.approx(7.5 * 10 / 9, abs=1e-3)
    assert all("aloft_rating" not in node.metadata for node in NODES)
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert high.get_content(mode) == NODES[1].get_content(mode)


def test_low_marks_are_left_out_where_that_is_asked_for() -> None:
    (kept,) = rater(keep_at_least=5, key="mark")(NODES)
    assert (kept.node_id, "mark" in kept.metadata) == ("1", True)


def test_an_llm_of_the_host_may_mark_and_what_can_not_be_read_is_kept() -> None:
    class Marking(EchoLLM):
        def chat(self, messages, **kwargs):  # type: ignore[no-untyped-def]
            response = super().chat(messages, **kwargs)
            said = str(response.message.content)
            response.message.content = "8" if "Facts" in said else "who knows"
            return response

    none, eight = AloftRater(llm=Marking(), keep_at_least=5)(NODES)
    assert (none.metadata["aloft_rating"], eight.metadata["aloft_rating"]) == (None, 8)


@pytest.mark.parametrize("fields", [{}, {"model": "any", "llm": EchoLLM()}])
def test_one_of_the_two_must_mark(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="either model or llm"):
        AloftRater(**fields)


def test_nodes_without_text_are_kept_and_not_asked_about() -> None:
    ours = rater(keep_at_least=5)

    image, facts = ours([ImageNode(id_="image", image="abc"), NODES[1]])

    assert (image.node_id, image.metadata["aloft_rating"]) == ("image", None)
    assert facts.metadata["aloft_rating"] == pytest.approx(7.5 * 10 / 9, abs=1e-3)
    with pytest.raises(DataError, match="list of BaseNode objects"):
        ours(["a text"])  # type: ignore[list-item]


def test_it_is_serialised_without_what_it_loads_from() -> None:
    values = rater().to_dict()
    assert (values["model"], values["class_name"]) == ("any", "AloftRater")
    assert "models" not in values
