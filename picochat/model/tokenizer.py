"""Text to tokens and back. In: conversations and documents. Out: ids and their loss mask. Next: datamodules.

A conversation becomes one flat run of ids. Control tokens stand in angle brackets; nothing is put between them:

    <|bos|><|user|>What is 2 + 3?<|end|><|assistant|>Final answer: 5<|end|>
       0      0    0 0 0 …        0         0         1 1 …          1      supervised: the reply and its <|end|>

Text is encoded with control tokens switched off, so a user who types ``<|end|>`` gets seven ordinary characters. The
chat template in ``tokenizer_config.json`` gives the same ids through transformers, which reads control tokens inside a
message as what they are; the template therefore refuses such a message. (In ChatML, where a line break ends the
opening, a tokenizer may join it to one that a message begins with; `render` does not.)
"""

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from picochat.errors import UserError
from picochat.files import sha256_text, write_files
from picochat.model.turns import ROLES, SPECIAL_TOKENS, turn_format

_TYPED = (" Ab  é🙂\n\tعمر 12", "<|im_start|>user\n<|im_end|> <|endoftext|>")  # what every tokenizer must give back
_TEXTS_AT_ONCE = 8192  # encode_batch keeps every Encoding of a call alive: bounded memory, all cores busy


class Rendered(NamedTuple):
    """A conversation as tokens: ``supervised[t]`` says that ``ids[t]`` itself is a target of the loss."""

    ids: list[int]
    supervised: list[bool]


