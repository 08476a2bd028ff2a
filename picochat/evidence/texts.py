"""The forms in which texts are compared, in any script. In: replies, answers. Out: folded texts, words. Next: checks.

fold    "Well‐Known «Café»"   well-known "café"     one case, one sign for each kind of quote, dash and full stop
bare    "**「東京」。**"         東京                   the same without what only wraps it
units   "I like 北京"           I, like, 北, 京         words; characters where a script writes none between spaces
"""

import re
import tomllib
import unicodedata
from functools import cache
from importlib import resources

_FOLDED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys("“”„‟″«»‹›「」『』《》〈〉", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("。｡।॥։።۔។", "."),
        **dict.fromkeys("\u00ad\u0640\u200b\u200e\u200f\u2060\ufe0e\ufe0f\ufeff", None),  # not seen, or no letter
        **dict.fromkeys(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))), None),  # directions of writing
    }
)
_PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">", "【": "】", "$": "$"}
_WRAPPING = " \"'*_`"


@cache
def rule(name: str) -> re.Pattern[str]:
    """A regular expression of rules.toml."""
    return re.compile(_rules()[name])


@cache
def _rules() -> dict[str, str]:
    rules: dict[str, str] = {}
    for name, text in tomllib.loads((resources.files("picochat.evidence") / "rules.toml").read_text("utf-8")).items():
        rules[name] = re.sub(r"\{([a-z_]+)\}", lambda part: rules[part[1]], text.replace("\n", ""))
    return rules


def compatible(text: str) -> str:
    """Unicode's NFKC (full-width digits are digits), but superscripts, subscripts and fractions stay what they are."""
    parts = rule("small").split(text)  # every second one is small
    return "".join(part if small % 2 else unicodedata.normalize("NFKC", part) for small, part in enumerate(parts))


def normalise(text: str) -> str:
    """The strict form of an answer: NFKC, one case, single spaces, no quotes around, no full stop.

    >>> normalise(' **"1,234."** ')
    '1234'
    """
    text = compatible(compatible(text).casefold()).replace("\u2212", "-")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return " ".join(text.split()).lstrip(" \"'`*“”‘’").rstrip(" \"'`*“”‘’.!")


def fold(text: str, *, case: bool = False) -> str:
    """One case, single spaces, typographic signs as plain ones; `case` keeps capitals."""
    text = compatible(text)
    return " ".join((text if case else compatible(text.casefold())).translate(_FOLDED).split())


def unwrap(text: str) -> str:
    """A folded text without the brackets, quotes, emphasis, TeX and full stop around it, or a bullet before it."""
    if "\\" in text and len(text) < 2_000:
        text = rule("tex").sub(r"\1", rule("tex").sub(r"\1", rule("fraction").sub(r"\1/\2", text)))
    before = None
    while text != before and len(text) < 2_000:
        before = text
        text = re.sub(r"^(?:[-*•#>]+ (?=[^\W\d_])|[#>•]+ )", "", text.lstrip(_WRAPPING + "¡¿")).rstrip(_WRAPPING + ".")
        if text and _PAIRS.get(text[0]) == text[-1] and len(text) > 1:
            text = text[1:-1]
    return text.strip(_WRAPPING).rstrip(_WRAPPING + ".")


def bare(text: str, *, case: bool = False) -> str:
    """A folded text without what only wraps it; "5!" keeps what is no exclamation."""
    text = unwrap(fold(text, case=case))
    return text.rstrip(_WRAPPING + ".!") if re.search(r"[^\W\d_]\W*$", text[-100:]) else text


def units(text: str) -> list[str]:
    """Words, and single characters where the script does not part words: what a length in words counts."""
    return rule("unit").findall(text)


def includes(text: str, phrase: str) -> bool:
    """Whether a phrase occurs, as whole words where the script has them; both texts are folded.

    "cat" is not in "concatenate", 北京 is in 首都是北京。, 서울 in 서울입니다 (Korean writes particles after words).
    """
    spaced, last = rule("spaced"), phrase[-1:]
    opens, ends = bool(spaced.match(phrase)), _goes_on(last) and not rule("goes_on_freely").match(last)
    for found in re.finditer(r"\s+".join(map(re.escape, phrase.split())), text):
        before, after = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
        if not (opens and spaced.match(before)) and not (ends and _goes_on(after)):
            return True
    return False


def _goes_on(char: str) -> bool:
    """Whether a character, or none, belongs to a word of a script with spaces; combining marks do."""
    return bool(rule("spaced").match(char)) or unicodedata.category(char or " ").startswith("M")
