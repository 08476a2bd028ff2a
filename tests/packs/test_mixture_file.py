"""A mixture is a file: tasks and anybody's rows in exact shares, and no question on both sides."""

from collections import Counter
from pathlib import Path
from typing import Any

import making
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import ask, write

from picochat.errors import UserError
from picochat.evidence.scoring import Policy, score
from picochat.packs import Component, Lane, Profile, TaskPackReport
from picochat.packs.formats import read_rows
from picochat.packs.profiles import load_profile, read_mixture
from picochat.packs.quotas import split_of
from picochat.packs.rows import Row, normalised, prompt_text

TOWNS = ["Bergen", "Cusco", "Dakar", "Espoo", "Fargo", "Gdansk", "Hobart", "Izmir", "Jaipur", "Kyoto"]
MIXTURE = """
components:
  - name: support
    weight: 0.75
    benchmark_profile: support
    gate: {refunds: 0.7}
    claim: answers questions about refunds
    lanes:
      refunds: {share: 0.6, file: data/refunds.jsonl, hold_out: 0.3, check: {includes_any: [refund, money]}}
      chat: {share: 0.4, file: chat.jsonl}
  - name: skills
    weight: 0.25
    benchmark_profile: weak_skills
    lanes: {bench_math_addition: 0.5, sums: {share: 0.5, task: bench_math_subtraction}}
"""


