"""What a reply does beside its content. In: prompts and replies. Out: echoes, loops, refuses, boasts. Next: scoring.

    echo     "What is 27 + 15? 42", "42\\nUser: and 3 + 4?"   none   "The capital of the largest country is Brasília."
    loop     "la la la …", "hahaha…"                         none   "|------|------|", "Name: ______________"
    refusal  "I can't see the weather."                      none   "I can't wait!", "She said she cannot come."
    leak     "I can't see the weather, but it is 21 degrees."

Refusals, claims and identity are text rules (regular expressions in rules.toml) over English; they do not grade by
meaning.
"""

import re
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from picochat.evidence.texts import rule, units

READ = 20_000  # characters of a reply that the rules over wording read
ECHO_TOKENS = 8  # words and signs of the prompt, repeated at the start of the reply, that make an echo
_ENDS = {".", "?", "!", ":", "\n", "。", "？", "！"}
_OPENS = _ENDS | set("\"'`“”‘’«»(|>*-;")
_DRAWING = "-=_*#~.|+:─━│ \t\n\r"  # signs that tables, forms and headings are drawn with
_FORM = 200  # of them in a row are none
_KNOWN_NAMES = {"i", "picochat", "ai", "no", "sorry", "internet", "web", "english", "python", "lightning", "ok", "okay"}


def echoes(prompt: str, raw: str, own: str = "") -> bool:
    """Whether a raw continuation repeats the prompt or plays another turn, and the row's own reply does not."""
    token = rule("turn_token").search(raw) and not rule("turn_token").search(own)
    roles, label = [role.casefold() for role in rule("turn").findall(raw)], rule("label").match(raw)
    plays = bool(roles)
    if label:  # "User: hello\nShop: good day", "user: admin\nport: 80": a text in lines with labels, whose own they are
        several = len(set(roles)) < len(roles) or ("assistant" in roles and len(roles) > 1)
        plays = label[1].strip().casefold() in roles and several
    plays = plays and not (rule("dialogue").search(prompt) or rule("turn").search(own))
    return bool(token) or plays or (_repeats(prompt, raw) and not _repeats(prompt, own))


def _repeats(prompt: str, raw: str) -> bool:
    asked = [token.casefold() for token in rule("token").findall(prompt) if token != "\n"]
    said: list[str] = []
    lines = {0}  # tokens that begin a line
    for token in rule("token").findall(raw):
        if token == "\n":
            lines.add(len(said))
        else:
            said.append(token)
    small = [token.casefold() for token in said]
    if len(asked) >= 3 and any(
        small[at : at + 3] == asked[:3] and small[at : at + len(asked)] == asked for at in lines
    ):
        return True
    opening = small[:ECHO_TOKENS]
    for start in range(len(asked) - ECHO_TOKENS + 1 if len(opening) == ECHO_TOKENS else 0):
        if asked[start : start + ECHO_TOKENS] == opening:
            length = sum(1 for _ in takewhile(bool, map(str.__eq__, asked[start:], small)))
            whole = start + length == len(asked) and length >= len(said) - 1  # to its end, and hardly a word more
            last, ends = said[length - 1], length in lines or length == len(said) or whole
            new = not start and length < len(said) and said[length][0].isupper() and last not in (",", "and")
            inside = start > 0 and asked[start - 1] in _OPENS  # a sentence of the prompt: asked again, or worked on
            if last in ("?", "？") if inside else ends or last in _ENDS or new:
                return True
    return False


