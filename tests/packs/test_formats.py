"""Rows of other people: each form, what rows say about learning, kinds of files, and what is refused or said."""

import csv
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import sides, write

from picochat.cli import main
from picochat.errors import UserError
from picochat.evidence.scoring import score
from picochat.packs import build_task_pack, records
from picochat.packs.formats import Reading, Tally, import_rows, iter_rows, read_rows
from picochat.packs.records import LARGEST, iter_records
from picochat.packs.rows import Row, check_row, dump_rows, learns
from picochat.packs.shapes import FORMS, MARKS, UNSUPPORTED

ASK, SAY = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}
TREE = {"text": "2 + 2?", "role": "prompter", "replies": [{"text": "4", "role": "assistant", "replies": []}]}
# Every form says the same: "2 + 2?" and "4"; the last field of each holds what the last turn says, or is.
SAME: dict[str, dict[str, Any]] = {
    "messages": {"messages": [ASK, SAY]},
    "messages as text": {"messages": json.dumps([ASK, SAY])},
    "parts": {"messages": [{"role": "User", "content": [{"type": "text", "text": "2 +"}, {"value": " 2?"}]}, SAY]},
    "sharegpt": {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},
    "conversation": {"conversation": [{"role": "prompter", "content": "2 + 2?"}, {"role": "Model", "content": "4"}]},
    "prompt": {"prompt": "2 + 2?", "completion": "4"},
    "response": {"prompt": "2 + 2?", "response": "4"},
    "TRL": {"prompt": [ASK], "completion": [SAY]},
    "user": {"user": "2 + 2?", "assistant": "4"},
    "alpaca": {"instruction": "2 + 2?", "input": "", "output": "4"},
    "self-instruct": {"instruction": "2 + 2?", "instances": [{"input": "", "output": "4"}]},
    "dolly": {"instruction": "2 + 2?", "context": None, "response": "4"},
    "question": {"question": " 2 + 2?", "answer": "4"},
    "number": {"question": "2 + 2?", "answer": 4},
    "question and response": {"question": "2 + 2?", "response": "4"},
    "oasst": {"message_tree_id": "t", "prompt": TREE},
    "input and output": {"input": "2 + 2?", "output": "4"},
    "inputs and targets": {"inputs": "2 + 2?", "targets": "4"},
    "query": {"query": "2 + 2?", "response": "4"},
}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Row]:
    """One row of a record; a ValueError's words come as a UserError."""

    def one(record: Any, kind: Any = "chat", **reading: Any) -> Row:
        return read_rows(write(tmp_path / "row.jsonl", record), kind, check_row, Tally(Reading(**reading)))[0]

    return one


@pytest.mark.parametrize("form", SAME)
def test_every_form_becomes_the_same_messages(form: str, read: Callable[..., Row]) -> None:
    assert read(SAME[form])["messages"] == [ASK, SAY]


def test_the_choices_of_format_are_the_forms() -> None:
    assert {*get_args(get_args(get_type_hints(Reading)["format"])[0])} == {name for name, _, _ in FORMS} | {"text"}


CONTEXT = [{"role": "user", "content": "Who?\n\nBob came."}, {"role": "assistant", "content": "Bob"}]
GOLD = "6 * 7 = 42\nSo 42.\nFinal answer: 1042"
METAL, LABELLED = "Which is a metal?", [{"text": "wood", "label": "A"}, {"text": "iron", "label": "B"}]
LETTERS = "Which is a metal?\nA. wood\nB. iron\nAnswer with the letter."


