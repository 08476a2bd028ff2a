"""The settings of a run, each declared once: in the class that takes it. Here are only their names.

    CALLBACKS   key in a config → class                     lr_schedule: {warmup_steps: 20}
    ALIASES     flag of `picochat train` → setting of fit   --lr-warmup-steps 20 → --lr_schedule.warmup_steps=20

Types, choices, defaults and help are read from the classes' source (signatures.py) and the shipped configs.
"""

from typing import Any

from picochat.commands.signatures import Parameter, read_signature

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
    "trainer.accumulate_grad_batches": Parameter(
        "accumulate_grad_batches", "int", "1", "micro-batches of one optimizer step (gradient accumulation)"
    ),
    "trainer.devices": Parameter("devices", "int", "1", "devices that train together; on the CPU: processes"),
}
_CLASSES = {
    "model": "picochat.model.module.ChatModule",
    "model.optimizer": "picochat.model.optim.OptimizerConfig",
    "model.decoder": "picochat.model.decoder.DecoderConfig",
    "data.reading": "picochat.packs.formats.Reading",
    **CALLBACKS,
}
SHARED = {
    "--tokenizer": "data.tokenizer",
    "--batch-size": "data.batch_size",
    "--context-length": "data.context_length",
    "--val-fraction": "data.val_fraction",
    "--num-workers": "data.num_workers",
    "--checkpoint": "model.checkpoint",
    "--optimizer": "model.optimizer.name",
    "--learning-rate": "model.optimizer.learning_rate",
    "--weight-decay": "model.optimizer.weight_decay",
    "--matmul-precision": "model.matmul_precision",
    "--compile": "model.compile",
    "--devices": "trainer.devices",
    "--grad-accum-steps": "trainer.accumulate_grad_batches",
    "--lr-warmup-steps": "lr_schedule.warmup_steps",
    "--lr-decay": "lr_schedule.decay",
    "--min-lr-ratio": "lr_schedule.min_lr_ratio",
    "--grad-clip": "grad_clip.max_norm",
    "--save-every": "last_checkpoint.every_n_steps",
    "--early-stop-patience": "best_checkpoint.patience",
    "--seed": "data.seed",
}
ALIASES = {  # command → shipped config, datamodule, flags
    "base": (
        "base.yaml",
        "picochat.datamodules.CorpusDataModule",
        {
            "--dataset-pack": "data.dataset_pack",
            "--hidden-size": "model.decoder.hidden_size",
            "--intermediate-size": "model.decoder.intermediate_size",
            "--num-layers": "model.decoder.num_hidden_layers",
            "--num-heads": "model.decoder.num_attention_heads",
            "--num-kv-heads": "model.decoder.num_key_value_heads",
            "--head-dim": "model.decoder.head_dim",
            **SHARED,
        },
    ),
    "sft": (
        "sft.yaml",
        "picochat.datamodules.ChatDataModule",
        {
            "--input": "data.chat_input",
            "--eval-input": "data.eval_input",
            "--packing": "data.packing",
            "--sampling": "data.sampling",
            "--sampling-tag": "data.sampling_tag",
            "--shares": "data.shares",
            "--on-long": "data.on_long",
            "--thinking": "data.thinking",
            "--lora-rank": "model.lora_rank",
            "--lora-alpha": "model.lora_alpha",
            "--allow-overlap": "data.allow_overlap",
            "--format": "data.reading.format",
            "--map": "data.reading.map",
            "--learn": "data.reading.learn",
            "--on-unsupported": "data.reading.on_unsupported",
            "--on-bad": "data.reading.on_bad",
            "--strip-control": "data.reading.strip_control",
            **SHARED,
        },
    ),
}


def parameter(setting: str, datamodule: str) -> Parameter:
    """The declaration of a setting such as "lr_schedule.decay", read from the source of its class."""
    if setting in _TRAINER:
        return _TRAINER[setting]
    group, _, name = setting.rpartition(".")
    return read_signature(datamodule if group == "data" else _CLASSES[group]).parameters[name]
