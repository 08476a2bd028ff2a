"""A run that goes on from its last.ckpt ends as the undisturbed one does, to the bit where the sums are the same."""

import shutil
from pathlib import Path

import pytest
from killable import RESUME, TWO, fit, kill, logged, results, state
from torch import Tensor


def test_last_is_the_checkpoint_of_the_run_s_folder_and_the_config_of_a_resumed_run_repeats_it(
    killed: Path, undisturbed: Path
) -> None:
    assert any(name.startswith(".1.") and isinstance(one, Tensor) for name, one in state(killed / "run").items())
    fit(killed, ["--ckpt_path", "last"])
    assert results(killed / "run") == results(undisturbed / "run")
    configs = [(one / "run" / "config.yaml").read_text() for one in (killed, undisturbed)]
    assert configs[0] == configs[1]


@pytest.mark.slow
def test_killed_with_loader_workers_and_muon_and_resumed_ends_bit_identical(folder: Path) -> None:
    muon = ["--model.optimizer.name=muon"]
    fit(folder, muon)
    whole = (folder / "run").rename(folder / "whole")
    kill(folder, [*muon, "--data.num_workers=2"], step=9)
    fit(folder, [*muon, *RESUME])
    assert results(folder / "run") == results(whole)


@pytest.mark.parametrize(
    "split", [["--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=8"], TWO], ids=["halves", "ranks"]
)
def test_resumed_with_another_split_or_number_of_ranks_ends_equal_within_rounding(
    split: list[str], killed: Path, undisturbed: Path
) -> None:
    fit(killed, [*RESUME, "--data.batch_size=2", *split])
    found, expected = logged(killed / "run", "train/loss"), logged(undisturbed / "run", "train/loss")
    assert list(found) == list(expected) == [*range(1, 13)]
    assert [found[step] for step in range(1, 9)] == [expected[step] for step in range(1, 9)]  # of before the kill
    assert found == pytest.approx(expected, rel=1e-5)  # the same rows, summed in another order


def test_a_run_that_starts_over_and_dies_before_it_saves_leaves_nothing_of_the_older_one(
    folder: Path, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed / "run", folder / "run")
    older = {"last.ckpt", "best_checkpoint", "last_checkpoint", "report.md"}
    assert older < {path.name for path in (folder / "run").iterdir()}
    kill(folder, ["--force"], step=1)
    assert not older & {path.name for path in (folder / "run").iterdir()}


def test_a_run_that_is_resumed_after_its_last_step_is_left_as_it_was(folder: Path, undisturbed: Path) -> None:
    """As where a kill came after its last save, before whoever started it knew."""
    shutil.copytree(undisturbed / "run", folder / "run")
    said = "nothing to do: the checkpoint is of step 12, and trainer.max_steps is {}; raise it to go on"
    assert said.format(12) in fit(folder, RESUME)
    assert said.format(5) in fit(folder, [*RESUME, "--trainer.max_steps=5"])
    assert results(folder / "run") == results(undisturbed / "run")
    for name in ("report.md", "config.yaml"):
        assert (folder / "run" / name).read_bytes() == (undisturbed / "run" / name).read_bytes()
