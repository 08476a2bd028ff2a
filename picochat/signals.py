"""A signal unwinds a command, which removes its temporary files, and gives the exit status that a shell expects.

Training has handlers of its own (picochat.callbacks.GracefulStop) from its first step to its last.
"""

import contextlib
import os
import signal
import threading
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
