"""Rows that are broken in one way each: the words that name the fault, and one case through every command.

A table's entry is a name, the bytes of a line and the words that name the fault. Evaluations read rows before a model.
"""

import gc
import json
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import Refused
from small_rows import small_model

from picochat.cli import main
from picochat.errors import UserError
from picochat.packs.formats import iter_rows, read_rows
from picochat.packs.inspection import inspect_rows

USER, REPLY = '{"role": "user", "content": "2 + 2?"}', '{"role": "assistant", "content": "4"}'


def row(*messages: str, fields: str = "") -> bytes:
    return ('{"answer": "4", ' + fields + '"messages": [' + ", ".join(messages) + "]}").encode()


def asks(content: str, fields: str = "") -> bytes:
    """A row whose user says the JSON string `content`."""
    return row('{"role": "user", "content": ' + content + "}", "REPLY", fields=fields)


# The word REPLY stands for the assistant's turn: chat rows get it, eval rows do without.
GOOD = row(USER, "REPLY")
DEEP = b"[" * 100_000 + b"]" * 100_000
BROKEN: dict[str, tuple[bytes, str]] = {
    "cut short": (GOOD[:-10], "is not JSON"),
    "trailing comma": (GOOD[:-1] + b",}", "is not JSON"),
    "raw control sign": (asks('"a\x01b"'), "is not JSON: Invalid control character"),
    "carriage returns alone": (GOOD + b"\r" + GOOD, "is not JSON: Extra data"),
    "NaN as text": (asks("NaN"), r"messages\[0\] must be .* its content is null"),
    "Infinity": (row(USER, "REPLY", fields='"weight": Infinity, '), "holds Infinity, which is not JSON"),
    "a float without end": (row(USER, "REPLY", fields='"weight": 1e999, '), "holds the number 1e999, which"),
    "5,000 digits": (row(USER, "REPLY", fields='"n": ' + "9" * 5000 + ", "), "holds a number of 5,000 digits"),
    "deep list": (DEEP, "is nested too deeply"),
    "10 MB without an end": (b'{"messages": "' + b"x" * 10_000_000, "holds 10,000,014 bytes; 1,048,576 are allowed"),
    "1 MB of key": (b'{"' + b"k" * 1_000_000 + b'": 1}', "needs 'messages'"),
    "Latin-1": (asks('"café"').decode().encode("latin-1"), r"is not UTF-8 \(byte \d+ of the line\)"),
    "UTF-16": (GOOD.decode().encode("utf-16")[:-1], r"is not UTF-8 \(byte 1 of the line\), it looks like UTF-16"),
    "gzip": (b"\x1f\x8b\x08\x00\x00", r"is not UTF-8 \(byte 2 of the line\); save"),
    "key twice": (b'{"messages": [], ' + GOOD[1:], "has the key 'messages' twice"),
    "NUL in content": (asks('"a\\u0000b"'), r"holds a NUL character in 'content'"),
    "NUL in a tag": (row(USER, "REPLY", fields='"category": "a\\u0000", '), "NUL character in 'category'"),
    "high surrogate": (asks('"\\ud800"'), r"half of a surrogate pair \(character 1\) in 'content'"),
    "surrogate as key": (b'{"\\ud800": 1, ' + GOOD[1:], "half of a surrogate pair .* in a key"),
    "surrogate in an unknown field": (row(USER, "REPLY", fields='"x": [{"y": "\\ud800"}], '), "in 'y'"),
    "a list in a list": (b"[[]]", "holds a list; an object is expected"),
    "messages null": (b'{"messages": null}', "needs 'messages'"),
    "form of another": (b'{"title": "Hi", "body": "Ho"}', "has title, body; name the fields with `--map`"),
    "a document": (b'{"text": "One day."}', "holds a document; `picochat train base` learns those"),
    "a template's text": (b'{"text": "<|im_start|>user\\nHi<|im_end|>"}', "a chat template wrote out as one text"),
    "messages empty": (b'{"messages": []}', "'messages' must be a non-empty list"),
    "message a number": (row("1"), r"messages\[0\] must be an object"),
    "content null": (row('{"role": "user", "content": null}', "REPLY"), r"messages\[0\] must be an object"),
    "unknown role": (row('{"role": "narrator", "content": "x"}', "REPLY"), r"messages\[0\] has the role 'narrator'; k"),
    "role that colours the terminal": (row('{"role": "\\u001b[31m", "content": "x"}'), r"has the role '\\x1b\[31m'"),
    "role of a megabyte": (row('{"role": "' + "r" * 1_000_000 + '", "content": "x"}'), "has the role 'rrr"),
    "system in the middle": (row(USER, '{"role": "system", "content": "x"}'), r"messages\[1\]: a system message"),
    "two user turns": (row(USER, USER, "REPLY"), r"messages\[1\]: two user turns follow each other"),
    "empty question": (asks('""'), r"messages\[0\]: the user turn is empty"),
    "category a list": (row(USER, "REPLY", fields='"category": [], '), "'category' must be a string, not a list"),
    "user a number": (b'{"user": 1, "assistant": "x"}', "'user' must be text or a list of messages, not a number"),
    "prompt an object": (b'{"prompt": {"x": 1}, "completion": "x"}', "'prompt' must be text"),
    "two system prompts": (row('{"role": "system", "content": "x"}', USER, "REPLY", fields='"system": "y", '), "and"),
}  # fmt: skip
CHAT_ONLY: dict[str, tuple[bytes, str]] = {
    "no reply": (row(USER), "a chat row must end with the assistant, this one ends with the user"),
    "no question": (row("REPLY"), "holds a reply and no question"),
    "two replies": (row(USER, "REPLY", "REPLY"), "two assistant turns follow each other"),
    "empty reply": (row(USER, '{"role": "assistant", "content": ""}'), r"messages\[1\]: the assistant turn is empty"),
    "prompt with null": (b'{"prompt": "x", "completion": null}', "must end with the assistant"),
}
EVAL_ONLY: dict[str, tuple[bytes, str]] = {
    "a text to go on with": (b'{"prompt": "", "completion": "x"}', "must end with the user, this one ends with"),
    "no check": (row(USER).replace(b'"answer": "4", ', b""), "an eval row needs at least one check"),
    "answer blank": (row(USER).replace(b'"answer": "4"', b'"answer": " "'), "an eval row needs at least one check"),
    "must_include empty": (row(USER).replace(b'"answer": "4"', b'"must_include": []'), "needs at least one check"),
    "no group to include": (row(USER).replace(b'"answer": "4"', b'"must_include_any": []'), "needs at least one check"),
    "must_include a string": (row(USER, fields='"must_include": "x", '), "'must_include' must be a list of strings"),
    "must_not_include a number": (row(USER, fields='"must_not_include": [3], '), "'must_not_include' must be a list"),
    "an empty phrase": (row(USER, fields='"must_include_any": [["a"], [" "]], '), "'must_include_any' .* none of"),
    "must_include_any mixed": (row(USER, fields='"must_include_any": [["a"], "b"], '), "'must_include_any' must be"),
    "max_words a string": (row(USER, fields='"max_words": "5", '), "'max_words' must be a whole number from 1"),
    "max_words below 1": (row(USER, fields='"max_words": -5, '), "'max_words' must be a whole number from 1"),
    "answerable a string": (row(USER, fields='"answerable": "no", '), "'answerable' must be true or false"),
    "choice without labels": (row(USER, fields='"correct_choice": "A", '), "'correct_choice' must be one of"),
    "choice not a label": (row(USER, fields='"correct_choice": "C", "choice_labels": ["A", "B"], '), "must be one of"),
    "labels twice": (row(USER, fields='"correct_choice": "A", "choice_labels": ["A", "A"], '), "two different"),
}  # fmt: skip