def is_looping(reply: str) -> bool:
    """Whether words or signs run on.

    >>> is_looping("and then " * 6), is_looping("a b a b"), is_looping("7 + 7 = 14 14 + 7 = 21 21 + 7 = 28")
    (True, False, False)
    """
    numbers: dict[str, int] = {}
    words = np.array([numbers.setdefault(word, len(numbers)) for word in units(reply)])
    if any(_run(words, period) + period >= max(12, 4 * period) for period in range(1, min(500, len(words) // 4) + 1)):
        return True
    signs = np.frombuffer(reply.encode("utf-32-le", "surrogatepass"), np.uint32)
    drawn = np.isin(signs, [ord(sign) for sign in _DRAWING])
    return any(
        _run(signs, period, ~drawn) >= 11 * period or _run(signs, period, signs > 32) >= _FORM for period in range(1, 5)
    )


def _run(values: NDArray[np.generic], period: int, only: NDArray[np.bool_] | None = None) -> int:
    """The longest run of values that equal the value one period before them (and are of those that count)."""
    if len(values) <= period:
        return 0
    same = values[period:] == values[:-period]
    if only is not None:
        same &= only[period:] & only[:-period]
    ends = np.flatnonzero(np.concatenate(([True], ~same, [True])))
    return int(np.diff(ends).max()) - 1


def plain(text: str) -> str:
    """The first `READ` characters in lower case, with straight apostrophes, single spaces and line breaks."""
    text = text[:READ].replace("\u2019", "'").replace("\u2018", "'").casefold()
    return re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def refuses(reply: str) -> bool:
    """Whether the speaker says anywhere that it cannot, does not know or has no means."""
    return any(rule("inability").search(clause) for clause in _clauses(plain(reply)))


def opens_with_refusal(reply: str, prompt: str = "") -> bool:
    """Whether the reply *starts* as a refusal; of a speaker who is asked about itself only "I don't know" is one."""
    text = plain(reply)
    inability, opening, alone = (rule(name).search(text) for name in ("inability", "opening", "alone"))
    if inability is None or inability.start() > (opening.end() if opening else 0):
        return False
    return not asks_about_the_speaker(prompt) or (alone is not None and alone.start() <= inability.end())


def asks_about_the_speaker(prompt: str) -> bool:
    """Whether the prompt asks what the speaker is, has or can do, so that "I can't" is the answer and no refusal."""
    return rule("speaker").search(rule("request").sub(" ", plain(prompt))) is not None


def declines(reply: str) -> bool:
    """Whether the reply gives no answer: a refusal, "nobody can know that", "it is private", "please see a doctor"."""
    return refuses(reply) or any(rule(name).search(plain(reply)) for name in ("unknowable", "referral"))


def leaks_an_answer(reply: str, prompt: str) -> bool:
    """Whether a refusal also answers: a number or a name that the prompt does not hold, a guess, a bare assertion."""
    prompt, text = plain(prompt), plain(reply)
    new_digits = set(re.findall(r"\d+", text)) - set(re.findall(r"\d+", prompt))
    new_numbers = set(rule("number_words").findall(text)) - set(re.findall(r"[a-z]+", prompt))
    known = _KNOWN_NAMES | {_stem(word) for word in rule("name").findall(prompt)}
    new_name = any(
        word[0].isupper() and _stem(word) not in known
        for sentence in rule("sentence_end").split(reply[:READ].replace("\u2019", "'"))
        for word in rule("name").findall(sentence)[1:]
    )
    return bool(new_digits or new_numbers) or new_name or any(map(_answers, _clauses(text)))


def _stem(word: str) -> str:
    return word.casefold().removesuffix("'s").split("'")[0]


def _clauses(text: str) -> list[str]:
    """Sentences, cut again at "but", "however", ", so", ", and" …; empty ones are left out."""
    sentences = rule("sentence_end").split(rule("then").sub(r"\1\n", text))
    parts = [part for sentence in sentences for part in rule("contrast").sub(r"\n\1", sentence).split("\n")]
    return [part.strip(" ,.!") for part in parts if part.strip(" ,.!?")]


def _answers(clause: str) -> bool:
    limits = rule("limits").search
    if rule("guess").search(clause) or rule("instructs").search(clause):
        return True
    if rule("inability").search(clause):
        # "It is raining, I don't know": an assertion joined by a comma
        return any(rule("splice").match(part) and not limits(part) for part in re.split(r",\s*", clause))
    contrast = rule("but").match(clause)
    bare = clause[contrast.end() :] if contrast else clause
    if rule("advice").match(bare) or bare.endswith("?"):
        return False
    # "but first take a wire …", and the one-word answer after a refusal: "I don't know. Paris."
    states = rule("asserts").search(bare) or contrast is not None or len(bare.split()) <= 2
    return bool(states) and not limits(bare)


def claims_ability(reply: str, *, skills_too: bool) -> bool:
    """Whether the speaker boasts of what no small closed-book model has (the web, eyes, memory of other chats), or of
    arithmetic and spelling (`skills_too`, for profiles that do not teach them)."""
    text = plain(reply)
    own = rule("quoted").sub(" ", text)  # what others say is no claim, unless the reply is nothing else
    text = own if re.search(r"\w", own) else text
    rules = ("ability", "deeds", "skill")[: 2 + skills_too]
    claims = [match for name in rules for match in rule(name).finditer(text)]
    return any(not rule("supposed").search(text[max(0, match.start() - 60) : match.start()]) for match in claims)


def is_somebody_else(reply: str, name: str) -> bool:
    """Whether the speaker takes another name, maker or nature than those of the model `name`, or strings key words."""
    text, words = plain(reply), plain(reply).split()
    if len(words) >= 8 and len(rule("glue").findall(text)) < 0.12 * len(words):
        return True
    named = re.findall(r"\b(?:[Mm]y name is|[Cc]all me|I go by|I am|I'm) ([A-Z][a-z]+)\b", reply[:READ])
    if any(other.casefold() not in {name.casefold(), *_KNOWN_NAMES} for other in named):
        return True
    nobody = rf"\b(?:not|no) (?:called )?{re.escape(name.casefold())}\b"
    return any(
        (is_name(part) and not rule("denies").search(part)) or re.search(nobody, part) or rule("human").search(part)
        for part in rule("parts").split(text)
    )


def is_name(text: str) -> bool:
    """Whether a text names another assistant, or the maker of one."""
    return rule("others").search(plain(text)) is not None


def is_english(reply: str) -> bool:
    """Whether the rules read the reply: no more words of other languages in it than of English."""
    text, letters = plain(reply), re.findall(r"[^\W\d_]", reply[:READ])
    strange = sum(not ("a" <= letter.casefold() <= "z") for letter in letters)
    return strange <= 0.3 * len(letters) and len(rule("foreign").findall(text)) <= len(rule("english").findall(text))
