"""`picochat plan`: a run on paper before it costs anything. In: the configs that `fit` would take. Out: a page of
figures and warnings. Nothing is trained, and nothing is written but the tokens of rows that are there already.

The datamodule plans the real stream (picochat.datamodules.forecast), picochat.model.sizes the model. Where rows or
tokenizer do not exist yet, a sample of them is made in a temporary folder and stands for all.
"""

import argparse
import importlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from picochat.errors import UserError

if TYPE_CHECKING:
    from picochat.datamodules.forecast import Forecast
    from picochat.model.config import DecoderConfig
    from picochat.model.sizes import Way

# name → (dense FLOPs a second in bf16, bytes of memory), by the makers' data sheets
DEVICES = {
    "a100": (312e12, 80e9),
    "h100": (989e12, 80e9),
    "h200": (989e12, 141e9),
    "b200": (2250e12, 180e9),
    "l40s": (362e12, 48e9),
    "rtx4090": (165e12, 24e9),
}
_SAMPLE = {"sft_rows": 2000, "eval_rows": 32, "vocab_size": 512}  # the most that a sample asks for
_ENOUGH = 20.0  # tokens per parameter of a compute-optimal base model (Hoffmann et al. 2022)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``plan`` to the commands."""
    parser = subparsers.add_parser(
        "plan",
        help="what a run needs, before it runs",
        description="Parameters, tokens, memory of each rank, FLOPs, time and epochs of the run that `picochat fit` "
        "would do with the same configs, with warnings.",
        epilog="example: picochat plan --config capability.yaml --config scale/h200-1b.yaml --gpus 8",
    )
    parser.add_argument("--config", action="append", required=True, metavar="YAML", help="as for fit; may be repeated")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, such as trainer.max_steps=6000"
    )
    parser.add_argument("--gpus", type=int, metavar="N", help="devices, over all machines (default: as in the configs)")
    parser.add_argument("--device", choices=tuple(DEVICES), default="h200", help="kind of device (default: h200)")
    parser.add_argument("--mfu", type=float, default=0.4, help="share of the peak that is reached (default: 0.4)")
    parser.add_argument(
        "--max-replays", type=float, default=8.0, metavar="K", help="warn of rows drawn more than K times (default: 8)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Plan, and print."""
    if not 0 < args.mfu <= 1:
        raise UserError(f"--mfu is {args.mfu}; it is a share of the device's peak, above 0 and at most 1")
    if args.gpus is not None and args.gpus < 1:
        raise UserError(f"--gpus is {args.gpus}; use the number of devices, from 1")
    figures = plan_run(args)
    print(json.dumps(figures, indent=1, ensure_ascii=False) if args.json else "\n".join(_page(figures)))


def plan_run(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, as JSON values."""
    from picochat.commands.configs import resolve_names

    words = [word for name in args.config for word in ("--config", name)]
    words = resolve_names(["fit", *words, *(f"--{setting}" for setting in args.set)])
    from picochat.commands.fit import parsed_config  # slow, and a wrong name is said before
    from picochat.model import sizes

    config = parsed_config(words)
    trainer = config.trainer
    if trainer.max_steps < 1:
        raise UserError("set trainer.max_steps, the number of optimizer steps: --set trainer.max_steps=6000")
    ranks = args.gpus or _ranks(trainer)
    rows = _opened(config.data)
    shape = _shape(config.model, rows)
    seen = _seen(rows, trainer, ranks)
    way = _way(config, ranks, seen, rows.data)
    peak, room = DEVICES[args.device]
    kept, sent = sizes.memory(shape, way), sizes.traffic(shape, way)
    each = shape.flops_per_token(seen.visible, supervised=seen.supervised / seen.tokens)
    flops = seen.tokens * each
    works = flops * (8 / 6 if way.recompute else 1)  # checkpointing does the forward pass twice
    own, embedding = sum(sizes.parameters(shape).values()), sizes.parameters(shape)["embeddings"]
    figures: dict[str, Any] = {
        "parameters": own,
        "embedding_parameters": embedding,
        "vocabulary": shape.vocab_size,
        "steps": seen.steps,
        "ranks": ranks,
        "sharded": way.sharded,
        "rows_per_step": seen.step_rows,
        "tokens": round(seen.tokens),
        "supervised_tokens": round(seen.supervised),
        "tokens_per_parameter": seen.tokens / own,
        "padding": seen.padding,
        "memory_per_rank": kept,
        "memory_per_rank_total": sum(kept.values()),
        "bytes_sent_per_step": sent,
        "flops": flops,
        "device": args.device,
        "mfu": args.mfu,
        "seconds": sizes.step_seconds(works, ranks, peak, args.mfu),
        "categories": [vars(lane) for lane in seen.lanes],
        "epochs": seen.steps * seen.step_rows / seen.epoch_rows,
        "estimated_from_a_sample": rows.sampled,
    }
    figures["warnings"] = _warnings(figures, seen, room, args.max_replays, fresh=config.model.checkpoint is None)
    return figures


@dataclass(frozen=True)
class _Rows:
    """A datamodule with its plan.

    Args:
        data: the datamodule, set up.
        vocabulary: tokens that the tokenizer has, or will have.
        scale: rows that there will be, for each row of the plan.
        sampled: whether a sample stands for rows that do not exist yet.
    """

    data: Any
    vocabulary: int
    scale: float = 1.0
    sampled: bool = False


def _opened(config: Any) -> _Rows:
    from picochat.packs.dataset_pack import FILE_NAME

    module, _, name = config.class_path.rpartition(".")
    made = getattr(importlib.import_module(module), name)
    settings = config.init_args.as_dict()
    data = made(**settings)
    if not hasattr(data, "absent"):
        raise UserError(f"{config.class_path} has no data plan; `picochat plan` works for picochat's own datamodules")
    if not (absent := data.absent()):
        data.prepare_data()
        data.setup("fit")
        return _Rows(data, data.chat_tokenizer.vocab_size)
    if settings.get("chat_input") is not None:
        raise UserError(f"{absent[0]} does not exist; make it first, there is nothing to plan with")
    with tempfile.TemporaryDirectory() as folder:
        less = {key: min(settings[key], most) for key, most in _SAMPLE.items() if settings.get(key) is not None}
        pack = data.pack_path if data.pack_path.exists() else Path(folder, FILE_NAME)
        own = {"dataset_pack": str(pack), "work_dir": folder}
        if data.tokenizer_path in absent:
            own["tokenizer"] = f"{folder}/tokenizer.json"
        sample = made(**{**settings, **less, **own})
        sample.prepare_data()
        sample.setup("fit")
        fresh = data.tokenizer_path in absent
        vocabulary = settings["vocab_size"] if fresh else sample.chat_tokenizer.vocab_size
        asked = settings.get("sft_rows")
        return _Rows(sample, vocabulary, asked / less["sft_rows"] if asked else 1.0, sampled=True)


def _shape(model: Any, rows: _Rows) -> "DecoderConfig":
    """The size of the checkpoint that the run starts from, or that of a fresh model."""
    from dataclasses import fields, replace

    from picochat.model.config import DecoderConfig, read_config, refuse_other_size

    asked = DecoderConfig(
        **({} if model.decoder is None else {f.name: model.decoder[f.name] for f in fields(DecoderConfig)})
    )
    if model.checkpoint is not None and (Path(model.checkpoint) / "config.json").is_file():
        found = read_config(model.checkpoint)
        refuse_other_size(None if model.decoder is None else asked, found, model.checkpoint)
        return replace(found, max_position_embeddings=rows.data.context_length)
    return replace(asked, vocab_size=rows.vocabulary)


def _seen(rows: _Rows, trainer: Any, ranks: int) -> "Forecast":
    from picochat.datamodules.forecast import forecast
    from picochat.datamodules.plan import Split

    split = Split(rows.data.batch_size, trainer.accumulate_grad_batches, ranks)
    return forecast(rows.data.plan, split, trainer.max_steps, rows.data.lanes, rows.scale)


def _way(config: Any, ranks: int, seen: "Forecast", data: Any) -> "Way":
    from picochat.model.sizes import Way

    precision = config.trainer.precision
    return Way(
        rows=data.batch_size,
        context=data.context_length,
        supervised=seen.supervised / seen.tokens * (1 - seen.padding),
        optimizer=cast(Literal["muon", "adamw"], config.model.optimizer.name if config.model.optimizer else "muon"),
        half=precision is None or "16" in str(precision),
        ranks=ranks,
        sharded=config.trainer.strategy == "fsdp2",
        recompute=bool(config.model.activation_checkpointing),
        micro_batches=config.trainer.accumulate_grad_batches,
    )


def _ranks(trainer: Any) -> int:
    devices = trainer.devices
    if isinstance(devices, list):
        return len(devices) * int(trainer.num_nodes)
    if not str(devices).isdigit():
        raise UserError(f"trainer.devices is {devices}, which only the machine can tell; say --gpus N")
    return int(devices) * int(trainer.num_nodes)


def _warnings(figures: dict[str, Any], seen: "Forecast", room: float, most: float, *, fresh: bool) -> list[str]:
    found = []
    if figures["memory_per_rank_total"] > 0.9 * room:
        found.append(
            f"a rank needs {figures['memory_per_rank_total'] / 1e9:.1f} GB of the {room / 1e9:.0f} GB of a "
            f"{figures['device']}; shard the model (trainer.strategy), set model.activation_checkpointing, or lower "
            "data.batch_size"
        )
    for lane in seen.lanes:
        if lane.replays > most:
            found.append(
                f"each of the {lane.rows:,} rows of {lane.name} is drawn {lane.replays:.1f} times; make more rows, or "
                "take fewer steps"
            )
    if seen.step_rows > seen.epoch_rows:
        found.append(
            f"a step takes {seen.step_rows:,} packed rows and the pack fills {seen.epoch_rows:,.0f}: one step draws "
            "the same examples again; make more rows, or lower data.batch_size or trainer.accumulate_grad_batches"
        )
    if fresh and figures["tokens_per_parameter"] < _ENOUGH:
        found.append(
            f"{figures['tokens_per_parameter']:.2g} tokens per parameter; a model of this size learns best from about "
            f"{_ENOUGH:.0f}: {_ENOUGH * figures['parameters']:.2g} tokens"
        )
    if figures["embedding_parameters"] > figures["parameters"] / 2:
        found.append("more than half of the parameters lie in the embedding; a smaller vocabulary would serve")
    return found


def _page(figures: dict[str, Any]) -> list[str]:
    minutes = round(figures["seconds"] / 60)
    time = f"{minutes // 60} h {minutes % 60} min" if minutes >= 3 else f"{figures['seconds']:.0f} s"
    kept, sent = figures["memory_per_rank"], figures["bytes_sent_per_step"]
    how = "sharded (FSDP2)" if figures["sharded"] else "replicated"
    ranks = f"{figures['ranks']} × {figures['device']}"
    lines = [
        f"parameters       {figures['parameters']:,} ({figures['embedding_parameters']:,} in the embedding of "
        f"{figures['vocabulary']:,})",
        f"steps            {figures['steps']:,} of {figures['rows_per_step']:,} packed rows; {figures['epochs']:.2f} "
        "epochs",
        f"tokens           {figures['tokens']:,}, supervised {figures['supervised_tokens']:,}; padding "
        f"{figures['padding']:.1%}",
        f"per parameter    {figures['tokens_per_parameter']:.3g} tokens",
        f"compute          {figures['flops']:.3g} FLOPs",
        f"time             {time} on {ranks} at {figures['mfu']:.0%} MFU, data, validation and saving aside",
        "",
        f"memory of each rank, {how} over {figures['ranks']}: {figures['memory_per_rank_total'] / 1e9:.2f} GB",
        *(f"  {part:<15}{size / 1e9:>9.2f} GB" for part, size in kept.items()),
        *(f"sent by a rank in a step, {name}: {size / 1e9:.2f} GB" for name, size in sent.items()),
        "",
    ]
    if figures["estimated_from_a_sample"]:
        lines.append("rows that do not exist yet are estimated from a small sample and a vocabulary of up to 512:")
    table = [("category", "rows", "share", "steps per epoch", "draws per row")]
    for lane in figures["categories"]:
        numbers = (f"{lane['rows']:,}", f"{lane['share']:.1%}", f"{lane['epoch_steps']:,.1f}", f"{lane['replays']:.2f}")
        table.append((lane["name"], *numbers))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines += ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]
    return [*lines, "", *(f"warning: {line}" for line in figures["warnings"])]
