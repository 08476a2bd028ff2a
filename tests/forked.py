"""Fresh processes that have imported torch, Lightning and picochat already: the seconds for that are spent once."""

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["picochat.commands.fit", "picochat.datamodules", "picochat.callbacks"])


class Forked:
    """A function in a process of its own, which can be killed and sent signals. What it prints goes to `output`."""

    def __init__(
        self,
        function: Callable[..., object],
        *args: Any,
        output: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.output = output
        self.process = _PROCESSES.Process(target=_call, args=(function, args, output, cwd or Path.cwd(), env or {}))
        self.process.start()

    def printed(self) -> str:
        """Everything so far, stdout and stderr."""
        return self.output.read_text() if self.output.exists() else ""

    def until(self, line: str) -> None:
        """Wait until it has printed this line."""
        alive = True
        while f"{line}\n" not in self.printed():
            assert alive, f"it never came to {line!r}: {self.printed()}"
            alive = self.process.is_alive()  # what it printed last is read once more
            time.sleep(0.02)

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> int | None:
        """Wait for its exit status; -9 when it was killed. Ten minutes are for ever, on any machine."""
        self.process.join(600)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"it did not end: {self.printed()}")
        return self.process.exitcode


class Popen(Forked):
    """As much of subprocess.Popen as the runner of studies uses."""

    def __init__(self, words: list[str], *, stdout: Any, env: dict[str, str], cwd: Path, **others: Any) -> None:
        assert words[1:3] == ["-m", "picochat"]
        super().__init__(picochat, *words[3:], output=Path(stdout.name), cwd=cwd, env=env)
        self.wait, self.terminate = self.end, self.process.terminate


def run(function: Callable[..., object], *args: Any, output: Path) -> None:
    """Call a function of a test module in a process of its own; what it prints, or why it fails, goes to `output`."""
    forked = Forked(function, *args, output=output)
    assert forked.end() == 0, forked.printed()


def picochat(*words: str) -> None:
    """A command line, to be run by `Forked` as a shell would run it."""
    warnings.simplefilter("ignore")
    sys.argv = [str(Path(sys.executable).with_name("picochat")), *words]  # from which Lightning starts the other ranks
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
    # As in a user's process: workers of a fork server never learn that the run behind them was killed, and stay.
    multiprocessing.set_start_method("fork", force=True)
    from picochat.cli import main

    main(words)


def _call(
    function: Callable[..., object], args: Sequence[Any], output: Path, cwd: Path, env: Mapping[str, str]
) -> None:
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.chdir(cwd)
    os.environ.update(env)
    function(*args)
