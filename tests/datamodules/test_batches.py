"""Batches: shifted once, isolated, labelled; long documents split so that every token is asked for exactly once."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picochat.datamodules.batches import draw_rows, render_row, split_rows, whole_rows
from picochat.datamodules.loaders import EvalBatches
from picochat.datamodules.packing import pack
from picochat.datamodules.plan import Split
from picochat.datamodules.store import Chunk, TokenStore, build_store
from picochat.model.tokenizer import ChatTokenizer

BOS, END, PAD = 0, 9, 7


def store_of(folder: Path, documents: list[list[int]], learnt: list[list[bool]] | None = None) -> TokenStore:
    names, number = [str(number) for number in range(len(documents))], np.arange(len(documents))
    lengths, mask = np.array([len(ids) for ids in documents]), np.concatenate(learnt) if learnt else None
    chunk = Chunk(np.concatenate(documents), lengths, mask, number, number, number, {"category": names})
    return build_store(folder / "store", [chunk], 10, {})


def test_two_documents_in_a_row_of_eight_as_drawn_in_batch(tmp_path: Path) -> None:
    yes, no = True, False
    store = store_of(tmp_path, [[BOS, 1, 2, END], [BOS, 3, END]], [[no, no, yes, yes], [no, no, yes]])
    examples = whole_rows(store, np.arange(2), np.array([4, 0]))
    batch = examples.batch([np.array([0, 1])], 8, PAD)
    assert batch.input_ids.tolist() == [[BOS, 1, 2, BOS, 3, PAD, PAD, PAD]]
    assert batch.labels.tolist() == [[-100, 2, END, -100, END, -100, -100, -100]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 0, 1, 2]]
    assert batch.document_ids.tolist() == [[1, 1, 1, 2, 2, 0, 0, 0]]
    assert batch.lane_ids.tolist() == [[4, 4, 4, 0, 0, -1, -1, -1]]
    assert batch.step_tokens.item() == 3
    assert batch.cu_seqlens.tolist() == [0, 3, 5, 8]
    assert batch.supervised.tolist() == [1, 2, 4]
    assert [str(tensor.dtype) for tensor in batch] == [f"torch.int{bits}" for bits in (64, 64, 64, 32, 16, 64, 32, 64)]
    assert examples.lengths.tolist() == [3, 2]
    assert examples.supervised.tolist() == [2, 1]
    padded = examples.batch([np.array([1]), np.array([], dtype=int)], 4, PAD)  # an empty bin is padding
    assert padded.input_ids.tolist() == [[BOS, 3, PAD, PAD], [PAD] * 4]
    assert padded.document_ids[1].tolist() == [0] * 4


def test_two_ranks_read_five_rows_once_as_drawn_in_eval_batches(tmp_path: Path) -> None:
    examples = whole_rows(store_of(tmp_path, [[BOS, n, END] for n in range(1, 6)]), np.arange(5), np.zeros(5, int))
    bins = pack(examples.lengths, 2)
    ranks = [EvalBatches(examples, PAD, bins, 2, Split(2, 1, 2), rank) for rank in (0, 1)]
    read = [[[row[1] for row in batch.input_ids.tolist()] for batch in (one[0], one[1])] for one in ranks]
    assert read == [[[1, 2], [5, PAD]], [[3, 4], [1, PAD]]]
    assert [int(one[1].step_tokens) for one in ranks] == [2, 1]
    assert [len(one[1].supervised) for one in ranks] == [2, 0]  # the first row again, of which nothing counts
    assert (ranks[1][1].labels == -100).all()


def test_a_long_document_is_split_as_drawn(tmp_path: Path) -> None:
    document = [BOS, *(1, 2, 3, 4, 5, 6, 8), END]  # BOS a b c d e f g END
    examples = split_rows(store_of(tmp_path, [document]), np.arange(1), 5, 2, (BOS,))
    parts = [examples[index] for index in range(len(examples))]
    assert [ids.tolist() for ids, _ in parts] == [[BOS, 1, 2, 3, 4, 5], [BOS, 4, 5, 6, 8, END]]
    assert [learnt.tolist() for _, learnt in parts] == [[True] * 6, [False] * 3 + [True] * 3]
    assert examples.lengths.tolist() == [5, 5]
    assert examples.supervised.tolist() == [5, 3]


@given(
    st.lists(st.integers(1, 70), min_size=1, max_size=6),
    st.integers(4, 12).flatmap(lambda context: st.tuples(st.just(context), st.integers(1, context - 2))),
)
@settings(max_examples=40)  # each writes a store
def test_every_token_of_every_document_is_asked_for_once_behind_its_predecessors(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], context_and_overlap: tuple[int, int]
) -> None:
    context, overlap = context_and_overlap
    documents, count = [], 1
    for size in sizes:  # all tokens differ, so each can be followed
        documents.append([BOS, *range(count, count + size)])
        count += size
    store = store_of(tmp_path_factory.mktemp("split"), documents)
    examples = split_rows(store, np.arange(len(documents)), context, overlap, (BOS,))
    asked: list[int] = []
    for index in range(len(examples)):
        ids, learnt = examples[index]
        assert ids[0] == BOS
        assert len(ids) - 1 == examples.lengths[index] <= context
        assert learnt[1:].sum() == examples.supervised[index] > 0
        targets = ids[1:][learnt[1:]]
        asked += targets.tolist()
        before = ids[:-1][learnt[1:]]
        assert all(b == target - 1 or b == BOS for b, target in zip(before, targets, strict=True))
        if examples.reread[index]:
            assert before[0] != BOS  # the first token asked for has its predecessor before it
    assert asked == list(range(1, count))


def test_a_row_is_rendered_with_borders_lanes_and_what_is_learnt(tmp_path: Path, files: dict[str, str]) -> None:
    tokenizer = ChatTokenizer.load(files["tokenizer"])
    texts = [("How many?", "Two."), ("Who?", "A dog.")]
    rendered = [
        tokenizer.render([{"role": "user", "content": a}, {"role": "assistant", "content": b}]) for a, b in texts
    ]
    store = store_of(tmp_path, [one.ids for one in rendered], [one.supervised for one in rendered])
    examples = whole_rows(store, np.arange(2), np.array([1, 0]))
    used = int(examples.lengths.sum())
    batch = examples.batch([np.array([0, 1])], used + 3, tokenizer.pad_id)
    assert render_row(batch, 0, tokenizer, ["who", "count"]).splitlines() == [
        "document 1 [count] <|bos|><|user|>How many?<|end|><|assistant|>⟦Two.<|end|>⟧",
        "document 2 [who] <|bos|><|user|>Who?<|end|><|assistant|>⟦A dog.<|end|>⟧",
        "padding 3 positions",
    ]
    drawing = draw_rows(batch, [0], ["who", "<b>count"])
    widths = re.findall(r'width="([\d.]+)" height="5" fill="(\S+ \S+ \S+)" opacity="(0.35|1)"', drawing)
    first, second = (one.supervised[1:] for one in rendered)  # the targets
    prompts = [len(learnt) - sum(learnt) for learnt in (first, second)]
    assert [float(width) for width, _, _ in widths] == [prompts[0], sum(first), prompts[1], sum(second)]
    assert [opacity for _, _, opacity in widths] == ["0.35", "1"] * 2
    assert len({colour for _, colour, _ in widths}) == 2
    assert "<b>" not in drawing
