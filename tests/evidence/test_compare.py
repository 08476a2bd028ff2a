"""Paired comparisons: by hand where numbers are small, by construction where they are not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from students import Parrot, complete, eval_row

from picochat.blocks import markdown_page, terminal
from picochat.errors import UserError
from picochat.evidence.compare import Comparison, compare_runs
from picochat.evidence.compare_report import compare_json, compare_report
from picochat.evidence.eval_report import eval_json, eval_report
from picochat.evidence.evaluation import answer_rows
from picochat.evidence.html_page import page
from picochat.evidence.report import write_report
from picochat.evidence.words import arm_names, lane_name, notes, p_text, points, readings, summary
from picochat.packs.rows import Row

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write an evaluation in which the named rows pass: 100 sums ("s0" …) and 100 identity rows ("i0" …)."""
    rows: list[Row] = [
        eval_row(f"s{i}", "bench_math_addition", "weak_skills", answer="yes", answer_style="direct") for i in range(100)
    ] + [eval_row(f"i{i}", "identity", "release_behavior", must_include=["yes"]) for i in range(100)]

    def make(name: str, passing: set[str], sha256: str = "ab" * 32, first: int = 0, **settings: object) -> Path:
        predictions = answer_rows(rows[first:], Parrot(lambda prompt: "yes" if prompt in passing else "<b>no</b>"))
        one = complete(predictions, name)
        one = replace(
            one,
            pack=replace(one.pack, sha256=sha256),
            model=replace(one.model, sha256=name * 8),
            settings={**one.settings, **settings},
        )
        write_report(tmp_path / name, "eval_report", eval_report(one), eval_json(one), predictions)
        return tmp_path / name

    return make


def sums(*numbers: int) -> set[str]:
    return {f"s{n}" for n in numbers}


EVERYBODY = {f"i{n}" for n in range(100)}


def test_one_run_against_another_by_hand(make_run: MakeRun) -> None:
    a = make_run("old", EVERYBODY | sums(*range(10)))  # sums 0-9
    b = make_run("new", EVERYBODY | sums(*range(2, 26)))  # sums 2-25: two lost, sixteen gained
    report = compare_runs([a], [b], names=("old", "new"))
    lane = report.lanes["by_skill"]["math"]
    assert (lane.n, lane.rate_a, lane.rate_b) == (100, 0.10, 0.24)
    assert (lane.both, lane.only_a, lane.only_b) == (8, 2, 16)
    assert lane.difference == pytest.approx(0.14)
    assert lane.ci95[0] == pytest.approx(0.0592, abs=2e-3)
    assert lane.p == pytest.approx(2 * (1 + 18 + 153) / 2**18)  # C(18,0) + C(18,1) + C(18,2), both tails
    assert lane.p_holm == pytest.approx(2 * lane.p)  # two skills are tested
    assert lane.test == "exact McNemar"
    assert report.lanes["by_skill"]["identity"].difference == 0
    assert report.lanes["by_skill"]["identity"].p == 1.0


def test_flips_come_with_both_replies(make_run: MakeRun) -> None:
    flips = compare_runs([make_run("old", sums(1))], [make_run("new", sums(2))]).flips
    assert [(flip.a.index, flip.direction, flip.a.reply, flip.b.reply) for flip in flips] == [
        (1, "lost", "yes", "<b>no</b>"),
        (2, "gained", "<b>no</b>", "yes"),
    ]
    assert flips[0].b.reasons == ("wrong_answer",)


