"""The settings of a run, each declared once: in the class that takes it. Here are their names, and the help of `fit`,
which is read from the classes' source: importing torch and Lightning takes seconds. `--help_all` asks Lightning itself.

    CALLBACKS   key in a config → class                     lr_schedule: {warmup_steps: 20}
    ALIASES     flag of `picochat train` → setting of fit   --lr-warmup-steps 20 → --lr_schedule.warmup_steps=20
"""

import textwrap
from dataclasses import replace
from typing import Any

from picochat.commands.configs import shipped_configs
from picochat.commands.parser import Parameter, Parser, read_signature

CALLBACKS = {  # of every run, in this order; those that a config lists under trainer.callbacks come before them
    "lr_schedule": "picochat.callbacks.LRSchedule",
    "grad_clip": "picochat.callbacks.GradientClip",
    "best_checkpoint": "picochat.callbacks.BestCheckpoint",
    "last_checkpoint": "picochat.callbacks.LastCheckpoint",
    "benchmark_metrics": "picochat.callbacks.BenchmarkMetrics",
    "progress": "picochat.callbacks.Progress",
}
TRAINER_DEFAULTS: dict[str, Any] = {  # where picochat differs from Lightning
    "default_root_dir": "runs/fit",
    "max_steps": 1000,
    "devices": 1,
    "val_check_interval": 1000,
    "check_val_every_n_epoch": None,  # the stream of packed rows has no epochs: count micro-batches
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
    "use_distributed_sampler": False,  # the data plan deals rows to ranks itself
    "enable_model_summary": False,
}
_TRAINER = {  # settings of Lightning's Trainer that have an alias
    "accumulate_grad_batches": "micro-batches of one optimizer step (gradient accumulation)",
    "devices": "devices that train together; on the CPU: processes",
}
_CLASSES = {
    "model": "picochat.model.module.ChatModule",
    "model.optimizer": "picochat.model.optim.OptimizerConfig",
    "model.decoder": "picochat.model.decoder.DecoderConfig",
    "data.reading": "picochat.packs.formats.Reading",
    **CALLBACKS,
}


def _aliases(*groups: str) -> dict[str, str]:
    """{"--batch-size": "data.batch_size", …} of "data: batch_size …"; NAME=FLAG where the flag is called otherwise."""
    found = {}
    for prefix, _, names in (group.partition(": ") for group in groups):
        for name, _, flag in (word.partition("=") for word in names.split()):
            found[f"--{(flag or name).replace('_', '-')}"] = f"{prefix}.{name}"
    return found


_SHARED = (
    "data: tokenizer batch_size context_length val_fraction num_workers",
    "model: checkpoint",
    "model.optimizer: name=optimizer learning_rate weight_decay",
    "model: matmul_precision compile",
    "trainer: devices accumulate_grad_batches=grad-accum-steps",
    "lr_schedule: warmup_steps=lr-warmup-steps decay=lr-decay min_lr_ratio",
    "grad_clip: max_norm=grad-clip",
    "last_checkpoint: every_n_steps=save-every",
    "best_checkpoint: patience=early-stop-patience",
    "data: seed",
)
_BASE = (
    "data: dataset_pack",
    "model.decoder: hidden_size intermediate_size num_hidden_layers=num-layers num_attention_heads=num-heads",
    "model.decoder: num_key_value_heads=num-kv-heads head_dim",
)
_SFT = (
    "data: chat_input=input eval_input packing sampling sampling_tag shares on_long thinking",
    "model: lora_rank lora_alpha",
    "data: allow_overlap",
    "data.reading: format map learn on_unsupported on_bad strip_control",
)
ALIASES = {  # command → shipped config, datamodule, flag → setting
    "base": ("base.yaml", "picochat.datamodules.CorpusDataModule", _aliases(*_BASE, *_SHARED)),
    "sft": ("sft.yaml", "picochat.datamodules.ChatDataModule", _aliases(*_SFT, *_SHARED)),
}
SUBCOMMANDS = {  # LightningCLI's
    "fit": "train from a config, such as `picochat fit --config capability.yaml`",
    "validate": "measure the losses of the validation sets",
    "test": "measure the loss of the eval set",
    "predict": "answer the eval rows of a datamodule",
}
_FLAGS = {
    "--config YAML": "a file, or a shipped config (`picochat list configs`); later ones change earlier ones, flags all",
    "--data CLASS": "the datamodule, if no config names one (`picochat list datamodules`)",
    "--ckpt_path CKPT": "last.ckpt of the run to resume; `last`: the one in the run's folder",
    "--trainer.max_steps N": "optimizer steps",
    "--trainer.default_root_dir DIR": "the run's folder",
    "--force": "start over in a folder that holds a run",
    "--print_config": "print the whole config and do nothing else",
    "--data.help CLASS": "document a datamodule's settings",
    "--help_all": "document every setting, Lightning's included",
}


def parameter(setting: str, datamodule: str) -> Parameter:
    """The declaration of a setting such as "lr_schedule.decay", read from the source of its class."""
    group, _, name = setting.rpartition(".")
    if group == "trainer":
        return Parameter(name, "int", "1", _TRAINER[name])
    return read_signature(datamodule if group == "data" else _CLASSES[group]).parameters[name]


def add_trainer(commands: Parser, command: str) -> None:
    """One of LightningCLI's commands, for its help page and completion: it parses its own command line."""
    purpose, last = SUBCOMMANDS[command], "--config runs/capability/config.yaml --ckpt_path last"
    callbacks = "\n".join(f"  {key}: {read_signature(path).purpose}" for key, path in CALLBACKS.items())
    page = f"""{purpose[0].upper()}{purpose[1:]}.

callbacks of every run, with settings under these keys:
{callbacks}

example: picochat {command} {"--config capability.yaml --trainer.max_steps=300" if command == "fit" else last}"""
    parser = commands.add_command(command, None, page)
    parser.usage = f"{parser.prog} --config YAML [--trainer.SETTING VALUE] [--model.SETTING VALUE] …"
    for flag, text in _FLAGS.items():
        name, _, metavar = flag.partition(" ")
        options: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true"}
        options |= {"choices": list(shipped_configs())} if name == "--config" else {}
        parser.add_argument(name, help=text, **options)
    owners = {setting: datamodule for _, datamodule, aliases in ALIASES.values() for setting in aliases.values()}
    for setting, datamodule in sorted(owners.items()):
        declared = parameter(setting, datamodule)
        if "bool" in declared.annotation:  # LightningCLI wants the word
            declared = replace(declared, annotation="Literal['true', 'false']")
        parser.add_declared(f"--{setting}", declared, shown=None)


def class_help(path: str) -> str:
    """The help page of a class: its purpose, and its settings with types and defaults; LookupError: it is not ours."""
    found = read_signature(path)
    parts = [f"{path}: {found.purpose}"]
    for item in found.parameters.values():
        default = "required" if item.default is None else f"default: {item.default}"
        parts.append(f"  {item.name}: {item.annotation} ({default})")
        parts.append(textwrap.indent(textwrap.fill(item.help, 104), " " * 6))
    return "\n".join(parts)
