"""A headless Chromium, driven through ChromeDriver's own protocol: no package is needed for it."""

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ARGUMENTS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "hide-scrollbars",
    "disable-background-networking", "disable-component-update", "disable-sync",
)  # fmt: skip


def missing() -> str | None:
    """Return which program of a browser this machine lacks, or None."""
    names = ("chromium", "chromedriver")
    return next((name for name in names if shutil.which(name) is None), None)


class Browser:
    """A browser with one page."""

    def __init__(self, url: str, profile: Path) -> None:
        arguments = [f"--{argument}" for argument in (*_ARGUMENTS, f"user-data-dir={profile}")]
        wanted = {
            "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._url = url
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/session/{answer['sessionId']}"

    def _ask(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:2000]) from error

    def open(self, file: Path, fragment: str = "") -> None:
        self._ask("POST", "/url", {"url": file.resolve().as_uri() + fragment})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a JavaScript function body returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, name: str, **params: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": params})

    def shape(self, width: int, height: int, scheme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def drag(self, x: float, start: float, end: float) -> None:
        """Press the mouse at (x, start), move it to (x, end) and let go."""
        steps = [("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)]
        for kind, y in steps:
            place = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            self.command("Input.dispatchMouseEvent", type=kind, **place)

    def picture(self, file: Path) -> None:
        """Write a screenshot of what the window shows."""
        file.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Return the entries since the last call: ``browser`` for errors, ``performance``."""
        return self._ask("POST", "/se/log", {"type": kind})

    def requests(self) -> list[str]:
        """Return the addresses that were requested since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        sent = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [m["params"]["request"]["url"] for m in sent]

    def close(self) -> None:
        self._ask("DELETE", "")


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """Start ChromeDriver at a free port, and a browser."""
    command = ["chromedriver", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            line = next(line for line in driver.stdout if "successfully on port" in line)
            browser = Browser(f"http://127.0.0.1:{line.split()[-1].rstrip('.')}", profile)
            yield browser
            browser.close()
        finally:
            driver.terminate()
