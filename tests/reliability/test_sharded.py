"""`picochat fit` with FSDP2 over two gloo ranks: the numbers of one, a checkpoint, a model folder of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from killable import (
    RESUME,
    TWO,
    fit,
    go_on,
    logged,
    refused,
    results,
    second_rank,
    slow,
    start,
    state,
    write_config,
)
from safetensors.torch import load_file

from picochat.cli import main

SHARDED = ["--trainer.strategy=fsdp2", "--model.activation_checkpointing=true", "--trainer.devices=2"]
NAMES = ["train/loss", "val/loss", "eval/untagged/pass_rate"]


@pytest.fixture
def one_and_two(folder: Path) -> Path:
    """A world in which the run of one rank has ended (in `one`), and two ranks share its batches."""
    fit(folder)
    (folder / "run").rename(folder / "one")
    write_config(folder, batch_size=2)
    return folder


@pytest.mark.slow
def test_a_sharded_run_is_that_of_one_rank_resumes_and_exports(
    one_and_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = one_and_two
    monkeypatch.chdir(folder)
    fit(folder, [*SHARDED, "--trainer.max_steps=8"])
    main(["export", "--checkpoint", "run/last.ckpt", "--out-dir", "exported"])
    exported, kept = load_file("exported/model.safetensors"), load_file("run/last_checkpoint/model.safetensors")
    assert exported.keys() == kept.keys()
    assert all(exported[name].equal(kept[name]) for name in kept)
    assert (folder / "run/last.ckpt").is_file()
    fit(folder, [*SHARDED, *RESUME, "--trainer.max_steps=10"])
    fit(folder, ["--data.batch_size=4", *RESUME, "--trainer.max_steps=12"])  # by one rank
    assert len(logged(folder / "run", "train/loss")) == 12
    # the schedule of 8 steps was another one: a whole run is compared
    fit(folder, [*SHARDED, "--force"])
    for name in NAMES:
        assert logged(folder / "run", name) == pytest.approx(logged(folder / "one", name), rel=1e-3), name


def test_a_sharded_run_of_which_a_rank_is_killed_is_resumed_and_ends_bit_identical(folder: Path) -> None:
    write_config(folder, batch_size=2)
    muon = [*SHARDED, "--model.optimizer.name=muon"]
    fit(folder, muon)
    whole = (folder / "run").rename(folder / "whole")
    run = start(folder, [*muon, *slow("step", step=9)])
    run.until("at step")
    os.kill(second_rank(run), signal.SIGKILL)
    go_on(folder)
    assert run.end() != 0
    assert state(folder / "run")[".2"] == 8
    fit(folder, [*muon, *RESUME])
    assert results(folder / "run") == results(whole)


@pytest.mark.slow
def test_torchrun_starts_the_ranks(one_and_two: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "picochat"]
    words = ["fit", "--config", "run.yaml", *TWO]
    done = subprocess.run([*command, *words], cwd=one_and_two, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = logged(one_and_two / "one", "train/loss")
    assert logged(one_and_two / "run", "train/loss") == pytest.approx(expected, rel=1e-4)


def test_compiling_slices_is_refused_in_one_sentence(folder: Path) -> None:
    said = refused(folder, ["fit", "--config", "run.yaml", SHARDED[0], "--model.compile=true"])
    assert "model.compile is not supported with trainer.strategy fsdp2" in said
    assert not (folder / "run" / "last.ckpt").exists()
