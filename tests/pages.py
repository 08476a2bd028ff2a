"""Walks a page of the documentation as its reader does: writes the files that it shows, and runs its commands in order.

A command runs as printed, with only its size changed: `SMALLER` goes to the end of its line, where later flags win.
A block that writes to a folder of an earlier block is an alternative to it, so that folder is taken away first.
What a page takes from others, such as `runs/base/best_checkpoint`, is of a miniature of the demo.
"""

import contextlib
import io
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from forked import Forked, Popen, picochat

from picochat.cli import main

ROOT = Path(__file__).parents[1]
SMALLER = {  # beginning of a command → its size here
    "data import ": "--documents 2000",
    "data task-pack": "--sft-rows 1000 --eval-rows 48",
    "train": "--steps 2 --eval-every 2",
    "fit": "--trainer.max_steps 2 --trainer.val_check_interval 2",
    "eval chat": "--max-new-tokens 8",
    "eval sft-fit": "--max-new-tokens 8 --max-rows 48",
    "study": "--steps 2 --sft-rows 1000 --eval-rows 48 --slots 2",
    "chat": "--max-new-tokens 8",
    "generate": "--max-new-tokens 8",
    "board": "--port 0",
}
ONLY_PARSED = {  # what a command holds → why it is not run; tests/test_docs.py parses it
    r"hub:|HuggingFaceTB/|Qwen/": "needs a network",
    r"runs/lora/": "begins with a model of the hub",
    r"--server |--judge ": "needs a server; tests/evidence/test_elsewhere.py starts one",
    r"WandbLogger": "needs an account",
    r"^torchrun|^srun": "needs several machines",
    r"many_machines|runs/big": "needs datatrove; tests/datamodules/test_many_machines.py runs it",
    r"fit .*scale/h|--device cuda": "needs a GPU; tests/test_recipe.py runs the recipe's commands on the CPU",
    r"convert_hf_to_gguf": "runs in the folder of llama.cpp",
    r"next\.yaml": "wants a difference that is resolved; tests/study/test_recommend.py has one",
    r"^pip |^pip-audit|^source ": "changes the environment",
}
ANSWERS = "eval/capability-rows"
OF_OTHER_PAGES = {  # what a page takes from other pages → what it is of the demo
    "runs/data": "data",
    "runs/tokenizer.json": "tokenizer.json",
    "runs/base": "base",
    "runs/capability-pack": "capability-pack",
    "runs/capability": "capability",
    **{f"runs/eval/{name}": f"{ANSWERS}/base" for name in ("base", "old-s1")},
    **{f"runs/eval/{name}": f"{ANSWERS}/capability" for name in ("capability", "sft", "new-s1")},
    **{f"runs/eval/{name}": f"{ANSWERS}/release-from-base" for name in ("release-from-base", "old-s2")},
    **{
        f"runs/eval/{name}": f"{ANSWERS}/release-from-capability"
        for name in ("release-from-capability", "new-s2", "old-s3")
    },
    "runs/h100-climbmix-16shard-80k-pack-v1": "data",
    "eval.jsonl": "capability-pack/eval_task_mixture_capability.jsonl",
    "replies.jsonl": f"{ANSWERS}/base/predictions.jsonl",
    "results": ANSWERS,
}
OF_THE_READER = {  # files of the reader's own
    "texts/mine.txt": "One morning a fox met a crow.\n\n" * 40,
    "tickets.jsonl": '{"prompt": "Where is it?", "completion": "On its way."}\n',
    "tickets.csv": "title,body\nWhere is it?,On its way.\n",
    "prompts.jsonl": '{"prompt": "What is 2 + 3?"}\n',
    "design.csv": "run,spelling\nbase,0\nrelease-from-base,0\ncapability,1\nrelease-from-capability,1\n",
}
CONFIGS = {  # shipped config → the folder of its run, and what it takes from others
    "base.yaml": ("runs/base", ""),
    "capability.yaml": ("runs/capability", "runs/data runs/tokenizer.json runs/base"),
}
_BLOCK = re.compile(
    r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$|^ {4}(?P<line>(?:picochat|python|make|pip|pip-audit|source) [^\n]+)$",
    flags=re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block of a page; `name` is the file that it shows, if it shows one."""

    kind: str
    text: str
    name: str = ""

    def commands(self) -> list[str]:
        """The lines of a shell block, continued ones joined."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        return [line for line in lines if line and not line.startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found, text = [], page.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        kind, body = (match["kind"], match["text"]) if match["kind"] else ("bash", match["line"])
        before = text[: match.start()].rstrip().rpartition("\n\n")[2]
        shown = re.match(r"# ([\w.]+\.(?:py|yaml))\b", body) or re.search(r"`([\w.]+\.(?:py|yaml))`[^`]*:$", before)
        found.append(Block(kind, body, shown[1] if shown else ""))
    return found


def words_of(line: str) -> list[str]:
    """A shell's words, without the comment at the end."""
    return shlex.split(line, comments=True)


def as_flags(words: list[str]) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """(what comes before the flags, each flag's values): the order of flags means nothing."""
    starts = [index for index, word in enumerate(words) if word.startswith("--")] + [len(words)]
    flags = {words[a]: tuple(words[a + 1 : b]) for a, b in itertools.pairwise(starts)}
    flags.pop("--force", None)
    return tuple(words[: starts[0]]), flags


def reason_not_to_run(line: str) -> str:
    """Why a command is only parsed, or nothing."""
    return next((why for sign, why in ONLY_PARSED.items() if re.search(sign, line)), "")


class Walk:
    """A walk in the current directory, which is empty.

    Args:
        demo: runs/demo in miniature, of which everything is that a page takes from others; None where it takes nothing.
        smaller: whether commands are shrunk.
        without: commands that ran elsewhere, with the same flags.
    """

    def __init__(self, demo: Path | None = None, smaller: bool = True, without: Collection[str] = ()) -> None:
        self.demo, self.smaller, self.without = demo, smaller, [as_flags(words_of(line)) for line in without]
        self.made: set[Path] = set()  # by earlier blocks
        self.ran: list[str] = []

    def page(self, page: Path) -> None:
        """All blocks, in order."""
        for block in blocks_of(page):
            made = set[Path]()
            if block.kind == "bash":
                for line in block.commands():
                    if not reason_not_to_run(line) and as_flags(words_of(line)) not in self.without:
                        made |= self.command(line)
            elif block.kind in ("python", "yaml") and block.name:
                Path(block.name).write_text(block.text)
            elif block.kind == "python" and not ("import trl" in block.text and find_spec("trl") is None):
                self._provide(block.text)
                exec(block.text, {"__name__": "__main__"})
            self.made |= made

    def command(self, line: str) -> set[Path]:
        """Run a command; returns the folders and files that it makes."""
        self.ran.append(line)
        print(f"$ {line}", flush=True)
        asked, _, piped = line.partition(" | ")
        if piped:
            return self._picochat(words_of(piped)[1:], words_of(asked)[1].encode().decode("unicode_escape"))
        if match := re.match(r"mkdir (\S+) && cd \1\b", line):
            Path(match[1]).mkdir()
            os.chdir(match[1])
        elif match := re.match(r'eval "\$\(picochat (.*)\)"', line):
            return self._picochat(words_of(match[1]))
        elif line.startswith("make "):
            _call("make", "--dry-run", *words_of(line)[1:], cwd=ROOT)
        elif line.startswith("python "):
            _call(sys.executable, *words_of(line)[1:], cwd=Path.cwd())
        else:
            first, *words = words_of(line)
            assert first == "picochat", f"who runs this? {line}"
            return self._picochat(words)
        return set()

    def _picochat(self, words: list[str], typed: str = "What is 2 + 3?\n/quit\n") -> set[Path]:
        outputs = {Path(after) for flag, after in itertools.pairwise(words) if flag in ("--out-dir", "--out")}
        folder, taken = next((CONFIGS[word] for word in words if words[0] == "fit" and word in CONFIGS), ("", ""))
        outputs |= {Path(folder)} if folder else set()
        for path in outputs & self.made:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        own = [Path(word).read_text() for word in words if word.endswith(".yaml") and Path(word).is_file()]
        self._provide("\n".join([*words, *own, taken]), outputs)
        words = [*words, *(self._smaller(words) if self.smaller else [])]
        if words[0] == "board":
            _look_at(words)
        elif {"--devices", "--trainer.devices=2"} & {*words}:  # ranks begin as the process did
            log = Path("ranks.log")
            assert Forked(picochat, *words, output=log).end() == 0, log.read_text()
        else:
            with contextlib.ExitStack() as stack:
                stack.enter_context(patch.object(sys, "stdin", io.StringIO(typed)))
                stack.enter_context(patch.object(sys, "path", [*sys.path]))
                if words[0] == "study":  # whose runs are processes
                    stack.enter_context(patch.object(subprocess, "Popen", Popen))
                try:
                    main(words)
                except SystemExit as end:
                    assert not end.code, f"picochat {shlex.join(words)}: status {end.code}"
        return outputs

    def _smaller(self, words: list[str]) -> list[str]:
        """The flags that make a command small, without those that are small already."""
        if {"--epochs", "--replies"} & {*words}:  # says its own size; is made already
            return []
        more = next((flags.split() for start, flags in SMALLER.items() if " ".join(words).startswith(start)), [])
        if "capability.yaml" in words and words[0] == "fit":
            more = [*more, "--data.sft_rows", "1000", "--data.eval_rows", "48"]
        if "capability.yaml" in words and words[0] == "plan":
            return ["--set", "data.sft_rows=1000", "--set", "data.eval_rows=48"]
        asked = dict(itertools.pairwise(words))
        pairs = [
            pair for pair in zip(more[::2], more[1::2], strict=True) if int(asked.get(pair[0], 1e9)) > int(pair[1])
        ]
        return [word for pair in pairs for word in pair]

    def _provide(self, text: str, outputs: Collection[Path] = ()) -> None:
        """What a command or program names, and nobody has made."""
        for name, content in OF_THE_READER.items():
            if self.demo and _names(text, name.partition("/")[0]) and not Path(name).exists():
                Path(name).parent.mkdir(exist_ok=True)
                Path(name).write_text(content)
        for name, source in OF_OTHER_PAGES.items():
            if self.demo and _names(text, name) and not Path(name).exists() and Path(name) not in outputs:
                copy(self.demo / source, Path(name))


def copy(source: Path, target: Path) -> None:
    """By hard links; what picochat writes it writes anew."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)


def make_demo(folder: Path) -> Path:
    """runs/demo in miniature, by the commands of demo.mk; returns it."""
    with contextlib.chdir(folder):
        walk = Walk()
        for line in demo_lines(folder):
            command, _, table = line.partition(" >")
            with contextlib.ExitStack() as stack:
                if table:
                    Path(table).parent.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(table).open("w"))))
                walk.command(command)
    return folder / "runs/demo"


def demo_lines(folder: Path) -> list[str]:
    """The picochat commands of demo.mk in order, as printed; it calls itself for two evaluations at a time."""
    printed = _call("make", "--dry-run", f"--file={ROOT / 'demo.mk'}", cwd=folder)
    lines = re.sub(r"\\\n\s*", "", printed).splitlines()
    stages = [line.removeprefix(".venv/bin/") for line in lines if line.startswith(".venv/bin/picochat")]
    return list({" ".join(line.split()): line for line in stages})


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", text) is not None


def _call(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _look_at(words: list[str]) -> None:
    """Start the board, read its page, and end it with Ctrl-C."""
    log = Path("board.log")
    board = Forked(picochat, *words, output=log)
    patience = time.monotonic() + 120
    while not (address := re.search(r"http://\S+", board.printed())):
        assert time.monotonic() < patience, board.printed()
        time.sleep(0.05)
    page = urllib.request.urlopen(address[0]).read().decode()
    board.send(signal.SIGINT)
    board.end()
    assert "best_checkpoint" in page or "runs" in page
