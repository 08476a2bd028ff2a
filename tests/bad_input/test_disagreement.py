"""What does not belong together is refused with both hashes (or sizes) and the remedy."""

import json
import re
from pathlib import Path

import pytest
from small_rows import chat_row, write_jsonl

from picochat.cli import main
from picochat.model.checkpoint import save_checkpoint
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.tokenizer import train_tokenizer

BASE = "--steps 2 --eval-every 1 --batch-size 1 --device cpu --precision float32"
SFT = f"train sft --checkpoint model {BASE}"
BOTH = "sha256 [0-9a-f]{12}.*[0-9a-f]{12}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, a model, another tokenizer, a larger model, and a finished run of two steps."""
    folder = tmp_path_factory.mktemp("stage")
    write_jsonl(folder / "chat.jsonl", [chat_row("add", n, 3) for n in range(40)])
    write_jsonl(folder / "other.jsonl", [chat_row("spell", n, 4) for n in range(40)])
    tokenizer = train_tokenizer(["the cat sat on the mat and the dog sat on the log " * 20], 270)
    train_tokenizer(["many more words went into another tokenizer than this " * 20], 270).write(folder / "other.json")
    for name, layers in (("model", 1), ("larger", 2)):
        size = DecoderConfig(vocab_size=270, hidden_size=16, intermediate_size=32, num_hidden_layers=layers,
                             num_attention_heads=1, num_key_value_heads=1, head_dim=16)  # fmt: skip
        save_checkpoint(folder / name, Decoder(size), tokenizer, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main([*SFT.split(), "--input", "chat.jsonl", "--out-dir", "run"])
    return folder


RESUME = "--resume-from run/last.ckpt"
CASES = {
    "another tokenizer": (f"{SFT} --input chat.jsonl --out-dir new --tokenizer other.json", f"tokenizer: {BOTH}.*use"),
    "another tokenizer in eval": (
        "eval chat --input eval.jsonl --checkpoint model --tokenizer other.json --out-dir out --device cpu",
        f"tokenizer: {BOTH}.*use --tokenizer",
    ),
    "other rows than the run began with": (
        f"{SFT} --input other.jsonl --out-dir run {RESUME} --steps 4",
        f"other training rows or their tokenizer: {BOTH} now; resume with those of its config.yaml",
    ),
    "another seed than the run's": (
        f"{SFT} --input chat.jsonl --out-dir run {RESUME} --steps 4 --seed 7",
        f"other settings of the data .*: {BOTH} now; resume with",
    ),
    "a run of a larger model": (
        f"train sft --checkpoint larger {BASE} --input chat.jsonl --out-dir run {RESUME} --steps 4",
        r"the checkpoint is of another model: .*layers\.1\..* has the shape .* here and no such weight there; resume",
    ),
    "another size asked for": (
        f"train base --dataset-pack dataset_pack.json --checkpoint model --out-dir new {BASE} --tokenizer model",
        "model.decoder.hidden_size is 128, but model has 16; leave model.decoder out",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")  # Lightning advises before it is stopped
def test_what_does_not_belong_together_is_refused(
    case: str, stage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(stage)
    Path("eval.jsonl").write_text('{"answer": "4", "messages": [{"role": "user", "content": "2 + 2?"}]}\n')
    Path("corpus.txt").write_text("\n\n".join(f"the cat {n} sat on the mat " * 400 for n in range(9)))
    Path("dataset_pack.json").write_text(json.dumps({"corpus": "corpus.txt"}))
    before = {str(path): path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    command, says = CASES[case]
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2
    assert error.startswith("picochat: error: ")
    assert re.search(says, error), error
    assert {str(path): path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    assert not Path("new").exists()
