"""Paired comparisons: by hand where numbers are small, by construction where they are not."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import t as student
from students import Parrot, complete, eval_row

from picochat.blocks import markdown_page, terminal
from picochat.errors import UserError
from picochat.evidence.arms import Noise, arm_names, read_noise
from picochat.evidence.compare import Comparison, Difference, compare_runs
from picochat.evidence.eval_report import eval_json, eval_report
from picochat.evidence.evaluation import Evaluation, answer_rows, read_eval
from picochat.evidence.html_page import page
from picochat.evidence.report import compare_json, compare_report, write_report
from picochat.evidence.runs import RunNoise
from picochat.evidence.words import notes, summary

MakeRun = Callable[..., Path]


def write(folder: Path, one: Evaluation) -> None:
    write_report(folder, "eval_report", eval_report(one), eval_json(one), one.predictions)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write an evaluation in which the named rows pass: 100 sums ("s0" …) and 100 identity rows ("i0" …).

    Sums of one problem follow each other, `each` of them a problem.
    """

    def make(name: str, passing: set[str], sha256: str = "ab" * 32, each: int = 1, **settings: object) -> Path:
        answer = {"answer": "yes", "answer_style": "direct"}
        rows = [
            eval_row(f"s{i}", "bench_math_addition", "weak_skills", key=f"p{i // each}", **answer) for i in range(100)
        ]
        rows += [eval_row(f"i{i}", "identity", "release_behavior", must_include=["yes"]) for i in range(100)]
        one = complete(answer_rows(rows, Parrot(lambda prompt: "yes" if prompt in passing else "<b>no</b>")), name)
        pack, model = replace(one.pack, sha256=sha256), replace(one.model, sha256=name * 8)
        write(tmp_path / name, replace(one, pack=pack, model=model, settings={**one.settings, **settings}))
        return tmp_path / name

    return make


def sums(*numbers: int) -> set[str]:
    return {f"s{n}" for n in numbers}


EVERYBODY = {f"i{n}" for n in range(100)}
STEADY: Noise = {("by_skill", name): RunNoise(1e-12, 0.0, 99) for name in ("math", "identity")}


def math(comparison: Comparison) -> Difference:
    return comparison.lanes["by_skill"]["math"]


def test_one_run_against_another_by_hand(make_run: MakeRun) -> None:
    a = make_run("old", EVERYBODY | sums(*range(10)))  # sums 0-9
    b = make_run("new", EVERYBODY | sums(*range(2, 26)))  # sums 2-25: two lost, sixteen gained
    report = compare_runs([a], [b], noise=STEADY)
    lane = math(report)
    assert (lane.change.rows, lane.change.clusters, lane.a.rate, lane.b.rate) == (100, 100, 0.10, 0.24)
    assert (lane.lost, lane.gained) == (2, 16)
    assert lane.change.value == pytest.approx(0.14)
    assert lane.change.p_value == pytest.approx(2 * student.sf(14 / 18**0.5, 99))  # McNemar's statistic
    assert lane.p_corrected == pytest.approx(2 * lane.change.p_value)  # Holm: two skills are tested
    error = ((0.18 - 0.14**2) / 99) ** 0.5
    assert lane.visible == pytest.approx((student.ppf(0.9875, 99) + student.ppf(0.8, 99)) * error)
    flips = [(flip.a.index, flip.direction, flip.a.reply, flip.b.reply) for flip in report.flips]
    assert flips[1:3] == [(1, "lost", "yes", "<b>no</b>"), (10, "gained", "<b>no</b>", "yes")]


def test_rows_of_few_problems_are_no_more_evidence_than_the_problems(make_run: MakeRun) -> None:
    passing = sums(*range(60)), sums(*range(76))  # sixteen more rows, all of two problems where ten rows are a problem
    rows, problems, few = (
        compare_runs([make_run(f"a{each}", passing[0], each=each)], [make_run(f"b{each}", passing[1], each=each)])
        for each in (1, 10, 12)
    )
    assert (math(rows).finding, math(rows).change.clusters) == ("different", 100)
    assert (math(problems).finding, math(problems).change.clusters) == ("undecided", 10)
    assert (math(few).change.clusters, math(few).change.interval, math(few).visible) == (9, None, None)
    assert "math undecided (fewer than 10 problems)" in summary(few)


