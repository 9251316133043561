"""What the package promises as a whole."""

import subprocess
import sys

import aloft


def test_the_public_names_are_sorted_and_documented() -> None:
    constants_first = sorted(aloft.__all__, key=lambda name: (not name.isupper(), name))
    assert aloft.__all__ == constants_first
    for name in aloft.__all__:
        assert name.isupper() or getattr(aloft, name).__doc__, name


def test_importing_aloft_brings_no_model_library_and_no_host() -> None:
    program = (
        "import sys, aloft, aloft.cli;"
        "heavy = {'torch', 'transformers', 'llama_index', 'langchain_core', 'bm25s'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
