"""Every command of README and docs runs as printed, in a fresh folder, page by page; tests/pages.py says how."""

import re
from pathlib import Path

import pytest
from pages import ONLY_PARSED, ROOT, Walk, blocks_of, copy, demo_lines, make_demo, reason_not_to_run

README = ROOT / "README.md"
FRESH = {README, ROOT / "docs/index.md", ROOT / "docs/tutorial.md"}  # where everybody begins
ELSEWHERE = {  # pages whose blocks other tests run
    "benchmarks.md": "made of docstrings and of commands that were run",
    "lightning.md": "tests/test_lightning.py",
    "mix.md": "tests/test_docs.py, in full size",
}
PAGES = [page for page in (README, *sorted(ROOT.glob("docs/**/*.md"))) if page.name not in ELSEWHERE]
LINES = [line for page in PAGES for block in blocks_of(page) if block.kind == "bash" for line in block.commands()]


STEP = re.compile(  # a line of a run, as callbacks/progress.py writes it
    r"step +\d+/\d+  loss \d+\.\d{4}  lr \d\.\de-\d\d(  \S+ tokens/s)?"
    r"(  val \d\.\d{4}(  eval \d\.\d{4})?(  \w+ \d+%)*)?(  \d+ (s|min) left)?"
)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/demo in miniature."""
    return make_demo(tmp_path_factory.mktemp("demo"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_run_as_printed(
    page: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    without = demo_lines(tmp_path) if page == README else []
    if page == README:  # after `make demo`, whose commands the recipe's are
        copy(demo, Path("runs/demo"))
    Walk(None if page in FRESH else demo, without=without).page(page)
    if page.name == "tutorial.md":  # and print what it shows, but for figures
        printed = set(map(masked, capsys.readouterr().out.splitlines()))
        assert [line for line in shown_by(page) if masked(line) not in printed and not STEP.fullmatch(line)] == []


def shown_by(page: Path) -> list[str]:
    """The lines of output on a page."""
    return [line for block in blocks_of(page) if block.kind == "text" for line in block.text.splitlines() if line]


def masked(line: str) -> str:
    return re.sub(r"\d[\d,.]*( s| min)?", "#", line)


def test_commands_that_are_not_run_have_a_reason_that_is_not_stale() -> None:
    assert len([line for line in LINES if not reason_not_to_run(line)]) > 80
    assert [sign for sign in ONLY_PARSED if not any(re.search(sign, line) for line in LINES)] == []
    assert [line for line in LINES if "…" in line] == []


def test_lines_of_runs_are_shown_as_they_are_printed() -> None:
    lines = [line for page in PAGES for line in shown_by(page) if line.startswith("step")]
    assert len(lines) >= 4
    assert [line for line in lines if not STEP.fullmatch(line)] == []
