"""No process-wide mutable state: everything that lives as long as a measurement is a field of an object."""

from __future__ import annotations

import ast

from paths import PACKAGE

REGISTRY = {"OPS"}
"""The registry that is filled when the classes of ops are defined, and never later."""

PURE = {"_needs", "_numbers", "_predicting", "_training", "number"}
"""Caches of pure functions of immutable arguments: numbers as arrays, compiled functions, a chain's needs."""

MUTABLE = {"list", "dict", "set", "deque", "defaultdict", "Counter", "Lock", "RLock", "Condition", "Host"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE), ast.parse(path.read_text(encoding="utf-8"))


def named(node):
    return ast.unparse(node).partition("(")[0].rpartition(".")[2]


def assigned(tree):
    """The names that a module assigns when it is imported, with their values."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield ast.unparse(node.targets[0]), node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), node.value


def test_no_function_assigns_a_name_of_its_module():
    found = [path for path, tree in modules() for node in ast.walk(tree) if isinstance(node, ast.Global)]
    assert found == []


def test_no_module_has_an_empty_container_or_a_lock_that_is_filled_or_taken_later():
    found = []
    for path, tree in modules():
        for name, value in assigned(tree):
            empty = ast.unparse(value) in ("[]", "{}")
            made = isinstance(value, ast.Call) and named(value.func) in MUTABLE and not value.args
            if (empty or made) and name not in REGISTRY:
                found.append(f"{path}: {name}")
    assert found == []


def test_only_pure_functions_keep_their_results():
    found = set()
    for _path, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any("cache" in named(d) for d in node.decorator_list):
                found.add(node.name)
        for name, value in assigned(tree):
            if "cache" in ast.unparse(value).partition("(")[0]:
                found.add(name)
    assert found == PURE
