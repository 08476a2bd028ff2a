"""Texts in the forms in which they are compared, and what of a reply answers. In: replies, answers. Next: checks.

fold    "Well‐Known «Café»"   well-known "café"     one case, one sign for each kind of quote, dash and full stop
bare    "**「東京」。**"         東京                   the same without what only wraps it
units   "I like 北京"           I, like, 北, 京         words; characters where a script writes none between spaces

"7 + 5 = 12 …\\nFinal answer: 42"   42      after the last mark: "####", "\\boxed{…}", "The answer is", "答案是"
"It is Paris. It lies …"           Paris   after an opening, to the first full stop
"$1,234.50"   {1234.5}, "$"          "1.234"       {1.234, 1234}: both are in use
"42 apples"   {42}, "apples"         "5 million"   {5000000}
"−5", "twelve", "3/4", "2½", "1e3", "= 42"      "27 15 42", "42 or 43", "2⁵", "12:30" are no number
"""

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
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
_FINAL = re.compile(r"(.*)final answer\s*:(.*)", re.IGNORECASE | re.DOTALL)
_TIMES = {"k": 10**3, "dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_SAME = {  # one spelling of a unit
    **dict.fromkeys(("us$", "usd", "dollar", "dollars"), "$"),
    **dict.fromkeys(("eur", "euro", "euros"), "€"),
    **dict.fromkeys(("gbp", "pound", "pounds"), "£"),
    **dict.fromkeys(("percent", "per cent", "pct"), "%"),
}
_MARKS = str.maketrans({"٬": ",", "٫": ".", "⁄": "/"})  # Arabic marks; what NFKC makes of ½


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
    """A folded text without what only wraps it; "5!" keeps what is no exclamation, and of "`*`." the sign is left."""
    folded = fold(text, case=case)
    text = unwrap(folded)
    if not text:
        return re.sub(r"^([\"'`])(.+)\1$", r"\2", folded.rstrip(".") or folded)
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


def final_answer(reply: str) -> str | None:
    """The text after the last "Final answer:", or None."""
    found = _FINAL.match(reply)
    return found[2].strip() if found else None


def marked(reply: str, mark: str = "mark") -> str | None:
    """The text after the last mark of an answer ("The answer is", "####", "\\boxed{…}"), or None."""
    found = [*rule(mark).finditer(reply)][-1:]
    if not found:
        return None
    after, depth = reply[found[0].end() :], 0
    if found[0].group().startswith("\\"):  # what stands in the braces: "{\\text{a}} b" → "\\text{a}"
        for place, char in enumerate(after[:2_000]):
            depth += (char == "{") - (char == "}")
            if char == "}" and depth == 0:
                after = after[:place].lstrip()[1:]
                break
    return after.partition("</answer>")[0].strip()


def plain_answer(reply: str) -> str:
    """The part of a reply in free form that answers: after a mark, or an opening such as "It is"."""
    said = marked(reply)
    if said is None:
        opening = rule("it_is").match(reply.lstrip())
        said = reply.lstrip()[opening.end() :] if opening else reply
    return rule("polite_end").sub("", said)


def other_readings(said: str, reply: str) -> list[str]:
    """What else may answer in a free reply: the line after a mark, or a number in the last line, below the work."""
    lines = said.strip().splitlines() or [""]
    if said != reply:  # after a mark an explanation may follow
        return [lines[0], only_number(lines[0]) or ""]
    return [lines[-1] if readings(lines[-1]) else only_number(lines[-1]) or ""]


def steps_correct(wanted: Sequence[str], reply: str) -> float:
    """Share of lines that are right: line i against step i; missing and surplus lines count as wrong.

    steps ["7 + 5 = 12", "2 + 1 + 1 = 4"] against "7 + 5 = 12\\n2 + 1 = 3\\nFinal answer: 42" give 1/2.
    """
    found = _FINAL.match(reply)
    lines = [line for line in (found[1] if found else reply).splitlines() if line.strip()]
    own = [line for step in wanted for line in step.splitlines() if line.strip()]
    right = sum(normalise(line) == normalise(step) for line, step in zip(lines, own, strict=False))
    return right / max(len(lines), len(own), 1)


def same_text(said: str, answer: str, alone: bool, case: bool = False) -> bool:
    """Whether a text, or its first sentence or clause where more may follow, is the answer."""
    wanted, first, rest = bare(answer, case=case), said, ""
    if not alone and not value(answer):
        first, *others = re.split(r"(?<=[.!?])\s|\n|,\s(?=[a-z])", said, maxsplit=1)
        rest = others[0] if others else ""
    return wanted == bare(said, case=case) or (wanted == bare(first, case=case) and not rule("taken_back").match(rest))


