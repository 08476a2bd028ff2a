"""The documentation's settings. In: docs/**/*.md and the docstrings of public names. Out: site/, by `make docs`.

Docstrings here are plain text with drawings; `plain_to_rst` makes of them what Sphinx reads:

    Bins of rows, drawn:          Bins of rows, drawn::

        [a a b]          ─►           [a a b]

    `T` is n*m                    ``T`` is n\\*m

Pictures of two colour schemes are written as GitHub shows them, a <picture> of a light and a dark one; `themed` makes
of each the two images that follow the theme's own switch.
"""

import re
from typing import Any

import picochat

project = "picochat"
author = "The picochat developers"
version = release = picochat.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["static"]
myst_heading_anchors = 3  # links such as (design.md#the-data-plan)
autodoc_typehints = "none"  # signatures stay short; the Args: texts say what a value means
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": False}
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as fields, or those of named tuples would stand there twice
napoleon_use_rtype = False
autodoc_inherit_docstrings = False  # hooks of Lightning are documented by Lightning
html_theme = "furo"
html_title = "picochat"
html_static_path = ["static"]
html_css_files = ["picochat.css"]
html_show_sphinx = html_show_copyright = False
html_copy_source = False

_PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="(?P<dark>[^"]+)">'
    r'\s*<img src="(?P<light>[^"]+)" alt="(?P<alt>[^"]+)">\s*</picture>'
)
_SECTION = re.compile(r"(Args|Attributes|Examples?|Raises|Returns|Yields|Note|Shapes?):$")


def plain_to_rst(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Rewrite one docstring in place: drawings become literal blocks, `x` becomes code, signs stay signs."""
    result: list[str] = []
    in_section = drawing = False
    for line in lines:
        indented = line.startswith((" ", "\t"))
        if line.strip() and not indented:
            in_section, drawing = bool(_SECTION.match(line)), False
        elif indented and not in_section and not drawing and (not result or not result[-1].strip()):
            result += ["::", ""]
            drawing = True
        result.append(line if drawing else _words(line))
    lines[:] = result


def _words(line: str) -> str:
    """Text outside of backticks gets its * | and trailing _ escaped; text inside becomes a literal."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
    for index, part in enumerate(parts):
        if part.startswith("`"):
            joined = parts[index + 1][:1].isalnum()  # `Lane`s: a literal ends at an escaped space
            parts[index] = f"``{part.strip('`')}``" + "\\ " * joined
        else:
            parts[index] = re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part)
    return "".join(parts)


def themed(app: Any, docname: str, source: list[str]) -> None:
    """Rewrite the pictures of one page in place."""
    image = "```{image} %s\n:class: only-%s\n:alt: %s\n```\n"

    def images(found: re.Match[str]) -> str:
        return "\n".join(image % (found[scheme], scheme, found["alt"]) for scheme in ("light", "dark"))

    source[0] = _PICTURE.sub(images, source[0])


def setup(app: Any) -> None:
    """Before napoleon, which reads the Args: sections (its priority is 500)."""
    app.connect("source-read", themed)
    app.connect("autodoc-process-docstring", plain_to_rst, priority=400)
