"""Text to tokens and back. In: conversations and documents. Out: ids and their loss mask. Next: datamodules.

A conversation is written by the model's own chat template (turns.py); in picochat's own:

    <|bos|><|user|>What is 2 + 3?<|end|><|assistant|>Final answer: 5<|end|>
       0      0    0 0 0 …        0         0         1 1 …          1      supervised: the reply and its <|end|>

Text between control tokens is encoded as one, a message with what the template puts beside it, but for the place where
a reply begins. Messages are encoded with control tokens switched off, so a user who types ``<|end|>`` gets seven
ordinary characters. transformers gives the same ids, but reads control tokens inside a message as what they are;
picochat's own templates therefore refuse such a message.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tokenizers import Tokenizer

from picochat.errors import UserError
from picochat.files import sha256_text, write_files
from picochat.model.turns import ROLES, SPECIAL_TOKENS, ChatTemplate, join, own_template, saved_template
from picochat.strict_json import read_json_object

T = TypeVar("T")
_ANCHOR = "\ue000"
_TYPED = (" Ab  é🙂\n\tعمر 12", "<|im_start|>user\n<|im_end|> <|endoftext|>")  # what every tokenizer must give back
_BESIDE = (  # files that belong to a tokenizer.json, and are kept as they are
    *("tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"),
    *("added_tokens.json", "generation_config.json"),
)
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")  # the first that there is, else the eos_token
_AT_ONCE, _CHARACTERS_AT_ONCE = 8192, 1 << 20  # encode_batch keeps every Encoding of a call alive, 200 bytes a token


class Rendered(NamedTuple):
    """A conversation as tokens: ``supervised[t]`` says that ``ids[t]`` itself is a target of the loss."""

    ids: list[int]
    supervised: list[bool]


def in_parts(items: Iterable[T], characters: Callable[[T], int]) -> Iterator[list[T]]:
    """Lists of the items in turn, as long as keeps all cores busy in bounded memory."""
    part: list[T] = []
    size = 0
    for item in items:
        size += characters(item)
        if part and (size > _CHARACTERS_AT_ONCE or len(part) == _AT_ONCE):
            yield part
            part, size = [], characters(item)
        part.append(item)
    if part:
        yield part


class ChatTokenizer:
    """A tokenizer that knows turns. Made by `train_tokenizer` or `ChatTokenizer.load`.

    Args:
        content: what a ``tokenizer.json`` holds.
        origin: the file's name, for error messages.
        files: what the files beside it in a model folder hold, by name.
        thinking: whether the model writes its thought itself (its template's ``enable_thinking``), or prompts end in an
            empty one; None: what the tokenizer_config.json says, else an empty one. The choice is saved with it.

    Attributes:
        document_start: ids before a document of the base stage.
        bos_id, pad_id, end_id: the ids that begin a text, fill rows, and end every reply.
        stop_ids: ids at which a reply ends: ``end_id`` and every other control token of turns.
        fingerprint: sha256 of ``content``; a checkpoint remembers it.
        chat_template: Jinja text that renders conversations as `render` does.
    """

    def __init__(
        self,
        content: str,
        origin: str = "tokenizer.json",
        files: Mapping[str, str] | None = None,
        thinking: bool | None = None,
    ) -> None:
        try:
            self._tokenizer: Any = Tokenizer.from_str(content)
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"{origin} is not a tokenizer.json of the tokenizers library: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.content, self.origin, self.files = content, origin, dict(files or {})
        added = self._tokenizer.get_added_tokens_decoder().items()
        self._ids = {token.content: number for number, token in added if token.special}  # of the control tokens
        self._swallowing = {number for number, token in added if token.special and token.rstrip}  # white space after
        self.fingerprint = sha256_text(content)
        self.vocab_size: int = self._tokenizer.get_vocab_size()

        settings = self.settings("tokenizer_config.json")
        named = {
            name: value.get("content") if isinstance(value, dict) else value
            for name, value in settings.items()
            if value and name.endswith("_token")
        }
        source = self.files.get("chat_template.jinja") or saved_template(settings)
        if not source:
            source = own_template(self._ids, origin)
            if settings:  # another maker's, which stay as they are
                self.files["chat_template.jinja"] = source
        if thinking is not None:
            if "enable_thinking" not in source:
                raise UserError(f"thinking is {thinking}, and the template of {origin} knows no thoughts; leave it out")
            settings["enable_thinking"] = thinking
            self.files["tokenizer_config.json"] = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        self.thinking = bool(settings.get("enable_thinking"))
        variables = {**named, "enable_thinking": self.thinking}
        self.turns, self.chat_template = ChatTemplate(source, self._ids, variables, origin), source

        self._tokenizer.encode_special_tokens = True  # from here on control tokens inside text are text
        # Llama 2's form puts a space before every text; text that goes on is encoded after a line break, then cut off.
        begins = self._tokenizer.encode("a", add_special_tokens=False).tokens[:1]
        self._before = "\n" if "▁" in "".join(begins) else ""
        self._cut = len(self.encode(self._before))
        spoken = self.turns.parts(("user", "assistant"), False)
        used = [part.text for part in spoken if part.control]
        with suppress(UserError):  # templates without system messages
            used += [part.text for part in self.turns.parts(ROLES, False) if part.control]

        def first(*tokens: Any) -> str:  # that there is
            return next(token for token in map(str, tokens) if token in self._ids)

        end = next(part.text for part in reversed(spoken) if part.control and part.turn == 1)
        last = first(*_DOCUMENT_ENDS, named.get("eos_token"), end)
        pad, bos = first("<|pad|>", named.get("pad_token"), last), first(named.get("bos_token"), spoken[0].text, last)
        start = spoken[0].text == bos and bos in ("<|bos|>", named.get("bos_token"))
        self.bos_id, self.end_id, self.pad_id, self._last = map(self._ids.__getitem__, (bos, end, pad, last))
        self.document_start = [self.bos_id] if start else []
        stops = self.settings("generation_config.json").get("eos_token_id")
        stops = stops if isinstance(stops, list) else [stops]
        stops = {stop for stop in stops if isinstance(stop, int) and 0 <= stop < self.vocab_size}
        stops |= {*map(self._ids.__getitem__, used), self.pad_id, self._last, self.bos_id}
        self.stop_ids: tuple[int, ...] = (self.end_id, *sorted(stops - {self.end_id}))
        self._refuse_lossy()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.content, self.origin, self.files)  # the library's own forgets encode_special_tokens

    @classmethod
    def load(cls, path: str | Path, thinking: bool | None = None) -> "ChatTokenizer":
        """Load a ``tokenizer.json``, or the one in a model folder, with the files that belong to it."""
        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        texts: dict[str, str] = {}
        try:
            for one in (file, *(file.parent / name for name in _BESIDE)):
                if one == file or one.is_file():
                    texts[one.name] = one.read_bytes().decode()  # with the ends of its lines: it is kept as it is
        except OSError as error:
            remedy = "make one with `picochat tok train --dataset-pack PACK --vocab-size 512 --out tokenizer.json`"
            raise UserError(f"cannot read the tokenizer {one}: {error.strerror}; {remedy}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{one} is not UTF-8; a tokenizer's files are") from error
        content = texts.pop(file.name)
        for name in texts:
            if name.endswith(".json"):
                read_json_object(file.parent / name)  # refused now, with its place
        return cls(content, str(file), texts, thinking)

    def settings(self, name: str) -> dict[str, Any]:
        """What one of the ``files`` holds as JSON; nothing where it is not there."""
        held: dict[str, Any] = json.loads(self.files.get(name, "{}").removeprefix("\ufeff"))
        return held

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; never a control token, whatever the text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_reply(self, text: str) -> list[int]:
        """Ids of a reply's text as `render` writes it after a prompt, without its end."""
        asked: list[Mapping[str, Any]] = [{"role": "user", "content": "?"}]
        begin = len(self.render(asked, add_generation_prompt=True).ids)
        ids = self.render([*asked, {"role": "assistant", "content": text}]).ids
        return ids[begin : ids.index(self.end_id, begin)]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of ids. Bytes that are no UTF-8 become ``\\ufffd``."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def render(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False) -> Rendered:
        """Turn a conversation into ids and their loss mask; UserError for roles that the template refuses.

        Messages are ``{"role": "system" | "user" | "assistant", "content": text}``; a system message comes first.
        Replies are learnt, unless a message's ``weight`` (0 or 1) says otherwise. One "text" is a document.
        ``add_generation_prompt`` ends it with the opening of an assistant turn.
        """
        return self.render_batch([messages], add_generation_prompt)[0]

    def render_batch(
        self, conversations: Iterable[Sequence[Mapping[str, Any]]], add_generation_prompt: bool = False
    ) -> list[Rendered]:
        """`render` for many conversations at once, on all cores."""
        runs = [self._runs(messages, add_generation_prompt) for messages in conversations]
        texts = (run for those in runs for run in those if run.token is None)
        encoded = iter(self._encode_all(self._before * run.goes_on + run.text for run in texts))
        rendered = [Rendered([], []) for _ in runs]
        for (ids, supervised), those in zip(rendered, runs, strict=True):
            for run in those:
                own = next(encoded)[self._cut * run.goes_on :] if run.token is None else [run.token]
                ids += own
                supervised += [run.learnt] * len(own)
        return rendered

    def document(self, text: str) -> list[int]:
        """A document of the base stage: start, text, end."""
        return self.documents([text])[0]

    def documents(self, texts: Iterable[str]) -> list[list[int]]:
        """`document` for many texts at once, on all cores."""
        return [[*self.document_start, *ids, self._last] for ids in self._encode_all(texts)]

    def save(self, folder: str | Path) -> None:
        """Write ``tokenizer.json`` and the files beside it into a folder; another maker's as they were."""
        used = (self.bos_id, self.end_id, self.pad_id, *self.stop_ids)
        bos, end, pad, *stops = map(self._tokenizer.id_to_token, used)
        opening = join(self.turns.parts(("user",), True), [_ANCHOR]).rpartition(_ANCHOR)[2]
        reply = {"content": {"close": stops, "content": "text"}}
        own = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos,
            "eos_token": end,
            "pad_token": pad,
            "clean_up_tokenization_spaces": False,
            "chat_template": self.chat_template,
            # by which `transformers serve` finds a reply
            "response_template": {"defaults": {"role": "assistant"}, "start_anchor": opening, "fields": reply},
        }
        config = json.dumps(own, indent=2, ensure_ascii=False) + "\n"
        files = {"tokenizer_config.json": config, **self.files, "tokenizer.json": self.content}
        write_files({Path(folder) / name: text for name, text in files.items() if name != "generation_config.json"})

    def write(self, path: str | Path) -> None:
        """Write the one file ``tokenizer.json``, which is enough to load."""
        write_files({Path(path): self.content})

    def _runs(self, messages: Sequence[Mapping[str, Any]], prompt: bool) -> list["_Run"]:
        """A conversation as control tokens and runs of text between them."""
        learnt = [bool(message.get("weight", message["role"] in ("assistant", "text"))) for message in messages]
        if [message["role"] for message in messages] == ["text"]:  # it stands alone
            start = [_Run("", token, False) for token in self.document_start]
            return [*start, _Run(messages[0]["content"], None, learnt[0]), _Run("", self._last, learnt[0])]
        for number, message in enumerate(messages):
            role = message["role"]
            if role not in ROLES or (role == "system" and number > 0):
                raise UserError(f"message {number + 1} has the role '{role}', not system (first only), user, assistant")
        roles = tuple(message["role"] for message in messages)
        contents = self.turns.taken(roles, [message["content"] for message in messages], prompt)
        runs: list[_Run] = []
        for part in self.turns.parts(roles, prompt):
            text = part.text if part.message < 0 else part.trim(contents[part.message])
            supervised = part.turn >= 0 and learnt[part.turn]
            if part.control:
                runs.append(_Run(text, self._ids[text], supervised))
                continue
            if runs and runs[-1].token in self._swallowing:
                text = text.lstrip()  # as the tokenizers library does it
            goes_on = bool(runs) and runs[-1].token is None
            if goes_on and not part.begins and runs[-1].learnt == supervised:
                runs[-1] = runs[-1]._replace(text=runs[-1].text + text)
            elif text:
                runs.append(_Run(text, None, supervised, goes_on))
        return runs

    def _encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        parts = (self._tokenizer.encode_batch_fast(part, add_special_tokens=False) for part in in_parts(texts, len))
        return [encoding.ids for part in parts for encoding in part]

    def _refuse_lossy(self) -> None:
        """Whatever a user types must come back as typed, and never as a control token."""
        highest, wrong = max(self._tokenizer.get_vocab().values()), ""
        if highest >= self.vocab_size:  # the model has a row for each id
            wrong = f"its {self.vocab_size} tokens have ids up to {highest}; they must have no gaps"
        elif getattr(self._tokenizer.model, "dropout", None):
            wrong = "model.dropout makes the same text other tokens each time; set it to null"
        for text in (*_TYPED, *(token + "x" + token for token in SPECIAL_TOKENS)):
            ids = self.encode(text)
            if not set(ids).isdisjoint(self.stop_ids):
                wrong = wrong or f"a user who types {text!r} would write control tokens; train another tokenizer"
            elif self.decode(ids) != text:
                wrong = wrong or f"{text!r} comes back as {self.decode(ids)!r}; it must keep text as it is"
        if wrong:
            raise UserError(f"{self.origin}: {wrong}")


class _Run(NamedTuple):
    text: str
    token: int | None  # the id, of a control token
    learnt: bool
    goes_on: bool = False  # it stands behind other text
