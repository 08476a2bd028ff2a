"""What makes runs comparable: isolated documents, token-exact gradients, exact resume, losses that do not drift."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from exact_run import GOLDEN, Run, fit, golden_losses, in_a_process, losses, make_data
from torch import Tensor

from picochat.datamodules import ChatDataModule
from picochat.model.batch import IGNORE_INDEX, Batch
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.loss import supervised_nll


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_data(tmp_path_factory.mktemp("exact")))


@pytest.fixture(scope="module")
def straight(data: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """40 steps of 8 rows in one go."""
    run = Run(root=str(tmp_path_factory.mktemp("straight")), data=data, batch_size=8)
    fit(run)
    return run


@pytest.fixture(scope="module")
def killed(straight: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, killed behind step 17; its last checkpoint is of step 15, between the validations at 12 and 18."""
    run = replace(straight, root=str(tmp_path_factory.mktemp("killed")), kill_at=17)
    assert in_a_process(run) == -9
    assert state(run)["step"] == 15
    return run


def resumed(run: Run, root: Path, **changes: Any) -> Run:
    """Settings that go on with a copy of the killed run's folder."""
    shutil.copytree(run.root, root, dirs_exist_ok=True)
    return replace(run, root=str(root), kill_at=None, resume=True, **changes)


def state(run: Run) -> dict[str, Any]:
    """Everything that training leaves behind, as flat tensors and numbers."""
    checkpoint = torch.load(Path(run.root) / "last.ckpt", weights_only=True)
    flat: dict[str, Any] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in items:
                walk(f"{name}.{key}", inner)
        else:
            flat[name] = value

    walk("weights", checkpoint["state_dict"])
    walk("optimizer", checkpoint["optimizer_states"])
    walk("step", checkpoint["global_step"])
    return flat


def same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


# Isolation


def packed_and_alone(data: str) -> tuple[Decoder, Batch, list[tuple[int, slice]]]:
    """A decoder, a packed batch, and where each of its documents lies: (row, places)."""
    rows = ChatDataModule(
        chat_input=f"{data}/chat.jsonl", tokenizer=f"{data}/tokenizer.json", work_dir=data, context_length=192
    )
    rows.prepare_data()
    rows.setup("fit")
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(vocab_size=300, hidden_size=64, num_hidden_layers=3, head_dim=16))
    batch = next(iter(rows.train_dataloader()))
    spans = []
    for row in range(len(batch.input_ids)):
        for document in range(1, int(batch.document_ids[row].max()) + 1):
            places = torch.nonzero(batch.document_ids[row] == document).flatten()
            spans.append((row, slice(int(places[0]), int(places[-1]) + 1)))
    assert len(spans) > 3 * len(batch.input_ids)  # several documents a row, or there would be nothing to isolate
    return decoder, batch, spans


def gradients_of(decoder: Decoder, nll: Tensor) -> dict[str, Tensor]:
    decoder.zero_grad()
    nll.backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad.clone() for name, weight in decoder.named_parameters() if weight.grad is not None}


def assert_isolated(decoder: Decoder, batch: Batch, spans: list[tuple[int, slice]], document_ids: Tensor) -> None:
    """Logits and gradients of the packed batch are those of its documents, each by itself."""
    hidden = decoder(batch.input_ids, batch.position_ids, document_ids)
    logits = decoder.logits(hidden)
    packed = gradients_of(decoder, supervised_nll(decoder, hidden, batch.labels).sum())
    summed = {name: torch.zeros_like(gradient) for name, gradient in packed.items()}
    for row, span in spans:
        ids, labels = batch.input_ids[row, span][None], batch.labels[row, span][None]
        alone = decoder(ids)
        torch.testing.assert_close(logits[row, span], decoder.logits(alone)[0], atol=1e-5, rtol=1e-5)
        for name, gradient in gradients_of(decoder, supervised_nll(decoder, alone, labels).sum()).items():
            summed[name] += gradient
    for name, gradient in packed.items():
        torch.testing.assert_close(gradient, summed[name], atol=1e-5 * float(gradient.abs().max()), rtol=1e-4)


def test_packed_logits_and_gradients_equal_those_of_each_document_alone(data: str) -> None:
    decoder, batch, spans = packed_and_alone(data)
    assert_isolated(decoder, batch, spans, batch.document_ids)


@pytest.mark.parametrize(
    "broken",
    [
        lambda ids: (ids > 0).to(ids.dtype),  # one document a row
        lambda ids: (ids + 1) // 2,  # neighbours see each other
        lambda ids: torch.where(ids == 1, 1, ids.clamp(max=2)),  # only the first is isolated
    ],
)
def test_a_broken_mask_is_noticed(data: str, broken: Callable[[Tensor], Tensor]) -> None:
    decoder, batch, spans = packed_and_alone(data)
    with pytest.raises(AssertionError, match="not close"):
        assert_isolated(decoder, batch, spans, broken(batch.document_ids))


# Token-exact gradients

SPLITS = {"8 rows, 4 at a time": (8, 4, 1), "16 rows, 2 at a time": (16, 2, 1), "2 ranks of 16 rows": (16, 1, 2)}


