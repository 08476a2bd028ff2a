"""What answers conversations. In: a model in memory, a file of replies, a server. Out: an `Answerer`, second opinions.

    replies.jsonl   {"reply": "Final answer: 42"}                      a line a row, in the order of the eval file
                    {"id": "row-7", "reply": "…", "finished": false}   in any order; cut off at a limit

What `picochat generate --out` writes is such a file, and so is predictions.jsonl of an evaluation (whose `raw_reply` is
judged for echoes). A model of transformers answers in model.any_lm, the module that is being trained in callbacks.
Next: evidence.evaluation.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from picochat.errors import UserError
from picochat.files import sha256_text
from picochat.model.engine import Decoding, Reply
from picochat.packs.records import iter_records
from picochat.packs.rows import Message, Row
from picochat.strict_json import parse_json

if TYPE_CHECKING:
    from picochat.evidence.lanes import Prediction
    from picochat.model.decoder import Decoder
    from picochat.model.tokenizer import ChatTokenizer

Conversations = Sequence[Sequence[Message]]
_ASKED = """You grade one reply of a small chat model that has no tools and sees nothing but the chat.

Question: {question}
A good reply: {expected}
The reply: {reply}

Is the reply a good one? Answer with one word, yes or no."""
_DECLINES = "it declines, because such a model cannot know or do this, and it gives no answer all the same."


class Answerer(Protocol):
    """Anything that answers conversations ending with the user, in order."""

    def reply(self, conversations: Conversations) -> Sequence[Reply]:
        """One reply for each conversation."""

    def choice_scores(
        self, conversations: Conversations, labels: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float] | None]:
        """The log-likelihood of each label as the reply; None where it is not known."""


class _NoLikelihoods:  # choices are answered
    def choice_scores(self, conversations: Conversations, labels: Sequence[Sequence[str]]) -> list[None]:
        return [None for _ in conversations]


class ModelAnswerer:
    """Answers with a decoder in memory."""

    def __init__(self, decoder: "Decoder", tokenizer: "ChatTokenizer", decoding: Decoding, *, progress: bool = False):
        self.decoder, self.tokenizer, self.decoding, self.progress = decoder, tokenizer, decoding, progress

    def reply(self, conversations: Conversations) -> Sequence[Reply]:
        from picochat.model.generation import generate

        prompts = self._prompts(conversations)
        return generate(self.decoder, self.tokenizer, prompts, self.decoding, progress=self.progress)

    def choice_scores(self, conversations: Conversations, labels: Sequence[Sequence[str]]) -> Sequence[Sequence[float]]:
        from picochat.model.likelihood import choice_scores

        prompts, choices = self._prompts(conversations), list(map(list, labels))
        return choice_scores(self.decoder, self.tokenizer, prompts, choices, self.decoding.batch_size)

    def _prompts(self, conversations: Conversations) -> list[list[int]]:
        return [prompt.ids for prompt in self.tokenizer.render_batch(conversations, add_generation_prompt=True)]


class FileAnswerer(_NoLikelihoods):
    """Hands out the replies of a JSONL file, as above, to all of these rows; UserError where they are no replies."""

    def __init__(self, path: str | Path, rows: Sequence[Row]) -> None:
        lines = list(iter_records(path))
        for number, line in lines:
            if not isinstance(line, dict) or not isinstance(line.get("reply"), str):
                fault = line if isinstance(line, ValueError) else "holds no reply"
                raise UserError(f'{path}:{number}: {fault}; {{"reply": …}} is expected')
        replies = [line for _, line in lines]
        named, ids = [str(line.get("id", "")) for line in replies], [str(row.get("id")) for row in rows]
        if all(line.get("id") is not None for line in replies) and named != ids:  # not in the order of the rows
            by_id = dict(zip(named, replies, strict=True))
            if missing := [name for name in ids if name not in by_id]:
                raise UserError(f"{path} has no reply to {len(missing)} of {len(rows)} rows, such as id {missing[0]!r}")
            often = Counter(named) | Counter(ids)
            if twice := [name for name in ids if often[name] > 1]:
                raise UserError(
                    f"{path}: id {twice[0]!r} is that of two replies, or of two rows; leave the ids out, and give the "
                    "replies in the order of the rows"
                )
            replies = [by_id[name] for name in ids]
        if len(replies) != len(rows):
            raise UserError(
                f"{path} holds {len(replies)} replies to {len(rows)} rows; give one a row, or give them ids"
            )
        self._replies = [
            Reply([], one["reply"], str(one.get("raw_reply") or one["reply"]), bool(one.get("finished", True)))
            for one in replies
        ]

    def reply(self, conversations: Conversations) -> list[Reply]:
        return self._replies


class ServerAnswerer(_NoLikelihoods):
    """Asks a server that speaks OpenAI's protocol: vLLM, llama.cpp, `transformers serve`, …

    The key is OPENAI_API_KEY of the environment. `decoding.batch_size` rows are asked at a time. Replies are added to
    the JSONL `kept` as they come, and what stands in it is not asked again.
    """

    def __init__(self, url: str, model: str, decoding: Decoding, kept: Path) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise UserError("a server is asked by the openai client; install picochat[server]") from error
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(f"{address.scheme}://… is not the address of a server, such as http://localhost:8000/v1")
        self.url = url if address.path.strip("/") else f"{url.rstrip('/')}/v1"
        self.shown = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"  # without a password
        self.model, self.decoding, self.kept = model, decoding, kept
        self._key = os.environ.get("OPENAI_API_KEY") or "no-key-given"
        self._client = OpenAI(base_url=self.url, api_key=self._key, max_retries=5, timeout=600)

    def reply(self, conversations: Conversations) -> list[Reply]:
        """One reply to each conversation; equal ones are asked once."""
        said = {}
        for line in self.kept.read_bytes().splitlines() if self.kept.exists() else []:
            with suppress(ValueError, KeyError, TypeError):  # the last line of a run that was killed
                one = parse_json(line)
                said[one["request"]] = Reply([], one["text"], one["text"], one["finished"])
        waiting = {name: messages for messages in conversations if (name := self._name(messages)) not in said}
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self.decoding.batch_size) as pool, self.kept.open("a", encoding="utf-8") as kept:
            kept.write("\n" * (kept.tell() > 0))  # after a line that was cut short
            asked = {pool.submit(self._ask, messages): name for name, messages in waiting.items()}
            try:
                for done in as_completed(asked):
                    name = asked[done]
                    said[name] = done.result()
                    entry = {"request": name, "text": said[name].text, "finished": said[name].finished}
                    kept.write(json.dumps(entry, ensure_ascii=False) + "\n")
                    kept.flush()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [said[self._name(messages)] for messages in conversations]

    def _ask(self, messages: Sequence[Message]) -> Reply:
        from openai import OpenAIError

        own = self.decoding
        asked: Any = {"messages": list(messages), "max_tokens": own.max_new_tokens, "temperature": own.temperature}
        asked |= {"top_p": own.top_p} if own.top_p is not None else {}
        asked |= {"extra_body": {"top_k": own.top_k}} if own.top_k else {}
        try:
            first = self._client.chat.completions.create(model=self.model, seed=own.seed, **asked).choices[0]
        except (OpenAIError, LookupError, TypeError) as error:
            text = str(error).replace(self._key, "…")
            raise UserError(
                f"{self.shown} did not answer as {self.model}: {text}; the replies so far are in {self.kept}: run it "
                "again to go on"
            ) from None
        text = (first.message.content or "").encode("utf-8", "replace").decode()  # half a surrogate cannot be written
        return Reply([], text, text, first.finish_reason != "length")

    def _name(self, messages: Sequence[Message]) -> str:
        settings = {**asdict(self.decoding), "batch_size": None}
        return sha256_text(json.dumps([self.url, self.model, settings, messages], sort_keys=True))


@dataclass(frozen=True)
class Agreement:
    """Replies that pass by both, by one, by none of them; Cohen's kappa is None where all verdicts are equal."""

    both: int
    rules_alone: int
    judge_alone: int
    neither: int
    kappa: float | None


