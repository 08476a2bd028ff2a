"""What Hugging Face's own tools do with our folders, and we with a hub: real commands against a hub on this machine."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from loopback_hub import REVISION, LoopbackHub, loopback_hub
from small_rows import SIZE, small_model, small_tokenizer
from tokenizers import Regex, Tokenizer, pre_tokenizers

from picochat.model.checkpoint import save_checkpoint
from picochat.model.decoder import Decoder
from picochat.model.engine import Decoding
from picochat.model.generation import generate
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.turns import SPECIAL_TOKENS
from picochat.packs import build_task_pack
from picochat.packs.stories import story

pytestmark = pytest.mark.slow
CONVERTER = Path(os.environ.get("LLAMA_CPP", "none"), "convert_hf_to_gguf.py")
SHARDS = [[f"shard {shard} text {row}" for row in range(4)] for shard in range(3)]


def run(hub: LoopbackHub, home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "HF_TOKEN": "hf_none", "HF_HUB_OFFLINE": "0"}
    patience = {"HF_HUB_ETAG_TIMEOUT": "600", "HF_HUB_DOWNLOAD_TIMEOUT": "600"}  # of 10 s, on a busy machine
    environment = {**os.environ, **settings, **patience, "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=home, env=environment)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "tiny", replace(SIZE, num_hidden_layers=2))


def test_a_corpus_is_streamed_from_a_hub_shard_by_shard(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    (snapshot / "data").mkdir(parents=True)
    for number, texts in enumerate(SHARDS):
        table = pyarrow.table({"text": texts})
        pyarrow.parquet.write_table(table, snapshot / "data" / f"train-0000{number}-of-00003.parquet")
    words = ["data", "import", "--source", "hub:owner/name", "--shards", "2", "--max-rows", "7", "--out-dir", "out"]
    with loopback_hub(snapshot) as hub:
        done = run(hub, tmp_path, sys.executable, "-m", "picochat", *words)
        assert done.returncode == 0, done.stderr
        assert "wrote out/corpus.jsonl: 7 documents from hub:owner/name" in done.stdout
        read = {path.rpartition("/")[2] for method, path in hub.asked if method == "GET" and path.endswith(".parquet")}
        assert read == {"train-00000-of-00003.parquet", "train-00001-of-00003.parquet"}
    texts = [json.loads(line)["text"] for line in (tmp_path / "out" / "corpus.jsonl").read_text().splitlines()]
    assert texts == (SHARDS[0] + SHARDS[1])[:7]
    provenance = json.loads((tmp_path / "out" / "dataset_pack.json").read_text())["provenance"]
    assert provenance["sources"] == [{"source": "hub:owner/name", "revision": REVISION, "shards": 2}]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["corpus.jsonl", "dataset_pack.json"]


def test_a_model_of_the_hub_is_named_like_a_folder_and_judged_before_it_is_fetched(model: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    shutil.copytree(model, served)
    (served / "pytorch_model.bin").write_bytes(b"a pickle")
    words = ["generate", "--prompt", "a", "--max-new-tokens", "3", "--device", "cpu", "--checkpoint"]
    here = subprocess.run([sys.executable, "-m", "picochat", *words, str(model)], capture_output=True, text=True)
    with loopback_hub(served) as hub:
        done = run(hub, tmp_path, sys.executable, "-m", "picochat", *words, "owner/model")
        assert (done.returncode, done.stdout) == (0, here.stdout), done.stderr
        assert not any("pytorch_model" in path for _, path in hub.asked)
        hub.asked.clear()
        config = json.loads((served / "config.json").read_text())
        (served / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
        done = run(hub, tmp_path / "other", sys.executable, "-m", "picochat", *words, "owner/model")
        assert done.returncode == 2 and "holds a model of type gpt2" in done.stderr, done.stderr
        assert not any("safetensors" in path for _, path in hub.asked)
        done = run(hub, tmp_path, sys.executable, "-m", "picochat", *words, "owner/missing")
        missing = "picochat: error: there is no folder owner/missing, and the hub does not give it: "
        assert done.returncode == 2 and missing in done.stderr, done.stderr


def test_hugging_faces_own_command_pushes_a_checkpoint_whole(model: Path, tmp_path: Path) -> None:
    with loopback_hub(tmp_path) as hub:
        command = Path(sys.executable).with_name("hf")
        done = run(hub, tmp_path, str(command), "upload", "me/tiny", str(model))
        assert done.returncode == 0, done.stderr
        assert hub.pushed == {path.name: path.read_bytes() for path in model.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= hub.pushed.keys()


@pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs gguf: pip install 'picochat[interop]'")
def test_llama_cpps_tables_know_every_weight_and_control_token(model: Path) -> None:
    """`gguf` is llama.cpp's own package, from which its converter takes the names of weights and the vocabulary."""
    import gguf
    from safetensors import safe_open

    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, 2)
    with safe_open(model / "model.safetensors", "pt") as weights:
        names = {name: known.get_name(name, try_suffixes=(".weight",)) for name in weights.keys()}  # noqa: SIM118
    assert len(names) == 2 + 2 * 11
    assert names["model.layers.1.self_attn.q_norm.weight"] == "blk.1.attn_q_norm.weight"
    assert None not in names.values()
    vocabulary = gguf.SpecialVocab(model, load_merges=True)
    tokenizer = ChatTokenizer.load(model)
    ids = {"bos": tokenizer.bos_id, "eos": tokenizer.end_id, "pad": tokenizer.pad_id}
    assert vocabulary.special_token_ids == ids
    assert len(vocabulary.merges) == SIZE.vocab_size - 262
    assert vocabulary.chat_template == tokenizer.chat_template


