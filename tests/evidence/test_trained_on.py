"""Eval rows that a model, or one that it began from, was trained on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from students import ask

from picochat.evidence.scoring import Policy, Rules
from picochat.files import sha256_file
from picochat.packs import build_task_pack
from picochat.packs.contamination import met_in_training
from picochat.packs.formats import Reading, read_rows
from picochat.packs.rows import Row, write_rows


def trained_on(path: Path, rows: list[Row]) -> list[dict[str, Any]]:
    """A file of chat rows, as a model's provenance names it."""
    write_rows(path, [{"messages": [*row["messages"], {"role": "assistant", "content": "Yes."}]} for row in rows])
    return [{"path": str(path), "sha256": sha256_file(path), "reading": asdict(Reading())}]


def test_rows_of_the_run_and_of_its_parent_are_met(tmp_path: Path) -> None:
    own = trained_on(tmp_path / "own.jsonl", [ask("Is it far to the mill?")])
    (tmp_path / "base").mkdir()
    parents = trained_on(tmp_path / "parents.jsonl", [ask("Is it  LATE already")])
    (tmp_path / "base/picochat.json").write_text(json.dumps({"trained_on": parents, "parent": str(tmp_path / "base")}))
    rows = [ask("Is it far to the mill?"), ask("Is it late already?"), ask("Is it cold?")]
    said, gone = met_in_training("eval.jsonl", rows, {"trained_on": own, "parent": str(tmp_path / "base")})
    assert said.startswith("eval.jsonl: 2 of 3 eval rows ask what training asks (2 the same, 0 nearly; line 1 as ")
    assert gone == []
    (tmp_path / "own.jsonl").write_text("changed")
    assert met_in_training("eval.jsonl", rows, {"trained_on": own})[1] == [str(tmp_path / "own.jsonl")]


def test_a_provenance_of_another_form_names_no_files(tmp_path: Path) -> None:
    for trained in (None, 5, ["x"], [{"path": 1}], [{"path": "x", "sha256": "y", "reading": {"odd": 1}}]):
        assert met_in_training("eval.jsonl", [ask("Hi?")], {"trained_on": trained}) == ("", [])


def test_a_pack_of_ours_was_compared_already_and_brings_its_gates(tmp_path: Path) -> None:
    (tmp_path / "dataset_pack.json").write_text("{}")
    part = """{name: c, weight: 1, benchmark_profile: b, gate: {echo: 0.2, who: 0.9}, claim: is Ada, judge: [loops],
               lanes: {who: {share: 1, task: identity, check: {identity: Ada}}}}"""
    (tmp_path / "mine.yaml").write_text(f"components:\n  - {part}\n")
    made = build_task_pack(tmp_path, profile=str(tmp_path / "mine.yaml"), sft_rows=40, eval_rows=16)
    rows = read_rows(made.eval_path, "eval")
    policy = Policy.of(rows, made.eval_path)
    assert (policy.gates, policy.claims) == ({"b": {"echo": 0.2, "who": 0.9}}, {"b": "is Ada"})
    assert policy.rules_of(rows[0]) == Rules(frozenset({"loops"}), {"identity": "Ada"})
    chat = [{"path": "not/there.jsonl", "sha256": sha256_file(made.chat_path), "reading": {**asdict(Reading())}}]
    assert met_in_training(made.eval_path, rows, {"trained_on": chat}) == ("", [])
    blocked = {**made.data, "contamination": {"status": "blocked"}}
    made.json_path.write_text(json.dumps(blocked))
    assert met_in_training(made.eval_path, rows, {"trained_on": chat}) == ("", ["not/there.jsonl"])
    made.json_path.write_text('{"mixture": {"components": [{"name": "c"}]}}')
    assert Policy.of(rows, made.eval_path) == Policy()


def test_a_mixture_with_a_name_of_ours_keeps_its_own_gates(tmp_path: Path) -> None:
    part = {
        "name": "c",
        "benchmark_profile": "release_behavior",
        "lanes": {},
        "gate": {"identity": 0.95},
        "claim": "Ada",
    }
    (tmp_path / "task_mixture_capability.json").write_text(json.dumps({"mixture": {"components": [part]}}))
    row = {"mixture_profile": "capability", "mixture_benchmark_profile": "release_behavior"}
    policy = Policy.of([row], tmp_path / "eval.jsonl")
    assert policy.gates == {"release_behavior": {"identity": 0.95}}
    assert policy.claims == {"release_behavior": "Ada", "weak_skills": "", "full": ""}