def ask_judge(predictions: "Sequence[Prediction]", rows: Sequence[Row], judge: Answerer) -> "list[Prediction]":
    """The predictions with `judge_passed` set where the judge model said yes or no.

    It is asked about replies that rules over wording judge (refusals, identity, phrases), not about answers that are
    compared, and decides nothing: both verdicts are shown.
    """
    asked = {
        one.index: [{"role": "user", "content": _question(one, row)}]
        for one, row in zip(predictions, rows, strict=True)
        if one.choice_scores is None and row.get("answer") is None and "correct_choice" not in row
    }
    opinion = {}
    for index, reply in zip(asked, judge.reply(list(asked.values())) if asked else (), strict=True):
        said = reply.text.rpartition("</think>")[2]  # without the thoughts that it shows
        if word := re.match(r"\W*(yes|no)\b", said, re.IGNORECASE):  # "Not quite" is neither
            opinion[index] = word[1].casefold() == "yes"
    return [replace(one, judge_passed=opinion.get(one.index)) for one in predictions]


def _question(prediction: "Prediction", row: Row) -> str:
    groups = row.get("must_include_any") or []
    groups = [groups] if groups and isinstance(groups[0], str) else groups
    phrases = [*map(" or ".join, groups), *row.get("must_include", [])]
    expected = row.get("reference") or ("it mentions " + "; ".join(phrases) if phrases else "it answers the question.")
    expected = _DECLINES if row.get("answerable") is False else expected
    return _ASKED.format(question=prediction.prompt, expected=expected, reply=prediction.reply)


def agreement(predictions: "Sequence[Prediction]") -> Agreement | None:
    """How far rules and judge model agree; None where the model said nothing."""
    pairs = [(one.passed, one.judge_passed) for one in predictions if one.judged and one.judge_passed is not None]
    if not pairs:
        return None
    every = ((True, True), (True, False), (False, True), (False, False))
    both, rules, judge, neither = (pairs.count(pair) for pair in every)
    agreed = (both + neither) / len(pairs)
    chance = ((both + rules) * (both + judge) + (neither + judge) * (neither + rules)) / len(pairs) ** 2
    return Agreement(both, rules, judge, neither, (agreed - chance) / (1 - chance) if chance < 1 else None)
