"""Reports as HTML. In: a `Report`. Out: one self-contained page. The look is in templates/.

The page loads nothing: style and script are inside, and a content security policy forbids the rest. The only script
that may run is templates/report.js (allowed by its hash), so even text that slipped through unescaped could not run.
The script filters what is there already; without it the page shows everything.
"""

import base64
import hashlib
import re
from collections import Counter
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from picochat.blocks import Bars, Block, Charts, Differences, Matrix, Replies, Report, Table, Text
from picochat.evidence.curves import HEIGHT, WIDTH, draw

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_FIRST = 3  # replies of each kind that are shown before a filter is chosen, and that are printed


def page(report: Report) -> str:
    """One HTML document."""
    blocks = [block for block in report.blocks if "page" in block.media and not _is_empty(block)]
    return (
        environment().get_template("report.html").render(report=report, blocks=blocks, policy=Markup(script_policy()))
    )


def script_policy() -> str:
    """The content security policy of a report page: its own script may run, and nothing is loaded."""
    digest = base64.b64encode(hashlib.sha256(_file("report.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


@cache
def environment(*packages: str) -> Environment:
    """The templates of reports, and of other packages that show blocks; all text is escaped."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in ("picochat.evidence", *packages)]),
        autoescape=True,  # all text is escaped; what is shown as it is says so in the template
        finalize=_clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["matrix"] = lambda block: isinstance(block, Matrix)
    environment.globals |= {"first": _FIRST, "chart_width": WIDTH, "chart_height": HEIGHT}
    environment.globals |= {"style": Markup(_file("report.css")), "script": Markup(_file("report.js"))}
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "anchor": lambda title: re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        "prose": lambda text: _with(text, " %", "&nbsp;%"),  # a number and its sign stay on one line
        "name": lambda text: _with(text, "_", "_<wbr>"),  # a phone is narrow
        "human": lambda tag: _clean(tag).removeprefix("bench_").replace("_", " "),
        "draw": draw,
        "choices": _choices,
        "later": _later,
    }
    return environment


def _clean(value: object) -> str:
    return value if isinstance(value, Markup) else _CONTROL.sub("\ufffd", str(value))


def _with(text: str, old: str, new: str) -> Markup:
    return escape(_clean(text)).replace(old, Markup(new))


@cache
def _file(name: str) -> str:
    return (resources.files("picochat.evidence") / "templates" / name).read_text("utf-8")


def _is_empty(block: Block) -> bool:
    match block:
        case (
            Text(lines=content)
            | Table(rows=content)
            | Bars(lanes=content)
            | Differences(lanes=content)
            | Replies(shown=content)
        ):
            return not content
        case Charts(charts=content):
            return not any(map(draw, content))
    return False


def _choices(replies: Replies) -> dict[str, list[str]]:
    """Every value of every field, for the filters."""
    names = dict.fromkeys(name for reply in replies.shown for name in reply.fields)
    return {name: sorted({value for reply in replies.shown for value in reply.fields.get(name, ())}) for name in names}


def _later(replies: Replies) -> list[bool]:
    """Whether each reply waits for a filter, because as many of its kind (all fields but the reason) came before it."""
    seen: Counter[Any] = Counter()
    waits = []
    for reply in replies.shown:
        kind = tuple(value for name, values in reply.fields.items() if name != "reason" for value in values)
        waits.append(seen[kind] >= _FIRST)
        seen[kind] += 1
    return waits
