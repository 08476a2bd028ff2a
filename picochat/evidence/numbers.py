"""Numbers by value. In: a text. Out: the values that it may stand for, and its unit. Next: evidence.checks.

"$1,234.50"   {1234.5}, "$"          "1.234"       {1.234, 1234}: both are in use
"42 apples"   {42}, "apples"         "5 million"   {5000000}
"−5", "twelve", "3/4", "2½", "1e3", "= 42", "\\\\boxed{42}"      "27 15 42", "42 or 43", "2⁵", "12:30" are no number
"""

import re
import unicodedata
from fractions import Fraction

from picochat.evidence.texts import fold, unwrap

_WORDS = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty",
)
_TIMES = {"k": 10**3, "dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_SAME = {  # one spelling of a unit
    **dict.fromkeys(("us$", "usd", "dollar", "dollars"), "$"),
    **dict.fromkeys(("eur", "euro", "euros"), "€"),
    **dict.fromkeys(("gbp", "pound", "pounds"), "£"),
    **dict.fromkeys(("percent", "per cent", "pct"), "%"),
}
_OTHER = re.compile(  # what makes another statement of a number
    rf"\b(?:{'|'.join(_WORDS)}|and|or|not|no|yes|but|more|less|than|plus|minus|about|if|to|least|most|almost|nearly|around|"
    rf"over|under|approximately|between|without|maybe|perhaps|wrong|{'|'.join(list(_TIMES)[1:])}|(?:is|was|are|does)n't)\b"
)
_MARKS = str.maketrans({"٬": ",", "٫": ".", "⁄": "/"})  # Arabic marks; what NFKC makes of ½
_MONEY = r"(?:[a-z]{1,2}\$|[$¢£¤¥฿\u20a0-\u20bf]|usd|eur|gbp|chf|inr|jpy|cny|rmb|rs\.?)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]|minus )? ?(?P<before>{_MONEY})? ?(?P<minus>[-+])?(?:(?P<whole>\d{{1,20}}) (?=\d{{1,20}} ?/))?"
    rf"(?:(?P<digits>\d{{1,40}}(?:[,.' _]\d{{1,20}}){{0,12}}|\.\d{{1,40}})(?:e(?P<power>[-+]?\d{{1,2}}))?|"
    rf"(?P<word>{'|'.join(reversed(_WORDS))})\b)(?: ?/ ?(?P<under>\d{{1,20}}))?"
    r" ?(?P<unit>[^\s\d][^\d]{0,40})?"
)
_ALONE = re.compile(rf"(?<![\w.,/^√])[-+]?{_MONEY}?[-+]?\d[\d,.' _]{{0,40}}(?:/ ?\d{{1,20}})?(?: ?%)?(?![\d/^!²³¹⁰-₎])")


def value(text: str) -> tuple[Fraction, str] | None:
    """The number that a text is, with commas for thousands and a decimal point, and its unit; None for other texts."""
    read = readings(text)
    other = re.match(r"\D?0\d", text.strip()) or re.search(r"\d!", text)  # a code, a factorial
    return (read[0][0], read[1]) if read and not other else None


def readings(text: str, *, units: bool = True) -> tuple[list[Fraction], str] | None:
    """Every value that a text may have, the likeliest first, and its unit; None where it is not one number.

    Args:
        text: the whole of it is read, of a sum what stands behind the last "=".
        units: whether words may follow: "42 apples".
    """
    text = re.sub(r"[¼-¾⅐-⅞]", lambda part: f" {unicodedata.normalize('NFKC', part[0])}", text)
    text = unwrap(fold(text).translate(_MARKS).rpartition("=")[2])
    found = _NUMBER.fullmatch(text.rstrip("!,;"))
    if found is None:
        return None
    unit, factor = (found["unit"] or "").strip(), Fraction(1)
    words = unit.split()
    if words and words[0] in _TIMES:
        unit, factor = " ".join(words[1:]), Fraction(_TIMES[words[0]])
    if not _is_unit(unit) or (unit and not units and unit[0].isalpha()):
        return None
    values = [Fraction(_WORDS.index(found["word"]))] if found["word"] else _decimals(found["digits"])
    factor *= Fraction(10) ** int(found["power"] or 0)
    negative = "-" in (found["minus"], found["sign"]) or found["sign"] == "minus "
    under, whole = int(found["under"] or 1), int(found["whole"] or 0)
    unit = unit or found["before"] or ""
    read = [(-1 if negative else 1) * factor * (whole + Fraction(one, under or 1)) for one in values]
    return (read, _SAME.get(unit, unit)) if read and under else None


def only_number(text: str) -> str | None:
    """The one number of a sentence that says it plainly: "There are 42 apples left." → "42"; else None."""
    if readings(text):
        return None
    text = fold(text).translate(_MARKS)
    found = _ALONE.findall(text)
    plain = len(found) == 1 and not _OTHER.search(text)
    return found[0] if plain and re.findall(r"\d", text) == re.findall(r"\d", found[0]) else None


def _is_unit(text: str) -> bool:
    words = text.split()
    letters = all(char.isalpha() or char in " %°/'.-²³" or unicodedata.category(char) == "Sc" for char in text)
    begins = text[:1] not in ("²", "³", ".", "-", "/", "'")
    return len(words) <= 3 and letters and begins and "is" not in words and not _OTHER.search(text)


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
