"""A signal unwinds a command, which removes its temporary files, and gives the exit status that a shell expects.

Training has handlers of its own (picochat.callbacks.GracefulStop) from its first step to its last.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def ended_by(number: signal.Signals) -> Iterator[None]:
    """Let the signal end what runs inside with SystemExit(128 + number); a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers there only
        yield
        return
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:  # a loader worker, forked with this handler
            os.kill(os.getpid(), number)
        os.write(2, f"picochat: stopped by {signal.Signals(number).name}\n".encode())
        raise SystemExit(128 + number)

    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)


PARENT = "PICOCHAT_PARENT"  # environment variable: the process that starts this one and is to be outlived by no second


def end_with_parent(grace: float = 20.0) -> None:
    """End this process with status 1 when the one that started it is gone, after `grace` seconds to end by itself.

    For ranks of rank 0, which may wait in a collective for half an hour, and for runs of a study.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        time.sleep(grace)
        os.write(2, b"picochat: the process that started this one has ended, and so does this one\n")
        os._exit(1)  # the main thread may be inside a collective and hears nothing

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