def chat(line: bytes) -> bytes:
    return line.replace(b"REPLY", REPLY.encode())


def question(line: bytes) -> bytes:
    return line.replace(b", REPLY", b"").replace(b"REPLY", USER.encode())


def write(name: str, *lines: bytes) -> None:
    Path(name).write_bytes(b"\n".join(lines) + b"\n" if len(lines) > 1 else lines[0])


@pytest.mark.parametrize("case", [*BROKEN, *CHAT_ONLY])
def test_a_broken_chat_row_is_refused_in_words(case: str, tmp_path: Path) -> None:
    line, says = {**BROKEN, **CHAT_ONLY}[case]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(chat(GOOD))
    assert read_rows(file, "chat")
    file.write_bytes(chat(line))
    with pytest.raises(UserError, match=rf"rows.jsonl:1: .*{says}"):
        read_rows(file, "chat")


@pytest.mark.parametrize("case", [*BROKEN, *EVAL_ONLY])
def test_a_broken_eval_row_is_refused_in_words(case: str, tmp_path: Path) -> None:
    line, says = {**BROKEN, **EVAL_ONLY}[case]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(question(GOOD))
    assert read_rows(file, "eval")
    file.write_bytes(question(line))
    with pytest.raises(UserError, match=rf"rows.jsonl:1: .*{says}") as fault:
        read_rows(file, "eval")
    if says.startswith("'"):  # a field; a row that is none to answer may be one to learn
        bad = [f"{file}:{line}: {reason}" for line, reason in inspect_rows(file).bad]
        assert bad == [str(fault.value)]  # `data inspect` refuses in the same sentence


