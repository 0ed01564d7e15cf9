"""The architecture: imports point upwards only, and libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from paths import PACKAGE, TESTS

import memtrain

ROOMS = [
    "errors",
    "units",
    "files",
    "graph",
    "models",
    "planning",
    "run",
    "training",
    "engines",
    "cells",
    "measure",
    "sweeps",
    "answers",
    "explaining",
    "report",
    "functions",
    "cli",
]
"""The rooms in order. A room may import rooms before it, never rooms after it."""

ONLY_IN = {
    "typer": ("cli/",),
    "rich": ("cli/", "report/terminal/"),
    "memray": ("measure/",),
    "psutil": ("measure/",),
    "threadpoolctl": ("measure/",),
    "plotly": (
        "report/html.py",
        "report/figures.py",
        "report/notebook.py",
        "report/publication.py",
        "report/publish.py",
    ),
    "jinja2": ("report/html.py",),
    "torch": ("engines/torch_",),
    "jax": ("engines/jax_",),
    "matplotlib": ("report/static.py", "report/static_engines.py", "report/static_plots.py"),
    "graphlay": ("report/layout.py",),
}
MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_MODULES = sorted(TESTS.rglob("test_*.py"))


def imports(module):
    """The names that a module imports, at any depth of its code."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write imports in full"
            yield node.module


def room_of(name):
    return name.split(".")[1] if name.startswith("memtrain.") else None


def test_imports_point_upwards_only():
    for module in MODULES:
        own = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
        rooms = {name: room_of(name) for name in imports(module) if own not in ("__init__", "__main__")}
        for name, room in rooms.items():
            assert room is None or ROOMS.index(room) <= ROOMS.index(own), f"{module.name} imports {name}"


def test_a_schedule_and_what_it_holds_are_worked_out_without_rematerialisation():
    for module in (PACKAGE / "planning").glob("*.py"):
        assert not [name for name in imports(module) if name.startswith("memtrain.planning.remat")], (
            module.name
        )


def test_libraries_stay_in_their_rooms():
    for module in MODULES:
        path = module.relative_to(PACKAGE).as_posix()
        for name in imports(module):
            allowed = ONLY_IN.get(name.split(".")[0])
            assert allowed is None or path.startswith(allowed), f"{path} imports {name}"


def tree_of(module):
    return ast.parse(module.read_text(encoding="utf-8"))


def op_classes():
    """The names of the classes of ops."""
    from memtrain.graph.ops.base import Op

    found, waiting = set(), [Op]
    while waiting:
        for subclass in waiting.pop().__subclasses__():
            if subclass.__module__.startswith("memtrain.graph.ops"):
                found.add(subclass.__name__)
                waiting.append(subclass)
    return found | {"Op"}


def test_nothing_outside_of_the_ops_asks_which_op_a_node_has():
    import memtrain.graph.ops  # noqa: F401  this defines every class

    names, found = op_classes(), []
    for module in MODULES:
        if module.parent.name == "ops":
            continue
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass", "type"):
                words = {word.id for word in ast.walk(node) if isinstance(word, ast.Name)}
                if words & names or any(ast.unparse(argument).endswith(".op") for argument in node.args):
                    found.append(f"{module}:{node.lineno}")
    assert found == []


def test_nothing_finds_out_structure_by_parsing_a_name():
    """No regular expression and no string cutting is applied to the name or label of any object."""
    cutting = ("split", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix", "startswith")
    found = []
    for module in MODULES:
        if module.parts[-2] not in (
            "graph",
            "ops",
            "models",
            "planning",
            "remat",
            "run",
            "explaining",
            "answers",
        ):
            continue
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = ast.unparse(node.func.value)
                parsed = [ast.unparse(argument) for argument in node.args] if of == "re" else [of]
                if (of == "re" or node.func.attr in cutting) and any(
                    text.endswith((".name", ".label")) for text in parsed
                ):
                    found.append(f"{module}:{node.lineno}")
    assert found == []


def test_only_the_registry_knows_a_family():
    families = {f"memtrain.models.{m.stem}" for m in (PACKAGE / "models").glob("*.py")}
    families -= {f"memtrain.models.{shared}" for shared in ("__init__", "families", "network", "layers")}
    for module in MODULES:
        if module.parent.name == "models":
            continue
        known = sorted(families.intersection(imports(module)))
        assert known == [], f"{module} imports {known}"


def test_no_function_is_too_long_to_be_seen_at_once():
    """The limit is for its body, without signature and docstring."""
    found = {}
    for module in MODULES:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                length = node.end_lineno - first.lineno + 1
                if length > 50:
                    found[f"{module}:{node.name}"] = length
    assert found == {}


def test_no_module_is_too_long_to_be_read_in_one_sitting():
    assert {m.name: n for m in MODULES if (n := len(m.read_text(encoding="utf-8").splitlines())) > 260} == {}


def test_every_name_that_is_offered_is_there_and_no_more():
    assert set(memtrain.__all__) == {
        "Cell",
        "MemtrainError",
        "Row",
        "__version__",
        "cell_of",
        "explain",
        "frontier",
        "plan",
        "predicted_row",
        "sweep",
        "timeline_figure",
        "train",
    }
    for name in memtrain.__all__:
        assert getattr(memtrain, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = memtrain.nothing


def test_sweep_can_be_called_whatever_was_imported_before():
    code = "import memtrain.sweeps.sweep, memtrain; print(callable(memtrain.sweep))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


@pytest.mark.parametrize("statement", ["import memtrain", "import memtrain.cli.app"])
def test_importing_loads_no_numpy(statement):
    code = f"import sys; {statement}; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_every_test_lies_in_the_folder_of_its_room_under_a_name_of_its_own():
    folders = {path.relative_to(TESTS).parent.as_posix() for path in TEST_MODULES}
    assert folders <= {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"whole"}
    assert len({path.name for path in TEST_MODULES}) == len(TEST_MODULES)


def test_no_test_module_imports_another():
    for module in TEST_MODULES:
        others = [name for name in imports(module) if name.split(".")[-1].startswith("test_")]
        assert others == [], f"{module.name} imports {others}"


@pytest.mark.no_cover
def test_a_test_of_which_no_lines_are_counted_is_not_traced():
    assert not type(sys.gettrace()).__module__.startswith("coverage")
