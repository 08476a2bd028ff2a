"""Rates per benchmark profile during fit: the report's own numbers, whatever the number of ranks."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from tiny import Line, loader, trainer

from picochat.callbacks import BenchmarkMetrics, LastCheckpoint
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


def fit(root: Path, callbacks: list[Callback], steps: int = 2, **settings: Any) -> Trainer:
    """With a validation after every second step."""
    run = trainer(root, callbacks, max_steps=steps, val_check_interval=2, enable_checkpointing=True)
    run.fit(Line(), loader(), loader(rows=2), **settings)
    return run


def test_rates_are_logged_per_profile_and_samples_say_what_was_asked_and_why_it_failed(tmp_path: Path) -> None:
    run = fit(tmp_path, [Benchmark(str(eval_file(tmp_path))), LastCheckpoint()], 4)
    assert logged(run) == pytest.approx(EXPECTED)
    found = samples(tmp_path)
    assert [one["step"] for one in found] == [2] * 7 + [4] * 7  # four of each profile, or what it has
    profiles = ({"benchmark_profile": "weak_skills"}, {"benchmark_profile": "release_behavior"})
    asked = {"prompt": "1+3", "reply": "4\nFinal answer: 4", "expected": "4", "passed": True, "reasons": []}
    refused = {"prompt": "Who are you?", "reply": "I'm sorry, I can't help with that.", "expected": None}
    refused |= {"passed": False, "reasons": ["missing_required", "over_refusal"]}
    said = [{"category": "any", **profile, **one} for profile, one in zip(profiles, (asked, refused), strict=True)]
    assert [found[0], found[4]] == [{"step": 2, **one} for one in said]


def test_rows_without_tags_are_logged_as_untagged(tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").write_text('{"messages": [{"role": "user", "content": "1+2"}], "answer": "3"}\n')
    run = fit(tmp_path, [Benchmark(str(tmp_path / "eval.jsonl")), LastCheckpoint()])
    assert logged(run)["eval/untagged/pass_rate"] == 1.0


class ChatRows(LightningDataModule):
    """What the callback asks of a chat datamodule, with a token a character."""

    def __init__(self, eval_path: Path) -> None:
        super().__init__()
        self.context_length, self.chat_tokenizer, self.eval_path = 9, self, eval_path
        self.eval_rows = list(enumerate(map(json.loads, eval_path.read_text().splitlines())))

    def render_batch(self, conversations: list[Any], *, add_generation_prompt: bool) -> list[Any]:
        return [SimpleNamespace(ids=list(messages[-1]["content"])) for messages in conversations]

    def train_dataloader(self) -> Any:
        return loader()

    def val_dataloader(self) -> Any:
        return loader(rows=2)


def test_prompts_that_fill_the_context_are_not_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    data = ChatRows(eval_file(tmp_path))  # whose rows are asked by default
    trainer(tmp_path, [Benchmark()], max_steps=2, val_check_interval=2).fit(Line(), datamodule=data)
    assert [one["prompt"] for one in samples(tmp_path)] == ["1+3", "5+3", "8+3", "9+3", "Sky?"]
    assert "2 of 7 eval rows are too long to ask" in caplog.text


def test_a_resumed_run_makes_no_sample_twice(tmp_path: Path) -> None:
    def go(steps: int, ckpt_path: Path | None = None) -> list[int]:
        callbacks = [Benchmark(str(eval_file(tmp_path))), LastCheckpoint(2)]
        fit(tmp_path, callbacks, steps, ckpt_path=ckpt_path, weights_only=True)
        return [one["step"] for one in samples(tmp_path)][::7]

    go(4)
    (tmp_path / "last.ckpt").rename(tmp_path / "step4.ckpt")
    for _ in range(2):  # the second as after a kill beyond step 4
        assert go(6, tmp_path / "step4.ckpt") == [2, 4, 6]
    assert go(2) == [2]  # starting over


def two_ranks(folder: Path) -> None:
    class Report(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(logged(trainer)))

    callbacks = [Benchmark(str(eval_file(folder))), Report()]
    run = trainer(folder, callbacks, max_steps=2, val_check_interval=2, devices=2, strategy="ddp_fork")
    run.fit(Line(), loader(), loader(rows=8))


def test_two_ranks_log_what_one_rank_logs(tmp_path: Path) -> None:
    forked.run(two_ranks, tmp_path, output=tmp_path / "output")
    for rank in (0, 1):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == pytest.approx(EXPECTED)
    asked = [one["prompt"] for one in samples(tmp_path)]  # by one of the ranks each, in the order of the file
    assert asked == ["1+3", "5+3", "8+3", "9+3", "Who are you?", "What time is it?", "Sky?"]


def test_without_rows_nothing_is_asked_and_a_model_that_cannot_answer_is_named(tmp_path: Path) -> None:
    fit(tmp_path, [BenchmarkMetrics(), LastCheckpoint()])
    assert not (tmp_path / "samples.jsonl").exists()
    with pytest.raises(UserError, match=r"Line has no decoder and chat_tokenizer; override answerer"):
        fit(tmp_path, [BenchmarkMetrics(str(eval_file(tmp_path))), LastCheckpoint()])
