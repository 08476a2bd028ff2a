"""LoRA: the low-rank matrices alone learn, merged weights are the same model, and peft shares our folders."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from small_rows import chat_row, write_jsonl
from tiny_model import TOKENIZER
from torch import Tensor

from picochat.cli import main
from picochat.errors import UserError
from picochat.model.checkpoint import export_checkpoint, load_checkpoint, save_checkpoint
from picochat.model.config import DecoderConfig
from picochat.model.decoder import Decoder, add_lora
from picochat.model.engine import Decoding
from picochat.model.generation import generate
from picochat.model.sizes import Setup, memory

CONFIG = DecoderConfig(264, 32, 48, 2, 4, 2, 8, 128, initializer_range=0.3, model_type="qwen2")
IDS = torch.randint(264, (2, 30), generator=torch.Generator().manual_seed(1))
needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft: picochat[interop]")


def logits(decoder: Decoder) -> Tensor:
    with torch.no_grad():
        return decoder.logits(decoder(IDS))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "base", Decoder(CONFIG), TOKENIZER, {})
    return tmp_path / "base"


def adapted(base: Path) -> Decoder:
    """A decoder whose low-rank matrices are no longer zero."""
    decoder = load_checkpoint(base).decoder
    add_lora(decoder, rank=4, alpha=8)
    for name, parameter in decoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.3)
    return decoder


def test_training_starts_from_the_base_exactly_and_moves_the_thin_matrices_alone(base: Path) -> None:
    decoder = load_checkpoint(base).decoder
    before = logits(decoder)
    add_lora(decoder, rank=4, alpha=8)
    assert torch.equal(logits(decoder), before)
    decoder.logits(decoder(IDS)).square().mean().backward()
    trained = {name for name, parameter in decoder.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, parameter in decoder.named_parameters() if "lora_" in name}
    assert len(trained) == 2 * 2 * 7  # both matrices of seven projections in two blocks
    # beside q 32 × 32, k and v 16 × 32, o, gate, up and down 48 × 32
    size = 4 * (64 + 2 * 48 + 64 + 3 * 80)
    assert sum(p.numel() for p in decoder.parameters() if p.requires_grad) == 2 * size
    planned = memory(CONFIG, Setup(1, 30, lora_rank=4))
    assert planned["gradients"] == 4 * 2 * size and planned["weights"] == 4 * (CONFIG.num_parameters + 2 * size)


def test_merged_logits_and_replies_are_those_of_the_adapter(base: Path, tmp_path: Path) -> None:
    decoder = adapted(base)
    save_checkpoint(tmp_path / "adapter", decoder, TOKENIZER, {"parent": str(base)})
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {
        file.name for file in (tmp_path / "adapter").iterdir()
    }
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    merged = load_checkpoint(tmp_path / "adapter").decoder
    assert (logits(decoder) - logits(load_checkpoint(base).decoder)).abs().max() > 0.1  # it says something else
    assert (logits(merged) - logits(decoder)).abs().max() <= 1e-4
    prompts = [[5, 6, 7], [8, 9]]
    replies = [generate(model, TOKENIZER, prompts, Decoding(max_new_tokens=30)) for model in (decoder, merged)]
    assert replies[0] == replies[1]
    main(["export", "--checkpoint", str(tmp_path / "adapter"), "--out-dir", str(tmp_path / "whole")])
    assert torch.equal(logits(load_checkpoint(tmp_path / "whole").decoder), logits(merged))
    with pytest.raises(UserError, match="base is the adapter itself, or its base"):  # it would be merged twice
        export_checkpoint(tmp_path / "adapter", base)


@needs_peft
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's use
def test_peft_reads_our_adapter_and_we_read_that_of_peft(base: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    decoder = adapted(base)
    save_checkpoint(tmp_path / "ours", decoder, TOKENIZER, {"parent": str(base)})
    whole = AutoModelForCausalLM.from_pretrained(base)
    theirs = peft.PeftModel.from_pretrained(whole, tmp_path / "ours").eval()
    with torch.no_grad():
        assert (theirs(IDS).logits - logits(decoder)).abs().max() <= 1e-4

    settings = peft.LoraConfig(r=3, lora_alpha=9, target_modules=["q_proj", "down_proj"])
    other = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    for name, parameter in other.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.3)
    other.save_pretrained(tmp_path / "theirs")
    assert not (tmp_path / "theirs" / "config.json").exists()
    loaded = load_checkpoint(tmp_path / "theirs")
    assert loaded.tokenizer.fingerprint == TOKENIZER.fingerprint  # of the base
    with torch.no_grad():
        assert (other.eval()(IDS).logits - logits(loaded.decoder)).abs().max() <= 1e-4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "IA3"}, "picochat reads plain LoRA only, not IA3"),
        ({"use_rslora": True}, "not use_rslora"),
        ({"alora_invocation_tokens": [5]}, "not alora_invocation_tokens"),
        ({"init_lora_weights": "pissa"}, "not init_lora_weights"),
        ({"base_model_name_or_path": "nowhere"}, "its base model nowhere is not here"),
        ({"r": None}, "does not say r and lora_alpha"),
    ],
)
def test_other_adapters_are_refused_by_name(base: Path, tmp_path: Path, change: dict[str, object], said: str) -> None:
    save_checkpoint(tmp_path / "adapter", adapted(base), TOKENIZER, {"parent": str(base)})
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(UserError, match=said):
        load_checkpoint(tmp_path / "adapter")


def test_a_run_with_lora_leaves_an_adapter_resumes_exactly_and_exports_merged(base: Path, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat_row("skills", number, 5) for number in range(40)])
    words = (
        f"train sft --input {rows} --checkpoint {base} --batch-size 2 --learning-rate 0.01 --lora-rank 4 --device cpu"
    )
    run = [*words.split(), "--precision", "float32", "--save-every", "2", "--lr-decay", "none"]
    main([*run, "--out-dir", str(tmp_path / "straight"), "--steps", "4"])
    best = load_checkpoint(tmp_path / "straight" / "last_checkpoint")
    base_state, state = load_checkpoint(base).decoder.state_dict(), best.decoder.state_dict()
    changed = {name for name in state if not torch.equal(state[name], base_state[name])}
    assert changed == {name for name in state if "proj.weight" in name}

    main([*run, "--out-dir", str(tmp_path / "cut"), "--steps", "2"])
    main(
        [*run, "--out-dir", str(tmp_path / "cut"), "--steps", "4", "--resume-from", str(tmp_path / "cut" / "last.ckpt")]
    )
    files = [tmp_path / name / "last_checkpoint" / "adapter_model.safetensors" for name in ("straight", "cut")]
    assert (tmp_path / "straight" / "last_checkpoint" / "config.json").is_file()
    main(["export", "--checkpoint", str(tmp_path / "straight" / "last.ckpt"), "--out-dir", str(tmp_path / "whole")])
    exported = load_checkpoint(tmp_path / "whole").decoder.state_dict()
    assert all(torch.equal(exported[name], state[name]) for name in state)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_lora_needs_something_to_adapt_and_a_rank() -> None:
    from picochat.model.module import ChatModule

    with pytest.raises(UserError, match=r"lora_rank is 4; it needs .* a model\.checkpoint"):
        ChatModule(lora_rank=4)
    for alpha, rank in ((8.0, None), (0.0, 4)):
        with pytest.raises(
            UserError, match=rf"lora_alpha is {alpha}; it needs a number above 0 and a model\.lora_rank"
        ):
            ChatModule(checkpoint="model", lora_rank=rank, lora_alpha=alpha)
