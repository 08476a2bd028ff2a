"""`picochat plan`: a run on paper before it costs anything. In: the configs that `fit` would take. Out: figures.
Nothing is trained. The datamodule plans the real stream, picochat.model.sizes the model; where rows or tokenizer do not
exist yet, a sample of them is made in a temporary folder and stands for all.
"""

import contextlib
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from picochat.blocks import Block, Table, Text, aligned, terminal
from picochat.commands.configs import resolve_names
from picochat.commands.parser import Parser
from picochat.commands.refusals import refuse_paths
from picochat.errors import UserError
from picochat.model.config import DecoderConfig, config_of, find_model
from picochat.model.sizes import Setup, memory, traffic

# name → (dense FLOPs a second in bf16, bytes of memory), by the makers' data sheets
DEVICES = {
    "a100": (312e12, 80e9),
    "h100": (989e12, 80e9),
    "h200": (989e12, 141e9),
    "b200": (2250e12, 180e9),
    "l40s": (362e12, 48e9),
    "rtx4090": (165e12, 24e9),
}
_SAMPLE = {"vocab_size": 512, "sft_rows": 2000, "eval_rows": 32}  # the most that a sample asks for
_RUNS = (1, 3)  # of each arm, in a later comparison
_REPLAYS = 8.0  # draws of a row in a run after which it is learnt by heart
_ENOUGH = 20.0  # tokens per parameter of a compute-optimal base model (Hoffmann et al. 2022)


def add_plan(commands: Parser) -> None:
    parser = commands.add_command("plan", plan)
    parser.add_argument("--config", action="append", required=True, metavar="YAML", help="as for fit; may be repeated")
    setting = "a setting, such as trainer.max_steps=6000"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=setting)
    parser.add_argument("--gpus", type=int, metavar="N", help="devices, over all machines (default: as in the configs)")
    parser.add_argument("--device", choices=tuple(DEVICES), default="h200", help="kind of device (default: h200)")
    share = "share of the peak that is reached (default: 0.4)"
    parser.add_argument("--mfu", type=float, default=0.4, metavar="X", help=share)


def plan(args: Namespace) -> None:
    """Parameters, tokens, memory of each rank, FLOPs, time and epochs of a run, with warnings, before it runs.

    It is the run that `picochat fit` would do with the same configs.

    example: picochat plan --config capability.yaml --config scale/h200-1b.yaml --gpus 8
    """
    if not 0 < args.mfu <= 1:
        raise UserError(f"--mfu is {args.mfu}; it is a share of the device's peak, above 0 and at most 1")
    if args.gpus is not None and args.gpus < 1:
        raise UserError(f"--gpus is {args.gpus}; use the number of devices, from 1")
    for setting in args.set:
        if "=" not in setting:
            raise UserError(f"--set {setting} gives no value; write KEY=VALUE, such as trainer.max_steps=6000")
    configs = [word for name in args.config for word in ("--config", name)]
    words = resolve_names(["fit", *configs, *(f"--{setting}" for setting in args.set)])
    refuse_paths(words)
    from picochat.commands.fit import parsed_config

    settings = parsed_config(words)
    if settings.trainer.max_steps < 1:
        raise UserError("set trainer.max_steps, the number of optimizer steps: --set trainer.max_steps=6000")
    with contextlib.redirect_stdout(sys.stderr):  # what makes samples says so; stdout is for the plan
        source = _open(settings.data)
    print(terminal(*_blocks(settings, source, args)))


