"""The forms in which texts are compared, in any script. In: replies, answers. Out: folded texts, words. Next: checks.

fold    "Well‐Known «Café»"   well-known "café"     one case, one sign for each kind of quote, dash and full stop
bare    "**「東京」。**"         東京                   the same without what only wraps it
units   "I like 北京"           I, like, 北, 京         words; characters where a script writes none between spaces
"""

import re
import unicodedata

UNSPACED = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Lao, Tibetan, Burmese, Khmer, kana and Han: scripts without spaces between words, for a character class."""
_UNITS = re.compile(rf"[{UNSPACED}\U00020000-\U0003ffff]|[^\s{UNSPACED}\U00020000-\U0003ffff]+")
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys("“”„‟″«»‹›「」『』《》〈〉", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("。｡।॥։።۔។", "."),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", None),  # not seen
    }
)
_SMALL = re.compile(r"[²³¹⁰-₎½¼¾⅐-⅞①-⓿]+")  # 2⁵ is not 25, nor 2½ 21/2
_WRAPPING = " \"'*_`"


def compatible(text: str) -> str:
    """Unicode's NFKC (full-width digits are digits), but superscripts, subscripts and fractions stay what they are."""
    kept, start = [], 0
    for small in _SMALL.finditer(text):
        kept += [unicodedata.normalize("NFKC", text[start : small.start()]), small.group()]
        start = small.end()
    return "".join([*kept, unicodedata.normalize("NFKC", text[start:])])


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


def bare(text: str, *, case: bool = False) -> str:
    """A folded text without quotes, emphasis and the full stop around it; "5!" keeps what is no exclamation."""
    text = fold(text, case=case).strip(_WRAPPING).rstrip(_WRAPPING + ".")
    return text.rstrip(_WRAPPING + ".!") if re.search(r"[^\W\d_]\W*$", text) else text


def units(text: str) -> list[str]:
    """Words, and single characters where the script does not part words: what a length in words counts."""
    return _UNITS.findall(text)


def includes(text: str, phrase: str) -> bool:
    """Whether a phrase occurs, as whole words where the script has them; both texts are folded.

    "cat" is not in "concatenate", 北京 is in 首都是北京。
    """
    letter = rf"[^\W{UNSPACED}]"
    words = r"\s+".join(map(re.escape, phrase.split()))
    left = rf"(?<!{letter})" if re.match(letter, phrase[:1]) else ""
    right = rf"(?!{letter})" if re.match(letter, phrase[-1:]) else ""
    return re.search(left + words + right, text) is not None
