"""The options that export an answer, the same for every command, and what they do."""

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
    from memtrain.report.publish import Publication, Text
    from memtrain.report.section import Origin

STDOUT = Path("-")

_OPTIONS = {
    "export_csv": "Write the rows as CSV; - is stdout",
    "export_json": "Write everything as JSON; - is stdout",
    "export_markdown": "Write the tables and sentences as Markdown; - is stdout",
    "html": "Write a page that opens offline",
}
"""Files, by parameter, and what goes there."""


@dataclass(frozen=True)
class Exports:
    """Where an answer goes besides the terminal; ``-`` is stdout, in place of what the terminal shows."""

    export_csv: Path | None
    export_json: Path | None
    export_markdown: Path | None
    html: Path | None
    json: bool
    """The JSON document to stdout."""
    force: bool
    config: Path | None = None
    """The file that options were read from; it must not be overwritten."""

    @property
    def paths(self) -> dict[str, Path]:
        """By option, where something goes."""
        given = {_option(name): getattr(self, name) for name in _OPTIONS}
        return {
            **{option: path for option, path in given.items() if path is not None},
            **({"--json": STDOUT} if self.json else {}),
        }

    @property
    def to_stdout(self) -> bool:
        """Whether an export takes the place of what the terminal shows."""
        return STDOUT in self.paths.values()

    def without_files(self) -> Exports:
        """Only what goes to stdout."""
        kept = {name: path for name in _OPTIONS if (path := getattr(self, name)) == STDOUT}
        return Exports(**(dict.fromkeys(_OPTIONS) | kept), json=self.json, force=self.force)

    def check(
        self,
        answer: type,
        inputs: Iterable[str | Path | None] = (),
        others: Mapping[str, Path | None] | None = None,
    ) -> None:
        """Raise ``MemtrainError``, before anything runs, for exports that cannot all be written.

        ``answer`` is the type of what will be exported, ``inputs`` what the command reads besides its
        options, ``others`` what else it writes, by option.
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
        """Show the answer in the terminal, or export it to stdout; then write every file that is asked for.

        Where it is not ``shown``, the terminal gets nothing.

        Whatever happens, also when the reader of stdout has gone, every file that can be written is written;
        then what went wrong is raised. ``others`` are further texts: by option where to, and what makes it.
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
    """Give a command the options that export its answer: it gets them as ``exports``."""
    return _export_options(command, _OPTIONS)


def export_options_but_page(command: Command) -> Command:
    """The same for a command that has an option of its own for its page."""
    return _export_options(command, [name for name in _OPTIONS if name != "html"])


def _export_options(command: Command, names: Iterable[str]) -> Command:
    def option(about: str, *flags: str, **settings: Any) -> Any:
        return typer.Option(*flags, help=about, show_default=False, rich_help_panel=OUTPUT, **settings)

    file = {name: option(_OPTIONS[name], metavar="<file>") for name in names}
    json = option("Print the same JSON, in place of the usual output", "--json")
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
    """The command that is running, as a shell would read it."""
    return shlex.join(["memtrain", *sys.argv[1:]])


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def _text_of(
    publication: Publication[Any], option: str, answer: object, origin: Origin
) -> Callable[[], Text]:
    """What makes the text of an option."""
    makers: dict[str, Callable[[], Text]] = {
        "--export-csv": lambda: publication.csv(answer),
        "--export-json": lambda: publication.json(answer, origin),
        "--json": lambda: publication.json(answer, origin),
        "--export-markdown": lambda: publication.markdown(answer, origin),
        "--html": lambda: publication.html(answer, origin),
    }
    return makers[option]


def _show(publication: Publication[Any], answer: object) -> None:
    """What the terminal shows of an answer, its parts set apart by empty lines."""
    from memtrain.cli.console import results

    out = results()
    for number, part in enumerate(publication.screen(answer, out.width, out.options.ascii_only)):
        if number:
            out.print()
        out.print(part, markup=False, emoji=False)


def check_exports(outputs: Mapping[str, Path], force: bool, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise, before anything runs, for outputs (by option) that cannot all be written (`check_outputs`)."""
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
    """Write texts (by option: where to, and what makes it); ``show`` where none goes to stdout.

    Files come last, each whatever became of the others; then what went wrong is raised.
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
    """A text to stdout, piece by piece, with one line break at its end."""
    last = ""
    for piece in (text,) if isinstance(text, str) else text:
        typer.echo(piece, nl=False)
        last = piece or last
    if not last.endswith("\n"):
        typer.echo()


def _write(files: Mapping[Path, Callable[[], Text]], force: bool) -> None:
    """Write all files that can be written, then raise what went wrong with the others."""
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
