"""Downloads against a server of our own that cuts, corrupts, hangs, lies and floods."""

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ablab.data.files.download import (
    http_bytes,
    http_zip_members,
    index_file,
    zip_members,
)
from ablab.errors import DataError

CONTENT = b"user\titem\n" * 1000


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("folder/a", CONTENT)
        content.writestr("../../outside", b"x")
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        body, length = archive(), None
        match self.path:
            case "/missing":
                self.send_error(404)
                return
            case "/hangs":
                self.server.closing.wait()  # type: ignore[attr-defined]
                return
            case "/cut":
                body, length = body[:100], len(body)
            case "/drips":
                length = 10**6
                body = b""
            case "/flood":
                body = b"x" * 200_000
            case "/corrupt":
                body = body[:60] + bytes([body[60] ^ 255]) + body[61:]
            case "/simple/some-project/":
                old = "<a href='../../old/p-0.1.tar.gz'>0.1</a>"
                new = '<a href="../../new/p-0.2.tar.gz?a=1&amp;b=2#sha256=0">0.2</a>'
                body = f"{old}\n{new}".encode()
            case "/new/p-0.2.tar.gz?a=1&b=2":
                body = b"the file"
            case "/page":
                body = b"<html>please log in</html>"
        self.send_response(200)
        if self.path == "/chunked":  # no length is announced, and the last chunk never comes
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nabcde\r\nff\r\nxy")
            return
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/drips":
            while not self.server.closing.wait(0.05):  # type: ignore[attr-defined]
                self.wfile.write(b"x")


@contextmanager
def serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.closing = threading.Event()  # type: ignore[attr-defined]
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.closing.set()  # type: ignore[attr-defined]
            server.shutdown()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


def test_members_of_an_archive_behind_a_url(url: str) -> None:
    assert http_zip_members(f"{url}/good", ["folder/a"], max_bytes=10**6) == [CONTENT]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("missing", "404|Not Found"),
        ("hangs", "timed out"),
        ("cut", "cut short: 100 of"),
        ("drips", "not complete after 1 s"),
        ("chunked", "cut short"),
        ("flood", "more than 100,000 bytes"),
    ],
)
def test_what_goes_wrong_on_the_way_is_said(url: str, path: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        http_bytes(f"{url}/{path}", max_bytes=100_000, connect=1.0, total=1.0)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_file_of_the_package_index_is_found_by_its_page(
    url: str, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple{end}")
    assert index_file("some-project", "p-0.2.tar.gz", max_bytes=100) == b"the file"
    with pytest.raises(DataError, match=r"no file 0\.2\.tar\.gz"):
        index_file("some-project", "0.2.tar.gz", max_bytes=100)


def test_the_password_of_a_package_index_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:s3cret@127.0.0.1:9/simple")
    with pytest.raises(DataError, match="PIP_INDEX_URL") as caught:
        index_file("some-project", "p-0.2.tar.gz", max_bytes=100)
    assert "s3cret" not in str(caught.value)


def test_a_port_that_nobody_listens_on() -> None:
    with serving() as gone:
        pass
    with pytest.raises(DataError, match="unreachable"):
        http_bytes(f"{gone}/good", max_bytes=10)


@pytest.mark.parametrize(("path", "told"), [("corrupt", "readable zip"), ("page", "readable zip")])
def test_what_arrives_but_is_no_archive(url: str, path: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        http_zip_members(f"{url}/{path}", ["folder/a"], max_bytes=10**6)


def test_a_member_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive())
    with pytest.raises(DataError, match=r"a\.zip .*folder/b"):
        zip_members(tmp_path / "a.zip", ["folder/b"])


def test_reading_an_archive_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive())
    assert zip_members(tmp_path / "a.zip", ["../../outside"]) == [b"x"]
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zip"]
