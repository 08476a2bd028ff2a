"""`picochat train base | sft`: spellings of `picochat fit`.

In: flags. Out: a config, made from a shipped one by setting what the flags name; it is run with `fit`, which writes it
to the run's folder. There is no other training path: `picochat fit --config <run>/config.yaml` repeats the run.
"""

import argparse
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from picochat.errors import UserError
from picochat.packs.rows import Kind, iter_rows
from picochat.strict_json import read_json_object

Config = dict[str, Any]

PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed", "auto": None}
ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "mps": "mps", "auto": "auto"}
_SIZE = "model.decoder."  # what a checkpoint decides
_FIRST_ROWS = 10_000  # that are looked at before torch is imported: a tenth of a second for six

# flag → (place in the config, type or choices, help). A place that begins with a callback's name is that callback's
# setting.
SHARED: dict[str, tuple[str, Any, str]] = {
    "--tokenizer": ("data.tokenizer", str, "tokenizer.json, or a model folder that holds one"),
    "--batch-size": ("data.batch_size", int, "packed rows of one micro-batch on one device"),
    "--devices": ("trainer.devices", int, "devices that train together, a process each; on the CPU: processes"),
    "--grad-accum-steps": ("trainer.accumulate_grad_batches", int, "micro-batches of one optimizer step"),
    "--context-length": ("data.context_length", int, "tokens of a packed row"),
    "--num-workers": ("data.num_workers", int, "processes that prepare batches"),
    "--optimizer": ("model.optimizer.name", ("adamw", "muon"), "muon: Muon for matrices, AdamW for the rest"),
    "--learning-rate": ("model.optimizer.learning_rate", float, "peak rate; with muon the matrices get five times it"),
    "--weight-decay": ("model.optimizer.weight_decay", float, "on matrices only, never on norms and embeddings"),
    "--matmul-precision": ("model.matmul_precision", ("default", "highest", "high", "medium"), "of float32 products"),
    "--compile": ("model.compile", bool, "compile the decoder"),
    "--lr-warmup-steps": ("LRSchedule.warmup_steps", int, "optimizer steps until the peak rate"),
    "--lr-decay": ("LRSchedule.decay", ("none", "linear", "cosine"), "how the rate falls after warm-up"),
    "--min-lr-ratio": ("LRSchedule.min_lr_ratio", float, "last rate as a share of the peak"),
    "--grad-clip": ("GradientClip.max_norm", float, "largest global gradient norm"),
    "--save-every": ("LastCheckpoint.every_n_steps", int, "optimizer steps between two saves of last.ckpt"),
    "--seed": ("data.seed", int, "of weights, data plan and everything else"),
}
SFT: dict[str, tuple[str, Any, str]] = {
    "--input": ("data.chat_input", str, "chat rows (JSONL) to learn"),
    "--eval-input": ("data.eval_input", str, "eval rows (JSONL); their loss is logged and guides nothing"),
    "--checkpoint": ("model.checkpoint", str, "model folder to start from"),
    "--packing": ("data.packing", ("separate", "bos_bestfit"), "one example a row, or many, isolated from each other"),
    "--sampling": ("data.sampling", ("uniform", "category_sqrt", "category_balanced"), "how often a category is drawn"),
    "--sampling-tag": ("data.sampling_tag", str, "what --sampling takes for a category: category, stage, …"),
    "--val-fraction": ("data.val_fraction", float, "share of problems held out to choose the best checkpoint by"),
    "--on-long": ("data.on_long", ("error", "drop"), "what to do with examples longer than the context"),
}
BASE: dict[str, tuple[str, Any, str]] = {
    "--dataset-pack": ("data.dataset_pack", str, "dataset_pack.json whose corpus is learnt"),
    "--checkpoint": ("model.checkpoint", str, "model folder to go on from (default: fresh weights)"),
    "--hidden-size": ("model.decoder.hidden_size", int, "width"),
    "--intermediate-size": ("model.decoder.intermediate_size", int, "width of the SwiGLU layer"),
    "--num-layers": ("model.decoder.num_hidden_layers", int, "depth"),
    "--num-heads": ("model.decoder.num_attention_heads", int, "query heads"),
    "--num-kv-heads": ("model.decoder.num_key_value_heads", int, "key and value heads"),
    "--head-dim": ("model.decoder.head_dim", int, "size of one head"),
    "--val-fraction": ("data.val_fraction", float, "share of documents held out"),
}
BASE_EXAMPLE = (
    "example:\n  picochat train base --dataset-pack runs/data/dataset_pack.json --tokenizer runs/tokenizer.json \\\n"
    "      --out-dir runs/base --steps 300"
)
SFT_EXAMPLE = (
    "example:\n  picochat train sft --input runs/pack/chat_task_mixture_capability.jsonl \\\n"
    "      --checkpoint runs/base/best_checkpoint --out-dir runs/capability --steps 900"
)


