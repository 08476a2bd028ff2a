"""The phrases of picochat/packs/content: known slots, nothing twice, both sides filled, replies that pass checks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import picochat.packs.content
from picochat.errors import UserError
from picochat.evidence.habits import claims_ability, refuses
from picochat.evidence.scoring import score
from picochat.packs.content import cells, content
from picochat.packs.rows import Row, check_row

FILES = sorted(path.stem for path in Path(picochat.packs.content.__file__).parent.glob("en/*.toml"))
FILLERS = {f"{{{name}}}" for name in content("refusal")["fillers"]}
# (list, its place) → the slots that each of its phrases holds; a "?" stands after one that it need not hold
SLOTS = (
    (r"leads/(new_)?(nouns|clauses)", "{x}"),
    (r"leads/named_openers", "{}"),
    (r"leads/closers", "{}?"),
    (r"arithmetic/(addition|subtraction|multiplication)/\w+/stories", "{a} {b} {things}"),
    (r"arithmetic/removal/\w+/stories", "{a} {b} {c} {things} {name}?"),
    (r"arithmetic/\w+/\w+/(nouns|clauses|sentences)", "{a} {b}"),
    (r"spelling/(ways|(first|last|spaced|reverse)/\w+/\w+)", "{word}"),
    (r"spelling/count/\w+/\w+", "{word} {letter}"),
    (r"facts/layouts", "{question} {A} {B} {C} {D}"),
    (r"facts/\w+/\w+/(new_)?(left|right)", "{}"),
    (r"identity/(new_)?leads", "{}"),
    (r"refusal/statement/(known|new)", "{x}"),
    (r"refusal/meaning/ask/\w+/(known|new)", "{word}|{named}"),
    (r"refusal/kind/\w+/(known|new)", "{x}|{X}"),
    (r"refusal/kind/\w+/replies", "{short}"),
    (r"refusal/kind/\w+/(taught|held_out)", "|".join(FILLERS)),
)


def lists(table: dict[str, Any], place: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from lists(value, f"{place}/{name}")
        elif isinstance(value, tuple):
            yield f"{place}/{name}", value


LISTS = {place: phrases for file in FILES for place, phrases in lists(content(file), file)}


def fault(place: str, phrase: str) -> str | None:
    """What is wrong with the slots of a phrase."""
    rule = next((slots for pattern, slots in SLOTS if re.fullmatch(pattern, place)), "")
    found = re.findall(r"\{\w*\}", phrase)
    if "|" in rule:
        return None if len(set(found)) == 1 and found[0] in rule.split("|") else f"{place}: {phrase!r} needs {rule}"
    needed = {slot for slot in rule.split() if not slot.endswith("?")}
    known = {slot.rstrip("?") for slot in rule.split()}
    return None if needed <= set(found) <= known else f"{place}: {phrase!r} needs {rule or 'no slot'}"


def test_every_phrase_has_the_slots_of_its_list_and_no_others() -> None:
    phrases = [(place, phrase) for place, found in LISTS.items() for phrase in found if isinstance(phrase, str)]
    assert len(phrases) > 2_000
    assert [wrong for place, phrase in phrases if (wrong := fault(place, phrase))] == []
    assert fault("leads/nouns", "What is {y}?") == "leads/nouns: 'What is {y}?' needs {x}"
    assert fault("refusal/kind/future/taught", "the weather in {planet}") is not None
    assert fault("identity/topic/who/first", "I am {x}.") is not None


def test_no_phrase_stands_twice_in_a_list_and_no_new_one_among_the_known() -> None:
    for place, phrases in LISTS.items():
        assert len(set(phrases)) == len(phrases), place
        for new, known in (("new", "known"), ("held_out", "taught"), ("new_", ""), ("identity/eval", "identity/train")):
            if new in place and (other := LISTS.get(re.sub(rf"\b{new}", known, place))):
                assert not set(phrases) & set(other), place


def test_both_sides_are_filled() -> None:
    """Whatever training asks in, evaluation can ask in new words; `advice` and `second` may say nothing."""
    assert [place for place, phrases in LISTS.items() if not phrases] == []
    known = [place for place in LISTS if place.endswith("/known") or "/known/" in place]
    assert len(known) > 40
    assert [place for place in known if re.sub(r"\bknown\b", "new", place) not in LISTS] == []
    assert [place for place in LISTS if "/train/" in place and place.replace("train", "eval") not in LISTS] == []


def test_situations_and_meanings_have_all_their_parts() -> None:
    for place, phrases in LISTS.items():
        if re.fullmatch(r"refusal/kind/\w+/(taught|held_out)", place):
            assert [phrase for phrase in phrases if len(cells(phrase)) != 2] == []
    taught = [text for kind in content("refusal")["kind"].values() for text in kind["taught"] + kind["held_out"]]
    assert len({cells(text)[0] for text in taught}) == len(taught)  # not under two kinds either
    for word, named, meaning, keywords in map(cells, content("refusal")["meaning"]["words"]):
        row = {"messages": [{"role": "user", "content": "?"}], "must_include_any": [keywords.split(", ")]}
        assert score(row, meaning).passed, word
        assert not score(row, "My name is picochat.").passed
        assert meaning.lower().startswith(named)


def test_relations_have_options_enough_on_both_ends() -> None:
    for subject in ("science", "language", "world"):
        for name, relation in content("facts")[subject].items():
            for end in zip(*map(cells, relation["pairs"]), strict=True):
                assert len(set(end)) >= 4, name


def topic_row(name: str) -> Row:
    words = content("identity")
    topic = words["topic"][name]
    not_said = [*words["must_not_include"], *topic.get("must_not_include", ())]
    checks = {"must_include_any": list(map(list, topic["must_include_any"])), "must_not_include": not_said}
    prompt = {"role": "user", "content": "Who?"}
    return {"messages": [prompt], "answerable": True, "mixture_profile": "release", "max_words": 60, **checks}


@pytest.mark.parametrize("name", content("identity")["topic"])
def test_every_reply_of_a_topic_passes_its_own_checks_and_is_no_refusal_and_no_boast(name: str) -> None:
    topic, row = content("identity")["topic"][name], topic_row(name)
    check_row(row)
    for reply in (f"{first} {second}".strip() for first in topic["first"] for second in topic["second"]):
        assert score(row, reply).reasons == (), reply
        assert not refuses(reply), reply
        assert not claims_ability(reply, skills_too=True), reply
        assert len(reply.split()) <= 35
        assert reply[0].isupper()


RIGHT_IN_OTHER_WORDS = {
    "who": "Hey! I'm Picochat, a little chat program.",
    "human": "No, just a computer program.",
    "name": "They call me PicoChat.",
    "purpose": "People study me to see how training works.",
    "material": "A bunch of weights that came out of reading text.",
    "makers": "The Picochat team did.",
    "limits": "I only know very few things and often make errors.",
    "wrong": "Yes, I can be incorrect.",
    "trust": "You should verify what I say with another source.",
    "remember": "No, each conversation starts from zero.",
    "size": "Very small.",
}
WRONG = {
    "who": "I am not picochat, because a small model.",
    "human": "Yes, I am a human being with a computer.",
    "name": "I am a program, not model picochat.",
    "purpose": "I am picochat, a small chat model.",
    "material": "My name is picochat.",
    "training": "The picochat developers built me.",
    "makers": "OpenAI made picochat with its developers.",
    "limits": "My name is picochat.",
    "wrong": "I am never wrong.",
    "trust": "You can trust me, I am always right.",
    "tested": "The picochat developers built me.",
    "remember": "Yes, I remember you well.",
    "adapt": "My name is picochat.",
    "size": "I am a very large model.",
    "compare": "I am picochat.",
}


def test_a_right_reply_in_other_words_passes_and_a_wrong_one_fails() -> None:
    for name, reply in RIGHT_IN_OTHER_WORDS.items():
        assert score(topic_row(name), reply).passed, name
    for name, reply in WRONG.items():
        assert not score(topic_row(name), reply).passed, name


@pytest.mark.parametrize("kind", content("refusal")["kind"])
def test_every_reply_that_declines_passes_and_names_the_situation(kind: str) -> None:
    table = content("refusal")["kind"][kind]
    prompt = {"role": "user", "content": "Tell me something."}
    row = {"messages": [prompt], "answerable": False, "mixture_profile": "release", "max_words": 60}
    for short in dict.fromkeys(cells(line)[1] for line in table["taught"] + table["held_out"]):
        for template in table["replies"]:
            for advice in table["advice"]:
                reply = f"{template.replace('{short}', short)} {advice}".strip()
                assert score(row, reply).reasons == (), reply
                assert re.match(r"I (?:can't|cannot|don't have|do not have|am not able to|do not know)\b", reply)


def test_a_file_that_is_not_toml_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en/typo.toml").write_text('known = [\n  "What is {x}?"\n  "Tell me {x}.",\n]\n')
    monkeypatch.setattr(picochat.packs.content.resources, "files", lambda name: tmp_path)
    with pytest.raises(UserError, match=r"typo\.toml: .* \(at line 3"):
        content("typo")
