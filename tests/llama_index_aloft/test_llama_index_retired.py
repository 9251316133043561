"""What the retired package had is here by the same name, or in a table with the reason."""

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from retired import FIXTURE, surface

from llama_index_aloft import finetuning

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "migrate-llama-index-finetuning.md"
RETIRED: dict[str, dict[str, Any]] = json.loads(FIXTURE.read_text(encoding="utf-8"))
NAMES = [(module, name) for module, names in RETIRED.items() for name in names]


def table() -> dict[str, tuple[str, str]]:
    """By name whether it is kept, and what differs."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").split("## Every name")[1].splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| `"):
            for name in re.findall(r"`(\w+)`", cells[0]):
                found[name] = (cells[1].rstrip(" |"), cells[2] if len(cells) > 2 else "")
    return found


def test_the_table_has_a_row_for_each_name_and_no_other() -> None:
    assert set(table()) == {name for _, name in NAMES}
    assert {kept for kept, _ in table().values()} == {"kept", "away"}
    assert all(why for kept, why in table().values() if kept == "away")


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_is_where_it_was_or_away(module: str, name: str) -> None:
    kept, _ = table()[name]
    if kept == "kept":
        assert hasattr(importlib.import_module(f"llama_index_aloft.finetuning.{module}"), name)
    else:
        assert name not in finetuning.__all__


def test_a_hosted_engine_says_why_it_is_away() -> None:
    with pytest.raises(ImportError, match="documents would leave this machine"):
        from llama_index_aloft.finetuning import OpenAIFinetuneEngine  # noqa: F401
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        finetuning.Nonsense  # noqa: B018


def callables() -> list[tuple[str, str, list[str]]]:
    found = []
    for module, name in NAMES:
        if table()[name][0] == "kept":
            known = RETIRED[module][name]
            if isinstance(known, list):
                found.append((module, name, known))
            elif isinstance(known, dict):
                methods = {key: value for key, value in known.items() if key != "fields"}
                found += [(module, f"{name}.{key}", value) for key, value in methods.items()]
    return found


@pytest.mark.parametrize(("module", "path", "retired"), callables())
def test_arguments_have_their_names_places_and_defaults(
    module: str, path: str, retired: list[str]
) -> None:
    name, _, method = path.partition(".")
    differs = table()[name][1]
    ours: Any = getattr(importlib.import_module(f"llama_index_aloft.finetuning.{module}"), name)
    if method:
        if f"`{method}` is away" in differs:
            assert not hasattr(ours, method)
            return
        ours = getattr(ours, method)
    if isinstance(ours, property):
        return
    given = [one for one in inspect.signature(ours).parameters.values() if one.name != "self"]
    for place, written in enumerate(retired):
        wanted, _, default = written.partition(" = ")
        if wanted.startswith("*"):
            stands = any(str(one) == wanted or str(one).startswith(wanted + ":") for one in given)
            assert stands or f"`{wanted.strip('*')}`" in differs, wanted
            continue
        assert given[place].name == wanted
        if f"`{wanted}`" in differs:
            continue
        if not default:
            assert given[place].default is inspect.Parameter.empty
        elif default.startswith("DEFAULT_"):
            assert given[place].default.count("{") >= 2
        else:
            assert repr(given[place].default) == default


def test_fields_of_data_have_their_names() -> None:
    data = finetuning.EmbeddingQAFinetuneDataset
    assert list(data.model_fields) == RETIRED["embeddings.common"][data.__name__]["fields"]
    sample = finetuning.CrossEncoderFinetuningDatasetSample
    fields = RETIRED["cross_encoders.dataset_gen"][sample.__name__]["fields"]
    assert list(inspect.signature(sample).parameters) == fields


def test_the_list_is_that_of_the_installed_package() -> None:
    package = pytest.importorskip(
        "llama_index.finetuning", reason="llama-index-finetuning is not installed"
    )
    assert surface(Path(package.__file__).parent) == RETIRED
