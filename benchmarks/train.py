"""Supervised tokens a second, end to end: picochat beside TRL, litgpt's model and a plain loop, in one run.

    python benchmarks/train.py [--size demo|10m] [--precision bf16|fp32] [--threads 2] [--ways picochat trl …]

Every way trains a fresh model of the same size on the same rows (a capability task pack made here), packed to the same
context, in batches of as many rows, with fused AdamW and clipping. Each runs in a process of its own, in turn, for some
rounds; the best round counts. Time is wall time from the end of one step to the end of the next, data included.

    picochat            `picochat fit --config capability.yaml`, as a user runs it, its callbacks included
    picochat, muon      the same with the recipe's optimizer
    picochat, compiled  the same with model.compile
    own loop            picochat's decoder, loss and loader in ten lines of torch, without Lightning
    plain loop          transformers' Qwen3, eager; packed and isolated by a mask, head over every position
    plain, own decoder  the plain loop around picochat's decoder: what the mask and the whole head cost
    litgpt              litgpt's model in the plain loop; it cannot isolate packed documents
    trl                 SFTTrainer, packing "bfd", a Qwen3 of transformers, no gradient checkpointing
    idle                Lightning, loader and all callbacks around a model that does nothing: what the frame costs
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Callback, Trainer
from report import record
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.datamodules import CapabilityDataModule
from picochat.model.attention import isolate
from picochat.model.batch import Batch
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.loss import supervised_nll
from picochat.model.module import ChatModule
from picochat.model.optim import OptimizerConfig, build_optimizer

SIZES = {
    "demo": DecoderConfig(),
    "10m": DecoderConfig(
        hidden_size=320,
        intermediate_size=864,
        num_hidden_layers=9,
        num_attention_heads=10,
        num_key_value_heads=2,
    ),
}
WAYS = (
    "picochat",
    "picochat, muon",
    "picochat, compiled",
    "own loop",
    "plain loop",
    "plain, own decoder",
    "litgpt",
    "trl",
    "idle",
)
ROWS, WARM, RATE = 16, 5, 1e-3
Steps = list[tuple[float, int]]  # for each step: seconds, supervised tokens


class Clock(Callback):
    """When each step ended, and how much it learnt."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.tokens: list[int] = []

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch, index: int) -> None:
        self.ends.append(time.perf_counter())
        self.tokens.append(int((batch.labels != -100).sum()))

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        (Path(trainer.default_root_dir) / "clock.json").write_text(json.dumps(self.steps()))

    def steps(self) -> Steps:
        seconds = [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        return list(zip(seconds, self.tokens, strict=True))


class Idle(ChatModule):
    """A step without a model: loader, Lightning, callbacks and logging are left."""

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = self.decoder.model.norm.weight.sum() * 0
        self._step_nll = self._step_nll + loss.detach()
        return loss


def rows(folder: Path) -> dict[str, Any]:
    """Settings of the datamodule; what it makes lies in ``folder``."""
    pack = str(folder / "dataset_pack.json")
    return {"dataset_pack": pack, "work_dir": str(folder), "sft_rows": 20_000, "eval_rows": 320, "batch_size": ROWS}


def fit(args: argparse.Namespace, folder: Path, run: Path) -> Steps:
    """`picochat fit`, whose config.yaml this makes from the shipped one."""
    from picochat.commands.configs import shipped_configs
    from picochat.commands.fit import run_trainer

    config = yaml.safe_load(shipped_configs()["capability.yaml"].read_text("utf-8"))
    config["data"]["init_args"] = rows(folder)
    optimizer = "muon" if args.way == "picochat, muon" else "adamw"
    config["model"] = {
        "decoder": asdict(SIZES[args.size]),
        "optimizer": {"name": optimizer, "learning_rate": RATE},
        "compile": args.way == "picochat, compiled",
    }
    never = 10**9
    changed = {"default_root_dir": str(run), "max_steps": args.steps + 1, "val_check_interval": never}
    config["trainer"].update(changed, accelerator="cpu", precision="bf16-mixed" if args.bf16 else "32-true")
    config["trainer"]["callbacks"].append({"class_path": f"{Path(__file__).stem}.Clock"})
    (run / "bench.yaml").write_text(yaml.safe_dump(config))
    run_trainer(["fit", "--config", str(run / "bench.yaml")])
    return list(map(tuple, json.loads((run / "clock.json").read_text())))


def idle(args: argparse.Namespace, folder: Path, run: Path) -> Steps:
    from picochat.callbacks import GradientClip, LastCheckpoint, LRSchedule, RunLogger, RunReport, Throughput

    clock = Clock()
    used = [LRSchedule(20), GradientClip(), LastCheckpoint(never := 10**9), RunReport(), Throughput(), clock]
    silent = {"enable_progress_bar": False, "enable_model_summary": False, "logger": RunLogger(str(run))}
    step = {"max_steps": args.steps + 1, "log_every_n_steps": 10, "val_check_interval": never}
    check = {"check_val_every_n_epoch": None, "num_sanity_val_steps": 0, "default_root_dir": run}
    trainer = Trainer(accelerator="cpu", callbacks=used, precision="bf16-mixed", **step, **check, **silent)
    tiny = DecoderConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, head_dim=2)
    module = Idle(tiny, optimizer=OptimizerConfig("adamw", RATE))
    trainer.fit(module, CapabilityDataModule(**rows(folder)))
    return clock.steps()


