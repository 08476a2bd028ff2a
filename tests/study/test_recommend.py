"""The next mixture: the right way in simulated studies whose truth is known, by hand, and as a study to run."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.special import expit
from world import world

from picochat.cli import main
from picochat.files import write_json
from picochat.strict_json import read_json_object
from picochat.study import Study
from picochat.study import study as study_of_lanes
from picochat.study.design import make_design
from picochat.study.effects import Result
from picochat.study.recommend import Proposal, _Runs, propose

EIGHT = np.eye(8)
HALFWAY = np.full(8, 0.4)  # 60 % of the rows of each eval lane pass


def proposals(
    studies: int, own: np.ndarray, present: np.ndarray, pairs: dict[tuple[int, int], float] | None = None
) -> list[tuple[float, Proposal]]:
    """(true gain, proposal) of simulated studies of a mixture of equal shares, 200 rows an eval lane.

    `own` holds what each lane adds to the logit of each eval lane, `present` the logits with all lanes, `pairs` what
    two lanes add to all of them together.
    """
    lanes, joint, random = len(own), pairs or {}, np.random.default_rng(0)
    design = make_design([f"l{lane}" for lane in range(lanes)], interactions=bool(pairs), centre=3, full=5)
    shares = dict.fromkeys(design.lanes, 1 / lanes)

    def logits(x: np.ndarray) -> np.ndarray:
        both = sum(value * (x[:, i] * x[:, k] - 1)[:, None] / 2 for (i, k), value in joint.items())
        return np.asarray(present + (x - 1) / 2 @ own + both)

    made = []
    for _ in range(studies):
        expected = logits(np.array(design.signs))
        seeds = random.normal(0, 0.07, (len(expected), 1)) + random.normal(0, 0.07, expected.shape)
        passed = 100.0 * random.binomial(200, expit(expected + seeds))
        scores = {f"l{on}": (passed[:, [on]], np.array([200.0])) for on in range(len(present))}
        found = propose(shares, design.signs, scores, interactions=bool(pairs))
        x = np.array([[2 * found.shares[lane] / shares[lane] - 1 for lane in shares]])
        made.append((100 * float((expit(logits(x)) - expit(present)).mean()), found))
    return made


def covered(made: list[tuple[float, Proposal]]) -> float:
    return float(np.mean([one.gain.interval.low <= gain <= one.gain.interval.high for gain, one in made if one.gain]))


def test_shares_go_from_what_harms_to_what_helps_and_the_interval_holds_the_true_gain() -> None:
    own = 2 * EIGHT
    own[0] += 0.5  # teaches its own skill as all others do, and helps with every skill
    own[5] -= 0.5
    made = proposals(200, own, HALFWAY)
    proposed = [(gain, one) for gain, one in made if one.gain]
    assert len(proposed) >= 195
    assert all(one.shares["l0"] > 1 / 8 > one.shares["l5"] for _, one in proposed)
    assert all(sum(one.shares.values()) == pytest.approx(1) for _, one in made)
    assert min(gain for gain, _ in proposed) > 0
    assert 0.9 <= covered(made) <= 0.985


@pytest.mark.parametrize("each", [0.0, 2.0])  # no lane does anything; each teaches its own skill, and all as much
def test_where_nothing_is_to_be_gained_nothing_is_proposed(each: float) -> None:
    made = proposals(100, each * EIGHT, HALFWAY)
    silent = [one for _, one in made if one.gain is None]
    assert len(silent) >= 89  # 95 are expected at least
    assert silent[0].shares == dict.fromkeys(silent[0].shares, 1 / 8)


def test_a_small_gain_is_seldom_proposed_with_an_interval_that_misses_it() -> None:
    own = 2 * EIGHT
    own[0] += 0.15
    own[5] -= 0.15
    made = proposals(200, own, HALFWAY)
    proposed = [(gain, one) for gain, one in made if one.gain]
    assert 20 < len(proposed) < 200
    assert np.mean([gain > 0 for gain, _ in proposed]) > 0.95
    assert (1 - covered(made)) * len(proposed) <= 0.08 * len(made)  # of all studies, however the gain was chosen


def test_rows_go_from_complete_skills_to_those_half_way() -> None:
    """Four skills at 97 % by 6 logits, four at 50 % by 4: the first four lanes have taught more points a share."""
    own, present = np.diag([6.0] * 4 + [4.0] * 4), np.array([3.5] * 4 + [0.0] * 4)
    made = proposals(30, own, present)
    shares = np.array([list(one.shares.values()) for _, one in made if one.gain])
    assert len(shares) >= 25
    assert (shares[:, :4].sum(1) < 0.5).all()
    assert min(gain for gain, one in made if one.gain) > 0


def test_where_all_skills_are_complete_no_gain_is_shown_and_nothing_is_proposed() -> None:
    """What lanes are worth differs, and is resolved; on the flat end of the curve little comes of it."""
    made = proposals(60, np.diag([6.0] * 4 + [4.0] * 4), np.array([3.5] * 4 + [3.0] * 4))
    assert sum(any(worth.found for worth in one.worth) for _, one in made) >= 10
    assert sum(one.gain is not None for _, one in made) <= 4


def test_luck_of_rows_above_that_of_the_runs_that_show_the_noise_counts_by_hand() -> None:
    runs = _Runs(np.zeros((3, 1)), np.array([[1.0], [1.0], [5.0]]), [[1], [1], [-1]])
    assert runs.effect("a", np.array([[0.5], [0.5], [-1.0]])).error == pytest.approx((1**2 * (5 - 1)) ** 0.5)


def test_lanes_that_get_in_each_others_way_lose_their_shares() -> None:
    made = proposals(40, 2 * np.eye(5), np.full(5, 0.4), {(1, 2): -1.0})
    assert all(one.gain and max(one.shares["l1"], one.shares["l2"]) < 0.2 for _, one in made)
    assert covered(made) >= 0.85


@pytest.mark.parametrize("passed", [0.0, 300.0])
def test_runs_that_do_not_differ_propose_nothing(passed: float) -> None:
    design, shares = make_design(["a", "b", "c"]), {"a": 0.13, "b": 0.31, "c": 0.56}
    scores = {f"{on}": (np.full((len(design.signs), 1), passed), np.array([7.0 + on])) for on in range(5)}
    found = propose(shares, design.signs, scores)
    assert found.gain is None
    assert found.shares == shares


def test_one_step_by_hand() -> None:
    """Four lanes in eight arms; a adds 1 logit, b takes 1 away, c and d do nothing, and half of the rows pass."""
    design = make_design(["a", "b", "c", "d"], centre=0, full=4)
    x = np.array(design.signs)
    logits = (x[:, 0] - x[:, 1]) / 2 + np.where(np.arange(12) % 2, 0.01, -0.01)
    found = propose(dict.fromkeys("abcd", 0.25), x, {"x": (1e8 * expit(logits)[:, None], np.array([1e6]))})
    assert [one.value for one in found.worth] == pytest.approx([100, -100, 0, 0], abs=5)  # 25 points a logit, by share
    assert [one.found for one in found.worth] == [True, True, False, False]
    assert found.shares == pytest.approx({"a": 0.375, "b": 0.125, "c": 0.25, "d": 0.25})
    assert found.gain is not None
    assert found.gain.value == pytest.approx(
        100 * (expit(1) - 0.5), abs=0.5
    )  # half a logit more, and half a logit less
    assert found.rates["x"] == pytest.approx((0.5, expit(1)), abs=0.005)
    assert found.seeds == 3


MIXTURE = """
components:
  - {name: skills, weight: 0.8, benchmark_profile: s, lanes: {bench_math_addition: 0.5, bench_spelling_spaced: 0.5}}
  - {name: anchor, weight: 0.2, benchmark_profile: release_behavior, lanes: {identity: 1.0}}
