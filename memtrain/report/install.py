"""Commands that install missing libraries. memtrain itself is not on a public package index."""

from __future__ import annotations

import json
import re
import shlex
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import memtrain


def install_command(*libraries: str, extra: str = "") -> str:
    """The command that installs ``libraries``, which ``extra`` of memtrain lists, for the running Python.

    An editable installation is installed again with the extra; any other gets the libraries by name, in the
    versions that memtrain asks for.
    """
    try:
        installed = distribution("memtrain")
    except PackageNotFoundError:
        wanted = list(libraries)
    else:
        folder = _editable_folder(installed)
        if extra and folder is not None:
            wanted = ["-e", f"{folder}[{extra}]"]
        else:
            wanted = [_requirement(installed, name) for name in libraries]
    return shlex.join([sys.executable or "python3", "-m", "pip", "install", *wanted])


def _editable_folder(installed: Distribution) -> Path | None:
    """The folder of an editable installation (PEP 610), if the running code is in that folder."""
    try:
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        address = urlsplit(origin["url"])
        editable = origin["dir_info"]["editable"] and address.scheme == "file"
    except (ValueError, KeyError, TypeError):
        return None
    folder = Path(url2pathname(address.path))
    running = Path(memtrain.__file__).resolve().parents[1]
    return folder if editable and folder.resolve() == running else None


def _requirement(installed: Distribution, library: str) -> str:
    """What memtrain requires of a library: its name with the versions that are allowed."""
    for line in installed.requires or []:
        requirement = line.partition(";")[0].strip()
        if re.split(r"[^\w.-]", requirement, maxsplit=1)[0] == library:
            return requirement
    return library
