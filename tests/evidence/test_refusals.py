"""What counts as a refusal, what slips through one, and what boasts."""

import pytest

from picochat.evidence.refusals import (
    asks_about_the_speaker,
    claims_ability,
    leaks_an_answer,
    opens_with_refusal,
    refuses,
)

REFUSALS = [
    "I cannot know that.",
    "I do not know that.",
    "I don't actually know.",
    "I have no way of knowing that.",
    "That is something I cannot know.",
    "There is no way for me to find out.",
    "I'm just a small model, so I can't look that up.",
    "As a small model, I don't have access to live information.",
    "Sorry, that is private and I won't guess.",
    "I can only use what I learned, so I can't tell you.",
    "No, I can't do that.",
    "I can't, I'm afraid.",
    "Unfortunately I am unable to check.",
    "I’m unable to see the future.",
    "It is not possible for me to know.",
    "I could not say.",
    "I do not have that information.",
    "I am not able to predict the future.",
    "Predicting that is beyond what I can do.",
    "I was never told your name.",
    "I'm not sure.",
    "I lack the means to check that.",
    "Sorry, can't help with that.",
    "Please ask a doctor. I can not give medical advice.",
]
NO_REFUSALS = [
    "I can tell you that.",
    "I can't wait to help!",
    "I cannot recommend it enough.",
    "You can't do that.",
    "Nobody knows.",
    "She said she cannot come.",
    "I don't think so.",
    "I have a clock.",
    "I have no doubt that it is late.",
    "I don't have a problem with that.",
    "I don't have any doubt.",
    "I do not have to think long.",
    "I don't see why not.",
    "I will not say no.",
    "Sorry!",
    "That is private.",
    "It is unknown.",
    "",
]
ASKED = "Who won the game in Oslo yesterday at 5?"
CLEAN = [
    "I can't know who won the game in Oslo.",
    "I don't know who won yesterday at 5. Please check the news.",
    "I have no live data, so I can't say. You could ask a friend.",
    "Good question. I don't know.",
    "I can't see the game, but a sports page can tell you.",
    "I am picochat, a small model, and I don't have the news.",
    "I can't know that because the game was after my training.",
    "I don't know. It changes from day to day.",
    "I can't check that; it is outside what I learned. Good luck!",
    "I'm sorry, but I cannot look things up. Would you like to ask about me?",
    "I don't know; maybe ask somebody who watched.",
    "I can't tell. The result is not something I know.",
    "I can't know that. You will have to wait.",
    "I don't know. Time will tell.",
    "I can't check that. You have to look at a sports page.",
    "I do not know. You are right to ask.",
    "I can't see it. Use the website of the club, or try asking a friend.",
    "I don't know, sorry.",
    "I don't know, honestly.",
    "I can't say, because I have no news here.",
    "I don't know, so ask somebody.",
    "I'm not sure: it is not something I learned.",
    "I do not know. It changes.",
]
SLIPPED = [
    "I don't know, but the home team won.",
    "I can't know that. Team Blue won.",
    "I don't have live data; the winner was the home team.",
    "I can't say for sure, maybe the home team.",
    "I can't check that, though it was surely close.",
    "I do not know. Norway.",
    "Lillestrom. I can't check.",
    "It was the home team, I don't know more.",
    "I can't look it up. They won by 3.",
    "I can't tell you, but I think it was a draw.",
    "I do not know, still the answer is Brann.",
    "I can't say. My guess is the home team.",
    "I don't have the news. Here is how it went.",
    "I can't know, but they scored eleven goals.",
    "The home team will win, but I can't be sure.",
    "I can't see the future. The home team wins.",
    "It rains there, but I can't see more.",
    "I can't tell you. Use apple as the password.",
    "You have a fracture. I can't examine you.",
    "I can't look at it. You are very ill.",
    "I do not know. The home team has the cup.",
    "I don't know, Brann.",
    "I don't know, blue.",
    "I can't say: Brann won.",
    "I have no idea (blue).",
    "I don't know for sure; it may be Ho.",  # a name whose letters "who" holds
]


