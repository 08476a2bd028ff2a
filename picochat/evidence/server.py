"""Replies of a server that speaks OpenAI's protocol. In: its address. Out: an `Answerer`. Next: evidence.evaluation."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import urlsplit

from picochat.errors import UserError
from picochat.evidence.answering import Conversations, Said, key_of
from picochat.files import sha256_text
from picochat.packs.rows import Message
from picochat.strict_json import parse_json

if TYPE_CHECKING:
    from picochat.model.engine import Decoding


class ServerAnswerer:
    """Asks a server: vLLM, llama.cpp, `transformers serve`, OpenAI, … The key is OPENAI_API_KEY of the environment.

    Args:
        url: of the server, such as http://localhost:8000/v1.
        model: its name there.
        decoding: `batch_size` rows are asked at a time.
        kept: replies are added to this JSONL as they come, and what stands in it is not asked again.
    """

    def __init__(self, url: str, model: str, decoding: "Decoding", kept: Path | None = None) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise UserError("--server needs the openai client; install picochat[server]") from error
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(
                f"--server {address.scheme}://… is no address of a server, such as http://localhost:8000/v1"
            )
        self.url = url if address.path.strip("/") else f"{url.rstrip('/')}/v1"
        self.shown = f"{address.scheme}://{address.hostname}" + (
            f":{address.port}" if address.port else ""
        )  # no secrets
        self.model, self.decoding, self.kept = model, decoding, kept
        self._client = OpenAI(
            base_url=self.url, api_key=os.environ.get("OPENAI_API_KEY") or "none", max_retries=5, timeout=600
        )

    def reply(self, conversations: Conversations) -> list[Said]:
        """One reply to each conversation."""
        said = self._read_kept()
        waiting = {key_of(messages): messages for messages in conversations if self._name(messages) not in said}
        with ThreadPoolExecutor(self.decoding.batch_size) as pool, self._keeping() as kept:
            asked = {pool.submit(self._ask, messages): messages for messages in waiting.values()}
            try:
                for done in as_completed(asked):
                    name = self._name(asked[done])
                    said[name] = done.result()
                    if kept:
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
            key = os.environ.get("OPENAI_API_KEY")
            text = str(error).replace(key, "…") if key else str(error)
            more = f"; the replies so far are in {self.kept}: run it again to go on" if self.kept else ""
            raise UserError(f"{self.shown} did not answer as {self.model}: {text}{more}") from None
        return Said(first.message.content or "", first.finish_reason == "stop")

    def _name(self, messages: Sequence[Message]) -> str:
        settings = {name: value for name, value in asdict(self.decoding).items() if name != "batch_size"}
        return sha256_text(json.dumps([self.url, self.model, settings, messages], sort_keys=True))

    def _read_kept(self) -> dict[str, Said]:
        said = {}
        for line in self.kept.read_bytes().splitlines() if self.kept and self.kept.exists() else []:
            try:
                one = parse_json(line)
                said[one["request"]] = Said(one["text"], one["finished"])
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a run that was killed
        return said

    @contextmanager
    def _keeping(self) -> Iterator[TextIO | None]:
        if self.kept is None:
            yield None
            return
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        with self.kept.open("a", encoding="utf-8") as file:
            file.write("\n" * (file.tell() > 0))  # behind a line that was cut short
            yield file
