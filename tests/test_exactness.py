"""What makes runs comparable: isolated documents, token-exact gradients, losses that do not drift.

That a resumed run ends as an undisturbed one is tested by reliability/test_resuming.py.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forked
import pytest
import torch
from exact_run import GOLDEN, Run, fit, golden_losses, losses, open_data
from small_rows import make_data
from torch import Tensor

from picochat.commands.plan import prepared
from picochat.model.batch import IGNORE_INDEX, Batch
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.loss import supervised_nll


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_data(tmp_path_factory.mktemp("exact")))


# Isolation


def packed_and_alone(data: str) -> tuple[Decoder, Batch, list[tuple[int, slice]]]:
    """A decoder, a packed batch, and where each of its documents lies: (row, places)."""
    rows = prepared(open_data(data))
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
    run = replace(whole, root=str(tmp_path / "run"), batch_size=batch_size, accumulate=accumulate, ranks=ranks)
    forked.run(fit, run, output=tmp_path / "output")  # two ranks talk through gloo
    assert "sync_dist" not in (tmp_path / "output").read_text()  # nothing that Lightning would rather have
    for file in ("gradients.pt", "last.ckpt"):
        expected, found = (torch.load(Path(one.root) / file, weights_only=True) for one in (whole, run))
        if file == "last.ckpt":
            assert found["global_step"] == 10
            expected, found = expected["state_dict"], found["state_dict"]
        assert expected.keys() == found.keys()
        assert [name for name in expected if relative(found[name], expected[name]) >= 1e-5] == []
    # Validation at step 6 too: each row once over all ranks, whatever the number of rows a rank is left with.
    for name in ("train/loss", "val/loss", "val/loss/spell", "eval/loss"):
        expected_losses = losses(Path(whole.root), name)
        assert len(expected_losses) == (10 if name == "train/loss" else 1)
        assert losses(Path(run.root), name) == pytest.approx(expected_losses, rel=1e-6), name


def test_micro_batches_hold_different_numbers_of_learnt_tokens(whole: Run) -> None:
    # The guard of the test above: with equal numbers a mean of means would pass as well.
    rows = prepared(open_data(whole.data, batch_size=8))
    counts = [int((batch.labels != IGNORE_INDEX).sum()) for batch in rows.train_dataloader()]
    assert max(counts) > 1.1 * min(counts)


# Golden losses


def test_twenty_losses_are_those_of_the_golden_file() -> None:
    """A change that should not move numerics leaves them; one that should: `python tests/exact_run.py`.

    The tolerance is for other processors and releases of torch; on one machine they are equal to the last bit.
    """
    expected = json.loads(GOLDEN.read_text())
    assert len(expected) == 20
    assert golden_losses() == pytest.approx(expected, rel=2e-5)
