"""Named checks. In: a reply, what the check wants, the row. Out: a `Grade`. Next: evidence.scoring.

    field of a row      check                    what passes
    answer, accept      number where it is one   the value: "$42.00", "#### 42", "\\boxed{42}", "The answer is 42."
                        exact                    the text, but for typography; {case: true} minds capitals
    correct_choice      choice                   the label in a usual wrapping: "(B)", "B. Paris", "Answer: B"
    must_include        includes                 every phrase, as whole words where the script has them
    must_include_any    any_of                   one phrase of each group
    must_not_include    excludes                 none of the phrases
    max_words           max_words                so many words, or characters in Han, kana, Thai, …
    answerable: false   refusal                  a refusal that leaks no answer
    check: {NAME: …}    these, regex, steps, identity, python, an entry point of ``picochat.checks``, or a dotted path

One candidate is graded, never "any number of the reply". `Grade.strict` also asks for the exact form of the answer.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from picochat.errors import UserError
from picochat.evidence.answers import (
    LAST,
    final_answer,
    marked,
    other_readings,
    plain_answer,
    same_number,
    same_text,
    steps_correct,
)
from picochat.evidence.refusals import READ, declines, is_english, is_somebody_else, leaks_an_answer
from picochat.evidence.texts import bare, fold, includes, normalise, units
from picochat.packs.rows import Row, prompt_text
from picochat.plugins import load_named

_LIMITS = """import resource
for what, most in ((resource.RLIMIT_CPU, 10), (resource.RLIMIT_AS, 2**30), (resource.RLIMIT_FSIZE, 0)):
    resource.setrlimit(what, (most, most))
"""
_CODE = re.compile(r"```(?:python|py)?\n(.*?)(?:```|\Z)", re.DOTALL)


class Grade(NamedTuple):
    """What a check says of a reply.

    Args:
        passed: what is meant is right.
        strict: its form is the one asked for as well; never without `passed`.
        candidate: the part of the reply that was compared, where there is one.
        reason: why it failed, where that is not the check's own reason.
    """

    passed: bool
    strict: bool = True
    candidate: str | None = None
    reason: str | None = None


Check = Callable[[str, Any, Row], "Grade | bool"]


def exact(reply: str, wanted: Any, row: Row) -> Grade:
    """The text of the answer, or of one that is accepted; `{case: true}` minds capitals."""
    case = isinstance(wanted, Mapping) and bool(wanted.get("case"))
    return _graded(reply, wanted, row, lambda said, answer, alone: same_text(said, answer, alone, case))


def number(reply: str, wanted: Any, row: Row) -> Grade:
    """The value of the answer."""
    return _graded(reply, wanted, row, same_number)


def answer(reply: str, wanted: Any, row: Row) -> Grade:
    """`number` where the answer is one, and `exact`: what a row without a named check gets."""
    return _graded(reply, wanted, row, lambda *texts: same_text(*texts) or same_number(*texts))


def choice(reply: str, wanted: Any, row: Row) -> Grade:
    """The label of the right choice, and no other."""
    said, labels = (
        fold(plain_answer(reply).strip().partition("\n")[0]),
        "|".join(map(re.escape, map(fold, row["choice_labels"]))),
    )
    more = (
        r"\W? ?[)\].:}>】*]+(?: .*)?|,? (?!and\b|or\b)- .*|, (?!and\b|or\b)[a-z]{2,}.*| is (?:correct|right|the .*)\.?"
    )
    found = re.fullmatch(rf"(?:(?:option|choice) )?[*(\[<{{【\"' ]*({labels})(?:{more})?", said) or re.fullmatch(
        rf"({labels})", bare(said)
    )
    label = found[1] if found else bare(said)
    right = label == fold(row["correct_choice"])
    return Grade(right, right and normalise(reply) == normalise(row["correct_choice"]), label)


def any_of(reply: str, wanted: Sequence[Any], row: Row) -> Grade:
    """One phrase, or one of each group where there are groups."""
    groups = [wanted] if isinstance(wanted[0], str) else wanted
    return _has(reply, groups)


def contains(reply: str, wanted: Sequence[str], row: Row) -> Grade:
    """Every phrase."""
    return _has(reply, [[phrase] for phrase in wanted])


def excludes(reply: str, wanted: Sequence[str], row: Row) -> Grade:
    """No phrase."""
    return Grade(not _has(reply, [wanted]).passed)


def max_words(reply: str, wanted: int, row: Row) -> Grade:
    """At most so many words."""
    return Grade(sum(re.search(r"\w", unit) is not None for unit in units(reply)) <= wanted)


def regex(reply: str, wanted: str, row: Row) -> Grade:
    """A regular expression matches somewhere (in the first `READ` characters)."""
    return Grade(re.search(wanted, reply[:READ]) is not None)


def steps(reply: str, wanted: float, row: Row) -> Grade:
    """At least this share of the row's own steps is right, line by line; true: all."""
    return Grade(steps_correct(row.get("steps") or [], reply) >= float(wanted))


