"""A local HTTP server that speaks as much of W&B's protocol as a run needs, and can misbehave.

Behaviours:
    works: answers as the real one does and keeps what it is told.
    refuses: 401 to everything, as for a wrong key.
    breaks: 500 to everything.
    nonsense: 200 and a body that is no JSON.
    dies: takes the run on, then closes every connection before any history has come.
    hangs: accepts connections and never answers.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Behaviour = Literal["works", "refuses", "breaks", "nonsense", "dies", "hangs"]


@dataclass
class Received:
    """What the server was told of one run."""

    operations: list[str] = field(default_factory=list)
    upserts: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    complete: bool = False
    uploads: list[str] = field(default_factory=list)

    def value(self, name: str) -> Any:
        """The last value that an upsert gave for ``name``."""
        return next((u[name] for u in reversed(self.upserts) if u.get(name) is not None), None)


class FakeServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.received = Received()
        self.dead = threading.Event()
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault of the server."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def fake_server(behaviour: Behaviour) -> Iterator[FakeServer]:
    with FakeServer(behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def log_message(self, *_: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        if server.behaviour == "hangs" or server.dead.is_set():
            if server.behaviour == "hangs":
                server.closing.wait()
            self.close_connection = True
        elif server.behaviour == "refuses":
            self._send({"errors": [{"message": "no such user"}]}, status=401)
        elif server.behaviour == "breaks":
            self._send({"errors": [{"message": "out of order"}]}, status=500)
        elif server.behaviour == "nonsense":
            self._send_bytes(b"<html>a captive portal</html>", "text/html")
        elif self.path.startswith("/graphql"):
            self._send({"data": self._graphql(json.loads(body))})
        elif "/file_stream" in self.path:
            self._file_stream(json.loads(body))
            self._send({"exitcode": None, "limits": {}})
        else:
            server.received.uploads.append(self.path)
            self._send({})

    def _graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        received, variables = self.server.received, request.get("variables") or {}
        match = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
        operation = match[1] if match else "anonymous"
        received.operations.append(operation)
        project = {"id": "P", "name": "p", "entity": {"id": "E", "name": "ablab"}}
        match operation:
            case "Viewer":
                return {
                    "viewer": {"id": "V", "entity": "ablab", "username": "ablab", "flags": "{}"}
                }
            case "UpsertBucket":
                received.upserts.append(variables)
                name = variables.get("name")
                run = {"id": "R", "name": name, "displayName": name, "project": project}
                return {"upsertBucket": {"bucket": run | {"sweepName": None}, "inserted": True}}
            case "RunResumeStatus":
                return {"model": project | {"bucket": None}}
            case "CreateRunFiles":
                if self.server.behaviour == "dies":
                    self.server.dead.set()
                files = [
                    {"name": name, "uploadUrl": f"{self.server.url}/upload/{name}"}
                    for name in variables.get("files", [])
                ]
                return {
                    "createRunFiles": {"runID": "R", "uploadHeaders": [], "files": files},
                }
        return {}

    def _file_stream(self, told: dict[str, Any]) -> None:
        received = self.server.received
        for name, part in (told.get("files") or {}).items():
            rows = [json.loads(line) for line in part["content"] if line.strip()]
            if name == "wandb-history.jsonl":
                received.history += rows
            elif name == "wandb-summary.json":
                received.summary = rows[-1]
        if told.get("complete"):
            received.complete, received.exit_code = True, told.get("exitcode")

    def _send(self, answer: dict[str, Any], status: int = 200) -> None:
        self._send_bytes(json.dumps(answer).encode(), "application/json", status)

    def _send_bytes(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
