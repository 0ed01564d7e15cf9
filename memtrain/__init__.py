"""memtrain: why training needs so much more memory than prediction, to the byte and with evidence."""

from __future__ import annotations

__version__ = "0.1.0"
