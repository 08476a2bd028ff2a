"""What may be claimed. In: predictions, a policy. Out: `Gate`s and `Claim`s. Next: evidence.evaluation.

Claims follow from gates, gates from lanes that have rows. What a mixture calls "diagnostic" is that whatever they show.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from picochat.errors import UserError
from picochat.evidence.clusters import Interval
from picochat.evidence.lanes import Prediction, grouped, lane_of, rate_of
from picochat.packs.profiles import DIAGNOSTIC
from picochat.packs.rows import Row

_NAMED = ("by_skill", "by_category")  # whose lanes may have gates


@dataclass(frozen=True)
class Gate:
    """A limit, and what was measured.

    `verdict` is "met" where the whole interval is on the right side of the limit, "point estimate only" where the rate
    is and the interval reaches beyond it (or there is none, for lack of problems), "missed" elsewhere.
    """

    benchmark_profile: str
    name: str
    n: int
    problems: int
    rate: float
    ci95: Interval | None
    limit: float
    direction: str  # "at least" or "at most"
    verdict: str


@dataclass(frozen=True)
class Claim:
    """What may be said of one benchmark profile, and the gates that it rests on.

    `status` is "claimed" where all gates are met, "point estimate only" where none is missed, "failed its gate",
    "diagnostic", "not tested", or "no gate" where no limit applies; `words` are the mixture's, or empty.
    """

    benchmark_profile: str
    status: str
    words: str
    n: int
    gates: list[Gate]


def limits_with(
    changes: Sequence[str], limits: Mapping[str, Mapping[str, float]], rows: Sequence[Row]
) -> dict[str, dict[str, float]]:
    """The limits (`scoring.Policy.gates`), some set by texts such as "math=0.5" in every benchmark profile of the rows.

    Raises:
        UserError: a text of another form, or a gate that is none of the mixture's, the rows' skills and lanes, or echo.
    """
    lanes = sorted({lane_of(row, grouping) for row in rows for grouping in _NAMED})
    known = dict.fromkeys([*(name for own in limits.values() for name in own), *lanes, "echo"])
    changed: dict[str, float] = {}
    for change in changes:
        name, _, share = change.partition("=")
        try:
            changed[name] = float(share) if name in known else -1.0
        except ValueError:
            changed[name] = -1.0
        if not 0 <= changed[name] <= 1:
            raise UserError(f"--gate {change} is not NAME=SHARE with a share from 0 to 1; names: {', '.join(known)}")
    profiles = dict.fromkeys([*limits, *(lane_of(row, "by_benchmark_profile") for row in rows)])
    return {profile: {**limits.get(profile, {}), **changed} for profile in profiles}


def check_gates(predictions: Sequence[Prediction], limits: Mapping[str, Mapping[str, float]]) -> list[Gate]:
    """The gates that the rows of each benchmark profile can decide; `limits` as `scoring.Policy.gates`."""
    gates = []
    for profile, rows in grouped(predictions, "by_benchmark_profile").items():
        for name, limit in sorted(limits.get(profile, {}).items(), key=lambda gate: (gate[0] == "echo", gate[0])):
            if name == "echo":
                own = [p for p in rows if p.choice_scores is None]
                share, worst, sign = rate_of(own, ["prompt_echo" in p.reasons for p in own]), 1, -1
            else:
                own = [p for p in rows if p.judged and name in [lane_of(p.tags, grouping) for grouping in _NAMED]]
                share, worst, sign = rate_of(own, [p.passed for p in own]), 0, 1
            if share:
                ends = share.interval or (-math.inf, math.inf)
                right = sum(sign * end >= sign * limit for end in (share.rate, ends[worst]))
                measured = (share.rows, share.clusters, share.rate, share.interval, limit)
                verdict = ("missed", "point estimate only", "met")[right]
                gates.append(Gate(profile, name, *measured, ("at least", "at most")[worst], verdict))
    return gates


def claims(predictions: Sequence[Prediction], gates: Sequence[Gate], says: Mapping[str, str]) -> list[Claim]:
    """What may be said of each benchmark profile, those of the mixtures (`scoring.Policy.claims`) first."""
    tested = grouped(predictions, "by_benchmark_profile")
    made = []
    for profile in dict.fromkeys([*says, *tested]):
        own, words = [gate for gate in gates if gate.benchmark_profile == profile], says.get(profile, "")
        verdicts = {gate.verdict for gate in own}
        if profile not in tested:
            status = "not tested"
        elif words == DIAGNOSTIC:
            status = "diagnostic"
        elif all(gate.name == "echo" for gate in own):
            status = "no gate"
        elif "missed" in verdicts:
            status = "failed its gate"
        else:
            status = "claimed" if verdicts == {"met"} else "point estimate only"
        words = words if status in ("claimed", "point estimate only") else ""
        made.append(Claim(profile, status, words, len(tested.get(profile, [])), own))
    return made
