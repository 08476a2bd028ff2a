"""The report page in a real browser (Debian: apt-get install chromium): no complaint, no request, working filters."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import Browser, Page, find_chromium
from students import HOSTILE, Parrot, complete, perfect
from test_html_page import every_block

from picochat.blocks import Report
from picochat.evidence.eval_report import eval_report
from picochat.evidence.evaluation import answer_rows
from picochat.evidence.html_page import Curves
from picochat.evidence.html_page import page as html
from picochat.packs.rows import Row

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)
SHOWN = "[...document.querySelectorAll('article')].filter((one) => one.offsetParent !== null)"
CURVES: Curves = {
    "train/loss": [(1, 5.0), (50, 0.5), (100, 0.05)],
    "train/lr": [(1, 1e-4), (100, 1e-3)],
    "eval/weak_skills/pass_rate": [(50, 0.2), (100, 0.9)],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture
def page_file(rows: list[Row], tmp_path: Path) -> Path:
    """Sixty rows, 25 replies shown, five of each lane; spellings and refusals failed."""

    def speak(prompt: str) -> str:
        return "It is noon." if prompt.startswith("What") else "no" if len(prompt) == 3 else perfect(prompt)

    predictions = answer_rows(rows, Parrot(speak))
    many = [replace(one, index=10 * turn + one.index) for turn in range(6) for one in predictions]
    before = complete([replace(one, passed=False) for one in many], "runs/base/best_checkpoint")
    path = tmp_path / "eval_report.html"
    path.write_text(html(eval_report(complete(many), CURVES, before)))
    return path


def quiet(page: Page) -> bool:
    """Nothing was complained of, and nothing but the page itself was asked for."""
    assert page.complaints() == []
    assert len(page.requests()) == 1, page.requests()
    return True


def test_filters_show_the_replies_of_a_lane_a_reason_and_a_word(browser: Browser, page_file: Path) -> None:
    page = browser.open(page_file)
    count = "document.querySelector('[data-count]').textContent"
    assert page.evaluate(count) == "25 of 25 shown"
    page.choose("lane", "bench_spelling_spaced")
    assert page.evaluate(count) == "5 of 25 shown"
    assert page.evaluate(f"{SHOWN}.every((one) => one.dataset.lane === 'bench_spelling_spaced')")
    page.choose("reason", "unsupported_claim")
    assert page.evaluate(count) == "0 of 25 shown"
    page.choose("lane", "")
    assert page.evaluate(f"{SHOWN}.length") == 5
    page.choose("reason", "")
    page.choose("text", "i am PICOCHAT")
    assert page.evaluate(f"{SHOWN}.length") == 5
    assert quiet(page)


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_no_page_is_wider_than_its_screen(browser: Browser, page_file: Path, width: int, dark: bool) -> None:
    page = browser.open(page_file, width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.querySelectorAll('svg.chart').length") == 3
    bars = page.evaluate("[...document.querySelectorAll('.bars svg')].map((one) => one.getBoundingClientRect().width)")
    assert len(bars) == 5
    assert min(bars) > 50
    # the three columns that matter most are on the screen without scrolling
    edge = page.evaluate("document.querySelector('#lanes td:nth-child(4)').getBoundingClientRect().right")
    assert edge < max(width, 390)
    ink, paper = page.evaluate("['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])")
    assert (sum(map(int, ink[4:-1].split(","))) > sum(map(int, paper[4:-1].split(",")))) == dark
    assert quiet(page)


def test_hostile_text_does_nothing_and_is_shown_as_it_is(browser: Browser, tmp_path: Path) -> None:
    texts = [*HOSTILE, "<iframe srcdoc='<script>parent.hit=1</script>'>", "<style>body{display:none}</style>"]
    path = tmp_path / "page.html"
    path.write_text(html(Report(texts[0], texts[1], [block for text in texts for block in every_block(text)])))
    page = browser.open(path)
    assert page.evaluate("window.hit") is None
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.querySelectorAll('img,iframe,object,embed,form,svg script').length") == 0
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    shown = page.evaluate("[...document.querySelectorAll('pre')].map((one) => one.textContent)")
    for text in (text for text in texts if text.isprintable()):
        assert shown.count(text) == 2  # a text of code, and a reply
    assert quiet(page)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext (Debian: apt-get install poppler-utils)")
def test_on_paper_folded_tables_are_open(browser: Browser, page_file: Path, tmp_path: Path) -> None:
    page = browser.open(page_file)
    page.evaluate("document.querySelector('section').outerHTML += '<details><summary>x</summary>unfolded</details>'")
    page.pdf(tmp_path / "page.pdf")
    printed = subprocess.run(["pdftotext", str(tmp_path / "page.pdf"), "-"], check=True, capture_output=True, text=True)
    text = printed.stdout
    assert "unfolded" in text
    assert text.count("\f") <= 5  # pages
