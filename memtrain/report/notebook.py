"""An answer in Python, which a notebook shows, with its rows, its document and its figure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memtrain.errors import InputError
from memtrain.files import write_new
from memtrain.report.publication import Publication, Text
from memtrain.report.publish import publication_of
from memtrain.report.section import Origin, Section

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Answer = TypeVar("Answer")

_LEFT = 'style="text-align: left; white-space: pre-line"'


class Shown(Generic[Answer]):
    """An answer that shows itself. Its data are in ``answer``, whose attributes can also be read here."""

    def __init__(self, answer: Answer, call: str) -> None:
        self.answer = answer
        self._origin = Origin(call)
        self._publication: Publication[Answer] = publication_of(type(answer))

    def __getattr__(self, name: str) -> Any:
        if name == "answer":  # it is not set yet while the object is unpickled
            raise AttributeError(name)
        return getattr(self.answer, name)

    def __repr__(self) -> str:
        """The title, and the first sentence of the answer."""
        lead = [] if self._publication.lead is None else self._publication.lead(self.answer)
        sections = list(self._sections())
        first = [*lead, *(text for section in sections for text in section.sentences)] or [sections[0].title]
        return f"<{self._publication.title}: {first[0]}>"

    def _repr_html_(self) -> str:
        """Sentences and tables, for a notebook."""
        return "".join(map(_html, self._sections()))

    def to_records(self) -> list[dict[str, Any]]:
        """The rows of the CSV as dictionaries with numbers as numbers, for a data frame."""
        return [
            {name: _value(text) for name, text in line.items()}
            for line in csv.DictReader(_whole(self._publication.csv(self.answer)).splitlines())
        ]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, the same as ``--json`` prints."""
        document: dict[str, Any] = json.loads(_whole(self._publication.json(self.answer, self._origin)))
        return document

    def figure(self) -> Figure:
        """The plotly figure of the answer. Raises ``InputError`` without plotly, or without a figure."""
        if self._publication.figure is None:
            raise InputError(f"{self._publication.title!r} has no figure", "use to_records() for a plot")
        return self._publication.figure(self.answer)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the answer as CSV, JSON, markdown or HTML, if ``path`` ends with .csv, .json, .md or .html.

        Raises ``InputError`` for another ending, and for an existing file unless ``force`` is set.
        """
        path, made = Path(path), self._publication
        makers: dict[str, Callable[[], Text]] = {
            ".csv": lambda: made.csv(self.answer),
            ".json": lambda: made.json(self.answer, self._origin),
            ".md": lambda: made.markdown(self.answer, self._origin),
            ".html": lambda: made.html(self.answer, self._origin),
        }
        if path.suffix not in makers:
            raise InputError(f"{path} does not end with {', '.join(makers)}", "choose one of these")
        write_new(path, makers[path.suffix](), force)

    def _sections(self) -> Iterable[Section]:
        return self._publication.sections(self.answer)


def _whole(text: Text) -> str:
    return text if isinstance(text, str) else "".join(text)


def _value(text: str) -> Any:
    """The value of a field of a CSV: a number, a truth value, ``None`` if empty, or the text itself."""
    if text in ("", "true", "false"):
        return {"": None, "true": True, "false": False}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _html(section: Section) -> str:
    """A section as HTML: its title, its table, its sentences."""
    return "".join(_parts(section))


def _parts(section: Section) -> Iterator[str]:
    if section.title:
        yield f"<h4>{escape(section.title)}</h4>"
    if section.heads:
        head = "".join(_cell("th", text, i in section.words) for i, text in enumerate(section.heads))
        rows = (
            "".join(_cell("td", text, i in section.words) for i, text in enumerate(line))
            for line in section.lines
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        yield f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    for sentence in section.sentences:
        yield f"<p>{escape(sentence)}</p>"


def _cell(tag: str, text: str, words: bool) -> str:
    return f"<{tag}{f' {_LEFT}' if words else ''}>{escape(text)}</{tag}>"
