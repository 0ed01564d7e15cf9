"""The start of a module of exactly this package in a new process, in any current directory.

``python -m`` would search the current directory first. It could then run a file ``json.py`` of this
directory, or the code of another checkout of the package.
"""

from __future__ import annotations

import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def command_of(module: str) -> tuple[str, ...]:
    """The command that runs ``module`` of this package in a fresh interpreter."""
    return (sys.executable, "-P", str(Path(__file__).resolve()), module)


def _main() -> None:
    """Import the package of this file, by its path, and run the module that the command line names."""
    name = _PACKAGE.name
    spec = spec_from_file_location(name, _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)])
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package in {_PACKAGE}")
    package = module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
