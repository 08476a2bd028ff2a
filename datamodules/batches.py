"""From tokens to tensors. In: a store, and which spans of it are examples. Out: `model.batch.Batch`. Next: loaders.

Inputs and targets are shifted here, once, for each example: n tokens take n - 1 positions of a row. A document that is
longer than the context becomes several examples, which begin with BOS and read the last tokens of the one before again,
so that every token is a target exactly once, and never without a token before it:

    document   BOS a b c d e f g END        context 5, 2 tokens read again
    example 0  BOS a b c d e                targets a b c d e
    example 1  BOS d e f g END              targets f g END; d and e are only read
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from picochat.datamodules.packing import IntArray
from picochat.datamodules.store import TokenStore
from picochat.model.batch import IGNORE_INDEX, Batch
from picochat.model.tokenizer import ChatTokenizer


@dataclass(frozen=True, eq=False)
class Examples:
    """Spans of a store's tokens, each of which is packed whole.

    Attributes:
        store: the tokens.
        rows: [examples] the row of the store that each comes from.
        begins, ends: [examples] example i is ``store.tokens[begins[i]:ends[i]]``, after `prefix` where it reads again.
        reread: [examples] how many of its first tokens were targets of the example before it; 0 for a row's first.
        lanes: [examples] lane of each.
        prefix: the ids that a continued document begins with.
    """

    store: TokenStore
    rows: IntArray
    begins: IntArray
    ends: IntArray
    reread: IntArray
    lanes: IntArray
    prefix: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> IntArray:
        """[examples] positions that each takes in a row: its tokens less one."""
        prefixed = np.where(self.reread > 0, len(self.prefix), 0)
        return (self.ends - self.begins + prefixed - 1).astype(np.int32)

    @property
    def supervised(self) -> IntArray:
        """[examples] supervised tokens of each."""
        if self.store.learnt is not None:
            return self.store.supervised[self.rows]
        return (self.ends - self.begins - np.maximum(self.reread, 1)).astype(np.int32)

    def take(self, chosen: npt.NDArray[np.bool_]) -> "Examples":
        """The examples where `chosen` [examples] is true."""
        return replace(self, **{n: getattr(self, n)[chosen] for n in ("rows", "begins", "ends", "reread", "lanes")})

    def __getitem__(self, index: int) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """(ids [tokens], loss mask [tokens])."""
        span = slice(int(self.begins[index]), int(self.ends[index]))
        ids = self.store.tokens[span].astype(np.int64)
        mask = np.ones(len(ids), dtype=bool) if self.store.learnt is None else self.store.learnt[span].astype(bool)
        if reread := int(self.reread[index]):
            mask[:reread] = False
            ids = np.concatenate([np.array(self.prefix, dtype=np.int64), ids])
            mask = np.concatenate([np.zeros(len(self.prefix), dtype=bool), mask])
        return ids, mask

    def batch(
        self, bins: Sequence[IntArray], context_length: int, pad_id: int, step_tokens: int | None = None
    ) -> Batch:
        """A row for each bin of examples; an empty bin is a row of padding. `step_tokens` are the supervised tokens of
        the whole optimizer step; None counts those of this batch."""
        shape = (len(bins), context_length)
        inputs = np.full(shape, pad_id, dtype=np.int64)
        labels = np.full(shape, IGNORE_INDEX, dtype=np.int64)
        positions = np.zeros(shape, dtype=np.int64)
        documents = np.zeros(shape, dtype=np.int32)
        lanes = np.full(shape, -1, dtype=np.int16)
        for row, members in enumerate(bins):
            place = 0
            for document, index in enumerate(members.tolist(), start=1):
                ids, mask = self[index]
                span = slice(place, place + len(ids) - 1)
                inputs[row, span] = ids[:-1]
                labels[row, span] = np.where(mask[1:], ids[1:], IGNORE_INDEX)
                positions[row, span] = np.arange(len(ids) - 1)
                documents[row, span] = document
                lanes[row, span] = self.lanes[index]
                place = span.stop
            positions[row, place:] = np.arange(context_length - place)
        begins = np.diff(documents, axis=1, prepend=-1) != 0
        cu_seqlens = np.append(np.flatnonzero(begins), documents.size).astype(np.int32)
        supervised = np.flatnonzero(labels != IGNORE_INDEX)
        # without supervised tokens the loss is 0, not 0 / 0
        total = torch.tensor(max(len(supervised) if step_tokens is None else step_tokens, 1))
        first, last = (inputs, labels, positions, documents, lanes), (cu_seqlens, supervised)
        return Batch._make([*map(torch.from_numpy, first), total, *map(torch.from_numpy, last)])


def whole_rows(store: TokenStore, rows: IntArray, lanes: IntArray) -> Examples:
    """Every row as one example."""
    offsets = np.asarray(store.offsets)
    return Examples(store, rows, offsets[rows], offsets[rows + 1], np.zeros(len(rows), dtype=np.int32), lanes)


def split_rows(
    store: TokenStore, rows: IntArray, context_length: int, reread: int, prefix: tuple[int, ...]
) -> Examples:
    """Rows cut where they do not fit the context, as drawn above; a continuing example reads `reread` tokens again."""
    offsets = np.asarray(store.offsets)
    starts, stops = offsets[rows], offsets[rows + 1]
    first = context_length + 1  # tokens that fit the first example
    more = first - len(prefix) - reread  # new tokens of each example after it
    pieces = 1 + np.maximum(0, -(-(stops - starts - first) // more))
    of_row = np.repeat(np.arange(len(rows)), pieces)
    number = np.arange(len(of_row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    ends = np.minimum(starts[of_row] + first + number * more, stops[of_row])
    again = np.where(number > 0, reread, 0).astype(np.int32)
    begins = np.where(number > 0, starts[of_row] + first + (number - 1) * more - reread, starts[of_row])
    return Examples(store, rows[of_row], begins, ends, again, np.zeros(len(of_row), dtype=np.int16), prefix)


def render_row(batch: Batch, row: int, tokenizer: ChatTokenizer, lanes: Sequence[str]) -> str:
    """One packed row as text: a line for each document, with its lane; supervised tokens stand between ⟦ and ⟧.

    document 1 [bench_math_addition] <|bos|><|user|>2 + 3?<|end|><|assistant|>⟦Final answer: 5<|end|>⟧
    """
    lines, padding = [], int((batch.document_ids[row] == 0).sum())
    for number, (lane, places) in enumerate(_documents(batch, row), start=1):
        targets = batch.labels[row, places].tolist()
        # the tokens of the document: its inputs, and after them its last target
        tokens = zip([*batch.input_ids[row, places].tolist(), targets[-1]], [IGNORE_INDEX, *targets], strict=True)
        text = f"document {number} [{lanes[lane]}] "
        for supervised, run in groupby(tokens, key=lambda pair: pair[1] != IGNORE_INDEX):
            part = tokenizer.decode([one for one, _ in run if one != IGNORE_INDEX], skip_special_tokens=False)
            text += f"⟦{part}⟧" if supervised else part
        lines.append(text)
    return "\n".join([*lines, *([f"padding {padding} positions"] if padding else [])])


class Drawing(str):
    """SVG that a notebook shows as a picture."""

    def _repr_html_(self) -> str:
        return str(self)


def draw_rows(batch: Batch, rows: Sequence[int], lanes: Sequence[str]) -> Drawing:
    """Packed rows as bars: a block for each document, in its lane's colour, dark where the loss mask is on."""
    shapes, shown = [], dict[int, str]()
    for height, row in enumerate(rows):
        labels = batch.labels[row].tolist()
        for lane, places in _documents(batch, row):
            colour = shown.setdefault(lane, f"hsl({round(lane * 137.5) % 360} 60% 45%)")  # neighbours differ
            for supervised, run in groupby(places, key=lambda place: labels[place] != IGNORE_INDEX):
                first, *others = run
                shapes.append(
                    f'<rect x="{first}" y="{6 * height}" width="{1 + len(others)}" height="5" fill="{colour}" '
                    f'opacity="{1 if supervised else 0.35}"><title>{escape(lanes[lane])}</title></rect>'
                )
            shapes.append(f'<rect x="{places[-1] + 0.5}" y="{6 * height}" width="0.5" height="5" fill="#fff"/>')
    key = "".join(f'<span style="color:{colour}">■</span> {escape(lanes[lane])} ' for lane, colour in shown.items())
    box = f"0 0 {batch.input_ids.shape[1]} {6 * len(rows)}"
    return Drawing(f'<svg viewBox="{box}" width="100%">{"".join(shapes)}</svg><p>{key}</p>')


def _documents(batch: Batch, row: int) -> Iterator[tuple[int, list[int]]]:
    """The lane of each document of a packed row, and the positions that it takes."""
    documents = batch.document_ids[row]
    for document in range(1, int(documents.max()) + 1):
        places = torch.nonzero(documents == document).flatten().tolist()
        yield int(batch.lane_ids[row, places[0]]), places
