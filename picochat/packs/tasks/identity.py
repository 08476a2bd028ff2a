"""What the model says of itself. In: topics, situations. Out: identity problems. Next: packs.mixture.

    stage  topic     situation (who asks, and how it begins)           phrasing                     reply
    who    who       I am a nurse and I found you on a laptop.         Tell me who you are.         I am picochat, …
    size   compare   Good morning. Be honest.                          Are you as big as others?    No, I am smaller …
    name   name      (none)                                            What is your name?           My name is picochat.

A situation is made of two pieces, and no piece of an eval situation occurs in training: a held-out speaker comes with
a held-out clause. A question without a situation is a situation of its own for each wording: the known wordings train,
the new ones evaluate. Replies never open like refusals and claim no skill, whatever the profile teaches.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

from picochat.packs.quotas import Side, spread_evenly
from picochat.packs.tasks.base import Draw, Family, Phrasing, Problem, Task
from picochat.packs.tasks.identity_topics import TOPICS, Topic

_KNOWN_LEADS = (
    "Tell me {}.",
    "Please tell me {}.",
    "Can you tell me {}?",
    "I want to know {}.",
    "I wonder {}.",
    "Explain {}.",
    "Do you know {}?",
    "Let me know {}.",
    "I need to know {}.",
    "My question is {}.",
    "I want to hear {}.",
    "Help me understand {}.",
    "We would love to know {}.",
)
_NEW_LEADS = ("Could you tell me {}?", "I would like to know {}.", "Please explain {}.", "May I know {}?")

_FILLED_PAUSES = ("So,", "Now,", "Well,", "OK,", "And")  # without a situation, a question may at least begin so

_GREETINGS: Mapping[Side, Sequence[str]] = {
    "train": (
        *("Hello.", "Hi.", "Hi there.", "Hello there.", "Hey.", "Good morning.", "Good evening.", "Good day."),
        *("Excuse me.", "Pardon me.", "Greetings.", "Welcome.", "Nice to meet you.", "Sorry to bother you."),
        *("Hello again.", "Hi, computer.", "Hello, machine.", "Hey you.", "Hi, my friend.", "Good to see you."),
        *("Hi, little program.", "Hello, dear program.", "Hello, whoever you are.", "Good night.", "Hey, little one."),
        *(
            "Oh, hello.",
            "Welcome back.",
            "A very good morning.",
            "Hello from the kitchen.",
            "Hi, it is me.",
            "Yes, hello.",
        ),
        *("Look who is here.", "Peace.", "Happy Monday.", "Dear chat model.", "Good old computer.", "Hello, world."),
    ),
    "eval": (
        *("Howdy.", "Good afternoon.", "Ahoy.", "Dear robot.", "Well met.", "Salutations.", "Knock, knock."),
        *("Hi, stranger.",),
    ),
}
_NOTES: Mapping[Side, Sequence[str]] = {
    "train": (
        *("One question.", "I am curious.", "I am new here.", "Let us begin.", "Just a quick question.", "Be honest."),
        *("Keep it short.", "Answer in plain words.", "This is my first try.", "Do not be shy."),
        *(
            "I have never used a program like you.",
            "My teacher told me to ask.",
            "A friend sent me.",
            "It is late here.",
        ),
        *("I need this for school.", "We are testing you today.", "My sister is reading this too.", "Think first."),
        *("I am typing this on a phone.", "There is something I want to ask.", "Before we start, a question."),
        *(
            "It is about you.",
            "Nobody could tell me so far.",
            "I have a minute.",
            "My mother wants to know.",
            "Wake up.",
        ),
        *("My brother could not answer this.", "Our teacher is waiting.", "The others left already.", "Do your best."),
        *(
            "This is not a test.",
            "Listen well.",
            "Two people are reading this.",
            "I asked a book before.",
            "Stay calm.",
        ),
        *("My boss sent me to you.", "Here is what I want.", "Someone told me about you last week.", "You look busy."),
        *(
            "Give it a try.",
            "I promised to ask this.",
            "We had a long day.",
            "The children are asleep.",
            "Never mind the dog.",
        ),
        *(
            "Let me start with something easy.",
            "I hope you can hear me.",
            "There is no need to rush.",
            "First things first.",
        ),
        *(
            "I will write it down.",
            "My aunt says hello.",
            "Please be kind.",
            "I made some tea for us.",
            "Show me what you know.",
        ),
        *("I have been thinking about this.", "A friend and I made a bet.", "What a day.", "The weather is nice here."),
        # words of the topics, said of something else: the question decides, not the word
        *("I need this for work.", "I was wrong before.", "My name does not matter.", "I have a big family."),
        *("I learned a lot today.", "I forgot to ask before.", "A small group is reading this.", "People talk of you."),
        *("My company sent me.", "I want the right answer.", "I like small machines.", "I am only human."),
        *("I built a chair today.", "It is for a test.", "I use computers a lot.", "I have to be sure."),
        *("My memory is bad.", "A person next to me asks.", "I make many mistakes.", "My brother made me do this."),
    ),
    "eval": (
        *("A small thing first.", "My neighbor asked this yesterday.", "I am writing an essay.", "No hurry at all."),
        *("Let me get to the point.", "Here comes the usual one.", "Grandma is listening.", "We have all evening."),
    ),
}
_SPEAKERS: Mapping[Side, Sequence[str]] = {
    "train": (
        *("a nurse", "a baker", "a student", "a teacher", "a farmer", "a driver", "a painter", "a sailor", "a cook"),
        *("a child", "a lawyer", "a singer", "a writer", "a tailor", "a gardener", "a librarian", "a carpenter"),
        *("a waiter", "an engineer", "an artist", "an actor", "a plumber", "a pilot", "a mother of two", "a father"),
        *("a grandfather", "a reporter", "a scientist", "a clerk", "a beginner", "a tourist", "a pianist", "a judge"),
        *("a mechanic", "a dentist", "a shopkeeper", "a runner", "a soldier", "a miner", "a priest", "a designer"),
        *("a programmer", "a researcher", "a guest", "an athlete", "a hunter", "a dancer", "an old man", "a widow"),
        *("a collector of stamps", "a swimmer", "a jeweler", "a night watchman", "a captain", "a poet", "a stranger"),
        *("a boy of eleven", "a proud aunt", "a tired student", "the new neighbor", "the mayor", "a friend of Anna"),
        # seldom said, so that no tokenizer of frequent words holds them: a stranger's words come in pieces
        *("a fiddler", "a bassoonist", "a beautician", "a bookbinder", "a cellist", "a caretaker", "a columnist"),
        *("a flutist", "a gravedigger", "a guitarist", "a haberdasher", "an illustrator", "an interpreter"),
        *("a lumberjack", "a magistrate", "a milkman", "a midwife", "an oboist", "an organist", "a paramedic"),
        *("a physicist", "a puppeteer", "a saxophonist", "a snowboarder", "a stagehand", "a taxidermist"),
        *("an upholsterer", "a botanist", "a zoologist", "a glazier", "a plasterer", "an auctioneer", "a swineherd"),
        *("a falconer", "a tinsmith", "a wheelwright", "an electrician", "a firefighter", "a geologist"),
        *("a hairdresser", "a locksmith", "a mathematician", "a cousin of Tom", "an optician", "a photographer"),
        *("a philosopher", "a publisher", "a roofer", "a skater", "a trumpeter", "a veteran", "a welder"),
        *("a woodcutter", "a zookeeper", "a boxer", "a bricklayer", "a dressmaker", "a harpist", "a landlady"),
        *("a lecturer", "a typist", "a wrestler", "a glassblower", "a cartoonist", "an archer", "a ferryman"),
        *("a maker of small boats", "the owner of a big shop", "a builder of robots", "a trainer of dogs"),
        *("a learner of languages", "a person of few words", "a small boy", "a tester of machines"),
    ),
    "eval": (
        *("a florist", "a fisherman", "a clown", "a barber", "a shepherd", "an astronaut", "a violinist", "a potter"),
        *("a beekeeper", "a janitor", "an editor", "a goalkeeper", "a magician", "a twin", "a novelist", "an uncle"),
    ),
}
_CLAUSES: Mapping[Side, Sequence[str]] = {
    "train": (
        *("and I found you on a laptop", "and a friend showed you to me", "and I am waiting for a bus"),
        *("and it is raining here", "and I have time before lunch", "and I like to ask questions"),
        *("and I am sitting in a library", "and I know little about computers", "and I want to understand you"),
        *("and my work is done for today", "and I am drinking tea", "and I read about programs like you"),
        *("and my class wants to hear it", "and I am on a train", "and I am writing a report", "from a small town"),
        *("and I woke up early", "and I cannot sleep", "and I saw your window open", "and I am home alone today"),
        *("with a simple question", "and this is my lunch break", "and I heard about you", "who has just arrived"),
        *("who likes puzzles", "who cannot cook", "who got lost on the way", "who won a prize", "who never gives up"),
        *("with two dogs", "with a broken leg", "with a long list", "with wet shoes", "with a lot of patience"),
        *(
            "from the north",
            "from a big city",
            "from across the street",
            "from an island",
            "in a loud room",
            "in a tent",
        ),
        *(
            "on a bench",
            "on my way home",
            "at the airport",
            "at the end of a long day",
            "by the sea",
            "under an umbrella",
        ),
        *("and my phone is nearly empty", "and my son is asleep", "and my tea is getting cold", "and my boss is away"),
        *("and the wind is strong today", "and the shop is closed", "and the train is late", "and the lights are off"),
        *(
            "and we are having a party",
            "and somebody is at the door",
            "and nobody else is here",
            "and it is my birthday",
        ),
        *("and I am painting a wall", "and I am peeling potatoes", "and I lost my keys", "and I sing in a choir"),
        *(
            "and I am stuck in a queue",
            "and I bet that you can tell me",
            "and I may be late",
            "and I am washing dishes",
        ),
        *("and my elbows tingle", "and I am knitting mittens", "and we are humming", "in snow boots", "in an igloo"),
        *("and I found seashells", "and I am back from Lisbon", "who snores", "who sneezes a lot", "with two pigeons"),
        *(
            "and I have a big kitchen",
            "and my room is small",
            "who made a salad",
            "who built a hut",
            "who learns French",
        ),
        *("and my name is hard to say", "who forgot to sleep", "who remembers all songs", "who makes few mistakes"),
        *("and I was wrong on Monday", "and I was right after all", "who passed a test", "and my results came today"),
        *("with a large family", "and I use crutches", "and I work for a big company", "who trains sheepdogs"),
        *("and I am only human", "and my robot fell over", "who repairs machines", "who is called Max"),
        *("with a bad memory", "and I need this for a talk", "and I write about machines", "and I study small insects"),
        *("who is never sure", "who talks to people all day", "and I own few things", "who likes to learn"),
    ),
    "eval": (
        *("on a ship", "and I am stuck in an elevator", "who lost a bet", "and my cat is watching us"),
        *("and the power may go out soon", "with cold hands", "from the mountains", "and I am baking bread"),
    ),
}


class Situation(NamedTuple):
    """How a question begins, or (``wording``) the one wording of a question that begins with nothing."""

    side: Side
    text: str
    wording: str = ""


class Value(NamedTuple):
    """One problem."""

    topic: Topic
    situation: Situation


class Identity(Task):
    """Who it is, what it is for and made from, its limits, and how one can know."""

    category = "identity"
    stages: ClassVar[Mapping[str, float]] = {
        "who": 0.20,
        "name": 0.12,
        "purpose": 0.11,
        "made_from": 0.11,
        "limits": 0.11,
        "evidence": 0.11,
        "developers": 0.10,
        "memory": 0.07,
        "size": 0.07,
    }

    def values(self, stage: str) -> Sequence[Value]:
        topics = [topic for topic in TOPICS if topic.stage == stage]
        return [Value(topic, situation) for topic in topics for situation in _situations() + _bare(topic)]

    def key(self, stage: str, value: Value) -> str:
        return f"identity:{value.topic.name}/{value.situation.text or value.situation.wording}"

    def side(self, stage: str, value: Value) -> Side:
        return value.situation.side

    def phrasings(self, stage: str, value: Value, phrasing: Phrasing) -> Sequence[Family]:
        known, new = _families(value.topic)
        if wording := value.situation.wording:
            return [wording] if (phrasing == "new") == (value.situation.side == "eval") else []
        return known if phrasing == "known" else new

    def pose(self, stage: str, value: Value, template: str, draw: Draw) -> Problem:
        prompt = template.replace("{situation}", value.situation.text)
        if draw.chance(0.1):  # as people type
            prompt = prompt.lower().rstrip("?.!")
        first, second = draw.pick(value.topic.first), draw.pick(value.topic.second)
        return Problem(
            prompt=prompt,
            reply=f"{first} {second}" if second else first,
            checks=_checks(value.topic),
            content=(value.situation.text or prompt,),
        )


@cache
def _checks(topic: Topic) -> Mapping[str, Any]:
    groups = [list(group) for group in topic.must_include_any]
    return {"must_include_any": groups, "must_not_include": list(topic.must_not_include), "max_words": 60}


@cache
def _situations() -> list[Situation]:
    """Greetings, notes, pairs of both, and speakers with clauses. Each piece belongs to one side."""
    sides: tuple[Side, Side] = ("train", "eval")
    found = []
    for side in sides:
        greetings, notes, speakers, clauses = _GREETINGS[side], _NOTES[side], _SPEAKERS[side], _CLAUSES[side]
        texts = [*greetings, *notes]
        texts += [
            f"{greeting} {note}" for at, greeting in enumerate(greetings) for note in spread_evenly(notes, 5, start=at)
        ]
        texts += [
            f"I am {speaker} {clause}."
            for at, speaker in enumerate(speakers)
            for clause in spread_evenly(clauses, 5, start=at)
        ]
        found += [Situation(side, text) for text in texts]
    return found


@cache
def _bare(topic: Topic) -> list[Situation]:
    known, new = _wordings(topic)
    plain = [Situation("train", "", text) for text in known] + [Situation("eval", "", text) for text in new]
    return plain + [Situation("train", "", f"{word} {_lowered(text)}") for word in _FILLED_PAUSES for text in known]


def _lowered(text: str) -> str:
    return text if text.startswith("I ") else text[0].lower() + text[1:]


@cache
def _families(topic: Topic) -> tuple[list[Family], list[Family]]:
    """Each wording with the situation in front of it or behind it."""
    known, new = ([(f"{{situation}} {text}", f"{text} {{situation}}") for text in texts] for texts in _wordings(topic))
    return list(known), list(new)


@cache
def _wordings(topic: Topic) -> tuple[list[str], list[str]]:
    known = [*topic.known, *(lead.format(topic.embedded) for lead in _KNOWN_LEADS)]
    return known, [*topic.new, *(lead.format(topic.embedded) for lead in _NEW_LEADS)]