def _blocks(settings: Any, source: tuple[Any, int, float, bool], args: Namespace) -> list[Block]:
    from picochat.datamodules.plan import Split, forecast

    trainer, model, (data, vocabulary, scale, sampled) = settings.trainer, settings.model, source
    split = Split(data.batch_size, trainer.accumulate_grad_batches, args.gpus or ranks_of(trainer))
    run = forecast(data.plan, split, trainer.max_steps, data.lanes, scale)
    config = _config(model, vocabulary, data.context_length)
    supervised = run["supervised_tokens"] / run["tokens"]
    setup = Setup(
        rows=data.batch_size,
        context=data.context_length,
        supervised=supervised * (1 - run["padding"]),
        optimizer=model.optimizer.name if model.optimizer else "muon",
        half=trainer.precision is None or "16" in str(trainer.precision),
        ranks=split.world_size,
        sharded=trainer.strategy == "fsdp2",
        recompute=bool(model.activation_checkpointing),
        micro_batches=trainer.accumulate_grad_batches,
        lora_rank=model.lora_rank,
    )
    kept, parameters = memory(config, setup), config.num_parameters
    flops = run["tokens"] * config.flops_per_token(run["document_length"], supervised=supervised)
    repeated = 8 / 6 if setup.recompute else 1  # checkpointing does the forward pass twice
    seconds = flops * repeated / (setup.ranks * DEVICES[args.device][0] * args.mfu)
    time = f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min" if seconds >= 180 else f"{seconds:.0f} s"
    each, total = run["tokens"] / parameters, sum(kept.values())
    facts = {
        "parameters": f"{parameters:,}, {config.parameters()['embeddings']:,} of the {config.vocab_size:,} embeddings",
        "steps": f"{run['steps']:,} of {run['rows_per_step']:,} packed rows; {run['epochs']:.2f} epochs",
        "tokens": f"{run['tokens']:,}, supervised {run['supervised_tokens']:,}; padding {run['padding']:.1%}",
        "per parameter": f"{each:.3g} tokens",
        "compute": f"{flops:.3g} FLOPs",
        "time": f"{time} on {setup.ranks} × {args.device} at {args.mfu:.0%} MFU, without data, validation and saving",
    }
    sent = {f"sent a step, {name}": size for name, size in traffic(config, setup).items()}
    parts = [(f"  {part}", f"{size / 1e9:>6.2f} GB") for part, size in {**kept, **sent}.items()]
    held = f"{'sharded (FSDP2)' if setup.sharded else 'replicated'} over {setup.ranks}"
    return [
        Text(aligned([*facts.items()], left=2).splitlines()),
        Text(aligned(parts).splitlines(), title=f"memory of each rank, {held}: {total / 1e9:.2f} GB"),
        *_tables(run, data, sampled),
        Text([f"warning: {line}" for line in _warnings(run, total, args.device, each, fresh=model.checkpoint is None)]),
    ]


def _tables(run: dict[str, Any], data: Any, sampled: bool) -> Iterator[Block]:
    """How often rows are drawn, and what a comparison on the eval rows would show."""
    from picochat.evidence.lanes import visible_by_skill

    estimated = "rows that do not exist yet are estimated from a small sample and a vocabulary of up to 512:"
    lanes = [
        (c["name"], f"{c['rows']:,}", f"{c['share']:.1%}", f"{c['epoch_steps']:,.1f}", f"{c['replays']:.2f}")
        for c in run["categories"]
    ]
    drawn = ("category", "rows", "share", "steps per epoch", "draws per row")
    yield Table(drawn, lanes, title=estimated if sampled else "")
    if not sampled and getattr(data, "eval_path", None):
        found = visible_by_skill([row for _, row in data.eval_rows], _RUNS)
        points = [[f"{100 * share:.1f}" if share else "–" for share in one["visible"]] for one in found]
        rows = [(f["skill"], str(f["rows"]), str(f["problems"]), *p) for f, p in zip(found, points, strict=True)]
        head = ("skill", "eval rows", "problems", *(f"{n} run{'s' * (n > 1)} an arm" for n in _RUNS))
        yield Table(head, rows, title="smallest difference that a comparison would show (points, 80 % power)")


