"""A server that speaks OpenAI's protocol, to answer or to judge. In: its address. Out: an `Answerer`, second opinions.

A judge model is asked about replies that rules over wording judge (refusals, identity, phrases), not about answers that
are compared. It decides nothing: both verdicts are shown, and their agreement (Cohen's kappa: 1 is full, 0 is chance).
Next: evidence.evaluation, eval_report.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from picochat.errors import UserError
from picochat.evidence.answering import Answerer, Conversations, Said
from picochat.evidence.lanes import Prediction
from picochat.files import sha256_text
from picochat.packs.rows import Message, Row
from picochat.strict_json import parse_json

if TYPE_CHECKING:
    from picochat.model.engine import Decoding


_ASKED = """You grade one reply of a small chat model that has no tools and sees nothing but the chat.

Question: {question}
A good reply: {expected}
The reply: {reply}

Is the reply a good one? Answer with one word, yes or no."""
_DECLINES = "it declines, because such a model cannot know or do this, and it gives no answer all the same."


class ServerAnswerer:
    """Asks a server: vLLM, llama.cpp, `transformers serve`, OpenAI, … The key is OPENAI_API_KEY of the environment.

    Args:
        url: of the server, such as http://localhost:8000/v1.
        model: its name there.
        decoding: `batch_size` rows are asked at a time.
        kept: replies are added to this JSONL as they come, and what stands in it is not asked again.
    """

    def __init__(self, url: str, model: str, decoding: "Decoding", kept: Path) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise UserError("a server is asked by the openai client; install picochat[server]") from error
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(f"{address.scheme}://… is no address of a server, such as http://localhost:8000/v1")
        self.url = url if address.path.strip("/") else f"{url.rstrip('/')}/v1"
        self.shown = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"  # without a password
        self.model, self.decoding, self.kept = model, decoding, kept
        self._key = os.environ.get("OPENAI_API_KEY") or "no-key-given"
        self._client = OpenAI(base_url=self.url, api_key=self._key, max_retries=5, timeout=600)

    def reply(self, conversations: Conversations) -> list[Said]:
        """One reply to each conversation; equal ones are asked once."""
        said = self._read_kept()
        waiting = {name: messages for messages in conversations if (name := self._name(messages)) not in said}
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self.decoding.batch_size) as pool, self.kept.open("a", encoding="utf-8") as kept:
            kept.write("\n" * (kept.tell() > 0))  # behind a line that was cut short
            asked = {pool.submit(self._ask, messages): name for name, messages in waiting.items()}
            try:
                for done in as_completed(asked):
                    name = asked[done]
                    said[name] = done.result()
                    kept.write(json.dumps({"request": name, **asdict(said[name])}, ensure_ascii=False) + "\n")
                    kept.flush()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [said[self._name(messages)] for messages in conversations]

    def choice_scores(self, conversations: Conversations, labels: Sequence[Sequence[str]]) -> list[None]:
        """None: this protocol scores no given reply, so choices are answered."""
        return [None for _ in conversations]

    def _ask(self, messages: Sequence[Message]) -> Said:
        from openai import OpenAIError

        own = self.decoding
        sampling: Any = {"top_p": own.top_p} if own.top_p is not None else {}
        sampling |= {"extra_body": {"top_k": own.top_k}} if own.top_k else {}
        try:
            found = self._client.chat.completions.create(
                model=self.model,
                messages=cast("Any", list(messages)),
                max_tokens=own.max_new_tokens,
                temperature=own.temperature,
                seed=own.seed,
                **sampling,
            )
            first = found.choices[0]
        except (OpenAIError, LookupError, TypeError) as error:
            text = str(error).replace(self._key, "…")
            raise UserError(
                f"{self.shown} did not answer as {self.model}: {text}; the replies so far are in {self.kept}: run it "
                "again to go on"
            ) from None
        return Said(first.message.content or "", first.finish_reason == "stop")

    def _name(self, messages: Sequence[Message]) -> str:
        settings = {**asdict(self.decoding), "batch_size": None}
        return sha256_text(json.dumps([self.url, self.model, settings, messages], sort_keys=True))

    def _read_kept(self) -> dict[str, Said]:
        said = {}
        for line in self.kept.read_bytes().splitlines() if self.kept.exists() else []:
            with suppress(ValueError, KeyError, TypeError):  # the last line of a run that was killed
                one = parse_json(line)
                said[one["request"]] = Said(one["text"], one["finished"])
        return said


@dataclass(frozen=True)
class Agreement:
    """Replies that pass by both, by one, by none of them; kappa is None where all verdicts are equal."""

    both: int
    rules_alone: int
    judge_alone: int
    neither: int
    kappa: float | None


def ask_judge(predictions: Sequence[Prediction], rows: Sequence[Row], judge: Answerer) -> list[Prediction]:
    """The predictions with `judge_passed` set where the judge model said yes or no of a reply that was asked about."""
    asked = {
        one.index: [{"role": "user", "content": _question(one, row)}]
        for one, row in zip(predictions, rows, strict=True)
        if one.choice_scores is None and row.get("answer") is None and "correct_choice" not in row
    }
    said = dict(zip(asked, judge.reply(list(asked.values())), strict=True)) if asked else {}
    words = {  # the thoughts of a model that shows them are left out
        index: reply.text.rpartition("</think>")[2].casefold().lstrip(' *"\n') for index, reply in said.items()
    }
    opinion = {index: word.startswith("yes") for index, word in words.items() if word.startswith(("yes", "no"))}
    return [replace(one, judge_passed=opinion.get(one.index)) for one in predictions]


def agreement(predictions: Sequence[Prediction]) -> Agreement | None:
    """How far rules and judge model agree; None where the model said nothing."""
    pairs = [(one.passed, one.judge_passed) for one in predictions if one.judged and one.judge_passed is not None]
    if not pairs:
        return None
    counts = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    both, rules, judge, neither = (count / len(pairs) for count in counts)
    chance = (both + rules) * (both + judge) + (neither + judge) * (neither + rules)
    kappa = (both + neither - chance) / (1 - chance) if chance < 1 else None
    return Agreement(counts[0], counts[1], counts[2], counts[3], kappa)


def _question(prediction: Prediction, row: Row) -> str:
    phrases = [" or ".join([group] if isinstance(group, str) else group) for group in row.get("must_include_any", [])]
    phrases += row.get("must_include", [])
    expected = row.get("reference") or ("it mentions " + "; ".join(phrases) if phrases else "it answers the question.")
    expected = _DECLINES if row.get("answerable") is False else expected
    return _ASKED.format(question=prediction.prompt, expected=expected, reply=prediction.reply)
