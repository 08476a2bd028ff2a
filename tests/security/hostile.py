"""A pickle that leaves a mark: whoever unpickles it writes a file."""

import pickle
from pathlib import Path
from typing import Any


class Marker:
    """Unpickling it writes `target`."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.write_text, (self.target, "owned")


def hostile_bytes(target: Path) -> bytes:
    return pickle.dumps({"state_dict": {}, "x": Marker(target)})