def loop(args: argparse.Namespace, folder: Path, run: Path) -> Steps:
    """The loops without Lightning: own, plain, litgpt."""
    data = CapabilityDataModule(**rows(folder))
    data.prepare_data()
    data.setup("fit")
    config = replace(SIZES[args.size], vocab_size=data.chat_tokenizer.vocab_size)
    nll: Callable[[Batch], torch.Tensor]
    model: torch.nn.Module
    if args.way in ("own loop", "plain, own decoder"):
        model = decoder = Decoder(config)
        plain = args.way != "own loop"
        if plain:
            decoder.attention_backend = lambda: "mask"
        optimizer = build_optimizer(decoder, OptimizerConfig("adamw", RATE))

        def nll(batch: Batch) -> torch.Tensor:
            hidden = decoder(batch.input_ids, batch.position_ids, batch.document_ids)
            if not plain:
                return supervised_nll(decoder, hidden, batch.labels).sum()
            scores = decoder.logits(hidden).flatten(0, 1).float()
            return F.cross_entropy(scores, batch.labels.flatten(), reduction="sum")

    else:
        model = _litgpt(config) if args.way == "litgpt" else _qwen3(config)
        optimizer = torch.optim.AdamW(model.parameters(), RATE, fused=True)
        isolated = args.way == "plain loop"

        def nll(batch: Batch) -> torch.Tensor:
            if isolated:
                mask = isolate(batch.document_ids, "mask").mask
                scores = model(batch.input_ids, attention_mask=mask, position_ids=batch.position_ids).logits
            else:
                scores = model(batch.input_ids)
            return F.cross_entropy(scores.flatten(0, 1).float(), batch.labels.flatten(), reduction="sum")

    clock = Clock()
    clock.ends.append(time.perf_counter())
    for batch, _ in zip(_forever(data.train_dataloader), range(args.steps + 1), strict=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = nll(batch) / batch.step_tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.on_train_batch_end(None, None, None, batch, 0)  # type: ignore[arg-type]
    return clock.steps()


def trl(args: argparse.Namespace, folder: Path, run: Path) -> Steps:
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    data = CapabilityDataModule(**rows(folder))
    data.prepare_data()
    data.setup("fit")
    examples = [data._train[index] for index in range(len(data._train))]
    columns = {"input_ids": [ids.tolist() for ids, _ in examples]}
    columns["completion_mask"] = [learnt.astype(int).tolist() for _, learnt in examples]
    config = replace(SIZES[args.size], vocab_size=data.chat_tokenizer.vocab_size)
    data.chat_tokenizer.save(run)
    clock = Clock()

    class Ends(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.ends.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.ends.append(time.perf_counter())

    trainer = SFTTrainer(
        _qwen3(config),
        args=SFTConfig(
            output_dir=str(run),
            per_device_train_batch_size=ROWS,
            max_steps=args.steps + 1,
            max_length=256,
            packing=True,
            packing_strategy="bfd",
            completion_only_loss=True,
            gradient_checkpointing=False,
            learning_rate=RATE,
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            bf16=args.bf16,
            use_cpu=True,
            logging_steps=10,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict(columns),
        processing_class=AutoTokenizer.from_pretrained(run),
        callbacks=[Ends()],
    )
    collate = trainer.data_collator

    def counting(rows_of_batch: list[Any]) -> Any:
        made = collate(rows_of_batch)
        clock.tokens.append(int((made["labels"][:, 1:] != -100).sum()))
        return made

    trainer.data_collator = counting
    trainer.train()
    del clock.tokens[len(clock.ends) - 1 :]  # a batch ahead of the last step
    return clock.steps()


def _qwen3(config: DecoderConfig) -> torch.nn.Module:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = asdict(config)
    rope = {"rope_type": "default", "rope_theta": sizes.pop("rope_theta")}
    model: torch.nn.Module = Qwen3ForCausalLM(Qwen3Config(**sizes, rope_parameters=rope))
    return model


def _litgpt(config: DecoderConfig) -> torch.nn.Module:
    from litgpt.config import Config
    from litgpt.model import GPT

    return GPT(
        Config(
            block_size=config.max_position_embeddings,
            padded_vocab_size=config.vocab_size,
            n_layer=config.num_hidden_layers,
            n_head=config.num_attention_heads,
            n_query_groups=config.num_key_value_heads,
            n_embd=config.hidden_size,
            head_size=config.head_dim,
            intermediate_size=config.intermediate_size,
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            norm_qk=True,
            mlp_class_name="LLaMAMLP",
        )
    )


def _forever(loader: Callable[[], Iterable[Batch]]) -> Iterable[Batch]:
    while True:
        yield from loader()


def work(args: argparse.Namespace) -> None:
    """One way, in this process; its steps as JSON on the last line."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    routes = {"trl": trl, "idle": idle, "own loop": loop, "plain loop": loop, "litgpt": loop}
    routes["plain, own decoder"] = loop
    with tempfile.TemporaryDirectory() as run:
        steps = routes.get(args.way, fit)(args, Path(args.folder), Path(run))
    print("\n" + json.dumps(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=30, help=f"timed steps, the first {WARM} are not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.bf16 = args.precision == "bf16"
    if args.way:
        work(args)
        return
    torch.set_num_threads(args.threads)
    found: dict[str, list[Steps]] = {way: [] for way in args.ways}
    with tempfile.TemporaryDirectory() as folder:
        CapabilityDataModule(**rows(Path(folder))).prepare_data()
        for _ in range(args.rounds):
            for way in list(found):
                words = [*sys.argv[1:], "--way", way, "--folder", folder]
                done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
                if done.returncode:
                    print(f"{way} is left out: {done.stderr.strip().splitlines()[-1]}")
                    del found[way]
                else:
                    found[way].append(json.loads(done.stdout.strip().splitlines()[-1]))
    report(args, found)


def report(args: argparse.Namespace, found: dict[str, list[Steps]]) -> None:
    best: dict[str, tuple[float, float]] = {}  # supervised tokens a second, seconds a step
    for way, rounds in found.items():
        timed = [steps[WARM : args.steps] for steps in rounds]
        speeds = [(sum(n for _, n in steps) / sum(s for s, _ in steps), steps) for steps in timed]
        speed, steps = max(speeds, key=lambda pair: pair[0])
        best[way] = speed, sum(s for s, _ in steps) / len(steps)
    first = next(iter(best))  # picochat, if it is asked for
    ours = best[first]
    rows_of_table = [
        [way, speed, ours[0] / speed, seconds * 1e3, min(steps[0][0] for steps in found[way])]
        for way, (speed, seconds) in best.items()
        if way != "idle"
    ]
    note = f"{args.size} size, {args.precision}, {ROWS} rows of 256, best of {args.rounds} rounds."
    if "idle" in best:
        frame = best["idle"][1]
        share = f"{frame * 1e3:.2f} ms a step, {frame / ours[1]:.1%} of a step of {first}"
        note += f" Lightning, loader and callbacks alone: {share}."
    columns = ["way", "supervised tokens/s", f"{first} is … × as fast", "ms a step", "first step, s"]
    record(f"train-{args.size}-{args.precision}", columns, rows_of_table, note)


if __name__ == "__main__":
    main()
