"""The paths of the repository, of its parts, and of the helpers of the tests."""

from pathlib import Path

import memtrain

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SCRIPTS = ROOT / "scripts"
PACKAGE = Path(memtrain.__file__).parent
