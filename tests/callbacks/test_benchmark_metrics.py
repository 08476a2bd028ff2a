"""Rates per benchmark profile during fit: the report's own numbers, whatever the number of ranks."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from tiny import Line, loader, trainer

from picochat.callbacks import BenchmarkMetrics, LastCheckpoint, RunLogger
from picochat.errors import UserError
from picochat.model.engine import Reply
from picochat.packs.rows import Message, Row


class Student:
    """Knows every sum below ten; says what the time is, which it cannot know; refuses to say who it is."""

    def reply(self, conversations: Sequence[Sequence[Message]]) -> list[Reply]:
        texts = [self._say(turns[-1]["content"]) for turns in conversations]
        return [Reply([], text, f"{text}<|end|>", True) for text in texts]

    def choice_scores(
        self, conversations: Sequence[Sequence[Message]], labels: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        return [[-1.0 - place for place in range(len(names))] for names in labels]  # always the first

    def _say(self, prompt: str) -> str:
        if prompt == "Who are you?":
            return "I'm sorry, I can't help with that."
        if prompt == "What time is it?":
            return "It is noon."
        result = sum(int(digit) for digit in prompt.split("+"))
        return f"{result}\nFinal answer: {result}" if result < 10 else "Final answer: 9"


class Benchmark(BenchmarkMetrics):
    def answerer(self, trainer: Trainer, pl_module: LightningModule) -> Student:
        assert not pl_module.training
        return Student()


def eval_file(folder: Path) -> Path:
    """Four sums of which two are right, one identity refused, one refusal answered, one choice right."""
    skills: list[Row] = [
        {"prompt": f"{a}+3", "answer": str(a + 3), "steps": [str(a + 3)], "answer_style": "scratchpad"}
        for a in (1, 5, 8, 9)
    ]
    behavior: list[Row] = [
        {"prompt": "Who are you?", "must_include": ["Picochat"], "answerable": True},
        {"prompt": "What time is it?", "answerable": False},
        {"prompt": "Sky?", "choice_labels": ["A", "B"], "correct_choice": "A", "answerable": True},
    ]
    path = folder / "eval.jsonl"
    with path.open("w") as file:
        for profile, rows in {"weak_skills": skills, "release_behavior": behavior}.items():
            for row in rows:
                messages = [{"role": "user", "content": row.pop("prompt")}]
                row |= {"messages": messages, "category": "any", "mixture_benchmark_profile": profile}
                file.write(json.dumps(row) + "\n")
    return path


EXPECTED = {
    "eval/weak_skills/pass_rate": 0.5,
    "eval/weak_skills/prompt_echo": 0.0,
    "eval/weak_skills/unsupported_claims": 0.0,
    "eval/weak_skills/over_refusal": 0.0,
    "eval/weak_skills/steps_correct": 0.5,
    "eval/release_behavior/pass_rate": 1 / 3,
    "eval/release_behavior/prompt_echo": 0.0,
    "eval/release_behavior/unsupported_claims": 0.5,  # of two generated replies; the choice was not generated
    "eval/release_behavior/over_refusal": 1.0,  # of one answerable generated row
}


def logged(run: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in run.callback_metrics.items() if name.startswith("eval/")}


def samples(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "samples.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("every", [None, 2])
def test_rates_are_logged_per_profile_at_validation_or_by_steps(tmp_path: Path, every: int | None) -> None:
    callback = Benchmark(str(eval_file(tmp_path)), every_n_steps=every)
    run = trainer(tmp_path, [callback], max_steps=4, val_check_interval=2)
    module = Line()
    run.fit(module, loader(), loader(rows=2))
    assert logged(run) == pytest.approx(EXPECTED)
    assert [line["step"] for line in samples(tmp_path)] == [2] * 7 + [4] * 7
    assert module.training


def test_looks_stand_in_the_log_once_and_at_their_own_step(tmp_path: Path) -> None:
    callback = Benchmark(str(eval_file(tmp_path)), every_n_steps=5)
    logger = RunLogger(str(tmp_path))
    run = trainer(tmp_path, [callback], max_steps=13, log_every_n_steps=4, logger=logger)
    run.fit(Line(), loader())
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["eval/weak_skills/pass_rate"]) for row in rows] == [
        *(("4", ""), ("5", "0.5"), ("8", ""), ("10", "0.5"), ("12", ""))
    ]


def test_samples_say_what_was_asked_and_why_it_failed_as_rows_and_as_a_table_with_the_newest_on_top(
    tmp_path: Path,
) -> None:
    callback = Benchmark(str(eval_file(tmp_path)), every_n_steps=2, samples=1)
    trainer(tmp_path, [callback], max_steps=4).fit(Line(), loader())
    profiles = ({"benchmark_profile": "weak_skills"}, {"benchmark_profile": "release_behavior"})
    asked = {"prompt": "1+3", "reply": "4\nFinal answer: 4", "expected": "4", "passed": True, "reasons": []}
    refused = {"prompt": "Who are you?", "reply": "I'm sorry, I can't help with that.", "expected": None}
    refused |= {"passed": False, "reasons": ["missing_required", "over_refusal"]}
    said = [{"category": "any", **profile, **one} for profile, one in zip(profiles, (asked, refused), strict=True)]
    assert samples(tmp_path) == [{"step": step, **one} for step in (2, 4) for one in said]
    lines = (tmp_path / "samples.md").read_text().splitlines()
    assert lines[2] == "| step | benchmark profile | category | prompt | reply | expected | verdict |"
    assert lines[4] == "| 4 | weak_skills | any | 1+3 | 4 ⏎ Final answer: 4 | 4 | passed |"
    assert lines[5].endswith("| I'm sorry, I can't help with that. |  | missing_required, over_refusal |")
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| 4", "| 4", "| 2", "| 2"]


def test_rows_without_tags_are_logged_as_untagged(tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").write_text('{"messages": [{"role": "user", "content": "1+2"}], "answer": "3"}\n')
    run = trainer(tmp_path, [Benchmark(str(tmp_path / "eval.jsonl"), every_n_steps=1)], max_steps=1)
    run.fit(Line(), loader())
    assert logged(run)["eval/untagged/pass_rate"] == 1.0


class ChatRows(LightningDataModule):
    """What the callback asks of a chat datamodule, with a token a character."""

    def __init__(self, on_long: str, eval_path: Path) -> None:
        super().__init__()
        self.on_long, self.context_length, self.chat_tokenizer, self.eval_path = on_long, 9, self, eval_path

    def render_batch(self, conversations: list[Any], *, add_generation_prompt: bool) -> list[Any]:
        return [SimpleNamespace(ids=list(messages[-1]["content"])) for messages in conversations]

    def train_dataloader(self) -> Any:
        return loader()

    def val_dataloader(self) -> Any:
        return loader(rows=2)


def test_prompts_that_fill_the_context_are_left_out_or_refused_before_the_first_step(tmp_path: Path) -> None:
    fitting = [row for row in map(json.loads, eval_file(tmp_path).read_text().splitlines())
               if len(row["messages"][-1]["content"]) < 9]  # fmt: skip
    assert 0 < len(fitting) < 7
    data = ChatRows("drop", tmp_path / "eval.jsonl")  # whose rows are asked by default
    trainer(tmp_path, [Benchmark()], max_steps=2, val_check_interval=2).fit(Line(), datamodule=data)
    assert [line["prompt"] for line in samples(tmp_path)] == [row["messages"][-1]["content"] for row in fitting]
    module, data = Line(), ChatRows("error", tmp_path / "eval.jsonl")
    with pytest.raises(UserError, match=r"eval.jsonl: \d rows, such as .* leave no room .*; set it higher, or"):
        trainer(tmp_path, [Benchmark()]).fit(module, datamodule=data)
    assert module.losses == []


def test_a_resumed_run_makes_no_sample_twice(tmp_path: Path) -> None:
    path = str(eval_file(tmp_path))

    def fit(steps: int, ckpt_path: Path | None = None) -> None:
        callbacks: list[Callback] = [Benchmark(path, every_n_steps=2, samples=1), LastCheckpoint(2)]
        run = trainer(tmp_path, callbacks, max_steps=steps, enable_checkpointing=True)
        run.fit(Line(), loader(), ckpt_path=ckpt_path, weights_only=True)

    fit(4)
    (tmp_path / "last.ckpt").rename(tmp_path / "step4.ckpt")
    fit(6, tmp_path / "step4.ckpt")
    fit(6, tmp_path / "step4.ckpt")  # as after a kill beyond step 4
    assert [line["step"] for line in samples(tmp_path)] == [2, 2, 4, 4, 6, 6]
    fit(2)  # starting over
    assert [line["step"] for line in samples(tmp_path)] == [2, 2]


def two_ranks(folder: Path, every_n_steps: int | None) -> None:
    class Report(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(logged(trainer)))

    callbacks = [Benchmark(str(eval_file(folder)), every_n_steps=every_n_steps), Report()]
    run = trainer(folder, callbacks, max_steps=2, val_check_interval=2, devices=2, strategy="ddp_fork")
    run.fit(Line(), loader(), loader(rows=8))


@pytest.mark.parametrize("every", [None, 2])
def test_two_ranks_log_what_one_rank_logs(tmp_path: Path, every: int | None) -> None:
    forked.run(two_ranks, tmp_path, every, output=tmp_path / "output")
    for rank in (0, 1):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == pytest.approx(EXPECTED)


def test_without_rows_nothing_is_asked_and_a_model_that_cannot_answer_is_named(tmp_path: Path) -> None:
    trainer(tmp_path, [BenchmarkMetrics(every_n_steps=1)]).fit(Line(), loader())
    assert not (tmp_path / "samples.jsonl").exists()
    plain = BenchmarkMetrics(str(eval_file(tmp_path)), every_n_steps=1)
    with pytest.raises(UserError, match=r"Line has no decoder and chat_tokenizer; override answerer"):
        trainer(tmp_path, [plain]).fit(Line(), loader())