@pytest.mark.parametrize(("record", "expected"), [
    ({"instruction": "Who?", "input": "Bob came.", "output": "Bob"}, {"messages": CONTEXT}),
    ({"instruction": "Who?", "context": "Bob came.", "response": "Bob"}, {"messages": CONTEXT}),
    ({"question": "Who?", "context": "Bob came.", "answer": "Bob"}, {"messages": CONTEXT}),
    (
        {"instruction": "2 + 2?", "output": "4", "history": [["Hi", "Ho"], ["So", "Yes"]]},
        {"messages": [dict(ASK, content="Hi"), dict(SAY, content="Ho"), dict(ASK, content="So"),
                      dict(SAY, content="Yes"), ASK, SAY]},
    ),
    (
        {"question": "Packs?", "answer": "6 * 7 = <<6*7=42>>42\n\nSo 42.\n#### 1,042"},
        {"answer": "1042", "steps": ["6 * 7 = 42", "So 42."], "answer_style": "scratchpad",
         "messages": [dict(ASK, content="Packs?"), dict(SAY, content=GOLD)]},
    ),
    *(({**record, "question": "Which is a metal?", "choices": choices}, {
        "choice_labels": ["A", "B"], "correct_choice": "B",
        "messages": [dict(ASK, content=LETTERS), dict(SAY, content="B")],
    }) for record, choices in (
        ({"answer": 1}, ["wood", "iron"]),
        ({"answer": "B", "options": {"A": "wood", "B": "iron"}}, None),
        ({"answer": "B"}, ["wood", "iron"]),
        ({"answer": "iron"}, ["wood", "iron"]),
        ({"answerKey": "2"}, {"text": ["wood", "iron"], "label": ["1", "2"]}),
        ({"answerKey": 2}, [{"text": "wood", "label": 1}, {"text": "iron", "label": 2}]),
    )),
    *((record, {"messages": [dict(ASK, content=LETTERS), dict(SAY, content="B")]}) for record in (
        {"question": {"stem": METAL, "choices": LABELLED}, "answerKey": "B"},
        {"train": {"question": METAL, "choices": ["wood", "iron"], "answer": 1}},
    )),
    ({"prompt": "", "completion": "Once."}, {"messages": [{"role": "text", "content": "Once."}]}),
    ({"messages": [ASK, SAY], "category": 3, "id": 7, "answer": 4},
     {"messages": [ASK, SAY], "category": "3", "id": "7", "answer": "4"}),
])  # fmt: skip
def test_a_record_becomes_a_row(record: Row, expected: Row, read: Callable[..., Row]) -> None:
    assert {name: value for name, value in read(record).items() if name in expected} == expected


WHICH = {"question": "Which?", "choices": ["wood", "iron"]}


@pytest.mark.parametrize(("record", "says"), [
    ({**WHICH, "answer": ""}, "the answer '' is none of the 2 choices"),  # an unlabelled test split
    ({**WHICH, "answer": -1}, "the answer '-1' is none of the 2 choices"),
    *(({**WHICH, "choices": choices, "answer": 0}, "needs 2 to 26 choices, each a text") for choices in (
        [], ["wood"], ["wood", None], [*map(str, range(27))], {"text": ["wood", "iron"], "label": ["A"]},
    )),
    ({"instruction": "Say it.", "instances": []}, "has no instances"),
    ({"instruction": "Hi", "output": "Ho", "history": [["a", "b", "c"]]}, "'history' must be a list of pairs"),
])  # fmt: skip
def test_a_record_that_gives_no_row_is_refused_in_words(record: Row, says: str, read: Callable[..., Row]) -> None:
    with pytest.raises(UserError, match=f"row.jsonl:1: {says}"):
        read(record)


def test_reading_takes_time_in_proportion_to_what_a_row_holds(read: Callable[..., Row]) -> None:
    start = time.process_time()
    for text in ("<<", "####", "<|", "{{", "[INST"):
        assert read({"question": "Packs?", "answer": text * 20_000})["messages"][-1]["content"]
    assert time.process_time() - start < 2


