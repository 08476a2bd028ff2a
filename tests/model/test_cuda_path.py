"""The path of CUDA devices in bfloat16, run on the CPU: a stand-in for FlashAttention refuses what the kernel refuses.

What this cannot show: the kernel's own results and speed, and streams of a device.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from exact_run import losses, make_data
from tiny_model import FIT, Watch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name

from picochat.cli import main
from picochat.datamodules import ChatDataModule
from picochat.model.attention import VarlenAttention, isolate
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.loss import supervised_nll

STEPS = 3
RUN = [
    *FIT,
    *("--trainer.precision=bf16-mixed", f"--trainer.max_steps={STEPS}", "--trainer.log_every_n_steps=1"),
    *(f"--trainer.val_check_interval={STEPS}", "--lr_schedule.warmup_steps=1"),
]


def flash(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, **options: Any
) -> Tensor:
    """torch.nn.attention.varlen.varlen_attn with the checks of mha_varlen_fwd (flash_api.cpp), by plain attention."""
    assert options == {"window_size": (-1, 0), "enable_gqa": True}  # causal
    for states in (q, k, v):
        assert states.dtype in (torch.float16, torch.bfloat16) and states.dtype == q.dtype
        assert states.ndim == 3 and states.stride(-1) == 1 and states.is_contiguous()
        assert states.shape[2] % 8 == 0 and states.shape[2] <= 256
    assert k.shape == v.shape and q.shape[0] == k.shape[0] and q.shape[1] % k.shape[1] == 0
    for starts in (cu_q, cu_k):
        assert starts.dtype == torch.int32 and starts.is_contiguous() and starts.device == q.device
        assert starts[0] == 0 and starts[-1] == len(q)
    lengths = cu_q.diff()
    assert (lengths > 0).all() and lengths.max() <= min(max_q, max_k)
    parts = [
        F.scaled_dot_product_attention(
            *(one.float().movedim(1, 0) for one in document), is_causal=True, enable_gqa=True
        )
        for document in zip(*(states.split(lengths.tolist()) for states in (q, k, v)), strict=True)
    ]
    return torch.cat(parts, 1).movedim(0, 1).to(q.dtype)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", flash)
    monkeypatch.setattr("picochat.model.decoder.backend", lambda *_, **__: "varlen")


def test_a_run_on_the_path_of_cuda_passes_the_kernels_checks_and_has_the_losses_of_the_cpus_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    make_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    main([*RUN, "--trainer.default_root_dir=cpu"])
    request.getfixturevalue("stand_in")
    main([*RUN, "--trainer.default_root_dir=cuda"])
    for name, count in (("train/loss", STEPS), ("val/loss", 1)):
        expected = losses(tmp_path / "cpu", name)
        assert len(expected) == count
        assert losses(tmp_path / "cuda", name) == pytest.approx(expected, rel=2e-3)
        assert losses(tmp_path / "cuda", name) != expected  # the stand-in computed it


@pytest.mark.usefixtures("stand_in")
def test_a_training_step_waits_for_no_count_of_documents_or_labels(tmp_path: Path) -> None:
    files = {name: str(make_data(tmp_path) / f"{name}.json{'l' * (name == 'chat')}") for name in ("chat", "tokenizer")}
    data = ChatDataModule(chat_input=files["chat"], tokenizer=files["tokenizer"], work_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    decoder = Decoder(DecoderConfig(vocab_size=data.chat_tokenizer.vocab_size))

    def step(cu_seqlens: Tensor | None, supervised: Tensor | None) -> Counter[str]:
        waits: Counter[str] = Counter()  # operations whose result has a size that the host would have to wait for

        def see(name: str, args: Any) -> None:
            waits.update({name} & {"aten::nonzero", "aten::masked_select", "aten::_unique2"})

        with Watch(see), torch.autocast("cpu", torch.bfloat16):
            hidden = decoder(batch.input_ids, batch.position_ids, batch.document_ids, cu_seqlens)
            supervised_nll(decoder, hidden, batch.labels, supervised=supervised).sum().backward()
        return waits

    assert step(None, None) == {"aten::nonzero": 2}  # or the next line would show nothing
    assert step(batch.cu_seqlens, batch.supervised) == {}


def test_where_documents_begin_is_found_without_the_batchs_help() -> None:
    documents = torch.tensor([[1, 1, 1, 2, 2, 0], [1, 1, 2, 2, 2, 2]], dtype=torch.int32)
    attend = isolate(documents, "varlen")
    assert isinstance(attend, VarlenAttention)
    assert attend.cu_seqlens.tolist() == [0, 3, 5, 6, 8, 12]
    assert attend.cu_seqlens.dtype == torch.int32
