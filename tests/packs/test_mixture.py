"""Task packs: quotas to the row, problems held out, the same bytes from the same seed, nothing half-written."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picochat.errors import UserError
from picochat.packs import Component, Draw, Problem, Profile, Task, TaskPackReport, build_task_pack, making
from picochat.packs.profiles import PROFILES
from picochat.packs.quotas import split_of
from picochat.packs.rows import Row, prompt_text, read_rows
from picochat.packs.tasks.columns import write_product
from picochat.packs.tasks.registry import load_task


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    (folder / "dataset_pack.json").write_text('{"name": "test", "owner": "somebody"}')
    return folder


@pytest.fixture(scope="module")
def recipe(pack: Path) -> TaskPackReport:
    return build_task_pack(pack, out_dir=pack / "recipe", sft_rows=2400, eval_rows=480, promote=False)


def sides(report: TaskPackReport) -> tuple[list[Row], list[Row]]:
    return read_rows(report.chat_path, "chat"), read_rows(report.eval_path, "eval")


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
    additions = [row for row in train if row["category"] == "bench_math_addition"]
    assert len(additions) == 225  # 1728 x .13 = 224.64
    assert counted(additions, "stage") == {
        "single_digit": 23,
        "two_digit": 56,
        "two_digit_carry": 79,
        "three_digit": 67,
    }


@pytest.mark.parametrize("profile", PROFILES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sft_rows=st.integers(32, 700), eval_rows=st.integers(16, 250), seed=st.integers(0, 2**40))
def test_no_key_and_no_prompt_is_on_both_sides_for_any_size_and_seed(
    pack: Path, profile: str, sft_rows: int, eval_rows: int, seed: int
) -> None:
    report = build_task_pack(
        pack,
        profile=profile,
        out_dir=pack / "any",
        sft_rows=sft_rows,
        eval_rows=eval_rows,
        seed=seed,
        force=True,
        promote=False,
    )
    train, evaluation = sides(report)
    assert (len(train), len(evaluation)) == (sft_rows, eval_rows)
    assert not {row["key"] for row in train} & {row["key"] for row in evaluation}
    assert not {prompt_text(row) for row in train} & {prompt_text(row) for row in evaluation}
    for rows in (train, evaluation):
        assert len({prompt_text(row) for row in rows}) == len(rows)
        assert len({row["id"] for row in rows}) == len(rows)
    assert report.data["contamination"]["status"] == "ready", report.data["contamination"]


def shown(key: str) -> bool:
    """Whether it is a sum of two digits that the working of a product holds."""
    numbers = [int(number) for number in re.findall(r"\d+", key)]
    return key.startswith("add:") and numbers[0] in (10, 11, 12, 13) and numbers[1] % numbers[0] == 0


def test_the_key_s_hash_decides_the_side(recipe: TaskPackReport) -> None:
    for side, rows in zip(("train", "eval"), sides(recipe), strict=True):
        asked = [row for row in rows if row["stage"] != "by_thirteen"]  # practice: for training whatever the hash
        keys = [row["key"] for row in asked if row["key"][:3] in ("add", "sub", "mul") and not shown(row["key"])]
        assert len(keys) > 100
        assert {split_of(key) for key in keys} == {side}


def test_two_seeds_share_few_problems(pack: Path, recipe: TaskPackReport) -> None:
    other = build_task_pack(pack, out_dir=pack / "other", sft_rows=2400, eval_rows=480, seed=7, promote=False)
    wide = ("three_digit", "two_digit_carry", "story", "count", "reverse", "spaced")
    for mine, others in zip(sides(recipe), sides(other), strict=True):
        first, second = ({row["key"] for row in rows if row["stage"] in wide} for rows in (mine, others))
        assert len(first) > 150
        assert len(first & second) / len(first) < 0.12


def test_the_same_seed_gives_the_same_bytes_in_another_process(pack: Path) -> None:
    made = []
    for hash_seed in ("1", "2"):
        folder = pack / f"process{hash_seed}"
        code = (
            "import sys; from picochat.packs import build_task_pack; "
            "build_task_pack(sys.argv[1], profile='balanced', out_dir=sys.argv[2], sft_rows=200, eval_rows=64)"
        )
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, "-c", code, str(pack), str(folder)], check=True, env=environment)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert set(made[0]) == {
        "chat_task_mixture_balanced.jsonl",
        "eval_task_mixture_balanced.jsonl",
        "task_mixture_balanced.json",
        "task_mixture_balanced.md",
    }
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("stage", "low", "high"), [("two_digit_carry", 10, 99), ("two_digit_borrow", 10, 99), ("three_digit", 100, 999)]
)
def test_operands_use_the_whole_stage_alike_on_both_sides(
    pack: Path, recipe: TaskPackReport, stage: str, low: int, high: int
) -> None:
    large = build_task_pack(pack, out_dir=pack / "large", sft_rows=2400, eval_rows=2400, promote=False, force=True)
    means = []
    for rows in sides(large):
        keys = [row["key"][4:].replace("-", "+").split("+") for row in rows if row["stage"] == stage]
        assert len(keys) > 60
        for operands in ([int(pair[0]) for pair in keys], [int(pair[1]) for pair in keys]):
            assert len(set(operands)) > 30
            assert min(operands) < low + (high - low) * 0.25
            assert max(operands) > high - (high - low) * 0.25
            means.append(sum(operands) / len(operands) / (high - low))
    assert abs(means[0] - means[2]) < 0.08  # first operands of training and evaluation
    assert abs(means[1] - means[3]) < 0.08


def test_a_quarter_of_the_eval_rows_asks_in_words_that_training_never_used(recipe: TaskPackReport) -> None:
    train, evaluation = sides(recipe)
    assert counted(train, "phrasing") == {"known": 2400}
    assert counted(evaluation, "phrasing") == {"new": 86 + 33, "known": 480 - 86 - 33}  # 346 // 4 and 134 // 4
    new = [
        prompt_text(row) for row in evaluation if row["category"] == "bench_math_addition" and row["phrasing"] == "new"
    ]
    shapes = {re.sub(r"\d+", "#", prompt) for prompt in new}
    assert any("how much are # and #" in shape.lower() for shape in shapes)
    assert not shapes & {re.sub(r"\d+", "#", prompt_text(row)) for row in train}


def test_rows_carry_everything_that_reports_and_checks_need(recipe: TaskPackReport) -> None:
    train, evaluation = sides(recipe)
    for row in (*train, *evaluation):
        assert row["mixture_profile"] == "capability"
        assert row["mixture_benchmark_profile"] == {"weak_skills": "weak_skills"}.get(
            row["mixture_component"], "release_behavior"
        )
        assert row["source_dataset"] == "offline"
        assert {"id", "key", "stage", "phrasing", "category", "answer_style"} <= set(row)
    skills = [row for row in evaluation if row["mixture_component"] == "weak_skills"]
    for row in skills:
        assert row["answerable"] is True
        assert row["reference"] == "\n".join([*row["steps"], f"Final answer: {row['answer']}"])
    assert {row["answer_style"] for row in skills} == {"scratchpad"}
    assert {row["answer_style"] for row in evaluation if row not in skills} == {"direct"}


def test_the_direct_style_answers_without_steps(pack: Path) -> None:
    report = build_task_pack(
        pack, out_dir=pack / "direct", sft_rows=100, eval_rows=50, skill_answer_style="direct", promote=False
    )
    train, evaluation = sides(report)
    skills = [row for row in train if row["mixture_component"] == "weak_skills"]
    assert len(skills) == 72
    assert all(row["messages"][-1]["content"] == row["answer"] for row in skills)
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
    report = build_task_pack(
        pack, profile="benchmark", out_dir=pack / "choice", sft_rows=1600, eval_rows=320, promote=False
    )
    train, evaluation = sides(report)
    taught = {row["key"].rsplit("/", 1)[0] for row in train if row["key"].startswith("choice:")}
    kinds = Counter()
    for row in evaluation:
        if row["category"].startswith("bench_choice"):
            assert row["knowledge"] == ("taught" if row["key"].rsplit("/", 1)[0] in taught else "probe")
            assert row["choice_labels"]["ABCD".index(row["correct_choice"])] == row["answer"]
            kinds[row["knowledge"]] += 1
    assert min(kinds["taught"], kinds["probe"]) > 20
    assert report.data["eval"]["by_knowledge"]["taught"]["rows"] >= kinds["taught"]


def test_impossible_sizes_name_the_largest_possible_ones_and_write_nothing(pack: Path) -> None:
    with pytest.raises(UserError) as refused:
        build_task_pack(pack, out_dir=pack / "huge", sft_rows=9_000_000, promote=False)
    message = str(refused.value)
    assert message.startswith("--sft-rows 9000000 is too many: ")
    assert "bench_math_multiplication can give " in message
    assert not (pack / "huge").exists()
    largest = int(message.rpartition(" ")[2])
    assert largest >= 100_000
    skills = PROFILES["capability"].components[0].tasks
    assert set(skills) & {part.split()[0] for part in message.split(": ", 1)[1].split("; ")}


def test_the_largest_size_named_is_possible_and_one_more_is_not(pack: Path) -> None:
    profile = Profile("tables", (Component("tables", 1, "weak_skills", {"bench_math_multiplication": 1}),))
    with pytest.raises(UserError, match="is too many") as refused:
        build_task_pack(pack, profile=profile, out_dir=pack / "t", sft_rows=400_000, promote=False)
    largest = int(str(refused.value).rpartition(" ")[2])
    report = build_task_pack(pack, profile=profile, out_dir=pack / "t", sft_rows=largest, promote=False)
    assert report.data["train"]["rows"] == largest
    with pytest.raises(UserError, match=f"is {largest}$"):
        build_task_pack(pack, profile=profile, out_dir=pack / "t", sft_rows=largest + 1, promote=False, force=True)


@pytest.mark.parametrize(("sft_rows", "eval_rows"), [(31, 16), (32, 15), (-1, 320)])
def test_sizes_below_the_smallest_are_refused(pack: Path, sft_rows: int, eval_rows: int) -> None:
    with pytest.raises(UserError, match="at least 32 and --eval-rows at least 16"):
        build_task_pack(pack, out_dir=pack / "small", sft_rows=sft_rows, eval_rows=eval_rows)


def test_existing_files_stay_without_force(pack: Path) -> None:
    first = build_task_pack(pack, out_dir=pack / "kept", sft_rows=32, eval_rows=16, promote=False)
    before = first.chat_path.read_bytes()
    with pytest.raises(UserError, match="--force"):
        build_task_pack(pack, out_dir=pack / "kept", sft_rows=32, eval_rows=16, seed=1, promote=False)
    assert first.chat_path.read_bytes() == before
    build_task_pack(pack, out_dir=pack / "kept", sft_rows=32, eval_rows=16, seed=1, promote=False, force=True)
    assert first.chat_path.read_bytes() != before


def test_promotion_rewrites_chat_and_eval_alone(tmp_path: Path) -> None:
    text = {"name": "x", "corpus": {"recipe": "somebody's"}, "chat_input": "old.jsonl", "owner": {"deep": [1]}}
    (tmp_path / "dataset_pack.json").write_text(json.dumps(text))
    report = build_task_pack(tmp_path, out_dir=tmp_path / "a b", sft_rows=32, eval_rows=16)
    assert report.promoted
    promoted = json.loads((tmp_path / "dataset_pack.json").read_text())
    assert promoted == {
        **text,
        "chat_input": "a b/chat_task_mixture_capability.jsonl",
        "eval": "a b/eval_task_mixture_capability.jsonl",
    }


def test_a_corpus_that_holds_an_eval_problem_blocks_promotion(tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text('{"corpus": "corpus.txt"}')
    clean = build_task_pack(tmp_path, sft_rows=32, eval_rows=40, promote=False)
    assert clean.data["contamination"]["corpus"] == "not checked: corpus.txt does not exist"
    counts = [row for row in read_rows(clean.eval_path, "eval") if row["category"] == "bench_spelling_count"]
    long = max(map(prompt_text, counts), key=lambda prompt: len(prompt.split()))
    assert len(long.split()) >= 8
    (tmp_path / "corpus.txt").write_text("Once. " + long + " Then.")
    blocked = build_task_pack(tmp_path, sft_rows=32, eval_rows=40, force=True)
    assert blocked.data["contamination"]["status"] == "blocked"
    assert blocked.data["contamination"]["corpus_ngrams"] == 1
    assert not blocked.promoted
    assert json.loads((tmp_path / "dataset_pack.json").read_text()) == {"corpus": "corpus.txt"}
    assert "promoted: no (the pack is contaminated)" in blocked.summary()


def test_contaminated_rows_do_not_replace_those_that_the_dataset_pack_names(tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text('{"corpus": "corpus.txt"}')
    (tmp_path / "corpus.txt").write_text("Once there was a cat.")
    clean = build_task_pack(tmp_path, sft_rows=32, eval_rows=40)
    (tmp_path / "corpus.txt").write_text(max(map(prompt_text, read_rows(clean.eval_path, "eval")), key=len))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"contaminated .*names the files that they would replace; nothing was written"):
        build_task_pack(tmp_path, sft_rows=32, eval_rows=40, force=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("profile", "settings", "message"),
    [
        ("capability", {"source": "hub"}, "--source hub is for profiles that take rows from public data"),
        ("release", {"word_list": "words.txt"}, "--word-list is for profiles that ask for spelling, not release"),
    ],
)
def test_settings_without_effect_are_refused(
    pack: Path, tmp_path: Path, profile: str, settings: dict[str, Any], message: str
) -> None:
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    given = {name: str(tmp_path / value) if name == "word_list" else value for name, value in settings.items()}
    with pytest.raises(UserError, match=message):
        build_task_pack(pack, out_dir=tmp_path / "out", profile=profile, sft_rows=32, eval_rows=16, **given)
    assert not (tmp_path / "out").exists()


def test_no_sum_of_two_digits_is_held_out_that_a_product_shows() -> None:
    lines = "\n".join(line for each in range(2, 14) for line in write_product(12, each))
    pairs = {tuple(sorted(map(int, pair))) for pair in re.findall(r":(\d\d+)\+(\d\d)=", lines)}
    assert (12, 24) in pairs
    addition = load_task("bench_math_addition")
    assert {addition.side("two_digit", pair) for pair in pairs} == {"train"}
    assert {addition.side("two_digit", (14, number)) for number in range(14, 90)} == {"train", "eval"}


class Careless(Task):
    category = "bench_math_careless"
    stages = {"only": 1.0}  # noqa: RUF012 - as a user writes it
    known = ("Double {n}.",)

    def values(self, stage: str) -> range:
        return range(1000)

    def key(self, stage: str, value: int) -> str:
        return f"double:{value}"

    def pose(self, stage: str, value: int, template: str, draw: Draw) -> Problem:
        answer = str(2 * value if value % 10 else 2 * value + 1)
        return Problem(template.format(n=value), answer, answer, (f"{value} + {value} = {answer}",))

    def fault(self, stage: str, value: int, problem: Problem) -> str | None:
        return None if int(problem.answer) == value + value else f"{problem.steps[0]} is wrong"


def test_a_stage_for_practice_is_trained_on_and_never_asked_in_evaluation(recipe: TaskPackReport) -> None:
    chat, evaluation = (
        Counter(row["stage"] for row in read_rows(path, kind) if row["category"] == "bench_math_multiplication")
        for path, kind in ((recipe.chat_path, "chat"), (recipe.eval_path, "eval"))
    )
    assert chat == {"times_table": 171, "by_thirteen": 19}  # 190 rows, 90 and 10 of a hundred
    assert evaluation == {"times_table": 38}


def test_a_slip_of_the_pen_changes_training_prompts_of_skills_alone(
    pack: Path, recipe: TaskPackReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "TYPOS", 0.0)
    clean = build_task_pack(pack, out_dir=pack / "clean", sft_rows=2400, eval_rows=480, promote=False)
    assert clean.eval_path.read_bytes() == recipe.eval_path.read_bytes()
    monkeypatch.setattr(making, "TYPOS", 1.0)
    slips = build_task_pack(pack, out_dir=pack / "slips", sft_rows=2400, eval_rows=480, promote=False)
    said = {word for row in sides(clean)[0] for word in prompt_text(row).split()}
    unheard: dict[bool, list[bool]] = {True: [], False: []}
    for row in sides(slips)[0]:
        skill, spelled = row["category"].startswith("bench"), row["key"].partition(":")[2].partition("/")[0]
        words = [word for word in prompt_text(row).split() if spelled not in word and not re.search(r"\d", word)]
        unheard[skill].append(bool(set(words) - said))
        if skill and "_nonwords" not in row["stage"] and "spelling" in row["category"]:
            assert spelled in prompt_text(row)  # what is asked stays whole
    assert sum(unheard[True]) / len(unheard[True]) > 0.8
    assert sum(unheard[False]) == 0


def test_a_task_of_practice_alone_is_refused() -> None:
    module = type(sys)("tests_practice")
    module.Practice = type("Practice", (Careless,), {"train_only": ("only",)})  # type: ignore[attr-defined]
    sys.modules["tests_practice"] = module
    try:
        with pytest.raises(UserError, match=r"train_only must name some of its stages \(only\), but not all"):
            load_task("tests_practice.Practice")
    finally:
        del sys.modules["tests_practice"]


def test_one_wrong_scratchpad_fails_the_build(pack: Path) -> None:
    profile = Profile("careless", (Component("c", 1, "weak_skills", {"tests_careless.Careless": 1}),))
    module = type(sys)("tests_careless")
    module.Careless = Careless  # type: ignore[attr-defined]
    sys.modules["tests_careless"] = module
    try:
        with pytest.raises(UserError, match=r"the problem double:\d*0 is wrong: (\d+) \+ \1 = \d+ is wrong"):
            build_task_pack(pack, profile=profile, out_dir=pack / "wrong", sft_rows=100, eval_rows=20, promote=False)
    finally:
        del sys.modules["tests_careless"]
    assert not (pack / "wrong").exists()


def test_a_word_list_replaces_the_built_in_words(pack: Path, tmp_path: Path) -> None:
    words = [f"{a}{b}{c}" for a in "bcdfghjklm" for b in "aeiou" for c in "nprst"]
    (tmp_path / "words.txt").write_text("\n".join(words))
    report = build_task_pack(
        pack, out_dir=tmp_path, sft_rows=200, eval_rows=40, word_list=tmp_path / "words.txt", promote=False
    )
    spelled = {
        row["key"].split(":")[1].split("/")[0]
        for rows in sides(report)
        for row in rows
        if "spelling" in row["category"] and not row["stage"].endswith("_nonwords")
    }
    assert len(spelled) > 40
    assert spelled <= set(words)


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(UserError, match=r"the tasks of a must be above 0 and sum to 1, not 0\.9"):
        Profile("p", (Component("a", 1, "full", {"identity": 0.5, "refusal": 0.4}),))


def test_names_that_cannot_be_files_or_tell_components_apart_are_refused() -> None:
    anchor = Component("a", 0.5, "full", {"identity": 1})
    with pytest.raises(UserError, match="goes into file names"):
        Profile("../up", (anchor, Component("b", 0.5, "full", {"refusal": 1})))
    with pytest.raises(UserError, match="two components have the same name"):
        Profile("p", (anchor, anchor))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("capabilty", r"no profile \(built in: release, capability, balanced, benchmark\) named 'capabilty'"),
        ("no_such_module.thing", "there is no module no_such_module"),
        ("json.dumps", "is a function; a picochat.packs.Profile is expected"),
    ],
)
def test_unknown_profiles_are_named(pack: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_task_pack(pack, profile=name)
    with pytest.raises(UserError, match="is not a subclass"):
        load_task("json.dumps")


def test_summary_and_reports_count_the_rows_that_were_written(recipe: TaskPackReport) -> None:
    summary = recipe.summary()
    written: dict[str, Any] = json.loads(recipe.json_path.read_text())
    assert written == json.loads(json.dumps(recipe.data))
    assert written["train"]["by_component"]["weak_skills"]["rows"] == 1728
    assert written["settings"]["seed"] == 42
    for piece in (
        "weak_skills",
        "bench_math_addition/two_digit_carry",
        "contamination: ready",
        "promoted: no (--no-promote)",
    ):
        assert piece in summary
    assert "| weak_skills | 1728 | 346 |" in recipe.markdown_path.read_text()