def refusal(reply: str, wanted: bool, row: Row) -> Grade:
    """The speaker declines, and leaks no answer."""
    return _of_english(reply, declines(reply) and not leaks_an_answer(reply, prompt_text(row)))


def identity(reply: str, wanted: str, row: Row) -> Grade:
    """The speaker is nobody but the one of this name."""
    return _of_english(reply, not is_somebody_else(reply, wanted))


def python(reply: str, wanted: str, row: Row) -> Grade:
    """The reply's code (its first block of code, or all of it) passes these tests, in a process of its own."""
    if os.environ.get("PICOCHAT_RUN_CODE") != "1":
        raise UserError("the check `python` runs code of the model; set PICOCHAT_RUN_CODE=1 where that is safe")
    found, done = _CODE.search(reply), secrets.token_hex()  # which code that ends itself early does not print
    code = "\n".join([_LIMITS, found[1] if found else reply, wanted, f"print({done!r})"])
    try:
        ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, timeout=20, env={}, input=b"")
    except (subprocess.TimeoutExpired, ValueError):
        return Grade(False)
    return Grade(ran.stdout.decode("utf-8", "replace").endswith(f"{done}\n"))


CHECKS: Mapping[str, tuple[Check, str]] = {  # name → function, and the reason that it gives
    "answer": (answer, "wrong_answer"),
    "exact": (exact, "wrong_answer"),
    "number": (number, "wrong_answer"),
    "choice": (choice, "wrong_choice"),
    "includes": (contains, "missing_required"),
    "any_of": (any_of, "missing_required"),
    "includes_any": (any_of, "missing_required"),
    "excludes": (excludes, "forbidden_phrase"),
    "max_words": (max_words, "length"),
    "regex": (regex, "wrong_form"),
    "steps": (steps, "wrong_form"),
    "refusal": (refusal, "unsupported_claim"),
    "identity": (identity, "wrong_identity"),
    "python": (python, "wrong_form"),
}


def grade(name: str, reply: str, wanted: Any, row: Row) -> Grade:
    """What the check of this name says; its `reason` is set where it fails.

    Raises:
        UserError: there is no such check.
    """
    check, reason = _load(name)
    found = check(reply, wanted, row)
    found = found if isinstance(found, Grade) else Grade(bool(found))
    return found if found.passed else found._replace(strict=False, reason=found.reason or reason)


@cache
def _load(name: str) -> tuple[Check, str]:
    return CHECKS[name] if name in CHECKS else (load_named(name, "picochat.checks", "check"), name)


def accepted(row: Row) -> list[str]:
    """The row's answer, and what is accepted in its place."""
    return [text for text in (row.get("answer"), *row.get("accept", [])) if text is not None]


def _graded(reply: str, wanted: Any, row: Row, same: Callable[[str, str, bool], bool]) -> Grade:
    answers = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else accepted(row)
    style, final = row.get("answer_style"), final_answer(reply)
    direct = style == "direct"
    ways: list[str] = [reply]  # "direct": nothing but the answer
    exactly: str | None = reply
    if not direct and (style == "scratchpad" or row.get("steps")):
        said, exactly = marked(reply, LAST), final
        if said is None:
            return Grade(False, reason="no_final_answer")
        ways = [said]
    elif not direct:  # the row does not say; any form is understood
        said, exactly = plain_answer(reply), final or reply
        ways = [said, *other_readings(said, reply)]
    passed = any(same(way, answer, direct) for way in ways if way for answer in answers)
    strict = exactly is not None and any(normalise(exactly) == normalise(answer) for answer in answers)
    return Grade(passed, passed and strict, ways[0] if exactly is None else exactly)


def _of_english(reply: str, passed: bool) -> Grade:
    return Grade(passed) if is_english(reply) else Grade(True, False, reason="not_judged")


def _has(reply: str, groups: Sequence[Sequence[str]]) -> Grade:
    text = fold(reply)
    return Grade(all(any(includes(text, fold(phrase)) for phrase in group) for group in groups))
