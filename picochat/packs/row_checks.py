"""Whether the checks of an eval row can be applied. In: a row. Out: nothing, or a ValueError. Next: evidence.checks."""

import re
from collections.abc import Mapping
from typing import Any

from picochat.errors import nearest
from picochat.plugins import find_plugin

CHECKS = (
    *("answer", "exact", "number", "choice", "includes", "any_of", "includes_any", "excludes", "max_words", "regex"),
    *("steps", "refusal", "identity", "python"),
)
"""The checks that picochat has (evidence.checks); others are entry points of ``picochat.checks`` or dotted paths."""


def is_check(name: str) -> bool:
    """Whether picochat or an installed package has a check of that name; a dotted path is taken for one."""
    return name in CHECKS or "." in name or find_plugin("picochat.checks", name) is not None


def check_row(row: Mapping[str, Any]) -> None:
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
    if "correct_choice" in row:
        labels = row.get("choice_labels")
        if not labels or len(set(labels)) < max(2, len(labels)) or row["correct_choice"] not in labels:
            raise ValueError("'correct_choice' must be one of at least two different 'choice_labels'")
    if "max_words" in row and (type(row["max_words"]) is not int or row["max_words"] < 1):
        raise ValueError("'max_words' must be a whole number from 1")
    if "answerable" in row and not isinstance(row["answerable"], bool):
        raise ValueError("'answerable' must be true or false")
    _check_named(row)


def _check_named(row: Mapping[str, Any]) -> None:
    checks = row.get("check") or {}
    if not isinstance(checks, dict):
        raise ValueError("'check' must map names of checks to what they want, such as {\"number\": true}")
    for name, wanted in checks.items():
        if not is_check(name):
            raise ValueError(f"unknown check '{name}'{nearest(name, CHECKS)}; known are {', '.join(CHECKS)}")
        if name == "regex":
            try:
                re.compile(wanted)
            except (re.error, TypeError) as error:
                raise ValueError(f"'check.regex' is no regular expression: {error}") from None
        elif name in ("includes", "excludes", "any_of", "includes_any") and not (_is_texts(wanted) and all(wanted)):
            raise ValueError(f"'check.{name}' must be a list of strings, none of them empty")
        elif name == "max_words" and (type(wanted) is not int or wanted < 1):
            raise ValueError("'check.max_words' must be a whole number from 1")
        elif name == "choice" and "correct_choice" not in row:
            raise ValueError("'check.choice' needs 'choice_labels' and 'correct_choice'")
        elif name == "steps" and not row.get("steps"):
            raise ValueError("'check.steps' needs 'steps'")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