def add_parser(subparsers: Any) -> None:
    """Add `base` and `sft` to the parsers of `picochat train`."""
    base = subparsers.add_parser(
        "base",
        help="learn language from a corpus",
        description="Train a base model on a corpus.",
        epilog=BASE_EXAMPLE,
    )
    sft = subparsers.add_parser(
        "sft",
        help="learn tasks or behaviour from chat rows",
        description="Train on chat rows, starting from a checkpoint.",
        epilog=SFT_EXAMPLE,
    )
    for parser, table, shipped, required in (
        (base, {**BASE, **SHARED}, "base.yaml", ("--dataset-pack",)),
        (sft, {**SFT, **SHARED}, "capability.yaml", ("--input", "--checkpoint")),
    ):
        for flag, (_, kind, text) in table.items():
            _add_flag(parser, flag, kind, text, required=flag in required)
        _add_run_flags(parser)
        parser.set_defaults(run=_run, table=table, shipped=shipped)


def config_of(args: argparse.Namespace) -> Config:
    """The config that a `train` command line stands for: the shipped one with the named settings changed."""
    from picochat.commands.configs import shipped_configs

    config: Config = yaml.safe_load(shipped_configs()[args.shipped].read_text("utf-8"))
    if args.shipped != "base.yaml":  # rows from files, whatever profile they belong to
        config["data"] = {"class_path": "picochat.datamodules.ChatDataModule", "init_args": _file_rows(config)}
        if args.eval_input is None:  # nothing to ask
            callbacks = config["trainer"]["callbacks"]
            callbacks[:] = [item for item in callbacks if not item["class_path"].endswith(".BenchmarkMetrics")]
    if args.checkpoint:
        config["model"].pop("decoder", None)
        config["data"]["init_args"].update(_of_checkpoint(args))
    config["model"]["optimizer"] = {**config["model"]["optimizer"], "name": "adamw", "matrix_learning_rate": None}
    for flag, (place, _, _) in args.table.items():
        value = getattr(args, _name(flag))
        if value is not None and not (args.checkpoint and place.startswith(_SIZE)):
            _set(config, place, value)
    trainer = config["trainer"]
    trainer["default_root_dir"] = args.out_dir
    trainer["max_steps"] = args.steps
    trainer["accelerator"] = ACCELERATORS[args.device]
    trainer["precision"] = PRECISIONS[args.precision]
    trainer["log_every_n_steps"] = min(10, args.steps)
    # by default eight times, or as often as makes the last step one of them
    every = args.eval_every or args.steps // max(k for k in range(1, 9) if args.steps % k == 0)
    trainer["val_check_interval"] = every * trainer.get("accumulate_grad_batches", 1)  # Lightning counts micro-batches
    if args.seed is not None:
        config["seed_everything"] = args.seed
    if args.early_stop_patience:
        _set(config, "BestCheckpoint.patience", args.early_stop_patience)
    return config


