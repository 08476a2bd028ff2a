"""What a run may do with its folder: start there, start over, or resume. In: the folder and the settings. Out: nothing,
or one sentence why not. Next: fit, which writes the folder.
"""

import shutil
from pathlib import Path

from picochat.errors import UserError
from picochat.files import sha256_file

CONFIG = "config.yaml"
_LEFT_BY_A_RUN = ("last.ckpt", "best_checkpoint", "last_checkpoint", "report.md")
_FOLDER = "trainer.default_root_dir"


def find_checkpoint(asked: str | Path, root: Path) -> Path:
    """The file to resume from; `last`, Lightning's word, is the run's own last.ckpt."""
    path = root / "last.ckpt" if str(asked) == "last" else Path(asked)
    if not path.exists():
        raise UserError(f"ckpt_path: {path} does not exist; name the last.ckpt of a run folder, or leave it out")
    if path.is_dir():
        raise UserError(f"ckpt_path: {path} is a folder, not a checkpoint; name the last.ckpt of a run folder")
    return path


def delete_run(root: Path) -> None:
    """Delete what an older run left that a reader or a resume could take for the new run's."""
    for path in (root / form.format(name) for name in _LEFT_BY_A_RUN for form in (".{}.old", "{}")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def refuse_older_run(root: Path) -> None:
    """A run does not overwrite another one without being asked to."""
    if (root / "last.ckpt").exists():
        remedy = f"resume it with --ckpt_path {root / 'last.ckpt'}, "
    elif (root / "best_checkpoint").exists():
        remedy = ""
    else:
        return
    raise UserError(f"{root} holds a run already; {remedy}start over with --force, or choose another {_FOLDER}")


def refuse_own_start(root: Path, checkpoint: str | None) -> None:
    """Starting over deletes the older run, and this one would begin with a part of it."""
    start = Path(checkpoint).resolve() if checkpoint else None
    if start and any((root / name).resolve() in (start, *start.parents) for name in _LEFT_BY_A_RUN):
        raise UserError(
            f"model.checkpoint: {checkpoint} is part of the run in {root}, which would be deleted; move it away first, "
            f"or choose another {_FOLDER}"
        )


def refuse_other_run(root: Path, ckpt_path: Path) -> None:
    """A checkpoint of one run in the folder of another would leave a log and a best checkpoint of both."""
    other = ckpt_path.resolve().parent
    if not (root / "last.ckpt").exists() or root.resolve() in (other, *other.parents):
        return
    configs = [folder / CONFIG for folder in (root, other)]
    if all(config.is_file() for config in configs):  # a checkpoint that was put aside has none beside it
        own, theirs = (sha256_file(config)[:12] for config in configs)
        raise UserError(
            f"{root} holds another run (sha256 of its config.yaml: {own}) than that of {ckpt_path} ({theirs}); resume "
            f"it in its own folder, with trainer.default_root_dir {other}, or in a folder that holds no run"
        )
