"""In-training evaluation: the model answers eval rows while it trains.

In: eval rows, and the module in training. Out: `eval/<benchmark profile>/<metric>` in the log, and sample replies in
`<default_root_dir>/samples.jsonl`, as a table in `samples.md`. Next: the report's curves.

    eval/weak_skills/pass_rate 0.42   eval/weak_skills/steps_correct 0.61   eval/release_behavior/over_refusal 0.02   …

Nothing here selects a checkpoint or stops a run: eval rows that do are no longer held out. Monitor `val/loss`.

    Trainer(callbacks=[BenchmarkMetrics(eval_input="eval.jsonl", rows_per_lane=50, every_n_steps=200)])
"""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from picochat.blocks import Report, Table, clip, markdown_page
from picochat.callbacks.best_checkpoint import averaged_weights
from picochat.errors import UserError
from picochat.evidence.answering import Answerer, ModelAnswerer
from picochat.evidence.evaluation import answer_rows
from picochat.evidence.lanes import UNTAGGED, Prediction, count
from picochat.evidence.scoring import Policy
from picochat.files import write_files
from picochat.model.engine import Decoding
from picochat.packs.formats import read_rows
from picochat.packs.quotas import spread_evenly
from picochat.packs.records import parse_lines
from picochat.packs.rows import Row
from picochat.strict_json import parse_json

METRICS = ("pass_rate", "prompt_echo", "unsupported_claims", "over_refusal", "steps_correct")
_PROFILE = "mixture_benchmark_profile"
_SHOWN = ("step", "benchmark_profile", "category", "prompt", "reply", "expected")  # of a sample, in samples.md


