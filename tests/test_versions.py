"""The versions of the hosts that are tested are those that the package allows."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
HOSTS = [Requirement(EXTRAS[extra][0]) for extra in ("llama-index", "langchain")]


def pin(file: str, name: str) -> Version:
    lines = (ROOT / file).read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(f"{name}=="))
    return Version(found.removeprefix(f"{name}=="))


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_the_oldest_and_the_newest_allowed_host_are_tested(host: Requirement) -> None:
    bounds = {one.operator: Version(one.version) for one in host.specifier}
    assert pin("constraints-lowest.txt", host.name) == bounds[">="]
    assert pin("constraints.txt", host.name) in host.specifier
