"""Prepare streams, print errors and set exit statuses, for all commands but ``train.py``."""

import functools
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from ablab.errors import UserError
from ablab.safety.printable import printable
from ablab.safety.redaction import redacted
from ablab.safety.streams import end_output, prepare_streams


class Command(Protocol):
    def __call__(self, arguments: list[str] | None = None) -> int: ...


def as_command(main: Callable[[list[str]], int]) -> Command:
    """Return ``main`` as a command, which prints an error as one line and returns its exit status.

    Called without arguments, the command reads those of the process. It returns 1 if a file or the
    output cannot be written, and 141, as a shell has it for SIGPIPE, if nobody reads the output.
    """

    @functools.wraps(main)
    def command(arguments: list[str] | None = None) -> int:
        prepare_streams()
        try:
            status = main(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
        except UserError as error:
            return _fail(str(error), error.exit_status)
        except BrokenPipeError:  # The reader has seen enough: ablab report FOLDER | head
            return 128 + signal.SIGPIPE
        except OSError as error:
            if error.filename is not None:
                return _fail(f"{error.filename}: {error.strerror}", 1)
            return _fail(f"standard output: {error.strerror}", 1)
        finally:
            end_output()
        return status

    return command


def _fail(message: str, status: int) -> int:
    print(f"error: {printable(redacted(message))}", file=sys.stderr)  # noqa: T201
    return status
