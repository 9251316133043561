"""The generated pages of the reference say what the code says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from aloft.config import RunConfig

GENERATE = Path(__file__).parents[1] / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", GENERATE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current(generate: ModuleType) -> None:
    assert generate.outdated() == [], "Run: python docs/generate.py"


def test_every_setting_is_described(generate: ModuleType) -> None:
    stages = [field.annotation for field in RunConfig.model_fields.values()]
    for model in (RunConfig, *(s for s in stages if isinstance(s, type))):
        if issubclass(model, BaseModel):
            assert list(generate.attributes_of(model)) == list(model.model_fields), model
