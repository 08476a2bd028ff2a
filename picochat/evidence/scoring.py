"""Verdicts. In: an eval row and one reply. Out: `Verdict(passed, reasons, …)`. Next: evidence.lanes counts.

    row                       reply                              verdict
    answer "42", direct       "42."                              passed
    answer "42", direct       "15 and 42"                        wrong_answer (one candidate, never "any")
    answer "42", scratchpad   "7 + 5 = 12 …\\nFinal answer: 42"   passed
    answer "42", scratchpad   "It is 42."                        no_final_answer
    answerable false          "I can't see the weather."         passed
    answerable false          "I can't, but it is sunny."        unsupported_claim
    answerable true           "I don't know."                    over_refusal
    any                       "42<|user|>And"                    prompt_echo (judged on the raw reply)

A reply passes when there is no reason against it. Steps of a scratchpad are checked line by line and reported beside
the verdict: a wrong step with a right result passes, with `steps_correct` below 1. What the row's own reply does (the
working of "27+15" begins with "27+15") is no fault.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from picochat.evidence.refusals import claims_ability, leaks_an_answer, opens_with_refusal, plain, refuses
from picochat.packs.rows import Row, prompt_text

REASONS = {
    "wrong_answer": "the answer is not the expected one",
    "missing_required": "a required word or phrase is missing",
    "forbidden_phrase": "a forbidden word or phrase occurs",
    "prompt_echo": "a role token, a new user turn, or the prompt repeated",
    "unsupported_claim": "an unanswerable question was answered, or an ability was asserted that is not there",
    "over_refusal": "an answerable question was refused",
    "length": "too many words, or cut off before its end",
    "no_final_answer": "a scratchpad without a 'Final answer:' line",
    "repetition": "stuck in a loop",
    "empty": "nothing was said",
    "wrong_choice": "another choice was more likely",
}
ECHO_TOKENS = 8  # words or signs of the prompt, repeated at the start of the reply, that make an echo

_FINAL = re.compile(r"final answer\s*:", re.IGNORECASE)
_ROLE = re.compile(r"<\|(?:user|assistant|system|bos|im_start)\|>|^\s*(?:user|human|assistant|system)\s*:", re.I | re.M)
_WORDS = re.compile(r"[^\W_]+|[^\w\s]|_")


@dataclass(frozen=True)
class Verdict:
    """What one reply is worth.

    Attributes:
        passed: no reason speaks against it.
        reasons: keys of `REASONS`, in that order.
        candidate: the text that was compared with the answer (or the chosen label), None where nothing was.
        steps_correct: share of the scratchpad's lines that are right, None where the row lists no steps.
    """

    passed: bool
    reasons: tuple[str, ...]
    candidate: str | None = None
    steps_correct: float | None = None


def score(row: Row, reply: str, *, raw: str | None = None, finished: bool = True) -> Verdict:
    """Judge one generated reply.

    Args:
        row: a validated eval row.
        reply: the visible text.
        raw: the continuation with its special tokens, on which echo is judged; the reply where it is None.
        finished: whether the model ended its turn by itself; a reply cut off at the limit fails by `length`.
    """
    own = "\n".join([*row.get("steps", []), str(row.get("reference") or row.get("answer") or "")])
    candidate, reasons = (None, {"empty"}) if not reply.strip() else _check_content(row, reply)
    if reply.strip():
        reasons |= _check_boundaries(row, reply, content_is_right=not reasons)
    if echoes(prompt_text(row), reply if raw is None else raw, own):
        reasons.add("prompt_echo")
    if not finished or ("max_words" in row and len(reply.split()) > row["max_words"]):
        reasons.add("length")
    if is_looping(reply) and not is_looping(own):
        reasons.add("repetition")
    steps = steps_correct(row["steps"], reply) if row.get("steps") else None
    return Verdict(not reasons, tuple(reason for reason in REASONS if reason in reasons), candidate, steps)


def score_choice(row: Row, scores: Sequence[float]) -> Verdict:
    """Judge a multiple-choice row by the log-likelihoods (finite) of its labels; the first of equals is chosen."""
    labels = row["choice_labels"]
    chosen = labels[max(range(len(labels)), key=lambda index: scores[index])]
    right = chosen == row["correct_choice"]
    return Verdict(passed=right, reasons=() if right else ("wrong_choice",), candidate=chosen)


def is_choice(row: Row) -> bool:
    """Whether the row is scored by label likelihood instead of by a generated reply."""
    return "correct_choice" in row


def check_row(row: Row) -> None:
    """Raise ValueError, in words that continue "FILE:LINE: ", when a check of the row cannot be applied."""
    for field in ("accept", "must_include", "must_not_include", "steps", "choice_labels"):
        if field in row and not _is_texts(row[field]):
            raise ValueError(f"'{field}' must be a list of strings")
    groups = row.get("must_include_any", [])
    if not isinstance(groups, list) or not (all(map(_is_texts, groups)) or _is_texts(groups)):
        raise ValueError("'must_include_any' must be a list of groups, each a list of strings")
    for field in ("must_include", "must_not_include", "must_include_any"):
        phrases = [phrase for part in row.get(field, []) for phrase in ([part] if isinstance(part, str) else part)]
        if not all(phrase.strip() for phrase in phrases):
            raise ValueError(f"'{field}' holds an empty phrase, which is in every reply")
    if is_choice(row):
        labels = row.get("choice_labels")
        if not labels or len(set(labels)) < max(2, len(labels)) or row["correct_choice"] not in labels:
            raise ValueError("'correct_choice' must be one of at least two different 'choice_labels'")
    if "max_words" in row and (type(row["max_words"]) is not int or row["max_words"] < 1):
        raise ValueError("'max_words' must be a whole number from 1")
    if "answerable" in row and not isinstance(row["answerable"], bool):
        raise ValueError("'answerable' must be true or false")


def normalise(text: str) -> str:
    """The form in which answers are compared: NFKC, case-folded, single spaces, no quotes around, no full stop.

    >>> normalise(' **"1,234."** ')
    '1234'
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("\u2212", "-")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return " ".join(text.split()).lstrip(" \"'`*“”‘’").rstrip(" \"'`*“”‘’.!")


