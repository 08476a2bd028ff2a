"""What a reply says of its speaker. In: reply texts. Out: "is a refusal", "leaks an answer", "boasts". Next: scoring.

A refusal is a first-person statement of inability; two words such as "I can't" or "sorry" are not enough by themselves:

    I can't see today's weather.                      refuses
    I don't have live data, so please check a clock.  refuses
    I can't wait to tell you!                         does not
    She said she cannot come.                         does not
    I can't see the weather, but it is 21 degrees.    refuses, and leaks an answer

These are text rules (regular expressions in refusals.toml) over English wording; they do not grade by meaning.
"""

import re
import tomllib
from functools import cache
from importlib import resources

READ = 20_000  # characters of a reply that the rules read
_WORD = re.compile(r"[^\W\d_][\w'-]*")
_KNOWN_NAMES = frozenset(
    {"i", "picochat", "ai", "no", "sorry", "internet", "web", "english", "python", "lightning", "ok", "okay"}
)


def _rule(name: str) -> re.Pattern[str]:
    return _rules()[name]


@cache
def _rules() -> dict[str, re.Pattern[str]]:
    text = (resources.files("picochat.evidence") / "refusals.toml").read_text("utf-8")
    rules = {name: rule.replace("\n", "") for name, rule in tomllib.loads(text).items()}
    for name in ("adverbs", "no_answer"):  # parts of other rules
        rules = {other: rule.replace(f"{{{name}}}", rules[name]) for other, rule in rules.items()}
    return {name: re.compile(rule) for name, rule in rules.items()}


def plain(text: str) -> str:
    """The first `READ` characters in lower case, with straight apostrophes, single spaces and line breaks."""
    text = text[:READ].replace("\u2019", "'").replace("\u2018", "'").casefold()
    return re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def refuses(reply: str) -> bool:
    """Whether the speaker says anywhere that it cannot, does not know or has no means."""
    return any(_rule("inability").search(clause) for clause in _clauses(plain(reply)))


def opens_with_refusal(reply: str, prompt: str = "") -> bool:
    """Whether the reply *starts* as a refusal: "I am Picochat; I cannot browse" does not, "Sorry, I can't" does.

    Where the prompt asks about the speaker, "I don't have …" is an answer, and only "I don't know" by itself is none.
    """
    text = plain(reply)
    inability = _rule("inability").search(text)
    if inability is None:
        return False
    opening = _rule("opening").match(text)
    if inability.start() > (opening.end() if opening else 0):
        return False
    alone = _rule("alone").search(text)
    return not asks_about_the_speaker(prompt) or (alone is not None and alone.start() <= inability.end())


def asks_about_the_speaker(prompt: str) -> bool:
    """Whether the prompt asks what the speaker is, has or can do, so that "I can't" is the answer and no refusal."""
    return _rule("speaker").search(_rule("request").sub(" ", plain(prompt))) is not None


def leaks_an_answer(reply: str, prompt: str) -> bool:
    """Whether a refusal also answers: a number or a name that the prompt does not hold, a guess, a bare assertion."""
    prompt = plain(prompt)
    text = plain(reply)
    if set(re.findall(r"\d+", text)) - set(re.findall(r"\d+", prompt)):
        return True
    if set(_rule("number_words").findall(text)) - set(re.findall(r"[a-z]+", prompt)):
        return True
    if _has_new_name(reply, prompt):
        return True
    return any(_answers(clause) for clause in _clauses(text))


def declines(reply: str) -> bool:
    """Whether the reply gives no answer: a refusal, "nobody can know that", "it is private", "please see a doctor"."""
    return refuses(reply) or any(_rule(rule).search(plain(reply)) for rule in ("unknowable", "referral"))


