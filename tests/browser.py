"""Headless Chromium over its debugging pipe. In: a page. Out: what it says and shows. Needs Chromium and nothing else.

with Browser() as browser:                     null-terminated JSON goes in at the child's descriptor 3
    page = browser.open(path, width=390)       and comes out at 4 (--remote-debugging-pipe)
    page.evaluate("document.title")
"""

import base64
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)
_PATIENCE = 600.0  # seconds for any answer, on a busy machine
# Chromium wants exactly the descriptors 3 and 4; this small process moves them there and becomes Chromium.
_MOVE = (
    "import fcntl, os, sys; theirs = fcntl.fcntl(int(sys.argv[1]), fcntl.F_DUPFD, 10); "
    "os.dup2(theirs, 3); os.dup2(theirs, 4); os.execv(sys.argv[2], sys.argv[2:])"
)
_SPOKE = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")


def find_chromium() -> str | None:
    """Where Chromium is on this machine, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One Chromium with a profile folder of its own."""

    def __enter__(self) -> "Browser":
        program = find_chromium()
        assert program, "ask find_chromium() first"
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._pipe, theirs = socket.socketpair()
        self._pipe.settimeout(_PATIENCE)
        words = [program, *_FLAGS, f"--user-data-dir={self._home.name}"]
        move = [sys.executable, "-c", _MOVE, str(theirs.fileno()), *words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(move, pass_fds=(theirs.fileno(),), **quiet)  # type: ignore[call-overload]
        theirs.close()
        self._count, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._home.cleanup()

    def call(self, method: str, session: str | None = None, **settings: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; events that come meanwhile go to `events`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": settings}
        self._pipe.sendall(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                received = self._pipe.recv(1 << 16)
                assert received, "Chromium is gone"
                self._rest += received
            line, _, self._rest = self._rest.partition(b"\0")
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, page: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False) -> "Page":
        """Load a file or an address in a new tab of a device of this width."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        tab = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        tab.call("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        tab.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        tab.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
        return tab


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

    def heard(self, *methods: str) -> list[dict[str, Any]]:
        """The events of these kinds that this tab sent."""
        self.evaluate("1")  # whatever was under way has been sent by now
        own = (event for event in self.browser.events if event.get("sessionId") == self.session)
        return [event["params"] for event in own if event.get("method") in methods]

    def complaints(self) -> list[dict[str, Any]]:
        """What the console and the log of this tab said, uncaught exceptions and refused loads included."""
        return self.heard(*_SPOKE)

    def requests(self) -> list[str]:
        """The addresses that this tab asked for."""
        return [event["request"]["url"] for event in self.heard("Network.requestWillBeSent")]

    def wait_for(self, script: str) -> None:
        """Until a JavaScript expression is true."""
        deadline = time.monotonic() + _PATIENCE
        while not self.evaluate(script):
            assert time.monotonic() < deadline, script
            time.sleep(0.02)

    def pdf(self, path: Path) -> None:
        """The page as it is printed, A4."""
        answer = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        path.write_bytes(base64.b64decode(answer["data"]))
