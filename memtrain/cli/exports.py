"""The options that export an answer, which are the same for every command, and the exports themselves."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cli.groups import OUTPUT
from memtrain.cli.options import Command, Force, with_parameters

if TYPE_CHECKING:
    from memtrain.report.publication import Publication, Text
    from memtrain.report.section import Origin

STDOUT = Path("-")

_OPTIONS = {
    "export_csv": "Write the rows as CSV; - is stdout",
    "export_json": "Write everything as JSON; - is stdout",
    "export_markdown": "Write the tables and sentences as Markdown; - is stdout",
    "html": "Write a page that opens offline",
}
"""By parameter: the help of each option that names a file."""


@dataclass(frozen=True)
class Exports:
    """The exports of an answer. The path ``-`` is stdout, and replaces the text for the terminal."""

    export_csv: Path | None
    export_json: Path | None
    export_markdown: Path | None
    html: Path | None
    json: bool
    """Whether the JSON document goes to stdout."""
    force: bool
    config: Path | None = None
    """The file that options were read from; it must not be overwritten."""

    @property
    def paths(self) -> dict[str, Path]:
        """The path of each export by option."""
        given = {_option(name): getattr(self, name) for name in _OPTIONS}
        return {
            **{option: path for option, path in given.items() if path is not None},
            **({"--json": STDOUT} if self.json else {}),
        }

    @property
    def to_stdout(self) -> bool:
        """Whether an export replaces the text for the terminal."""
        return STDOUT in self.paths.values()

    def without_files(self) -> Exports:
        """The exports that go to stdout, without the files."""
        kept = {name: path for name in _OPTIONS if (path := getattr(self, name)) == STDOUT}
        return Exports(**(dict.fromkeys(_OPTIONS) | kept), json=self.json, force=self.force)

    def check(
        self,
        answer: type,
        inputs: Iterable[str | Path | None] = (),
        others: Mapping[str, Path | None] | None = None,
    ) -> None:
        """Raise ``MemtrainError``, before anything runs, if not all exports can be written.

        ``answer`` is the type of the answer. ``inputs`` are the files that the command reads besides a file
        of options. ``others`` are the other files that it writes, by option.
        """
        from memtrain.report.publish import publication_of

        if self.html is not None:
            publication_of(answer).check_page()
        files = {option: path for option, path in (others or {}).items() if path is not None}
        check_exports({**self.paths, **files}, self.force, [*inputs, self.config])

    def publish(
        self,
        answer: object,
        origin: Origin | None = None,
        others: Mapping[str, tuple[Path | None, Callable[[], Text]]] | None = None,
        *,
        shown: bool = True,
    ) -> None:
        """Show the answer in the terminal, or export it to stdout; then write the files.

        The terminal shows nothing unless ``shown`` is set. Every file that can be written is written, even if
        the reader of stdout has gone or another file fails; after this, an error is raised. ``others`` are
        further texts by option: the path of each, and a function that makes it.
        """
        from memtrain.report.publish import publication_of
        from memtrain.report.section import Origin

        publication = publication_of(type(answer))
        origin = origin or Origin(command_line())
        texts = {
            option: (path, _text_of(publication, option, answer, origin))
            for option, path in self.paths.items()
        }
        for option, (path, make) in (others or {}).items():
            if path is not None:
                texts[option] = (path, make)
        export(texts, self.force, (lambda: _show(publication, answer)) if shown else lambda: None)


def export_options(command: Command) -> Command:
    """``command`` with the options that export its answer, which it gets as ``exports``."""
    return _export_options(command, _OPTIONS)


def export_options_but_page(command: Command) -> Command:
    """``command`` with these options but ``--html``, because it has an option of its own for its page."""
    return _export_options(command, [name for name in _OPTIONS if name != "html"])


def _export_options(command: Command, names: Iterable[str]) -> Command:
    def option(about: str, *flags: str, **settings: Any) -> Any:
        return typer.Option(*flags, help=about, show_default=False, rich_help_panel=OUTPUT, **settings)

    file = {name: option(_OPTIONS[name], metavar="<file>") for name in names}
    json = option("Print the JSON document in place of the usual output", "--json")
    parameters = [
        *(_parameter(name, None, Annotated[Path | None, settings]) for name, settings in file.items()),
        _parameter("json", False, Annotated[bool, json]),
        _parameter("force", False, Force),
    ]
    return with_parameters(
        command, "exports", parameters, lambda given: Exports(**{**dict.fromkeys(_OPTIONS), **given})
    )


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def command_line() -> str:
    """The running command, as text for a shell."""
    return shlex.join(["memtrain", *sys.argv[1:]])


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def _text_of(
    publication: Publication[Any], option: str, answer: object, origin: Origin
) -> Callable[[], Text]:
    """The function that makes the text of an option."""
    makers: dict[str, Callable[[], Text]] = {
        "--export-csv": lambda: publication.csv(answer),
        "--export-json": lambda: publication.json(answer, origin),
        "--json": lambda: publication.json(answer, origin),
        "--export-markdown": lambda: publication.markdown(answer, origin),
        "--html": lambda: publication.html(answer, origin),
    }
    return makers[option]


def _show(publication: Publication[Any], answer: object) -> None:
    """Print an answer for the terminal, with empty lines between its parts."""
    from memtrain.cli.console import results

    out = results()
    for number, part in enumerate(publication.screen(answer, out.width, out.options.ascii_only)):
        if number:
            out.print()
        out.print(part, markup=False, emoji=False)


def check_exports(outputs: Mapping[str, Path], force: bool, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise an error, before anything runs, if not all ``outputs`` (paths by option) can be written."""
    from memtrain.errors import InputError
    from memtrain.files import check_outputs

    to_stdout = [option for option, path in outputs.items() if path == STDOUT]
    if len(to_stdout) > 1:
        raise InputError(
            f"{' and '.join(to_stdout)} both write to stdout", "name a file for all but one of them"
        )
    check_outputs({option: path for option, path in outputs.items() if path != STDOUT}, force, inputs)


def export(
    texts: Mapping[str, tuple[Path, Callable[[], Text]]], force: bool, show: Callable[[], None]
) -> None:
    """Write texts, given by option as a path and a function; call ``show`` if none goes to stdout.

    Files come last. Each is written even if another one fails; after this, an error is raised.
    """
    to_stdout = [make for path, make in texts.values() if path == STDOUT]
    try:
        for make in to_stdout:
            _print(make())
        if not to_stdout:
            show()
    finally:
        _write({path: make for path, make in texts.values() if path != STDOUT}, force)


def _print(text: Text) -> None:
    """Write a text to stdout, piece by piece. Add a line break if the text does not end with one."""
    last = ""
    for piece in (text,) if isinstance(text, str) else text:
        typer.echo(piece, nl=False)
        last = piece or last
    if not last.endswith("\n"):
        typer.echo()


def _write(files: Mapping[Path, Callable[[], Text]], force: bool) -> None:
    """Write all files that can be written; after this, raise the errors of the others."""
    from memtrain.errors import MemtrainError, StoreError
    from memtrain.files import write_new

    failures: list[MemtrainError] = []
    for path, make in files.items():
        try:
            write_new(path, make(), force)
        except MemtrainError as error:
            failures.append(error)
    if len(failures) > 1:
        raise StoreError("; ".join(map(str, failures)))
    if failures:
        raise failures[0]
