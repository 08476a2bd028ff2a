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
loops, claims, over-refusal) those count that the row's mixture judges (`judge:`), the others are signals.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from picochat.evidence.checks import Grade, accepted, grade
from picochat.evidence.habits import claims_ability, echoes, is_looping, is_name, opens_with_refusal, refuses
from picochat.evidence.texts import bare, steps_correct
from picochat.packs.profiles import built_in_profiles
from picochat.packs.rows import Row, prompt_text
from picochat.strict_json import parse_json

REASONS = (
    *("wrong_answer", "missing_required", "forbidden_phrase"),
    *("wrong_identity", "wrong_form"),  # the speaker is somebody else, or makes no sentence; another form was asked for
    *("prompt_echo", "unsupported_claim", "not_judged"),  # the last: the rules do not read the reply's language
    *("over_refusal", "length", "no_final_answer"),  # too many words, or cut off; a scratchpad without its last line
    *("repetition", "empty", "wrong_choice"),
)
READ = 100_000  # characters of a reply that the rules about habits read: its beginning and its end
_CHECKS = {
    "must_include": "includes",
    "must_include_any": "any_of",
    "must_not_include": "excludes",
    "max_words": "max_words",
}
_OF_ANSWERS = {"answer", "exact", "number"}


@dataclass(frozen=True)
class Rules:
    """How a lane is judged: which of `profiles.Habit` fail a reply, what checks its rows get beside their own."""

    judge: frozenset[str] = frozenset(("echo", "loops", "claims", "over_refusal"))
    check: Mapping[str, Any] = field(default_factory=dict)


SIGNALS_ONLY = Rules(frozenset())


@dataclass(frozen=True)
class Policy:
    """What the mixtures of some rows say. Rows of no known mixture have no gates and no claim, and only signals.

    Args:
        gates: benchmark profile → skill or lane: the share that must pass, or "echo": the share that may echo.
        claims: benchmark profile → what may be said once its gates are met; "diagnostic": nothing is.
        rules: (profile, component, lane) → how it is judged; (profile,): how its rows of no known lane are.
    """

    gates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[tuple[str, ...], Rules] = field(default_factory=dict)

    @staticmethod
    def of(rows: Iterable[Row], path: str | Path | None = None) -> "Policy":
        """The policy of rows: of the report of their pack beside their file, or of the built-in mixtures.

        It names all benchmark profiles of these mixtures, so that a report says what was not tested, and has the gates
        and claims of those that the rows have.
        """
        tags = [(row.get("mixture_profile"), row.get("mixture_benchmark_profile")) for row in rows]
        names = {name: None for name, _ in tags if name}
        mixtures = _built_in() if names.keys() & _built_in().keys() else {}
        for name in names if path else ():
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # no report of a pack lies there
                report = parse_json((Path(path or "").parent / f"task_mixture_{name}.json").read_bytes())
                _read(found := {name: report["mixture"]["components"]})
                mixtures = mixtures | found
        # What the rows' own mixtures say of a benchmark profile counts, whatever others say of one of that name.
        every, own = _read(mixtures), _read({name: mixtures[name] for name in names if name in mixtures})
        tested = {profile for _, profile in tags}
        gates = {profile: gates for profile, gates in {**every.gates, **own.gates}.items() if profile in tested}
        words = {**every.claims, **own.claims}
        claims = {profile: claim if profile in tested else "" for profile, claim in words.items()}
        return Policy(gates, claims, every.rules)

    def rules_of(self, row: Row) -> Rules | None:
        """The rules of a row; None where its mixture is not known."""
        lane = tuple(str(row.get(name)) for name in ("mixture_profile", "mixture_component", "category"))
        return self.rules.get(lane, self.rules.get(lane[:1]))


@cache
def _built_in() -> dict[str, Any]:
    return {name: profile.described()["components"] for name, profile in built_in_profiles().items()}


def _read(mixtures: Mapping[str, Sequence[Mapping[str, Any]]]) -> Policy:
    """The policy of the components of mixtures."""
    gates: dict[str, dict[str, float]] = {}
    claims: dict[str, str] = {}
    rules: dict[tuple[str, ...], Rules] = {}
    for profile, components in mixtures.items():
        for part in components:
            own = gates.setdefault(part["benchmark_profile"], {})
            own |= part.get("gate", {})
            claims[part["benchmark_profile"]] = part.get("claim", "")
            judge = frozenset(part.get("judge", ()))
            for name, lane in part["lanes"].items():
                check = lane.get("check", {}) if "task" in lane else {}  # rows that are read carry theirs
                rules[profile, part["name"], name] = Rules(judge, check)
        rules[profile,] = Rules(frozenset(habit for part in components for habit in part.get("judge", ())))
    return Policy(gates, claims, rules)


