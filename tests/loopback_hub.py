"""A hub on this machine: as much of the Hugging Face hub's HTTP as streaming a data set and pushing a model need."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REVISION = "a" * 40


class LoopbackHub(ThreadingHTTPServer):
    """Serves `folder` as data set owner/name and model owner/model; takes what is pushed to the model me/tiny.

    Attributes:
        asked: (method, path) of every request.
        pushed: {path: bytes} of what was pushed.
        endpoint: for HF_ENDPOINT.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        self.pushed: dict[str, bytes] = {}
        self.endpoint = f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def loopback_hub(folder: Path) -> Iterator[LoopbackHub]:
    """A hub that runs until the block ends."""
    with LoopbackHub(folder) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, path))
        root = self.server.folder
        if listed := re.fullmatch(r"/api/(?:datasets|models)/owner/\w+/tree/[^/]+/?(.*)", path):
            self._list(root / listed[1])
        elif file := re.fullmatch(r"(?:/datasets)?/owner/(?:name|model)/resolve/[^/]+/(.+)", path):
            self._send_file(root / file[1])
        elif repository := re.match(r"/$|/api/(?:datasets|models)/(owner/name|owner/model|me/tiny)\b", path):
            names = [{"rfilename": file.name} for file in root.iterdir()]
            self._send({"id": repository[1], "sha": REVISION, "siblings": names, "tags": [], "private": False})
        else:
            self._send({"error": "not found"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.server.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self._send({"url": f"{self.server.endpoint}/me/tiny", "id": "me/tiny"})
        elif "/preupload/" in self.path:  # "regular": the content itself comes with the commit
            names = [file["path"] for file in json.loads(body)["files"]]
            self._send({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.pushed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            commit = {"commitUrl": f"{self.server.endpoint}/me/tiny/commit/{REVISION}", "commitOid": REVISION}
            self._send({"success": True, "pullRequestUrl": None, **commit})
        else:
            self._send({"error": "not found"}, 404)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _list(self, folder: Path) -> None:
        if not folder.is_dir():
            return self._absent()
        return self._send(
            [
                {
                    "type": "directory" if path.is_dir() else "file",
                    "path": path.relative_to(self.server.folder).as_posix(),
                    "size": 0 if path.is_dir() else path.stat().st_size,
                    "oid": "b" * 40,
                }
                for path in sorted(folder.iterdir())
            ]
        )

    def _absent(self) -> None:
        self._send({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})

    def _send_file(self, file: Path) -> None:
        if not file.is_file():
            return self._absent()
        content = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last) + 1 if last else None]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
            return self._send(part, 206, headers)
        return self._send(content, 200, headers)

    def _send(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "X-Repo-Commit": REVISION, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
