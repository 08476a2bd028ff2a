"""The frame of every HTML report. In: sections. Out: one self-contained page. Used by report_html and compare_report.

The page loads nothing: style and script are inside, and a content security policy forbids the rest. The only script
that may run is `_SCRIPT` (allowed by its hash), so even text that slipped through unescaped could not run. The script
filters what is there already; without it the page shows everything.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping, Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

_BETWEEN = "\n"  # between the values of one data attribute

_STYLE = """
:root{--ink:#1c2330;--soft:#5c6675;--line:#d8dde5;--paper:#fff;--tint:#f4f6f9;--a:#2563eb;--b:#94a3b8;--good:#15803d;
--bad:#b91c1c;--warn:#a16207}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--line:#333c4a;--paper:#12161d;--tint:#1b212b;
--a:#60a5fa;--b:#64748b;--good:#4ade80;--bad:#f87171;--warn:#facc15}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2.2rem}h3{font-size:1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}td.text{text-align:left;white-space:normal;overflow-wrap:anywhere}
.d1 td{font-weight:600}.d2 td:first-child{padding-left:1.6rem}.d3 td:first-child{padding-left:2.8rem}
.pill{display:inline-block;padding:0 .6rem;border:1px solid;border-radius:1rem;font-size:.85rem}
.good{color:var(--good)}.bad{color:var(--bad)}.soft{color:var(--soft)}
.bars{display:grid;grid-template-columns:minmax(7rem,auto) 1fr auto;gap:.25rem .8rem;align-items:center;font-size:.9rem}
.bars svg{width:100%;height:1.2rem;display:block}.chart{width:100%;height:auto;max-width:44rem;display:block}
.key{font-size:.85rem}.key i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 .9rem}
.filters{display:flex;flex-wrap:wrap;gap:.6rem;margin:.8rem 0}
.filters label{display:flex;flex-direction:column;font-size:.8rem;color:var(--soft)}
select,input{font:inherit;padding:.3rem;max-width:100%;color:var(--ink);background:var(--tint);
border:1px solid var(--line);border-radius:.3rem}
article{border:1px solid var(--line);border-left:4px solid var(--good);border-radius:.4rem;padding:.5rem .8rem;
margin:.6rem 0}article.failed{border-left-color:var(--bad)}
article p{margin:.2rem 0;font-size:.85rem}
pre{margin:.2rem 0;padding:.4rem .6rem;background:var(--tint);border-radius:.3rem;white-space:pre-wrap;
overflow-wrap:anywhere;font-size:.85rem;unicode-bidi:plaintext;max-height:20rem;overflow-y:auto}
[hidden]{display:none!important}
@media print{.filters{display:none}body{max-width:none;font-size:11px}pre{max-height:none}
article,tr,.chart{break-inside:avoid}.wide{overflow:visible}th,td{white-space:normal;padding:.15rem .3rem}}
"""

_SCRIPT = """
"use strict";
for (const section of document.querySelectorAll("[data-filtered]")) {
  const items = [...section.querySelectorAll("article")];
  const fields = [...section.querySelectorAll("[data-field]")];
  const count = section.querySelector("[data-count]");
  const update = () => {
    let shown = 0;
    for (const item of items) {
      item.hidden = !fields.every((field) => {
        if (field.value === "") return true;
        if (field.dataset.field === "text") return item.textContent.toLowerCase().includes(field.value.toLowerCase());
        return item.getAttribute("data-" + field.dataset.field).split("\\n").includes(field.value);
      });
      if (!item.hidden) shown += 1;
    }
    count.textContent = shown + " of " + items.length + " shown";
  };
  for (const field of fields) field.addEventListener("input", update);
  update();
}
"""


def page(title: str, sections: Iterable[str]) -> str:
    """One HTML document.

    Args:
        title: plain text.
        sections: HTML that is safe already.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    body = "\n".join(sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{esc(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{esc(title)}</h1>\n{body}\n"
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def esc(text: object) -> str:
    """Any text as HTML that shows it and does nothing: also safe inside a quoted attribute."""
    return html.escape(_CONTROL.sub("\ufffd", str(text)), quote=True)


def section(title: str, *parts: str) -> str:
    """A titled part of the page; nothing at all where the parts are empty."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{esc(title)}</h2>\n{body}\n</section>" if body else ""


def paragraph(text: str, kind: str = "") -> str:
    """Plain text as a paragraph."""
    return f'<p class="{esc(kind)}">{esc(text)}</p>' if kind else f"<p>{esc(text)}</p>"


def bullets(texts: Sequence[str]) -> str:
    """Plain texts as a list."""
    return "<ul>" + "".join(f"<li>{esc(text)}</li>" for text in texts) + "</ul>" if texts else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], depths: Sequence[int] = ()) -> str:
    """Plain texts as a table; `depths` (1, 2, 3) indent the rows."""
    top = "".join(f"<th>{esc(cell)}</th>" for cell in head)
    lines = []
    for number, row in enumerate(rows):
        kind = f' class="d{depths[number]}"' if depths else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{esc(cell)}</td>" for cell in row) + "</tr>")
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values that may be long."""
    lines = "".join(f'<tr><td>{esc(name)}</td><td class="text">{esc(value)}</td></tr>' for name, value in pairs)
    return f'<div class="wide"><table><tbody>{lines}</tbody></table></div>'


def pre(label: str, text: str) -> str:
    """A labelled block of model text, direction and line breaks kept inside."""
    return f'<p class="soft">{esc(label)}</p><pre dir="auto">{esc(text)}</pre>'


def article(fields: Mapping[str, Sequence[str]], body: str, *, failed: bool) -> str:
    """One item that the filters show or hide; `fields` gives its values for each filter."""
    data = "".join(f' data-{name}="{esc(_BETWEEN.join(values))}"' for name, values in fields.items())
    kind = ' class="failed"' if failed else ""
    return f"<article{kind}{data}>{body}</article>"


def filtered(choices: Mapping[str, Sequence[str]], articles: Sequence[str]) -> str:
    """Articles with a menu for each field of `choices` and a text search above them."""
    menus = []
    for name, values in choices.items():
        options = "".join(f'<option value="{esc(value)}">{esc(value)}</option>' for value in values)
        menu = f'<select data-field="{esc(name)}"><option value="">all</option>{options}</select>'
        menus.append(f"<label>{esc(name)}{menu}</label>")
    menus.append('<label>text<input type="search" data-field="text"></label>')
    count = f'<p class="soft" data-count>{len(articles)} shown</p>'
    return f'<div data-filtered><div class="filters">{"".join(menus)}</div>{count}{"".join(articles)}</div>'