def _run(args: argparse.Namespace) -> None:
    for flag in ("steps", "eval_every", "early_stop_patience"):
        if (value := getattr(args, flag)) is not None and value < 1:
            raise UserError(f"--{flag.replace('_', '-')} must be at least 1, not {value}")
    if args.early_stop_patience and args.val_fraction == 0:
        raise UserError(
            "--early-stop-patience waits for the validation loss, and --val-fraction 0 holds nothing out to measure it "
            "on; leave one of the two out"
        )
    for flag in ("input", "eval_input", "tokenizer", "dataset_pack", "resume_from"):
        path = getattr(args, flag, None)
        if path is not None and not Path(path).exists():
            raise UserError(f"--{flag.replace('_', '-')}: {path} does not exist")
    kinds: dict[str, Kind] = {"input": "chat", "eval_input": "eval"}
    for flag, kind in kinds.items():
        if path := getattr(args, flag, None):  # all rows are read when they become tokens, after the slow imports
            for _ in islice(iter_rows(path, kind), _FIRST_ROWS):
                pass
    config = config_of(args)
    from picochat.commands.fit import run_trainer

    with tempfile.TemporaryDirectory() as folder:  # fit writes the complete config to the run's folder
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        words = ["fit", "--config", str(path)]
        if args.resume_from:
            words += ["--ckpt_path", args.resume_from]
        run_trainer([*words, *(["--force=true"] if args.force else [])])


def _add_flag(parser: argparse.ArgumentParser, flag: str, kind: Any, text: str, *, required: bool) -> None:
    if kind is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
    elif isinstance(kind, tuple):
        parser.add_argument(flag, choices=kind, help=text)
    else:
        convert: Callable[[str], Any] = kind
        parser.add_argument(flag, type=convert, metavar=kind.__name__.upper(), required=required, help=text)


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--steps", "--max-steps", type=int, required=True, metavar="INT", help="optimizer steps")
    parser.add_argument("--device", choices=tuple(ACCELERATORS), default="auto", help="where to train")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="auto", help="auto: bf16 where there is any")
    parser.add_argument(
        "--eval-every", type=int, metavar="STEPS", help="steps between validations (default: up to 8 a run)"
    )
    parser.add_argument("--early-stop-patience", type=int, metavar="N", help="stop after N validations without a gain")
    parser.add_argument("--resume-from", metavar="CKPT", help="last.ckpt of an interrupted run")
    parser.add_argument("--force", action="store_true", help="start over in a folder that holds a run")


def _file_rows(config: Config) -> Config:
    """The settings of a profile datamodule that hold for rows from files too."""
    kept = ("batch_size", "context_length", "packing", "sampling", "val_fraction", "seed", "num_workers", "on_long")
    settings: Config = config["data"]["init_args"]
    return {name: settings[name] for name in kept if name in settings}


def _of_checkpoint(args: argparse.Namespace) -> Config:
    """Tokenizer and context of a checkpoint, unless flags say otherwise; its size is what it is."""
    folder = Path(args.checkpoint)
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(
            f"--checkpoint: {folder} is no model folder (it has no config.json); train the base first with "
            "`picochat train base`, or name another folder"
        )
    found = read_json_object(file)
    for flag, (place, _, _) in args.table.items():
        asked = getattr(args, _name(flag))
        if place.startswith(_SIZE) and asked is not None and asked != (size := found.get(place.removeprefix(_SIZE))):
            raise UserError(f"{flag} is {asked}, but {folder} has {size}; leave it out to take the checkpoint's size")
    context = args.context_length or found.get("max_position_embeddings")
    if not isinstance(context, int) or isinstance(context, bool):
        raise UserError(f"--checkpoint: {file} names no max_position_embeddings; give --context-length")
    return {"tokenizer": str(folder), "context_length": context}


def _name(flag: str) -> str:
    """--hidden-size → hidden_size."""
    return flag[2:].replace("-", "_")


def _set(config: Config, place: str, value: Any) -> None:
    first, *rest = place.split(".")
    if first == "data":
        target = config["data"]["init_args"]
    elif first in ("model", "trainer"):
        target = config[first]
    else:
        callbacks = {item["class_path"].rsplit(".", 1)[1]: item for item in config["trainer"]["callbacks"]}
        target = callbacks[first].setdefault("init_args", {})
    for name in rest[:-1]:
        target = target.setdefault(name, {})
    target[rest[-1]] = value
