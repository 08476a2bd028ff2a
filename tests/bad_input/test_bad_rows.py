"""Files of chat and eval rows that are broken in one way each, through every command that reads rows.

A table's entry is a name, the bytes of line 2 (line 1 is a good row) and the words that name the fault. No case needs
torch: rows are read before a model is.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusing import Refused

from picochat.cli import main
from picochat.packs.rows import parse_row

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
    "single quotes": (b"{'messages': []}", "is not JSON"),
    "a comment": (b"// rows", "is not JSON"),
    "two objects": (GOOD + GOOD, "is not JSON: Extra data"),
    "text behind": (GOOD + b" and more", "is not JSON: Extra data"),
    "pretty-printed": (json.dumps({"messages": []}, indent=1).encode(), "is not JSON"),
    "raw control sign": (asks('"a\x01b"'), "is not JSON: Invalid control character"),
    "bad escape": (asks('"\\x41"'), r"is not JSON: Invalid \\escape"),
    "carriage returns alone": (GOOD + b"\r" + GOOD, "is not JSON: Extra data"),
    "HTML": (b"<html><body>404</body></html>", "is not JSON"),
    "a NUL byte": (b"\x00", "is not JSON"),
    "a NUL byte behind": (GOOD + b"\x00", "is not JSON: Extra data"),
    "NaN": (row(USER, "REPLY", fields='"weight": NaN, '), "holds NaN, which is not JSON"),
    "Infinity": (row(USER, "REPLY", fields='"weight": Infinity, '), "holds Infinity, which is not JSON"),
    "minus Infinity": (row(USER, "REPLY", fields='"weight": -Infinity, '), "holds -Infinity"),
    "a float without end": (row(USER, "REPLY", fields='"weight": 1e999, '), "holds the number 1e999, which"),
    "5,000 digits": (row(USER, "REPLY", fields='"n": ' + "9" * 5000 + ", "), "holds a number of 5,000 digits"),
    "deep list": (DEEP, "is nested too deeply"),
    "deep object": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is nested too deeply"),
    "deep in a field": (b'{"extra": ' + DEEP + b", " + GOOD[1:], "is nested too deeply"),
    "10 MB without an end": (b'{"messages": "' + b"x" * 10_000_000, "is not JSON"),
    "10 MB of key": (b'{"' + b"k" * 10_000_000 + b'": 1}', "needs 'messages'"),
    "Latin-1": (asks('"café"').decode().encode("latin-1"), r"is not UTF-8 \(byte \d+ of the line\)"),
    "UTF-16": (GOOD.decode().encode("utf-16")[:-1], r"is not UTF-8 \(byte 1"),
    "cut in a letter": (asks('"caf\xc3"').replace(b"\xc3\x83", b"\xc3"), "is not UTF-8"),
    "gzip": (b"\x1f\x8b\x08\x00\x00", "is not UTF-8"),
    "a pickle": (b"\x80\x04K\x01.", "is not UTF-8"),
    "BOM in the middle": (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
    "key twice": (b'{"messages": [], ' + GOOD[1:], "has the key 'messages' twice"),
    "role twice": (row('{"role": "user", "role": "user", "content": "x"}', "REPLY"), "has the key 'role' twice"),
    "half a key twice": (b'{"\\ud800": 1, "\\ud800": 2}', r"has the key '\\\\?ud800' twice"),
    "NUL in content": (asks('"a\\u0000b"'), r"holds a NUL character in 'content'"),
    "NUL in a tag": (row(USER, "REPLY", fields='"category": "a\\u0000", '), "NUL character in 'category'"),
    "high surrogate": (asks('"\\ud800"'), r"half of a surrogate pair \(character 1\) in 'content'"),
    "low surrogate": (asks('"ab\\udfff"'), r"half of a surrogate pair \(character 3\)"),
    "pair in the wrong order": (asks('"\\ude00\\ud83d"'), "half of a surrogate pair"),
    "surrogate as key": (b'{"\\ud800": 1, ' + GOOD[1:], "half of a surrogate pair .* in a key"),
    "surrogate in a tag": (row(USER, "REPLY", fields='"category": "\\ud800", '), "in 'category'"),
    "surrogate in the key field": (row(USER, "REPLY", fields='"key": "\\ud800", '), "in 'key'"),
    "surrogate in an unknown field": (row(USER, "REPLY", fields='"x": [{"y": "\\ud800"}], '), "in 'y'"),
    "a list": (b"[]", "holds a list; an object is expected"),
    "a number": (b"12", "holds a number; an object"),
    "a string": (b'"messages"', "holds a string; an object"),
    "null": (b"null", "holds null; an object"),
    "true": (b"true", "holds true; an object"),
    "no messages": (b"{}", "needs 'messages'"),
    "messages null": (b'{"messages": null}', "'messages' must be a non-empty list"),
    "messages a string": (b'{"messages": "hi"}', "'messages' must be a non-empty list"),
    "messages an object": (b'{"messages": {"role": "user"}}', "'messages' must be a non-empty list"),
    "messages empty": (b'{"messages": []}', "'messages' must be a non-empty list"),
    "message a number": (row("1"), r"messages\[0\] must be an object"),
    "message null": (row(USER, "null"), r"messages\[1\] must be an object"),
    "no role": (row('{"content": "x"}', "REPLY"), r"messages\[0\] must be an object with the strings"),
    "no content": (row('{"role": "user"}', "REPLY"), r"messages\[0\] must be an object with the strings"),
    "role a number": (row('{"role": 1, "content": "x"}', "REPLY"), r"messages\[0\] must be an object"),
    "content null": (row('{"role": "user", "content": null}', "REPLY"), r"messages\[0\] must be an object"),
    "content in parts": (asks('[{"type": "text", "text": "x"}]'), r"messages\[0\] must be an object"),
    "unknown role": (row('{"role": "tool", "content": "x"}', "REPLY"), r"messages\[0\] has the role 'tool'; known"),
    "role in capitals": (row('{"role": "User", "content": "x"}', "REPLY"), "has the role 'User'"),
    "role that colours the terminal": (row('{"role": "\\u001b[31m", "content": "x"}'), r"has the role '\\x1b\[31m'"),
    "role of a megabyte": (row('{"role": "' + "r" * 1_000_000 + '", "content": "x"}'), "has the role 'rrr"),
    "system in the middle": (row(USER, '{"role": "system", "content": "x"}'), r"messages\[1\]: a system message"),
    "system alone": (row('{"role": "system", "content": "x"}'), "must end with the (assistant|user)"),
    "two user turns": (row(USER, USER, "REPLY"), r"messages\[1\]: two user turns follow each other"),
    "empty question": (asks('""'), r"messages\[0\]: the user turn is empty"),
    "blank question": (asks('" \\n\\t"'), r"messages\[0\]: the user turn is empty"),
    "category a number": (row(USER, "REPLY", fields='"category": 5, '), "'category' must be a string, not a number"),
    "stage a list": (row(USER, "REPLY", fields='"stage": [], '), "'stage' must be a string, not a list"),
    "knowledge true": (row(USER, "REPLY", fields='"knowledge": true, '), "'knowledge' must be a string, not true"),
    "id true": (row(USER, "REPLY", fields='"id": true, '), "'id' must be a string, not true"),
    "key an object": (row(USER, "REPLY", fields='"key": {}, '), "'key' must be a string, not an object"),
    "style a number": (row(USER, "REPLY", fields='"answer_style": 1.5, '), "'answer_style' must be a string"),
    "user a number": (b'{"user": 1, "assistant": "x"}', "needs 'messages'"),
    "prompt a list": (b'{"prompt": [{"role": "user", "content": "x"}], "completion": []}', "needs 'messages'"),
}  # fmt: skip
CHAT_ONLY: dict[str, tuple[bytes, str]] = {
    "no reply": (row(USER), "a chat row must end with the assistant, this one ends with the user"),
    "no question": (row("REPLY"), "holds a reply and no question"),
    "system and reply": (row('{"role": "system", "content": "x"}', "REPLY"), "holds a reply and no question"),
    "two replies": (row(USER, "REPLY", "REPLY"), "two assistant turns follow each other"),
    "empty reply": (row(USER, '{"role": "assistant", "content": ""}'), r"messages\[1\]: the assistant turn is empty"),
    "blank reply": (row(USER, '{"role": "assistant", "content": " \\n"}'), "the assistant turn is empty"),
    "user without assistant": (b'{"user": "x"}', "has 'user' but no text in 'assistant'"),
    "prompt with null": (b'{"prompt": "x", "completion": null}', "has 'prompt' but no text in 'completion'"),
}
EVAL_ONLY: dict[str, tuple[bytes, str]] = {
    "ends with a reply": (row(USER, REPLY), "must end with the user, this one ends with the assistant"),
    "no check": (row(USER).replace(b'"answer": "4", ', b""), "an eval row needs at least one check"),
    "answer null": (row(USER).replace(b'"4"', b"null"), "an eval row needs at least one check"),
    "must_include empty": (row(USER).replace(b'"answer": "4"', b'"must_include": []'), "needs at least one check"),
    "no group to include": (row(USER).replace(b'"answer": "4"', b'"must_include_any": []'), "needs at least one check"),
    "answer a number": (row(USER).replace(b'"4"', b"4"), "'answer' must be a string, not a number"),
    "must_include a string": (row(USER, fields='"must_include": "x", '), "'must_include' must be a list of strings"),
    "must_not_include of numbers": (row(USER, fields='"must_not_include": [1], '), "'must_not_include' must be a list"),
    "must_include_any mixed": (row(USER, fields='"must_include_any": [["a"], "b"], '), "'must_include_any' must be"),
    "max_words a string": (row(USER, fields='"max_words": "5", '), "'max_words' must be a whole number from 1"),
    "max_words below 1": (row(USER, fields='"max_words": -5, '), "'max_words' must be a whole number from 1"),
    "max_words true": (row(USER, fields='"max_words": true, '), "'max_words' must be a whole number from 1"),
    "answerable a string": (row(USER, fields='"answerable": "no", '), "'answerable' must be true or false"),
    "choice without labels": (row(USER, fields='"correct_choice": "A", '), "'correct_choice' must be one of"),
    "choice not a label": (row(USER, fields='"correct_choice": "C", "choice_labels": ["A", "B"], '), "must be one of"),
    "labels twice": (row(USER, fields='"correct_choice": "A", "choice_labels": ["A", "A"], '), "two different"),
}  # fmt: skip


REST = ["--input", "rows.jsonl", "--checkpoint", "nowhere", "--out-dir", "out"]


def chat(line: bytes) -> bytes:
    return line.replace(b"REPLY", REPLY.encode())


def question(line: bytes) -> bytes:
    return line.replace(b", REPLY", b"").replace(b"REPLY", USER.encode())


@pytest.mark.parametrize("case", [*BROKEN, *CHAT_ONLY])
def test_a_broken_chat_row_is_refused_by_sft_fit(case: str, refused: Refused) -> None:
    line, says = {**BROKEN, **CHAT_ONLY}[case]
    write("rows.jsonl", chat(GOOD), chat(line))
    refused(
        *["eval", "sft-fit", "--input", "rows.jsonl", "--checkpoint", "nowhere", "--out-dir", "out"],
        says=f"rows.jsonl:2: .*{says}",
    )


TRAIN = ["train", "sft", "--input", "rows.jsonl", "--checkpoint", "nowhere", "--out-dir", "out", "--steps", "1"]


@pytest.mark.parametrize("case", [*BROKEN, *CHAT_ONLY])
def test_a_broken_chat_row_is_refused_by_train_sft(case: str, refused: Refused) -> None:
    line, says = {**BROKEN, **CHAT_ONLY}[case]
    write("rows.jsonl", chat(GOOD), chat(line))
    refused(*TRAIN, says=f"rows.jsonl:2: .*{says}")


def test_a_broken_row_is_refused_before_torch_is_imported(refused: Refused) -> None:
    write("good.jsonl", chat(GOOD), chat(GOOD))
    write("rows.jsonl", question(GOOD), b"{")
    look = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); from picochat.cli import main"
    for words in (TRAIN, [*TRAIN, "--input", "good.jsonl", "--eval-input", "rows.jsonl"]):
        done = subprocess.run([sys.executable, "-c", f"{look}; main({words})"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "False\n"), done.stderr
        assert "rows.jsonl:" in done.stderr


@pytest.mark.parametrize("case", [*BROKEN, *EVAL_ONLY])
def test_a_broken_eval_row_is_refused_by_eval_chat(case: str, refused: Refused) -> None:
    line, says = {**BROKEN, **EVAL_ONLY}[case]
    write("rows.jsonl", question(GOOD), question(line))
    refused(
        *["eval", "chat", "--input", "rows.jsonl", "--checkpoint", "nowhere", "--out-dir", "out"],
        says=f"rows.jsonl:2: .*{says}",
    )


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_is_counted_and_named_by_inspect(case: str, refused: Refused) -> None:
    line, says = BROKEN[case]
    write("rows.jsonl", chat(GOOD), chat(line))
    refused("data", "inspect", "rows.jsonl", says=f"lines are bad, the first is line 2: .*{says}")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n\t\r\n"])
@pytest.mark.parametrize("command", ["data inspect", "eval sft-fit", "eval chat"])
def test_a_file_without_rows_is_refused(content: bytes, command: str, refused: Refused) -> None:
    write("rows.jsonl", content)
    rest = (
        ["rows.jsonl"]
        if "inspect" in command
        else ["--input", "rows.jsonl", "--checkpoint", "nowhere", "--out-dir", "out"]
    )
    refused(*command.split(), *rest, says="rows.jsonl: holds no rows")


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_bom_at_the_start_crlf_and_blank_lines_are_understood(
    ending: bytes, start: bytes, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    write("rows.jsonl", start + (chat(GOOD) + ending + ending) * 3)
    main(["data", "inspect", "rows.jsonl"])
    assert "3 rows in" in capsys.readouterr().out


def write(name: str, *lines: bytes) -> None:
    Path(name).write_bytes(b"\n".join(lines) + b"\n" if len(lines) > 1 else lines[0])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["messages", "role", "content", "user", "prompt", "id", "answer"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_a_line_holds_it_is_a_row_or_a_fault_in_words(line: bytes) -> None:
    for kind in ("chat", "eval"):
        try:
            found = parse_row(line, kind)  # type: ignore[arg-type]
        except ValueError as fault:
            assert str(fault)
        else:
            assert json.loads(json.dumps(found, ensure_ascii=False, allow_nan=False).encode()) == found
