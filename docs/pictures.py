"""The README's pictures. In: report pages that commands wrote. Out: docs/static/NAME-{light,dark}.png. `make pictures`.

    python docs/pictures.py lanes=runs/comparison/comparison.html matrix=runs/study/capability/study.html

Of each page the first drawing is taken, with its heading, in headless Chromium (Debian: apt-get install chromium).
"""

import base64
import sys
from pathlib import Path

STATIC = Path(__file__).parent / "static"
sys.path.append(str(Path(__file__).parents[1] / "tests"))
WIDTH = 960
DRAWING = """(() => {
    const section = document.querySelector("section:has(.bars, .matrix)")
    const drawing = section.querySelector(".bars, .matrix")
    const { x, y, width } = section.getBoundingClientRect()
    return { x, y, width, height: drawing.getBoundingClientRect().bottom - y }
})()"""


def main(named: dict[str, str]) -> None:
    """Draw each page in both colour schemes."""
    from browser import Browser

    with Browser() as browser:
        for name, page in named.items():
            for scheme in ("light", "dark"):
                tab = browser.open(Path(page), width=WIDTH, dark=scheme == "dark")
                place = tab.evaluate(DRAWING)
                clip = {"x": place["x"] - 12, "y": place["y"] - 8, "width": place["width"] + 24}
                clip["height"] = place["height"] + 20
                shot = tab.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip | {"scale": 2})
                (STATIC / f"{name}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
                print(f"wrote {STATIC / name}-{scheme}.png")


if __name__ == "__main__":
    main(dict(word.split("=", 1) for word in sys.argv[1:]))