class ChatTokenizer:
    """A tokenizer that knows turns. Made by `train_tokenizer` or `ChatTokenizer.load`.

    Args:
        content: what a ``tokenizer.json`` holds.
        origin: the file's name, for error messages.

    Attributes:
        content: the same.
        format: how turns are written.
        vocab_size: number of ids.
        bos_id: the id that every rendered conversation begins with.
        end_id: the id after every reply.
        pad_id: the id that fills rows.
        stop_ids: ids at which a reply ends: ``end_id`` and every other control token.
        fingerprint: sha256 of ``content``; a checkpoint remembers it.
        chat_template: Jinja text that renders conversations as `render` does.

    Raises:
        UserError: not a tokenizer, or one whose turns picochat does not know.
    """

    def __init__(self, content: str, origin: str = "tokenizer.json") -> None:
        try:
            self._tokenizer: Any = Tokenizer.from_str(content)
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"{origin} is not a tokenizer.json of the tokenizers library: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        added = self._tokenizer.get_added_tokens_decoder().values()
        self.content = content
        self.format = turn_format({token.content for token in added if token.special}, origin)
        self.chat_template = self.format.chat_template()
        self.fingerprint = sha256_text(content)
        self.vocab_size: int = self._tokenizer.get_vocab_size()

        self._start = self.encode(self.format.start)
        self._opening = {role: self.encode(self.format.opening.format(role=role)) for role in ROLES}
        self._end = self.encode(self.format.end)
        self._after = self.encode(self.format.after)
        self._document_start = self.encode(self.format.document_start)
        self._document_end = self.encode(self.format.document_end)
        self.bos_id = (*self._start, *self._opening["user"])[0]
        self.end_id = self._end[0]
        self.pad_id = self.encode(self.format.pad)[0]
        others = {self.bos_id, self.pad_id, *(opening[0] for opening in self._opening.values()), *self._document_end}
        self.stop_ids: tuple[int, ...] = (self.end_id, *sorted(others - {self.end_id}))
        self._tokenizer.encode_special_tokens = True  # from here on control tokens inside text are text
        self._refuse_lossy(origin)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.content,)  # the library's own pickling forgets encode_special_tokens

    @classmethod
    def load(cls, path: str | Path) -> "ChatTokenizer":
        """Load a ``tokenizer.json``, or the one in a model folder."""
        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        try:
            # newline="": the fingerprint is that of the file's bytes, whatever ends its lines
            with file.open(encoding="utf-8", newline="") as opened:
                content = opened.read()
        except OSError as error:
            remedy = "make one with `picochat tok train --dataset-pack PACK --vocab-size 512 --out tokenizer.json`"
            raise UserError(f"cannot read the tokenizer {file}: {error.strerror}; {remedy}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{file} is not a tokenizer.json: it is not UTF-8") from error
        return cls(content, str(file))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; never a control token, whatever the text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of ids. Bytes that are no UTF-8 become ``\\ufffd``."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def render(self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool = False) -> Rendered:
        """Turn a conversation into ids and their loss mask.

        Args:
            messages: ``{"role": "system" | "user" | "assistant", "content": text}``; a system message comes first.
                Replies are learnt, unless a message's ``weight`` (0 or 1) says otherwise. One "text" is a document.
            add_generation_prompt: end with the opening of an assistant turn, ready to be continued.

        Raises:
            UserError: an unknown role, or a system message that is not the first.
        """
        contents = [self.encode(message["content"]) for message in messages]
        return self._assemble(messages, contents, add_generation_prompt)

    def render_batch(
        self, conversations: Iterable[Sequence[dict[str, Any]]], add_generation_prompt: bool = False
    ) -> list[Rendered]:
        """`render` for many conversations at once, on all cores."""
        conversations = list(conversations)
        contents = iter(self._encode_all(m["content"] for messages in conversations for m in messages))
        return [
            self._assemble(messages, [next(contents) for _ in messages], add_generation_prompt)
            for messages in conversations
        ]

    def document(self, text: str) -> list[int]:
        """A document of the base stage: start, text, end."""
        return [*self._document_start, *self.encode(text), *self._document_end]

    def documents(self, texts: Iterable[str]) -> list[list[int]]:
        """`document` for many texts at once, on all cores."""
        return [[*self._document_start, *ids, *self._document_end] for ids in self._encode_all(texts)]

    def save(self, folder: str | Path) -> None:
        """Write ``tokenizer.json``, and ``tokenizer_config.json`` by which transformers loads it, into a folder."""
        token = self._tokenizer.id_to_token
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": token(self.bos_id),
            "eos_token": token(self.end_id),
            "pad_token": token(self.pad_id),
            "clean_up_tokenization_spaces": False,
            "chat_template": self.chat_template,
        }
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        write_files({Path(folder) / "tokenizer.json": self.content, Path(folder) / "tokenizer_config.json": text})

    def write(self, path: str | Path) -> None:
        """Write the one file ``tokenizer.json``, which is enough to load."""
        write_files({Path(path): self.content})

    def _assemble(
        self, messages: Sequence[dict[str, Any]], contents: list[list[int]], add_generation_prompt: bool
    ) -> Rendered:
        parts = [(self._start, False)]
        for index, (message, content) in enumerate(zip(messages, contents, strict=True)):
            role = message["role"]
            learnt = bool(message.get("weight", role in ("assistant", "text")))
            if role == "text":  # it stands alone
                parts = [(self._document_start, False), (content, learnt), (self._document_end, learnt)]
                continue
            if role not in self._opening or (role == "system" and index > 0):
                known = "system (first only), user, assistant"
                raise UserError(f"message {index + 1} has the role '{role}'; roles are {known}")
            parts += [(self._opening[role], False), (content, learnt), (self._end, learnt), (self._after, False)]
        if add_generation_prompt:
            parts.append((self._opening["assistant"], False))
        ids: list[int] = []
        supervised: list[bool] = []
        for part, flag in parts:
            ids += part
            supervised += [flag] * len(part)
        return Rendered(ids, supervised)

    def _encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        remaining = iter(texts)
        ids: list[list[int]] = []
        while part := list(islice(remaining, _TEXTS_AT_ONCE)):
            encodings = self._tokenizer.encode_batch_fast(part, add_special_tokens=False)
            ids += [encoding.ids for encoding in encodings]
        return ids

    def _refuse_lossy(self, origin: str) -> None:
        """Whatever a user types must come back as typed, and never as a control token."""
        highest = max(self._tokenizer.get_vocab().values())
        if highest >= self.vocab_size:  # the model has a row for each id
            raise UserError(f"{origin}: its {self.vocab_size} tokens have ids up to {highest}; they must have no gaps")
        if getattr(self._tokenizer.model, "dropout", None):
            raise UserError(f"{origin}: model.dropout makes the same text other tokens each time; set it to null")
        for text in (*_TYPED, *(token + "x" + token for token in SPECIAL_TOKENS)):
            ids = self.encode(text)
            if not set(ids).isdisjoint(self.stop_ids):
                raise UserError(
                    f"{origin}: a user who types {text!r} would write control tokens; train another tokenizer"
                )
            if self.decode(ids) != text:
                raise UserError(f"{origin}: {text!r} comes back as {self.decode(ids)!r}; it must keep text as it is")