def test_each_reply_of_a_tree_is_learnt_once_whether_nested_or_flat(tmp_path: Path) -> None:
    flat = [("q", None, "prompter"), ("a", "q", "assistant"), ("b", "q", "assistant"), ("q2", "a", "prompter"),
            ("c", "q2", "assistant"), ("d", "q2", "assistant"), ("e", "b", "prompter"), ("x", None, "prompter"),
            ("y", "x", "assistant")]  # fmt: skip
    nodes = [{"message_id": i, "parent_id": p, "role": r, "text": i, "message_tree_id": "T"} for i, p, r in flat]
    rows = read_rows(write(tmp_path / "flat.jsonl", *nodes), "chat")
    told = [[(turn["content"], turn.get("weight", 1)) for turn in row["messages"][1::2]] for row in rows]
    assert told == [[("a", 1), ("c", 1)], [("a", 0), ("d", 1)], [("b", 1)], [("y", 1)]]
    assert {row["key"] for row in rows} == {"oasst:T"}  # validation takes a tree whole
    with pytest.raises(UserError, match=r"lost.jsonl:2: answers the message 'zz', which is not above it"):
        read_rows(write(tmp_path / "lost.jsonl", nodes[0], {**nodes[1], "parent_id": "zz"}), "chat")


# Fields that mean something wherever they stand, with what becomes of the row; walked through every form.
OBEYED: dict[str, tuple[Any, Callable[[Row], bool]]] = {
    **{name: ("Be brief.", lambda row: row["messages"][0] == {"role": "system", "content": "Be brief."})
       for name in ("system", "system_prompt")},
    **{name: (value, lambda row: not learns(row["messages"])) for name in MARKS for value in (0,)},
    "category": ("maths", lambda row: row["category"] == "maths"),
    "note": ("unknown", lambda row: row["note"] == "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
def test_no_known_field_vanishes_in_any_form(form: str, read: Callable[..., Row]) -> None:
    for name, (value, is_obeyed) in OBEYED.items():
        assert is_obeyed(read({**SAME[form], name: value})), name
        assert read({**SAME[form], name: None})["messages"] == [ASK, SAY], name
    for name in UNSUPPORTED:
        with pytest.raises(
            UserError, match=rf"row.jsonl:1: has the field '{name}'; picochat learns no .*--on-unsupported"
        ):
            read({**SAME[form], name: ["something"]})
        assert read({**SAME[form], name: []})["messages"] == [ASK, SAY], name


TURNS = {"messages": "messages", "sharegpt": "conversations", "TRL": "completion"}


@pytest.mark.parametrize("form", TURNS)
def test_no_known_field_of_a_turn_vanishes(form: str, read: Callable[..., Row]) -> None:
    def with_turn(**fields: Any) -> Row:
        turns = SAME[form][TURNS[form]]
        return {**SAME[form], TURNS[form]: [*turns[:-1], {**turns[-1], **fields}]}

    for name in MARKS:
        for value in (0, 0.0, False, "0"):
            assert read(with_turn(**{name: value}))["messages"][-1] == {**SAY, "weight": 0}
        for value in (1, 1.0, True, None):
            assert read(with_turn(**{name: value}))["messages"] == [ASK, SAY]
        with pytest.raises(UserError, match=rf"has the {name} 0.5, which is not 0 or 1; picochat learns no fractions"):
            read(with_turn(**{name: 0.5}))
    assert read(with_turn(weight=1, train=False))["messages"][-1] == {**SAY, "weight": 0}  # of two marks the lower
    for name in UNSUPPORTED:
        with pytest.raises(UserError, match=rf"\[\d\] has the field '{name}'; picochat learns no"):
            read(with_turn(**{name: {"x": 1}}))
    assert read(with_turn(name="Ann"))["messages"][-1] == {**SAY, "name": "Ann"}


@pytest.mark.parametrize(("turn", "says"), [
    ({"role": "tool", "content": "12 C"}, "has the role 'tool'; picochat learns no tool calls"),
    ({"from": "function_call", "value": "{}"}, "has the role 'function_call'; picochat learns no tool calls"),
    ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "content of the type image_url"),
])  # fmt: skip
def test_a_turn_that_cannot_be_learnt_is_named(turn: Row, says: str, read: Callable[..., Row]) -> None:
    with pytest.raises(UserError, match=rf"row.jsonl:1: messages\[1\].*{says}"):
        read({"messages": [ASK, turn, SAY]})


def test_rows_are_dropped_and_counted_when_asked(tmp_path: Path) -> None:
    empty, call = {"messages": [ASK, dict(SAY, content=" ")]}, {**SAME["prompt"], "tools": [{"name": "w"}]}
    large = {"prompt": "x", "completion": "y" * LARGEST}
    file = write(tmp_path / "rows.jsonl", empty, SAME["prompt"], call, call, large, "{", SAME["alpaca"])
    for reading, line in ((Reading(), 1), (Reading(on_bad="drop"), 3), (Reading(on_unsupported="drop"), 1)):
        with pytest.raises(UserError, match=rf"rows.jsonl:{line}: "):
            list(iter_rows(file, "chat", Tally(reading)))
    tally = Tally(Reading(on_bad="drop", on_unsupported="drop"))
    assert [line for line, _ in iter_rows(file, "chat", tally)] == [2, 7]
    assert tally.counts == {"rows dropped, not in order": 3, "rows dropped, tool calls": 2}


def test_rows_with_nan_are_counted_once_wherever_a_list_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_CHUNK", 7)
    (tmp_path / "list.json").write_text(json.dumps([{"score": float("nan"), **SAME["prompt"]}] * 3))
    tally = Tally()
    assert [row["score"] for _, row in iter_rows(tmp_path / "list.json", "chat", tally)] == [None] * 3
    assert tally.said() == ["rows with NaN, read as null: 3"]


def test_control_tokens_placeholders_nan_and_rows_without_learning_are_said(tmp_path: Path) -> None:
    rows = [{"prompt": "2 + 2?", "completion": "4</s><|endoftext|>"}, {"prompt": "[INST] Hi [/INST]", "response": "Yo"},
            {"prompt": "Who?", "completion": "I am {{name}}."}, {**SAME["prompt"], "weight": 0}]  # fmt: skip
    file = write(tmp_path / "rows.jsonl", *rows, '{"prompt": "a", "completion": "b < c", "score": NaN}')
    said, stripped = Tally(), Tally(Reading(strip_control=True))
    kept = [row["messages"][-1]["content"] for _, row in iter_rows(file, "chat", said)]
    assert kept == ["4</s><|endoftext|>", "Yo", "I am {{name}}.", "4", "b < c"]
    assert said.control == {"</s>": 1, "<|endoftext|>": 1, "[INST]": 1, "[/INST]": 1}
    assert said.said()[:3] == [
        "rows with placeholders such as {{name}}: 1",
        "rows of which no turn is learnt (weight 0): 1",
        "rows with NaN, read as null: 1",
    ]
    cleaned = [[turn["content"] for turn in row["messages"]] for _, row in iter_rows(file, "chat", stripped)]
    assert cleaned[:2] == [["2 + 2?", "4"], ["Hi", "Yo"]]
    assert Tally().said() == []


def test_the_last_reply_alone_is_learnt_on_request_and_nothing_of_a_row_without_weight(
    read: Callable[..., Row],
) -> None:
    messages = [ASK, SAY, {**ASK, "weight": 1}, SAY]
    assert [turn.get("weight") for turn in read({"messages": messages})["messages"]] == [None, None, 1, None]
    assert [turn.get("weight") for turn in read({"messages": messages}, learn="last")["messages"]] == [None, 0, 0, None]
    assert [turn.get("weight") for turn in read({"messages": messages, "train": 0})["messages"]] == [None, 0, 0, 0]


def test_fields_are_renamed_and_a_name_that_no_row_has_is_refused(read: Callable[..., Row]) -> None:
    row = read({"title": "2 + 2?", "body": "4", "prompt_id": "p"}, map="title=prompt, body=completion")
    assert row == {"prompt_id": "p", "messages": [ASK, SAY]}
    for names, says in (
        ("titel=prompt", "no row has the field 'titel' that map names"),
        ("note=prompt", "has two fields that map calls 'prompt'"),
        ("note=x,prompt=x", "has two fields that map calls 'x'"),
    ):
        with pytest.raises(UserError, match=says):
            read({**SAME["prompt"], "note": "x"}, map=names)
    with pytest.raises(UserError, match=r"map is 'title'; give THEIRS=OURS"):
        Reading(map="title")
    both = {**SAME["alpaca"], "messages": [ASK, SAY]}
    assert read(both, format="alpaca")["messages"] == [ASK, SAY]
    with pytest.raises(UserError, match=r"is not of the form oasst, which has message_tree_id \+ prompt"):
        read(both, format="oasst")


@pytest.mark.parametrize(("record", "expected"), [
    ({"prompt": "2 + 3?", "answer": 5}, {"answer": "5"}),
    ({"prompt": "Metal?", "answer": True}, {"answer": "true"}),
    ({"prompt": "Capital?", "answer": ["Paris", "Paris, F"]}, {"answer": "Paris", "accept": ["Paris", "Paris, F"]}),
    ({"messages": [ASK, SAY], "answer": "4"}, {"answer": "4", "reference": "4", "messages": [ASK]}),
    ({"question": "Capital?", "answer": "Paris"}, {"answer": "Paris", "reference": "Paris"}),
    ({"prompt": "2 + 3?", "answer": 5, **dict.fromkeys(("must_include", "steps", "accept", "correct_choice", "id"))},
     {"answer": "5"}),  # a table has every column in every row
])  # fmt: skip
def test_eval_rows_of_others_are_read(record: Row, expected: Row, read: Callable[..., Row]) -> None:
    row = read(record, "eval")
    assert {name: row[name] for name in expected} == expected
    for answer in row.get("accept", [row["answer"]]):
        assert score(row, answer).passed
    assert not score(row, "Rome").passed


DELIMITERS = {"csv": ",", "excel.csv": ";", "tsv": "\t"}
ROWS = [{"prompt": f"Say {n}, é", "completion": f"{n}"} for n in range(3)]


def pack(path: Path) -> Path:
    text = json.dumps(ROWS[0]) + "\n\n" + "\r\n".join(map(json.dumps, ROWS[1:]))
    kind = path.name.partition(".")[2]
    if kind == "parquet":
        write(path, *ROWS)
    elif kind in DELIMITERS:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            table = csv.DictWriter(file, ["prompt", "completion"], delimiter=DELIMITERS[kind])
            table.writeheader()
            table.writerows(ROWS)
    else:
        text = {"json": json.dumps(ROWS), "values.json": "\n".join(json.dumps(row, indent=1) for row in ROWS)}.get(
            kind, text
        )
        data = b"\xef\xbb\xbf" + text.encode()
        if kind.endswith("zst"):
            import zstandard

            data = zstandard.compress(data[:40]) + zstandard.compress(data[40:])
        path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    return path


@pytest.mark.parametrize("kind", [*DELIMITERS, "jsonl", "json", "values.json", "parquet", "jsonl.gz", "jsonl.zst", ""])
def test_every_kind_of_file_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    file = pack(tmp_path / f"a.{kind}")
    assert [row["messages"][0]["content"] for row in read_rows(file, "chat")] == [row["prompt"] for row in ROWS]


def test_a_table_s_cells_are_what_json_can_say(tmp_path: Path) -> None:
    cells = {"day": date(2020, 2, 1), "price": Decimal("1.50"), "score": float("nan"), "n": 7, "x": [1.5]}
    table = write(tmp_path / "a.parquet", {**SAME["prompt"], **cells})
    tally = import_rows([table], tmp_path / "a.jsonl")[str(table)]
    expected = {"day": "2020-02-01", "price": "1.50", "score": None, "n": 7, "x": [1.5]}
    (row,) = read_rows(tmp_path / "a.jsonl", "chat")
    assert {name: row[name] for name in expected} == expected
    assert tally.said() == ["rows with NaN, read as null: 1"]


@pytest.mark.parametrize(("name", "content", "says"), [
    ("a.csv", "prompt,completion,completion,,\nx,y,z,,\n", "a.csv:1: has the column 'completion' twice"),
    ("a.json", "[\n {},\n {\"prompt\": \"x\"", "a.json:3: is not JSON"),
    ("a.json", "[{\"prompt\": \"" + "x" * (2 * LARGEST), "a.json:1: is not JSON, or holds more than 1,048,576 bytes"),
    ("a.csv", "prompt,completion\nx,\"y\nz\"\nx,y,z\n", "a.csv:4: has more fields than the header"),
    ("a.csv", "prompt,completion\nx,\"" + "y\n" * LARGEST, r"a.csv:\d+: is not CSV: field larger than field limit"),
    ("a.parquet", "x", "a.parquet: cannot be read as parquet"),
])  # fmt: skip
def test_a_file_that_is_broken_or_too_large_is_refused_even_where_rows_are_dropped(
    name: str, content: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=says):
        tally = Tally(Reading(on_bad="drop" if "not JSON" in says else "error"))
        list(iter_rows(tmp_path / name, "chat", tally))


def test_a_row_of_parquet_that_is_too_large_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    rows = ({"prompt": "x", "completion": text} for text in ("y", "y" * 2 * LARGEST, "z"))
    file = write(tmp_path / "a.parquet", *rows)
    assert [number for number, row in iter_records(file) if isinstance(row, dict)] == [1, 3]
    with pytest.raises(UserError, match=r"a.parquet:2: holds 2,\d+,\d+ bytes; 1,048,576 are allowed"):
        list(iter_rows(file, "chat"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv"])
def test_a_row_that_is_too_large_is_never_held(name: str, tmp_path: Path) -> None:
    start, end = ("prompt,completion\nx,", "\n") if name == "a.csv" else ('[{"prompt": "x", "completion": "', '"}]')
    content = (start.lstrip("[" if "jsonl" in name else "") + "y" * 30_000_000 + end).encode()
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    del content
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"{name}:[12]: .*1,048,576"):
            list(iter_rows(tmp_path / name, "chat"))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=100)
@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=40), max_size=3), max_size=6),
    st.sampled_from([None, 0, 2]), st.integers(1, 40),
)  # fmt: skip
def test_a_list_is_read_whatever_its_layout_and_wherever_it_is_cut(
    tmp_path: Path, rows: list[dict[str, str]], indent: int | None, chunk: int
) -> None:
    rows = [{k.replace("\x00", ""): v.replace("\x00", "") for k, v in row.items()} for row in rows]
    file = tmp_path / "list.json"
    file.write_text("\n" + json.dumps(rows, indent=indent, ensure_ascii=bool(chunk % 2)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_CHUNK", chunk)
        assert [row for _, row in iter_records(file)] == rows


def test_rows_are_imported_in_our_form_and_stay_as_they_are_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = write(tmp_path / "a.jsonl", *SAME.values()), tmp_path / "out.jsonl"
    main(["data", "import-rows", str(file), str(pack(tmp_path / "a.csv")), "--out", str(out)])
    assert f"wrote {out}: {len(SAME) + 3} rows" in capsys.readouterr().out
    assert [row["messages"] for row in read_rows(out, "chat")] == [[ASK, SAY]] * len(SAME) + [
        [dict(ASK, content=row["prompt"]), dict(SAY, content=row["completion"])] for row in ROWS
    ]
    import_rows([out], tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == out.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        import_rows([file], out)
    for name in ("out.jsonl.gz", "out.csv", "out.parquet"):  # which would not be read as what it is
        with pytest.raises(UserError, match=f"{name}: rows are written as plain JSON lines"):
            import_rows([file], tmp_path / name)


def test_rows_of_task_packs_pass_through_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text("{}")
    report = build_task_pack(tmp_path, profile="benchmark", sft_rows=200, eval_rows=60, promote=False)
    for path, rows in zip((report.chat_path, report.eval_path), sides(report), strict=True):
        assert dump_rows(rows).encode() == path.read_bytes()