def same_number(said: str, answer: str, alone: bool) -> bool:
    """Whether the first line of a text is, or holds alone, the answer's number; nothing after it holds another one."""
    head, _, rest = said.strip().partition("\n")
    wanted, sums = value(answer), "=" in head.lstrip(" =$\\(")
    if wanted is None or len(head) > 200 or (alone and (rest or sums)):
        return False
    found = readings(head, units=not alone)
    if found is None and not alone:
        found = readings(re.split(r"[,;.:] (?=[^\W\d_])| \(", head, maxsplit=1)[0])
    if found is None or wanted[0] not in found[0] or re.search(r"\d", rest):
        return False
    return wanted[1] in ("", found[1]) or (len(wanted[1]) == 1 and not found[1])  # "$5" may be said as 5


def value(text: str) -> tuple[Fraction, str] | None:
    """The number that a text is, with commas for thousands and a decimal point, and its unit; None for other texts."""
    read = readings(text)
    other = re.match(r"\D?0\d", text.strip()) or re.search(r"\d!", text)  # a code, a factorial
    return (read[0][0], read[1]) if read and not other else None


def readings(text: str, *, units: bool = True) -> tuple[list[Fraction], str] | None:
    """Every value that a text may have, the likeliest first, and its unit (words only if `units`: "42 apples").

    None where the whole of it, or of a sum what stands after the last "=", is not one number.
    """
    text = re.sub(r"[¼-¾⅐-⅞]", lambda part: f" {unicodedata.normalize('NFKC', part[0])}", text)
    text = unwrap(fold(text).translate(_MARKS).rpartition("=")[2])
    found = rule("number").fullmatch(text.rstrip("!,;"))
    if found is None:
        return None
    unit, factor = (found["unit"] or "").strip(), Fraction(10) ** int(found["power"] or 0)
    words = unit.split()
    if words and words[0] in _TIMES:
        unit, factor = " ".join(words[1:]), factor * _TIMES[words[0]]
    under, whole = int(found["under"] or 1), int(found["whole"] or 0)
    if not _is_unit(unit) or (unit and not units and unit[0].isalpha()) or not under:
        return None
    if "-" in (found["minus"], found["sign"]) or found["sign"] == "minus ":
        factor = -factor
    names = rule("small_numbers").pattern.split("|")
    values = [Fraction(names.index(found["word"]))] if found["word"] else _decimals(found["digits"])
    unit = unit or found["before"] or ""
    read = [factor * (whole + one / under) for one in values]
    return (read, _SAME.get(unit, unit)) if read else None


def only_number(text: str) -> str | None:
    """The one number of a sentence that says it plainly: "There are 42 apples left." → "42"; else None."""
    if len(text) > 200 or readings(text):
        return None
    text = fold(text).translate(_MARKS)
    found = rule("lone_number").findall(text)
    plain = len(found) == 1 and not rule("other").search(text)
    return found[0] if plain and re.findall(r"\d", text) == re.findall(r"\d", found[0]) else None


def _is_unit(text: str) -> bool:
    words = text.split()
    letters = all(char.isalpha() or char in " %°/'.-²³" or unicodedata.category(char) == "Sc" for char in text)
    begins = text[:1] not in ("²", "³", ".", "-", "/", "'")
    return len(words) <= 3 and letters and begins and "is" not in words and not rule("other").search(text)


def _decimals(digits: str) -> list[Fraction]:
    """ "1,234" → [1234, 1.234], "1.234" → [1.234, 1234], "1,000" → [1000], "1 234,5" → [1234.5], "4 2" → []."""
    if digits.startswith("."):
        return [Fraction(f"0{digits}")]
    marks, parts = re.findall(r"\D", digits), re.split(r"\D", digits)
    found = []
    if not marks or _are_thousands(marks, parts):
        found.append(Fraction("".join(parts)))
    whole = marks[:-1]
    if marks and marks[-1] in set(",.") - set(whole) and (not whole or _are_thousands(whole, parts[:-1])):
        decimal = Fraction("".join(parts[:-1]) + "." + parts[-1])
        found += [decimal] if marks == ["."] or not found or decimal.denominator > 1 else []
    return found[::-1] if marks == ["."] else found


def _are_thousands(marks: list[str], parts: list[str]) -> bool:
    lengths = [len(part) for part in parts]
    indian = marks[0] == "," and set(lengths[1:-1]) == {2}  # 12,34,567
    return len(set(marks)) == 1 and lengths[0] <= 3 and lengths[-1] == 3 and (indian or set(lengths[1:]) == {3})
