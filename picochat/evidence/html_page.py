"""The frame of every HTML report. In: sections. Out: one self-contained page. Used by report_html and compare_report.

The page loads nothing: style and script are inside, and a content security policy forbids the rest. The only script
that may run is `_SCRIPT` (allowed by its hash), so even text that slipped through unescaped could not run. The script
filters what is there already; without it the page shows everything.
"""

import base64
import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

_BETWEEN = "\n"  # between the values of one data attribute

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5c6675;--line:#d8dde5;--paper:#fff;--tint:#f4f6f9;--a:#2563eb;
--b:#94a3b8;--good:#15803d;--bad:#b91c1c}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--line:#333c4a;--paper:#12161d;--tint:#1b212b;
--a:#60a5fa;--b:#64748b;--good:#4ade80;--bad:#f87171}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.6rem;line-height:1.25;margin:.6rem 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem}h3{font-size:1rem;margin:.2rem 0 .4rem}
p{margin:.4rem 0}.lead{font-size:1.1rem}.soft,.under{color:var(--soft)}.under{overflow-wrap:anywhere;margin-top:0}
nav{display:flex;flex-wrap:wrap;gap:.2rem .9rem;margin:.8rem 0;font-size:.9rem}a{color:var(--a)}
ul{padding-left:1.2rem;margin:.4rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:.8rem}
.card{border:1px solid var(--line);border-radius:.4rem;padding:.6rem .9rem}.card ul{font-size:.9rem}
.pill{display:inline-block;padding:0 .6rem;border:1px solid;border-radius:1rem;font-size:.85rem;font-weight:400}
.good{color:var(--good)}.bad{color:var(--bad)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.3rem .45rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{white-space:normal;vertical-align:bottom}
th:first-child,td:first-child{text-align:left;white-space:normal;position:sticky;left:0;background:var(--paper)}
td.text{text-align:left;white-space:normal;overflow-wrap:anywhere}
.d1 td{font-weight:600}.d2 td:first-child{padding-left:1.6rem}.d3 td:first-child{padding-left:2.8rem}
details{margin-top:2.2rem}summary{cursor:pointer}summary h2{display:inline}
.bars{display:grid;grid-template-columns:minmax(7rem,auto) 1fr auto;gap:.3rem .8rem;align-items:center;font-size:.9rem}
.bars svg{width:100%;height:1.2rem;display:block}.bars .two{height:1.6rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,28rem),1fr));gap:1.2rem}
.chart{width:100%;height:auto;display:block}
.key{font-size:.85rem;overflow-wrap:anywhere}.key span{display:inline-block;margin-right:.9rem}
.key i{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem}
.filters{display:flex;flex-wrap:wrap;gap:.6rem;margin:.8rem 0}
.filters label{display:flex;flex-direction:column;font-size:.8rem;color:var(--soft)}
select,input{font:inherit;padding:.3rem;max-width:100%;color:var(--ink);background:var(--tint);
border:1px solid var(--line);border-radius:.3rem}
article{border:1px solid var(--line);border-left:4px solid var(--good);border-radius:.4rem;padding:.5rem .8rem;
margin:.6rem 0}article.failed{border-left-color:var(--bad)}
article p{margin:.2rem 0;font-size:.85rem}
pre{margin:.2rem 0;padding:.4rem .6rem;background:var(--tint);border-radius:.3rem;white-space:pre-wrap;
overflow-wrap:anywhere;font-size:.85rem;unicode-bidi:plaintext;max-height:20rem;overflow-y:auto}
[hidden]{display:none!important}.paper{display:none}
@media (max-width:40rem){body{padding:.7rem}h2{margin-top:1.6rem}table{font-size:.8rem}th,td{padding:.25rem .35rem}
th:first-child,td:first-child{min-width:7.5rem;max-width:9rem}.d2 td:first-child{padding-left:.8rem}
.d3 td:first-child{padding-left:1.3rem}.filters label{flex:1 1 40%}
.bars{grid-template-columns:minmax(4rem,8rem) 1fr auto;gap:.3rem .5rem;font-size:.8rem}}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--tint:#f2f2f2;--a:#2563eb;--b:#94a3b8;
--good:#15803d;--bad:#b91c1c;font-size:60%}.filters,nav,[data-count],article.more{display:none}
.paper{display:block;column-span:all}body{max-width:none;padding:0;font-size:1rem;print-color-adjust:exact}
h2{margin-top:1.4rem}h2,summary{break-after:avoid}pre{max-height:none}[data-filtered]{columns:2;column-gap:1rem}
article,tr,.card,.bars,.charts>div{break-inside:avoid}.wide{overflow:visible}.charts{grid-template-columns:1fr 1fr}
td:first-child,th:first-child{position:static}}
"""

_SCRIPT = """
"use strict";
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
for (const section of document.querySelectorAll("[data-filtered]")) {
  const items = [...section.querySelectorAll("article")];
  const fields = [...section.querySelectorAll("[data-field]")];
  const count = section.querySelector("[data-count]");
  const update = () => {
    let shown = 0;
    const unasked = fields.every((field) => field.value === "");
    for (const item of items) {
      item.hidden = unasked ? item.classList.contains("more") : !fields.every((field) => {
        if (field.value === "") return true;
        if (field.dataset.field === "text") return item.textContent.toLowerCase().includes(field.value.toLowerCase());
        return item.getAttribute("data-" + field.dataset.field).split("\\n").includes(field.value);
      });
      if (!item.hidden) shown += 1;
    }
    const hint = unasked && shown < items.length ? "; choose a filter to see more" : "";
    count.textContent = shown + " of " + items.length + " shown" + hint;
  };
  for (const field of fields) field.addEventListener("input", update);
  update();
}
"""
_FIRST = 3  # items of each kind that are shown before a filter is chosen, and that are printed


def page(title: str, sections: Iterable[str], *, under: str = "") -> str:
    """One HTML document.

    Args:
        title: plain text.
        sections: HTML that is safe already.
        under: plain text beneath the title.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    body = "\n".join(sections)
    # Text of rows and models is escaped, so only `section` can have written these.
    places = re.findall(r'<section id="([a-z0-9-]+)">.*?<h2>(.*?)</h2>', body, flags=re.S)
    links = "".join(f'<a href="#{place}">{name}</a>' for place, name in places)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{esc(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{esc(title)}</h1>\n"
        f"{paragraph(under, 'under') if under else ''}<nav>{links}</nav>\n{body}\n"
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def esc(text: object) -> str:
    """Any text as HTML that shows it and does nothing: also safe inside a quoted attribute."""
    return html.escape(_CONTROL.sub("\ufffd", str(text)), quote=True)


def _prose(text: str) -> str:
    return esc(text).replace(" %", "&nbsp;%")  # a number and its sign stay on one line


def section(title: str, *parts: str, folded: bool = False) -> str:
    """A titled part of the page, folded away if wished; nothing at all where the parts are empty."""
    body = "\n".join(part for part in parts if part)
    if not body:
        return ""
    place = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    head = f"<h2>{esc(title)}</h2>"
    inside = f"<details>\n<summary>{head}</summary>\n{body}\n</details>" if folded else f"{head}\n{body}"
    return f'<section id="{place}">\n{inside}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    """Plain text as a paragraph."""
    return f'<p class="{esc(kind)}">{_prose(text)}</p>' if kind else f"<p>{_prose(text)}</p>"


def bullets(texts: Sequence[str]) -> str:
    """Plain texts as a list."""
    return "<ul>" + "".join(f"<li>{_prose(text)}</li>" for text in texts) + "</ul>" if texts else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], depths: Sequence[int] = ()) -> str:
    """Plain texts as a table; `depths` (1, 2, 3) indent the rows."""
    top = "".join(f"<th>{esc(cell)}</th>" for cell in head)
    lines = []
    for number, row in enumerate(rows):
        kind = f' class="d{depths[number]}"' if depths else ""
        first, *others = row
        lines.append(
            f"<tr{kind}><td>{name_cell(first)}</td>" + "".join(f"<td>{esc(cell)}</td>" for cell in others) + "</tr>"
        )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def name_cell(name: str) -> str:
    """The name of a lane, which may be broken behind its underscores: a phone is narrow."""
    return esc(name).replace("_", "_<wbr>")


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values that may be long."""
    lines = "".join(f'<tr><td>{esc(name)}</td><td class="text">{esc(value)}</td></tr>' for name, value in pairs)
    return f'<div class="wide"><table><tbody>{lines}</tbody></table></div>'


def pre(label: str, text: str) -> str:
    """A labelled block of model text, direction and line breaks kept inside."""
    return f'<p class="soft">{esc(label)}</p><pre dir="auto">{esc(text)}</pre>'


def article(fields: Mapping[str, Sequence[str]], body: str, *, failed: bool, more: bool = False) -> str:
    """One item that the filters show or hide; `fields` gives its values for each filter; `more` waits for a filter."""
    data = "".join(f' data-{name}="{esc(_BETWEEN.join(values))}"' for name, values in fields.items())
    kinds = " ".join(kind for kind, holds in (("failed", failed), ("more", more)) if holds)
    kind = f' class="{kinds}"' if kinds else ""
    return f"<article{kind}{data}>{body}</article>"


def beyond_first(kinds: Iterable[object]) -> list[bool]:
    """For each item whether as many of its kind came before it as are shown at first."""
    seen: Counter[object] = Counter()
    found = []
    for kind in kinds:
        found.append(seen[kind] >= _FIRST)
        seen[kind] += 1
    return found


def filtered(choices: Mapping[str, Sequence[str]], articles: Sequence[str]) -> str:
    """Articles with a menu for each field of `choices` and a text search above them."""
    menus = []
    for name, values in choices.items():
        options = "".join(f'<option value="{esc(value)}">{esc(value)}</option>' for value in values)
        menu = f'<select data-field="{esc(name)}"><option value="">all</option>{options}</select>'
        menus.append(f"<label>{esc(name)}{menu}</label>")
    menus.append('<label>text<input type="search" data-field="text"></label>')
    count = f'<p class="soft" data-count>{len(articles)} shown</p>'
    paper = f'<p class="soft paper">On paper: the first {_FIRST} of each lane and outcome.</p>'
    return f'<div data-filtered><div class="filters">{"".join(menus)}</div>{count}{paper}{"".join(articles)}</div>'
