"""Model folders that are broken in one way each, through `eval chat`: config, tokenizer, weights, provenance."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import Refused
from safetensors.torch import load_file, save_file
from small_rows import small_model

DEEP = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NORM = "model.norm.weight"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def model(whole: Path, tmp_path: Path, refused: Refused) -> Path:
    """A copy of a good model folder in the folder that the test stands in."""
    shutil.copytree(whole, tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text('{"answer": "4", "messages": [{"role": "user", "content": "2 + 2?"}]}\n')
    return tmp_path / "model"


EVAL = ["eval", "chat", "--input", "rows.jsonl", "--checkpoint", "model", "--out-dir", "out", "--device", "cpu"]

BYTES: dict[str, dict[str, tuple[bytes, str]]] = {  # file → name → (content, words); JSON's own faults: test_bad_rows
    "config.json": {
        "cut short": (b'{"model_type":\n', "config.json:2: is not JSON"),
        "a list": (b"[]", "config.json: holds a list; an object is expected"),
        "without an end": (b" " * (2**26 + 1), "config.json: has 67,108,865 bytes; 67,108,864 are allowed"),
        "nothing said": (b"{}", "holds a model of type unknown"),
        "no sizes": (b'{"model_type": "qwen3"}', "config.json: does not say hidden_size, .*, vocab_size"),
    },
    "tokenizer.json": {
        "cut short": (b"{", "tokenizer.json is not a tokenizer.json"),
        "Latin-1": (b"\xe9", "tokenizer.json is not UTF-8"),
        "deep": (DEEP, "tokenizer.json is not a tokenizer.json"),
    },
    "picochat.json": {
        "a list": (b"[]", "picochat.json: holds a list"),
        "another tokenizer": (b'{"tokenizer_sha256": "0123456789abcdef"}', "another tokenizer: sha256 0123456789ab"),
    },
    "model.safetensors": {
        "empty": (b"", "model.safetensors is damaged or not a safetensors file"),
        "a header without end": (struct.pack("<Q", 2**63) + b"{}", "model.safetensors is damaged"),
        "no weights": (struct.pack("<Q", 2) + b"{}", "lacks the weight model.layers.0"),
        "a pickle": (b"\x80\x04K\x01.", "model.safetensors is damaged"),
    },
    "model.safetensors.index.json": {
        "no map": (b"{}", "index.json has no weight_map"),
        "no files": (b'{"weight_map": {}}', "lacks the weight model.layers.0"),
        "a path out": (b'{"weight_map": {"a": "../../../../etc/passwd"}}', "has no passwd; picochat reads weights"),
        "an absolute path": (b'{"weight_map": {"a": "/etc/passwd"}}', "has no passwd; picochat reads weights"),
    },
}


@pytest.mark.parametrize(("file", "case"), [(file, case) for file, cases in BYTES.items() for case in cases])
def test_a_damaged_file_of_a_model_folder_is_refused(file: str, case: str, model: Path, refused: Refused) -> None:
    content, says = BYTES[file][case]
    (model / file).write_bytes(content)
    if file.endswith("index.json"):
        (model / "model.safetensors").unlink()
    refused(*EVAL, says=says)


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "another architecture": (
        {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]},
        "holds a model of type gemma3_text; picochat reads qwen3, qwen2, llama",
    ),
    "a layer more": ({"num_hidden_layers": 2}, r"lacks the weight model\.layers\.1\."),
    "biases": ({"attention_bias": True}, "attention_bias is true; picochat computes false only"),
    "below zero": ({"hidden_size": -1}, "config.json: hidden_size is -1; it must be above 0"),
    "null": ({"hidden_size": None}, "config.json: does not say hidden_size"),
    "a million layers": ({"num_hidden_layers": 10**6}, "lacks the weight model.layers.1.input_layernorm"),
    "heads that do not divide": ({"num_key_value_heads": 3}, "num_key_value_heads 3 does not divide"),
    "an odd head": ({"head_dim": 15}, "head_dim is 15; .* must be even"),
    "theta zero": ({"rope_parameters": {"rope_theta": 0}}, "rope_theta is 0"),
    "rope a list": ({"rope_parameters": []}, "rope_parameters: is .*; use a mapping"),
    "a stretched default": (
        {"rope_scaling": {"rope_type": "default", "factor": 2.0}},
        'rope_type is "default"; picochat computes llama3, yarn and, without more numbers, default',
    ),
    "another rope": ({"rope_parameters": {"rope_type": "longrope"}}, 'rope_type is "longrope"'),
    "tied a string": ({"tie_word_embeddings": "no"}, "tie_word_embeddings: is 'no'; use true or false"),
    "untied": ({"tie_word_embeddings": False}, "lacks the weight lm_head.weight"),
    "quantised": ({"quantization_config": {"bits": 4}}, "quantization_config is"),
    "sliding windows": ({"use_sliding_window": True}, "use_sliding_window is true"),
    "layer types a number": ({"layer_types": 1}, "layer_types is 1; picochat computes full attention only"),
    "another activation": ({"hidden_act": "gelu"}, "hidden_act is"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_is_not_the_weights_is_refused(case: str, model: Path, refused: Refused) -> None:
    change, says = CONFIGS[case]
    edit(model / "config.json", lambda found: found.update(change))
    refused(*EVAL, says=says)


def added(**change: Any) -> Change:
    return lambda found: [token.update(change) for token in found["added_tokens"]]


NO_END = "ends a reply without a control token|has no chat template"
TOKENIZERS: dict[str, tuple[Change, str]] = {
    "no model": (lambda found: found.update(model=None), "is not a tokenizer.json"),
    "no control tokens": (lambda found: found.update(added_tokens=[]), NO_END),
    "control tokens that are not special": (added(special=False), NO_END),
    "no decoder": (lambda found: found.update(decoder=None), "comes back as"),
    "lower case": (lambda found: found.update(normalizer={"type": "Lowercase"}), "comes back as"),
    "dropout": (lambda found: found["model"].update(dropout=0.5), "model.dropout makes the same text other tokens"),
    "a merge of nothing": (lambda found: found["model"].update(merges=[["zz", "qq"]]), "is not a tokenizer.json"),
    "one token more": (lambda found: found["model"]["vocab"].update(zz=270), "knows 270 tokens and the tokenizer has"),
    "an id far away": (lambda found: found["model"]["vocab"].update(zz=4_000_000_000), "they must have no gaps"),
    "a broken pattern": (
        lambda found: found["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "("}),
        "is not a tokenizer.json",
    ),
    "one merge less": (lambda found: found["model"]["merges"].pop(), "another tokenizer"),
}


@pytest.mark.parametrize("case", TOKENIZERS)
def test_a_foreign_tokenizer_is_refused(case: str, model: Path, refused: Refused) -> None:
    change, says = TOKENIZERS[case]
    good = (model / "tokenizer.json").read_bytes()
    edit(model / "tokenizer.json", change)
    refused(*EVAL, says=says)
    (model / "tokenizer.json").rename("given.json")
    (model / "tokenizer.json").write_bytes(good)
    refused(*EVAL, "--tokenizer", "given.json", says=says)


HEADERS: dict[str, tuple[Change, str]] = {
    "another shape": (lambda header: header[NORM].update(shape=[8, 2]), r"norm.weight has the shape \(8, 2\)"),
    "a shape beyond counting": (lambda header: header[NORM].update(shape=[2**32, 2**32]), "is damaged"),
    "whole numbers": (lambda header: header[NORM].update(dtype="I32"), "norm.weight is made of int32"),
    "beyond the end": (lambda header: header[NORM].update(data_offsets=[10**9, 10**9 + 64]), "is damaged"),
    "another name": (lambda header: header.update({"evil": header.pop(NORM)}), "lacks the weight model.norm.weight"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_weights_whose_header_lies_are_refused(case: str, model: Path, refused: Refused) -> None:
    change, says = HEADERS[case]
    content = (model / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    changed = json.dumps(header).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])
    refused(*EVAL, says=says)


@pytest.mark.parametrize("share", [0.1, 0.999])
def test_weights_cut_short_are_refused(share: float, model: Path, refused: Refused) -> None:
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[: int(len(content) * share)])
    refused(*EVAL, says="model.safetensors is damaged")


STATES: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "NaN": (lambda state: state[NORM].fill_(torch.nan), "norm.weight holds NaN or infinity; take an earlier"),
    "one more": (lambda state: state.update(evil=torch.zeros(3)), "holds the weight evil"),
    "no layer": (lambda state: state.pop("model.layers.0.input_layernorm.weight"), "lacks the weight model.layers.0"),
}


@pytest.mark.parametrize("case", STATES)
def test_weights_that_are_not_the_model_s_are_refused(case: str, model: Path, refused: Refused) -> None:
    change, says = STATES[case]
    state = load_file(model / "model.safetensors")
    change(state)
    save_file(state, model / "model.safetensors")
    refused(*EVAL, says=says)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_files_and_folders_in_their_place_are_refused(file: str, model: Path, refused: Refused) -> None:
    (model / file).unlink()
    refused(*EVAL, says=file)
    (model / file).mkdir()
    refused(*EVAL, says=file)


def edit(file: Path, change: Change) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    change(found)
    file.write_text(json.dumps(found), encoding="utf-8")