COMMANDS = {
    "data inspect rows.jsonl": chat,
    "eval sft-fit --input rows.jsonl --checkpoint nowhere --out-dir out": chat,
    "eval chat --input rows.jsonl --checkpoint nowhere --out-dir out": question,
    "generate --input rows.jsonl --checkpoint nowhere --out out.jsonl": question,
    "data export-lm-eval --input rows.jsonl --out-dir out": question,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_file_and_line_in_one_short_printable_sentence(command: str, refused: Refused) -> None:
    for case in ("cut short", "role that colours the terminal", "role of a megabyte"):
        line, says = BROKEN[case]
        write("rows.jsonl", COMMANDS[command](GOOD), COMMANDS[command](line))
        refused(*command.split(), says=rf"(rows.jsonl:2: |the first is line 2: ).*{says}")


@pytest.mark.filterwarnings("ignore")  # Lightning advises before it is stopped
def test_a_run_names_file_and_line(tmp_path: Path, refused: Refused) -> None:
    small_model(tmp_path / "model")
    line, says = BROKEN["role that colours the terminal"]
    write("rows.jsonl", chat(GOOD), chat(line))
    command = "train sft --input rows.jsonl --checkpoint model --out-dir out --steps 1 --device cpu"
    refused(*command.split(), says=rf"rows.jsonl:2: .*{says}")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n\t\r\n"])
def test_a_file_without_rows_is_refused(content: bytes, refused: Refused) -> None:
    write("rows.jsonl", content)
    for command in COMMANDS:
        refused(*command.split(), says="rows.jsonl: holds no rows")


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_bom_at_the_start_crlf_and_blank_lines_are_understood(
    ending: bytes, start: bytes, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    write("rows.jsonl", start + (chat(GOOD) + ending + ending) * 3)
    main(["data", "inspect", "rows.jsonl"])
    assert "3 rows in" in capsys.readouterr().out


def test_a_file_is_closed_when_a_line_of_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not when a collector of cycles comes by: on a share, an open file cannot be replaced."""
    monkeypatch.chdir(tmp_path)
    write("rows.jsonl", chat(GOOD), b"{", chat(GOOD))
    opened: list[IO[bytes]] = []
    plain = Path.open
    monkeypatch.setattr(Path, "open", lambda *args: opened.append(plain(*args)) or opened[-1])
    gc.disable()
    try:
        with pytest.raises(UserError, match=r"rows\.jsonl:2"):
            list(iter_rows("rows.jsonl", "chat"))
        assert [file.closed for file in opened] == [True]
    finally:
        gc.enable()


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([
        *("messages", "role", "content", "user", "prompt", "id", "answer", "conversations", "from", "value", "weight"),
        *("question", "choices", "instruction", "output", "instances", "message_id", "parent_id", "text", "replies"),
    ]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_a_file_holds_it_is_rows_or_a_fault_in_words(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(line)
    for kind in ("chat", "eval", None):
        try:
            found = list(iter_rows(tmp_path / "rows.jsonl", kind))  # type: ignore[arg-type]
        except UserError as fault:
            assert str(fault)
        else:
            assert json.loads(json.dumps(found, ensure_ascii=False, allow_nan=False).encode()) == list(map(list, found))
