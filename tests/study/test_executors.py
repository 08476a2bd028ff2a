"""Studies on other executors: processes, and a Slurm of one node where slurm-wlm and executorlib are installed."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from test_killed_studies import prepare

TEMPLATE = """ClusterName=one
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/control.pid
SlurmdPidFile={folder}/node.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


def run(folder: Path, executor: str, arguments: dict[str, object]) -> str:
    """A study of two arms and two seeds on an executor; what it printed."""
    prepare(folder)
    settings = yaml.safe_load((folder / "study.yaml").read_text())
    more = {"executor": executor, "executor_args": arguments}
    (folder / "study.yaml").write_text(yaml.safe_dump({**settings, **more}, sort_keys=False))
    command = [sys.executable, "-m", "picochat", "study", "run", "study.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_any_executor_runs_a_study_by_its_import_path(tmp_path: Path) -> None:
    said = run(tmp_path, "concurrent.futures.ProcessPoolExecutor", {"max_workers": 2})
    assert "4 of 4: " in said


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A controller and a node, in the foreground of two processes."""
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    names = {"host": socket.gethostname(), "user": "root", "control": free_port(), "node": free_port()}
    (tmp_path / "slurm.conf").write_text(TEMPLATE.format(folder=tmp_path, **names))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with (tmp_path / "slurm.log").open("wb") as log:
        daemons = [subprocess.Popen([name, "-D"], stdout=log, stderr=log) for name in ("slurmctld", "slurmd")]
        try:
            for _ in range(600):
                state = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True).stdout
                if state.strip() == "idle":
                    break
                time.sleep(0.1)
            assert state.strip() == "idle", (tmp_path / "slurm.log").read_text()
            yield
        finally:
            for daemon in daemons:
                daemon.terminate()
                daemon.wait()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("slurmctld") is None or importlib.util.find_spec("executorlib") is None or os.getuid() != 0,
    reason="needs slurm-wlm, picochat[slurm] and root",
)
def test_a_study_of_four_runs_on_a_slurm_of_one_node(tmp_path: Path, slurm: None) -> None:
    arguments = {"cache_directory": str(tmp_path / "jobs"), "resource_dict": {"cores": 1, "partition": "main"}}
    said = run(tmp_path / "world", "executorlib.SlurmClusterExecutor", arguments)
    assert "4 of 4: " in said
    jobs = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout
    assert jobs == ""
