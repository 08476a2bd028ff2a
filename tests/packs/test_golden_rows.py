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
        ("release", "direct", "8602686db0d9ea45", "33f1871209ca577f"),
        ("capability", "scratchpad", "066e50873c0fae4c", "838e40f7823b40c5"),
        ("capability", "direct", "4f3df3a26ed34eda", "8de5282cbc7437c4"),
        ("balanced", "scratchpad", "d0ffbcfc935c0313", "5d9df04869889f20"),
        ("benchmark", "direct", "6b96a10a86962888", "7f11065a784e0609"),
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
