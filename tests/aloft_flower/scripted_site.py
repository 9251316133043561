"""A site without models, whose behaviour in each round is named; driven by test_refusals.py
and test_coming_and_going.py.

Arguments: the site's folder, its rows, what it adds to each weight, its behaviour by round.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aloft.api import State
from aloft.config import FederationConfig
from aloft_flower.site import take_part

SECRET = "Mrs Quillfeather of ward 17 has the zymotic fever"


class ScriptedSite:
    """Adds a number, and sometimes something else."""

    config = FederationConfig()

    def __init__(self, folder: Path, rows: int, added: float, script: list[str]) -> None:
        self.budget_file = folder / "spent.json"
        self._folder, self._rows, self._added, self._script = folder, rows, added, script

    def fault(self, order: Mapping[str, Any]) -> str:
        return ""

    def update(self, order: Mapping[str, Any], weights: State) -> tuple[State, int]:
        number = int(order["server-round"])
        does = self._script[number - 1] if number <= len(self._script) else "add"
        (self._folder / f"in-round-{number}").touch()
        found = {name: values + np.float32(self._added) for name, values in weights.items()}
        first = next(iter(found))
        if does == "hang":
            time.sleep(1000)
        while does == "wait" and not (self._folder / "go").exists():
            time.sleep(0.1)
        if does == "raise":
            raise ValueError(SECRET)
        if does == "shape":
            found[first] = found[first][:, :-1]
        if does == "nan":
            found[first].flat[0] = np.nan
        if does == "scale":
            found = {
                name: values + 1000 * np.float32(self._added) for name, values in weights.items()
            }
        if does == "double":
            found[first] = found[first].astype(np.float64)
        return found, -self._rows if does == "count" else self._rows

    def take(self, facts: Mapping[str, Any], weights: State) -> None:
        (self._folder / "taken").write_text(
            f"{facts['round']} {next(iter(weights.values())).flat[0]}"
        )


if __name__ == "__main__":
    place, count, step, does = sys.argv[1:]
    here = Path(place)
    take_part(ScriptedSite(here, int(count), float(step), does.split(",")), here, here / "flower")
