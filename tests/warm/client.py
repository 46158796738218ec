"""The client of tests/warm: its arguments are the server's socket and those of ``python``.

It imports what is built into Python, so that it starts in a moment.
"""

import _signal as signal  # pyright: ignore[reportMissingImports]
import _socket as socket
import marshal
import os
import sys
from _collections_abc import Mapping, Sequence

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def ask(
    address: str,
    arguments: Sequence[str],
    cwd: str,
    environment: Mapping[str, str],
    streams: Sequence[int] = (0, 1, 2),
    first: bytes = b"",
) -> tuple[socket.socket, int]:
    """Start ``python ARGUMENTS`` in a fork of the server; return a connection and the process.

    The server reads signals for the process from the connection, kills the process when it is
    closed, and at the end writes what ``status`` reads.

    Args:
        first: a pickled function that the process calls before all else.
    """
    asked = {"arguments": list(arguments), "cwd": cwd, "environment": dict(environment)}
    said = marshal.dumps({**asked, "first": first})
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    numbers = b"".join(stream.to_bytes(4, sys.byteorder) for stream in streams)
    server.sendmsg([len(said).to_bytes(4)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
    server.sendall(said)
    return server, int.from_bytes(server.recv(4))


def status(server: socket.socket) -> int:
    """Wait for the end of the process; return its exit status or ``-`` its signal."""
    return int.from_bytes(server.recv(2), signed=True)


def be(address: str, *arguments: str) -> int:
    """Be the command: hand over everything, and return how the process ended."""
    if "ABLAB_MAIN_PROCESS" in os.environ:  # A rank that Lightning starts ends with its parent.
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    server, _ = ask(address, arguments, os.getcwd(), os.environ)  # noqa: PTH109
    for number in PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda got, _: server.send(bytes([got])) and None)
    return status(server)


if __name__ == "__main__":
    ended = be(*sys.argv[1:])
    if ended < 0:
        if -ended in PASSED_ON:
            signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    sys.exit(ended)
