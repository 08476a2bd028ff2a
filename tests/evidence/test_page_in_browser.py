"""The report pages in a real browser: no complaint, no request, working filters, and text that stays text."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, find_chromium
from students import Parrot, perfect
from test_report import HOSTILE, complete

from picochat.evidence.compare_report import compare_html
from picochat.evidence.evaluation import evaluate
from picochat.evidence.fit_report import fit_html
from picochat.evidence.lanes import summarise
from picochat.evidence.report_html import eval_html
from picochat.evidence.sft_fit import Forced, measure_rows, summarise_fit
from picochat.packs.rows import Row

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)
SHOWN = "[...document.querySelectorAll('article')].filter((one) => one.offsetParent !== null)"
CURVES: dict[str, Any] = {
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
    """Sixty rows, 40 replies shown: 8 sums, 8 identity, 6 choices passed; 12 spellings and 6 refusals failed."""

    def speak(prompt: str) -> str:
        return "It is noon." if prompt.startswith("What") else "no" if len(prompt) == 3 else perfect(prompt)

    predictions, _ = evaluate(rows, Parrot(speak))
    many = [replace(one, index=10 * turn + one.index) for turn in range(6) for one in predictions]
    before = complete(summarise([replace(one, passed=False) for one in many]), len(many), "runs/base/best_checkpoint")
    path = tmp_path / "eval_report.html"
    path.write_text(eval_html(complete(summarise(many), len(many)), many, curves=CURVES, before=before))
    return path


def quiet(page: Page) -> bool:
    """Nothing was complained of, and nothing but the page itself was asked for."""
    assert page.complaints() == []
    assert len(page.requests()) == 1, page.requests()
    return True


def test_filters_show_the_replies_of_a_lane_a_reason_and_a_word(browser: Browser, page_file: Path) -> None:
    page = browser.open(page_file)
    count = "document.querySelector('[data-count]').textContent"
    assert page.evaluate(count) == "15 of 40 shown; choose a filter to see more"
    assert page.evaluate(f"{SHOWN}.length") == 15
    page.choose("lane", "bench_spelling_spaced")
    assert page.evaluate(count) == "12 of 40 shown"
    assert page.evaluate(f"{SHOWN}.every((one) => one.dataset.lane === 'bench_spelling_spaced')")
    page.choose("reason", "unsupported_claim")
    assert page.evaluate(count) == "0 of 40 shown"
    page.choose("lane", "")
    assert page.evaluate(f"{SHOWN}.length") == 6
    assert page.evaluate(f"{SHOWN}[0].textContent").count("It is noon.") == 1
    page.choose("reason", "")
    page.choose("text", "i am PICOCHAT")
    assert page.evaluate(f"{SHOWN}.length") == 8
    page.choose("text", "")
    page.choose("verdict", "passed")
    assert page.evaluate(f"{SHOWN}.every((one) => !one.classList.contains('failed'))")
    assert page.evaluate(f"{SHOWN}.length") == 22
    assert quiet(page)


def test_a_click_on_a_menu_and_its_keys_filter_as_well(browser: Browser, page_file: Path) -> None:
    page = browser.open(page_file)
    page.evaluate("document.querySelector('[data-field=verdict]').focus()")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="ArrowDown", code="ArrowDown", windowsVirtualKeyCode=40)
    assert page.evaluate("document.querySelector('[data-field=verdict]').value") == "passed"
    assert page.evaluate(f"{SHOWN}.length") == 22
    page.click("[data-field=text]")
    page.call("Input.insertText", text="dog")
    assert page.evaluate(f"{SHOWN}.length") == 6  # the choices among which there is a dog
    page.click("nav a[href='#provenance']")
    assert page.evaluate("location.hash") == "#provenance"
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
    edge = page.evaluate("document.querySelector('td:nth-child(4)').getBoundingClientRect().right")
    assert edge < max(width, 390)
    ink, paper = page.evaluate("['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])")
    assert (sum(map(int, ink[4:-1].split(","))) > sum(map(int, paper[4:-1].split(",")))) == dark
    assert quiet(page)


@pytest.mark.parametrize("form", ["eval", "fit", "compare"])
def test_hostile_text_does_nothing_and_is_shown_as_it_is(
    browser: Browser, rows: list[Row], tmp_path: Path, form: str
) -> None:
    texts = [*HOSTILE, "<iframe srcdoc='<script>parent.hit=1</script>'>", "<style>body{display:none}</style>"]
    path = tmp_path / "page.html"
    path.write_text(hostile_page(form, rows, texts))
    page = browser.open(path)
    assert page.evaluate("window.hit") is None
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.querySelectorAll('img,iframe,object,embed,form,svg script').length") == 0
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    shown = page.evaluate("[...document.querySelectorAll('pre')].map((one) => one.textContent)")
    for text in (text for text in texts if text.isprintable()):
        assert text in shown
    assert quiet(page)


def hostile_page(form: str, rows: list[Row], texts: list[str]) -> str:
    """A page of each kind whose prompts, replies, tags and places are all hostile."""
    one = evaluate(rows, Parrot(perfect))[0][0]
    if form == "fit":
        student = Parrot(lambda prompt: prompt)
        spoilt = [{"messages": [{"role": "user", "content": t}], "answer": t, "category": t} for t in texts]
        measured = measure_rows(
            "train", spoilt, range(len(texts)), student, lambda rows: [Forced(1, 1, 1) for _ in rows]
        )
        head = {"pack": {"path": texts[0], "sha256": texts[1]}, "held_out": None, "settings": {texts[2]: texts[3]}}
        model = {"folder": texts[0], "sha256": texts[1], "provenance": {texts[2]: texts[3]}}
        return fit_html({"picochat": "1", "model": model, **head, **summarise_fit(measured)}, measured)
    fields = ("mixture_benchmark_profile", "mixture_component", "category", "stage", "phrasing", "answer_style")
    spoilt = [
        replace(
            one, index=n, prompt=t, reply=t, raw_reply=t, expected=t, passed=False, reasons=("prompt_echo",),
            tags=dict.fromkeys(fields, t),
        )
        for n, t in enumerate(texts)
    ]  # fmt: skip
    report = complete(summarise(spoilt), len(spoilt), texts[0])
    if form == "eval":
        return eval_html(report, spoilt, curves={f"{t}/loss": [(1, 2.0), (2, 1.0)] for t in texts}, before=report)
    lane = {
        **dict.fromkeys(("difference", "both", "only_a", "only_b", "rate_a", "rate_b"), 0.5),
        **dict.fromkeys(("p", "p_holm"), 0.1), **dict.fromkeys(("ci95", "ci95_a", "ci95_b"), (0.1, 0.6)),
        "n": 3, "gain": None, "test": "exact McNemar",
    }  # fmt: skip
    run = {"folder": texts[0], "model": {"folder": texts[1], "sha256": texts[2]}, "rate": 0.5}
    arm = {"name": texts[0], "runs": [run]}
    flips = [
        {
            **dict.fromkeys(("prompt", "reply_a", "reply_b", "expected", "category"), t),
            "reasons_a": [], "reasons_b": [], "index": n, "direction": "lost",
        }
        for n, t in enumerate(texts)
    ]  # fmt: skip
    groupings = {name: dict.fromkeys(texts, lane) for name in report if name.startswith("by_")}
    words = {"readings": texts, "notes": texts, "summary": texts[0]}
    arms = {"a": arm, "b": {**arm, "name": texts[1]}, "before": None, "peak": None}
    head = {"picochat": "1", "pack": report["pack"], "overall": lane, "flips": flips}
    return compare_html({**head, **groupings, **words, **arms})


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext (Debian: apt-get install poppler-utils)")
def test_on_paper_folded_tables_are_open_and_replies_are_few(browser: Browser, page_file: Path, tmp_path: Path) -> None:
    page = browser.open(page_file)
    page.evaluate("document.querySelector('section').outerHTML += '<details><summary>x</summary>unfolded</details>'")
    page.pdf(tmp_path / "page.pdf")
    printed = subprocess.run(["pdftotext", str(tmp_path / "page.pdf"), "-"], check=True, capture_output=True, text=True)
    text = printed.stdout
    assert "unfolded" in text
    assert "On paper: the first 3 of each lane and outcome." in text
    assert text.count("row ") == 15
    assert text.count("\f") <= 4  # pages
    assert "choose a filter" not in text