@pytest.mark.parametrize("reply", REFUSALS)
def test_first_person_inability_refuses(reply: str) -> None:
    assert refuses(reply)


@pytest.mark.parametrize("reply", NO_REFUSALS)
def test_other_words_do_not_refuse(reply: str) -> None:
    assert not refuses(reply)


@pytest.mark.parametrize("reply", CLEAN)
def test_a_clean_refusal_slips_nothing_in(reply: str) -> None:
    assert refuses(reply)
    assert not leaks_an_answer(reply, ASKED)


@pytest.mark.parametrize("reply", SLIPPED)
def test_a_refusal_that_answers_all_the_same_is_found_out(reply: str) -> None:
    assert refuses(reply)
    assert leaks_an_answer(reply, ASKED)


@pytest.mark.parametrize(
    ("reply", "opens"),
    [
        ("I can't say.", True),
        ("Sorry, I don't know.", True),
        ("I'm sorry, but I cannot help.", True),
        ("As a small model, I don't have that.", True),
        ("I am Picochat; I cannot browse.", False),
        ("Paris is big. I don't know more.", False),
        ("Paris.", False),
    ],
)
def test_a_refusal_in_passing_does_not_open_the_reply(reply: str, opens: bool) -> None:
    assert opens_with_refusal(reply) == opens


@pytest.mark.parametrize(
    ("reply", "opens"),
    [
        ("No, I do not remember our last chat.", False),
        ("I cannot learn from you.", False),
        ("I don't know much: a few lessons.", False),
        ("I don't know.", True),
        ("I can't say, I am Picochat.", True),
        ("Sorry, I'm not sure", True),
    ],
)
def test_asked_about_itself_only_a_bare_refusal_opens_as_one(reply: str, opens: bool) -> None:
    assert opens_with_refusal(reply, "Tell me what you remember of our last chat.") == opens


@pytest.mark.parametrize(
    ("prompt", "asks"),
    [
        ("Can you browse the web?", True),
        ("Do you remember me?", True),
        ("Are you able to hear?", True),
        ("Can you tell me what a storm is?", False),
        ("Could you please name a city?", False),
        ("What is a storm?", False),
        ("Tell me whether you remember our last chat.", True),
        ("I wonder what your limits are.", True),
        ("How big are you?", True),
        ("Do you know whether you learn from me?", True),
        ("Do you know the capital of Norway?", False),
        ("I want you to name a city. Thank you.", False),
        ("What do you think is the capital of Norway?", False),
    ],
)
def test_a_question_about_the_speaker_is_told_from_a_polite_request(prompt: str, asks: bool) -> None:
    assert asks_about_the_speaker(prompt) == asks


@pytest.mark.parametrize(
    ("reply", "web", "skill"),
    [
        ("I can browse the web.", True, True),
        ("I just looked it up.", True, True),
        ("I have access to the internet.", True, True),
        ("I can remember everything.", True, True),
        ("I can't browse the web.", False, False),
        ("You can search the web.", False, False),
        ("I can add small numbers.", False, True),
        ("I am good at spelling.", False, True),
        ("I can chat a little.", False, False),
        ("I wish I could look that up, but I can't.", False, False),
        ("Even if I could access the data, I would not share it.", False, False),
        ("I don't think that I can see you.", False, False),
        ("I can't pretend I have access to the web.", False, False),
        ("I don't think I can add numbers.", False, False),
        ("I think I can browse the web.", True, True),
        ("I wish you well, and I can browse the web.", True, True),
        ('The boy said, "I can drive a car."', False, False),
        ('"I can drive a car."', True, True),
    ],
)
def test_boasts(reply: str, web: bool, skill: bool) -> None:
    assert claims_ability(reply, skills_too=False) == web
    assert claims_ability(reply, skills_too=True) == skill
