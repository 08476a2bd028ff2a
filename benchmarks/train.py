"""Training side by side, in one run: python benchmarks/train.py --size demo|10m|135m [--ways NAME …] [--precision fp32]

Every way trains a model of the same size on the same data (a capability task pack made here), packed to the same
context, with the same batch size, fused AdamW and clipping. Each runs in a process of its own, in turn, for some
rounds; the best round counts. Time is wall time from the end of one step to the end of the next, data included.

    picochat            `picochat fit --config capability.yaml`, as a user runs it, its callbacks included
    picochat, muon      the same with the recipe's optimizer
    picochat, compiled  the same with model.compile
    plain loop          transformers' own model, eager, sdpa; it isolates packed documents itself, by their position ids
                        (the same logits as with a mask, to the bit); head over every position
    trl                 SFTTrainer, packing "bfd", the same model with the same isolation, no gradient checkpointing

135m is the shape of SmolLM2-135M (Llama's form, 30 layers, a BPE tokenizer of 49,152 tokens, learned here from Python's
own sources) with fresh weights, and 4 rows of 512. Memory is the peak of the whole process, torch included.

Two processes beside each other: OpenMP's threads spin for milliseconds while they wait, on cores that the other process
needs. On two cores (AVX512, demo size, benchmarks/expect.py, in turn within minutes) one process alone made 6.1 to 8.7
steps/s with OpenMP's default, 5.2 to 7.7 with a spin of 1,000 rounds (GOMP_SPINCOUNT=1000, which `picochat` sets where
nobody chose) and 4.5 to 5.9 with none (OMP_WAIT_POLICY=passive); each of two beside each other made 1.8, 4.1 and 5.0.
"""

import argparse
import json
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import machine
import torch
import yaml
from lightning import Callback, Trainer
from measure import flags, picochat
from report import record
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.datamodules import CapabilityDataModule
from picochat.model.batch import Batch
from picochat.model.config import DecoderConfig

SIZES = {
    "demo": DecoderConfig(),
    "10m": DecoderConfig(512, 320, 864, 9, 10, 2),
    "135m": DecoderConfig(512, 576, 1536, 30, 9, 3, 64, model_type="llama"),
}
BATCHES = {"demo": (16, 256), "10m": (16, 256), "135m": (4, 512)}  # rows, context
LARGE_VOCABULARY = {"135m": 49_152}
RATE, NEVER = 1e-3, 10**9
Steps = list[tuple[float, int]]  # for each step: seconds, supervised tokens


