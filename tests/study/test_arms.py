"""Runs as command lines: which rows a run draws, in which shares, for how long."""

import json
from pathlib import Path
from typing import Any

import pytest
from world import LANES, world

from picochat.datamodules.tokenise import parse_inputs
from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.formats import read_rows
from picochat.study.arms import LaneRows, lane_files, lane_of, make_runs, training
from picochat.study.design import Design
from picochat.study.settings import Settings

FILES = {"a": LaneRows(50, 0.5, 0.6), "b": LaneRows(30, 0.3, 0.1), "rest": LaneRows(20, 0.2, 0.3)}


def inputs(signs: tuple[int, ...], files: dict[str, LaneRows] = FILES, **settings: Any) -> tuple[list[str], list[str]]:
    """(inputs, other flags) of a run with these lanes."""
    study = Settings(steps=1000, train="--optimizer muon", **settings)
    (run,) = make_runs(study, Design(("a", "b"), (signs,), (3,)), files, Path("F"), Path("eval.jsonl"))
    assert run.evaluate == ("eval", "chat", "--input", "eval.jsonl")
    words = [word for line in run.stages for word in line]
    given = [word.removeprefix("--input=") for word in words if word.startswith("--input=")]
    return given, [word for word in words if not word.startswith("--input=")]


def shares(signs: tuple[int, ...], files: dict[str, LaneRows] = FILES, **settings: Any) -> dict[str, float]:
    given = (text.partition("=") for text in inputs(signs, files, **settings)[0])
    return {name: float(rest.partition(":")[0]) for name, _, rest in given}


def test_a_lane_that_is_out_leaves_its_share_to_its_placebo_and_half_a_lane_half_of_it() -> None:
    whole, flags = inputs((1, 1))
    assert whole == [
        *("a=0.500000:F/a.jsonl", "b=0.300000:F/b.jsonl", "rest=0.200000:F/rest.jsonl"),
        *("placebo-a=0.000000:F/placebo-a.jsonl", "placebo-b=0.000000:F/placebo-b.jsonl"),
    ]
    assert flags == ["train", "sft", "--val-fraction=0", "--optimizer", "muon", "--steps=1000", "--seed=45"]
    assert shares((1, -1)) == {"a": 0.5, "b": 0, "rest": 0.2, "placebo-a": 0, "placebo-b": 0.3}
    assert shares((0, 1)) == {"a": 0.25, "b": 0.3, "rest": 0.2, "placebo-a": 0.25, "placebo-b": 0}


@pytest.mark.parametrize(("budget", "steps"), [("rows", 900), ("pro_rata", 1000)])
def test_without_a_placebo_the_others_keep_their_proportions(budget: Any, steps: int) -> None:
    """Lane b is a tenth of the tokens: what adds it takes a tenth of the steps."""
    assert shares((1, -1), budget=budget) == {"a": 0.714286, "b": 0, "rest": 0.285714}
    assert inputs((1, -1), budget=budget)[1][-2] == f"--steps={steps}"


def test_where_every_row_is_a_row_of_its_own_a_shorter_run_lacks_as_many_steps_as_rows() -> None:
    study = Settings(steps=1000, budget="rows", train="--packing separate")
    assert training(study, {"a": 1, "b": -1}, FILES, Path("F"))[-1] == "--steps=700"


@pytest.mark.parametrize("budget", ["rows", "pro_rata"])
def test_a_run_without_rows_is_the_start_itself(budget: Any) -> None:
    lanes = {lane: FILES[lane] for lane in ("a", "b")}
    assert inputs((-1, -1), lanes, budget=budget) == ([], [])
    assert shares((-1, -1), lanes) == {"a": 0, "b": 0, "placebo-a": 0.625, "placebo-b": 0.375}


