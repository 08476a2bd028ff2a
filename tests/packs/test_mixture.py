"""Task packs: quotas to the row, problems held out, the same bytes from the same seed, nothing half-written."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import build, sides

from picochat.errors import UserError
from picochat.packs import Component, Draw, Problem, Profile, Task, TaskPackReport, build_task_pack, generation
from picochat.packs.formats import read_rows
from picochat.packs.profiles import built_in_profiles
from picochat.packs.quotas import split_of
from picochat.packs.rows import Row, prompt_text
from picochat.packs.tasks.registry import load_task


@pytest.fixture(scope="module")
def recipe(pack: Path) -> TaskPackReport:
    return build(pack, "recipe", sft_rows=2400, eval_rows=480)


def counted(rows: list[Row], field: str) -> Counter[str]:
    return Counter(row[field] for row in rows)


def test_the_recipe_s_quotas_come_out_to_the_row(recipe: TaskPackReport) -> None:
    train, evaluation = sides(recipe)
    assert counted(train, "mixture_component") == {"weak_skills": 1728, "behavior_anchor": 672}
    assert counted(evaluation, "mixture_component") == {"weak_skills": 346, "behavior_anchor": 134}
    assert counted(evaluation, "category") == {
        # 346 x .13 .17 .11 .09 .10 .09 .09 .10 .12 = 44.98 58.82 38.06 31.14 34.6 31.14 31.14 34.6 41.52: whole parts
        # give 342, the four largest remainders (.98 .82 .6 .6) one more each
        "bench_math_addition": 45,
        "bench_math_subtraction": 59,
        "bench_math_multiplication": 38,
        "bench_math_removal": 31,
        "bench_spelling_count": 35,
        "bench_spelling_first": 31,
        "bench_spelling_last": 31,
        "bench_spelling_spaced": 35,
        "bench_spelling_reverse": 41,
        "identity": 114,  # 134 x .85 = 113.9
        "refusal": 20,
    }
    additions = [row for row in train if row["category"] == "bench_math_addition"]  # 1728 x .13 = 224.64
    expected = {"single_digit": 23, "two_digit": 56, "two_digit_carry": 79, "three_digit": 67}
    assert counted(additions, "stage") == expected
    products = [[row for row in rows if row["category"] == "bench_math_multiplication"] for rows in (train, evaluation)]
    # 190 rows, 45, 45 and 10 of a hundred; the stage for training alone is never asked
    assert counted(products[0], "stage") == {"times_table": 86, "two_digits": 85, "by_thirteen": 19}
    assert counted(products[1], "stage") == {"times_table": 19, "two_digits": 19}


@pytest.mark.parametrize("profile", built_in_profiles())
@settings(max_examples=6)
@given(sft_rows=st.integers(32, 700), eval_rows=st.integers(16, 250), seed=st.integers(0, 2**40))
def test_no_key_and_no_prompt_is_on_both_sides_for_any_size_and_seed(
    pack: Path, profile: str, sft_rows: int, eval_rows: int, seed: int
) -> None:
    report = build(pack, "any", profile=profile, sft_rows=sft_rows, eval_rows=eval_rows, seed=seed)
    train, evaluation = sides(report)
    assert (len(train), len(evaluation)) == (sft_rows, eval_rows)
    assert not {row["key"] for row in train} & {row["key"] for row in evaluation}
    assert not {prompt_text(row) for row in train} & {prompt_text(row) for row in evaluation}
    for rows in (train, evaluation):
        assert len({prompt_text(row) for row in rows}) == len(rows)
        assert len({row["id"] for row in rows}) == len(rows)
    assert report.data["contamination"]["status"] == "ready", report.data["contamination"]


def test_a_sealed_pack_holds_out_other_problems_and_its_salt_gives_its_rows_again(
    pack: Path, recipe: TaskPackReport
) -> None:
    sealed = build(pack, "sealed", sealed=True)
    salt = sealed.data["settings"]["split_salt"]
    for report, purpose in ((recipe, ""), (sealed, salt)):  # the key's hash decides the side
        keys = [{row["key"] for row in rows if row["category"] == "bench_math_subtraction"} for rows in sides(report)]
        assert [{split_of(key, purpose=purpose) for key in own} for own in keys] == [{"train"}, {"eval"}]
    assert {split_of(key) for key in keys[1]} == {"train", "eval"}
    again = build(pack, "again", split_salt=salt)
    assert again.chat_path.read_bytes() == sealed.chat_path.read_bytes()
    with pytest.raises(UserError, match="--sealed draws a salt of its own"):
        build(pack, "both", sealed=True, split_salt="x")


def test_a_quarter_of_the_eval_rows_asks_in_held_out_phrasings(recipe: TaskPackReport) -> None:
    train, evaluation = sides(recipe)
    assert counted(train, "phrasing") == {"known": 2400}
    assert counted(evaluation, "phrasing") == {"new": 86 + 33, "known": 480 - 86 - 33}  # 346 // 4 and 134 // 4
    new = [row for row in evaluation if row["category"] == "bench_math_addition" and row["phrasing"] == "new"]
    shapes = {re.sub(r"\d+", "#", prompt_text(row)) for row in new}
    assert any("how much are # and #" in shape.lower() for shape in shapes)
    assert not shapes & {re.sub(r"\d+", "#", prompt_text(row)) for row in train}


def test_rows_carry_everything_that_reports_and_checks_need(pack: Path, recipe: TaskPackReport) -> None:
    train, evaluation = sides(recipe)
    for row in (*train, *evaluation):
        assert (row["mixture_profile"], row["source_dataset"]) == ("capability", "offline")
        component = row["mixture_component"]
        assert row["mixture_benchmark_profile"] == {"behavior_anchor": "release_behavior"}.get(component, component)
        assert {"id", "key", "stage", "phrasing", "category", "answer_style"} <= set(row)
    skills = [row for row in evaluation if row["mixture_component"] == "weak_skills"]
    for row in skills:
        assert row["answerable"] is True
        assert row["reference"] == "\n".join([*row["steps"], f"Final answer: {row['answer']}"])
    assert {row["answer_style"] for row in skills} == {"scratchpad"}
    assert {row["answer_style"] for row in evaluation if row not in skills} == {"direct"}
    train, evaluation = sides(build(pack, "direct", sft_rows=100, eval_rows=50, skill_answer_style="direct"))
    skills = [row for row in train if row["mixture_component"] == "weak_skills"]
    assert [row["messages"][-1]["content"] for row in skills] == [row["answer"] for row in skills] != []
    assert not any("steps" in row for row in evaluation)
    assert {row["answer_style"] for row in (*train, *evaluation)} == {"direct"}


def test_every_row_fits_a_context_of_256_tokens_without_any_merges_but_words(recipe: TaskPackReport) -> None:
    """Counted as a small tokenizer splits at worst: a word as one token for two letters, all else one by one."""
    for row in read_rows(recipe.chat_path, "chat"):
        text = "".join(message["content"] for message in row["messages"])
        tokens = sum(
            (len(piece) + 1) // 2 if piece.strip().isalpha() else 1 for piece in re.findall(r" ?[A-Za-z]+|.|\n", text)
        )
        assert tokens + 5 <= 256, text


def test_choice_rows_say_whether_the_pack_teaches_their_fact(pack: Path) -> None:
    report = build(pack, "choice", profile="benchmark", sft_rows=1600, eval_rows=320)
    train, evaluation = sides(report)
    taught = {row["key"].rsplit("/", 1)[0] for row in train if row["key"].startswith("choice:")}
    kinds: Counter[str] = Counter()
    for row in evaluation:
        if row["category"].startswith("bench_choice"):
            assert row["knowledge"] == ("taught" if row["key"].rsplit("/", 1)[0] in taught else "probe")
            assert row["choice_labels"]["ABCD".index(row["correct_choice"])] == row["answer"]
            kinds[row["knowledge"]] += 1
    assert min(kinds["taught"], kinds["probe"]) > 20
    assert report.data["eval"]["by_knowledge"]["taught"]["rows"] >= kinds["taught"]


class Doubling(Task):
    category = "bench_math_doubling"
    stages = {"only": 1.0}  # noqa: RUF012 - as a user writes it
    known = ("Double {n}.", "Twice {n}?")
    wrong = 0

    def values(self, stage: str) -> range:
        return range(1000)

    def key(self, stage: str, value: int) -> str:
        return f"double:{value}"

    def pose(self, stage: str, value: int, template: str, draw: Draw) -> Problem:
        answer = str(2 * value + self.wrong)
        return Problem(template.format(n=value), answer, answer, (f"{value} + {value} = {answer}",))

    def fault(self, stage: str, value: int, problem: Problem) -> str | None:
        return None if int(problem.answer) == value + value else f"{problem.steps[0]} is wrong"


@pytest.fixture
def doubling(monkeypatch: pytest.MonkeyPatch) -> Profile:
    module = ModuleType("tests_doubling")
    module.Doubling = Doubling  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests_doubling", module)
    return Profile("doubling", (Component("c", 1, "weak_skills", {"tests_doubling.Doubling": 1}),))


def test_the_largest_size_named_is_possible_and_one_more_is_not(pack: Path, doubling: Profile) -> None:
    most = 2 * sum(split_of(f"double:{value}") == "train" for value in range(1000))
    for size in (most + 1, 5000):
        with pytest.raises(UserError, match=rf"can give {most:,} .*, not {size:,}\. The largest --sft-rows .* {most}$"):
            build(pack, "most", profile=doubling, sft_rows=size)
    assert build(pack, "most", profile=doubling, sft_rows=most).data["train"]["rows"] == most


def test_one_wrong_scratchpad_fails_the_build(pack: Path, doubling: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doubling, "wrong", 1)
    with pytest.raises(UserError, match=r"the problem double:\d+ is wrong: (\d+) \+ \1 = \d+ is wrong"):
        build(pack, "wrong", profile=doubling, sft_rows=100, eval_rows=20)
    assert not (pack / "wrong").exists()


def test_a_task_for_training_alone_is_refused(doubling: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doubling, "train_only", ("only",))
    with pytest.raises(UserError, match=r"train_only must name some of its stages \(only\), but not all"):
        load_task("tests_doubling.Doubling")


def test_a_corpus_that_holds_an_eval_problem_blocks_promotion_and_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text('{"corpus": "corpus.txt"}')
    clean = build(tmp_path, ".", sft_rows=32, eval_rows=40)
    assert clean.data["contamination"]["corpus"] == "not checked: corpus.txt does not exist"
    long = max(map(prompt_text, read_rows(clean.eval_path, "eval")), key=len)
    (tmp_path / "corpus.txt").write_text("Once. " + long + " Then.")
    blocked = build(tmp_path, ".", sft_rows=32, eval_rows=40, promote=True)
    assert blocked.data["contamination"]["status"] == "blocked"
    assert blocked.data["contamination"]["corpus_ngrams"] == 1
    assert "promoted: no (the pack is contaminated)" in blocked.summary()
    assert json.loads((tmp_path / "dataset_pack.json").read_text()) == {"corpus": "corpus.txt"}
    (tmp_path / "dataset_pack.json").write_text(json.dumps({"corpus": "corpus.txt", "chat": blocked.chat_path.name}))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"contaminated .*names the files that they would replace; nothing was written"):
        build(tmp_path, ".", sft_rows=32, eval_rows=40, promote=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("profile", "given", "message"), [
    ("capability", {"sft_rows": 31}, "at least 32 and --eval-rows at least 16, not 31 and 16"),
    ("capability", {"eval_rows": 15}, "at least 32 and --eval-rows at least 16, not 32 and 15"),
    ("capability", {"source": "hub"}, "--source hub is for profiles that take rows of public data"),
    ("capability", {"source": "auto", "hub_dir": "."}, "--hub-dir is for --source auto or hub, and profiles"),
    ("release", {"chat_out": "rows.jsonl.zst"}, "rows.jsonl.zst: rows are written as plain JSON lines; let the name"),
    ("release", {"word_list": "words.txt"}, "--word-list is for profiles that ask for spelling, not release"),
])  # fmt: skip
def test_settings_without_effect_or_below_the_smallest_are_refused(
    pack: Path, profile: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(pack, "unused", **{"profile": profile, "sft_rows": 32, "eval_rows": 16, **given})
    assert not (pack / "unused").exists()


def test_typos_change_training_prompts_of_skills_alone(
    pack: Path, recipe: TaskPackReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(generation, "TYPOS", share)
        report = build(pack, "typos", sft_rows=2400, eval_rows=480)
        assert report.eval_path.read_bytes() == recipe.eval_path.read_bytes()
        made.append({skill: [row for row in sides(report)[0] if row["category"].startswith("bench") == skill]
                     for skill in (True, False)})  # fmt: skip
    clean, mistyped = made
    assert set(map(prompt_text, clean[False])) == set(map(prompt_text, mistyped[False]))
    said = {word for row in clean[True] for word in prompt_text(row).split()}
    for row in mistyped[True]:
        spelled = row["key"].partition(":")[2].partition("/")[0] if "spelling" in row["category"] else ""
        assert spelled in prompt_text(row)  # what is asked stays whole
    assert sum(not said.issuperset(prompt_text(row).split()) for row in mistyped[True]) > 0.8 * 1728


def test_a_word_list_replaces_the_built_in_words(pack: Path, tmp_path: Path) -> None:
    words = [f"{a}{b}{c}" for a in "bcdfghjklm" for b in "aeiou" for c in "nprst"]
    (tmp_path / "words.txt").write_text("\n".join(words))
    rows = sides(build(pack, "words", sft_rows=200, eval_rows=40, word_list=tmp_path / "words.txt"))
    spelling = [row for side in rows for row in side if re.fullmatch(r"\w+_spelling_\w+", row["category"])]
    spelled = {row["key"].split(":")[1].split("/")[0] for row in spelling if not row["stage"].endswith("_nonwords")}
    assert len(spelled) > 40
    assert spelled <= set(words)


@pytest.mark.parametrize(("name", "message"), [
    ("capabilty", r"no profile \(a mixture file, or built in: balanced, benchmark, capability, release\) named"),
    ("no_such_module.thing", "No module named 'no_such_module'"),
    ("json.dumps", "is a function; a picochat.packs.Profile is expected"),
])  # fmt: skip
def test_unknown_profiles_are_named_and_names_that_lead_elsewhere(pack: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_task_pack(pack, profile=name)
    with pytest.raises(UserError, match="goes into file names"):
        Profile("../up", (Component("a", 1, "full", {"identity": 1}),))


def test_summary_and_reports_count_the_rows_that_were_written(recipe: TaskPackReport) -> None:
    written: dict[str, Any] = json.loads(recipe.json_path.read_text())
    assert written == json.loads(json.dumps(recipe.data))
    assert written["train"]["by_component"]["weak_skills"]["rows"] == 1728
    assert written["settings"]["seed"] == 42
    said = ("bench_math_addition/two_digit_carry", "contamination: ready", "promoted: no (--no-promote)")
    assert [piece for piece in said if piece not in recipe.summary()] == []
    assert re.search(r"\nweak_skills +1728 +346 +", recipe.summary())
    assert "| weak_skills | 1728 | 346 |" in recipe.markdown_path.read_text()