def final_answer(reply: str) -> str | None:
    """The text behind the last "Final answer:", or None."""
    matches = list(_FINAL.finditer(reply))
    return reply[matches[-1].end() :].strip() if matches else None


def steps_correct(steps: Sequence[str], reply: str) -> float:
    """Share of lines that are right: line i against step i; missing and surplus lines count as wrong.

    steps ["7 + 5 = 12", "2 + 1 + 1 = 4"] against "7 + 5 = 12\\n2 + 1 = 3\\nFinal answer: 42" give 1/2.
    """
    matches = list(_FINAL.finditer(reply))
    work = reply[: matches[-1].start()] if matches else reply
    lines = [normalise(line) for line in work.splitlines() if line.strip()]
    wanted = [normalise(line) for step in steps for line in step.splitlines() if line.strip()]
    right = sum(line == step for line, step in zip(lines, wanted, strict=False))
    return right / max(len(lines), len(wanted), 1)


def echoes(prompt: str, raw: str, own: str = "") -> bool:
    """Whether a raw continuation repeats the prompt or plays another turn.

    A role token anywhere, a line that opens a turn ("User:"), a run of `ECHO_TOKENS` prompt tokens at the start, or the
    whole prompt (three tokens or more) at the start of any line. Tokens are words, numbers and signs, so the judgement
    does not depend on a vocabulary. What the row's own reply does, be it a turn or a repetition, is none.
    """
    plays_a_turn = _ROLE.search(raw) and not _ROLE.search(own)
    return bool(plays_a_turn) or (_repeats(prompt, raw) and not _repeats(prompt, own))


def _repeats(prompt: str, raw: str) -> bool:
    asked, said = _tokens(prompt), _tokens(raw)
    opening = said[:ECHO_TOKENS]
    if len(opening) == ECHO_TOKENS and any(
        asked[start : start + ECHO_TOKENS] == opening for start in range(len(asked) - ECHO_TOKENS + 1)
    ):
        return True
    return len(asked) >= 3 and any(_tokens(line)[: len(asked)] == asked for line in raw.splitlines())


def is_looping(reply: str) -> bool:
    """Whether a unit of 1 to 20 words comes at least four times in a row and fills at least 12 words, or signs run on.

    >>> is_looping("and then " * 6), is_looping("a b a b"), is_looping("7 + 7 = 14 14 + 7 = 21 21 + 7 = 28")
    (True, False, False)
    """
    words = reply.split()
    for period in range(1, 21):
        run = 0
        for index in range(period, len(words)):
            run = run + 1 if words[index] == words[index - period] else 0
            if run + period >= max(12, 4 * period):
                return True
    return any(re.search(rf"(\S{{{size}}})\1{{11,}}", reply) for size in range(1, 5))


def includes(reply: str, phrase: str) -> bool:
    """Whether a phrase occurs, whatever the case, on word boundaries: "cat" is not in "concatenate"."""
    pattern = r"\s+".join(re.escape(word) for word in plain(phrase).split())
    return re.search(rf"(?<!\w){pattern}(?!\w)", plain(reply)) is not None


def _check_content(row: Row, reply: str) -> tuple[str | None, set[str]]:
    reasons: set[str] = set()
    candidate = None
    if row.get("answer") is not None and row.get("answerable") is not False:
        candidate = _candidate(row, reply)
        if candidate is None:
            reasons.add("no_final_answer")
        elif normalise(candidate) not in map(normalise, [row["answer"], *row.get("accept", [])]):
            reasons.add("wrong_answer")
    groups = row.get("must_include_any", [])
    if groups and isinstance(groups[0], str):
        groups = [groups]
    required = [[phrase] for phrase in row.get("must_include", [])] + groups
    if not all(any(includes(reply, phrase) for phrase in group) for group in required):
        reasons.add("missing_required")
    if any(includes(reply, phrase) for phrase in row.get("must_not_include", [])):
        reasons.add("forbidden_phrase")
    return candidate, reasons


def _candidate(row: Row, reply: str) -> str | None:
    style = row.get("answer_style")
    if style == "direct":
        return reply
    behind = final_answer(reply)
    if behind is None and style != "scratchpad" and not row.get("steps"):
        return reply  # the row does not say; both forms are understood
    return behind


def _check_boundaries(row: Row, reply: str, *, content_is_right: bool) -> set[str]:
    reference = row.get("reference") or ""
    prompt = prompt_text(row)
    reasons: set[str] = set()
    if row.get("answerable") is False:
        if not refuses(reply) or leaks_an_answer(reply, prompt):
            reasons.add("unsupported_claim")
    # A right answer may mention a limit in passing ("I am Picochat; I cannot browse"), it may not open with one.
    elif (
        refuses(reply)
        and not refuses(reference)
        and (not content_is_right or (row.get("answerable") is True and opens_with_refusal(reply, prompt)))
    ):
        reasons.add("over_refusal")
    skills_too = row.get("mixture_profile") == "release"
    if claims_ability(reply, skills_too=skills_too) and not claims_ability(reference, skills_too=skills_too):
        reasons.add("unsupported_claim")
    return reasons


def _tokens(text: str) -> list[str]:
    return _WORDS.findall(plain(text))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
