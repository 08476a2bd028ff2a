"""The Lightning adapter: what it takes from the device, the data and the checkpoint, and compilation as a setting."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from exact_run import Run, fit, losses, make_data
from tiny_model import TOKENIZER

from picochat.errors import UserError
from picochat.model.checkpoint import save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder
from picochat.model.loss import LaneLoss
from picochat.model.module import ChatModule

SIZE: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 4}


def beside(module: ChatModule, context_length: int = 128, device: str = "cpu") -> ChatModule:
    """The module with a trainer that only has data and a device."""
    data = SimpleNamespace(
        chat_tokenizer=TOKENIZER, context_length=context_length, lanes=["add", "spell"], val_names=["val"]
    )
    strategy = SimpleNamespace(root_device=torch.device(device))
    module._trainer = cast(Any, SimpleNamespace(datamodule=data, strategy=strategy))
    return module


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.float64), ("mps", torch.float32)])
def test_validation_sums_have_a_format_that_the_device_knows(device: str, dtype: torch.dtype) -> None:
    module = beside(ChatModule(), device=device)
    module.setup("fit")
    module.bfloat16()  # as `precision: bf16-true` does
    metric = cast(LaneLoss, module.lane_losses[0].to(torch.bfloat16))
    metric.update(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0, 0, 1], dtype=torch.int16))
    assert metric.nll.dtype == metric.tokens.dtype == dtype
    assert {name: float(value) for name, value in metric.compute().items()} == {
        "loss": 3.0,
        "loss/add": 1.5,
        "loss/spell": 6.0,
    }


def test_a_fresh_model_has_the_datas_vocabulary_and_context() -> None:
    module = beside(ChatModule(DecoderConfig(**SIZE)))
    module.configure_model()
    assert (module.decoder.config.vocab_size, module.decoder.config.max_position_embeddings) == (264, 128)


def test_a_checkpoint_keeps_its_size_and_grows_to_the_datas_context(tmp_path: Path) -> None:
    config = DecoderConfig(vocab_size=264, max_position_embeddings=64, **SIZE)
    save_checkpoint(tmp_path / "base", Decoder(config).bfloat16(), TOKENIZER, {})
    for context, expected in ((128, 128), (32, 64)):
        module = beside(ChatModule(checkpoint=str(tmp_path / "base")), context)
        module.configure_model()
        assert module.decoder.config.max_position_embeddings == expected
        assert {p.dtype for p in module.decoder.parameters()} == {torch.float32}  # master weights
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    for field, asked in (("hidden_size", 32), ("rope_theta", 500.0), ("rms_norm_eps", 1e-5), ("rope_scaling", yarn)):
        with pytest.raises(UserError, match=rf"model\.decoder\.{field} is .*, but .* has .*; leave model\.decoder out"):
            beside(ChatModule(replace(config, **{field: asked}), str(tmp_path / "base"))).configure_model()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # inductor's own use
@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # lightning's advice on machines with many cores
def test_a_compiled_run_has_the_losses_of_an_eager_one_and_says_what_the_start_cost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = str(make_data(tmp_path / "data"))
    caplog.set_level("INFO")
    found = {}
    for compiled in (False, True):
        root = tmp_path / f"run{compiled}"
        fit(Run(str(root), data, steps=4, learning_rate=0.001, compile=compiled))
        found[compiled] = losses(root)
    assert len(found[True]) == 4 and found[True] == pytest.approx(found[False], rel=1e-4)
    assert [r.getMessage() for r in caplog.records if "model.compile: the first batch came" in r.getMessage()]
