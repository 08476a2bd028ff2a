"""The recipe's commands, as printed, with only paths and the device replaced."""

import json
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from exact_run import logged

from picochat.cli import main
from picochat.model.checkpoint import save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.vocabulary import train_tokenizer
from picochat.packs.stories import story

PACKS = {
    "release": "data task-pack --dataset-pack {pack} --profile release --sft-rows 1600 --eval-rows 320 --force",
    "capability": "data task-pack --dataset-pack {pack} --out-dir {root}/capability-pack --profile capability "
    "--sft-rows 2400 --eval-rows 480 --source offline --skill-answer-style scratchpad --force --no-promote",
    "balanced": "data task-pack --dataset-pack {pack} --out-dir {root}/balanced-pack --profile balanced "
    "--sft-rows 3200 --eval-rows 640 --source auto --skill-answer-style scratchpad --force --no-promote",
}
SFT = (
    "train sft --input {root}/capability-pack/chat_task_mixture_capability.jsonl "
    "--eval-input {root}/capability-pack/eval_task_mixture_capability.jsonl --tokenizer {root}/tokenizer.json "
    "--checkpoint {root}/base --out-dir {root}/{run} --device cpu --precision bf16 --matmul-precision high "
    "--learning-rate 0.00001 --steps {steps} --batch-size 8 --grad-accum-steps 4 --packing bos_bestfit "
    "--sampling category_sqrt --lr-warmup-steps 20 --lr-decay cosine --min-lr-ratio 0.1 --grad-clip 1.0"
)
SIZE = DecoderConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                     num_key_value_heads=1, head_dim=16, max_position_embeddings=256, vocab_size=400)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset pack, a tokenizer, a base checkpoint and the recipe's three task packs."""
    root = tmp_path_factory.mktemp("recipe")
    (root / "dataset_pack.json").write_text('{"name": "pilot", "kept": true}')
    tokenizer = train_tokenizer([story(0, index) for index in range(300)], 400)
    tokenizer.write(root / "tokenizer.json")
    save_checkpoint(root / "base", Decoder(SIZE), tokenizer, {})
    for line in PACKS.values():
        main(line.format(pack=root / "dataset_pack.json", root=root).split())
    return root


def test_the_three_pack_commands_give_the_rows_that_they_ask_for(root: Path) -> None:
    for folder, profile, train, evaluation in (
        (root, "release", 1600, 320),
        (root / "capability-pack", "capability", 2400, 480),
        (root / "balanced-pack", "balanced", 3200, 640),
    ):
        for kind, rows in (("chat", train), ("eval", evaluation)):
            assert (folder / f"{kind}_task_mixture_{profile}.jsonl").read_text("utf-8").count("\n") == rows
    promoted = {kind: f"{kind}_task_mixture_release.jsonl" for kind in ("chat", "eval")}  # the research packs are not
    assert json.loads((root / "dataset_pack.json").read_text()) == {"name": "pilot", "kept": True, **promoted}


def test_the_sft_line_becomes_the_config_that_it_says(root: Path) -> None:
    main(SFT.format(root=root, run="short", steps=2).split())
    config = yaml.safe_load((root / "short/config.yaml").read_text())
    for place, expected in {
        "trainer": {"max_steps": 2, "accumulate_grad_batches": 4, "precision": "bf16-mixed", "val_check_interval": 4},
        "data.init_args": {"batch_size": 8, "packing": "bos_bestfit", "sampling": "category_sqrt"},
        "model": {"matmul_precision": "high"},
        "model.optimizer": {"name": "adamw", "learning_rate": 1e-5},
        "lr_schedule": {"warmup_steps": 20, "decay": "cosine", "min_lr_ratio": 0.1},
        "grad_clip": {"max_norm": 1.0},
    }.items():
        settings = reduce(getitem, place.split("."), config)
        assert {name: settings[name] for name in expected} == expected
    assert (root / "short/best_checkpoint/model.safetensors").is_file()


@pytest.mark.slow
def test_the_sft_line_runs_as_printed_with_the_recipes_rates(root: Path) -> None:
    main(SFT.format(root=root, run="whole", steps=180).split())
    rates = logged(root / "whole", "train/lr")
    assert {step: rates[step] for step in (20, 100, 180)} == pytest.approx({20: 1e-5, 100: 5.5e-6, 180: 1e-6})