@pytest.mark.parametrize(
    ("gained", "lost", "finding", "words"),
    [
        (10, 0, "different", "math 10.0 points higher"),
        (9, 1, "suggested", "math perhaps 8.0 points higher (+2.2 to +15.5)"),
        (4, 1, "undecided", "math undecided (-"),
    ],
)
def test_a_difference_is_claimed_where_the_test_shows_it_and_the_rows_could_have(
    make_run: MakeRun, gained: int, lost: int, finding: str, words: str
) -> None:
    # 9 against 1: p = 0.013, corrected 0.026; but 100 such rows show a difference of 9.6 points in 4 of 5 cases, not 8
    report = compare_runs(
        [make_run("old", EVERYBODY | sums(*range(gained, gained + lost)))],
        [make_run("new", EVERYBODY | sums(*range(gained)))],
        noise=STEADY,
    )
    assert math(report).finding == finding
    assert words in summary(report)


def test_equal_arms_are_called_equal_only_when_the_rows_are_enough_and_decoding_that_differs_is_said(
    make_run: MakeRun,
) -> None:
    a, b = make_run("old", EVERYBODY, max_new_tokens=64), make_run("new", EVERYBODY, max_new_tokens=256)
    wide, narrow = (compare_runs([a], [b], margin=margin) for margin in (0.05, 0.02))
    assert summary(wide).startswith("B against A: identity equal within ±5 points; math")
    assert summary(narrow).startswith("B against A: identity undecided (-3.8 to +3.8); math")
    assert "The runs were decoded differently: max_new_tokens is 64 and 256." in notes(wide)


def test_lanes_of_the_same_rows_are_one_test_and_what_is_not_declared_is_explored(make_run: MakeRun) -> None:
    arms = [make_run("old", sums(1))], [make_run("new", EVERYBODY | sums(1, 2, 3, 4, 5))]
    report = compare_runs(*arms)
    both = report.lanes["by_skill"]["identity"]
    assert both is report.lanes["by_category"]["identity"] is report.lanes["by_component"]["behavior_anchor"]
    assert (both.declared, report.overall.declared) == (True, False)
    alone = compare_runs(*arms, declared=["bench_math_addition"])
    assert [lane.declared for lane in alone.lanes["by_skill"].values()] == [False, True]
    few, many = math(alone).visible, math(report).visible
    assert few is not None and many is not None and few < many  # one test instead of two
    assert summary(alone).startswith("B against A: math ")


@pytest.mark.parametrize(
    ("arms", "settings", "fault"),
    [
        ("ab", {"declared": ["maths"]}, "--declare maths: these rows have no such skill or category, but identity, ma"),
        ("ab", {"margin": 0}, "--margin must be above 0"),
        ("ab", {"peak": "a"}, "--peak needs --before"),
        ("ax", {}, r"different eval rows \(sha256 abababababab and cdcdcdcdcdcd\)"),
        ("ab", {"before": "x"}, "different eval rows"),
        ("ab", {"before": "a", "peak": "x"}, "different eval rows"),
        (("aa", "b"), {}, "the same weights"),  # twice are no two runs
    ],
)
def test_what_cannot_be_compared_is_refused(
    arms: tuple[str, str], settings: dict[str, object], fault: str, make_run: MakeRun
) -> None:
    runs = {"a": make_run("a", set()), "b": make_run("b", set()), "x": make_run("x", set(), sha256="cd" * 32)}
    folders = {name: [runs[own] for own in settings.pop(name, "")] for name in ("before", "peak")}  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=fault):
        compare_runs(*([runs[own] for own in arm] for arm in arms), **folders, **settings)  # type: ignore[misc]


