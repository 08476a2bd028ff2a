"""A config builds what its place is for and nothing else; no secret is written; no code comes from the hub."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from refusing import Refused

ROOT = Path(__file__).parents[2]
PLACES = {
    "a callback": "trainer: {callbacks: [%s]}",
    "the logger": "trainer: {logger: %s}",
    "the strategy": "trainer: {strategy: %s}",
    "a plugin": "trainer: {plugins: [%s]}",
    "the profiler": "trainer: {profiler: %s}",
    "the data": "data: %s",
    "the model": "model: %s",
    "the optimizer": "model: {optimizer: %s}",
    "the decoder": "model: {decoder: %s}",
}
CLASSES = {
    "a program": "{class_path: subprocess.Popen, init_args: {args: [touch, owned]}}",
    "a function": "{class_path: os.system, init_args: {command: touch owned}}",
    "a built-in": '{class_path: builtins.eval, init_args: {source: \'open("owned", "w")\'}}',
}


TAGS = ["!!python/object/apply:os.system ['touch owned']", "!!python/name:os.system", "!!python/module:os"]
EVIL = {f"{what} as {place}": (PLACES[place] % CLASSES[what]).encode() for place in PLACES for what in CLASSES}
EVIL |= {tag: f"seed_everything: {tag}\n".encode() for tag in TAGS}
BROKEN = {  # and many more in bad_input/test_bad_configs.py, with what is said of them
    "a tab": b"trainer:\n\tmax_steps: 1\n",
    "a NUL": b"trainer:\x00",
    "Latin-1": b"trainer: {default_root_dir: caf\xe9}",
    "a number": b"5",
    "a colour": b'trainer: {max_steps: "\\e[31m"}',
    "nested deeply": b"[" * 20_000,
}


@pytest.mark.parametrize("case", EVIL | BROKEN)
def test_a_config_that_is_broken_or_builds_what_its_place_is_not_for_is_refused(
    case: str, tmp_path: Path, refused: Refused
) -> None:
    """And neither runs nor writes anything: the folder is left as it was."""
    (tmp_path / "evil.yaml").write_bytes((EVIL | BROKEN)[case])
    refused("fit", "--config", "capability.yaml", "--config", "evil.yaml")


def test_no_code_comes_from_the_hub_and_nothing_is_unpickled_or_evaluated() -> None:
    folders = ("picochat", "datamodules", "callbacks", "benchmarks")
    found = [path for name in folders for path in (ROOT / name).rglob("*.py") if not path.parent.is_symlink()]
    assert len(found) > 80
    assert [line for path in found for line in unsafe(path.name, path.read_text(encoding="utf-8"))] == []


def unsafe(name: str, source: str) -> Iterator[str]:
    """The places of a file that could run somebody else's code."""
    safe = {"trust_remote_code": False, "allow_pickle": False, "weights_only": True}
    nodes = list(ast.walk(ast.parse(source)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    # what is *saved* with weights_only=False is the optimizer's state too
    saved = {word for call in calls if getattr(call.func, "attr", "") == "save_checkpoint" for word in call.keywords}
    for node in nodes:
        if isinstance(node, ast.keyword) and node.arg in safe and node not in saved:
            if not isinstance(node.value, ast.Constant) or node.value.value is not safe[node.arg]:
                yield f"{name}:{node.value.lineno}: {node.arg}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            error = {"pickle"} if name == "checkpoint.py" else set()  # its error is caught
            if (names - error) & {"pickle", "dill", "marshal"}:
                yield f"{name}:{node.lineno}: {names}"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("eval", "exec"):
            yield f"{name}:{node.lineno}: {ast.unparse(node)}"


def test_what_could_run_code_is_found() -> None:
    code = "import pickle\nfrom marshal import loads\nexec(x)\nload(x, weights_only=no)\nload(x, allow_pickle=True)\n"
    assert [line.split(":")[1] for line in unsafe("x.py", code)] == ["1", "2", "3", "4", "5"]
    assert not [*unsafe("x.py", "trainer.save_checkpoint(x, weights_only=False)\nload(x, weights_only=True)")]


@pytest.mark.slow
def test_no_secret_of_the_environment_is_in_what_a_run_writes_or_says(tmp_path: Path) -> None:
    secrets = {name: f"hush-{name.lower()}-4711" for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY")}
    done = subprocess.run(
        [sys.executable, "-m", "picochat", "fit", "--config", "base.yaml", "--trainer.max_steps=1",
         "--trainer.accelerator=cpu", "--trainer.default_root_dir=run", "--data.init_args.batch_size=1"],
        cwd=tmp_path, env=os.environ | secrets, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (tmp_path / "run" / "config.yaml") in written
    for secret in secrets.values():
        assert secret not in done.stdout + done.stderr
        assert [path for path in written if secret.encode() in path.read_bytes()] == []