"""


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of a mixture file, as if its runs were finished: addition helps everywhere, the anchor harms."""
    monkeypatch.chdir(world(tmp_path))
    Path("mine.yaml").write_text(MIXTURE)
    settings = {"profile": "mine.yaml", "checkpoint": "base", "dataset_pack": "dataset_pack.json", "sft_rows": 200}
    more = {"eval_rows": 40, "steps": 9, "full": 5, "lanes": ["bench_math_addition", "bench_spelling_spaced", "anchor"]}
    Path("study.yaml").write_text(yaml.safe_dump(settings | more))
    for folder, run in Study.read("study.yaml").runs.items():
        write_json(folder / "run.json", {"plan": "", "seed": run.seed, "arm": run.name})

    def rows(folder: Path, lane: object) -> list[Result]:
        said = read_json_object(folder.parent / "run.json")
        adds = sum({"+": sign, "0": 0, "-": -sign}[x] for x, sign in zip(said["arm"], (0.2, 0, -0.2), strict=True))
        random, lanes = np.random.default_rng(int(folder.parent.name, 16)), Study.read("study.yaml").design.lanes
        return [Result(on, str(n), str(n), random.random() < 0.5 + adds) for on in lanes for n in range(300)]

    monkeypatch.setattr(study_of_lanes, "read_results", rows)
    monkeypatch.setattr(study_of_lanes, "is_finished", lambda folder: True)
    return tmp_path


def test_the_proposal_is_a_study_that_tests_it_on_fresh_seeds(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["study", "report", "study.yaml"])
    plain = Path("runs/study/study/study.md").read_text()
    main(["study", "report", "study.yaml", "--recommend"])
    said = capsys.readouterr().out
    assert "picochat study run runs/study/study/next.yaml" in said
    assert re.search(r"Predicted: \+\d+\.\d \(\+\d+\.\d to \+\d+\.\d\) points in the mean of 3 eval lanes", said)
    assert "A hypothesis: " in said
    assert Path("runs/study/study/study.md").read_text().startswith(plain.rstrip())
    study, test = Study.read("study.yaml"), Study.read("runs/study/study/next.yaml")
    assert {run.name for run in test.runs.values()} == {"present", "proposed"}
    assert test.eval_lanes == study.eval_lanes
    assert not {run.seed for run in test.runs.values()} & {run.seed for run in study.runs.values()}
    for run in test.runs.values():
        words = [word.removeprefix("--input=").split(":") for word in run.stages[0] if word.startswith("--input=")]
        shares = {name.partition("=")[0]: float(name.partition("=")[2]) for name, _ in words}
        assert sum(shares.values()) == pytest.approx(1)
        assert all(Path(file).is_file() for _, file in words)
        assert (shares["bench_math_addition"] > 0.41, shares["anchor"] < 0.19) == (run.name == "proposed",) * 2
    # the study that tests it says whether the mean over the eval lanes is better

    def later(folder: Path, lane: object) -> list[Result]:
        passed = 50 + 10 * (test.runs[folder.parent].name == "proposed")
        return [Result(on, str(n), str(n), n < passed) for on in test.eval_lanes for n in range(100)]

    monkeypatch.setattr(study_of_lanes, "read_results", later)
    for folder, run in test.runs.items():
        write_json(folder / "run.json", {"plan": "", "seed": run.seed})
    main(["study", "report", "runs/study/study/next.yaml", "--recommend"])
    said = capsys.readouterr().out
    assert "In the mean of 3 eval lanes, minus present\nproposed: +10.0 (+10.0 to +10.0) points" in said
