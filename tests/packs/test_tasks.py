"""The skills: what they ask, what they answer, and that wrong working is found."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picochat.packs.contamination import Entry, check
from picochat.packs.quotas import split_of
from picochat.packs.tasks.arithmetic import Addition, Multiplication, Removal, Subtraction
from picochat.packs.tasks.base import Draw, Problem, Task, members
from picochat.packs.tasks.choice import Language, Science, World
from picochat.packs.tasks.columns import read_working
from picochat.packs.tasks.registry import BUILT_IN, load_task
from picochat.packs.tasks.spelling import Count, First, Last, Reverse, Spaced
from picochat.packs.tasks.wording import add_typo

ANY = Draw(0, "tests")
SKILLS = [name for name in BUILT_IN if name.startswith("bench_")]
STEPPED = [name for name in SKILLS if "choice" not in name]


def templates(task: Task, stage: str, value: object, phrasing: str) -> list[str]:
    families = task.phrasings(stage, value, phrasing)  # type: ignore[arg-type]
    return [text for family in families for text in members(family)]


def some_values(task: Task, stage: str, number: int) -> list[object]:
    values, draw = task.values(stage), Draw(1, "values", stage)
    return [values[draw.below(len(values))] for _ in range(number)]


def posed(task: Task, stage: str, value: object, template: str | None = None) -> Problem:
    return task.pose(stage, value, template or templates(task, stage, value, "known")[0], ANY)


STORY = "There are {b} apples, {a} more, {c} less."


@pytest.mark.parametrize(
    ("task", "stage", "value", "asked", "lines"),
    [
        (Addition(), "two_digit_carry", (15, 27), "{b} + {a}?", "27+15 | 7+5=12, carry 1 | 3+1=4 | 42"),
        (Addition(), "three_digit", (467, 885), "{a} + {b}?",
         "467+885 | 7+5=12, carry 1 | 7+8=15, carry 1 | 5+8=13 | 1352"),
        (Addition(), "single_digit", (0, 0), "{a} + {b}?", "0+0 | 0+0=0 | 0"),
        (Subtraction(), "two_digit_borrow", (17, 52), "{a} - {b}?", "52-17 | 2-7: borrow, 12-7=5 | 4-1=3 | 35"),
        (Subtraction(), "three_digit", (123, 500), "{a} - {b}?",
         "500-123 | 0-3: borrow, 10-3=7 | -1-2: borrow, 9-2=7 | 4-1=3 | 377"),
        (Subtraction(), "two_digit", (92, 95), "{a} - {b}?", "95-92 | 5-2=3 | 9-9=0 | 3"),
        (Multiplication(), "times_table", (3, 8), "{a} x {b}?", "3x8 | 3:8 | 2:8+8=16 | 1:16+8=24 | 24"),
        (Multiplication(), "times_table", (2, 3), "{b} bags of {a}?", "3x2 | 3:2 | 2:2+2=4 | 1:4+2=6 | 6"),
        *((Multiplication(), "two_digits", (3, 47), asked,  # units, what is carried, tens
           "3x47 | 3:7 | 2:7+7=14 | 1:14+7=21 | 21: 1, carry 2 | 3:4 | 2:4+4=8 | 1:8+4=12 | 12+2=14 | 141")
          for asked in ("{a} x {b}?", "{b} bags of {a}?")),
        (Removal(), "story", (5, 27, 18), STORY,
         "27+5 | 7+5=12, carry 1 | 3+0=3 | 32-18 | 2-8: borrow, 12-8=4 | 2-1=1 | 14"),
        (Count(["sheep"]), "count", ("sheep", "e"), "{letter} {word}",
         "sheep, count e | s=e no 0 | h=e no 0 | e=e yes 1 | e=e yes 2 | p=e no 2 | 2"),
        (First(["ship"]), "first", "ship", "{word}", "ship, first | s h i p | s"),
        (Last(["ship"]), "last", "ship", "{word}", "ship, last | s h i p | p"),
        (Spaced(["cat"]), "spaced", "cat", "{word}", "cat, spaced | 1 c | 2 a | 3 t | c a t"),
        (Reverse(["cat"]), "reverse", "cat", "{word}", "cat, reverse | 1 c | 2 a | 3 t | 3 t | 2 a | 1 c | tac"),
    ],
)  # fmt: skip
def test_working_goes_step_by_step(task: Task, stage: str, value: object, asked: str, lines: str) -> None:
    *steps, answer = lines.split(" | ")
    problem = task.pose(stage, value, asked, ANY)
    assert problem.scratchpad == "\n".join([*steps, f"Final answer: {answer}"])
    assert task.fault(stage, value, problem) is None


@pytest.mark.parametrize(
    "lines",
    [
        ["27+15", "7+5=13, carry 1", "3+1=4"],  # wrong sum
        ["27+15", "7+5=12, carry 1", "2+1=3"],  # carry forgotten
        ["27+15", "7+5=12", "3+1=4"],  # carry not kept
        ["27+15", "7+4=11, carry 1", "3+1=4"],  # another digit
        ["27+15", "7+5=12, carry 1"],  # a column missing
        ["52+53", "2+3=5", "5+5=10, carry 1"],  # a carry after the last column
        ["52+17", "2+7: borrow, 12-7=5", "4+1=5"],  # a sum borrows nothing
        ["52-17", "2-7: borrow, 12-7=5", "5-1=4"],  # borrow forgotten
        ["52-17", "12-7=5", "4-1=3"],  # borrowed without a word
        ["52-17", "2-7: borrow, 22-7=15", "4-1=3"],  # borrowed too much
        ["52-17", "2-7: borrow, 12-7=6", "4-1=3"],  # wrong difference
        ["52-11", "2-1: borrow, 12-1=11", "4-1=3"],  # borrowed without need
        ["17-52", "7-2=5", "1-5: borrow, 11-5=6"],  # borrowed from nothing
        ["52-17", "7-2=5", "5-1=4"],  # the smaller digit from the larger
        ["4x8", "3:8", "2:8+8=16", "1:16+8=24", "0:24+8=32"],  # another count
        ["3x8", "3:8", "2:8+8=16"],  # one sum too few
        ["2x47", "2:7", "1:7+7=14", "14: 4, carry 2", "2:4", "1:4+4=8", "8+2=10"],  # another carry
        ["2x47", "2:7", "1:7+7=14", "14: 4, carry 1", "2:4", "1:4+4=8", "8+1=10"],  # wrong last sum
        ["7+5=12", "27+15", "7+5=12, carry 1", "3+1=4"],  # lines before the operands
    ],
)
def test_wrong_working_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"'|lines"):
        read_working(lines)
    story = ["27+15", "7+5=12, carry 1", "3+1=4", "52-47", "2-7: borrow, 12-7=5", "4-4=0"]  # a right one is read
    assert read_working(story) == [(27, "+", 15, 42), (52, "-", 47, 5)]


@pytest.mark.parametrize("name", STEPPED)
@settings(max_examples=40)
@given(data=st.data())
def test_any_changed_digit_or_letter_of_a_scratchpad_is_a_fault(name: str, data: st.DataObject) -> None:
    task = load_task(name)
    stage = data.draw(st.sampled_from(list(task.stages)))
    values = task.values(stage)
    value = values[data.draw(st.integers(0, len(values) - 1))]
    problem = posed(task, stage, value)
    assert task.fault(stage, value, problem) is None
    line = data.draw(st.integers(0, len(problem.steps) - 1))
    places = [place for place, sign in enumerate(problem.steps[line]) if sign.isalnum()]
    place = data.draw(st.sampled_from(places))
    old = problem.steps[line][place]
    new = data.draw(st.sampled_from([sign for sign in ("0123456789" if old.isdigit() else "abcxyz") if sign != old]))
    changed = problem.steps[line][:place] + new + problem.steps[line][place + 1 :]
    steps = (*problem.steps[:line], changed, *problem.steps[line + 1 :])
    wrong = Problem(problem.prompt, problem.reply, problem.answer, steps)
    assert task.fault(stage, value, wrong) is not None, changed
    assert task.fault(stage, value, Problem(problem.prompt, "?", problem.answer + "1", problem.steps)) is not None


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_phrasing_of_every_stage_poses_its_own_right_question_and_every_value_has_its_own_key(name: str) -> None:
    task, keys = load_task(name), list[str]()
    assert sum(task.stages.values()) == pytest.approx(1)
    for stage in task.stages:
        values, prompts = task.values(stage), list[str]()
        keys += [task.key(stage, values[index]) for index in range(0, len(values), max(1, len(values) // 3000))]
        for value in dict.fromkeys(some_values(task, stage, 5)):
            known, new = (templates(task, stage, value, kind) for kind in ("known", "new"))
            assert known or new  # a question without a situation has one side only
            assert not set(known) & set(new)
            for template in (*known, *new):
                problem = task.pose(stage, value, template, ANY)
                assert "{" not in problem.prompt
                assert task.fault(stage, value, problem) is None
                prompts.append(problem.prompt)
        assert len(prompts) == len(set(prompts))
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", ["identity", "refusal"])
def test_the_two_sides_of_a_behavior_share_no_prompt_and_pass_the_contamination_check(name: str) -> None:
    """All of it: what is said in training, in any wording, is never asked in evaluation."""
    task, draw = load_task(name), Draw(3, "test")
    found: dict[str, list[Problem]] = {"train": [], "eval": []}
    for stage in task.stages:
        for value in task.values(stage):
            side = task.side(stage, value)
            for phrasing in ("known",) if side == "train" else ("known", "new"):
                texts = templates(task, stage, value, phrasing)
                found[side] += [task.pose(stage, value, text, draw) for text in texts]
    prompts = {side: [problem.prompt.lower().rstrip("?.!") for problem in found[side]] for side in found}
    assert min(len(texts) for texts in prompts.values()) > 10_000
    assert all(len(set(texts)) == len(texts) for texts in prompts.values())
    assert not set(prompts["train"]) & set(prompts["eval"])
    facts = {problem.fact for problem in found["train"]} - {None}
    train, evaluation = (
        [
            Entry(str(at), one.prompt, one.reply if side == "train" else "", one.content, one.fact in facts)
            for at, one in enumerate(found[side][::step])
        ]
        for side, step in (("train", 29), ("eval", 7))
    )
    clean = check(train, [entry._replace(key=f"eval {entry.key}") for entry in evaluation], None, "")
    assert (clean["status"], clean["examples"]) == ("ready", [])


def test_stages_hold_what_their_names_say() -> None:
    assert len(Addition().values("single_digit")) == 55
    assert len(Multiplication().values("times_table")) == 66
    assert Multiplication().values("by_thirteen") == [(a, 13) for a in range(2, 13)]
    three = Addition().values("three_digit")
    assert (len(three), three[0], three[-1]) == (900 * 901 // 2, (100, 100), (999, 999))
    plain, carry = (set(Addition().values(stage)) for stage in ("two_digit", "two_digit_carry"))
    assert (34, 52) in plain
    assert {(34, 58), (60, 70)} <= carry
    assert len(plain) + len(carry) == 90 * 91 // 2
    assert (34, 58) in Subtraction().values("two_digit")
    assert (38, 54) in Subtraction().values("two_digit_borrow")


@pytest.mark.parametrize("value", [(0, 5), (1, 7)])
def test_nothing_is_said_of_1_apples(value: tuple[int, int]) -> None:
    task = Addition()
    prompts = [posed(task, "single_digit", value, text).prompt for text in templates(task, "", value, "known")]
    assert len(templates(task, "", (2, 7), "known")) > len(prompts) + 60 > 68
    assert not any(re.search(r"\d+ (apples|books|toys|stamps)", prompt) for prompt in prompts)


def test_a_trained_story_holds_no_held_out_sum_or_difference() -> None:
    task = Removal()
    sides = Counter()
    for a, b, c in some_values(task, "story", 500):  # type: ignore[misc]
        side = task.side("story", (a, b, c))
        sides[side] += 1
        parts = {Addition().side("", (a, b)), Subtraction().side("", (c, a + b))}  # forced ones included
        assert parts == {"train"} if side == "train" else "eval" in parts
    assert min(sides["train"], sides["eval"]) > 100


def test_a_word_is_held_out_in_all_spelling_tasks_alike() -> None:
    tasks = [First(), Last(), Spaced(), Reverse()]
    words = First().words
    assert len(words) >= 3000
    held_out = {word for word in words if First().side("first", word) == "eval"}
    pairs = [word for word in words if word < word[::-1] and word[::-1] in words]
    paired = {*pairs, *(word[::-1] for word in pairs)}
    assert len(pairs) > 10
    assert all((word in held_out) == (word[::-1] in held_out) for word in pairs)  # pin and nip, deer and reed
    assert 0.17 < len(held_out) / len(words) < 0.23
    assert all((split_of(f"word:{word}") == "eval") == (word in held_out) for word in words if word not in paired)
    for word in words[::100]:
        sides = {task.side(next(iter(task.stages)), word) for task in tasks} | {Count().side("count", (word, word[0]))}
        assert sides == {"eval" if word in held_out else "train"}


def test_nonwords_are_for_training_alone_and_counts_compare_every_letter_with_every_other() -> None:
    words = frozenset(Spaced().words)
    for task, stage in ((Count(), "count"), (Spaced(), "spaced"), (Reverse(), "reverse")):
        values = task.values(f"{stage}_nonwords")
        texts = [value if isinstance(value, str) else value[0] for value in values]
        assert len(set(texts)) == len(texts) > 5900
        assert words.isdisjoint(texts)
        assert {len(text) for text in texts} == {5, 6, 7, 8, 9}
        assert {task.side(f"{stage}_nonwords", value) for value in values} == {"train"}
        assert task.train_only == {f"{stage}_nonwords"}
    answers = Counter(word.count(letter) for word, letter in Count().values("count"))
    assert answers[1] / answers.total() < 0.6  # letter counts are not nearly always one
    assert min(answers[0], answers[2] + answers[3]) / answers.total() > 0.08
    asked = Count().values("count_nonwords")
    assert len({(at_hand, letter) for text, letter in asked for at_hand in text}) == 26 * 26
    assert 0.22 < sum(letter not in text for text, letter in asked) / len(asked) < 0.27  # a third of 19 in 26


def test_a_typo_changes_one_word_of_four_letters_or_more_and_no_other() -> None:
    typos = {add_typo("Say 27 + 15 last.", (), Draw(seed)) for seed in range(200)}
    words = ("lst", "laast", "lsat", "lat", "lasst", "lats")  # a letter left out, doubled, swapped
    assert typos == {f"Say 27 + 15 {word}." for word in words}
    assert add_typo("Reverse sheep.", ["reverse", "sheep"], Draw(0)) == "Reverse sheep."


@pytest.mark.parametrize("task", [Science(), Language(), World()])
def test_choice_questions_have_one_right_option_under_every_label_alike(task: Task) -> None:
    labels = Counter()
    for value in task.values("facts"):
        for template in templates(task, "facts", value, "known"):
            problem = task.pose("facts", value, template, ANY)
            assert task.fault("facts", value, problem) is None
            assert problem.checks == {"choice_labels": ["A", "B", "C", "D"], "correct_choice": problem.answer}
            labels[problem.answer] += 1
    assert len(set(labels.values())) == 1


def test_of_some_facts_both_ends_are_held_out_and_of_others_one() -> None:
    ends = Counter()
    for task in (Science(), Language(), World()):
        by_fact: dict[str, set[str]] = {}
        for value in task.values("facts"):
            by_fact.setdefault(value.fact, set()).add(task.side("facts", value))
        ends.update("+".join(sorted(sides)) for sides in by_fact.values())
    assert ends["eval"] > 40
    assert ends["eval+train"] > 40
    assert ends["train"] > 100


def test_every_step_of_a_held_out_product_is_taught_with_another_product() -> None:
    task, orders = Multiplication(), ("What is {a} x {b}?", "{b} bags of {a} pens?")
    taught, asked, sides = set(), set(), Counter()
    for stage in task.stages:
        for value in task.values(stage):
            side = task.side(stage, value)
            lines = [line for text in orders for line in posed(task, stage, value, text).steps]
            sums = {line.split(":")[-1] for line in lines if "=" in line and ":" in line}
            taught |= sums if side == "train" else set()
            asked |= sums if side == "eval" else set()
            sides[stage, side] += 1
            digits = [sorted((value[0], digit)) for digit in divmod(value[1], 10) if digit > 1]
            if stage == "two_digits":  # trained only where the products of the digits are
                assert (side == "train") == all(task.side("times_table", tuple(pair)) == "train" for pair in digits)
    assert len(asked) > 50
    assert asked - taught == set()
    shown = [tuple(sorted(map(int, text.partition("=")[0].split("+")))) for text in taught | asked]
    sums = [pair for pair in shown if pair[0] > 9]  # 24+12 of 3x12: such a sum is never asked as held out
    assert {Addition().side("", pair) for pair in sums} == {"train"}
    assert {split_of("add:{}+{}".format(*pair)) for pair in sums} == {"train", "eval"}
    assert sides["times_table", "eval"] + sides["two_digits", "eval"] >= 90