def test_rows_that_the_rules_could_not_judge_in_some_run_are_left_out_and_files_of_replies_have_no_settings(
    make_run: MakeRun,
) -> None:
    a, b = make_run("old", sums(0, 1)), make_run("new", sums(1, 2))
    one = read_eval(b)
    unread = [replace(row, signals=("not_judged",)) if row.index in (0, 7) else row for row in one.predictions]
    write(b, replace(one, predictions=unread, settings={}))
    report = compare_runs([a], [b])
    assert (math(report).change.rows, math(report).lost, math(report).gained) == (98, 0, 1)
    assert [flip.a.index for flip in report.flips] == [2]
    assert "Left out: 2 rows to which some run replied in a language that the rules do not read." in notes(report)
    assert read_noise([a, make_run("other", sums(0))])["by_skill", "math"].variance > 0
    write(b, replace(one, predictions=[replace(row, signals=("not_judged",)) for row in unread]))
    with pytest.raises(UserError, match="could judge no row"):
        compare_runs([a], [b])


def test_of_single_runs_no_claim_is_made_about_recipes(make_run: MakeRun) -> None:
    a, b = make_run("old", sums(1)), make_run("new", sums(*range(30)))
    single, several = compare_runs([a], [b]), compare_runs([a, make_run("o", sums(2))], [b])
    unknown = "run-to-run variation unknown: not a claim about recipes"
    shown, tested = (terminal(*compare_report(report).blocks) for report in (single, several))
    assert summary(single).endswith(f"; {unknown}")
    assert (math(single).p_corrected, "corrected p" in shown) == (None, False)
    assert "not between training runs" in notes(single)[0]
    assert "include the variation between runs (seeds), estimated from these runs" in notes(several)[0]
    assert unknown not in summary(several)
    assert "corrected p" in tested and "< 0.0001" in tested


def test_how_much_runs_differ_is_taken_from_earlier_runs(make_run: MakeRun) -> None:
    earlier = [make_run(f"e{n}", EVERYBODY | sums(*range(n))) for n in (20, 24, 31)]
    one, other = make_run("old", EVERYBODY), make_run("new", EVERYBODY | sums(*range(30)))
    noise = read_noise(earlier)
    own = noise["by_skill", "math"]
    assert own.variance == pytest.approx(0.0031, rel=0.01)  # 0.20, 0.24, 0.31 around the mean, 2 degrees of freedom
    report = compare_runs([one], [other], noise=noise, noise_from="e1, e2")
    assert math(report).noise == own
    assert "estimated from e1, e2" in notes(report)[0]
    with pytest.raises(UserError, match="two or more runs of one recipe"):
        read_noise([one])
    with pytest.raises(UserError, match="--noise: these runs answered no rows of identity"):
        compare_runs([one], [other], noise={("by_skill", "math"): own})


def test_lanes_share_how_much_runs_differ_in_proportion_to_what_their_rates_allow(tmp_path: Path) -> None:
    # Of five categories of 40 rows each four have runs that differ by some rows; all rows of the fifth pass
    rows = [eval_row(f"{lane}{i}", f"lane_{lane}", "mine", must_include=["yes"]) for lane in "abcde" for i in range(40)]
    prompts, folders = [row["messages"][0]["content"] for row in rows], []
    for run, passing in enumerate(([20, 24, 28, 36, 40], [26, 22, 24, 38, 40], [22, 27, 31, 35, 40])):
        said = {f"{lane}{i}": "yes" for lane, n in zip("abcde", passing, strict=True) for i in range(n)}
        one = complete(answer_rows(rows, Parrot({**dict.fromkeys(prompts, "no"), **said}.__getitem__)), f"r{run}")
        folders.append(tmp_path / f"r{run}")
        write(folders[-1], replace(one, model=replace(one.model, sha256=f"{run}" * 64)))
    noise = {name: own for (grouping, name), own in read_noise(folders).items() if grouping == "by_category"}
    half, most, every = (noise[f"lane_{lane}"] for lane in "ade")
    assert half.variance > 2 * most.variance > 4 * every.variance > 0  # p (1 - p) is 0.24, 0.09 and 0.02


