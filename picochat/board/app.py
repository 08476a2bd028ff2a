"""The board as a web application on 127.0.0.1. In: a folder of runs. Out: pages and streams.

    /                     runs and reports; ?lane=bench_math_addition shows that lane's rates
    /runs                 the table of runs alone, which the page asks for again while it is open
    /run/PATH, /live/PATH curves and sample replies; the part of it that moves
    /report/PATH.html     a report page as it lies in the folder
    /talk, POST /reply    one or two checkpoints; a reply as lines of JSON, streamed

Pages load nothing from elsewhere, other hosts' names are refused (DNS rebinding), and a form of another site cannot ask
for replies, since they need a JSON body. All text is escaped by the templates.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
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
from picochat.board.folder import Folder, Found
from picochat.errors import UserError
from picochat.evidence.html_page import charts, environment, script_policy
from picochat.evidence.scoring import SIGNALS_ONLY, Policy, score
from picochat.files import sha256_file
from picochat.model.engine import Decoding, load_model
from picochat.packs.formats import read_rows
from picochat.packs.rows import Row, prompt_text
from picochat.strict_json import parse_json

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:"
_LOADING = threading.Lock()  # two replies begin at once


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
            Route("/live/{path:path}", lambda request: self.run(request, "live.html")),
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
            asked = parse_json(await request.body(), nul=True)
            prompt, temperature = str(asked["prompt"]), float(asked.get("temperature", 0))
            if asked["checkpoint"] not in checkpoints or not prompt.strip():
                raise ValueError("name a checkpoint of the folder and a prompt")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        pieces = _reply(self.folder.base / asked["checkpoint"], prompt, temperature, reports)
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


def _reply(checkpoint: Path, prompt: str, temperature: float, reports: Sequence[Found]) -> Iterator[dict[str, Any]]:
    """Stream {"text": piece} …, then {"finished": …} with the verdict of the prompt's lane, or {"error": sentence}."""
    from picochat.model.generation import read_window, stream

    try:
        decoding = Decoding(temperature=temperature)
        with _LOADING:
            weights, tokenizer = _load(checkpoint, (checkpoint / "config.json").stat().st_mtime_ns)
        context = weights.config.max_position_embeddings
        room = min(decoding.max_new_tokens, context // 2)
        ids, _ = read_window([{"role": "user", "content": prompt}], tokenizer, context - room)
        pieces, text = stream(weights, tokenizer, ids, decoding), ""
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                yield {"finished": bool(end.value), **_verdict(prompt, text, bool(end.value), reports)}
                return
            text += piece
            yield {"text": piece}
    except (UserError, OSError) as error:
        yield {"error": str(error)}


def _verdict(prompt: str, text: str, finished: bool, reports: Sequence[Found]) -> dict[str, str]:
    """{"lane": …, "verdict": "passed" or the reasons} where an evaluation in the folder asks this prompt."""
    for path, sha256 in dict.fromkeys(report.rows for report in reports if report.rows[0]):
        file = Path(path)
        if file.is_file() and (row := _questions(file, sha256).get(prompt.strip())):
            rules = Policy.of([row], file).rules_of(row) or SIGNALS_ONLY
            judged = score(row, text, finished=finished, rules=rules)
            lane = str(row.get("category") or "untagged")
            return {"lane": lane, "verdict": "passed" if judged.passed else ", ".join(judged.reasons)}
    return {}


@lru_cache(2)
def _load(checkpoint: Path, _stamp: int) -> tuple[Any, Any]:
    from picochat.model.inference import Weights

    model = load_model(checkpoint)
    return Weights(model.decoder), model.tokenizer


@lru_cache(8)
def _questions(file: Path, sha256: str) -> dict[str, Row]:
    """The rows of one question, by it; none where the file is no longer the one that was evaluated."""
    if sha256_file(file) != sha256:
        return {}
    rows = [row for row in read_rows(file, "eval") if len(row["messages"]) == 1]
    return {prompt_text(row).strip(): row for row in rows}
