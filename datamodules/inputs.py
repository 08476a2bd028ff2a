"""Which files are trained on. In: `data.chat_input`. Out: an `Input` for each file. Next: tokenise, sampling.

rows.jsonl                                  one file, whose rows keep their own lanes
[refunds=0.5:refunds.jsonl, chat.jsonl]     two lanes: refunds with half of the draws, chat with the rest
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from picochat.errors import UserError


class Input(NamedTuple):
    """A file, the lane of its rows (None: as they say themselves), and its share of the draws, if it has one."""

    path: Path
    lane: str | None = None
    share: float | None = None


def parse_inputs(given: str | Sequence[str]) -> list[Input]:
    """Files as FILE, SHARE:FILE or NAME=SHARE:FILE; where there are several, each is a lane, named after its file.

    Raises:
        UserError: two of them have one name.
    """
    found = []
    for text in [given] if isinstance(given, str) else given:
        name, share, path = None, None, text
        if not Path(text).exists() and (match := re.fullmatch(r"(?:([\w.-]+)=)?(?:(\d*\.?\d+):)?(.+)", text)):
            name, share, path = match.groups()
        lane = name or (Path(path).name.split(".")[0] if share or not isinstance(given, str) else None)
        found.append(Input(Path(path), lane, None if share is None else float(share)))
    if len(found) == 1 and found[0].share is None:
        return [found[0]._replace(lane=None)]
    twice = [lane for lane, times in Counter(one.lane for one in found).items() if times > 1]
    if twice:
        raise UserError(f"data.chat_input names two files {twice[0]}; call one of them NAME=SHARE:FILE")
    return found
