"""Training rows against held-out rows: what was learnt by heart and what transfers."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from students import Parrot

from picochat.blocks import terminal
from picochat.evidence.eval_report import fit_json, fit_report
from picochat.evidence.evaluation import Model, RowFile
from picochat.evidence.scoring import Policy
from picochat.evidence.sft_fit import Fit, FitRow, LaneFit, compare_sides, measure_rows, pick_rows
from picochat.evidence.words import fit_reading
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.likelihood import Forced, reference_nll, teacher_forced
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.vocabulary import train_tokenizer
from picochat.packs.rows import Message, Row


def chat_row(number: int, category: str = "bench_math_addition") -> Row:
    return {
        "messages": [
            {"role": "user", "content": f"{number} + 1?"},
            {"role": "assistant", "content": f"{number} + 1 = {number + 1}\nFinal answer: {number + 1}"},
        ],
        "answer": str(number + 1),
        "answer_style": "scratchpad",
        "category": category,
    }


def eval_row(number: int) -> Row:
    row = chat_row(number)
    return {**row, "messages": row["messages"][:1], "reference": row["messages"][1]["content"]}


def fixed(conversations: Sequence[Sequence[Message]]) -> list[Forced]:
    return [Forced(nll=2.0, tokens=10, right=9) for _ in conversations]


def by_heart(prompt: str) -> str:
    """Knows the sums below 50 word for word, and answers 0 to all others."""
    number = int(prompt.split()[0])
    return f"{number} + 1 = {number + 1}\nFinal answer: {number + 1}" if number < 50 else "Final answer: 0"


def measure(side: str, rows: list[Row], student: Parrot) -> list[FitRow]:
    return measure_rows(side, rows, student, fixed, Policy.of(rows))


def measured(student: Parrot) -> list[FitRow]:
    train, held_out = [chat_row(n) for n in range(40)], [eval_row(n) for n in range(45, 85)]
    return measure("train", train, student) + measure("held_out", held_out, student)


def test_memorisation_is_told_from_generalisation() -> None:
    memorised = compare_sides(measured(Parrot(by_heart)))
    train, held_out = memorised.train, memorised.held_out
    assert train and train.exact and train.correct and train.exact.rate == train.correct.rate == 1.0
    assert (train.tokens, train.token_accuracy, train.nll) == (400, 0.9, pytest.approx(0.2))
    assert held_out and held_out.correct and held_out.correct.passed == 5  # 45 to 49
    assert (memorised.verdict, memorised.gap) == ("memorised", 0.875)
    assert fit_reading("bench_math_addition", memorised) == (
        "bench_math_addition: memorised beyond what transfers (train 100.0 % of 40 rows, held-out 12.5 % of 40 rows, "
        "gap +87.5 points, 95 % interval +71.3 to +94.5; visible 16.6 points)"
    )
    learnt = compare_sides(measured(Parrot(lambda prompt: f"so\nFinal answer: {int(prompt.split()[0]) + 1}")))
    assert learnt.verdict == "transfers"
    assert learnt.train and learnt.train.exact and learnt.train.exact.rate == 0.0  # right, in words of its own
    assert "learnt, and any gap to held-out rows is below 10 points" in fit_reading("x", learnt)
    assert "not learnt yet" in fit_reading("x", compare_sides(measured(Parrot(lambda prompt: "no"))))


def test_a_gap_that_few_rows_cannot_rule_out_is_undecided() -> None:
    (one,) = measure("train", [chat_row(1)], Parrot(by_heart))

    def fit(train: tuple[int, int], held_out: tuple[int, int]) -> LaneFit:
        sides = (("train", *train), ("held_out", *held_out))
        return compare_sides(
            [
                replace(one, side=side, index=i, cluster=f"{i}", correct=i < passed)
                for side, passed, n in sides
                for i in range(n)
            ]
        )

    assert fit_reading("identity", fit((12, 23), (6, 23))) == (
        "identity: undecided, with no gap shown and not enough rows to call it below 10 points "
        "(train 52.2 % of 23 rows, held-out 26.1 % of 23 rows, gap +26.1 points, 95 % interval -1.9 to +49.1; "
        "visible 36.5 points)"  # 25.5 · (1.960 + 0.842) / 1.960
    )
    # nothing wrong on either side: Wilson's 3.84 / (n + 3.84) falls below 10 points at 35 rows
    verdicts = [fit((n, n), (n, n)).verdict for n in (1, 5, 34, 35)]
    assert verdicts == ["undecided"] * 3 + ["transfers"]
    assert fit((200, 200), (180, 200)).verdict == "memorised"
    assert fit((200, 200), (194, 200)).verdict == "transfers"  # 3 points, surely above 0 and surely below 10
    assert fit((90, 200), (90, 200)).verdict == "not learnt"


ASKED: Row = {"messages": [{"role": "user", "content": "1?"}]}
TAUGHT: Row = {"messages": [*ASKED["messages"], {"role": "assistant", "content": "B"}]}
CHOICE: Row = {**TAUGHT, "choice_labels": ["A", "B"], "correct_choice": "B", "answer": None}


@pytest.mark.parametrize(
    ("row", "reply", "exact", "correct", "nll"),
    [
        (TAUGHT, "B", True, None, 0.2),  # without a check a row is reproduced or not, but never correct
        ({**TAUGHT, "answer": None}, "17", False, None, 0.2),
        (CHOICE, "A", False, False, 0.2),  # without an answer it is judged by its label
        (CHOICE, "B", True, True, 0.2),
        ({**CHOICE, "check": {"choice": True}}, "B", True, True, 0.2),
        ({**ASKED, "answerable": False}, "Das weiß ich nicht.", None, None, None),  # which the rules do not read
        # of no mixture: judged by its check, as eval chat judges it
        ({**TAUGHT, "answer": "3"}, "I can browse the web.\nFinal answer: 3", False, True, 0.2),
        ({**ASKED, "must_include": ["Picochat"]}, "I am Picochat.", None, True, None),  # without reference: not forced
    ],
)
def test_a_row_is_judged_by_what_it_has(
    row: Row, reply: str, exact: bool | None, correct: bool | None, nll: float | None
) -> None:
    (one,) = measure("train", [row], Parrot(lambda prompt: reply))
    assert (one.exact, one.correct, one.nll) == (exact, correct, nll)
    if row is TAUGHT:
        assert fit_reading("stories", compare_sides([one])) == (
            "stories: not both sides have answers to check; likeliest token right by teacher forcing: train 90.0 %"
        )


def test_rows_are_picked_evenly_over_categories_and_the_same_each_time() -> None:
    rows = [chat_row(n, "a") for n in range(2)] + [chat_row(n, "b") for n in range(50)]
    rows += [chat_row(n, "c") for n in range(50)]
    picked = pick_rows(rows, 42, seed=1)
    assert picked == sorted(picked) == pick_rows(rows, 42, seed=1)
    assert [sum(rows[index]["category"] == name for index in picked) for name in "abc"] == [2, 20, 20]
    assert picked != pick_rows(rows, 42, seed=2)
    assert pick_rows(rows, 1_000, seed=1) == list(range(102))


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return train_tokenizer((f"{n} + 1 = {n + 1}\nFinal answer: {n + 1}. What is the sum?" for n in range(50)), 280)


@pytest.fixture(scope="module")
def decoder(tokenizer: ChatTokenizer) -> Decoder:
    torch.manual_seed(3)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, **heads}
    return Decoder(DecoderConfig(vocab_size=tokenizer.vocab_size, **size)).eval()


def test_teacher_forcing_equals_the_sum_written_out_and_does_not_depend_on_the_batch(
    decoder: Decoder, tokenizer: ChatTokenizer
) -> None:
    conversations = [chat_row(n)["messages"] for n in (3, 12, 700, 5)]
    forced = teacher_forced(decoder, tokenizer, conversations, batch_size=1)
    for one, other in zip(forced, teacher_forced(decoder, tokenizer, conversations, batch_size=3), strict=True):
        assert one.nll == pytest.approx(other.nll, rel=1e-5)
        assert (one.tokens, one.right) == (other.tokens, other.right)
    rendered = tokenizer.render(conversations[2])
    with torch.inference_mode():
        scores = decoder.logits(decoder(torch.tensor([rendered.ids])))[0].log_softmax(-1)
    places = [place for place, learnt in enumerate(rendered.supervised) if learnt]
    by_hand = -sum(float(scores[place - 1, rendered.ids[place]]) for place in places)
    assert forced[2].nll == pytest.approx(by_hand, rel=1e-5)
    assert forced[2].tokens == len(places)
    # of a reply it is a token's, and unknown where there is none or it does not fit
    long = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a" * 5000}]
    known, none, too_long = reference_nll(decoder, tokenizer, [conversations[2], None, long], batch_size=2)
    assert known == pytest.approx(by_hand / len(places), rel=1e-5)
    assert none is too_long is None


def test_the_report_has_a_line_a_side_and_the_verdict_in_words() -> None:
    rows = measured(Parrot(by_heart))
    fit = Fit(RowFile("chat.jsonl", "ab", 40), None, Model("runs/x", "cd", {}), {"max_rows": 40}, rows)
    shown = re.sub(" +", " ", terminal(*fit_report(fit).blocks))
    assert "bench_math_addition held-out 40 12.5 % 12.5 % 5.5 – 26.1 % 90.0 % 0.2000" in shown
    assert "memorised beyond what transfers (train 100.0 % of 40 rows, held-out 12.5 % of 40 rows, gap +87.5" in shown
    assert "No held-out rows were found" in shown
    assert fit_json(fit)["by_category"]["bench_math_addition"].verdict == "memorised"
