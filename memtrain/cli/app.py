"""The command ``memtrain``: its subcommands, and the one place where errors are caught."""

from __future__ import annotations

import signal
import sys
import traceback
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from memtrain import __version__
from memtrain.cli.compare import compare
from memtrain.cli.doctor import doctor
from memtrain.cli.explain import explain
from memtrain.cli.frontier import frontier
from memtrain.cli.help import Command, Group, help_command
from memtrain.cli.plan import plan
from memtrain.cli.predict import predict
from memtrain.cli.refusals import refusal
from memtrain.cli.report import report
from memtrain.cli.streams import close_stdout, open_closed_streams
from memtrain.cli.sweep import sweep
from memtrain.cli.train import train
from memtrain.errors import MemtrainError

EXIT_BUG = 3
EXIT_TERMINATED = 143

_ABOUT = """See why training a network needs more memory than prediction.

Examples:
  memtrain explain                   # what training keeps, and why
  memtrain sweep                     # training beside inference
  memtrain frontier --memory 256MiB  # the largest batch and depth that fit
"""
_MORE = """Use `memtrain help <command>` for the options of a command. README.md explains the commands
and their figures."""

app = typer.Typer(
    name="memtrain",
    cls=Group,
    help=_ABOUT,
    epilog=_MORE,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (explain, sweep, frontier, plan, train, predict, report, compare, doctor):
    app.command(cls=Command)(_command)
app.command("help", cls=Command)(help_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"memtrain {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Show the version and exit", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line. Every error becomes a message on stderr and an exit code."""
    open_closed_streams()
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # symbols that a terminal cannot show become ?
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except MemtrainError as error:
        _refuse(str(error), error.exit_code)
    except typer.TyperException as error:  # the command line cannot be understood
        root: Any = typer.main.get_command(app)
        _refuse(refusal(error, root.commands, root, sys.argv[1:]), error.exit_code)
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # typer exits when a pipe is closed
            close_stdout()
            sys.exit(0)
        raise
    except BrokenPipeError:
        close_stdout()
        sys.exit(0)
    except OSError as error:
        close_stdout()
        where = f" {error.filename}" if error.filename else ""
        _refuse(f"cannot read or write{where}: {error.strerror or error}", 1)
    except MemoryError as error:
        _refuse(f"there is not enough memory: {error}", 1)
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            _report_bug()
        _refuse("no thread can be started: the limit on processes (ulimit -u) is reached; raise it", 1)
    except Exception:
        _report_bug()
    sys.exit(code)


def _report_bug() -> NoReturn:
    traceback.print_exc()
    _refuse("this is a bug of memtrain; please report it with the lines above", EXIT_BUG)


def _refuse(message: str, code: int) -> NoReturn:
    print(f"memtrain: {message}", file=sys.stderr)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(EXIT_TERMINATED)