def test_text_is_split_as_llama_cpps_smollm_pre_tokenizer_splits_it(model: Path, tmp_path: Path) -> None:
    """Its converter knows tokenizers by a hash of their ids, so a new one has to be named to it; this is the name.

    llama.cpp cuts every digit off first, then splits as GPT-2 does; what the two split differently, the packs and the
    stories do not hold.
    """
    digits = pre_tokenizers.Split(Regex(r"\p{N}"), "isolated")
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)")
    smollm = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    ours = Tokenizer.from_str((model / "tokenizer.json").read_text("utf-8")).pre_tokenizer
    (tmp_path / "dataset_pack.json").write_text("{}")
    report = build_task_pack(tmp_path, profile="balanced", sft_rows=2000, eval_rows=64)
    rows = [json.loads(line) for line in report.chat_path.read_text(encoding="utf-8").splitlines()]
    texts = [message["content"] for row in rows for message in row["messages"]]
    texts += [story(7, index) for index in range(300)]
    different = [text for text in texts if smollm.pre_tokenize_str(text) != ours.pre_tokenize_str(text)]
    assert different == []
    assert any("'" in text for text in texts)
    for text in ("WE'LL", "'sat'", "a list:\n\n1. one", "2  3", "e\u0301a"):
        assert smollm.pre_tokenize_str(text) != ours.pre_tokenize_str(text)


@pytest.mark.skipif(not CONVERTER.is_file(), reason="needs llama.cpp's converter: LLAMA_CPP=FOLDER, its sources")
def test_llama_cpp_reads_the_same_tokens_and_answers_alike(tmp_path: Path) -> None:
    """Converted by the line of docs/howto/interop.md, and answered by llama.cpp's own server."""
    cpp: Any = pytest.importorskip("xllamacpp", reason="needs llama.cpp's server: pip install xllamacpp sentencepiece")
    folder, tokenizer = tmp_path / "tiny", small_tokenizer()
    decoder = Decoder(replace(SIZE, num_hidden_layers=2, initializer_range=1.0))
    decoder.model.embed_tokens.weight.data[: len(SPECIAL_TOKENS)] = 0.0  # no reply ends
    save_checkpoint(folder, decoder, tokenizer, {})
    page = Path(__file__).parents[1].joinpath("docs/howto/interop.md").read_text("utf-8")
    line = page.partition("```bash\npython -c")[2].partition("```")[0].replace("\\\n", "")
    words = [
        {"CHECKPOINT": str(folder), "model.gguf": str(tmp_path / "tiny.gguf")}.get(w, w) for w in shlex.split(line)
    ]
    done = subprocess.run([sys.executable, "-c", *words], capture_output=True, text=True, cwd=CONVERTER.parent)
    assert done.returncode == 0, done.stderr

    params = cpp.CommonParams()
    params.model.path, params.n_ctx = str(tmp_path / "tiny.gguf"), 256
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = cpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = cpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds to 16 bits
    server = cpp.Server(params)

    def ask(path: str, **body: Any) -> Any:
        request = urllib.request.Request(f"{server.listening_address}/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    for text in ("the cat sat on 27 + 15", "it's the log\n\n  and é🙂 -", "<|end|"):
        messages = [{"role": "user", "content": text}]
        ids = tokenizer.render(messages, add_generation_prompt=True).ids
        assert ask("tokenize", content=ask("apply-template", messages=messages)["prompt"]) == {"tokens": ids}
        reply = generate(decoder, tokenizer, [ids], Decoding(max_new_tokens=16))[0]
        answer = ask("completion", prompt=ids, temperature=0, n_predict=16, return_tokens=True)
        assert answer["tokens"] == reply.ids and len(reply.ids) == 16
