"""Model folders: bit-exact round trips, transformers on both ends, one sentence for everything that does not fit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from picochat import __version__
from picochat.errors import UserError
from picochat.files import sha256_file
from picochat.model.checkpoint import check_tokenizer, load_checkpoint, save_checkpoint
from picochat.model.config import DecoderConfig, read_config
from picochat.model.decoder import Decoder
from picochat.model.vocabulary import train_tokenizer

TOKENIZER = train_tokenizer(["a cat and a dog and a cat "] * 9, 264)
CONFIG = DecoderConfig(
    vocab_size=264,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    max_position_embeddings=96,
    rope_theta=5000.0,
    initializer_range=0.5,
)
Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    def make(config: DecoderConfig = CONFIG, dtype: torch.dtype = torch.float32, name: str = "model") -> Path:
        torch.manual_seed(0)
        save_checkpoint(tmp_path / name, Decoder(config).to(dtype), TOKENIZER, {"parent": None, "global_step": 7})
        return tmp_path / name

    return make


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_round_trip_is_bit_exact(folder: Folder, tied: bool, dtype: torch.dtype) -> None:
    config = replace(CONFIG, tie_word_embeddings=tied)
    path = folder(config, dtype)
    torch.manual_seed(0)
    saved = Decoder(config).to(dtype).state_dict()
    loaded = load_checkpoint(path)
    assert loaded.decoder.config == read_config(path) == config
    for name, tensor in loaded.decoder.state_dict().items():
        assert tensor.dtype == dtype and torch.equal(tensor, saved[name])
    assert (loaded.decoder.lm_head.weight is loaded.decoder.model.embed_tokens.weight) == tied
    assert loaded.tokenizer.fingerprint == TOKENIZER.fingerprint
    assert loaded.provenance == {
        "parent": None,
        "global_step": 7,
        "picochat_version": __version__,
        "tokenizer_sha256": TOKENIZER.fingerprint,
    }


def test_the_folder_holds_what_hugging_face_tools_expect_and_replaces_an_older_one(folder: Folder) -> None:
    folder(replace(CONFIG, num_hidden_layers=1))
    path = folder()
    assert sorted(file.name for file in path.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "picochat.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert [entry.name for entry in path.parent.iterdir()] == ["model"]  # nothing temporary is left
    assert read_config(path).num_hidden_layers == 2
    ends = json.loads((path / "generation_config.json").read_text())
    assert ends == {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": [5, 0, 1, 2, 3, 4]}


def test_loading_draws_no_random_numbers_and_outlives_the_files(folder: Folder) -> None:
    path = folder()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    decoder = load_checkpoint(path, dtype=torch.bfloat16).decoder
    assert torch.equal(torch.get_rng_state(), before)
    assert decoder.lm_head.weight.dtype == torch.bfloat16
    kept = decoder.lm_head.weight.clone()
    (path / "model.safetensors").write_bytes(b"")
    assert torch.equal(decoder.lm_head.weight, kept)


def test_a_failed_save_leaves_the_older_folder(folder: Folder) -> None:
    path = folder()
    before = sha256_file(path / "model.safetensors")
    with pytest.raises(TypeError):
        save_checkpoint(path, Decoder(CONFIG), TOKENIZER, {"not": object()})
    assert sha256_file(path / "model.safetensors") == before
    assert [entry.name for entry in path.parent.iterdir()] == ["model"]


def test_a_sharded_untied_bfloat16_folder_of_transformers_is_a_checkpoint(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        **{name: getattr(CONFIG, name) for name in DecoderConfig.__dataclass_fields__.keys() - {"rope_theta"}},
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
    )
    config.tie_word_embeddings = False
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    loaded = load_checkpoint(tmp_path)
    assert loaded.provenance == {}
    assert {p.dtype for p in loaded.decoder.parameters()} == {torch.bfloat16}
    check_tokenizer(tmp_path, TOKENIZER)  # without a tokenizer of its own, any that fits is taken
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    decoder = loaded.decoder.float()
    input_ids = torch.randint(264, (2, 30))
    with torch.no_grad():
        assert (theirs(input_ids).logits - decoder.logits(decoder(input_ids))).abs().max() <= 1e-4


def test_rope_theta_is_found_where_older_writers_put_it(folder: Folder) -> None:
    path = folder()
    edit(path, lambda found: found.pop("rope_parameters"))
    assert read_config(path).rope_theta == 5000.0


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads((path / "config.json").read_text())
    change(found)
    (path / "config.json").write_text(json.dumps(found))


def test_another_tokenizer_is_refused_with_both_fingerprints(folder: Folder) -> None:
    path = folder()
    check_tokenizer(path, TOKENIZER)
    other = train_tokenizer(["other words in other places "] * 9, 264)
    with pytest.raises(UserError) as caught:
        check_tokenizer(path, other)
    for part in (TOKENIZER.fingerprint[:12], other.fingerprint[:12], f"--tokenizer {path}/tokenizer.json"):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="knows 264 tokens and the tokenizer has 266"):
        check_tokenizer(path, train_tokenizer(["other words in other places "] * 9, 266))