class Clock(Callback):
    """When each step ended, and how many supervised tokens it had."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.tokens: list[int] = []

    def on_train_start(self, trainer: Any = None, *_: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Batch, index: int) -> None:
        self.ends.append(time.perf_counter())
        self.tokens.append(int((batch.labels != -100).sum()))

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        (Path(trainer.default_root_dir) / "clock.json").write_text(json.dumps(self.steps()))

    def steps(self) -> Steps:
        seconds = [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        return list(zip(seconds, self.tokens, strict=True))


def settings(size: str, folder: Path) -> dict[str, Any]:
    """Of the data module; what it makes lies in ``folder``."""
    rows, context = BATCHES[size]
    pack = str(folder / "dataset_pack.json")
    made = {"dataset_pack": pack, "work_dir": str(folder), "sft_rows": 20_000, "eval_rows": 320}
    large = {"tokenizer": str(folder / "large.json")} if size in LARGE_VOCABULARY else {}
    return {**made, **large, "batch_size": rows, "context_length": context}


def prepare(size: str, folder: Path) -> None:
    if size in LARGE_VOCABULARY:
        sources = Path(sysconfig.get_path("stdlib"))
        text = [path.read_text("utf-8", "replace") for path in sources.rglob("*.py")]
        (folder / "sources.txt").write_text("\n".join(text), "utf-8")
        picochat(f"tok train --input sources.txt --vocab-size {LARGE_VOCABULARY[size]} --out large.json", folder)
    CapabilityDataModule(**settings(size, folder)).prepare_data()


def data_and_size(args: argparse.Namespace, folder: Path) -> tuple[CapabilityDataModule, DecoderConfig]:
    data = CapabilityDataModule(**settings(args.size, folder))
    data.prepare_data()
    data.setup("fit")
    return data, replace(SIZES[args.size], vocab_size=data.chat_tokenizer.vocab_size)


def fit(args: argparse.Namespace, folder: Path, run: Path) -> Steps:
    """`picochat fit` on the shipped config with another size and another clock."""
    from picochat.commands.configs import shipped_configs
    from picochat.commands.fit import run_trainer

    config = yaml.safe_load(shipped_configs()["capability.yaml"].read_text("utf-8"))
    config["data"]["init_args"] = settings(args.size, folder)
    config["model"] = {
        "decoder": asdict(SIZES[args.size]),
        "optimizer": {"name": "muon" if args.way == "picochat, muon" else "adamw", "learning_rate": RATE},
        "compile": args.way == "picochat, compiled",
    }
    trainer = config["trainer"]
    trainer.update(default_root_dir=str(run), max_steps=args.steps + 1, val_check_interval=NEVER, accelerator="cpu")
    trainer["precision"] = "bf16-mixed" if args.precision == "bf16" else "32-true"
    trainer.setdefault("callbacks", []).append({"class_path": f"{Path(__file__).stem}.Clock"})
    (run / "bench.yaml").write_text(yaml.safe_dump(config))
    run_trainer(["fit", "--config", str(run / "bench.yaml")])
    return list(map(tuple, json.loads((run / "clock.json").read_text())))


def loop(args: argparse.Namespace, folder: Path, run: Path) -> Steps:
    """Ten lines of torch around a model of transformers."""
    data, config = data_and_size(args, folder)
    model = of_transformers(config)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, fused=True)
    clock = Clock()
    clock.on_train_start()
    for batch, _ in zip(forever(data.train_dataloader), range(args.steps + 1), strict=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            scores = model(batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
            nll = F.cross_entropy(scores.flatten(0, 1).float(), batch.labels.flatten(), reduction="sum")
        (nll / batch.step_tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.on_train_batch_end(None, None, None, batch, 0)
    return clock.steps()


def trl(args: argparse.Namespace, folder: Path, run: Path) -> Steps:
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    data, config = data_and_size(args, folder)
    examples = [data._train[index] for index in range(len(data._train))]
    columns = {"input_ids": [ids.tolist() for ids, _ in examples]}
    columns["completion_mask"] = [mask.astype(int).tolist() for _, mask in examples]
    data.chat_tokenizer.save(run)
    clock = Clock()

    class Ends(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.on_train_start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.ends.append(time.perf_counter())

    trainer = SFTTrainer(
        of_transformers(config),
        args=SFTConfig(
            output_dir=str(run),
            per_device_train_batch_size=BATCHES[args.size][0],
            max_steps=args.steps + 1,
            max_length=BATCHES[args.size][1],
            packing=True,
            packing_strategy="bfd",
            completion_only_loss=True,
            gradient_checkpointing=False,
            learning_rate=RATE,
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            bf16=args.precision == "bf16",
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


def of_transformers(config: DecoderConfig) -> torch.nn.Module:
    import transformers

    sizes = asdict(config)
    rope = {"rope_type": "default", "rope_theta": sizes.pop("rope_theta")}
    name = {"qwen3": "Qwen3", "llama": "Llama"}[config.model_type]
    made = getattr(transformers, f"{name}Config")(**sizes, rope_parameters=rope)
    model: torch.nn.Module = getattr(transformers, f"{name}ForCausalLM")(made)
    return model


def forever(loader: Callable[[], Iterable[Batch]]) -> Iterable[Batch]:
    while True:
        yield from loader()


WAYS: dict[str, Callable[[argparse.Namespace, Path, Path], Steps]] = {
    "picochat": fit,
    "picochat, muon": fit,
    "picochat, compiled": fit,
    "plain loop": loop,
    "trl": trl,
}


def main() -> None:
    steps = {"steps": (30, "timed steps"), "warm": (5, "of these, first ones that are not counted")}
    threads = (torch.get_num_threads(), "of torch")
    parser = flags(__doc__, **steps, threads=threads, rounds=(3, "of each way; the best counts"))
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=machine.precision())
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--one", nargs=2, metavar=("WAY", "DIR"), help=argparse.SUPPRESS)  # in a fresh process
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        args.way, folder = args.one
        with tempfile.TemporaryDirectory() as run:
            steps = WAYS[args.way](args, Path(folder), Path(run))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print("\n" + json.dumps([steps, peak]))
        return
    found: dict[str, list[tuple[Steps, float]]] = {way: [] for way in args.ways}  # and peak memory, GiB
    with tempfile.TemporaryDirectory() as folder:
        prepare(args.size, Path(folder))
        for _ in range(args.rounds):
            for way in list(found):
                words = [sys.executable, __file__, *sys.argv[1:], "--one", way, folder]
                done = subprocess.run(words, capture_output=True, text=True)
                if done.returncode:
                    print(f"{way} is left out: {done.stderr.strip().splitlines()[-1]}")
                    del found[way]
                else:
                    found[way].append(json.loads(done.stdout.strip().splitlines()[-1]))
    show(args, found)


def show(args: argparse.Namespace, found: dict[str, list[tuple[Steps, float]]]) -> None:
    best: dict[str, tuple[float, float]] = {}  # supervised tokens a second, seconds a step
    for way, rounds in found.items():
        timed = [steps[args.warm : args.steps] for steps, _ in rounds]
        speeds = [(sum(n for _, n in steps) / sum(s for s, _ in steps), steps) for steps in timed]
        speed, steps = max(speeds, key=lambda pair: pair[0])
        best[way] = speed, sum(s for s, _ in steps) / len(steps)
    first, (speed, _) = next(iter(best.items()))  # picochat, if it is asked for
    rows = [
        [way, tokens, speed / tokens, seconds * 1e3, min(steps[0][0] for steps, _ in found[way]), found[way][0][1]]
        for way, (tokens, seconds) in best.items()
    ]
    count, context = BATCHES[args.size]
    note = f"{args.size} size, {args.precision}, {count} rows of {context}, best of {args.rounds} rounds."
    columns = ["way", "supervised tokens/s", f"{first} is … × as fast", "ms a step", "first step, s"]
    columns.append("peak memory, GiB")
    record(f"train-{args.size}", columns, rows, note)


if __name__ == "__main__":
    main()
