"""The benchmarks hang together: each has its section of the page and its place in the runner; slopes are slopes."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
BY_HAND = {"kill", "memory"}  # half an hour each; docs/reliability.md tells of them
NO_BENCHMARK = {"report", "run", "growth_stages"}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a script of the folder by its bare name, as the scripts import each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def loaded(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield loaded
    for name in set(sys.modules) - before:
        if not name.startswith(("torch", "numpy", "picochat")):
            del sys.modules[name]


def test_every_benchmark_is_run_and_has_its_section(load: Any) -> None:
    run, report = load("run"), load("report")
    scripts = {path.stem for path in FOLDER.glob("*.py")} - NO_BENCHMARK - BY_HAND
    assert set(run.BRIEF) | {"optimizers"} == set(run.FULL) == scripts
    assert {command.split(".py")[0] for section in report.SECTIONS for command in section.commands} == scripts
    for script in scripts:
        names = re.findall(r"record\(\s*f?\"([\w-]+)", (FOLDER / f"{script}.py").read_text("utf-8"))
        assert names
        for name in names:
            assert sum(name.startswith(section.prefix.rstrip("-")) for section in report.SECTIONS) == 1, name


def test_the_page_names_commands_where_results_are_missing_and_shows_those_that_are_there(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = load("report")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "FIGURES", tmp_path / "static")
    empty = report.page()
    assert empty.count("Not measured yet: ") == len(report.SECTIONS)
    assert "`python benchmarks/growth.py`" in empty
    monkeypatch.setattr(sys, "argv", ["benchmarks/packing.py", "--sizes", "10"])
    report.record("packing", ["packer", "seconds"], [["ours", 0.12345], ["theirs", 1234.5]], "A note.")
    (tmp_path / "static").mkdir()
    (tmp_path / "static/growth.svg").write_text("<svg/>")
    page = report.page()
    assert page.count("Not measured yet: ") == len(report.SECTIONS) - 1
    assert "| ours | 0.123 |\n| theirs | 1,234 |" in page
    assert "`python benchmarks/packing.py --sizes 10`" in page
    assert "![Growth](static/growth.svg)" in page


def test_slopes_are_exponents_and_steeper_ones_than_n_log_n_are_seen(load: Any) -> None:
    growth = load("growth")
    sizes = [10**power for power in range(3, 7)]
    assert growth.slope([(n, 7.0 * n) for n in sizes]) == pytest.approx(1)
    assert growth.slope([(n, 1e-9 * n * n) for n in sizes]) == pytest.approx(2)
    assert growth.slope([(n, n * len(str(n))) for n in sizes]) < growth.STEEPEST < 1.5


def test_growth_is_measured_over_the_decades_that_it_tells_of(load: Any) -> None:
    ends = {(stage.unit, stage.sizes[0], stage.sizes[-1]) for stage in load("growth_stages").STAGES.values()}
    assert ends >= {
        ("documents", 10**3, 10**6),
        ("rows", 10**3, 10**6),
        ("eval rows", 10**2, 10**5),
        ("tokens a row", 128, 4096),
        ("tokens of the vocabulary", 512, 32_768),
    }


def test_a_curve_is_drawn_for_every_stage(load: Any) -> None:
    growth = load("growth")
    curves = {f"stage {number}": [(10, 0.1, 1.0), (100, 1.0 + number, 2.0)] for number in range(13)}
    drawing = growth.drawn(curves)
    assert drawing.count("<polyline") == 2 * 13
    assert len(set(re.findall(r"fill=\"(hsl[^\"]*)\"", drawing))) == 13


def test_a_stage_is_measured_in_a_process_of_its_own() -> None:
    command = [sys.executable, str(FOLDER / "growth.py"), "--one", "packing", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]).keys() == {"seconds", "bytes"}
