"""The law (no rule fires on a row's own answer), checks by name, and rules that are linear in the reply."""

import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from students import ask

from picochat.errors import UserError
from picochat.evidence.checks import CHECKS, grade
from picochat.evidence.scoring import Rules, score
from picochat.evidence.texts import readings, value
from picochat.packs import rows
from picochat.packs.rows import Row, check_row, validate_row

WORDS = st.sampled_from(["I can browse the web.", "I don't know.", "User: hi", "42", "北京", "la la la", "नहीं।"])
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=20)), min_size=1, max_size=16).map(" ".join).filter(str.strip)
CHECKED = st.fixed_dictionaries(
    {},
    optional={
        "answer_style": st.sampled_from(["direct", "scratchpad"]),
        "answerable": st.booleans(),
        "max_words": st.just(1),
        "must_include": st.just(["nowhere"]),
        "must_not_include": st.just(["ChatGPT", "北京", "42"]),
        "steps": st.just(["1 + 1 = 2"]),
        "mixture_profile": st.sampled_from(["release", "capability"]),
        "category": st.just("identity"),
        "check": st.sampled_from([{"number": True}, {"regex": "^x$"}, {"identity": "picochat"}, {"steps": True}]),
    },
)


@given(TEXTS, st.lists(TEXTS, max_size=2), TEXTS, CHECKED)
def test_no_rule_fires_on_the_rows_own_answers(answer: str, accept: list[str], reference: str, checks: Row) -> None:
    row = ask(f"Say it: {answer} {reference}", answer=answer, accept=accept, reference=reference, **checks)
    for own in (answer, *accept, reference):
        assert score(row, own).reasons == ()
        assert score(row, own, raw=f"{own}<|end|>").signals == ()


@pytest.mark.parametrize("text", [*'\n a7北\u0301²"“,', "\\boxed{", "I can't ", "a\n", ". "])
def test_a_reply_of_a_megabyte_is_judged(text: str) -> None:
    """A rule that is not linear would not end; benchmarks/judge.py states the seconds."""
    row = ask("What is 27 + 15, my friend?", answer="42", must_include=["the cat"], answerable=False, steps=["1"])
    reply = text * (10**6 // len(text))
    assert not score({**row, "check": {"identity": "picochat"}}, reply).passed
    assert not score({**row, "answerable": True}, reply).passed


@pytest.mark.parametrize(
    ("text", "values", "unit"),
    [
        ("$1,234.50", [Fraction(2469, 2)], "$"),
        ("1.234", [Fraction(1234, 1000), 1234], ""),
        ("1.234.567,5", [Fraction(12345675, 10)], ""),
        ("12,34,567", [1234567], ""),
        ("minus 3/4", [Fraction(-3, 4)], ""),
        ("5 million people", [5_000_000], "people"),
        ("seventeen", [17], ""),
        ("2½", [Fraction(5, 2)], ""),
        ("\\frac{3}{4}", [Fraction(3, 4)], ""),
        ("1,000", [1000], ""),
        ("١٬٢٣٤", [1234, Fraction(1234, 1000)], ""),
        ("1.5e3 kg", [1500], "kg"),
        ("2 + 2 = 4", [4], ""),
        *((text, None, "") for text in ("4 2", "12:30", "2⁵", "42 or 43", "1/0", "9" * 50, "twenty one", "4 yes")),
    ],
)
def test_a_text_is_one_number_with_all_its_readings_or_none(
    text: str, values: list[Fraction] | None, unit: str
) -> None:
    assert readings(text) == (None if values is None else (values, unit))


def test_codes_and_factorials_are_no_numbers() -> None:
    assert value("007") is None and value("5!") is None and value("0.5") == (Fraction(1, 2), "")


def test_a_check_of_ones_own_is_found_by_path_and_names_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_checks.py").write_text("def short(reply, wanted, row):\n    return len(reply) <= wanted\n")
    monkeypatch.syspath_prepend(tmp_path)
    row = ask("Be brief.", check={"my_checks.short": 5})
    assert score(row, "Yes.").passed
    assert score(row, "Certainly, of course.").reasons == ("my_checks.short",)
    with pytest.raises(UserError, match=r"cannot load my_checks\.long"):
        grade("my_checks.long", "Yes.", 5, row)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process")
def test_code_of_the_reply_runs_only_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = ask("Write add.", check={"python": "assert add(2, 2) == 4"})
    with pytest.raises(UserError, match="PICOCHAT_RUN_CODE=1"):
        score(row, "def add(a, b): return a + b")
    monkeypatch.setenv("PICOCHAT_RUN_CODE", "1")
    assert score(row, "Here:\n```python\ndef add(a, b):\n    return a + b\n```").passed
    right = "\ndef add(a, b): return a + b"
    writes, much = (
        f"import os\nos.write(os.open({str(tmp_path / 'x')!r}, 65), b'a'){right}",
        f"x = bytearray(2**31){right}",
    )
    for wrong in ("def add(a, b): return a", "import sys; sys.exit(0)", "no code", writes, much):
        assert score(row, wrong).reasons == ("wrong_form",)
    assert (tmp_path / "x").read_bytes() == b""


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ({"nmber": True}, r"unknown check 'nmber' \(did you mean number\?\)"),
        ({"regex": "("}, "'check.regex' is not a regular expression"),
        ({"includes": "a"}, "'check.includes' must be a list of strings"),
        ({"max_words": 0}, "'check.max_words' must be a whole number"),
        ({"choice": True}, "'check.choice' needs 'choice_labels'"),
        (["number"], "'check' must map names"),
        ({"number": 42}, "'check.number' must be true, a text or a list of texts"),
        ({"number": True}, "'check.number' needs 'answer'"),
        ({"exact": {"Case": True}}, "'check.exact' must be true, {case: true}"),
        ({"identity": True}, "'check.identity' must be the name of the model"),
        ({"steps": 2}, "'check.steps' must be a share"),
        ({"python": 5}, "'check.python' must be the code of tests"),
        ({"refusal": "no"}, "'check.refusal' must be true or false"),
        ({"excludes": ["cat", ""]}, "'check.excludes' must be a list of strings, none of them empty"),
    ],
)
def test_a_named_check_that_cannot_be_applied_is_refused_with_the_row(check: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        validate_row(ask("?", check=check), "eval")


def test_a_lanes_check_is_none_for_rows_that_have_not_what_it_needs() -> None:
    lane = Rules(check={"exact": True, "choice": True, "steps": True})
    assert score(ask("Which river?", must_include=["Nile"]), "The Nile.", rules=lane).passed
    assert not score(ask("Which river?", must_include=["Nile"], answer="Nile"), "The Nile?", rules=lane).passed


def test_both_lists_of_checks_are_the_same() -> None:
    assert tuple(CHECKS) == rows.CHECKS
    check_row(ask("?", check={"package.check": True}))
