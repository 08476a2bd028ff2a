"""The page: hostile text stays text, nothing is loaded, charts are drawn inside their frame."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from students import HOSTILE, Parrot, complete, perfect

from picochat.blocks import Bars, Block, Chart, Charts, Differences, Matrix, Replies, Reply, Report, Table, Text
from picochat.evidence.eval_report import eval_report
from picochat.evidence.evaluation import Evaluation, Model, answer_rows
from picochat.evidence.html_page import draw, page
from picochat.evidence.report import mixtures
from picochat.packs.rows import Row

VOID = ("meta", "link", "input", "br", "wbr", "rect", "path")


class Elements(HTMLParser):
    """All tags with their attributes, the text of all <pre>, and whether tags are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pre: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "pre":
            self.pre.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "pre":
            self.pre[-1] += data


def of(*blocks: Block) -> str:
    return page(Report("title", "under", blocks))


@pytest.fixture
def evaluation(rows: list[Row]) -> Evaluation:
    return complete(answer_rows(rows, Parrot(lambda prompt: "no" if prompt == "cat" else perfect(prompt))))


def every_block(text: str) -> list[Block]:
    """Blocks of all kinds in which every text is the same."""
    one = (0.5, (0.4, 0.6))
    return [
        Text([text], title=text),
        Text([text], "list"),
        Text([text], "code"),
        Table((text, text), [(text, text)], left=2, title=text, folded=True, depths=(1,)),
        Bars({text: [one, None]}, (text, text)),
        Differences({text: (0.1, (-0.1, 0.3), [0.05])}),
        Charts([Chart(text, {text: [(1, 2.0), (2, 3.0)]})]),
        Matrix((text, text), [(text, text)], shades=[[-0.5]], hints=[[text]]),
        Replies([Reply(text, {text: text}, {"lane": [text], "verdict": [text]})], text),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_every_block(text: str) -> None:
    elements = Elements(page(Report(text, text, every_block(text))))
    assert elements.open == []
    assert [attributes for tag, attributes in elements.tags if tag == "script"] == [{}]
    assert not [tag for tag, _ in elements.tags if tag in ("img", "iframe", "object", "form")]
    assert all(re.fullmatch("#[a-z0-9-]*", attributes["href"] or "") for tag, attributes in elements.tags if tag == "a")
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    assert elements.pre == [re.sub(r"[\x00-\x08\x1b\ud800]", "\ufffd", text)] * 2


@given(st.text(st.characters(codec=None), max_size=80))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    elements = Elements(of(Replies([Reply("", {"reply": text}, {"lane": [text]})])))
    plain = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", text)
    assert elements.pre == [plain]
    assert [attributes["data-lane"] for tag, attributes in elements.tags if tag == "article"] == [plain]


def test_the_page_loads_nothing_allows_its_own_script_only_and_filters_by_what_it_shows(evaluation: Evaluation) -> None:
    html = page(eval_report(evaluation))
    assert not re.search(r"(?:src|href)=\"(?!data:,|#)|https?://", html)
    script = re.search(r"<script>(.*?)</script>", html, flags=re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    elements = Elements(html)
    options = [attributes["value"] for tag, attributes in elements.tags if tag == "option"]
    lanes = ["bench_choice_language", "bench_math_addition", "bench_spelling_spaced", "identity", "refusal"]
    assert options == ["", *lanes, "", "failed", "passed", "", "wrong_answer"]
    failed = [attributes.get("class") == "failed" for tag, attributes in elements.tags if tag == "article"]
    assert (len(failed), sum(failed)) == (10, 1)


def test_a_page_shows_some_of_each_category_and_verdict(evaluation: Evaluation) -> None:
    many = [replace(evaluation.predictions[0], index=i, passed=i % 2 == 0) for i in range(200)]
    report = eval_report(replace(evaluation, predictions=many))
    (replies,) = [block for block in report.blocks if isinstance(block, Replies)]
    assert [one.failed for one in replies.shown] == [True] * 5 + [False] * 5
    assert [int(one.head.split()[1]) for one in replies.shown[:3]] == [2, 42, 82]  # every 20th of a hundred failures


def test_a_block_without_content_leaves_no_heading() -> None:
    html = of(Table(("a",), [], title="Nothing"), Charts([Chart("Loss", {"x": [(1, float("nan"))]})], title="Curves"))
    assert "<section" not in html
    assert "<nav></nav>" in html


def test_bars_show_both_runs_in_words_and_widths() -> None:
    html = of(Bars({"math": [(0.9, (0.8, 0.95)), (0.9, (0.05, 0.2))], "x": [None, (0.1, (0, 1))]}, ("new", "old")))
    assert "math: 90.0 % (interval 80.0 to 95.0 %); 90.0 % (interval 5.0 to 20.0 %)" in html
    widths = re.findall(r'width="(90.00|10.00)" height="4.20" class="(k\d)"', html)
    assert widths == [("90.00", "k0"), ("90.00", "k1"), ("10.00", "k1")]


def test_mixtures_are_drawn_where_model_folders_say_them() -> None:
    one, other = ({"mixture": {"math": 0.75, "who": 0.25}}, {"mixture": {"math": 1.0}})
    drawn = mixtures({"b": Model("b", "", one), "a": Model("a", "", other)})
    assert drawn.lanes == {"math": [(0.75, None), (1.0, None)], "who": [(0.25, None), (0, None)]}
    for unknown in ({}, {"mixture": {"math": "<b>"}}, {"mixture": 3}):
        assert not mixtures({"b": Model("b", "", one), "a": Model("a", "", unknown)}).lanes


def test_differences_are_drawn_to_one_scale_and_coloured_where_the_interval_excludes_zero() -> None:
    lanes = {"bench_math_x": (0.25, (0.1, 0.5), [0.2, 0.3]), "b": (-0.1, (-0.3, 0.1), []), "c": (-0.5, (-1, -0.1), [])}
    html = of(Differences(lanes))
    assert '<span title="bench_math_x">math x</span>' in html
    assert "<title>bench_math_x: +25.0 points (interval +10.0 to +50.0)</title>" in html
    assert re.findall(r'<g class="(\w*)">', html) == ["up", "", "down"]
    assert "<title>x: +0.0 points (interval +0.0 to +0.0)</title>" in of(Differences({"x": (-1e-5, (-4e-4, 4e-4), [])}))
    # from -1 to 0.5, and a fiftieth of that on both sides: 200 places for 1.56
    assert re.findall(r'd="M([-\d.]+) 2V10"', html) == ["164.10", "119.23", "67.95"]
    assert re.findall(r'd="M([-\d.]+) 9v3"', html) == ["157.69", "170.51"]
    assert {*re.findall(r'd="M([-\d.]+) 0V12"', html)} == {"132.05"}  # zero


def drawing(
    curves: dict[str, list[tuple[float, float]]], scale: Literal["linear", "log", "share"] = "linear"
) -> dict[str, Any]:
    found = draw(Chart("Loss", curves, scale))
    assert found is not None
    return found


def test_a_long_curve_is_thinned_with_its_end_kept_and_nan_left_out() -> None:
    (line,) = drawing({"train": [(step, 1.0 if step else float("nan")) for step in range(10_000)]})["lines"]
    assert 300 <= len(line["corners"]) < 320
    assert line["corners"][-1][0] == 468
    assert draw(Chart("Loss", {"train": [(1, float("nan"))]})) is None


def test_axes_have_round_numbers() -> None:
    def labels(ticks: list[tuple[float, str]]) -> list[str]:
        return [label for _, label in ticks]

    both = drawing({"y": [(0.0, 13.0), (200.0, 178.0)]})
    assert labels(both["left"]) == labels(both["bottom"]) == ["0", "50", "100", "150", "200"]
    assert labels(drawing({"y": [(1.0, 0.3)]}, "share")["left"]) == ["0%", "25%", "50%", "75%", "100%"]
    far = drawing({"train": [(1.0, 8.0), (2.0, 0.02)]}, "log")
    assert (far["title"], labels(far["left"])) == ("Loss (logarithmic)", ["0.01", "0.1", "1", "10"])
    for low in (2.0, 0.0):  # not far enough, no logarithm
        assert drawing({"train": [(1.0, 8.0), (2.0, low)]}, "log")["title"] == "Loss"


@example([(1.0, 1e11), (2.0, 1e11)], "linear")  # ranges that floats can hardly divide
@example([(1.0, 5e-324), (2.0, 1e11)], "log")
@example([(1.0, 5e-324), (2.0, 1e-323)], "log")
@given(
    st.lists(st.tuples(st.floats(0, 1e300), st.floats(allow_nan=True)), min_size=1, max_size=5),
    st.sampled_from(["linear", "log"]),
)
def test_whatever_numbers_a_curve_holds_it_is_drawn_inside_the_chart(
    curve: list[tuple[float, float]], scale: Literal["linear", "log"]
) -> None:
    found = draw(Chart("Loss", {"train": curve}, scale))
    for x, y in found["lines"][0]["corners"] if found else []:
        assert 48 <= x <= 468
        assert 8 <= y <= 216
