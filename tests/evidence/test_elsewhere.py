"""Replies that were made elsewhere: in a file, and by a server in another process."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from refusing import Refused
from students import Parrot, eval_row

from picochat.cli import main
from picochat.errors import UserError
from picochat.evidence.answering import FileAnswerer, ServerAnswerer, agreement, ask_judge
from picochat.evidence.evaluation import answer_rows, read_eval
from picochat.evidence.report import jsonl
from picochat.model.any_lm import AnyLM
from picochat.model.engine import Decoding, Reply
from picochat.packs.rows import Message, Row

KEY = "sk-secret-of-the-test"
SUMS = [eval_row(f"{n} + 1?", "sums", "mine", answer=str(n + 1)) for n in range(6)]
CHOICE = eval_row("Which barks?", "pick", "mine", choice_labels=["A", "B"], correct_choice="B")


@dataclass(frozen=True)
class Fixed(Parrot):
    """Has its replies already."""

    replies: list[Reply]

    def reply(self, conversations: Sequence[Sequence[Message]]) -> list[Reply]:
        return self.replies


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a server that runs, and the log of what it was asked."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")  # a machine may have a proxy
    log = tmp_path / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "chat_server.py", log], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}", log
    process.kill()
    process.communicate()


def test_replies_of_a_file_are_judged_in_order_or_by_id(tmp_path: Path) -> None:
    rows: list[Row] = [*SUMS, CHOICE, SUMS[0]]  # one conversation twice
    lines = [{"reply": str(n + 1)} for n in range(6)]
    lines[3] = {"reply": "4", "finished": False}
    ordered = write(tmp_path / "a.jsonl", *lines, {"reply": "B"}, {"reply": "7"})
    found = answer_rows(rows, FileAnswerer(ordered, rows))
    assert [one.passed for one in found] == [True, True, True, False, True, True, True, False]
    assert (found[3].reasons, found[6].choice_scores) == (("length",), None)
    named = [{"id": row["id"], "reply": row.get("answer", "(B)")} for row in rows[:7]]
    by_id = answer_rows(rows[:7], FileAnswerer(write(tmp_path / "b.jsonl", *reversed(named)), rows[:7]))
    assert all(one.passed for one in by_id)
    assert (by_id[6].reply, by_id[6].choice_scores, by_id[6].candidate) == ("(B)", None, "b")


def test_predictions_are_replies_that_get_the_same_verdicts_again(tmp_path: Path) -> None:
    said = [Reply([], "1", "1<|user|>", True), Reply([], "2", "2", False), Reply([], "3", "3<|end|>", True)]
    rows: list[Row] = [{**row, "id": "same"} for row in SUMS[:3]]
    once = answer_rows(rows, Fixed(str, said))
    assert [one.reasons for one in once] == [("prompt_echo",), ("length",), ()]
    (tmp_path / "predictions.jsonl").write_text(jsonl(once))
    assert answer_rows(rows, FileAnswerer(tmp_path / "predictions.jsonl", rows)) == once


@pytest.mark.parametrize(
    ("reply", "opinion"),
    [("**Yes**, it is.", True), ("<think>no</think>\nNO.", False), ("Not quite clear.", None), ("Note: yes", None)],
)
def test_a_judge_model_says_yes_or_no_or_nothing(reply: str, opinion: bool | None) -> None:
    row = eval_row("Who won?", "refusal", "mine", answerable=False)
    predictions = answer_rows([row], Fixed(str, [Reply([], "I don't know.", "", True)]))
    (judged,) = ask_judge(predictions, [row], Fixed(str, [Reply([], reply, reply, True)]))
    assert judged.judge_passed is opinion


def test_a_judge_model_is_told_which_phrases_are_wanted() -> None:
    row = eval_row("Which city?", "x", "mine", must_include_any=["Paris", "Rome"], must_include=["is"])
    judge = Parrot(lambda prompt: "yes" if "A good reply: it mentions Paris or Rome; is\n" in prompt else "no")
    assert ask_judge(answer_rows([row], Parrot(str)), [row], judge)[0].judge_passed


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([{"reply": "1"}], "holds 1 replies to 6 rows"),
        ([*[{"reply": "1"}] * 5, {"text": "2"}], ":6: holds no reply"),
        ([{"id": "row-0 + 1?", "reply": "1"}], "has no reply to 5 of 6 rows, such as id 'row-1 "),
        ([{"id": row["id"], "reply": "1"} for row in [*SUMS, SUMS[2]]], "id 'row-2 .* is that of two replies"),
    ],
)
def test_a_file_that_does_not_answer_the_rows_is_refused(tmp_path: Path, lines: list[object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        FileAnswerer(write(tmp_path / "a.jsonl", *lines), SUMS)


def test_a_server_is_asked_at_once_and_again_after_a_failure_and_never_twice(
    server: tuple[str, Path], tmp_path: Path
) -> None:
    url, log = server
    kept = tmp_path / "out" / "replies.jsonl"
    answerer = ServerAnswerer(url, "small", Decoding(batch_size=4, max_new_tokens=7), kept)
    found = answer_rows([*SUMS, CHOICE], answerer)
    assert [one.passed for one in found] == [True] * 6 + [False]
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(asked) == 8  # the first was refused
    assert {(one["path"], one["model"], one["max_tokens"]) for one in asked} == {("/v1/chat/completions", "small", 7)}
    assert all(one["key"] == f"Bearer {KEY}" for one in asked)
    with kept.open("a") as torn:
        torn.write('{"request": "x", "te')
    more = [eval_row(f"tell me {what}", "sums", "mine", answer="hm") for what in ("a long one", "half a pair")] + SUMS
    again = answer_rows(more, ServerAnswerer(f"{url}/v1", "small", Decoding(batch_size=1, max_new_tokens=7), kept))
    assert (again[0].reasons, again[1].reply) == (("length",), "?")
    assert len(log.read_text().splitlines()) == 10
    assert KEY not in kept.read_text()


def test_a_server_that_fails_is_named_without_the_key(server: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = server
    rows = [*SUMS[:2], eval_row("boom", "sums", "mine", answer="1")]
    kept = tmp_path / "replies.jsonl"
    for address in (url, url.replace("http://", "http://me:hidden@")):  # a password takes the place of the key
        with pytest.raises(UserError, match=r"did not answer as small.* run it again to go on") as fault:
            answer_rows(rows, ServerAnswerer(address, "small", Decoding(batch_size=1), kept))
        assert "no: " in str(fault.value)  # the server says what it was sent
        assert KEY not in str(fault.value) and "hidden" not in str(fault.value)
    assert len({json.loads(line)["text"] for line in kept.read_text().splitlines() if line}) == 2
    with pytest.raises(UserError, match="is not the address of a server"):
        ServerAnswerer("localhost:8000", "small", Decoding(), kept)


def test_eval_chat_judges_a_file_a_server_and_a_model_of_transformers_and_compares_them(
    server: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = server
    refusals = [eval_row(f"Who won game {n}?", "refusal", "mine", answerable=False) for n in range(2)]
    rows = [*SUMS, CHOICE, *refusals]
    replies = [{"reply": str(n + 1)} for n in range(6)] + [{"reply": "B"}, {"reply": "I don't know."}, {"reply": "Me."}]
    made = ["--replies", str(write(tmp_path / "replies.jsonl", *replies)), "--judge", url, "--judge-model", "big"]
    hf = ["--hf", str(llama(tmp_path / "llama")), "--device", "cpu", "--max-new-tokens", "3"]
    eval_file = str(write(tmp_path / "eval.jsonl", *rows))
    for name, source in (("made", made), ("served", ["--server", url, "--model", "small"]), ("hf", hf)):
        main(["eval", "chat", "--input", eval_file, *source, "--out-dir", str(tmp_path / name)])
    judged = read_eval(tmp_path / "made").predictions
    assert [one.passed for one in judged] == [True] * 8 + [False]
    assert [one.judge_passed for one in judged] == [None] * 7 + [True, True]  # the server says yes to all
    found = agreement(judged)
    assert found is not None and (found.both, found.judge_alone, found.kappa) == (1, 1, 0.0)
    assert (read_eval(tmp_path / "hf").predictions[6].choice_scores or {}).keys() == {"A", "B"}
    main(["eval", "compare", str(tmp_path / "made"), str(tmp_path / "served")])
    assert "served against made" in capsys.readouterr().out
    assert not [*tmp_path.rglob("*.partial.jsonl")]  # a server that is asked again may have another model
    assert KEY not in "".join(path.read_text() for path in tmp_path.rglob("*.json*") if "log" not in path.name)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--temperature 1", "--replies FILE holds replies that were decoded already"),
        ("--device cpu", "--device and --precision have no effect on replies from elsewhere"),
        ("--tokenizer t", "--tokenizer has no effect without --checkpoint"),
        ("--model-card", "--model-card has no effect without --checkpoint"),
    ],
)
def test_settings_that_replies_from_elsewhere_ignore_are_refused(refused: Refused, flags: str, says: str) -> None:
    words = ["eval", "chat", "--input", "e.jsonl", "--replies", "r.jsonl", "--out-dir", "out"]
    refused(*words, *flags.split(), says=says)


def llama(folder: Path) -> Path:
    """A tiny untrained model of transformers, with a chat template of its own."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["</s>", "<u>", "<a>", *map(chr, range(32, 127))])}
    template = "{% for turn in messages %}<u>{{ turn['content'] }}</s>{% endfor %}<a>"
    own = Tokenizer(models.BPE(vocabulary, []))
    PreTrainedTokenizerFast(tokenizer_object=own, eos_token="</s>", chat_template=template).save_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), eos_token_id=0, **size)).save_pretrained(folder)
    return folder


def test_a_model_of_transformers_replies_without_its_makers_penalties_and_scores_what_its_template_writes(
    tmp_path: Path,
) -> None:
    from transformers import GenerationConfig

    folder, row = llama(tmp_path / "llama"), [SUMS[0]["messages"]]
    plain = AnyLM(str(folder), Decoding(max_new_tokens=6), device="cpu", precision="auto")
    GenerationConfig(eos_token_id=[1, 0], repetition_penalty=100.0).save_pretrained(folder)
    penal = AnyLM(str(folder), Decoding(max_new_tokens=6), device="cpu", precision="auto")
    assert penal.reply(row) == plain.reply(row)
    plain.tokenizer.chat_template = penal.tokenizer.chat_template = (
        "{% for t in messages %}{{ {'user': '<u>'}.get(t.role, '<a>') + t.content + '</s>' }}{% endfor %}"
        "{% if add_generation_prompt %}<a>{% endif %}"
    )
    assert penal.choice_scores(row, [["A"]]) == plain.choice_scores(row, [["A"]])  # with </s>, not the first end
