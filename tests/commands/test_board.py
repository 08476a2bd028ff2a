"""The board over a folder of runs: what it lists, that it moves, and that nobody else's text or site gets at it."""

import contextlib
import http.client
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, find_chromium

from picochat.cli import main
from picochat.files import sha256_file

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra [board]")
HOSTILE = "<script>window.hit=1</script><img src=x onerror=window.hit=1>"
needs_browser = pytest.mark.skipif(find_chromium() is None, reason="no Chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def runs(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run under way, two checkpoints, an evaluation with hostile text, and broken files."""
    root = tmp_path_factory.mktemp("board") / "runs"
    shutil.copytree(run_folder, root / "sums", ignore=shutil.ignore_patterns("out"))
    rows = ["--input", str(root / "sums/eval_rows.jsonl"), "--device", "cpu", "--max-new-tokens", "40"]
    main(["eval", "chat", *rows, "--checkpoint", str(root / "sums/base"), "--out-dir", str(root / "eval/base")])
    (root / "sums/.lock").write_text("process 1")
    (root / "sums/config.yaml").write_text("trainer: {max_steps: 4}\n")
    sample = {"step": 1, "category": HOSTILE, "prompt": HOSTILE, "reply": HOSTILE, "expected": "3"}
    (root / "sums/samples.jsonl").write_text(json.dumps(sample) + "\n[1]\nhalf a li")
    for name, text in (("bad.json", "{"), ("list.json", "[]"), ("other.json", '{"kind": "eval chat", "overall": 3}')):
        (root / name).write_text(text)
        (root / name).with_suffix(".html").write_text("<script>alert(1)</script>")
    for name, text in (("broken", "no,steps\n1,2\n"), ("endless", "step,train/loss\ninf,1\n"), ("\udcff", "step\n")):
        (root / name).mkdir()
        (root / name / "metrics.csv").write_text(text)
    (root / "live").mkdir()  # a run without an end, whose name is no part of an address
    (root / "live/metrics.csv").write_text("step,train/loss\n5,1\n")
    (root / "live/config.yaml").write_text("trainer: {max_steps: -1, max_epochs: 3}\n")
    (root / "live/samples.jsonl").write_text(json.dumps({**sample, "step": 0, "reply": "a\u2028b"}, ensure_ascii=False))
    return root


@pytest.fixture(scope="module")
def port(runs: Path) -> Iterator[int]:
    from picochat.board.app import Board

    server = uvicorn.Server(uvicorn.Config(Board(runs).app(), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def ask(port: int, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
    """Status, text and content security policy of an answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
        sent = {} if body is None else {"Content-Type": "application/json"}
        text = None if body is None else json.dumps(body)
        connection.request("POST" if text else "GET", path, text, sent | headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.getheader("content-security-policy") or ""


def test_runs_reports_and_checkpoints_are_listed_and_broken_files_are_left_out(port: int) -> None:
    _, page, _ = ask(port, "/")
    assert re.search(r'<td><span class="now">running</span> .*2 of 4</td>', page)
    assert 'href="/report/runs/eval/base/eval_report.html"' in page
    assert page.count('href="/report/') == 1
    assert page.count('href="/run/') == 2
    assert "<td>5</td>" in page
    for address in ("/run/runs/live", "/live/runs/live"):
        status, run, _ = ask(port, address)
        assert status == 200
        assert "<p>step 0 · " in run
        assert "a\u2028b" in run
    _, of_lane, _ = ask(port, "/?lane=bench_math_addition")
    assert '<th scope="col">bench_<wbr>math_<wbr>addition</th>' in of_lane
    _, talk, _ = ask(port, "/talk")
    offered = re.findall(r'<option value="(runs/[^"]+)"', talk)
    assert offered[0] == "runs/sums/best_checkpoint" and set(offered) > {"runs/sums/base"}


def test_a_report_is_served_without_access_to_the_board_and_nothing_else_is(port: int) -> None:
    status, _, policy = ask(port, "/report/runs/eval/base/eval_report.html")
    assert status == 200
    assert policy.startswith("sandbox allow-scripts")
    for path in ("/report/runs/other.html", "/report/runs/../../secret.html", "/report/etc/passwd", "/run/nowhere"):
        assert ask(port, path)[0] == 404


def test_other_hosts_and_forms_of_other_sites_are_refused(port: int) -> None:
    assert ask(port, "/", Host="evil.example")[0] == 400
    asked = {"checkpoint": "runs/sums/base", "prompt": "1 + 2?"}
    assert ask(port, "/reply", asked, **{"Content-Type": "text/plain"})[0] == 400
    for prompt in (" ", "\ud800"):
        assert ask(port, "/reply", {**asked, "prompt": prompt})[0] == 400
    for wrong in ({**asked, "checkpoint": "/etc"}, [1], {}):
        assert ask(port, "/reply", wrong)[0] == 400


def test_a_reply_is_streamed_and_judged_where_the_prompt_is_an_eval_row(port: int) -> None:
    said = []
    for name in ("best_checkpoint", "base"):
        _, text, _ = ask(port, "/reply", {"checkpoint": f"runs/sums/{name}", "prompt": "1 + 2?"})
        said.append([json.loads(line) for line in text.splitlines()])
    learnt, base = said
    assert len(learnt) > 2
    assert "".join(piece.get("text", "") for piece in learnt) == "1 + 2 = 3\nFinal answer: 3"
    assert learnt[-1] == {"finished": True, "lane": "bench_math_addition", "verdict": "passed"}
    assert base[-1]["verdict"] != "passed"
    _, other, _ = ask(port, "/reply", {"checkpoint": "runs/sums/base", "prompt": "1 + 2"})
    assert "verdict" not in json.loads(other.splitlines()[-1])
    _, long, _ = ask(port, "/reply", {"checkpoint": "runs/sums/base", "prompt": "long " * 5000})
    assert "shorten it" in json.loads(long)["error"]


def test_rows_that_changed_since_judge_nothing_and_a_run_that_is_silent_for_long_does_not_run(tmp_path: Path) -> None:
    from picochat.board import app
    from picochat.board.folder import Folder

    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"messages": [{"role": "user", "content": "1 + 2?"}], "answer": "3"}))
    assert list(app._questions(rows, sha256_file(rows))) == ["1 + 2?"]
    assert app._questions(rows, "0" * 64) == {}
    (tmp_path / "metrics.csv").write_text("step,train/loss\n1,2\n")
    (tmp_path / ".lock").touch()
    for silent, running in ((60, True), (700, False)):
        os.utime(tmp_path / "metrics.csv", (time.time() - silent,) * 2)
        assert Folder(tmp_path).scan()[0][0].running is running


def test_a_folder_that_is_none_and_a_port_in_use_are_refused(
    port: int, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["nowhere"], "nowhere is not a folder"),
        ([str(runs), "--port", str(port)], f"--port {port} cannot be used"),
        ([str(runs), "--port", "99999"], "--port 99999 cannot be used"),
    ):
        with pytest.raises(SystemExit):
            main(["board", *words])
        assert said in capsys.readouterr().err


@needs_browser
def test_in_a_browser_curves_move_hostile_text_stays_text_and_a_phone_is_wide_enough(port: int, runs: Path) -> None:
    with Browser() as browser:
        page = browser.open(f"http://127.0.0.1:{port}/run/runs/sums", width=390)
        points = "document.querySelector('svg.chart polyline').points.length"
        assert page.evaluate(points) == 2
        with (runs / "sums/metrics.csv").open("a") as file:
            file.write("3,0.5,0.003\n")
        page.wait_for(f"{points} === 3")
        assert page.evaluate("document.querySelector('article pre').textContent") == HOSTILE
        assert page.evaluate("window.hit") is None
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.complaints() == []
        assert all(address.startswith(f"http://127.0.0.1:{port}/") for address in page.requests())


@needs_browser
def test_in_a_browser_two_checkpoints_answer_side_by_side(port: int) -> None:
    with Browser() as browser:
        page = browser.open(f"http://127.0.0.1:{port}/talk")
        page.evaluate("document.querySelectorAll('select')[0].value = 'runs/sums/best_checkpoint'")
        page.evaluate("document.querySelectorAll('select')[1].value = 'runs/sums/base'")
        page.click("textarea")
        page.call("Input.insertText", text="1 + 2?")
        page.click("#talk button")
        page.wait_for("document.querySelectorAll('.verdict').length === 2")
        replies = page.evaluate("[...document.querySelectorAll('#replies pre')].map((one) => one.textContent)")
        assert replies[0] == "1 + 2 = 3\nFinal answer: 3"
        left, right = page.evaluate(
            "[...document.querySelectorAll('#replies article')].map((one) => one.getBoundingClientRect().x)"
        )
        assert left < right
        page.evaluate(f"document.querySelector('textarea').value = {json.dumps(HOSTILE)}")
        page.click("#talk button")
        page.wait_for("document.querySelectorAll('#replies h2').length === 2")
        assert page.evaluate("document.querySelector('#replies h2').textContent") == HOSTILE
        assert page.evaluate("window.hit") is None
        assert page.complaints() == []
