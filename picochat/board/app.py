"""The board as a web application on 127.0.0.1. In: a folder of runs. Out: pages and streams.

    /                     runs and reports; ?lane=bench_math_addition shows that lane's rates
    /runs                 the table of runs alone, which the page asks for again while it is open
    /run/PATH, …/live     curves and sample replies; the part of it that moves
    /report/PATH.html     a report page as it lies in the folder
    /talk, POST /reply    one or two checkpoints; a reply as lines of JSON, streamed

Pages load nothing from elsewhere, other hosts' names are refused (DNS rebinding), and a form of another site cannot ask
for replies, since they need a JSON body. All text is escaped by the templates.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from picochat.blocks import Charts
from picochat.board.folder import Folder
from picochat.board.talk import reply
from picochat.evidence.html_page import charts, environment, script_policy

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:"


class Board:
    """The pages over one folder; `app` serves them."""

    def __init__(self, root: Path) -> None:
        self.folder = Folder(root)
        self.pages = environment("picochat.board")

    def app(self) -> Starlette:
        script = Path(str(files("picochat.board"))) / "templates/board.js"
        routes = [
            Route("/", self.index),
            Route("/board.js", lambda _: FileResponse(script, media_type="text/javascript")),
            Route("/runs", lambda _: self._page("runs.html", runs=self.folder.scan()[0])),
            Route("/run/{path:path}/live", lambda request: self.run(request, "live.html")),
            Route("/run/{path:path}", self.run),
            Route("/report/{path:path}", self.report),
            Route("/talk", lambda _: self._page("talk.html", checkpoints=self.folder.scan()[2])),
            Route("/reply", self.reply, methods=["POST"]),
        ]
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        return Starlette(routes=routes, middleware=[hosts])

    def index(self, request: Request) -> Response:
        runs, reports, _ = self.folder.scan()
        lane = request.query_params.get("lane", "")
        shown = [report for report in reports if not lane or lane in report.lanes]
        lanes = sorted({lane for report in reports for lane in report.lanes})
        return self._page("index.html", runs=runs, reports=shown, lanes=lanes, lane=lane, root=self.folder.root.name)

    def run(self, request: Request, template: str = "run.html") -> Response:
        path = _known(request, self.folder.scan()[0])
        drawn = Charts(charts(self.folder.curves(path)))
        return self._page(template, run=path, charts=drawn, samples=self.folder.samples(path))

    def report(self, request: Request) -> Response:
        """A report's page; its script may run if it is ours, and has no access to the board."""
        path = _known(request, self.folder.scan()[1])
        policy = f"sandbox allow-scripts allow-popups; {script_policy()}"
        return FileResponse(self.folder.base / path, headers={"content-security-policy": policy})

    async def reply(self, request: Request) -> Response:
        _, reports, checkpoints = self.folder.scan()
        try:
            if request.headers.get("content-type") != "application/json":
                raise ValueError("a JSON body is expected")
            asked = json.loads(await request.body())
            prompt, temperature = str(asked["prompt"]), float(asked.get("temperature", 0))
            if asked["checkpoint"] not in checkpoints or not prompt.strip():
                raise ValueError("name a checkpoint of the folder and a prompt")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        pieces = reply(self.folder.base / asked["checkpoint"], prompt, temperature, reports)
        return StreamingResponse((json.dumps(piece) + "\n" for piece in pieces), media_type="application/x-ndjson")

    def _page(self, template: str, **values: Any) -> Response:
        headers = {"content-security-policy": _POLICY, "cache-control": "no-store"}
        return HTMLResponse(self.pages.get_template(template).render(**values), headers=headers)


def _known(request: Request, items: Any) -> str:
    """The path that is asked for, if it is one of these items': no other file is ever read."""
    path = str(request.path_params["path"])
    if path not in [item.path for item in items]:
        raise HTTPException(404, "nothing of this name lies in the folder")
    return path