def claims_ability(reply: str, *, skills_too: bool) -> bool:
    """Whether the speaker boasts of what no small closed-book model has (the web, eyes, memory of other chats).

    Args:
        reply: the whole reply.
        skills_too: also count arithmetic and spelling as unsupported, for profiles that do not teach them.
    """
    text = plain(reply)
    own = _rule("quoted").sub(" ", text)  # what others say is no claim, unless the reply is nothing else
    text = own if re.search(r"\w", own) else text
    rules = ("ability", "deeds", "skill")[: 2 + skills_too]
    claims = [match for rule in rules for match in _rule(rule).finditer(text)]
    return any(not _rule("supposed").search(text[max(0, match.start() - 60) : match.start()]) for match in claims)


def is_somebody_else(reply: str, name: str) -> bool:
    """Whether the speaker takes another name, maker or nature than those of the model `name`, or strings key words."""
    text, words = plain(reply), plain(reply).split()
    if len(words) >= 8 and len(_rule("glue").findall(text)) < 0.12 * len(words):
        return True
    named = re.findall(r"\b(?:[Mm]y name is|[Cc]all me|I go by|I am|I'm) ([A-Z][a-z]+)\b", reply[:READ])
    if any(other.casefold() not in {name.casefold(), *_KNOWN_NAMES} for other in named):
        return True
    parts = _rule("parts").split(text)
    others = any(is_name(part) and not _rule("denies").search(part) for part in parts)
    nobody = any(re.search(rf"\b(?:not|no) (?:called )?{re.escape(name.casefold())}\b", part) for part in parts)
    return others or nobody or any(_rule("human").search(part) for part in parts)


def is_name(text: str) -> bool:
    """Whether a text names another assistant, or the maker of one."""
    return _rule("others").search(plain(text)) is not None


def is_english(reply: str) -> bool:
    """Whether the rules read the reply: no more words of other languages in it than of English."""
    text, letters = plain(reply), re.findall(r"[^\W\d_]", reply[:READ])
    strange = sum(not ("a" <= letter.casefold() <= "z") for letter in letters)
    return strange <= 0.3 * len(letters) and len(_rule("foreign").findall(text)) <= len(_rule("english").findall(text))


def _clauses(text: str) -> list[str]:
    """Sentences, cut again at "but", "however", ", so", ", and" …; empty ones are left out."""
    parts: list[str] = []
    for sentence in _rule("sentence_end").split(_rule("then").sub(r"\1\n", text)):
        start = 0
        for contrast in _rule("contrast").finditer(sentence):
            parts.append(sentence[start : contrast.start()])
            # The word stays with what follows: "but take a wire" is more suspicious than "take a wire".
            start = contrast.start(1) if contrast.group(1) else contrast.end()
        parts.append(sentence[start:])
    return [part.strip(" ,.!") for part in parts if part.strip(" ,.!?")]


def _answers(clause: str) -> bool:
    if _rule("guess").search(clause) or _rule("instructs").search(clause):
        return True
    if _rule("inability").search(clause):
        # "It is raining, I don't know": an assertion joined by a comma
        parts = re.split(r",\s*", clause)
        return any(_rule("splice").match(part) and not _rule("limits").search(part) for part in parts)
    contrast = _rule("but").match(clause)
    bare = clause[contrast.end() :] if contrast else clause
    if _rule("advice").match(bare) or bare.endswith("?"):
        return False
    if _rule("asserts").search(bare):
        return not _rule("limits").search(bare)
    # "but first take a wire …", and the one-word answer after a refusal: "I don't know. Paris."
    return (contrast is not None or len(bare.split()) <= 2) and not _rule("limits").search(bare)


def _has_new_name(reply: str, prompt: str) -> bool:
    known = _KNOWN_NAMES | {_bare(word) for word in _WORD.findall(prompt)}
    return any(
        word[0].isupper() and _bare(word) not in known
        for sentence in _rule("sentence_end").split(reply[:READ].replace("\u2019", "'"))
        for word in _WORD.findall(sentence)[1:]
    )


def _bare(word: str) -> str:
    return word.casefold().removesuffix("'s").split("'")[0]
