"""A server of chat completions in a process of its own: python chat_server.py LOG. Prints its port.

It answers "2 + 3?" with "5", one of which it was told "yes or no" with yes, "half" with half a surrogate pair, all else
with "hm"; the first request fails with 429, "boom" with 400. Each request is a line of LOG: its body, and its key.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOG = Path(sys.argv[1])
ONE_AT_A_TIME = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with ONE_AT_A_TIME, LOG.open("a") as log:
            first = log.tell() == 0
            log.write(json.dumps({**body, "path": self.path, "key": self.headers["Authorization"]}) + "\n")
        asked = body["messages"][-1]["content"]
        if first or "boom" in asked:
            return self._send(429 if first else 400, {"error": {"message": f"no: {self.headers['Authorization']}"}})
        numbers = re.fullmatch(r"(\d) \+ (\d)\?", asked)
        text = str(int(numbers[1]) + int(numbers[2])) if numbers else "yes" if "yes or no" in asked else "hm"
        text = "\ud800" if "half" in asked else text
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        choice |= {"finish_reason": "length"} if "long" in asked else {}
        return self._send(
            200, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        )

    def _send(self, status: int, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