def _warnings(run: dict[str, Any], needed: int, device: str, each: float, *, fresh: bool) -> Iterator[str]:
    """What is wrong with a run that needs so many bytes a rank, and has so many tokens for each parameter."""
    room = DEVICES[device][1]
    for lane in run["categories"]:
        if lane["replays"] > _REPLAYS:
            drawn = f"each of the {lane['rows']:,} rows of {lane['name']} is drawn {lane['replays']:.1f} times"
            yield f"{drawn}; make more rows, or take fewer steps"
    if needed > 0.9 * room:
        yield (
            f"a rank needs {needed / 1e9:.1f} GB of the {room / 1e9:.0f} GB of a {device}; shard the model "
            "(trainer.strategy), set model.activation_checkpointing, or lower data.batch_size"
        )
    if run["rows_per_step"] > run["rows_per_epoch"]:
        yield (
            f"a step takes {run['rows_per_step']:,} packed rows and the pack fills {run['rows_per_epoch']:,.0f}: it "
            "draws the same examples again; make more rows, or lower data.batch_size or trainer.accumulate_grad_batches"
        )
    if fresh and each < _ENOUGH:
        yield f"{each:.2g} tokens per parameter; a model of this size learns best from about {_ENOUGH:.0f}"


def _open(config: Any) -> tuple[Any, int, float, bool]:
    """A datamodule with its plan, tokens of its tokenizer, rows for each one of the plan, whether it is a sample."""
    from picochat.packs.dataset_pack import FILE_NAME

    datamodule, settings = resolve_name(config.class_path), config.init_args.as_dict()
    data = datamodule(**settings)
    if not hasattr(data, "absent"):
        raise UserError(f"{config.class_path} has no data plan; `picochat plan` works for picochat's own datamodules")
    if not (absent := data.absent()):
        return prepared(data), data.chat_tokenizer.vocab_size, 1.0, False
    if settings.get("chat_input") is not None:
        raise UserError(f"{absent[0]} does not exist; make it first, there is nothing to plan with")
    with tempfile.TemporaryDirectory() as folder:
        mixture = getattr(data, "mixture", None)
        fixed = mixture and not all(lane.task for lane in mixture.lanes.values())  # files hold what they hold
        less = {
            key: min(settings[key], most)
            for key, most in _SAMPLE.items()
            if settings.get(key) is not None and (key == "vocab_size" or not fixed)
        }
        pack = data.pack_path if data.pack_path.exists() else Path(folder, FILE_NAME)
        own = {"dataset_pack": str(pack), "work_dir": folder}
        if fresh := data.tokenizer_path in absent:
            own["tokenizer"] = f"{folder}/tokenizer.json"
        sample = prepared(datamodule(**{**settings, **less, **own}))
        vocabulary = settings["vocab_size"] if fresh else sample.chat_tokenizer.vocab_size
        rows = settings.get("sft_rows")
        return sample, vocabulary, rows / less.get("sft_rows", rows) if rows else 1.0, True


def prepared(data: Any) -> Any:
    """A datamodule whose plan is made, and before it whatever is missing."""
    data.prepare_data()
    data.setup("fit")
    return data


def _config(model: Any, vocabulary: int, context: int) -> DecoderConfig:
    """The size of the checkpoint that the run starts from, or that of a fresh model."""
    wanted = None if model.decoder is None else DecoderConfig(**vars(model.decoder))
    if model.checkpoint is None or not find_model(model.checkpoint).is_dir():
        return replace(wanted or DecoderConfig(), vocab_size=vocabulary)
    from picochat.model.module import refuse_other_size

    own = config_of(find_model(model.checkpoint))
    refuse_other_size(wanted, own, model.checkpoint)
    return replace(own, max_position_embeddings=context)


def ranks_of(trainer: Any) -> int:
    """Processes of a run, over all machines."""
    devices = len(trainer.devices) if isinstance(trainer.devices, list) else trainer.devices
    if not str(devices).isdigit():
        raise UserError(
            f"trainer.devices is {devices}, which only the machine can tell; name a number (plan: --gpus N)"
        )
    return int(devices) * int(trainer.num_nodes)
