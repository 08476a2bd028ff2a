"""Blocks: one report in the terminal and in Markdown, whatever the texts hold."""

import re
from dataclasses import replace
from html import unescape

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from picochat.blocks import (
    WRITTEN,
    Bars,
    Chart,
    Charts,
    Matrix,
    Report,
    Table,
    Text,
    markdown,
    markdown_page,
    md,
    terminal,
)

LANES = Table(("lane", "n", "rate"), [("math", "346", "97.4 %"), ("identity", "134", "8.1 %")])


def test_a_table_is_aligned_in_the_terminal() -> None:
    assert terminal(LANES).splitlines() == ["lane        n    rate", "math      346  97.4 %", "identity  134   8.1 %"]
    nested = Table(LANES.head, LANES.rows, depths=(0, 1), title="By lane")
    assert terminal(nested).splitlines()[::3] == ["By lane", "  identity  134   8.1 %"]


def test_columns_of_text_go_to_the_left_and_markdown_says_which_are_figures() -> None:
    table = Table(("what", "value"), [("model", "x"), ("a longer name", "y z")], left=2)
    assert terminal(table).splitlines() == ["what           value", "model          x", "a longer name  y z"]
    assert markdown(table).splitlines()[1] == "| --- | --- |"
    assert markdown(LANES).splitlines()[:3] == [
        "| lane | n | rate |",
        "| --- | ---: | ---: |",
        "| math | 346 | 97.4 % |",
    ]


def test_nothing_in_a_text_moves_the_cursor() -> None:
    shown = terminal(Table(("a\x1b[2J", "b"), [("x\ny", "\u202e")]), Text(["one\rtwo"]))
    assert shown.isascii()
    assert shown.replace("\n", "").isprintable()
    assert "x\\ny" in shown


@given(st.text(max_size=60))
def test_any_text_is_shown_by_markdown_as_it_is(text: str) -> None:
    page = MarkdownIt("js-default", {"html": True, "linkify": False}).render(markdown(Table((text,), [("a",)])))
    cell = re.search(r"<th>(.*?)</th>", page, flags=re.S)
    assert cell is not None
    expected = re.sub(
        r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", text.replace("\r\n", "\n").replace("\r", "\n")
    )
    expected = expected.replace("\t", " ").replace("\n", " ⏎ ")
    assert not re.search(r"<", cell[1])
    assert unescape(cell[1]).split() == expected.split()


def test_markdown_is_escaped_where_it_means_something() -> None:
    assert md("bench_math_addition _x_ *y* a_") == "bench_math_addition \\_x\\_ \\*y\\* a\\_"
    assert [md(text) for text in ("- item - x", "1. one", "2)")] == ["\\- item - x", "1\\. one", "2\\)"]
    assert md("[a](b) `c` | d") == "\\[a\\](b) \\`c\\` \\| d"
    assert md("<b>\n& www.x") == "&lt;b&gt; ⏎ &amp; www&#46;x"


def test_code_is_fenced_by_more_backticks_than_it_holds() -> None:
    assert markdown(Text(["a ```` b"], style="code")) == "`````\na ```` b\n`````"


def test_a_block_is_shown_by_the_media_it_names_and_an_empty_one_by_none() -> None:
    blocks = [
        Text(["found"], style="lead"),
        replace(LANES, media=WRITTEN, title="Lanes"),
        Text(["a", "b"], style="list", title="In words", media=("terminal",)),
        Table(("a", "b"), [], title="Nothing"),
        Charts([Chart("Loss", {"loss": [(1, 2.0)]})], title="Curves"),
    ]
    assert terminal(*blocks) == "found\n\nIn words\na\nb"
    assert markdown_page(Report("A_b_ of x", "1 | 2", blocks)) == (
        "# A_b\\_ of x\n\n1 \\| 2\n\n**found**\n\n## Lanes\n\n" + markdown(LANES) + "\n"
    )


def test_a_matrix_is_a_table_where_nothing_can_be_shaded_and_pictures_are_for_pages() -> None:
    effects = Matrix(("lane", "math", "identity"), [("math", "+3.1", "0.0")], shades=[[0.6, 0.0]])
    assert terminal(effects) == "lane  math  identity\nmath  +3.1       0.0"
    assert markdown(effects).splitlines()[2] == "| math | +3.1 | 0.0 |"
    for picture in (Bars({"math": [(0.9, (0.8, 0.95)), None]}), Charts([Chart("Loss", {"x": [(1, 2.0)]})])):
        assert (terminal(picture), markdown(picture)) == ("", "")


def test_a_wide_matrix_fits_a_terminal_with_numbers_for_the_names_of_columns() -> None:
    lanes = [f"bench_of_a_long_name_{number}" for number in range(1, 15)]
    rows = [(lane, *("+12.3 *" if lane == other else "-1.0" for other in (*lanes, "other"))) for lane in lanes]
    shown = terminal(Matrix(("with, less without", *lanes, "other"), rows, shades=[])).splitlines()
    assert max(map(len, shown)) <= 100
    assert shown[0] == "with, less without"
    assert shown[1].split() == [str(number) for number in range(1, 9)]
    assert shown[3].startswith(" 2 bench_of_a_long_name_2    -1.0    +12.3 *   -1.0  ")
    assert shown[17].split()[:3] == ["9", "10", "11"]
    assert shown[-1] == "15 other"
