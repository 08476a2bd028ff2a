"""`picochat fit | validate | test | predict`: LightningCLI over ChatModule and any datamodule.

In: a config (a file, or the bare name of a shipped one) and overrides. Out: a run folder, `trainer.default_root_dir`.
"""

import contextlib
import re
import signal
import sys
import warnings
from enum import Enum
from itertools import zip_longest
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, get_loader, set_loader
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from picochat.callbacks import AtomicCheckpointIO, GracefulStop, RunLogger, RunReport, Throughput
from picochat.callbacks.progress import messages_to_stdout
from picochat.commands.configs import resolve_config_names
from picochat.commands.refusals import (
    delete_run,
    explain_parse_error,
    explain_refusal,
    find_checkpoint,
    refuse_folder,
    refuse_impossible,
)
from picochat.commands.settings import CALLBACKS, TRAINER_DEFAULTS
from picochat.errors import UserError, out_of_memory
from picochat.files import locked_folder, write_files
from picochat.model.config import config_of, find_model
from picochat.model.engine import pick_device
from picochat.model.hardware import keep_freed_memory, preferred_dtype
from picochat.model.module import ChatModule
from picochat.packs.rows import dump_rows
from picochat.signals import end_with_parent, ended_by


class RunConfig(SaveConfigCallback):
    """Writes `config.yaml` into a fit's folder, so that `picochat fit --config` repeats the run. With `overwrite` it
    first deletes what an older run left there."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Not yet: a run that is refused for its checkpoint or its rows, or has no step left to do, changes nothing."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        settings = self.config.clone()
        settings.ckpt_path = None  # the config repeats the run from its start; it does not resume it
        self._text = self.parser.dump(settings, skip_none=False)  # null is a setting, too
        for logger in trainer.loggers if trainer.is_global_zero else ():
            logger.log_hyperparams(yaml.safe_load(self._text))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            root = Path(trainer.default_root_dir)
            if self.overwrite:
                delete_run(root)
            write_files({root / self.config_filename: self._text})


class PicochatCLI(LightningCLI):
    """LightningCLI with picochat's run folder: a logger, atomic checkpoints, and no silent overwriting."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)  # Lightning's own warns whenever sys.argv holds something too
        refuse_impossible(self.config[self.config.subcommand])

    def _parse_ckpt_path(self) -> None:
        """Settings come from the config alone; a checkpoint brings state, never settings."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--force", action="store_true", help="Start over in a run folder that holds a run.")
        for key, path in CALLBACKS.items():
            parser.add_lightning_class_args(resolve_name(path), key)

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        trainer = config.trainer
        if trainer.precision is None:
            device = pick_device("auto") if trainer.accelerator in ("auto", "gpu") else str(trainer.accelerator)
            trainer.precision = "bf16-mixed" if preferred_dtype(device) == torch.bfloat16 else "32-true"
        if trainer.max_steps > 0:
            trainer.log_every_n_steps = min(trainer.log_every_n_steps, trainer.max_steps)
        take_from_checkpoint(config)
        if trainer.enable_progress_bar is False:
            config.progress.bar = False
        if config.weights_only is None:
            config.weights_only = True  # a checkpoint brings tensors and plain values, never code
        if config.ckpt_path is not None:
            config.ckpt_path = str(find_checkpoint(config.ckpt_path, Path(trainer.default_root_dir or ".")))
        self.save_config_kwargs = {"overwrite": config.force and config.ckpt_path is None}
        config.force = False  # the saved config repeats the run; it does not repeat the permission to overwrite

    def _run_subcommand(self, subcommand: str) -> None:
        root = Path(self.trainer.default_root_dir)
        writes = subcommand == "fit" and self.trainer.is_global_zero
        environment = getattr(self.trainer.strategy, "cluster_environment", None)
        if isinstance(environment, LightningEnvironment) and self.trainer.local_rank > 0:
            end_with_parent()
        # ended_by: Lightning turns a Ctrl-C that comes before the first step into exit status 1
        with ended_by(signal.SIGINT), locked_folder(root) if writes else contextlib.nullcontext():
            config = self.config[subcommand]
            if writes:
                refuse_folder(root, config, start_over=self.save_config_kwargs["overwrite"])
            try:
                super()._run_subcommand(subcommand)
            except (MemoryError, RuntimeError) as error:
                if not (reason := out_of_memory(error)):
                    raise
                remedy = "lower data.batch_size and raise trainer.accumulate_grad_batches, which trains the same"
                raise UserError(f"{reason}; {remedy}, or set model.activation_checkpointing") from error

    def instantiate_classes(self) -> None:
        """Build what the config names; what one of its classes refuses in a ValueError is a setting's fault."""
        try:
            super().instantiate_classes()
        except (ValueError, ImportError, MisconfigurationException) as error:
            raise explain_refusal(error) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings = self._get(self.config_init, "trainer")
        callbacks, plugins, asked = (_listed(settings.get(name)) for name in ("callbacks", "plugins", "logger"))
        keys = {resolve_name(path): key for key, path in CALLBACKS.items()}
        for one in callbacks:
            if key := keys.get(type(one)):
                raise UserError(f"trainer.callbacks: every run has this one; write its settings under the key `{key}:`")
        kwargs["plugins"] = [*plugins, AtomicCheckpointIO()]
        if settings.get("logger") is not False:  # metrics.csv is always written: reports draw their curves from it
            own = [] if any(isinstance(one, RunLogger) for one in asked) else [RunLogger(settings["default_root_dir"])]
            kwargs["logger"] = [*own, *asked]
        if settings.get("strategy") == "fsdp2":
            from picochat.model.sharding import ShardedStrategy

            kwargs["strategy"] = ShardedStrategy()
        elif "spawn" in str(settings.get("strategy")):
            raise UserError("trainer.strategy: spawned processes do not know the command line; use ddp")
        elif str(settings.get("strategy")).startswith("fsdp"):  # Lightning's own, of FSDP's first version
            raise UserError("trainer.strategy: model folders and clipping know no other sharding than fsdp2; use that")
        if settings.get("enable_progress_bar") is None:  # in a fit, Progress speaks
            own_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
            kwargs["enable_progress_bar"] = own_bar or (self.subcommand != "fit" and sys.stderr.isatty())
        return super().instantiate_trainer(**kwargs)

    def after_predict(self) -> None:
        """Write what `predict` returned, on all ranks, to <run>/predictions.jsonl in the order of the eval rows."""
        shares: list[Any] = [[row for batch in self.trainer.predict_loop.predictions for row in batch]]
        if self.trainer.world_size > 1:
            mine, shares = shares[0], [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, mine)
        if self.trainer.is_global_zero:
            path = Path(self.trainer.default_root_dir) / "predictions.jsonl"
            turns = zip_longest(*shares)  # rank r of W answered the rows r, r + W, r + 2·W, …
            write_files({path: dump_rows(row for turn in turns for row in turn if row is not None)})
            print(f"wrote {path}")


