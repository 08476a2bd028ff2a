"""Verdicts. In: an eval row and one reply. Out: `Verdict(passed, reasons, …)`. Next: evidence.lanes counts.

    row                       reply                              verdict
    answer "42", direct       "42."                              passed
    answer "42", direct       "15 and 42"                        wrong_answer (one candidate, never "any")
    answer "42"               "So it is $42.00.\\n#### 42"        passed, not strict
    answer "42", scratchpad   "7 + 5 = 12 …\\nFinal answer: 42"   passed
    answer "42", scratchpad   "It is 42."                        no_final_answer
    answerable false          "I can't see the weather."         passed
    answerable false          "I can't, but it is sunny."        unsupported_claim
    answerable true           "I don't know."                    over_refusal
    any                       "42<|user|>And"                    prompt_echo (judged on the raw reply)

A reply passes when there is no reason against it; against a reply that *is* the row's answer, one that it accepts, or
its reference, there is none. What the checks say of the content (evidence.checks) always counts. Of the habits (echo,
loops, claims, over-refusal) those count that the row's mixture judges (evidence.policy); the others are signals. The
steps of a scratchpad are reported beside: a wrong step with a right result passes, with `steps_correct` below 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from picochat.evidence.answers import steps_correct
from picochat.evidence.checks import Grade, accepted, grade
from picochat.evidence.habits import echoes, is_looping
from picochat.evidence.policy import Policy, Rules
from picochat.evidence.refusals import claims_ability, is_name, opens_with_refusal, refuses
from picochat.evidence.texts import bare
from picochat.packs.rows import Row, prompt_text

REASONS = {
    "wrong_answer": "the answer is not the expected one",
    "missing_required": "a required word or phrase is missing",
    "forbidden_phrase": "a forbidden word or phrase occurs",
    "wrong_identity": "the speaker is somebody else, or makes no sentence",
    "wrong_form": "not the form that was asked for",
    "prompt_echo": "a role token, a new user turn, or the prompt repeated",
    "unsupported_claim": "an unanswerable question was answered, or an ability was asserted that is not there",
    "not_judged": "a refusal was expected, and the rules do not read the reply's language",
    "over_refusal": "an answerable question was refused",
    "length": "too many words, or cut off before its end",
    "no_final_answer": "a scratchpad without a 'Final answer:' line",
    "repetition": "stuck in a loop",
    "empty": "nothing was said",
    "wrong_choice": "another choice was more likely",
}
READ = 100_000  # characters of a reply that the rules about habits read: its beginning and its end
_FIELDS = {
    "must_include": "includes",
    "must_include_any": "any_of",
    "must_not_include": "excludes",
    "max_words": "max_words",
}


@dataclass(frozen=True)
class Verdict:
    """What one reply is worth.

    Attributes:
        passed: no reason speaks against it.
        reasons: keys of `REASONS`, in that order, behind them the names of users' checks.
        candidate: the text that was compared with the answer (or the chosen label), None where nothing was.
        steps_correct: share of the scratchpad's lines that are right, None where the row lists no steps.
        strict: passed, and in the very form of the answer.
        signals: reasons that the row's mixture does not judge.
    """

    passed: bool
    reasons: tuple[str, ...]
    candidate: str | None = None
    steps_correct: float | None = None
    strict: bool = False
    signals: tuple[str, ...] = ()


def score(
    row: Row, reply: str, *, raw: str | None = None, finished: bool = True, rules: Rules | None = None
) -> Verdict:
    """Judge one generated reply.

    Args:
        row: a validated eval row.
        reply: the visible text.
        raw: the continuation with its special tokens, on which echo is judged; the reply where it is None.
        finished: whether the model ended its turn by itself; a reply cut off at the limit fails by `length`.
        rules: of the row's lane; by default those of its mixture, and those of `Rules()` where it has none.
    """
    rules = rules or Policy.of([row]).rules_of(row) or Rules()
    own = [*accepted(row), *filter(None, [row.get("reference"), row.get("correct_choice")])]
    is_own, exactly = (bare(reply, case=case) in [bare(text, case=case) for text in own] for case in (False, True))
    grades = list(_grades(row, reply, rules)) if reply.strip() else [Grade(False, False, reason="empty")]
    found = {True: set(), False: set()} if exactly else _by_outcome(grades)
    judged, signals, failed = found[False], found[True], bool(found[False])
    for habit, reason in _habits(row, reply, reply if raw is None else raw, own, is_own, failed):
        always = habit == "over_refusal" and row.get("answerable") is True
        always = always or (habit == "echo" and bare(reply) == bare(prompt_text(row)))  # nothing but the question
        asked = habit in rules.judge or always
        (judged if asked else signals).add(reason)
    if not finished:
        judged.add("length")
    steps = steps_correct(row["steps"], reply) if row.get("steps") else None
    candidate = next((found.candidate for found in grades if found.candidate is not None), None)
    strict = not judged and all(found.strict for found in grades)
    return Verdict(not judged, _sorted(judged), candidate, steps, strict, _sorted(signals - judged))


def score_choice(row: Row, scores: Sequence[float]) -> Verdict:
    """Judge a multiple-choice row by the log-likelihoods (finite) of its labels; the first of equals is chosen."""
    labels = row["choice_labels"]
    chosen = labels[max(range(len(labels)), key=lambda index: scores[index])]
    right = chosen == row["correct_choice"]
    return Verdict(right, () if right else ("wrong_choice",), chosen, strict=right)


def is_choice(row: Row) -> bool:
    """Whether the row is scored by label likelihood where the model gives likelihoods."""
    return "correct_choice" in row


def _grades(row: Row, reply: str, rules: Rules) -> Iterator[Grade]:
    """What each check of the row says."""
    own = dict(row.get("check") or {})
    checks = {**rules.check, **{_FIELDS[name]: row[name] for name in _FIELDS if row.get(name)}, **own}
    if "identity" in checks and "excludes" in checks:  # it reads names with their sense: "I am not ChatGPT"
        checks["excludes"] = [phrase for phrase in checks["excludes"] if not is_name(phrase)]
    if row.get("answerable") is False:
        checks.setdefault("refusal", True)
    elif accepted(row) and not own.keys() & {"exact", "number", "answer"}:
        checks["answer"] = True
    elif is_choice(row):
        checks.setdefault("choice", True)
    return (grade(name, reply, wanted, row) for name, wanted in checks.items() if wanted not in (None, False, []))


def _by_outcome(grades: Sequence[Grade]) -> dict[bool, set[str]]:
    """The reasons of the checks that failed (False), and of those that passed with one (True)."""
    return {way: {found.reason for found in grades if found.reason and found.passed == way} for way in (False, True)}


def _habits(
    row: Row, reply: str, raw: str, own: Sequence[str], is_own: bool, failed: bool
) -> Iterator[tuple[str, str]]:
    """What the reply does beside its content, and its own replies do not: (habit, reason)."""
    prompt, ours = prompt_text(row), "\n".join([*row.get("steps", []), *own])
    reply, raw = (text if len(text) <= READ else f"{text[: READ // 2]}\n{text[-READ // 2 :]}" for text in (reply, raw))
    if echoes("" if is_own else prompt, raw, ours):
        yield "echo", "prompt_echo"
    if is_own or not reply.strip():
        return
    if is_looping(reply) and not is_looping(ours):
        yield "loops", "repetition"
    for habit, skills_too in (("claims", False), ("skill_claims", True)):
        if claims_ability(reply, skills_too=skills_too) and not claims_ability(ours, skills_too=skills_too):
            yield habit, "unsupported_claim"
    # A right answer may mention a limit in passing ("I am Picochat; I cannot browse"), it may not open with one.
    if row.get("answerable") is not False and refuses(reply) and not any(map(refuses, own)):
        opens = row.get("answerable") is True and opens_with_refusal(reply, prompt)
        if failed or opens:
            yield "over_refusal", "over_refusal"


def _sorted(reasons: set[str]) -> tuple[str, ...]:
    return (*(reason for reason in REASONS if reason in reasons), *sorted(reasons - REASONS.keys()))