def test_a_lane_of_any_name_has_a_file_that_its_input_can_name() -> None:
    study, lane = Settings(), "math/algebra: easy"
    line = training(study, {lane: 1, "データ": -1}, {lane: FILES["a"], "データ": FILES["b"]}, Path("F"))
    named = [word.removeprefix("--input=") for word in line if word.startswith("--input=")]
    assert [one.path.name for one in parse_inputs(named)] == [
        "math-algebra--easy.jsonl", "データ.jsonl", "placebo-math-algebra--easy.jsonl", "placebo-データ.jsonl",
    ]  # fmt: skip
    assert [one.share for one in parse_inputs(named)] == [0.625, 0, 0, 0.375]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train": "--steps 9"}, "train: the study fills in --steps"),
        ({"train": "max_steps=9"}, "train: the study fills in --max-steps"),
        ({"train": "--sampling category_sqrt"}, "train: the study fills in --sampling"),
        ({"train": "--checkpoint other"}, "train: the study fills in --checkpoint"),
        ({"train": "--map 'title=prompt"}, "train: .* is no command line: No closing quotation"),
        ({"evaluate": "--input other.jsonl"}, "evaluate: the study fills in --input"),
        ({"arms": {"a": ["train sft --seed=3"], "b": []}}, "arms.a: the study fills in --seed"),
        ({"arms": {"a": ["fit --data.seed 3"], "b": []}}, "arms.a: the study fills in --data.seed"),
        (
            {"arms": {"a": ["fit", "fit --model.checkpoint c"], "b": []}},
            "arms.a: the study fills in --model.checkpoint",
        ),
    ],
)
def test_a_flag_that_the_study_fills_in_is_refused_and_not_overridden(settings: dict[str, Any], said: str) -> None:
    design = Design(("b",), ((-1,), (1,)), (0, 0))
    with pytest.raises(UserError, match=said):
        make_runs(Settings(seeds=1, **settings), design, FILES, Path("F"), Path("e"))


def test_arms_of_command_lines_get_their_seeds_and_are_otherwise_left_as_they_are() -> None:
    arms = {"short": ["train sft --input x.jsonl --steps 5"], "long": ["picochat fit --config 'my run.yaml'"]}
    study = Settings(arms=arms, seeds=2, seed=7)
    runs = make_runs(study, Design(("long",), ((-1,), (-1,), (1,), (1,)), (0, 1, 0, 1)), {}, Path("F"), Path("e"))
    assert [(run.name, run.seed) for run in runs] == [("short", 7), ("short", 8), ("long", 7), ("long", 8)]
    assert runs[1].stages == (("train", "sft", "--input", "x.jsonl", "--steps", "5", "--seed=8"),)
    assert runs[2].stages == (("fit", "--config", "my run.yaml", "--data.seed=7", "--seed_everything=7"),)
    with pytest.raises(UserError, match="the stage 'data import' of odd begins with neither"):
        make_runs(Settings(arms={"odd": ["data import"]}), Design((), ((),), (0,)), {}, Path("F"), Path("e"))


def test_a_row_is_of_its_category_s_lane_before_that_of_its_component() -> None:
    tags = {"category": "identity", "mixture_component": "anchor"}
    lanes = (["anchor", "identity"], ["anchor"], ["skills"])
    assert [lane_of(tags, one) for one in lanes] == ["identity", "anchor", None]


def test_a_placebo_has_row_for_row_as_many_tokens_of_corpus_text(tmp_path: Path) -> None:
    folder = world(tmp_path, rows=40)
    lanes, tokenizer = ["first", "noise"], folder / "base/tokenizer.json"
    files = lane_files(folder / "chat.jsonl", folder / "corpus.jsonl", tokenizer, lanes, tmp_path / "lanes")
    assert {lane: (one.rows, one.share) for lane, one in files.items()} == {
        "first": (10, 0.25), "rest": (20, 0.5), "noise": (10, 0.25),
    }  # fmt: skip
    assert sum(one.tokens for one in files.values()) == pytest.approx(1)
    reader = ChatTokenizer.load(tokenizer)
    rows, placebo = (read_rows(tmp_path / "lanes" / name, "chat") for name in ("first.jsonl", "placebo-first.jsonl"))
    assert {row["category"] for row in rows} == {"first"}
    for row, other in zip(rows, placebo, strict=True):
        assert len(reader.render(row["messages"]).ids) == len(reader.render(other["messages"]).ids)
    corpus = " ".join(json.loads(line)["text"] for line in (folder / "corpus.jsonl").read_text().splitlines())
    assert all(turn["content"].strip() in corpus for other in placebo[:5] for turn in other["messages"])
    for wrong, said in (
        (["spelling"], "has no rows of spelling"),
        (["first", "rest"], "two of the lanes would have the file rest.jsonl"),
        (["a b", "a-b"], "two of the lanes would have the file a-b.jsonl"),
    ):
        with pytest.raises(UserError, match=said):
            lane_files(folder / "chat.jsonl", folder / "corpus.jsonl", tokenizer, wrong, tmp_path / "lanes")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match=r"empty\.txt holds no text, and the placebo is corpus text"):
        lane_files(folder / "chat.jsonl", tmp_path / "empty.txt", tokenizer, lanes, tmp_path / "lanes")
    assert set(LANES) == {row["category"] for row in read_rows(folder / "chat.jsonl", "chat")}
