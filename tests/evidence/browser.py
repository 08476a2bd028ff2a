"""Headless Chromium over its debugging pipe. In: a page. Out: what it says and shows. Needs Chromium and nothing else.

with Browser() as browser:                     null-terminated JSON goes in at the child's descriptor 3
    page = browser.open(path, width=390)       and comes out at 4 (--remote-debugging-pipe)
    page.evaluate("document.title")
"""

import base64
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE = 60.0  # seconds for any answer, on a busy machine
# Chromium wants exactly the descriptors 3 and 4; this small process moves them there and becomes Chromium.
_MOVE = (
    "import fcntl, os, sys; reads, writes = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
    "os.dup2(reads, 3); os.dup2(writes, 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def find_chromium() -> str | None:
    """Where Chromium is on this machine, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One Chromium with a profile folder of its own."""

    def __enter__(self) -> "Browser":
        program = find_chromium()
        assert program, "ask find_chromium() first"
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._in = os.pipe()
        self._out, theirs_out = os.pipe()
        words = [program, *_FLAGS, f"--user-data-dir={self._home.name}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MOVE, str(theirs_in), str(theirs_out), *words],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._count = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._home.cleanup()

    def call(self, method: str, session: str | None = None, **settings: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; events that come meanwhile go to `events`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": settings}
        if session:
            message["sessionId"] = session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
        raise AssertionError(f"no answer to {method}")

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> "Page":
        """Load a file in a new tab of a device of this width."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        page.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        page.call("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + _PATIENCE
        while page.evaluate("document.readyState") != "complete" or page.evaluate("location.href") == "about:blank":
            assert time.monotonic() < deadline, f"{path} did not load"
            time.sleep(0.02)
        return page

    def _messages(self) -> Iterator[dict[str, Any]]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            while b"\0" in self._rest:
                one, _, self._rest = self._rest.partition(b"\0")
                yield json.loads(one)
            with selectors.DefaultSelector() as waiting:
                waiting.register(self._out, selectors.EVENT_READ)
                ready = waiting.select(max(0.0, deadline - time.monotonic()))
            got = os.read(self._out, 1 << 16) if ready else b""
            assert got, "Chromium did not answer"
            self._rest += got


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser = browser
        self.session = session

    def call(self, method: str, **settings: Any) -> dict[str, Any]:
        """A command to this tab."""
        return self.browser.call(method, self.session, **settings)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def choose(self, field: str, value: str) -> None:
        """Set a filter as a user does: the value, then the event."""
        self.evaluate(
            f"(() => {{ const f = document.querySelector('[data-field={field}]'); f.value = {json.dumps(value)}; "
            "f.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element."""
        where = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); "
            "const r = e.getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def complaints(self) -> list[str]:
        """What the console and the log of this tab said, uncaught exceptions and refused loads included."""
        self.evaluate("1")  # whatever was under way has been told by now
        found = []
        for event in self.browser.events:
            if event.get("sessionId") == self.session and event.get("method") in (
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Log.entryAdded",
                "Page.javascriptDialogOpening",
            ):
                found.append(json.dumps(event["params"])[:500])
        return found

    def requests(self) -> list[str]:
        """The addresses that this tab asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.browser.events
            if event.get("sessionId") == self.session and event.get("method") == "Network.requestWillBeSent"
        ]

    def pdf(self, path: Path) -> None:
        """The page as it is printed, A4."""
        answer = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        path.write_bytes(base64.b64decode(answer["data"]))
