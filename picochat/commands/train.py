"""`picochat train base | sft`: short flags for `picochat fit`, the one training path. In: flags. Out: a command line of
`fit` over base.yaml or sft.yaml, in which each flag is a setting.

    picochat train sft --input rows.jsonl --checkpoint runs/base/best_checkpoint --out-dir runs/sft --steps 180
    picochat fit --config=sft.yaml --data.chat_input=rows.jsonl --model.checkpoint=runs/base/best_checkpoint \\
        --trainer.default_root_dir=runs/sft --trainer.max_steps=180 …
"""

import json
import re
from argparse import Namespace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

from picochat.commands.configs import shipped_configs
from picochat.commands.parser import Parser
from picochat.commands.settings import ALIASES, parameter
from picochat.errors import UserError
from picochat.model.config import config_of, find_model

PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed", "auto": "null"}
ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "mps": "mps", "auto": "auto"}
_PATHS = ("input", "eval_input", "tokenizer", "dataset_pack", "checkpoint", "resume_from")
_OTHERS = {  # flag → setting of fit, beside the stage's own
    "--seed": "seed_everything",
    "--device": "trainer.accelerator",
    "--precision": "trainer.precision",
    "--out-dir": "trainer.default_root_dir",
    "--resume-from": "--ckpt_path",
}
_REQUIRED = (("base", "--dataset-pack"), ("sft", "--input"), ("sft", "--checkpoint"))
_PAGES = {
    "base": r"""Pretrain a base model on a corpus.

        example:
          picochat train base --dataset-pack runs/data/dataset_pack.json --tokenizer runs/tokenizer.json \
              --out-dir runs/base --steps 300""",
    "sft": r"""Supervised fine-tuning (SFT) on chat rows, from a checkpoint.

        example:
          picochat train sft --input runs/capability-pack/chat_task_mixture_capability.jsonl \
              --checkpoint runs/base/best_checkpoint --out-dir runs/capability --steps 900""",
}


def add_train(group: Parser) -> None:
    for stage, page in _PAGES.items():
        parser = group.add_command(stage, train, page)
        parser.set_defaults(stage=stage)
        shipped, datamodule, aliases = ALIASES[stage]
        defaults = yaml.safe_load(shipped_configs()[shipped].read_text("utf-8"))
        for flag, setting in aliases.items():
            declared = parameter(setting, datamodule)
            required = (stage, flag) in _REQUIRED
            default = None if required else _default(setting, defaults, declared.default)
            if (stage, flag) == ("base", "--tokenizer"):  # all that a run makes lies in its folder
                default = "OUT_DIR/tokenizer.json"
            parser.add_declared(flag, declared, shown=default, required=required)
        parser.add_argument("--out-dir", required=True, metavar="DIR", help="the run's folder")
        length = parser.add_mutually_exclusive_group(required=True)
        length.add_argument("--steps", "--max-steps", type=int, metavar="INT", help="optimizer steps")
        length.add_argument("--epochs", type=float, metavar="X", help="draws of each example, in place of steps")
        parser.add_argument("--device", choices=tuple(ACCELERATORS), default="auto", help="where (default: auto)")
        parser.add_argument("--precision", choices=tuple(PRECISIONS), default="auto", help="auto: bf16 if in hardware")
        parser.add_argument("--eval-every", type=int, metavar="STEPS", help="between validations (default: 8 a run)")
        parser.add_argument("--resume-from", metavar="CKPT", help="last.ckpt of an interrupted run")
        parser.add_argument("--force", action="store_true", help="start over in a folder that holds a run")


def _default(setting: str, config: Any, source: str | None) -> Any:
    """What the shipped config says, else the class; None where neither names a value."""
    for part in setting.replace("data.", "data.init_args.").split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config if config is not None else None if source in (None, "None") else source.strip("'")


