"""The rows of the four profiles stay the same to the byte, in every process: published packs must be reproducible.

A change of phrases or shares changes them on purpose; the changelog then says so, and new figures go in here.
"""

import hashlib
from pathlib import Path

import pytest

from picochat.packs import Draw, build_task_pack


@pytest.mark.parametrize(
    ("profile", "style", "chat", "evaluation"),
    [
        ("release", "direct", "b9bf9bbfac2088be", "f3f92393ce2c1e8a"),
        ("capability", "scratchpad", "6a5878a6146c60ea", "c75054f15b6a0f3c"),
        ("capability", "direct", "cd97c3cf9c249adc", "26eb8ca00d840cc2"),
        ("balanced", "scratchpad", "629f116b61a40598", "68002eb07abba1b0"),
        ("benchmark", "direct", "f9bb0bb235301a6e", "2c674aff48aae5fb"),
    ],
)
def test_rows_never_change(tmp_path: Path, profile: str, style: str, chat: str, evaluation: str) -> None:
    (tmp_path / "dataset_pack.json").write_text("{}")
    made = build_task_pack(tmp_path, profile=profile, sft_rows=400, eval_rows=80, skill_answer_style=style)  # type: ignore[arg-type]
    found = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (made.chat_path, made.eval_path)]
    assert found == [chat, evaluation]


def test_draws_never_change() -> None:
    draw = Draw(42, "golden", 1)
    assert [draw.below(1000) for _ in range(5)] == [931, 215, 479, 272, 724]
