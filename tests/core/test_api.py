"""What `aloft.api` offers: names that exist, loaded when they are used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from aloft import api


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    tree = ast.parse(Path(api.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {(node.module, name.name) for node in imports for name in node.names}

    assert seen == {(module, name) for name, module in api._MODULES.items()}


def check_names(*, of_training: bool) -> None:
    for name, module in api._MODULES.items():
        if module.startswith("aloft.training") == of_training:
            assert getattr(api, name) is getattr(import_module(module), name)


def test_every_name_is_that_of_its_module() -> None:
    check_names(of_training=False)


@pytest.mark.model
def test_so_are_the_names_that_need_model_libraries() -> None:
    check_names(of_training=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'aloft\.api' has no attribute 'Nonsense'"):
        _ = api.Nonsense


def test_importing_it_brings_nothing_that_is_slow() -> None:
    program = (
        "import sys, aloft.api;"
        "slow = {'torch', 'transformers', 'numpy', 'bm25s', 'tokenizers', 'aloft.run'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


WITHOUT_LIBRARIES = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name in ("torch", "transformers", "sentence_transformers", "trl"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from aloft import api

models = api.Models()
models.language_model("openai:http://127.0.0.1:9/v1#any")
for load in (models.embedder, models.reranker, models.language_model, models.tokenizer):
    try:
        load(sys.argv[1])
    except api.MissingExtraError as error:
        print(error)
try:
    api.train_query_map
except api.MissingExtraError as error:
    print(error)
"""


def test_what_runs_models_here_says_which_extra_it_needs_and_a_server_needs_none(
    encoder: Path,
) -> None:
    command = [sys.executable, "-c", WITHOUT_LIBRARIES, str(encoder)]
    result = subprocess.run(command, capture_output=True, text=True)
    messages = result.stdout.splitlines()
    assert len(messages) == 5, result.stderr
    assert all(line.endswith('Run: pip install "aloft-rag[train]"') for line in messages)