@pytest.fixture(scope="module")
def whole(data: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten steps of 32 rows in one micro-batch.

    With AdamW: Muon's Newton-Schulz works in bfloat16, where a last bit of the gradient becomes 0.5 % in ten steps.
    """
    run = Run(root=str(tmp_path_factory.mktemp("whole")), data=data, steps=10, batch_size=32)
    fit(run)
    return run


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp(min=1e-30))


@pytest.mark.parametrize("split", SPLITS)
def test_a_step_has_the_same_gradients_however_it_is_split(whole: Run, tmp_path: Path, split: str) -> None:
    batch_size, accumulate, ranks = SPLITS[split]
    run = replace(whole, root=str(tmp_path), batch_size=batch_size, accumulate=accumulate, ranks=ranks)
    if ranks > 1:
        assert in_a_process(run) == 0  # it starts the other rank; they talk through gloo
    else:
        fit(run)
    expected, found = (torch.load(Path(one.root) / "gradients.pt", weights_only=True) for one in (whole, run))
    assert expected.keys() == found.keys()
    assert all(relative(found[name], expected[name]) < 1e-5 for name in expected)
    weights, others = state(whole), state(run)
    assert others["step"] == 10
    for name in (name for name in weights if name.startswith("weights")):
        assert relative(others[name], weights[name]) < 1e-5, name
    # Validation at step 6 too: each row once over all ranks, whatever the number of rows a rank is left with.
    for name in ("train/loss", "val/loss", "val/loss/spell", "eval/loss"):
        expected_losses = losses(Path(whole.root), name)
        assert len(expected_losses) == (10 if name == "train/loss" else 1)
        assert losses(Path(run.root), name) == pytest.approx(expected_losses, rel=1e-6), name


def test_micro_batches_hold_different_numbers_of_learnt_tokens(whole: Run) -> None:
    # The guard of the test above: with equal numbers a mean of means would pass as well.
    rows = ChatDataModule(
        chat_input=f"{whole.data}/chat.jsonl",
        tokenizer=f"{whole.data}/tokenizer.json",
        work_dir=whole.data,
        batch_size=8,
        context_length=192,
        packing="bos_bestfit",
    )
    rows.prepare_data()
    rows.setup("fit")
    counts = [int((batch.labels != IGNORE_INDEX).sum()) for batch in rows.train_dataloader()]
    assert max(counts) > 1.1 * min(counts)


# Exact resume


def assert_identical(run: Run, expected_run: Run) -> None:
    expected, found = state(expected_run), state(run)
    assert expected["step"] == found["step"] == 40
    assert expected.keys() == found.keys()
    assert any(name.startswith("optimizer") and isinstance(value, Tensor) for name, value in expected.items())
    assert [name for name in expected if not same(expected[name], found[name])] == []
    assert (Path(run.root) / "metrics.csv").read_bytes() == (Path(expected_run.root) / "metrics.csv").read_bytes()


def test_killed_and_resumed_ends_bit_identical(straight: Run, killed: Run, tmp_path: Path) -> None:
    run = resumed(killed, tmp_path)
    fit(run)
    assert_identical(run, straight)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_killed_with_loader_workers_and_resumed_ends_bit_identical(
    straight: Run, tmp_path: Path, optimizer: str
) -> None:
    # saved behind a validation, by a run whose workers had fetched ahead
    whole = replace(straight, root=str(tmp_path / "whole"), optimizer=optimizer)
    fit(whole)
    run = replace(whole, root=str(tmp_path / "run"), kill_at=20, save_every=6, workers=2)
    assert in_a_process(run) == -9
    assert state(run)["step"] == 18
    fit(replace(run, kill_at=None, resume=True))
    assert_identical(run, whole)


@pytest.mark.parametrize(("batch_size", "accumulate", "ranks"), [(2, 4, 1), (4, 1, 2)])
def test_resumed_with_another_split_or_number_of_ranks_ends_equal_within_rounding(
    straight: Run, killed: Run, tmp_path: Path, batch_size: int, accumulate: int, ranks: int
) -> None:
    run = resumed(killed, tmp_path, batch_size=batch_size, accumulate=accumulate, ranks=ranks)
    if ranks > 1:
        assert in_a_process(run) == 0
    else:
        fit(run)
    found, expected = losses(tmp_path), losses(Path(straight.root))
    assert len(found) == 40
    assert found[:15] == expected[:15]  # before the checkpoint: the same file
    assert found[15:] == pytest.approx(expected[15:], rel=1e-5)  # the same rows, summed in another order


def test_a_learning_rate_changed_on_resume_takes_effect(killed: Run, tmp_path: Path) -> None:
    before = state(killed)
    run = resumed(killed, tmp_path, steps=16, learning_rate=0.0)
    fit(run)
    after = state(run)
    weights = [name for name in before if name.startswith("weights")]
    assert after["step"] == 16
    assert [name for name in weights if not same(before[name], after[name])] == []
    fit(replace(run, steps=17, learning_rate=0.004))
    assert [name for name in weights if same(before[name], state(run)[name])] == []


# Golden losses


def test_twenty_losses_are_those_of_the_golden_file() -> None:
    """A change that should not move numerics leaves them; one that should: `python tests/exact_run.py golden`.

    The tolerance is for other processors and releases of torch; on one machine they are equal to the last bit.
    """
    expected = json.loads(GOLDEN.read_text())
    assert len(expected) == 20
    assert golden_losses() == pytest.approx(expected, rel=2e-5)