@pytest.mark.parametrize(
    ("count", "finding", "interval", "words"),
    [
        (6, "suggested", "+44.8 to +100.0", "B is perhaps higher than A by 100.0 points: interval and corrected test "),
        (7, "different", "+49.9 to +100.0", "B is higher than A by 100.0 points"),
    ],
)
def test_no_difference_is_denied_beside_an_interval_that_excludes_it(
    make_run: MakeRun, count: int, finding: str, interval: str, words: str
) -> None:
    # all of 6 rows flip: p = 2/64 = 0.031, corrected over the 2 skills of the table 0.0625; of 7: 0.0156, 0.031
    report = compare_runs(
        [make_run("old", EVERYBODY, first=100 - count)],
        [make_run("new", EVERYBODY | sums(*range(100)), first=100 - count)],
    )
    lane = report.lanes["by_skill"]["math"]
    assert (lane.n, lane.finding) == (count, finding)
    assert words in words_on("arithmetic", report)
    assert interval in words_on("arithmetic", report)
    assert "no difference" not in words_on("arithmetic", report)


def test_different_eval_rows_are_refused_with_both_hashes(make_run: MakeRun) -> None:
    a, b = make_run("old", set()), make_run("new", set(), sha256="cd" * 32)
    with pytest.raises(UserError, match=r"different eval rows \(sha256 abababababab and cdcdcdcdcdcd\)"):
        compare_runs([a], [b])
    with pytest.raises(UserError, match="different eval rows"):
        compare_runs([a], [make_run("other", set())], before=[b])
    with pytest.raises(UserError, match="different eval rows"):
        compare_runs([a], [a], before=[a], peak=[b])


def test_the_same_weights_twice_are_no_two_runs(make_run: MakeRun) -> None:
    a = make_run("old", set())
    with pytest.raises(UserError, match="the same weights"):
        compare_runs([a, a], [make_run("new", set())])


def test_a_single_run_says_that_variation_between_runs_is_not_covered(make_run: MakeRun) -> None:
    a, b = make_run("old", sums(1)), make_run("new", sums(2))
    more = [make_run(f"new{n}", sums(n)) for n in (3, 4)]
    both_single = notes(compare_runs([a], [b], names=("old", "new")))[0]
    assert both_single.startswith("old and new: a single run each.")
    assert "not the variation between training runs" in both_single
    assert notes(compare_runs([a], more, names=("old", "new")))[0].startswith("old: a single run.")
    several = notes(compare_runs([a, b], more))
    assert "include the variation between rows and between runs" in several[0]
    assert not any("a single run" in note for note in several)


def test_runs_that_differ_among_themselves_widen_the_interval_and_raise_p(make_run: MakeRun) -> None:
    low = [make_run(f"a{n}", sums(*range(n))) for n in (10, 30)]  # rates 0.10 and 0.30, mean 0.20
    high = [make_run(f"b{n}", sums(*range(n))) for n in (50, 70)]  # rates 0.50 and 0.70, mean 0.60
    lane = compare_runs(low, high).lanes["by_skill"]["math"]
    assert lane.rates_a == [0.1, 0.3]
    assert lane.difference == pytest.approx(0.4)
    # Between runs: error = sqrt(0.02/2 + 0.02/2) = 0.1414, 2 degrees of freedom, 4.303 · 0.1414 = 0.61 each side.
    assert lane.ci95[0] < 0.4 - 0.6
    assert lane.ci95[1] == 1.0
    assert lane.p == pytest.approx(0.1056, abs=1e-4)  # t = 2.828 at 2 degrees of freedom
    steady = compare_runs(
        [make_run(f"c{n}", sums(*range(n))) for n in (19, 20, 21)],
        [make_run(f"d{n}", sums(*range(n))) for n in (59, 60, 61)],
    ).lanes["by_skill"]["math"]
    assert steady.ci95[0] > 0.25
    assert steady.p < 0.001


def words_on(lane: str, report: Comparison) -> str:
    return next(line for line in readings(report) if line.startswith(f"{lane}:"))


