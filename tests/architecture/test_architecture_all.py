"""Every public module has an exact `__all__`."""

from __future__ import annotations

import ast
import importlib

import pytest
from architecture_sources import MODULES, parse

# Programs have no names for others.
PUBLIC = [name for name in MODULES if not name.endswith("__main__")]

# Names that one module defines and another lists, too.
REEXPORTED = {"scsiemu.asc": {"ASC_NAMES"}}


def defined_names(tree: ast.Module) -> set[str]:
    """Public names that a module defines at its top level; what it imports and type variables are not."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign) and not is_type_variable(node.value):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return {name for name in found if not name.startswith("_")}


def is_type_variable(value: ast.expr) -> bool:
    """`T = TypeVar("T")` and its kin."""
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("TypeVar", "ParamSpec", "TypeVarTuple")


def reexported(name: str, tree: ast.Module) -> set[str]:
    """Names that a module may list though it only imports them: a package those of its inside."""
    if MODULES[name].name != "__init__.py":
        return REEXPORTED.get(name, set())
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_architecture_all_is_exact(name: str) -> None:
    """`__all__` lists what the module defines without a leading underscore, no more and no less."""
    tree = parse(MODULES[name])
    wanted = defined_names(tree)
    module = importlib.import_module(name)
    listed = list(getattr(module, "__all__", []))
    if not wanted and not listed:
        return

    assert len(listed) == len(set(listed))
    assert wanted - set(listed) == set(), "defined, not listed"
    assert set(listed) - wanted - reexported(name, tree) == set(), "listed, not defined"
    assert all(hasattr(module, public) for public in listed)
