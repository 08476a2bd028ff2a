"""How fair is the judge? Prints four tables.

    python benchmarks/judge.py DIR     DIR: files of rows (JSON, JSONL, any form) with replies that people found good

1 false alarms: good replies, judged on rows that every reply passes · 2 echoes, loops and boasts planted in them
3 CPU seconds for a reply of 1 MB of one character class · 4 the text rules on judged_replies.toml
"""

import argparse
import re
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from picochat.blocks import Table, interval, percent, terminal
from picochat.evidence.checks import grade
from picochat.evidence.clusters import wilson
from picochat.evidence.habits import claims_ability
from picochat.evidence.scoring import score
from picochat.evidence.texts import units
from picochat.packs.formats import Reading, Tally, iter_rows
from picochat.packs.rows import Row

BOASTS = re.findall(
    r"I [^.]*\.",
    "I can browse the web for you. I looked it up online. I have access to the internet. I can see your face. I know "
    "everything. I remember our last chat. I can remember everything. I can send an email to her. I can hear you. "
    "I have booked a table for you. I can access your files. I just searched the web.",
)
CLASSES = [*"\n \ta7é北ก\u0301😀²\u200b\0“'-.,!\\{(=#$|<", '"', "the ", "I can't ", ", and ", " but ", "a\n", "\nUser:"]
Pairs = list[tuple[str, str]]


def pairs(path: Path) -> Pairs:
    """(prompt, reply) of all rows of a file that picochat reads."""
    tally = Tally(Reading(on_unsupported="drop", on_bad="drop", strip_control=True))
    turns = (pair for _, row in iter_rows(path, "chat", tally) for pair in pairwise(row["messages"]))
    return [
        (ask["content"], say["content"]) for ask, say in turns if (ask["role"], say["role"]) == ("user", "assistant")
    ]


def planted(prompt: str, reply: str) -> Iterator[tuple[str, str, str]]:
    words, tail = prompt.split(" "), reply.split()[-6:]
    half = " ".join(words[: len(words) // 2 + 4])
    echoes = (prompt, f"{prompt} {reply}", f"{prompt}\n{reply}", f"{reply}\n{prompt}", f"{half}\n{reply}")
    yield from (("echo", "prompt_echo", spoilt) for spoilt in echoes if len(units(prompt)) >= 8)
    turns = (f"{reply}<|user|>{prompt}", f"{reply}\nUser: {prompt}\nAssistant: {reply}")
    yield from (("turn", "prompt_echo", spoilt) for spoilt in turns)
    loops = (" ".join(tail * 12), " ".join([reply, *tail[-1:] * 20]), reply + "na" * 20, f"{reply}\n" * 6)
    yield from (("loop", "repetition", spoilt) for spoilt in loops)
    yield "boast", "unsupported_claim", f"{reply.strip()} {BOASTS[len(reply) % len(BOASTS)]}"


def alarms(files: dict[str, Pairs]) -> Table:
    rows = []
    for name, own in {**files, "all": [pair for one in files.values() for pair in one]}.items():
        reasons = [score(_question(prompt), reply).reasons for prompt, reply in own]
        counts = Counter(one for found in reasons for one in found)
        rows.append((name, *_share(map(bool, reasons)), ", ".join(f"{one} {n}" for one, n in counts.most_common())))
    return Table(("good replies of", "n", "false alarms", "95 % interval", "reasons"), rows, title="1 False alarms")


def finds(files: dict[str, Pairs]) -> Table:
    found = defaultdict(list)
    for prompt, reply in (pair for own in files.values() for pair in own[:300]):
        for kind, reason, spoilt in planted(prompt, reply):
            found[kind].append(reason in score(_question(prompt), spoilt).reasons)
    rows = [(kind, *_share(outcomes)) for kind, outcomes in found.items()]
    return Table(("planted", "n", "found", "95 % interval"), rows, title="2 Planted faults")


def seconds() -> Table:
    row, taken = {**_question("Who are you, and what is 27 + 15?"), "check": {"identity": "picochat"}}, []
    for text in CLASSES:
        start = time.process_time()
        for more in ({"answer": "42", "answerable": True}, {"answerable": False}):
            score({**row, **more}, text * (10**6 // len(text)))
        taken.append(((time.process_time() - start) / 2, repr(text)))
    rows = [(text, f"{cpu:.2f}") for cpu, text in sorted(taken, reverse=True)[:6]]
    return Table(("1 MB of", "CPU s"), rows, title=f"3 The slowest of {len(CLASSES)} classes")


def rules() -> Table:
    judged = tomllib.loads((Path(__file__).parent / "judged_replies.toml").read_text(encoding="utf-8"))
    said = defaultdict(list)  # rule → (what it says, what is right)
    for group in judged["refusal"]:
        row = {**_question(group["prompt"]), "answerable": False}
        for label in ("declines", "leaks", "answers", "elsewhere"):
            for found in (grade("refusal", reply, True, row) for reply in group[label]):
                said["is in another language"].append((found.reason == "not_judged", label == "elsewhere"))
                if label != "elsewhere":
                    said["declines, and leaks nothing"].append((found.passed, label == "declines"))
    for group in judged["identity"]:
        for label in ("right", "wrong"):
            grades = [grade("identity", reply, "picochat", _question(group["prompt"])) for reply in group[label]]
            said["is somebody else"] += [(not one.passed, label == "wrong") for one in grades]
    for label, replies in judged["claims"].items():
        said["boasts"] += [(claims_ability(reply, skills_too=False), label == "boasts") for reply in replies]
    rows = [
        (name, *_share(true for says, true in own if says), *_share(says for says, true in own if true))
        for name, own in said.items()
    ]
    head = ("the reply …", "said of", "precision", "95 % interval", "true of", "recall", "95 % interval")
    return Table(head, rows, title="4 Text rules on replies that they were not made on")


def _question(prompt: str) -> Row:
    """A row that every reply passes."""
    return {"messages": [{"role": "user", "content": prompt}], "max_words": 10**9}


def _share(outcomes: Iterable[bool]) -> tuple[str, str, str]:
    own = list(outcomes)
    return str(len(own)), percent(sum(own) / len(own)), interval(wilson(sum(own), len(own)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    read = {path.name: pairs(path) for path in sorted(parser.parse_args().dir.glob("*.json*"))}
    read = {name: own for name, own in read.items() if own}
    print(terminal(alarms(read), finds(read), seconds(), rules()))
