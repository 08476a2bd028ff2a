"""Folders that transformers wrote, in every family and form: the same numbers, and back again without a difference."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_rows import chat_row, write_jsonl
from test_turns import make
from tiny_model import TOKENIZER
from torch import Tensor

from picochat.cli import main
from picochat.errors import UserError
from picochat.model.checkpoint import check_tokenizer, load_checkpoint, save_checkpoint
from picochat.model.config import find_model, read_config
from picochat.model.engine import Decoding
from picochat.model.generation import decode
from picochat.model.inference import Weights

SIZE = {
    "vocab_size": 264,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,  # scores that differ
    "bos_token_id": 0,
    "eos_token_id": 5,
    "pad_token_id": 1,
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 4.0}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3", {"head_dim": 10}),
    "qwen3-yarn": ("Qwen3", {"head_dim": 8, "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, **YARN}}),
    "qwen2-tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "llama": ("Llama", {"rms_norm_eps": 1e-5, "num_key_value_heads": 4}),
    "llama3": ("Llama", {"head_dim": 12, "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "smollm3": ("SmolLM3", {"no_rope_layers": [1, 0, 1]}),
    "smollm3-interval": ("SmolLM3", {"no_rope_layer_interval": 3, "tie_word_embeddings": False}),
}


def write(folder: Path, form: str) -> Any:
    import transformers

    family, settings = FORMS[form]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**SIZE, **settings})
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("norm.weight", ".bias")):  # else 1 and 0, which would hide that one is left out
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    model.save_pretrained(folder, max_shard_size="60KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return model.eval()


def ids(*shape: int) -> Tensor:
    return torch.randint(6, 264, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_of_transformers_has_its_logits_tokens_and_gradients_and_is_written_back(
    form: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    theirs = write(tmp_path / "theirs", form)
    loaded = load_checkpoint(tmp_path / "theirs")
    decoder = loaded.decoder
    assert loaded.provenance == {}
    check_tokenizer(tmp_path / "theirs", TOKENIZER)  # without a tokenizer of its own, any that fits is taken
    assert decoder.config.num_parameters == theirs.num_parameters() == sum(p.numel() for p in decoder.parameters())
    input_ids = ids(2, 120)
    with torch.no_grad():
        logits = theirs(input_ids).logits
        assert (decoder.logits(decoder(input_ids)) - logits).abs().max() <= 1e-5 * max(1.0, float(logits.abs().max()))

    save_checkpoint(tmp_path / "ours", decoder, TOKENIZER, {})
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(again) is type(theirs)
    with torch.no_grad():
        assert torch.equal(again(input_ids).logits, logits)
    assert read_config(tmp_path / "ours") == decoder.config

    theirs.generation_config.eos_token_id = None  # neither side ends
    prompts = [ids(1, 9)[0].tolist(), ids(2, 30)[1].tolist()]
    steps = [made for _, made in decode(Weights(decoder), prompts, [0, 1], Decoding(max_new_tokens=64), [])]
    for prompt, own in zip(prompts, torch.stack(steps, 1).tolist(), strict=True):
        read = torch.tensor([prompt])
        settings = {"do_sample": False, "max_new_tokens": 64, "pad_token_id": 1}
        expected = theirs.generate(read, attention_mask=torch.ones_like(read), **settings)[0, len(prompt) :].tolist()
        assert own == expected and len(own) == 64

    # packed rows against the documents alone
    one, other = ids(1, 20), ids(2, 12)[1:]
    positions = torch.cat([torch.arange(20), torch.arange(12)])[None]
    documents = torch.tensor([[1] * 20 + [2] * 12])
    decoder.train().logits(decoder(torch.cat([one, other], 1), positions, documents)).square().mean().backward()
    scores = torch.cat([theirs(document).logits for document in (one, other)], 1)
    scores.square().mean().backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None
        scale = float(gradients[name].grad.abs().max())
        assert (parameter.grad - gradients[name].grad).abs().max() <= 3e-5 * scale, name


@pytest.mark.parametrize(
    ("form", "changes", "said"),
    [
        ("llama", {"mlp_bias": True}, "mlp_bias is true"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, 'rope_type is "dynamic"'),
        ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}, "of the rope_type llama3 is null"),
        ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope_type is|partial_rotary_factor"),
        ("mistral", {"sliding_window": 64}, "sliding_window is 64; picochat computes full attention only"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers needs"),
        ("smollm3", {"no_rope_layers": None, "num_hidden_layers": 10**12}, "no_rope_layers needs"),
    ],
)
def test_what_the_decoder_does_not_compute_is_refused_by_name(
    form: str, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write(tmp_path, form)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, **changes}))
    with pytest.raises(UserError, match=said):
        read_config(tmp_path)


def test_what_an_older_writer_left_out_means_what_it_means_to_transformers(tmp_path: Path) -> None:
    write(tmp_path, "llama3")
    content = json.loads((tmp_path / "config.json").read_text())
    named = read_config(tmp_path)
    rope = content.pop("rope_parameters")
    content["rope_theta"] = rope.pop("rope_theta")
    content["rope_scaling"] = {"type": rope.pop("rope_type"), **rope}
    content["sliding_window"] = 8  # of no meaning to a Llama
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_config(tmp_path) == named


@pytest.mark.parametrize("trained", [{}, {"original_max_position_embeddings": 16}], ids=["", "of the model"])
def test_a_scaling_that_was_added_to_a_folder_means_what_it_means_to_transformers(
    trained: dict[str, int], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    write(tmp_path, "llama")
    content = json.loads((tmp_path / "config.json").read_text())
    added = {"rope_scaling": {"type": "yarn", **YARN}, "rope_theta": 500.0, **trained}
    assert content["rope_parameters"]["rope_type"] == "default"
    (tmp_path / "config.json").write_text(json.dumps({**content, **added}))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).config.rope_parameters
    ours = read_config(tmp_path)
    assert {"rope_theta": ours.rope_theta, **(ours.rope_scaling or {})} == {k: theirs[k] for k in theirs if k != "type"}


def test_a_hub_that_breaks_off_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(*_: str) -> None:
        raise RuntimeError  # neither an OSError nor with words, as some of the client's

    monkeypatch.setattr(pytest.importorskip("huggingface_hub"), "hf_hub_download", breaks_off)
    with pytest.raises(UserError, match="no folder owner/name, and the hub does not give it: RuntimeError"):
        find_model("owner/name")


def test_what_comes_in_goes_out_of_a_run(tmp_path: Path) -> None:
    """Of a bfloat16 folder with more rows than tokens, its own template and settings of generation."""
    import transformers

    theirs = tmp_path / "theirs"
    config = transformers.Qwen3Config(**{**SIZE, "vocab_size": 300, "max_position_embeddings": 4096}, head_dim=8)
    transformers.Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(theirs)
    make("Qwen3").save(theirs)
    settings = json.loads((theirs / "tokenizer_config.json").read_text())
    (theirs / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 4096}))
    (theirs / "special_tokens_map.json").write_text('{"eos_token": "<|im_end|>"}')
    (theirs / "generation_config.json").write_text('{"eos_token_id": [257, 7], "temperature": 0.6, "do_sample": true}')
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat_row("skills", number, 5) for number in range(40)])
    words = (
        f"train sft --input {rows} --checkpoint {theirs} --batch-size 1 --steps 2 --device cpu --out-dir {tmp_path}/run"
    )
    main([*words.split(), "--precision", "float32"])

    ours = tmp_path / "run" / "last_checkpoint"
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    generation = json.loads((ours / "generation_config.json").read_text())
    assert (generation["temperature"], generation["do_sample"]) == (0.6, True)
    assert {257, 7} <= {*generation["eos_token_id"]}
    written = json.loads((ours / "config.json").read_text())
    assert (written["vocab_size"], written["dtype"], written["max_position_embeddings"]) == (300, "bfloat16", 4096)
    assert "context_length: 1024" in (tmp_path / "run" / "config.yaml").read_text()
    main(["export", "--checkpoint", f"{tmp_path}/run/last.ckpt", "--out-dir", f"{tmp_path}/whole"])
    for file in ours.iterdir():  # all the same, but for what picochat.json says of where it comes from
        assert file.name == "picochat.json" or file.read_bytes() == (tmp_path / "whole" / file.name).read_bytes()
    decoder = load_checkpoint(ours, dtype=torch.float32).decoder
    again = transformers.AutoModelForCausalLM.from_pretrained(ours, dtype=torch.float32).eval()
    with torch.no_grad():
        assert (again(ids(1, 9)).logits - decoder.logits(decoder(ids(1, 9)))).abs().max() <= 1e-5