def refund(number: int) -> Row:
    town, other = TOWNS[number % 10], TOWNS[number // 10 % 10]
    prompt = f"I sent order {number} from {town} back to {other}. Where is it?"
    return ask(prompt, f"Your refund for order {number} is on its way.", category=f"town {number % 2}", id=f"r{number}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dataset_pack.json").write_text("{}")
    write(tmp_path / "data/refunds.jsonl", *map(refund, range(200)))
    chats = (ask(f"{town}, {number}: tell me more.", "Of course.") for number, town in enumerate(TOWNS * 8))
    write(tmp_path / "chat.jsonl", *chats)
    (tmp_path / "mine.yaml").write_text(MIXTURE)
    return tmp_path


def build(
    folder: Path, profile: str | Profile | None = None, **more: Any
) -> tuple[TaskPackReport, list[Row], list[Row]]:
    sizes = {"sft_rows": 240, "eval_rows": 48, **more}
    report = making.build(folder, profile=profile or str(folder / "mine.yaml"), **sizes)
    return report, *making.sides(report)


def test_shares_of_files_and_tasks_come_out_to_the_row(folder: Path) -> None:
    report, train, evaluation = build(folder, sft_rows=100)
    # 100 = 75 + 25; 75 x .6 = 45 and .4 = 30; 25 = 13 + 12 (equal remainders: the first)
    expected = {"refunds": 45, "chat": 30, "bench_math_addition": 13, "sums": 12}
    assert Counter(row["category"] for row in train) == expected
    assert Counter(row["category"] for row in evaluation) == {"refunds": 36, "bench_math_addition": 6, "sums": 6}
    tags = {(row["mixture_component"], row["mixture_benchmark_profile"], row["source_dataset"]) for row in train}
    assert ("support", "support", "data/refunds.jsonl") in tags
    assert {row["stage"] for row in train if row["category"] == "refunds"} == {"town 0", "town 1"}
    assert "support/chat: chat.jsonl: 80 rows for training, 0 held out" in report.summary()
    component = report.data["mixture"]["components"][0]
    assert (component["gate"], component["claim"]) == ({"refunds": 0.7}, "answers questions about refunds")


@pytest.mark.parametrize("salt", ["", "other"])
def test_the_hash_of_the_question_decides_the_side_and_the_lane_gives_the_check(folder: Path, salt: str) -> None:
    _, train, evaluation = build(folder, split_salt=salt)
    for row in evaluation:
        if row["category"] == "refunds":
            assert split_of(row["key"], 0.3, salt) == "eval"
            assert row["check"] == {"includes_any": ["refund", "money"]}
            assert row["reference"].startswith("Your refund for order")
            assert row["source_id"] == f"r{row['reference'].split()[4]}"
    assert {split_of(row["key"], 0.3, salt) for row in train if row["category"] == "refunds"} == {"train"}


def test_a_lane_s_check_is_for_rows_without_their_own(folder: Path) -> None:
    rows = (ask(f"Is parcel {number} from {TOWNS[number % 10]} here?", "Yes", answer="Yes") for number in range(60))
    write(folder / "data/refunds.jsonl", *rows, *map(refund, range(60)))
    text = MIXTURE.replace("includes_any: [refund, money]", "includes: [refund], exact: {case: true}")
    (folder / "mine.yaml").write_text(text)
    report, _, evaluation = build(folder, sft_rows=40)
    passed, policy = set(), Policy.of(evaluation, report.eval_path)
    for row in (row for row in evaluation if row["category"] == "refunds"):
        replies = ("The answer is yes.", row["reference"], row["reference"].upper())
        passed.add((row["answer"] == "Yes", *(score(row, one, rules=policy.rules_of(row)).passed for one in replies)))
    assert passed == {(True, True, True, True), (False, False, True, False)}


def test_a_short_file_makes_the_largest_possible_pack_and_the_report_says_so(folder: Path) -> None:
    report, train, _ = build(folder, sft_rows=1000)
    # chat has 80 rows and 30 % of the mixture: 267 x .75 = 200.25, of 200 rows .4 are 80; 268 would ask for 80.4
    assert len(train) == 268
    assert Counter(row["category"] for row in train)["chat"] == 80
    said = "train rows: 268 of the 1,000 rows that were asked for; more are too many for support/chat"
    assert said in report.summary()


def test_repeat_lets_rows_come_again_after_all_others_came(folder: Path) -> None:
    (folder / "chat.jsonl").rename(folder / "chats.jsonl")
    lane = "file: chats.jsonl, repeat: 3, reading: {learn: last}"
    (folder / "mine.yaml").write_text(MIXTURE.replace("file: chat.jsonl", lane))
    report, train, _ = build(folder, sft_rows=320)  # 320 x .75 x .4 = 96
    times = Counter(prompt_text(row) for row in train if row["category"] == "chat")
    assert (len(times), set(times.values()), times.total()) == (80, {1, 2}, 96)
    assert "each up to 3 times in training" in report.summary()


SPLIT = "refunds: {share: 1, file: split.jsonl, split: {train: a, eval: b}, check: {exact: true}}"
SECOND = "refunds: {share: 1, file: data/refunds.jsonl, eval_file: second.jsonl}"


@pytest.mark.parametrize("lane", [SPLIT, SECOND])
def test_what_a_split_or_second_file_asks_leaves_training(folder: Path, lane: str) -> None:
    """Also where it is asked in other case, in a longer conversation, or nearly so."""
    longer = ask(refund(3)["messages"][0]["content"], "Wait.")["messages"] + ask("And now?", "Soon.")["messages"]
    met = [refund(1), ask(f"  {refund(2)['messages'][0]['content'].upper()} ", "Gone."), {"messages": longer},
           ask(refund(4)["messages"][0]["content"] + " Please?", "There.")]  # fmt: skip
    own = [{**row, "split": "a"} for row in [*met, *(refund(number) for number in range(50, 90))]]
    asked = [{**refund(number), "answer": "Gone.", "split": "b"} for number in range(1, 5)]
    write(folder / "split.jsonl", *own, *asked)
    write(folder / "data/refunds.jsonl", *own)
    write(folder / "second.jsonl", *asked)
    (folder / "mine.yaml").write_text(
        f"components:\n  - {{name: c, weight: 1, benchmark_profile: support, lanes: {{{lane}}}}}\n"
    )
    report, train, evaluation = build(folder, sft_rows=40, eval_rows=16)
    assert (len(train), len(evaluation)) == (40, 4)
    assert not {normalised(prompt_text(row)) for row in train} & {normalised(prompt_text(row)) for row in evaluation}
    assert "4 left out of training, since eval rows ask them" in report.summary()
    assert report.data["contamination"]["status"] == "ready"


def test_a_lane_reads_a_data_set_with_its_splits(folder: Path) -> None:
    for split, numbers in (("train", range(60)), ("test", range(50, 70))):
        rows = [{**refund(number), "answer": "Gone."} for number in numbers]
        write(folder / f"hub/somebody/orders/{split}.jsonl", *rows)
    orders = Lane(1.0, hub="somebody/orders", split={"train": "train", "eval": "test"}, rows=55)
    mixture = Profile("orders", (Component("c", 1, "support", {"orders": orders}),))
    report, train, evaluation = build(folder, mixture, sft_rows=200, eval_rows=16, hub_dir=folder / "hub")
    assert (len(train), len(evaluation)) == (50, 16)  # of the first 55 rows five are asked in the other split
    assert {row["source_dataset"] for row in (*train, *evaluation)} == {"hub:somebody/orders"}
    assert "5 left out of training, since eval rows ask them" in report.summary()
    with pytest.raises(UserError, match=r"hub:somebody/orders, split train: .* holds no folder somebody/orders or"):
        build(folder, mixture, hub_dir=folder)


def test_rows_that_serve_neither_side_are_counted_and_a_file_of_the_mixture_is_not_written_over(folder: Path) -> None:
    rows = [{**refund(number), "split": "abc"[number % 3]} for number in range(150)]
    write(
        folder / "split.jsonl", *rows, *({"prompt": f"Where is order {number}?", "split": "a"} for number in range(7))
    )
    (folder / "mine.yaml").write_text(
        f"components:\n  - {{name: c, weight: 1, benchmark_profile: support, lanes: {{{SPLIT}}}}}\n"
    )
    report, _, _ = build(folder, sft_rows=40, eval_rows=16)
    assert "split.jsonl: 50 rows for training, 50 held out; 57 on neither side (without a reply" in report.summary()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for name in ("split.jsonl", "mine.yaml"):
        with pytest.raises(UserError, match=rf"{name} is named for two files"):
            build(folder, sft_rows=40, eval_rows=16, chat_out=folder / name)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_task_generates_nothing_that_a_file_s_eval_rows_ask(folder: Path) -> None:
    made, _, _ = build(folder, Profile("who", (Component("c", 1, "s", {"identity": 1}),)), sft_rows=600)
    asked = [row for row in read_rows(made.chat_path, "chat") if len(prompt_text(row)) < 50]
    rows = [ask(f"{prompt_text(row).upper()}!", "Me.", answer="Me.") for row in asked]
    assert len(rows) > 40
    write(folder / "faq.jsonl", *rows, *map(refund, range(100)))
    lanes = [{"faq": Lane(1, file=str(folder / "faq.jsonl"), hold_out=0.5)}, {"identity": Lane(1)}]
    parts = (Component("files", 0.1, "s", lanes[0]), Component("task", 0.9, "s", lanes[1]))
    report, _, _ = build(folder, Profile("who", parts), sft_rows=600, eval_rows=400)
    assert report.data["contamination"]["status"] == "ready", report.data["contamination"]


NUMBERS = st.lists(st.integers(0, 200), min_size=40, max_size=80, unique=True)


@settings(max_examples=8)
@given(NUMBERS, NUMBERS, st.integers(0, 99))
def test_no_question_is_on_both_sides_whatever_the_files_share(
    folder: Path, one: list[int], other: list[int], seed: int
) -> None:
    for name, numbers in (("a", one), ("b", other)):
        write(folder / f"{name}.jsonl", *(ask(f"Number {number}?", "refund") for number in numbers))
    lanes = {"a": Lane(0.5, file=str(folder / "a.jsonl"), hold_out=0.4, check={"includes": ["refund"]}, repeat=9),
             "b": Lane(0.5, file=str(folder / "b.jsonl"), hold_out=0.0, repeat=9)}  # fmt: skip
    _, train, evaluation = build(folder, Profile("both", (Component("c", 1, "support", lanes),)), seed=seed)
    assert {row["category"] for row in evaluation} == {"a"}
    assert not {prompt_text(row) for row in train} & {prompt_text(row) for row in evaluation}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight: 0.75", "wieght: 0.75", r"components\.support\.wieght: unknown key \(did you mean weight\?\); known"),
        ("weight: 0.75", "weight: 0.7", r"the shares of components must be above 0 and sum to 1, not 0\.95"),
        ("{refunds: 0.7}", "{refnds: 0.7}", r"support\.gate\.refnds: is no lane or skill \(did you mean refunds\?\)"),
        ("share: 0.4", "share: 0.3", r"the shares of components\.support\.lanes must be above 0 and sum to 1, not"),
        ("share: 0.4", "share: lots", r"components\.support\.lanes\.chat\.share: is 'lots'; use a number"),
        ("share: 0.4", "share: .nan", r"components\.support\.lanes\.chat\.share: is nan; use a number"),
        ("file: chat.jsonl", "file: chatt.jsonl", r"support\.lanes\.chat\.file: .*chatt\.jsonl does not exist"),
        ("file: chat.jsonl", "file: chat.jsonl, task: identity", r"chat: names two sources, task and file; keep one"),
        ("file: chat.jsonl", "repeat: 2", r"chat\.repeat: has no effect on the source `task`; leave it out"),
        ("file: chat.jsonl", "rows: 1", r"chat\.rows: has no effect on the source `task`; leave it out"),
        ("file: chat.jsonl", "file: chat.jsonl, split: train", r"chat\.split: has no effect on the source `file`"),
        ("hold_out: 0.3", "hold_out: 0.3, eval_file: chat.jsonl", r"hold_out and eval_file both say what is held out"),
        ("hold_out: 0.3", "rows: 2.5", r"support\.lanes\.refunds\.rows: is 2\.5; use a whole number"),
        ("hold_out: 0.3", "hold_out: 3", r"support\.lanes\.refunds\.hold_out: is 3; use a share from 0 to 1"),
        ("includes_any: [", "contains: [", r"refunds\.check\.contains: unknown check.*; known are answer, exact"),
        ("[refund, money]", "refund", r"refunds\.check\.includes_any: 'check.includes_any' must be a list"),
        ("file: chat.jsonl}", "file: chat.jsonl, hold_out: 0.5}", r"chat: none of the rows that it holds out has a"),
        ("      chat:", "      refunds:", r"has the key 'refunds' twice; keep one of them"),
        ("file: chat.jsonl", "file: chat.jsonl, reading: {formt: text}", r"chat\.reading\.formt: unknown key"),
        ("file: chat.jsonl", "file: chat.jsonl, reading: {on_bad: skip}", r"chat\.reading\.on_bad: .*error or drop"),
        ("file: chat.jsonl", "file: chat.jsonl, reading: {map: a}", r"chat\.reading: map is 'a'; give THEIRS=OURS"),
        ("name: skills", "name: support", r"two components have the same name"),
        ("weight: 0.25", "weight: 0.25\n    judge: [ecko]", r"skills\.judge\[0\]: is 'ecko'; use echo or loops"),
        ("    benchmark_profile: support\n", "", r"components\.support: lacks the key benchmark_profile; add it"),
        ("components:", "parts:", r"holds no mixture; write `components:` and a list of them into it"),
    ],
)  # fmt: skip
def test_a_faulty_mixture_is_one_sentence_with_file_and_key(folder: Path, old: str, new: str, message: str) -> None:
    assert old in MIXTURE
    (folder / "mine.yaml").write_text(MIXTURE.replace(old, new))
    with pytest.raises(UserError, match=r"mine\.yaml:.* ?" + message):
        build(folder)
    assert not (folder / "out").exists()


def test_a_mixture_without_rows_to_evaluate_is_refused_with_what_to_do(folder: Path) -> None:
    mixture = Profile("chats", (Component("c", 1, "s", {"chat": Lane(1, file=str(folder / "chat.jsonl"))}),))
    with pytest.raises(UserError, match="no lane has rows to evaluate; give one `check:` or `eval_file:`, or train on"):
        build(folder, mixture)


def test_a_package_names_a_mixture_file_in_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "site/my_package").mkdir(parents=True)
    (folder / "site/my_package/__init__.py").touch()
    write(folder / "site/my_package/chat.jsonl", refund(1))
    (folder / "site/my_package/mine.yaml").write_text(MIXTURE.replace("data/refunds.jsonl", "chat.jsonl"))
    metadata = folder / "site/my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[picochat.profiles]\nmine = my_package\nabsent = my_package\n")
    monkeypatch.syspath_prepend(str(folder / "site"))
    assert load_profile("mine") == read_mixture(folder / "site/my_package/mine.yaml")
    with pytest.raises(UserError, match=r"my-package 1\.0 names absent\.yaml in my_package, but there is no such file"):
        load_profile("absent")