def test_the_share_of_a_gain_that_was_kept(make_run: MakeRun) -> None:
    base = make_run("base", EVERYBODY | sums(0, 1))
    capability = make_run("capability", EVERYBODY | sums(*range(98)))
    release = make_run("release", EVERYBODY | sums(*range(80)))
    report = compare_runs([capability], [release], before=[base], names=("capability", "release", "base"))
    gain = report.lanes["by_skill"]["math"].gain
    assert (gain.rate_before, gain.rate_peak, gain.gain) == (0.02, 0.98, pytest.approx(0.96))
    assert gain.kept_a is None  # all of its own gain, by definition
    assert gain.kept_b.share == pytest.approx(0.78 / 0.96)
    assert gain.kept_b.ci95 == pytest.approx([0.72, 0.88], abs=0.01)
    assert report.lanes["by_skill"]["identity"].gain.kept_b is None  # nothing was gained there
    assert "release is lower than capability by 18.0 points" in words_on("arithmetic", report)
    assert words_on("arithmetic", report).endswith(
        "; of the 96.0 points that capability (98.0 %) gained over base (2.0 %), "
        "release kept 81 % (95 % interval 71 to 89 %)"
    )
    assert "kept" not in words_on("identity", report)


def test_both_ways_to_a_release_in_one_sentence(make_run: MakeRun) -> None:
    direct = make_run("direct", EVERYBODY | sums(0))
    staged = make_run("staged", EVERYBODY | sums(*range(80)))
    report = compare_runs(
        [direct],
        [staged],
        before=[make_run("base", sums(0, 1))],
        peak=[make_run("capability", EVERYBODY | sums(*range(98)))],
        names=("direct", "staged", "base", "capability"),
        margin=0.04,
    )
    assert summary(report) == (
        "staged against direct: identity equal within ±4 points, all of its gain kept; "
        "arithmetic 79.0 points higher, 81 % of its gain kept"
    )
    assert "staged kept 81 % (95 % interval 71 to 89 %), direct -1 % (95 % interval -6 to 3 %)" in words_on(
        "arithmetic", report
    )
    blocks = compare_report(report)
    for form in (terminal(*blocks.blocks), markdown_page(blocks), page(blocks)):
        assert summary(report).split("; ")[1] in form.replace("&nbsp;", " ")
        assert "capability" in form
    written = compare_json(report)
    assert [written[arm]["name"] for arm in ("a", "b", "before", "peak")] == ["direct", "staged", "base", "capability"]


def test_nothing_is_said_of_a_gain_that_is_not_significant(make_run: MakeRun) -> None:
    base = make_run("base", EVERYBODY | sums(*range(20)))
    arms = {"before": [base], "peak": [make_run("peak", EVERYBODY | sums(*range(25)))]}  # 5 gained: p = 2 / 32 = 0.0625
    report = compare_runs([make_run("a", sums(*range(22)))], [make_run("b", sums(*range(24)))], **arms)
    gain = report.lanes["by_skill"]["math"].gain
    assert (gain.p, gain.p_holm) == (0.0625, 0.125)
    assert (gain.kept_a, gain.kept_b) == (None, None)
    assert "kept" not in summary(report) + words_on("arithmetic", report)
    lost = compare_runs([base], [base], before=arms["peak"], peak=[make_run("none", set())])
    assert "kept" not in summary(lost)  # a loss is no gain either


def test_runs_that_differ_widen_the_interval_of_what_was_kept(make_run: MakeRun) -> None:
    base, peak = [make_run("base", set())], [make_run(f"peak{n}", sums(*range(n))) for n in (88, 92)]

    def kept(*passing: int) -> tuple[float, float, float]:
        arm = [make_run(f"arm{n}", sums(*range(n))) for n in passing]
        found = compare_runs(peak, arm, before=base).lanes["by_skill"]["math"].gain.kept_b
        return found.share, *found.ci95

    steady, shaky = kept(71, 73), kept(62, 82)
    assert steady[0] == shaky[0] == pytest.approx(0.8)  # 72 / 90
    assert shaky[1] < steady[1] < 0.75
    assert shaky[2] > steady[2] > 0.85


