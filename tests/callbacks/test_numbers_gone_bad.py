"""A run whose numbers go bad, from the command line: skipped and counted, then one sentence with step and rows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from small_rows import chat_row, write_jsonl

from picochat.model.checkpoint import save_checkpoint
from picochat.model.decoder import Decoder, DecoderConfig
from picochat.model.tokenizer import train_tokenizer


def test_a_rate_that_blows_the_weights_up_ends_the_run_with_step_rows_and_lanes(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "chat.jsonl", [chat_row(lane, n, 3) for lane in ("add", "spell") for n in range(40)])
    tokenizer = train_tokenizer(["the cat sat on the mat and the dog sat on the log " * 20], 270)
    size = DecoderConfig(vocab_size=270, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                         num_attention_heads=1, num_key_value_heads=1, head_dim=16)  # fmt: skip
    save_checkpoint(tmp_path / "model", Decoder(size), tokenizer, {})
    words = "train sft --input chat.jsonl --checkpoint model --out-dir run --steps 60 --eval-every 60 --batch-size 2"
    more = "--device cpu --precision float32 --optimizer adamw --learning-rate 1e30 --lr-warmup-steps 0"
    command = [sys.executable, "-m", "picochat", *words.split(), *more.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = done.stderr.splitlines()[-1]
    # step 1 is good and ruins the weights; steps 2 … 22 are skipped, one more than the 20 allowed in a row
    found = re.fullmatch(
        r"picochat: error: the gradients were not finite at optimizer step 22 "
        r"\((\d+) of add, (\d+) of spell; lines ([\d, ]+)\), 21 times in a row; lower the learning rate, .*",
        said,
    )
    assert found, said
    assert int(found[1]) + int(found[2]) == len(found[3].split(", "))
    assert not (tmp_path / "run" / "best_checkpoint").exists()
