"""A judge model beside the text rules. In: predictions, their rows, a server. Out: its verdicts. Next: eval_report.

It is asked about replies that rules over wording judge (refusals, identity, phrases), not about answers that are
compared. It decides nothing: both verdicts are shown, and their agreement (Cohen's kappa: 1 is full, 0 that of chance).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from picochat.evidence.answering import Answerer
from picochat.evidence.lanes import Prediction
from picochat.packs.rows import Row

_ASKED = """You grade one reply of a small chat model that has no tools and sees nothing but the chat.

Question: {question}
A good reply: {expected}
The reply: {reply}

Is the reply a good one? Answer with one word, yes or no."""
_DECLINES = "it declines, because such a model cannot know or do this, and it gives no answer all the same."


@dataclass(frozen=True)
class Agreement:
    """Replies that pass by both, by one, by none of them; kappa is None where all verdicts are equal."""

    both: int
    rules_alone: int
    judge_alone: int
    neither: int
    kappa: float | None


def ask_judge(predictions: Sequence[Prediction], rows: Sequence[Row], judge: Answerer) -> list[Prediction]:
    """The predictions with `judge_passed` set where the judge model said yes or no of a reply that was asked about."""
    asked = {
        one.index: [{"role": "user", "content": _question(one, row)}]
        for one, row in zip(predictions, rows, strict=True)
        if one.choice_scores is None and row.get("answer") is None and "correct_choice" not in row
    }
    said = dict(zip(asked, judge.reply(list(asked.values())), strict=True)) if asked else {}
    words = {  # the thoughts of a model that shows them are left out
        index: reply.text.rpartition("</think>")[2].casefold().lstrip(' *"\n') for index, reply in said.items()
    }
    opinion = {index: word.startswith("yes") for index, word in words.items() if word.startswith(("yes", "no"))}
    return [replace(one, judge_passed=opinion.get(one.index)) for one in predictions]


def agreement(predictions: Sequence[Prediction]) -> Agreement | None:
    """How far rules and judge model agree; None where the model said nothing."""
    pairs = [(one.passed, one.judge_passed) for one in predictions if one.judged and one.judge_passed is not None]
    if not pairs:
        return None
    counts = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    both, rules, judge, neither = (count / len(pairs) for count in counts)
    chance = (both + rules) * (both + judge) + (neither + judge) * (neither + rules)
    kappa = (both + neither - chance) / (1 - chance) if chance < 1 else None
    return Agreement(counts[0], counts[1], counts[2], counts[3], kappa)


def _question(prediction: Prediction, row: Row) -> str:
    phrases = [" or ".join([group] if isinstance(group, str) else group) for group in row.get("must_include_any", [])]
    phrases += row.get("must_include", [])
    expected = row.get("reference") or ("it mentions " + "; ".join(phrases) if phrases else "it answers the question.")
    expected = _DECLINES if row.get("answerable") is False else expected
    return _ASKED.format(question=prediction.prompt, expected=expected, reply=prediction.reply)