def test_a_peak_needs_its_start(make_run: MakeRun) -> None:
    run = make_run("run", set())
    with pytest.raises(UserError, match="--peak needs --before"):
        compare_runs([run], [run], peak=[run])


@pytest.mark.parametrize(
    ("arms", "names"),
    [
        ([["runs/eval/base"], ["runs/eval/sft"]], ["base", "sft"]),
        ([["runs/base/eval"], ["runs/sft/eval"], ["runs/old/eval"]], ["base", "sft", "old"]),
        ([["eval/base-s1", "eval/base-s2"], ["eval/sft"]], ["base", "sft"]),
        ([["eval/base_seed1", "eval/base_seed12"], ["eval/sft-1", "eval/sft-2"]], ["base", "sft"]),
        ([["base/1", "base/2"], ["sft/1", "sft/2"]], ["base", "sft"]),
        ([["e/weak_skills-1", "e/weak_skills-2"], ["e/rerun1", "e/rerun2"]], ["weak_skills", "rerun"]),
        ([["x/old"], ["x/new"], ["x/base"], ["x/old"]], ["old", "new", "base", "old"]),
        ([["one"], ["one"]], ["A", "B"]),
        ([["a/x", "b/y"], ["c"]], ["A", "B"]),
    ],
)
def test_arms_are_called_after_the_part_of_their_folders_that_differs(arms: list[list[str]], names: list[str]) -> None:
    assert arm_names(arms) == names


def test_equal_arms_are_called_equal_only_when_the_rows_are_enough(make_run: MakeRun) -> None:
    a, b = make_run("old", EVERYBODY), make_run("new", EVERYBODY)
    wide, narrow = (readings(compare_runs([a], [b], margin=margin)) for margin in (0.05, 0.02))
    assert wide[0].startswith("identity: equal within ±5 points (+0.0 points, 95 % interval -3.7 to +3.7")
    assert "no difference shown, and not enough rows to call them equal within ±2 points" in narrow[0]


def test_different_decoding_is_said_and_auto_is_float32(make_run: MakeRun) -> None:
    a = make_run("old", set(), max_new_tokens=64, precision="float32")
    said = notes(compare_runs([a], [make_run("new", set(), max_new_tokens=256, precision="auto")]))
    assert [note for note in said if "decoded" in note] == [
        "The runs were decoded differently: max_new_tokens is 64 and 256."
    ]


def test_a_category_that_is_called_as_a_skill_is_shown_keeps_its_own_lane() -> None:
    lanes = ["math", "arithmetic", "choice"]
    assert [lane_name(name, lanes) for name in lanes] == ["math", "arithmetic", "multiple choice"]


def test_the_three_forms_tell_the_same(make_run: MakeRun, tmp_path: Path) -> None:
    comparison = compare_runs(
        [make_run("old", EVERYBODY)], [make_run("new", sums(*range(50)))], before=[make_run("base", set())]
    )
    report = compare_report(comparison)
    for form in (terminal(*report.blocks), markdown_page(report), page(report)):
        assert "+50.0" in form
        assert "arithmetic: B is higher than A by 50.0 points" in form
    assert "12 of 12 shown here. 24 of 150 rows: at most 12 of each lane and outcome" in markdown_page(report)
    assert "<b>no</b>" not in page(report)
    assert "&lt;b&gt;no&lt;/b&gt;" in page(report)
    write_report(tmp_path / "out", "comparison", report, compare_json(comparison))
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".html", ".json", ".md"]
    assert len(json.loads((tmp_path / "out" / "comparison.json").read_text())["flips"]) == 150


def test_points_have_their_sign_and_a_tiny_p_is_only_called_tiny() -> None:
    assert (points(0.123), points(-0.05), points(-0.0)) == ("+12.3", "-5.0", "+0.0")
    assert (p_text(0.03125), p_text(1.0), p_text(1e-30)) == ("0.031", "1", "< 0.0001")
