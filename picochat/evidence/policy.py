"""What mixtures say of judging and claiming. In: rows, the report of their pack. Out: a `Policy`. Next: scoring, gates.

    components:                            in a mixture file, and in the report of a pack made of it
      - name: support
        benchmark_profile: support
        judge: [echo, loops]               habits that fail a reply; others are signals
        gate: {refunds: 0.7, echo: 0.05}   skill or lane → share that must pass; echo: the share that may echo
        claim: handles refunds             said once all gates are met; "diagnostic": nothing is
        lanes: {refunds: {gate: 0.8, judge: [echo], check: {identity: Ada}}}

Rows of which no mixture is known have no gates and no claim, and habits are signals.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from picochat.packs.mixture_file import built_in_profiles
from picochat.packs.rows import Row
from picochat.strict_json import parse_json

Components = Sequence[Mapping[str, Any]]
_LANE = ("mixture_profile", "mixture_component", "category")


@dataclass(frozen=True)
class Rules:
    """How a lane is judged.

    Args:
        judge: those of `profiles.HABITS` that fail a reply.
        check: checks that its rows get beside their own.
    """

    judge: frozenset[str] = frozenset(("echo", "loops", "claims", "over_refusal"))
    check: Mapping[str, Any] = field(default_factory=dict)


SIGNALS_ONLY = Rules(frozenset())


@dataclass(frozen=True)
class Policy:
    """What the mixtures of some rows say.

    Args:
        gates: benchmark profile → skill, lane or "echo" → limit.
        claims: benchmark profile → what may be said once its gates are met.
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
        names = dict.fromkeys(name for name, _ in tags if name)
        mixtures = _mixtures() if names.keys() & _mixtures().keys() else {}
        folder = Path(path).parent if path else Path()
        for name in names if path else ():
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # no report of a pack lies there
                report = parse_json((folder / f"task_mixture_{name}.json").read_bytes())
                _read({name: report["mixture"]["components"]})
                mixtures = {**mixtures, name: report["mixture"]["components"]}
        whole = _built_in() if mixtures is _mixtures() else _read(mixtures)
        own = {profile for _, profile in tags}
        gates = {profile: gates for profile, gates in whole.gates.items() if profile in own}
        claims = {profile: claim if profile in own else "" for profile, claim in whole.claims.items()}
        return Policy(gates, claims, whole.rules)

    def rules_of(self, row: Row) -> Rules | None:
        """The rules of a row; None where its mixture is not known."""
        lane = tuple(str(row.get(name)) for name in _LANE)
        return self.rules.get(lane, self.rules.get(lane[:1]))


def _read(mixtures: Mapping[str, Components]) -> Policy:
    gates: dict[str, dict[str, float]] = {}
    claims: dict[str, str] = {}
    rules: dict[tuple[str, ...], Rules] = {}
    for profile, components in mixtures.items():
        for part in components:
            own = gates.setdefault(part["benchmark_profile"], {})
            own |= part.get("gate", {})
            own |= {name: lane["gate"] for name, lane in part["lanes"].items() if "gate" in lane}
            claims[part["benchmark_profile"]] = part.get("claim", "")
            for name, lane in part["lanes"].items():
                judge = frozenset(lane.get("judge", part.get("judge", ())))
                rules[profile, part["name"], name] = Rules(judge, lane.get("check", {}))
        rules[profile,] = Rules(frozenset(habit for part in components for habit in part.get("judge", ())))
    return Policy(gates, claims, rules)


@cache
def _built_in() -> Policy:
    return _read(_mixtures())


@cache
def _mixtures() -> dict[str, Components]:
    return {name: profile.described()["components"] for name, profile in built_in_profiles().items()}
