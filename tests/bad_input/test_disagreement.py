"""What does not belong together is refused with both hashes (or sizes) and the remedy, and nothing is changed."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from refusing import contents
from small_rows import SIZE, chat_row, small_model, small_tokenizer, write_jsonl

from picochat.cli import main

BASE = "--steps 2 --eval-every 1 --batch-size 1 --device cpu --precision float32"
SFT = f"train sft --checkpoint model {BASE}"
FRESH = (
    "--trainer.default_root_dir=new --model.decoder.hidden_size=16 --model.decoder.num_hidden_layers=1 "
    "--model.decoder.num_attention_heads=1 --model.decoder.num_key_value_heads=1 --model.decoder.head_dim=16"
)
BOTH = "sha256 [0-9a-f]{12}.*[0-9a-f]{12}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, a model, another tokenizer, a larger model, and three finished runs of two steps."""
    folder = tmp_path_factory.mktemp("stage")
    write_jsonl(folder / "chat.jsonl", [chat_row("add", n, 3) for n in range(40)])
    (folder / "eval.jsonl").write_text('{"answer": "4", "messages": [{"role": "user", "content": "2 + 2?"}]}\n')
    (folder / "corpus.txt").write_text("\n\n".join(f"the cat {n} sat on the mat " * 400 for n in range(9)))
    (folder / "dataset_pack.json").write_text(json.dumps({"corpus": "corpus.txt"}))
    small_tokenizer("many more words went into another tokenizer than this ").write(folder / "other.json")
    small_model(folder / "model")
    small_model(folder / "larger", replace(SIZE, num_hidden_layers=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main([*SFT.split(), "--input", "chat.jsonl", "--out-dir", "run"])
        main([*SFT.split(), "--input", "chat.jsonl", "--out-dir", "other-run", "--learning-rate", "0.1"])
        main(f"train sft --checkpoint larger {BASE} --input chat.jsonl --out-dir deep".split())
    return folder


@pytest.fixture
def place(stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to stand in."""
    shutil.copytree(stage, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RESUME = "--resume-from run/last.ckpt --steps 4"
CASES = {
    "another tokenizer": (f"{SFT} --input chat.jsonl --out-dir new --tokenizer other.json", f"tokenizer: {BOTH}.*use"),
    "another tokenizer in eval": (
        "eval chat --input eval.jsonl --checkpoint model --tokenizer other.json --out-dir out --device cpu",
        f"tokenizer: {BOTH}.*use --tokenizer",
    ),
    "a pack that was edited since": (
        f"{SFT} --input edited.jsonl --out-dir run {RESUME}",
        f"other training rows or their tokenizer: {BOTH} now; resume with its config.yaml",
    ),
    "another seed than the run's": (
        f"{SFT} --input chat.jsonl --out-dir run {RESUME} --seed 7",
        f"other settings of the data .*: {BOTH} now; resume with",
    ),
    "a run of a larger model": (
        f"train sft --checkpoint larger {BASE} --input chat.jsonl --out-dir run {RESUME}",
        r"the checkpoint is of another model: .*layers\.1\..* has the shape .* here and no such weight there; resume",
    ),
    "a run of a smaller model": (
        f"train sft --checkpoint model {BASE} --input chat.jsonl --out-dir deep --resume-from deep/last.ckpt",
        r"the checkpoint is of another model: .*layers\.1\..* has no such weight here and the shape .* there; resume",
    ),
    "the checkpoint of another run": (
        f"{SFT} --input chat.jsonl --out-dir run --resume-from other-run/last.ckpt --steps 4",
        "run holds another run than that of other-run/last.ckpt; resume it in its own folder, with --out-dir",
    ),
    "the last checkpoint where there is none": (
        "fit --config run/config.yaml --ckpt_path last --trainer.default_root_dir new",
        "ckpt_path: new/last.ckpt does not exist",
    ),
    "to start over with a part of the run that is deleted": (
        f"train sft --checkpoint run/best_checkpoint {BASE} --input chat.jsonl --out-dir run --force",
        "--checkpoint: run/best_checkpoint is part of the run in run, which would be deleted; move it away first",
    ),
    "an older run and no word about it": (
        f"{SFT} --input chat.jsonl --out-dir run",
        "resume it with --resume-from run/last.ckpt, start over with --force, or .*--out-dir",
    ),
    "a pack whose name is mistyped": (
        "fit --config base.yaml --data.dataset_pack=mien/dataset_pack.json --trainer.default_root_dir=new",
        "--data.dataset_pack: mien/dataset_pack.json does not exist; correct it",
    ),
    "a tokenizer whose name is mistyped": (
        "fit --config base.yaml --data.init_args.tokenizer tokeniser.json --trainer.default_root_dir=new",
        "--data.tokenizer: tokeniser.json does not exist; correct it",
    ),
    "another size asked for by flag": (
        f"train base --dataset-pack dataset_pack.json --checkpoint model --out-dir new {BASE} --num-layers 3",
        "--num-layers and --checkpoint contradict each other: a checkpoint has its own size",
    ),
    "another size asked for by config": (
        "fit --config base.yaml --model.checkpoint=model --data.dataset_pack=dataset_pack.json --data.tokenizer=model "
        "--trainer.default_root_dir=new --trainer.accelerator=cpu",
        "model.decoder.hidden_size is 128, but model has 16; leave model.decoder out",
    ),
    "other rotations asked for by config": (
        f"fit --config run/config.yaml {FRESH} --model.decoder.rope_theta=500",
        "model.decoder.rope_theta is 500.0, but model has 10000.0; leave model.decoder out",
    ),
}


def edit_the_pack() -> None:
    """edited.jsonl is chat.jsonl with one answer corrected, as somebody may do while a run waits to be resumed."""
    first, *others = Path("chat.jsonl").read_text().splitlines(keepends=True)
    row = json.loads(first)
    row["messages"][-1]["content"] += "!"
    Path("edited.jsonl").write_text(json.dumps(row) + "\n" + "".join(others))


def of_the_runs() -> dict[str, bytes | None]:
    return {f"{run}/{name}": data for run in ("run", "other-run", "deep") for name, data in contents(Path(run)).items()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")  # Lightning advises before it is stopped
def test_what_does_not_belong_together_is_refused(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_the_pack()
    before = of_the_runs()
    with pytest.raises(SystemExit) as stop:
        main(CASES[case][0].split())
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2
    assert re.search(f"^picochat: error: .*{CASES[case][1]}", error), error
    assert of_the_runs() == before
    assert not Path("new").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_base_goes_on_from_a_checkpoint_of_any_size_with_its_tokenizer_and_context(place: Path) -> None:
    config = json.loads(Path("model/config.json").read_text())
    assert (config["hidden_size"], config["max_position_embeddings"]) == (16, 256)  # base.yaml asks for 128
    Path("model/config.json").write_text(json.dumps({**config, "max_position_embeddings": 96}))
    words = f"train base --dataset-pack dataset_pack.json --checkpoint model --out-dir new {BASE}"
    main(words.split())
    found = json.loads(Path("new/best_checkpoint/config.json").read_text())
    assert {**found, "dtype": None} == {**config, "max_position_embeddings": 96, "dtype": None}
    assert Path("new/best_checkpoint/tokenizer.json").read_bytes() == Path("model/tokenizer.json").read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_that_was_put_aside_resumes_in_its_run_and_another_s_in_a_folder_of_its_own(place: Path) -> None:
    Path("kept").mkdir()
    shutil.copy("run/last.ckpt", "kept/last.ckpt")
    main(f"{SFT} --input chat.jsonl --out-dir run --resume-from kept/last.ckpt --steps 4".split())
    main(f"{SFT} --input chat.jsonl --out-dir third --resume-from other-run/last.ckpt --steps 4".split())
    for run in ("run", "third"):
        assert json.loads(Path(run, "last_checkpoint/picochat.json").read_text())["global_step"] == 4
