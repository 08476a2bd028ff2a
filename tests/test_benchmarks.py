"""The benchmarks are complete and labelled: each is run, has its section, and its results name the instruction set."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
# kill and judge are run by hand, expect by demo.mk
NO_BENCHMARK = {"machine", "measure", "report", "run", "kill", "judge", "expect"}


def test_every_benchmark_is_run_and_has_its_section_which_shows_its_results(script: Any) -> None:
    found = {path.stem for path in FOLDER.glob("*.py")} - NO_BENCHMARK
    assert set(script("run").BENCHMARKS) == found
    for name in found:
        results = re.findall(r"record\(\s*f?\"([\w-]+)", (FOLDER / f"{name}.py").read_text("utf-8"))
        assert results
        assert all(result.startswith(name) for result in results)


def test_the_page_names_commands_where_results_are_missing_and_sets_instruction_sets_side_by_side(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, report = script("machine"), script("report")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert report.page().count("Not measured yet: ") == len(report.BENCHMARKS)
    assert "`python benchmarks/train.py --size 10m`" in report.page()
    monkeypatch.setattr(sys, "argv", ["benchmarks/packing.py", "--sizes", "10"])
    for name, ours in (("AVX512-bf16", 0.12345), ("AVX2", 1.5)):
        monkeypatch.setattr(machine, "label", lambda device, name=name: name)
        report.record("packing", ["packer", "seconds"], [["ours", ours]], f"Of {name}.")
    report.record("packing", ["packer", "seconds"], [["ours", 1.5], ["theirs", 1234.5]], "Again.")
    page = report.page()
    assert page.count("Not measured yet: ") == len(report.BENCHMARKS) - 1
    assert "`python benchmarks/packing.py --sizes 10`" in page
    assert "| packer | seconds, AVX2 | seconds, AVX512-bf16 |\n|---|---:|---:|" in page
    assert "| ours | 1.5 | 0.123 |\n| theirs | 1,234 | – |" in page
    assert "AVX2: Again." in page
    assert "AVX512-bf16: Of AVX512-bf16." in page


def test_kept_results_are_labelled_and_on_the_page(script: Any) -> None:
    report = script("report")
    whole = report.page()
    assert report.PAGE.read_text("utf-8") == whole, "write docs/benchmarks.md anew: python benchmarks/report.py"
    for path in report.RESULTS.glob("*.json"):
        for name, result in json.loads(path.read_text("utf-8")).items():
            assert re.fullmatch(r"AVX\w+(-bf16)?|NVIDIA .+", name), path
            assert {len(row) for row in result["rows"]} == {len(result["columns"])}


def test_a_machine_narrowed_to_avx2_is_labelled_so_and_takes_float32(script: Any) -> None:
    code = "import json, machine; print(json.dumps([machine.label(), machine.precision(), machine.describe()]))"
    code = f"import machine, os; os.getloadavg = lambda: [1e9] * 3; {code}"  # what the benchmark itself did
    environment = {**os.environ, **script("machine").NARROW}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, env=environment, capture_output=True, text=True, check=True
    )
    label, precision, description = json.loads(done.stdout)
    assert (label, precision) == ("AVX2", "fp32")
    assert description["narrowed"] == "yes"
    assert description["load_before"] < 1e6


def test_every_script_imports_what_exists_and_every_stage_of_growth_runs(script: Any) -> None:
    """So that an API that changes breaks a test, and not the next measurement."""
    for path in sorted(FOLDER.glob("*.py")):
        script(path.stem)
    code = "import growth\nfor name, stage in growth.STAGES.items(): growth.once(name, stage.sizes[0])"
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tables_of_the_evidence_page_are_those_that_were_measured(script: Any) -> None:
    report = script("report")
    page = report.EVIDENCE.read_text("utf-8")
    assert report.with_tables(page) == page, "write the tables anew: python benchmarks/report.py"
    tables = {"coverage-rate", "coverage-difference", "coverage-runs", "planted_truth"}
    assert set(re.findall(r"<!-- ([\w-]+) -->\n\n\| ", page)) == tables
    assert report.with_tables(page.replace("| 246 rows", "| 7 rows")) == page
