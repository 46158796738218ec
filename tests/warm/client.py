"""The client of tests/warm: its arguments are the server's socket and those of ``python``.

It imports little, so that it starts in a moment.
"""

import json
import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def be(address: str, *arguments: str) -> int:
    """Be the command: hand over everything, and return its exit status or ``-`` its signal."""
    asked = {"arguments": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
    said = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        for number in PASSED_ON:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            signal.signal(number, lambda got, _: server.send(bytes([got])) and None)
        socket.send_fds(server, [len(said).to_bytes(4)], [0, 1, 2])
        server.sendall(said)
        return int.from_bytes(server.recv(2), signed=True)


if __name__ == "__main__":
    status = be(*sys.argv[1:])
    if status < 0:
        if -status in PASSED_ON:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)
