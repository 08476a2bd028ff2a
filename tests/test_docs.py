"""The documentation says what is true: its commands parse, its pages are all there, and it builds without a warning."""

import contextlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pages import Block, Walk, as_flags, demo_lines, words_of

from picochat.cli import SUBCOMMANDS, main, parse_command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")]
ELSEWHERE = {"roman.yaml", "Roman"}  # what examples/picochat-roman brings


def commands() -> list[tuple[str, str]]:
    """(page, line): every line of a code block that begins with picochat, continued lines joined."""
    found = []
    for page in set(PAGES) - {ROOT / "docs/benchmarks.md"}:  # made of docstrings and of commands that were run
        text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
        lines = re.findall(r"^(?: {4})?(picochat .+)$|^printf .*\| (picochat .+)$", text, flags=re.MULTILINE)
        found += [(str(page.relative_to(ROOT)), first or second) for first, second in lines]
    return sorted(set(found))


LINES = [(page, line) for page, line in commands() if "…" not in line and not line.startswith("picochat COMMAND")]


assert len(LINES) > 40 and {page.split("/")[0] for page, _ in LINES} >= {"README.md", "docs", "examples"}


@pytest.mark.parametrize(("page", "line"), [case for case in LINES if case[1].split()[1] not in SUBCOMMANDS])
def test_a_documented_command_parses(page: str, line: str) -> None:
    assert callable(parse_command(shlex.split(line, comments=True)[1:]).run)


@pytest.mark.parametrize(("page", "line"), [case for case in LINES if case[1].split()[1] in SUBCOMMANDS])
def test_a_documented_run_is_a_config(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from picochat.commands.configs import resolve_names
    from picochat.commands.fit import parsed_config

    words = shlex.split(line, comments=True)[1:]
    if ELSEWHERE & set(words):
        pytest.skip("a name of the example package")
    if "WandbLogger" in line and importlib.util.find_spec("wandb") is None:
        pytest.skip("needs wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_callbacks.py").write_text(
        "from lightning import Callback\nclass Mine(Callback):\n    def __init__(self, path: str) -> None: ...\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "trainer:\n  callbacks:\n    - class_path: my_callbacks.Mine\n      init_args: {path: seen.txt}\n"
    )
    earlier = tmp_path / "runs/capability/config.yaml"
    earlier.parent.mkdir(parents=True)
    earlier.write_text((ROOT / "configs/capability.yaml").read_text())
    if {"--data.help", "--print_config"} & set(words):
        with contextlib.suppress(SystemExit):
            main(words)
        assert "context_length" in capsys.readouterr().out
    else:
        config = parsed_config(resolve_names(words))
        assert config.trainer.max_steps > 0
        # an overlay's rate for fine-tuning is far too low for fresh weights
        assert config.model.checkpoint or config.model.optimizer.learning_rate >= 1e-4


def test_mix_your_own_data_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an empty folder to a report per lane, block after block, in full size."""
    monkeypatch.chdir(tmp_path)
    Walk(smaller=False).page(ROOT / "docs/howto/mix.md")
    printed = capsys.readouterr().out
    assert re.search(r"train rows: 8\d\d of the 2,000 rows that were asked for; .* support/parcels\n", printed)
    assert re.search(r"4 epochs of \d+ examples are \d+ optimizer steps\n", printed)
    assert re.search(r"\nsupport: refunds +≥ 90\.0 % ", printed)
    assert Path("runs/shop/eval/eval_report.html").is_file()


def test_the_readme_names_every_extra() -> None:
    table = README.partition("| extra |")[2].partition("\n\n")[0]
    named = re.findall(r"`([\w-]+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert sorted(named) == sorted(project["optional-dependencies"])


def test_pages_link_to_pages_and_name_scripts_that_exist() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\":]+)\"", text)
        links = [page.parent / (link or picture) for link, picture in targets]
        scripts = [ROOT / path for path in re.findall(r"\b(?:tests|benchmarks|examples)/[\w/]+\.py\b", text)]
        assert [f"{page}: {path}" for path in links + scripts if not path.exists()] == []


def test_the_readmes_tree_names_what_lies_at_the_top_and_in_the_package() -> None:
    """And nothing that is not there."""
    tree = README.partition("## What lies where")[2].split("```")[1]
    named: set[str] = set()
    for line in tree.splitlines()[1:]:
        name = line.split()[0].rstrip("/")
        named.add(f"picochat/{name}" if line.startswith("  ") else name)
    missing = {name for name in named if not (ROOT / name).exists()}
    assert missing == set()
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)  # others may lie here
    tracked = git.stdout.split() or [path.name for path in ROOT.iterdir() if path.suffix in (".md", ".toml")]
    top = {path.partition("/")[0] for path in tracked if path[0] != "."} - {"README.md", "LICENSE"}
    links = {"datamodules", "callbacks", "configs", "example_plugin"}
    inside = {path.name for path in (ROOT / "picochat").iterdir() if not path.name.startswith(("_", "py."))} - links
    assert named >= top | {f"picochat/{name}" for name in inside}


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_the_readmes_recipe_is_the_demos(tmp_path: Path) -> None:
    """Flag for flag; the README leaves out only repetitions, and how an interrupted demo goes on."""
    stages = [as_flags(words_of(line.partition(" >")[0])) for line in demo_lines(tmp_path)]
    block = Block("bash", README.partition("## The recipe at demo scale")[2].split("```bash\n")[1].split("```")[0])
    recipe = [as_flags(words_of(line)) for line in block.commands()]
    assert len(recipe) == 10
    assert [one for one in recipe if one not in stages] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_a_demo_that_goes_on_expects_what_is_left(tmp_path: Path) -> None:
    def expected() -> list[str]:
        words = ["make", "--dry-run", f"--file={ROOT / 'demo.mk'}"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        return re.findall(r"expect\.py (.*)", done.stdout)

    assert expected() == ["--steps 2050 --replies 6000 --commands 17"]
    for file in ("base/done", "eval/release-rows/release-from-base/eval_report.json"):
        (tmp_path / "runs/demo" / file).parent.mkdir(parents=True)
        (tmp_path / "runs/demo" / file).touch()
    assert expected() == ["--steps 1950 --replies 5400 --commands 15"]


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "docs", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "CapabilityDataModule" in (tmp_path / "site/api/datamodules.html").read_text("utf-8")
    index = (tmp_path / "site/searchindex.js").read_text("utf-8")
    for stem in ("mixtur", "weight", "prompt", "mask"):  # "mixture weights", "system prompt", "loss mask" are found
        assert re.search(rf'"{stem}"|[,{{]{stem}:', index), stem
    assert "one supervised token weighs" in (tmp_path / "site/design.html").read_text("utf-8").lower()
    for page, picture in (("tutorial", "lanes"), ("capability-study", "matrix")):
        images = re.findall(r"<img[^>]*>", (tmp_path / f"site/{page}.html").read_text("utf-8"))
        for scheme in ("light", "dark"):
            assert any(f"only-{scheme}" in image and f"{picture}-{scheme}.png" in image for image in images), page
