"""A run folder holds one run: its checkpoint, its config that repeats it, and nothing of the run before it."""

import shutil
from pathlib import Path

from killable import fit, kill, results


def test_last_is_the_checkpoint_of_the_run_s_folder_and_the_config_of_a_resumed_run_repeats_it(
    killed: Path, undisturbed: Path
) -> None:
    fit(killed, ["--ckpt_path", "last"])
    assert results(killed / "run") == results(undisturbed / "run")
    configs = [(one / "run" / "config.yaml").read_text() for one in (killed, undisturbed)]
    assert configs[0] == configs[1]


def test_a_run_that_starts_over_and_dies_before_it_saves_leaves_nothing_of_the_older_one(
    folder: Path, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed / "run", folder / "run")
    older = {"last.ckpt", "best_checkpoint", "last_checkpoint", "report.md"}
    assert older < {path.name for path in (folder / "run").iterdir()}
    kill(folder, ["--force"], step=1)
    assert not older & {path.name for path in (folder / "run").iterdir()}
    fit(folder)
    assert results(folder / "run") == results(undisturbed / "run")


def test_a_run_that_is_resumed_after_its_last_step_is_left_as_it_was(folder: Path, undisturbed: Path) -> None:
    """As where a kill came after its last save, before whoever started it knew."""
    shutil.copytree(undisturbed / "run", folder / "run")
    fit(folder, ["--ckpt_path", "run/last.ckpt"])
    assert results(folder / "run") == results(undisturbed / "run")
    assert (folder / "run/report.md").read_bytes() == (undisturbed / "run/report.md").read_bytes()
