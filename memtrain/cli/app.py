"""The command ``memtrain``: its subcommands, and the one place where errors are caught."""

from __future__ import annotations

import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import typer

from memtrain import __version__
from memtrain.cli.sweep import sweep
from memtrain.cli.train import train
from memtrain.errors import MemtrainError

EXIT_BUG = 3
EXIT_TERMINATED = 143

app = typer.Typer(
    name="memtrain",
    help="Why training needs so much more memory than prediction: predicted, measured and explained.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(sweep)
app.command()(train)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"memtrain {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors of the tree become a line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except MemtrainError as error:
        print(f"memtrain: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception:
        traceback.print_exc()
        print("memtrain: this is a bug of memtrain; please report it with the lines above", file=sys.stderr)
        sys.exit(EXIT_BUG)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(EXIT_TERMINATED)