def test_both_ways_to_a_release_are_told_by_the_share_of_the_gain_that_they_kept(make_run: MakeRun) -> None:
    report = compare_runs(
        [make_run("direct", EVERYBODY | sums(0))],
        [make_run("staged", EVERYBODY | sums(*range(80)))],
        before=[make_run("base", sums(0, 1))],
        peak=[make_run("capability", EVERYBODY | sums(*range(98)))],
        names=("direct", "staged", "base", "capability"),
        margin=0.04,
    )
    gain = math(report).gain
    assert gain is not None and gain.kept_b is not None
    assert (gain.before, gain.change.value) == (0.02, pytest.approx(0.96))
    assert gain.kept_b.share == pytest.approx(0.78 / 0.96)
    assert gain.kept_b.ci95 == pytest.approx([0.72, 0.88], abs=0.015)
    assert summary(report).startswith(
        "staged against direct: identity equal within ±4 points, all of its gain kept; "
        "math 79.0 points higher, 81 % of its gain kept; run-to-run"
    )
    table = terminal(*compare_report(report).blocks)
    for column in ("base", "capability", "direct", "staged", "kept by staged", "kept by direct"):
        assert column in table
    assert re.search(r"math  +2.0 %  +98.0 %  +81 % \(7\d % to 8\d %\) +-1 % \(-", table)
    written = compare_json(report)
    assert [written[arm]["name"] for arm in ("a", "b", "before", "peak")] == ["direct", "staged", "base", "capability"]


def test_nothing_is_said_of_a_gain_that_is_not_significant_and_the_peak_has_all_of_its_own(make_run: MakeRun) -> None:
    base, peak = make_run("base", EVERYBODY | sums(*range(20))), make_run("peak", EVERYBODY | sums(*range(25)))
    arms = [make_run("a", sums(*range(22)))], [make_run("b", sums(*range(24)))]
    report = compare_runs(*arms, before=[base], peak=[peak])  # 5 gained: p = 0.03, by Holm 0.06
    gain = math(report).gain
    assert gain is not None and 0.025 < gain.change.p_value < 0.05
    assert (gain.kept_a, gain.kept_b) == (None, None)
    assert "kept" not in summary(report)
    lost = compare_runs([base], [base], before=[peak], peak=[make_run("none", set())])
    assert "kept" not in summary(lost)  # a loss is no gain either
    own = math(compare_runs([make_run("c", sums(*range(90)))], [peak], before=[base])).gain
    assert own is not None and own.kept_a is None and own.kept_b is not None


@pytest.mark.parametrize(
    ("arms", "names"),
    [
        ([["eval/base-s1", "eval/base-s2"], ["eval/sft"]], ["base", "sft"]),
        ([["eval/base_seed1", "eval/base_seed12"], ["eval/sft-1"]], ["base", "sft-1"]),
        ([["class1", "class2"], ["sft"]], ["class", "sft"]),
        ([["x/old"], ["x/new"], ["x/base"], ["x/old"]], ["old", "new", "base", "old"]),
        ([["base/eval"], ["sft/eval"]], ["A", "B"]),
        ([["s1", "s2"], ["sft"]], ["A", "B"]),
    ],
)
def test_arms_are_called_after_their_folders(arms: list[list[str]], names: list[str]) -> None:
    assert arm_names(arms) == names


def test_the_three_forms_tell_the_same(make_run: MakeRun, tmp_path: Path) -> None:
    comparison = compare_runs(
        [make_run("old", EVERYBODY)], [make_run("new", sums(*range(50)))], before=[make_run("base", set())]
    )
    report = compare_report(comparison)
    odd = compare_report(compare_runs([tmp_path / "old"], [tmp_path / "new"], names=("rows", "gained")))
    assert re.search("skill +rows +problems +rows +gained +difference", terminal(*odd.blocks))
    for form in (terminal(*report.blocks), markdown_page(report), page(report).replace("&nbsp;", " ")):
        assert summary(comparison) in form
        assert "Visible is the smallest difference" in form
    assert "10 of 150 rows: at most 5 of each lane and outcome" in page(report)
    assert "&lt;b&gt;no&lt;/b&gt;" in page(report)
    write_report(tmp_path / "out", "comparison", report, compare_json(comparison))
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".html", ".json", ".md"]
    assert len(json.loads((tmp_path / "out" / "comparison.json").read_text())["flips"]) == 150