class BenchmarkMetrics(Callback):
    """Answer eval rows during fit and log rates per benchmark profile.

    The same rows are asked each time, spread evenly over the file. Ranks share them; with `temperature` 0 the result
    does not depend on how many there are. Decoding uses the weights' own precision, as `picochat eval chat` does.

    Args:
        eval_input: JSONL file of eval rows; null: the datamodule's `eval_path`; without any nothing is asked.
        every_n_steps: optimizer steps between two evaluations; null evaluates at the end of each validation.
        rows_per_lane: rows asked of each benchmark profile; null asks all, 0 turns the callback off.
        max_new_tokens: tokens after which a reply is cut off.
        temperature: 0 for the most likely token each time.
        top_k: sample among the k most likely tokens only.
        top_p: nucleus sampling: sample among the most likely tokens that hold this share of the probability.
        seed: of the sampling, where `temperature` is above 0.
        batch_size: rows answered at a time on each device; changes the speed, never a verdict.
        samples: replies of each benchmark profile that go to samples.jsonl and samples.md each time; 0 for none.
    """

    def __init__(
        self,
        eval_input: str | None = None,
        every_n_steps: int | None = None,
        rows_per_lane: int | None = 50,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 42,
        batch_size: int = 64,
        samples: int = 4,
    ) -> None:
        if rows_per_lane is not None and rows_per_lane < 0:
            raise UserError(f"rows_per_lane is {rows_per_lane}; use 0 to ask nothing, a number, or null for all rows")
        if every_n_steps is not None and every_n_steps < 1:
            raise UserError(f"every_n_steps is {every_n_steps}; use a number from 1, or null")
        if samples < 0:
            raise UserError(f"samples is {samples}; use 0 for none")
        self.eval_input, self.every_n_steps, self.rows_per_lane = eval_input, every_n_steps, rows_per_lane
        self.decoding, self.samples = Decoding(max_new_tokens, temperature, top_k, top_p, seed, batch_size), samples
        self._rows: list[Row] = []
        self._policy = Policy()
        self._lanes: list[str] = []
        self._kept: list[dict[str, Any]] = []  # the samples so far
        self._evaluated_at = -1  # a step; with accumulation several batches end at the same one

    def answerer(self, trainer: Trainer, pl_module: LightningModule) -> Answerer:
        """What answers the rows: the module's decoder. Override it for a model that is not picochat's."""
        decoder, tokenizer = getattr(pl_module, "decoder", None), getattr(pl_module, "chat_tokenizer", None)
        if decoder is None or tokenizer is None:
            raise UserError(
                f"BenchmarkMetrics: {type(pl_module).__name__} has no decoder and chat_tokenizer; override answerer()"
            )
        return ModelAnswerer(decoder, tokenizer, self.decoding)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        data: Any = getattr(trainer, "datamodule", None)
        own, self._rows = getattr(data, "eval_path", None), []
        path = self.eval_input or own
        if path is None or self.rows_per_lane == 0:
            return
        known = getattr(data, "eval_rows", None) if path == own else None
        rows = _fitting(read_rows(path, "eval") if known is None else [row for _, row in known], data, path)
        self._lanes = list(dict.fromkeys(row.get(_PROFILE) or UNTAGGED for row in rows))
        self._rows, self._policy = spread(rows, self.rows_per_lane), Policy.of(rows, path)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated_at = trainer.global_step
        path = _samples_file(trainer)
        if trainer.is_global_zero and path.is_file():  # the samples of later steps are about to be made again
            self._kept = [one for one in _read_samples(path) if one["step"] <= trainer.global_step > 0]
            self._write_samples(path)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._rows and self.every_n_steps is None and not trainer.sanity_checking:
            callbacks: list[Callback] = cast(Any, trainer).callbacks
            with averaged_weights(pl_module, callbacks[: callbacks.index(self)]):  # later ones still have them in
                pl_module.log_dict(self._evaluate(trainer, pl_module), sync_dist=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if not self._rows or self.every_n_steps is None or step % self.every_n_steps or step == self._evaluated_at:
            return
        self._evaluated_at = step
        training = pl_module.training
        pl_module.eval()
        with torch.no_grad(), averaged_weights(pl_module, cast(Any, trainer).callbacks):
            rates = self._evaluate(trainer, pl_module)
        pl_module.train(training)
        pl_module.log_dict(rates, logger=False)  # for monitors; Lightning would log at its own steps, and repeat
        for logger in trainer.loggers:
            logger.log_metrics(rates, step - 1)

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Answer this rank's share of the rows, every W-th of W ranks; the rates of all ranks' answers."""
        share = self._rows[trainer.global_rank :: trainer.world_size]
        with getattr(pl_module, "whole_weights", nullcontext)():  # ranks answer at their own pace, without each other
            shares: list[Any] = [answer_rows(share, self.answerer(trainer, pl_module), self._policy) if share else []]
        if trainer.world_size > 1:
            mine, shares = shares[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, mine)
        predictions = [one for turn in zip_longest(*shares) for one in turn if one is not None]  # as in the file
        if trainer.is_global_zero and trainer.state.fn == TrainerFn.FITTING:
            self._keep_samples(trainer, predictions)
        rates: dict[str, float] = {}
        for lane in self._lanes:
            found = count([one for one in predictions if one.tag(_PROFILE) == lane])
            values = (found.rate, found.prompt_echo, found.unsupported_claims, found.over_refusal, found.steps_correct)
            names = (f"eval/{lane.strip('()')}/{name}" for name in METRICS)
            rates |= {name: rate for name, rate in zip(names, values, strict=True) if rate is not None}
        return rates

    def _keep_samples(self, trainer: Trainer, predictions: Sequence[Prediction]) -> None:
        """Add the first replies of each profile; a validation that was interrupted and is done again adds them once."""
        step = trainer.global_step
        self._kept = [one for one in self._kept if one["step"] < step]
        for lane in self._lanes:
            for one in [p for p in predictions if p.tag(_PROFILE) == lane][: self.samples]:
                tags = {"step": step, "benchmark_profile": lane, "category": one.tag("category")}
                said = {name: getattr(one, name) for name in ("prompt", "reply", "expected", "passed")}
                self._kept.append({**tags, **said, "reasons": list(one.reasons)})
        if self._kept:
            self._write_samples(_samples_file(trainer))

    def _write_samples(self, path: Path) -> None:
        """samples.jsonl, one object a line, and the same as a table, newest first."""
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in self._kept)
        rows = [
            [*(clip(str(one[field] or "")) for field in _SHOWN), ", ".join(one["reasons"]) or "passed"]
            for one in sorted(self._kept, key=lambda one: -one["step"])
        ]
        table = Table([*(field.replace("_", " ") for field in _SHOWN), "verdict"], rows, left=len(_SHOWN) + 1)
        page = markdown_page(Report(f"Sample replies of {path.parent.name}", "", [table]))
        write_files({path: lines, path.with_suffix(".md"): page})


def spread(rows: Sequence[Row], rows_per_lane: int | None) -> list[Row]:
    """At most `rows_per_lane` rows of each benchmark profile, evenly spaced over the file, in its order."""
    if rows_per_lane is None:
        return list(rows)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.get(_PROFILE) or UNTAGGED, []).append(place)
    chosen = [place for own in places.values() for place in spread_evenly(own, rows_per_lane)]
    return [rows[place] for place in sorted(chosen)]


def _samples_file(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "samples.jsonl"


def _read_samples(path: Path) -> list[dict[str, Any]]:
    """The samples of a run that is resumed."""

    def parse(line: bytes) -> dict[str, Any]:
        one: dict[str, Any] = parse_json(line, nul=True)
        if not isinstance(one, dict) or not {*_SHOWN, "reasons"} <= one.keys() or type(one["step"]) is not int:
            raise ValueError("is not a sample reply")
        return one

    try:
        return [one for _, one in parse_lines(path, parse)]
    except UserError as error:
        raise UserError(f"{error}; move the file away, and a new one begins") from None


def _fitting(rows: Sequence[Row], data: Any, path: str | Path) -> list[Row]:
    """The rows whose prompt leaves room for a reply; the data's `on_long` says what becomes of the others."""
    if getattr(data, "on_long", None) is None:
        return list(rows)
    prompts = data.chat_tokenizer.render_batch([row["messages"] for row in rows], add_generation_prompt=True)
    fits = [len(prompt.ids) < data.context_length for prompt in prompts]
    long = fits.count(False)
    if long and data.on_long == "error":
        asked = rows[fits.index(False)]["messages"][-1]["content"][:60]
        raise UserError(
            f"{path}: {long:,} rows, such as the one that asks {asked!r}, leave no room for a reply in "
            f"data.context_length={data.context_length}; set it higher, or set data.on_long=drop"
        )
    if long:
        rank_zero_info(f"BenchmarkMetrics: {long:,} of the {len(rows):,} rows of {path} are too long and are not asked")
    return [row for row, fit in zip(rows, fits, strict=True) if fit]
