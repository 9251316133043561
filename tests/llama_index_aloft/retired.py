"""The public surface of LlamaIndex's retired finetuning package, read from its source."""

import ast
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).parents[1] / "fixtures" / "llama-index-finetuning-0.4.2.json"


def surface(package: Path) -> dict[str, dict[str, Any]]:
    """By module what it defines: of a class its public methods, each with its parameters.

    A parameter is its name, with " = default" where it has one and "*" or "**" before it. Names
    that a module only imports belong to the module that defines them.
    """
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        names = {key: value for node in _body(file) for key, value in _defined(node)}
        if names:
            found[name] = names
    return found


def _body(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text(encoding="utf-8")).body


def _defined(node: ast.stmt) -> list[tuple[str, Any]]:
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
        return [(node.name, _parameters(node.args))]
    if isinstance(node, ast.ClassDef):
        methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
        public = [one for one in methods if one.name == "__init__" or one.name[0] != "_"]
        fields = [
            one.target.id
            for one in node.body
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        ]
        return [
            (
                node.name,
                {
                    **{one.name: _parameters(one.args) for one in public},
                    **({"fields": fields} if fields else {}),
                },
            )
        ]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        return [(name, "constant")] if name.isupper() else []
    return []


def _parameters(given: ast.arguments) -> list[str]:
    names = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(names) - len(given.defaults)) + list(given.defaults)
    listed = [
        name.arg if default is None else f"{name.arg} = {ast.unparse(default)}"
        for name, default in zip(names, defaults, strict=True)
        if name.arg not in ("self", "cls")
    ]
    listed += [f"*{given.vararg.arg}"] if given.vararg else []
    listed += [f"{name.arg}" for name in given.kwonlyargs]
    return listed + ([f"**{given.kwarg.arg}"] if given.kwarg else [])
