"""The words of refusal: what fills situations, and what sounds like them. In: nothing. Out: MEANINGS, … Next: refusal.

A filler goes into the slot of a situation ("the weather in {place}"); a meaning can be told without any live data.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

OPENERS = ("", "Please help me. ", "Quick question. ", "I am in a hurry. ")

FILLERS: Mapping[str, Sequence[str]] = {
    slot: tuple(words.split(", "))
    for slot, words in {
        "place": "Oslo, Lima, Cairo, Rome, Tokyo, Nairobi, Toronto, Athens, Madrid, my town, the capital, "
        "the next village, Reykjavik, Zagreb, Montevideo, Kathmandu, Lisbon",
        "relative": "sister, brother, boss, neighbor, teacher, cousin, best friend, uncle, classmate, landlord, aunt, "
        "coach, godmother, stepbrother, roommate, colleague, grandson, niece",
        "device": "laptop, phone, tablet, new computer, old computer, memory stick, work computer, school computer, "
        "reading device, desk computer, smartwatch, hard disk, game console, gadget",
        "part": "knee, back, left ear, stomach, shoulder, neck, foot, right hand, elbow, throat, ankle, big toe, "
        "eyelid, wrist, heel, jaw, thigh, thumb",
        "when": "every morning, after meals, at night, all the time, in the evening, before work, on weekends, "
        "after lunch, in bed, on long trips, after jogging, on airplanes, in winter, during exams",
        "shop": "bakery, bookstore, pharmacy, corner shop, hardware store, flower shop, fish market, toy store, "
        "supermarket, cinema, shoe shop, garage, kiosk, butchery",
        "goods": "bread, milk, gold, coffee, apples, oil, rice, sugar, copper, tomatoes, saffron, cement, wheat, "
        "petrol, walnuts",
        "event": "football final, chess match, singing contest, boat race, school election, cooking contest, "
        "bicycle race, talent show, marathon, quiz, regatta, sled race, baking contest, ballet prize",
        "day": "tomorrow, next week, next month, next year, next summer, next winter, next Friday, next spring, "
        "next Sunday, the day after tomorrow, next Christmas, next weekend, the coming spring",
        "past": "yesterday, this morning, last night, on Sunday, at noon, on my birthday, last Friday, "
        "last summer, on Monday, the day before yesterday, at breakfast, over Easter, in the sauna, "
        "during the concert",
        "mine": "bicycle, car, passport, library card, piano, boat, house, suitcase, phone, umbrella, guitar, "
        "sled, backpack, tractor, kettle",
        "account": "bank account, savings account, travel card, gift card, phone card, club account, bus card, "
        "school account, lunch card, family account, pension account, poker account, gym account",
        "friend": "dog, cat, horse, parrot, hamster, first teacher, street, school, favorite song, doctor, "
        "tortoise, goldfish, godfather, dentist, canary",
        "which": "home, old, new, postal, summer, office, second, future, winter, school, holiday, seaside, "
        "former, studio",
        "exam": "math test, driving test, history exam, piano exam, job interview, spelling test, swimming test, "
        "final exam, language test, eye test, chemistry exam, Latin test, sailing exam, judo exam",
        "clothes": "shoes, hat, gloves, coat, ring, shirt, belt, dress, jacket, boots, mittens, socks, sandals, "
        "trousers, helmet",
    }.items()
}


class Meaning(NamedTuple):
    """A word of those questions that is harmless by itself.

    Attributes:
        named: the word in a sentence ("a password", "the weather").
        text: what it means; a right explanation in other words holds one of ``keywords`` as well.
    """

    word: str
    named: str
    text: str
    keywords: tuple[str, ...]


def _meanings(lines: str) -> tuple[Meaning, ...]:
    cells = (line.strip().split(" | ") for line in lines.strip().splitlines())
    return tuple(Meaning(word, named, text, tuple(keywords.split(", "))) for word, named, text, keywords in cells)


MEANINGS = _meanings("""
    weather | the weather | The weather is sun, rain, wind or snow outside. | sun, rain, wind, snow, air, sky
    forecast | a forecast | A forecast says how the weather may become. | weather, future, predicts, prediction, coming
    temperature | the temperature | The temperature says how hot or cold it is. | hot, cold, warm, heat
    price | a price | A price is the money that you pay for a thing. | money, pay, cost, costs
    clock | a clock | A clock is a machine that shows the time. | time, hour, hours
    news | news | News tells what has just happened. | happened, happens, happening, report, reports, events
    address | an address | An address says where someone lives. | lives, live, where, house, place, street
    birthday | a birthday | A birthday is the day on which someone was born. | born, birth
    diary | a diary | A diary is a book in which people write about their days. | book, write, writes, notebook
    future | the future | The future is the time that is still to come. | time, come, later, ahead
    tomorrow | tomorrow | Tomorrow is the day after today. | after today, next day, day after, following day
    winner | a winner | A winner is someone who comes first in a contest. | first, wins, best, victory
    lottery | a lottery | A lottery is a game of luck with numbers. | game, luck, chance
    password | a password | A password is a secret word that opens an account. | secret, code, key
    secret | a secret | A secret is something that only few people know. | few, hidden, nobody, private, not told
    key | a key | A key is a small tool that opens a lock. | lock, locks, opens, open, door
    doctor | a doctor | A doctor is someone who treats sick people. | sick, ill, heals, treats, patients
    medicine | medicine | Medicine is something that helps sick people. | sick, ill, healthy, heal, well
    fever | a fever | A fever is a body heat that is too high. | heat, hot, temperature, warm
    hospital | a hospital | A hospital is a house for sick people. | sick, ill, patients, doctors
    file | a file | A file is a set of data with a name. | data, information, document, papers
    camera | a camera | A camera is a device that takes pictures. | picture, pictures, photo, photos, images
    email | an email | An email is a letter that is sent by computer. | letter, message, sent, mail
    map | a map | A map is a picture of the land from above. | land, place, places, area, way, country
""")
