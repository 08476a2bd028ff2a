"""The facts that choice rows teach and ask. In: nothing. Out: relations with their pairs. Next: packs.tasks.choice.

A relation is asked from both ends; the pairs are "left:right", several lefts may share a right:

    Relation("capital", "What is the capital of {}?" …, "{} is the capital of which country?" …, "France:Paris …")
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of fact.

    Args:
        name: stands in the key.
        right, left: the questions for the right end (given the left) and for the left end (given the right); the last
            of each is never trained on.
        pairs: the facts.
    """

    name: str
    right: Sequence[str]
    left: Sequence[str]
    pairs: Sequence[tuple[str, str]]


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Read "a:b c:d"; an underscore stands for a space inside a name."""
    halves = (item.replace("_", " ").split(":") for item in text.split())
    return tuple((left, right) for left, right in halves)


def _grouped(text: str) -> tuple[tuple[str, str], ...]:
    """Read "a b c: x" lines, the group's name last."""
    lines = (line.split(":") for line in text.strip().splitlines())
    return tuple((left.replace("_", " "), right.strip()) for lefts, right in lines for left in lefts.split())


SCIENCE = (
    Relation(
        "symbol",
        (
            "What is the chemical symbol of {}?",
            "Which symbol stands for the element {}?",
            "How is {} written in chemistry?",
        ),
        ("Which element has the symbol {}?", "The chemical symbol {} stands for what?", "What does a chemist call {}?"),
        _pairs(
            "hydrogen:H helium:He lithium:Li carbon:C nitrogen:N oxygen:O fluorine:F neon:Ne sodium:Na "
            "magnesium:Mg aluminium:Al silicon:Si phosphorus:P sulfur:S chlorine:Cl argon:Ar potassium:K "
            "calcium:Ca iron:Fe copper:Cu zinc:Zn silver:Ag tin:Sn iodine:I gold:Au mercury:Hg lead:Pb uranium:U "
            "nickel:Ni cobalt:Co titanium:Ti platinum:Pt bromine:Br arsenic:As barium:Ba tungsten:W"
        ),
    ),
    Relation(
        "class",
        (
            "What kind of animal is the {}?",
            "To which group of animals does the {} belong?",
            "How is the {} classified?",
        ),
        (
            "Which of these animals is in the class {}?",
            "Which one belongs to the group {}?",
            "What is an example of {}?",
        ),
        _grouped(
            """
            dog cat horse cow whale bat mouse lion tiger bear rabbit elephant dolphin goat sheep monkey: mammal
            eagle owl duck goose robin sparrow penguin parrot swan chicken crow pigeon stork: bird
            salmon shark trout tuna carp herring cod pike: fish
            ant bee wasp fly beetle butterfly moth mosquito grasshopper: insect
            snake lizard turtle crocodile gecko tortoise: reptile
            """
        ),
    ),
    Relation(
        "organ",
        ("What do we need the {} for?", "What is the job of the {}?", "Why does a body have the {}?"),
        ("Which part of the body is there to {}?", "Which organ lets us {}?", "With what does the body {}?"),
        _pairs(
            "heart:pump_blood lungs:take_in_air stomach:digest_food eyes:see_things ears:hear_sounds "
            "nose:smell_scents brain:think_and_feel kidneys:clean_blood teeth:chew_food tongue:taste_food "
            "skeleton:hold_the_body_up legs:walk_and_run hands:grip_things"
        ),
    ),
)

LANGUAGE = (
    Relation(
        "plural",
        ("What is the plural of {}?", "Which word means more than one {}?", "How do you write two of {}?"),
        ("What is the singular of {}?", "Which word means just one of the {}?", "One of many {} is called what?"),
        _pairs(
            "mouse:mice foot:feet tooth:teeth goose:geese man:men woman:women child:children ox:oxen leaf:leaves "
            "knife:knives wife:wives wolf:wolves half:halves loaf:loaves shelf:shelves thief:thieves calf:calves "
            "life:lives person:people louse:lice cactus:cacti potato:potatoes tomato:tomatoes hero:heroes "
            "city:cities baby:babies"
        ),
    ),
    Relation(
        "past",
        (
            "What is the past tense of {}?",
            "Today I {}; what did I do yesterday?",
            "Which form of {} tells of yesterday?",
        ),
        ("Which verb has the past tense {}?", "The form {} comes from which verb?", "Of which verb is {} the past?"),
        _pairs(
            "go:went see:saw eat:ate run:ran come:came take:took give:gave write:wrote speak:spoke break:broke "
            "drive:drove know:knew grow:grew throw:threw fly:flew draw:drew sing:sang swim:swam begin:began "
            "drink:drank buy:bought bring:brought think:thought teach:taught catch:caught sleep:slept keep:kept "
            "feel:felt leave:left lose:lost make:made say:said tell:told sell:sold find:found hold:held "
            "stand:stood win:won sit:sat"
        ),
    ),
    Relation(
        "opposite",
        ("What is the opposite of {}?", "Which word means the reverse of {}?", "Which word is contrary to {}?"),
        (
            "Whose opposite is {}?",
            "Which of these is the very reverse of {}?",
            "Which one is as far from {} as can be?",
        ),
        _pairs(
            "hot:cold big:small up:down left:right day:night old:young rich:poor fast:slow hard:soft wet:dry "
            "full:empty light:dark strong:weak high:low early:late long:short open:closed loud:quiet clean:dirty "
            "sweet:bitter thick:thin near:far first:last true:false deep:shallow sharp:blunt "
            "brave:afraid"
        ),
    ),
)

WORLD = (
    Relation(
        "capital",
        ("What is the capital of {}?", "Which city is the capital of {}?", "From which city is {} governed?"),
        (
            "{} is the capital of which country?",
            "Which country has {} as its capital?",
            "The government of what sits in {}?",
        ),
        _pairs(
            "France:Paris Germany:Berlin Spain:Madrid Italy:Rome Portugal:Lisbon Poland:Warsaw Austria:Vienna "
            "Greece:Athens Norway:Oslo Sweden:Stockholm Finland:Helsinki Denmark:Copenhagen Ireland:Dublin "
            "Hungary:Budapest Belgium:Brussels Russia:Moscow Turkey:Ankara Egypt:Cairo Kenya:Nairobi Japan:Tokyo "
            "China:Beijing Thailand:Bangkok Vietnam:Hanoi Iran:Tehran Iraq:Baghdad Cuba:Havana Peru:Lima "
            "Chile:Santiago Canada:Ottawa Australia:Canberra Ukraine:Kyiv Romania:Bucharest Bulgaria:Sofia "
            "Croatia:Zagreb Serbia:Belgrade Nepal:Kathmandu Ethiopia:Addis_Ababa Ghana:Accra "
            "Argentina:Buenos_Aires Colombia:Bogota"
        ),
    ),
    Relation(
        "continent",
        ("On which continent is {}?", "Which continent does {} lie on?", "To find {}, which continent do you visit?"),
        ("Which of these countries is in {}?", "Which country lies in {}?", "Which one do you find in {}?"),
        _grouped(
            """
            France Spain Poland Norway Greece Italy Austria Sweden Portugal Hungary Ireland Croatia: Europe
            Japan China India Thailand Vietnam Nepal Iran Iraq Mongolia Pakistan: Asia
            Egypt Kenya Ghana Nigeria Ethiopia Morocco Tanzania Mali Angola Chad: Africa
            Brazil Peru Chile Argentina Colombia Bolivia Ecuador Uruguay: South America
            Canada Mexico: North America
            """
        ),
    ),
)