def parsed_config(words: list[str]) -> Any:
    """The config, defaults included, that a line such as ["fit", "--config", "capability.yaml"] stands for."""
    steps = ("_set_seed", "before_instantiate_classes", "instantiate_classes", "_run_subcommand")
    config = run_trainer(words, **dict.fromkeys(steps, lambda *_: None)).config[words[0]]
    if config.model.checkpoint and find_model(config.model.checkpoint).exists():
        take_from_checkpoint(config)
    return config


def run_trainer(words: list[str], **methods: Any) -> PicochatCLI:
    """Run one LightningCLI command line, its names resolved; `methods` replace those of PicochatCLI."""
    sys.path.append(str(Path.cwd()))  # a user's my_callbacks.py; last, so that it can shadow nothing
    keep_freed_memory()
    messages_to_stdout()
    # torch 2.13 deprecates what Lightning 2.6 calls at every validation; nothing a user can change
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\)", category=Warning)
    # Timer's `interval` is an Enum by default, which config.yaml cannot hold
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_data(value.value))
    yaml_load = get_loader("yaml")

    def load(text: str) -> Any:
        return resolve_config_names(text if re.fullmatch("#.*", text) else yaml_load(text))  # a file's name, no comment

    set_loader("picochat", load, exceptions=(yaml.YAMLError,))
    options = {"exit_on_error": False, "parser_mode": "picochat"}
    chosen = {words[0]: LightningCLI.subcommands()[words[0]]}  # the parsers of all four take a second
    methods["subcommands"] = staticmethod(lambda: chosen)
    only: type[PicochatCLI] = type("PicochatCLI", (PicochatCLI,), methods)
    try:
        return only(
            ChatModule,
            LightningDataModule,
            subclass_mode_data=True,
            save_config_callback=RunConfig,
            trainer_defaults={**TRAINER_DEFAULTS, "callbacks": [GracefulStop(), Throughput(), RunReport()]},
            seed_everything_default=42,
            auto_configure_optimizers=False,  # an `optimizer:` block would override the module's with only a warning
            load_from_checkpoint_support=False,
            parser_kwargs={**options, words[0]: options},
            args=words,
        )
    except ArgumentError as error:
        raise UserError(f"{words[0]}: {explain_parse_error(str(error))}; see `picochat {words[0]} --help`") from error
    except (MisconfigurationException, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and "pip install" not in str(error):
            raise  # no remedy of a library's, but a fault of somebody's code
        raise explain_refusal(error) from error


def take_from_checkpoint(config: Any) -> None:
    """Set the tokenizer and the context of the data to the checkpoint's where neither config nor flag names them."""
    if config.model.checkpoint is None:
        return
    data, folder = config.data.init_args, find_model(config.model.checkpoint)
    if "tokenizer" in data and data.tokenizer is None:
        data.tokenizer = str(folder)
    if "context_length" in data and data.context_length is None:
        context = config_of(folder).max_position_embeddings
        data.context_length = context if context <= 2048 else 1024  # rows of 32,768 tokens fit no laptop


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, True, False) else [value]
