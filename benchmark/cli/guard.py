"""Every error of a command becomes one message on stderr and an exit code."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import typer

from arithloc.benchmark.api.errors import ArithlocError, UsageError
from arithloc.benchmark.api.registry import one_line

INTERRUPTED = 130

_ParseError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def guarded(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Runs a command; errors become one line on stderr.

    Args:
        command: takes the arguments, returns the exit code.
        arguments: as given; `--debug` may stand anywhere and shows tracebacks.

    Returns: 0 done, 1 failed, 2 wrong usage or missing prerequisite, 130 interrupted.
    """
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        return command(arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted.", INTERRUPTED, debug)
    except BrokenPipeError:  # the reader of our output has gone (`bench list | head`): nothing to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ArithlocError as error:
        return _failed(str(error), error.exit_code, debug)
    except _ParseError as error:
        return _failed(error.format_message(), UsageError.exit_code, debug)
    except Exception as error:  # anything else is a bug: one line names it, the traceback is on request
        return _failed(f"unexpected {one_line(error)}. Run again with --debug for the details.", 1, debug)


def _failed(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"{message}\n" if code == INTERRUPTED else f"error: {message}\n")
    return code
