"""Model folders: bit-exact round trips, transformers on both ends, one sentence for everything that does not fit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import TINY, TOKENIZER

from picochat import __version__
from picochat.model.checkpoint import load_checkpoint, save_checkpoint
from picochat.model.config import DecoderConfig, read_config
from picochat.model.decoder import Decoder

CONFIG = replace(TINY, rope_theta=5000.0)
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


def test_one_file_of_weights_goes_before_an_index_that_an_older_writer_left(folder: Folder) -> None:
    path = folder()
    (path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"model.norm.weight": "model-00001.safetensors"}}'
    )
    assert load_checkpoint(path).decoder.config == CONFIG