def fit_words(args: Namespace) -> list[str]:
    """The command line of `fit` that a parsed line of `train` stands for."""
    shipped, _, aliases = ALIASES[args.stage]
    settings: dict[str, Any] = {
        "trainer.default_root_dir": args.out_dir,
        "trainer.max_steps": args.steps,
        "trainer.accelerator": ACCELERATORS[args.device],
        "trainer.precision": PRECISIONS[args.precision],
    }
    for flag, setting in aliases.items():
        value = getattr(args, flag[2:].replace("-", "_"))
        if value is not None:
            if args.checkpoint and setting.startswith("model.decoder."):
                raise UserError(f"{flag} and --checkpoint contradict each other: a checkpoint has its own size")
            settings[setting] = json.dumps(value) if isinstance(value, bool | list) else value
    if args.checkpoint:  # its size, tokenizer and context in place of the shipped config's
        settings["model.decoder"] = "null"
        settings = {"data.tokenizer": "null", "data.context_length": "null", **settings}
    elif args.tokenizer is None:
        settings["data.tokenizer"] = str(Path(args.out_dir, "tokenizer.json"))
    if args.seed is not None:
        settings["seed_everything"] = args.seed
    # by default up to 8 times, as often as divides the steps, so that the last step is validated too
    every = args.eval_every or args.steps // max(k for k in range(1, 9) if args.steps % k == 0)
    settings["trainer.val_check_interval"] = every * (args.grad_accum_steps or 1)  # Lightning counts micro-batches
    words = ["fit", f"--config={shipped_configs()[shipped]}"]
    words += [f"--{name}={value}" for name, value in settings.items()]
    return words + ([f"--ckpt_path={args.resume_from}"] if args.resume_from else []) + ["--force"] * args.force


def train(args: Namespace) -> None:
    """Refuse what is wrong with the flags, then run the line of `fit` that they stand for."""
    for name, least in (("steps", 1), ("eval_every", 1), ("epochs", 0.001)):
        if (value := getattr(args, name)) is not None and not least <= value < 1e9:
            raise UserError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
    from picochat.datamodules.tokenise import parse_inputs

    given = {name: path for name in _PATHS if (path := getattr(args, name, None)) is not None}
    try:
        for name, path in given.items():
            for one in [part.path for part in parse_inputs(path)] if name == "input" else [path]:
                place = find_model(one) if name == "checkpoint" else Path(one)
                if not place.exists():
                    flag = f"--{name.replace('_', '-')}"
                    raise UserError(f"{flag}: {one} does not exist; correct the path, or make it first")
                if name == "checkpoint":
                    config_of(place)  # refused before torch is imported
        from picochat.commands.fit import run_trainer

        args.steps = args.steps or _steps_of(args)
        run_trainer(fit_words(args))
    except UserError as error:
        raise UserError(_with_flags(str(error), args.stage)) from error


def _steps_of(args: Namespace) -> int:
    """The optimizer steps of so many epochs, printed; the run's data module makes what is missing to know them."""
    from picochat.commands.fit import parsed_config
    from picochat.commands.plan import prepared, ranks_of
    from picochat.datamodules.plan import Split

    config = parsed_config(fit_words(Namespace(**{**vars(args), "steps": 1})))
    data = prepared(resolve_name(config.data.class_path)(**config.data.init_args.as_dict()))
    split = Split(data.batch_size, config.trainer.accumulate_grad_batches, ranks_of(config.trainer))
    steps: int = data.steps_of(args.epochs, split)
    print(f"{args.epochs:g} epochs of {len(data.plan.lengths):,} examples are {steps:,} optimizer steps")
    return steps


def _with_flags(message: str, stage: str) -> str:
    """A message of `fit` with the flags of `train`: "data.on_long is …" → "--on-long is …"."""
    for flag, setting in {**ALIASES[stage][2], **_OTHERS}.items():
        group, _, name = setting.removeprefix("model.").rpartition(".")
        short = rf"{group}\.{name}" if group == "optimizer" else rf"^{name}(?= (?:is|[\d.]+) )"  # as a class says it
        message = re.sub(rf"(?<![\w.-])(?:{re.escape(setting)}|{short})(?![\w.])", flag, message)
    return message.removeprefix("fit: ").replace("`picochat fit --help`", f"`picochat train {stage} --help`")
