"""Named checks. In: a reply, what the check wants, the row. Out: a `Grade`. Next: evidence.scoring.

`CHECKS` has ours by name; another is an entry point of ``picochat.checks``, or a dotted path. One candidate is graded,
never "any number of the reply". `Grade.strict` also asks for the exact form of the answer.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from picochat.errors import UserError
from picochat.evidence import texts
from picochat.evidence.habits import READ, declines, is_english, is_somebody_else, leaks_an_answer
from picochat.evidence.texts import bare, fold, includes, normalise, same_number, same_text, steps_correct, units
from picochat.packs.rows import Row, prompt_text
from picochat.plugins import load_named

_LIMITS = """import resource
for what, most in ((resource.RLIMIT_CPU, 10), (resource.RLIMIT_AS, 2**30), (resource.RLIMIT_FSIZE, 0)):
    resource.setrlimit(what, (most, most))
"""
_CODE = re.compile(r"```(?:python|py)?\n(.*?)(?:```|\Z)", re.DOTALL)
_AFTER_LABEL = (
    r"\W? ?[)\].:}>】*]+(?: .*)?|,? (?!and\b|or\b)- .*|, (?!and\b|or\b)[a-z]{2,}.*| is (?:correct|right|the .*)\.?"
)


class Grade(NamedTuple):
    """What a check says of a reply."""

    passed: bool  # what is meant is right
    strict: bool = True  # its form is the one asked for as well; never without `passed`
    candidate: str | None = None  # the part of the reply that was compared, where there is one
    reason: str | None = None  # why it failed, where that is not the check's own reason


Check = Callable[[str, Any, Row], "Grade | bool"]


def grade(name: str, reply: str, wanted: Any, row: Row) -> Grade:
    """What the check of this name says; its `reason` is set where it fails. UserError: there is no such check."""
    check, reason = CHECKS.get(name) or (_load(name, "picochat.checks", "check"), name)
    found = check(reply, wanted, row)
    found = found if isinstance(found, Grade) else Grade(bool(found))
    return found if found.passed else found._replace(strict=False, reason=found.reason or reason)


_load = cache(load_named)


def accepted(row: Row) -> list[str]:
    """The row's answer, and what is accepted in its place."""
    return [text for text in (row.get("answer"), *row.get("accept", [])) if text is not None]


def _exact(reply: str, wanted: Any, row: Row) -> Grade:
    case = isinstance(wanted, Mapping) and bool(wanted.get("case"))
    return _compare(reply, wanted, row, partial(same_text, case=case))


def _answer(reply: str, wanted: Any, row: Row) -> Grade:
    return _compare(reply, wanted, row, lambda *both: same_text(*both) or same_number(*both))


def _compare(reply: str, wanted: Any, row: Row, same: Callable[[str, str, bool], bool]) -> Grade:
    """The one candidate of the reply, in the row's answer style, against the answers."""
    right = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else accepted(row)
    style, exactly = row.get("answer_style"), texts.final_answer(reply)
    if style == "direct":  # nothing but the answer
        candidates, exactly = [reply], reply
    elif style == "scratchpad" or row.get("steps"):
        said = texts.marked(reply, "last_mark")
        if said is None:
            return Grade(False, reason="no_final_answer")
        candidates = [said]
    else:  # the row does not say; any form is understood
        said = texts.plain_answer(reply)
        candidates, exactly = [said, *texts.other_readings(said, reply)], exactly or reply
    passed = any(same(one, answer, style == "direct") for one in candidates if one for answer in right)
    strict = exactly is not None and any(normalise(exactly) == normalise(answer) for answer in right)
    return Grade(passed, passed and strict, candidates[0] if exactly is None else exactly)


def _choice(reply: str, wanted: Any, row: Row) -> Grade:
    """The label of the right choice, and no other."""
    said = fold(texts.plain_answer(reply).strip().partition("\n")[0])
    labels = "|".join(re.escape(fold(label)) for label in row["choice_labels"])
    wrapped = rf"(?:(?:option|choice) )?[*(\[<{{【\"' ]*({labels})(?:{_AFTER_LABEL})?"
    found = re.fullmatch(wrapped, said) or re.fullmatch(rf"({labels})", bare(said))
    label = found[1] if found else bare(said)
    right = label == fold(row["correct_choice"])
    return Grade(right, right and normalise(reply) == normalise(row["correct_choice"]), label)


def _has(reply: str, groups: Sequence[Sequence[str]]) -> bool:
    """Whether one phrase of each group occurs."""
    text = fold(reply)
    return all(any(includes(text, fold(phrase)) for phrase in group) for group in groups)


def _any_of(reply: str, wanted: Sequence[Any], row: Row) -> bool:
    return _has(reply, [wanted] if isinstance(wanted[0], str) else wanted)


def _refusal(reply: str, wanted: bool, row: Row) -> Grade:
    return _of_english(reply, declines(reply) and not leaks_an_answer(reply, prompt_text(row)))


def _of_english(reply: str, passed: bool) -> Grade:
    return Grade(passed) if is_english(reply) else Grade(True, False, reason="not_judged")


def _python(reply: str, wanted: str, row: Row) -> bool:
    """The reply's code (its first block of code, or all of it) passes these tests, in a process of its own."""
    if os.environ.get("PICOCHAT_RUN_CODE") != "1":
        raise UserError("the check `python` runs code of the model; set PICOCHAT_RUN_CODE=1 where that is safe")
    found, done = _CODE.search(reply), secrets.token_hex()  # which code that ends itself early does not print
    code = "\n".join([_LIMITS, found[1] if found else reply, wanted, f"print({done!r})"])
    try:
        ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, timeout=20, env={}, input=b"")
    except (subprocess.TimeoutExpired, ValueError):
        return False
    return ran.stdout.decode("utf-8", "replace").endswith(f"{done}\n")


CHECKS: Mapping[str, tuple[Check, str]] = {  # name → function, and the reason that it gives
    # the number where the answer is one ("$42.00", "#### 42", "\\boxed{42}", "The answer is 42."), or the text
    "answer": (_answer, "wrong_answer"),
    # the text, but for typography; {case: true} minds capitals
    "exact": (_exact, "wrong_answer"),
    "number": (lambda reply, wanted, row: _compare(reply, wanted, row, same_number), "wrong_answer"),
    # the label in a usual wrapping: "(B)", "B. Paris", "Answer: B"
    "choice": (_choice, "wrong_choice"),
    # phrases, as whole words where the script has them: all, one (of each group), none
    "includes": (lambda reply, wanted, row: _has(reply, [[phrase] for phrase in wanted]), "missing_required"),
    "any_of": (_any_of, "missing_required"),
    "includes_any": (_any_of, "missing_required"),
    "excludes": (lambda reply, wanted, row: not _has(reply, [wanted]), "forbidden_phrase"),
    # words, or characters in Han, kana, Thai, …
    "max_words": (lambda reply, wanted, row: sum(bool(re.search(r"\w", x)) for x in units(reply)) <= wanted, "length"),
    "regex": (lambda reply, wanted, row: re.search(wanted, reply[:READ]) is not None, "wrong_form"),
    # at least this share of the row's own steps is right, line by line
    "steps": (lambda reply, wanted, row: steps_correct(row.get("steps", []), reply) >= float(wanted), "wrong_form"),
    # the speaker declines, and leaks no answer
    "refusal": (_refusal, "unsupported_claim"),
    # the speaker is nobody but the one of this name
    "identity": (lambda reply, name, row: _of_english(reply, not is_somebody_else(reply, name)), "wrong_identity"),
    # the reply's code passes these tests
    "python": (_python, "wrong_form"),
}
