"""How sums, differences, products and stories are put into words. In: nothing. Out: families. Next: tasks.arithmetic.

{a} and {b} are the operands; the order in which a sum or a product is asked belongs to the phrasing. A difference is
{a} - {b}. A bare "27+15" is never asked: the working begins with it, and a reply that opens with the prompt is an echo.
"""

import re
from collections.abc import Mapping, Sequence

from picochat.packs.tasks.base import Family, Phrasing
from picochat.packs.tasks.wording import families, new_families

Pair = tuple[int, int]

_THINGS = (
    "apples", "books", "buttons", "cards", "coins", "cookies", "cups", "dolls", "eggs", "flowers", "forks", "keys",
    "lemons", "marbles", "nuts", "pears", "pencils", "pens", "plates", "plums", "rings", "rocks", "seeds", "shells",
    "spoons", "stamps", "stars", "sticks", "stones", "toys",
)  # fmt: skip
NAMES = (
    *("Ana", "Ben", "Cora", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jack", "Kim", "Leo", "Mia", "Noah", "Olga"),
)


def _both(templates: Sequence[Family]) -> tuple[Family, ...]:
    """Each family with both orders of the operands: the problem is the same, the sentence is not."""
    swap = {"{a}": "{b}", "{b}": "{a}"}
    listed = [(family,) if isinstance(family, str) else tuple(family) for family in templates]
    return tuple(
        (*texts, *(re.sub(r"\{[ab]\}", lambda slot: swap[slot[0]], text) for text in texts)) for texts in listed
    )


def _of_things(*templates: str) -> tuple[tuple[str, ...], ...]:
    """Each template once for each kind of thing, as one family."""
    return tuple(tuple(text.replace("{things}", thing) for thing in _THINGS) for text in templates)


class Wordings:
    """Families of templates, and the part of them that suits special pairs.

    "1 apples" cannot be said, so 0 and 1 are never counted as things. Of a double (5 + 5) both orders are one sentence.

    Args:
        bare: families that name the numbers alone.
        stories: families about things.
        both_orders: ask the bare ones with their operands in either order.
    """

    def __init__(self, bare: Sequence[Family], stories: Sequence[Family], both_orders: bool = False) -> None:
        bare = _both(bare) if both_orders else bare
        self._all, self._bare = (*bare, *stories), tuple(bare)
        self._once, self._bare_once = _one_order(self._all), _one_order(self._bare)

    def of(self, value: Pair) -> Sequence[Family]:
        if value[0] == value[1]:
            return self._once if value[0] > 1 else self._bare_once
        return self._all if value[0] > 1 else self._bare


def _one_order(families: Sequence[Family]) -> tuple[tuple[str, ...], ...]:
    seen: set[str] = set()
    kept = []
    for family in families:
        listed = [family] if isinstance(family, str) else family
        texts = {text.replace("{b}", "{a}"): text for text in reversed(listed)}  # of two alike the first stays
        kept.append(tuple(text for same, text in reversed(texts.items()) if same not in seen))
        seen.update(texts)
    return tuple(family for family in kept if family)


_ADDITION_NOUNS = (
    *("{a} + {b}", "{a} plus {b}", "the sum of {a} and {b}", "the total of {a} and {b}", "{a} and {b} together"),
    *("the result of {a} + {b}", "the sum {a} + {b}", "the value of {a} + {b}", "{b} added to {a}"),
    *("the sum of the numbers {a} and {b}", "the addition {a} + {b}", "the answer to {a} + {b}"),
    *("{a} with {b} added", "the sum that {a} and {b} make"),
)
ADDITION: Mapping[Phrasing, Wordings] = {
    "known": Wordings(
        families(
            _ADDITION_NOUNS,
            (
                *("what {a} plus {b} is", "how much {a} and {b} make", "what {a} + {b} makes"),
                *("how much {a} plus {b} is", "what the sum of {a} and {b} is", "how much {a} + {b} is"),
                *("what {a} and {b} add up to", "how much it is if you add {b} to {a}"),
                *("how much you have with {a} and {b} together", "what {b} more than {a} is"),
            ),
            (
                *("{a} + {b} = ?", "{a} plus {b}", "{a} plus {b} = ?", "Add {a} and {b}."),
                *("Add {b} to {a}.", "Please add {a} and {b}.", "How much is {a} plus {b}?", "How much is {a} + {b}?"),
                *("Calculate {a} + {b}.", "Calculate {a} plus {b}.", "Please calculate {a} + {b}.", "Sum {a} and {b}."),
                *("What do you get for {a} + {b}?", "How much do {a} and {b} make?", "What do {a} and {b} make?"),
                *("What does {a} plus {b} make?", "Can you add {a} and {b}?", "Put {a} and {b} together."),
                *("If you add {a} and {b}, what do you get?", "I add {a} and {b}. What do I get?"),
                *("What is {a} if you add {b}?", "Start with {a} and add {b}.", "{a} and then {b} more: how much?"),
                *("Take {a} and add {b} to it.", "What comes out if {a} and {b} are added?", "{a} + {b} makes what?"),
                *("Compute {a} + {b}.", "Compute {a} plus {b}.", "Which number is {a} + {b}?", "Sum of {a} and {b}?"),
                *(
                    "{a} and {b}: what is the sum?",
                    "{a} plus {b} gives what?",
                    "Add: {a} + {b}.",
                    "Go up {b} from {a}.",
                ),
                *("Which number is {a} plus {b}?", "Put {b} on top of {a}: how much is it?"),
            ),
        ),
        _of_things(
            "There are {a} {things} on a table and {b} {things} in a box. How many {things} are there?",
            "You have {b} {things} and find {a} more. How many {things} do you have?",
            "A box holds {a} {things} and a bag holds {b}. How many {things} do they hold?",
            "A shop has {b} {things} and gets {a} more. How many {things} does it have?",
            "A farmer sells {a} {things} today and {b} later. How many {things} does the farmer sell?",
            "I count {b} {things} here and {a} {things} there. How many {things} do I count?",
            "{a} {things} came on Monday, {b} came on Friday. How many {things} came?",
            "On the shelf are {b} {things}. {a} more are put there. How many {things} are on the shelf?",
            "A girl buys {a} {things} and a boy buys {b}. How many {things} do they buy?",
            "We had {b} {things}. Then we got {a} more. How many {things} do we have now?",
            "One bag has {a} {things}, the other has {b}. How many are in both?",
            "My sister gave me {b} {things}, my brother gave me {a}. How many {things} did I get?",
            "A teacher has {a} {things} and is given {b} more. How many {things} is that?",
            "{b} {things} and {a} {things}: how many {things} are they?",
            "{a} {things} are here and {b} more will come. How many {things} will there be?",
            "A cook needs {b} {things} today and {a} {things} next week. How many {things} does the cook need?",
            "In one room I see {a} {things}, in the next room {b}. How many {things} do I see?",
            "He has {b} {things} and she has {a}. How many {things} do they have together?",
            "My bag holds {a} {things}. I put in {b} more. How many {things} are in my bag?",
            "First we find {b} {things}, then {a} more. How many {things} do we find?",
            "{a} {things} are red and {b} {things} are blue. How many {things} are there in all?",
            "The school got {b} {things} in spring and {a} in autumn. How many {things} did it get?",
            "Somebody brings {a} {things} and somebody else brings {b}. How many {things} do they bring?",
            "Yesterday I made {b} {things}, today {a}. How many {things} did I make?",
            "A truck brings {a} {things}, a train brings {b}. How many {things} do they bring?",
            "She owns {b} {things} and her friend owns {a}. How many {things} do the two own?",
            "Some of my {things} are old and some are new: {a} old ones and {b} new ones. How many {things} do I have?",
            "In the morning I pick {b} {things} and at night {a}. How many {things} do I pick that day?",
            "{a} {things} lie under the bed, {b} lie on it. How many {things} lie there?",
            "Add {b} {things} to a bag of {a}. How many {things} are in the bag then?",
        ),
        both_orders=True,
    ),
    "new": Wordings(
        new_families(
            _ADDITION_NOUNS,
            ("the result of adding {a} and {b}", "{a} plus {b} in all"),
            ("what {a} and {b} are together",),
            ("What do {a} and {b} make together?", "If I add {a} to {b}, what do I get?", "How much are {a} and {b}?"),
        ),
        _of_things(
            "A shop sells {a} {things} today and {b} {things} tomorrow. How many {things} does it sell?",
            "A boy finds {b} {things} on Monday and {a} on Friday. How many {things} does he find?",
            "The table holds {a} {things}, the shelf holds {b}. How many {things} are there in both?",
        ),
        both_orders=True,
    ),
}

_SUBTRACTION_NOUNS = (
    *("{a} - {b}", "{a} minus {b}", "the difference of {a} and {b}", "the result of {a} - {b}"),
    *("the difference between {a} and {b}", "the difference {a} - {b}", "the value of {a} - {b}", "{a} less {b}"),
    *("the rest of {a} when {b} is taken away", "{b} subtracted from {a}", "the subtraction {a} - {b}"),
    *("the answer to {a} - {b}", "{a} with {b} taken away"),
)
SUBTRACTION: Mapping[Phrasing, Wordings] = {
    "known": Wordings(
        families(
            _SUBTRACTION_NOUNS,
            (
                *("what {a} minus {b} is", "how much {a} minus {b} is", "what {a} - {b} makes"),
                *("what is left of {a} without {b}", "how much {a} is without {b}", "how much more {a} is than {b}"),
                *("what stays of {a} when {b} is taken away", "what the difference of {a} and {b} is"),
                *(
                    "what {a} less {b} is",
                    "how much is left of {a} after {b} are gone",
                    "how far it is from {b} up to {a}",
                ),
            ),
            (
                *("{a} - {b} = ?", "{a} minus {b}", "{a} minus {b} = ?", "Subtract {b} from {a}."),
                *(
                    "Take {b} away from {a}.",
                    "From {a} take {b}.",
                    "Please subtract {b} from {a}.",
                    "Take {b} from {a}.",
                ),
                *("Calculate {a} - {b}.", "Calculate {a} minus {b}.", "Please calculate {a} - {b}."),
                *("How much is {a} minus {b}?", "How much is {a} - {b}?", "What do you get for {a} - {b}?"),
                *("What remains of {a} after taking away {b}?", "What is left of {a} after taking {b} away?"),
                *("How much is left of {a} if you take {b}?", "How much remains of {a} without {b}?"),
                *("How much less than {a} is {b}?", "By how much is {a} more than {b}?", "Can you take {b} from {a}?"),
                *("If you subtract {b} from {a}, what do you get?", "I take {b} from {a}. What do I get?"),
                *("What does {a} minus {b} make?", "Can you subtract {b} from {a}?"),
                *("What is {a} if you subtract {b}?", "Start with {a} and take {b} away.", "{a} - {b} makes what?"),
                *(
                    "How far is it from {b} to {a}?",
                    "How much more than {b} is {a}?",
                    "What is missing from {b} to {a}?",
                ),
                *("Take {a} and subtract {b} from it.", "What comes out if {b} is subtracted from {a}?"),
                *("Compute {a} - {b}.", "Compute {a} minus {b}.", "Which number is {a} - {b}?", "Subtract: {a} - {b}."),
                *("{a} minus {b} gives what?", "Difference of {a} and {b}?", "{a} and {b}: what is the difference?"),
                *("If {b} is taken from {a}, how much is left?", "How many more is {a} than {b}?"),
                *("What must I add to {b} to get {a}?", "Go back {b} from {a}.", "{a}, then {b} less: how much?"),
                *("Which number is {a} minus {b}?", "I have {a} and need only {b}. How much is too much?"),
            ),
        ),
        _of_things(
            "There are {a} {things} in a box. {b} are taken out. How many {things} are left?",
            "You have {a} {things} and lose {b}. How many {things} do you have?",
            "Of {a} {things} in a bag, {b} are given away. How many {things} stay in the bag?",
            "A shop had {a} {things} and sold {b}. How many {things} does it have?",
            "{a} {things} lay on a table. {b} fell down. How many {things} are on the table?",
            "I had {a} {things} and gave {b} to a friend. How many {things} do I keep?",
            "A farmer has {a} {things}. {b} of them are sold. How many {things} remain?",
            "{b} of {a} {things} got lost. How many {things} are left?",
            "A girl has {a} {things} and gives away {b}. How many {things} does she keep?",
            "We had {a} {things}. Then we lost {b} of them. How many {things} do we have now?",
            "{a} {things} were in a bag, but {b} are gone. How many {things} remain in the bag?",
            "A boy takes {b} {things} from a box of {a}. How many {things} stay in the box?",
            "From {a} {things} on the shelf, {b} are sold. How many {things} are on the shelf?",
            "My sister had {a} {things} and lost {b} of them. How many {things} does she have?",
            "{a} {things} were here, and {b} were taken. How many {things} are still here?",
            "A cook has {a} {things} and uses {b}. How many {things} does the cook have now?",
            "The school had {a} {things}, but {b} broke. How many {things} does it still have?",
            "Out of {a} {things} I hand out {b}. How many {things} stay with me?",
            "He owned {a} {things} and sold {b} of them. How many {things} does he own now?",
            "{b} of my {a} {things} are old. How many {things} are new?",
            "My brother had {a} {things} and left {b} at home. How many {things} does he carry?",
            "There were {a} {things} in the room. Somebody took {b}. How many {things} are there now?",
            "We have {a} {things} and give {b} of them back. How many {things} do we have then?",
            "{a} {things} came, and {b} of them were sent back. How many {things} stayed?",
            "{b} of the {a} {things} in a box are blue. How many {things} are not blue?",
            "I need {a} {things} and have only {b}. How many {things} are missing?",
            "A truck carries {a} {things}. On the way {b} fall off. How many {things} come home?",
            "{a} {things} stood on a shelf until {b} fell. How many {things} stand there?",
            "Of my {a} {things} you get {b}. How many {things} do I have left?",
            "She counts {a} {things}, but {b} are not hers. How many {things} are hers?",
            "The children find {a} {things} and lose {b} on the way. How many {things} do they bring home?",
            "{a} {things} are for sale, and {b} are sold today. How many {things} are not sold?",
            "Take {b} {things} out of a bag of {a}. How many {things} are in the bag then?",
        ),
    ),
    "new": Wordings(
        new_families(
            _SUBTRACTION_NOUNS,
            ("{a} without {b}", "the result of taking {b} from {a}"),
            ("what remains of {a} without {b}",),
            (
                "What is left of {a} if I take {b}?",
                "If I take {b} from {a}, what do I get?",
                "How much is {a} without {b}?",
            ),
        ),
        _of_things(
            "A shop has {a} {things} and sells {b} of them. How many {things} remain?",
            "A boy had {a} {things} in a box and lost {b}. How many {things} does he have now?",
            "{b} of {a} {things} on a table are taken. How many {things} stay on the table?",
        ),
    ),
}

_MULTIPLICATION_NOUNS = (
    *("{a} x {b}", "{a} times {b}", "the product of {a} and {b}", "the result of {a} x {b}"),
    *("{a} multiplied by {b}", "the product {a} x {b}", "the value of {a} x {b}", "{a} groups of {b}"),
    *("the product of the numbers {a} and {b}", "the multiplication {a} x {b}", "the answer to {a} x {b}"),
    *("{a} lots of {b}", "the product that {a} and {b} make"),
)
MULTIPLICATION: Mapping[Phrasing, Wordings] = {
    "known": Wordings(
        families(
            _MULTIPLICATION_NOUNS,
            (
                *("what {a} times {b} is", "how much {a} times {b} is", "what {a} x {b} makes"),
                *("how much {a} x {b} makes", "what the product of {a} and {b} is", "how much {a} x {b} is"),
                *("what {a} multiplied by {b} is", "how much it is if you multiply {a} by {b}"),
                *("what {a} and {b} make when they are multiplied", "how much {a} groups of {b} are"),
            ),
            (
                *("{a} x {b} = ?", "{a} times {b}", "{a} times {b} = ?", "Multiply {a} by {b}."),
                *("Multiply {a} and {b}.", "Please multiply {a} and {b}.", "Please multiply {a} by {b}."),
                *("Calculate {a} x {b}.", "Calculate {a} times {b}.", "How much is {a} times {b}?"),
                *("How much is {a} x {b}?", "What do you get for {a} x {b}?", "Can you multiply {a} by {b}?"),
                *("What do you get if you multiply {a} by {b}?", "I multiply {a} by {b}. What do I get?"),
                *("What does {a} times {b} make?", "If you multiply {a} and {b}, what do you get?"),
                *(
                    "What is {a} if you multiply it by {b}?",
                    "Start with {a} and multiply by {b}.",
                    "{a} x {b} makes what?",
                ),
                *("Take {a} and multiply it by {b}.", "What do you have after multiplying {a} by {b}?"),
                *("Can you multiply {a} and {b}?", "How much is {a} groups of {b}?", "Product of {a} and {b}?"),
                *("Compute {a} x {b}.", "Compute {a} times {b}.", "Which number is {a} x {b}?", "Multiply: {a} x {b}."),
                *("{a} and {b}: what is the product?", "{a} times {b} gives what?", "Which number is {a} times {b}?"),
                *("What comes out if {a} is multiplied by {b}?", "How many are {a} groups of {b}?"),
            ),
        ),
        _of_things(
            "There are {a} boxes with {b} {things} in each. How many {things} are there?",
            "There are {b} bags with {a} {things} in each. How many {things} are there?",
            "{a} children have {b} {things} each. How many {things} do they have?",
            "How many {things} are in {b} bags if each bag holds {a} {things}?",
            "You buy {a} packs of {b} {things}. How many {things} do you buy?",
            "A shop sells {b} boxes of {a} {things}. How many {things} does it sell?",
            "On {a} tables lie {b} {things} each. How many {things} are on the tables?",
            "{b} carts carry {a} {things} each. How many {things} do they carry?",
            "{a} shelves hold {b} {things} each. How many {things} are on the shelves?",
            "A farmer packs {b} bags with {a} {things} each. How many {things} is that?",
            "A worker packs {a} boxes of {b} {things}. How many {things} are they?",
            "{b} girls get {a} {things} each. How many {things} do they get?",
            "I have {a} bags of {b} {things}. How many {things} do I have?",
            "We need {b} packs with {a} {things} in each. How many {things} is that?",
            "How many {things} are on {a} shelves if each shelf holds {b} {things}?",
            "{b} boxes, each with {a} {things}: how many {things} are they?",
            "Each of {a} rooms has {b} {things}. How many {things} are in the rooms?",
            "A cook fills {b} bowls with {a} {things} each. How many {things} does the cook need?",
            "Every day for {a} days I find {b} {things}. How many {things} do I find?",
            "{b} friends bring {a} {things} each. How many {things} do they bring?",
            "My sister puts {b} {things} into each of {a} boxes. How many {things} does she put in?",
            "He buys {b} {things} in each of {a} shops. How many {things} does he buy?",
            "In {b} rows stand {a} {things} each. How many {things} stand there?",
            "{a} bags, and {b} {things} in every bag: how many {things} is that?",
            "One box holds {b} {things}. How many {things} do {a} boxes hold?",
            "Each child has {b} {things}, and there are {a} children. How many {things} are there?",
            "A row has {a} {things}. How many {things} are in {b} rows?",
            "She fills {a} bags with {b} {things} each. How many {things} does she need?",
            "Every week for {b} weeks he buys {a} {things}. How many {things} does he buy?",
            "On each of {a} trees hang {b} {things}. How many {things} hang there?",
            "{b} times I pick {a} {things}. How many {things} do I pick?",
            "In each of {a} bags I put {b} {things}. How many {things} do I put in?",
        ),
        both_orders=True,
    ),
    "new": Wordings(
        new_families(
            _MULTIPLICATION_NOUNS,
            ("the result of {a} times {b}",),
            ("what you get for {a} x {b}",),
            ("What do you get for {a} times {b}?", "If I multiply {a} by {b}, what do I get?"),
        ),
        _of_things(
            "A shop packs {a} bags of {b} {things}. How many {things} does it pack?",
            "{b} tables carry {a} {things} each. How many {things} are on the tables?",
            "{a} boys buy {b} {things} each. How many {things} do they buy together?",
        ),
        both_orders=True,
    ),
}

REMOVAL = _of_things(
    "{name} has {a} {things} and gets {b} more. Then {name} gives {c} away. How many are left?",
    "There are {b} {things} in a bag. {name} adds {a} and takes {c} out. How many are in the bag?",
    "{name} finds {a} {things}, buys {b} more and loses {c}. How many {things} does {name} have?",
    "A box holds {b} {things}. {a} are added, {c} are removed. How many {things} are in the box?",
    "{name} made {b} {things}, then {a} more, and sold {c}. How many {things} does {name} keep?",
    "{name} gets {a} {things} on Monday and {b} on Tuesday, but loses {c}. How many {things} remain?",
    "At first there are {a} {things} on a shelf. {b} arrive, {c} get lost. How many are on the shelf?",
    "A shop owns {b} {things}, buys {a} more and sells {c}. How many {things} does it own?",
    "On Friday {a} {things} arrive, later {b} arrive, then {c} are sold. How many {things} remain?",
    "{name} owns {b} {things}. {a} more arrive and {c} are given away. How many does {name} own?",
    "We had {a} {things}. {name} brought {b} and took {c}. How many {things} do we have now?",
    "{name} bought {b} {things} and {a} more the next day. {c} broke. How many {things} are left?",
    "A farmer packs {a} {things}, then {b} more, and sells {c}. How many {things} does the farmer keep?",
    "In a box are {b} {things}. {name} puts in {a} and takes {c}. How many {things} are in the box now?",
    "{name} had {a} {things}, won {b} and lost {c}. How many {things} does {name} have now?",
    "{a} {things} and {b} {things} lie on a table. {name} takes {c} away. How many stay on the table?",
    "First {name} finds {b} {things}, then {a}. Later {c} are gone. How many {things} remain?",
    "{name} counts {a} {things} at home and {b} at school and gives {c} to a friend. How many are left?",
    "{name} sees {b} {things}, then {a} more, but {c} go away. How many {things} are still there?",
    "The school had {a} {things}, was given {b} and used {c}. How many {things} does the school still have?",
    "{a} {things} are red and {b} are blue. {name} takes {c} of them home. How many {things} stay here?",
    "A cook has {b} {things}, gets {a} and uses {c}. How many {things} does the cook have now?",
    "{name} puts {a} {things} to the {b} in the box and hands out {c}. How many stay in the box?",
    "{name} carries {b} {things}, picks up {a} and drops {c}. How many {things} does {name} carry now?",
    "My brother has {a} {things}. {name} brings him {b}, and he sells {c}. How many {things} stay with him?",
    "{b} {things} came in spring and {a} in summer, and {c} were sent back. How many {things} stayed?",
    "There were {a} {things} on the table and {b} under it. {name} sold {c}. How many {things} were left?",
    "Two bags hold {a} {things} and {b} {things}. {name} takes {c} out. How many {things} stay in the bags?",
    "A truck brings {b} {things}, a train brings {a}. {c} of them are sold. How many {things} are not sold?",
    "Out of {a} old and {b} new {things} {name} sells {c}. How many {things} are left?",
    "{name} begins with {b} {things}. Then {a} come in and {c} go out. How many {things} does {name} have then?",
    "My sister gives {name} {a} {things}, my brother gives {b}. {name} loses {c}. How many {things} are left?",
    "In the morning {name} had {b} {things}. Then {a} were added and {c} were taken. How many {things} were there?",
    "Add {b} {things} to {a} {things}, then take {c} of them away. How many {things} are left?",
    "{name} picks {a} {things} today and {b} later, but {c} are bad. How many {things} are good?",
    "She had {b} {things}, he had {a}. Together they lost {c}. How many {things} do they have now?",
)
NEW_REMOVAL = _of_things(
    "{name} made {a} {things} on Monday and {b} on Friday, then sold {c}. How many {things} remain?",
    "At first {name} owns {b} {things}. {a} arrive later, {c} get lost. How many does {name} own?",
    "A shop had {a} {things}, bought {b} more and lost {c}. How many {things} does the shop have now?",
)
