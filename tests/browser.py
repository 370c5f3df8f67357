"""A headless Chromium, controlled through a pipe by the DevTools protocol, for tests of pages."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# JavaScript for the contrast of WCAG 2.2. A background below `opaque` shows what is behind it.
COLOURS = """
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element, opaque) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > opaque) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Browser:
    """One page of a running browser.

    Attributes:
        messages: What the page has written to the console, and what the browser has refused.
    """

    def __init__(self, reading: Any, writing: Any) -> None:
        self._reading, self._writing = reading, writing
        self._numbers = itertools.count(1)
        self._session = ""
        self.messages: list[str] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        call = {"id": number, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        self._writing.write(json.dumps(call).encode() + b"\0")
        self._writing.flush()
        return self._wait(lambda message: message.get("id") == number)["result"]

    def open(
        self, path: Path | str, *, width: int, dark: bool = False, media: str = "screen"
    ) -> None:
        """Open a file or an address in a window of some width; a narrow one is a phone."""
        self.messages.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media=media, features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self("Emulation.setDeviceMetricsOverride", **size)
        url = path if isinstance(path, str) else path.resolve().as_uri()
        self("Page.navigate", url=url)
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def ask(self, script: str) -> Any:
        """Return the value of a JavaScript expression, also where the page allows no scripts."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, such as Tab."""
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def photograph(self, path: Path) -> None:
        """Write a PNG of the whole page."""
        shot = self("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _wait(self, wanted: Any) -> dict[str, Any]:
        while True:
            message = json.loads(self._next())
            if message.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled"):
                self.messages.append(json.dumps(message["params"]))
            assert "error" not in message, message
            if wanted(message):
                return message

    def _next(self) -> bytes:
        found = bytearray()
        while (byte := self._reading.read(1)) != b"\0":
            assert byte, "the browser has ended"
            found += byte
        return bytes(found)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Browser]:
    """Start a browser with its profile in a folder, and end it behind the block."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    to_read, to_write = os.pipe(), os.pipe()  # the browser reads file 3 and writes file 4
    options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
    command = f'exec "$0" {options} --remote-debugging-pipe --user-data-dir="$1" about:blank'
    files = f"3<&{to_read[0]} 4>&{to_write[1]}"
    process = subprocess.Popen(
        ["bash", "-c", f"{command} {files}", found, str(folder)],
        pass_fds=(to_read[0], to_write[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read[0])
    os.close(to_write[1])
    try:
        with os.fdopen(to_write[0], "rb") as reading, os.fdopen(to_read[1], "wb") as writing:
            yield Browser(reading, writing)
    finally:
        process.terminate()
        process.wait(20)