@dataclass(frozen=True)
class Verdict:
    """What one reply is worth; a wrong step with a right result passes."""

    passed: bool  # no reason speaks against it
    reasons: tuple[str, ...]  # of `REASONS`, in that order, after them the names of users' checks
    candidate: str | None = None  # what was compared with the answer (or the chosen label), None where nothing was
    steps_correct: float | None = None  # share of the scratchpad's lines; None where the row lists no steps
    strict: bool = False  # passed, and in the very form of the answer
    signals: tuple[str, ...] = ()  # reasons that the row's mixture does not judge


def score(
    row: Row, reply: str, *, raw: str | None = None, finished: bool = True, rules: Rules | None = None
) -> Verdict:
    """Judge one generated reply to a validated eval row.

    Args:
        reply: the visible text.
        raw: the continuation with its special tokens, on which echo is judged; the reply where it is None.
        finished: whether the model ended its turn by itself; a reply cut off at the limit fails by `length`.
        rules: of the row's lane; by default those of its mixture, and those of `Rules()` where it has none.
    """
    rules = rules or Policy.of([row]).rules_of(row) or Rules()
    own = [*accepted(row), *filter(None, [row.get("reference"), row.get("correct_choice")])]
    is_own, exactly = (bare(reply, case=case) in [bare(text, case=case) for text in own] for case in (False, True))
    grades = list(_grades(row, reply, rules)) if reply.strip() else [Grade(False, False, reason="empty")]
    said = [] if exactly else [found for found in grades if found.reason]
    judged = {str(found.reason) for found in said if not found.passed}
    signals = {str(found.reason) for found in said if found.passed}
    for habit, reason in _habits(row, reply, reply if raw is None else raw, own, is_own, bool(judged)):
        always = habit == "over_refusal" and row.get("answerable") is True
        always = always or (habit == "echo" and bare(reply) == bare(prompt_text(row)))  # nothing but the question
        (judged if always or habit in rules.judge else signals).add(reason)
    if not finished:
        judged.add("length")
    steps = steps_correct(row["steps"], reply) if row.get("steps") else None
    candidate = next((found.candidate for found in grades if found.candidate is not None), None)
    strict = not judged and all(found.strict for found in grades)
    return Verdict(not judged, _sorted(judged), candidate, steps, strict, _sorted(signals - judged))


def score_choice(row: Row, scores: Sequence[float]) -> Verdict:
    """Judge a multiple-choice row by the log-likelihoods (finite) of its labels; the first of equals is chosen."""
    chosen = row["choice_labels"][scores.index(max(scores))]
    right = chosen == row["correct_choice"]
    return Verdict(right, () if right else ("wrong_choice",), chosen, strict=right)


def is_choice(row: Row) -> bool:
    """Whether the row is scored by label likelihood where the model gives likelihoods."""
    return "correct_choice" in row


def _grades(row: Row, reply: str, rules: Rules) -> Iterator[Grade]:
    """What each check of the row says."""
    fields, own = {name: row[field] for field, name in _CHECKS.items() if row.get(field)}, dict(row.get("check") or {})
    # A lane's check of what a row has not is none for this row; `sft_fit` takes a choice's label for its answer.
    has = {"choice": is_choice(row), "steps": row.get("steps")} | dict.fromkeys(_OF_ANSWERS, accepted(row))
    every = {**rules.check, **fields, **own}.items()
    checks = {name: wanted for name, wanted in every if has.get(name, True) or isinstance(wanted, str | list)}
    if row.get("answerable") is False:
        checks.setdefault("refusal", True)
    elif accepted(row) and not own.keys() & _OF_ANSWERS:
        checks["answer"] = True
    elif is_choice(row):
        checks.setdefault("choice", True)
    for name, wanted in (*checks.items(), *((name, fields[name]) for name in fields.keys() & own.keys())):
        if name == "excludes" and "identity" in checks:  # it reads names with their sense: "I am not ChatGPT"
            wanted = [phrase for phrase in wanted if not is_name(phrase)]
        if wanted not in (None, False, []):
            yield grade(name, reply, wanted, row)


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
    return (*(reason for reason in REASONS if reason in reasons), *sorted(reasons - set(REASONS)))
