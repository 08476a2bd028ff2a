"""In-training evaluation: the model answers eval rows at the end of each validation.

In: eval rows, and the module in training. Out: `eval/<benchmark profile>/<metric>` in the log, and sample replies in
`<default_root_dir>/samples.jsonl`. Next: the report's curves, and the board.

    eval/weak_skills/pass_rate 0.42   eval/weak_skills/steps_correct 0.61   eval/release_behavior/over_refusal 0.02   …

Nothing here selects a checkpoint or stops a run: eval rows that do are no longer held out. Monitor `val/loss`.

    Trainer(val_check_interval=100, callbacks=[BenchmarkMetrics(eval_input="eval.jsonl", rows_per_lane=50)])
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
from picochat.packs.rows import Row

_OTHERS = ("prompt_echo", "unsupported_claims", "over_refusal", "steps_correct")  # rates beside the pass rate
_PROFILE = "mixture_benchmark_profile"
_FILE = "samples.jsonl"
_SAMPLES = 4  # replies of each benchmark profile that are kept each time


class BenchmarkMetrics(Callback):
    """Answer eval rows after each validation of a fit and log rates per benchmark profile.

    The same rows are asked each time, spread evenly over the file, and answered greedily in the weights' own precision,
    as `picochat eval chat` does. Ranks share them; the result does not depend on how many there are. Rows whose prompt
    leaves no room for a reply are not asked.

    Args:
        eval_input: file of eval rows; null: the datamodule's `eval_rows` of its `eval_path`, where it has some.
        rows_per_lane: rows asked of each benchmark profile; null asks all, 0 turns the callback off.
        max_new_tokens: tokens after which a reply is cut off.
        batch_size: rows answered at a time on each device; changes the speed, never a verdict.
    """

    def __init__(
        self,
        eval_input: str | None = None,
        rows_per_lane: int | None = 50,
        max_new_tokens: int = 256,
        batch_size: int = 64,
    ) -> None:
        if rows_per_lane is not None and rows_per_lane < 0:
            raise UserError(f"rows_per_lane is {rows_per_lane}; use 0 to ask none, or null to ask all")
        self.eval_input, self.rows_per_lane = eval_input, rows_per_lane
        self.decoding = Decoding(max_new_tokens, batch_size=batch_size)
        self._rows: list[Row] = []
        self._policy = Policy()
        self._lanes: list[str] = []
        self._samples: list[dict[str, Any]] = []

    def answerer(self, trainer: Trainer, pl_module: LightningModule) -> Answerer:
        """What answers the rows: the module's decoder. Override it for a model that is not picochat's."""
        decoder, tokenizer = getattr(pl_module, "decoder", None), getattr(pl_module, "chat_tokenizer", None)
        if decoder is None or tokenizer is None:
            raise UserError(
                f"BenchmarkMetrics: {type(pl_module).__name__} has no decoder and chat_tokenizer; override answerer()"
            )
        return ModelAnswerer(decoder, tokenizer, self.decoding)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        own, self._rows = getattr(data, "eval_path", None), []
        path = self.eval_input or own
        if stage not in ("fit", "validate") or path is None or self.rows_per_lane == 0:
            return
        rows = [row for _, row in data.eval_rows] if path == own else read_rows(path, "eval")
        rows = _fitting(rows, data)
        self._lanes = list(dict.fromkeys(row.get(_PROFILE) or UNTAGGED for row in rows))
        self._rows, self._policy = spread(rows, self.rows_per_lane), Policy.of(rows, path)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = Path(trainer.default_root_dir) / _FILE
        if trainer.is_global_zero and path.is_file():  # the samples of later steps are about to be made again
            samples = map(json.loads, path.read_bytes().splitlines())
            self._samples = [one for one in samples if one["step"] <= trainer.global_step > 0]
            self._write_samples(path)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._rows and not trainer.sanity_checking:
            callbacks: list[Callback] = cast(Any, trainer).callbacks
            with averaged_weights(pl_module, callbacks[: callbacks.index(self)]):  # later ones still have them in
                pl_module.log_dict(self._evaluate(trainer, pl_module), sync_dist=True)

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
            own = {"pass_rate": found.rate, **{name: getattr(found, name) for name in _OTHERS}}
            rates |= {f"eval/{lane.strip('()')}/{name}": rate for name, rate in own.items() if rate is not None}
        return rates

    def _keep_samples(self, trainer: Trainer, predictions: Sequence[Prediction]) -> None:
        """Add the first replies of each profile; a validation that was killed and is done again adds them once."""
        step = trainer.global_step
        self._samples = [one for one in self._samples if one["step"] < step]
        for lane in self._lanes:
            for one in [p for p in predictions if p.tag(_PROFILE) == lane][:_SAMPLES]:
                tags = {"step": step, "benchmark_profile": lane, "category": one.tag("category")}
                said = {name: getattr(one, name) for name in ("prompt", "reply", "expected", "passed")}
                self._samples.append({**tags, **said, "reasons": list(one.reasons)})
        self._write_samples(Path(trainer.default_root_dir) / _FILE)

    def _write_samples(self, path: Path) -> None:
        write_files({path: "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in self._samples)})


def spread(rows: Sequence[Row], rows_per_lane: int | None) -> list[Row]:
    """At most `rows_per_lane` rows of each benchmark profile, evenly spaced over the file, in its order."""
    if rows_per_lane is None:
        return list(rows)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.get(_PROFILE) or UNTAGGED, []).append(place)
    chosen = [place for own in places.values() for place in spread_evenly(own, rows_per_lane)]
    return [rows[place] for place in sorted(chosen)]


def _fitting(rows: Sequence[Row], data: Any) -> list[Row]:
    """The rows whose prompt leaves room for a reply in the context of the data, if it says its context."""
    if not hasattr(data, "context_length"):
        return list(rows)
    prompts = data.chat_tokenizer.render_batch([row["messages"] for row in rows], add_generation_prompt=True)
    fitting = [row for row, prompt in zip(rows, prompts, strict=True) if len(prompt.ids) < data.context_length]
    if len(fitting) < len(rows):
        rank_zero_info(f"BenchmarkMetrics: {len(rows) - len(fitting):,} of {len(rows):,} eval rows are too long to ask")
    return fitting
