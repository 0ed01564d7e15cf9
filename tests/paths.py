"""Where the repository, its parts and the helpers of the tests lie."""

from pathlib import Path

import memtrain

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SCRIPTS = ROOT / "scripts"
PACKAGE = Path(memtrain.__file__).parent
