"""Fresh processes that have imported torch, Lightning and picochat already: the seconds for that are spent once."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["picochat.commands.fit", "picochat.datamodules", "picochat.callbacks"])


def run(function: Callable[..., object], *args: Any, output: Path) -> None:
    """Call a function of a test module in a process of its own; what it prints, or why it fails, goes to `output`."""
    process = PROCESSES.Process(target=_call, args=(function, args, output))
    process.start()
    process.join(120)
    assert process.exitcode == 0, output.read_text()


def _call(function: Callable[..., object], args: Any, output: Path) -> None:
    handle = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    try:
        function(*args)
    except BaseException:
        traceback.print_exc()
        raise
