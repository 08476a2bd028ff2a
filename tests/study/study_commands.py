"""Commands of a study in processes that have imported torch already: each would take seconds for that."""

import os
from pathlib import Path
from typing import Any

from forked import PROCESSES


class Forked:
    """As much of subprocess.Popen as the runner uses."""

    def __init__(self, words: list[str], *, stdout: Any, env: dict[str, str], cwd: Path, **others: Any) -> None:
        assert words[1:3] == ["-m", "picochat"]
        self.process = PROCESSES.Process(target=_command, args=(words[3:], stdout.name, cwd, env))
        self.process.start()

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def terminate(self) -> None:
        self.process.terminate()


def _command(words: list[str], log: str, cwd: str, env: dict[str, str]) -> None:
    os.chdir(cwd)
    os.environ.update(env)
    handle = os.open(Path(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    import torch

    from picochat.cli import main

    torch.set_num_threads(1)
    main(words)
