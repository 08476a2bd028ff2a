"""The Lightning adapter around the decoder. In: batches of a picochat datamodule. Out: gradients, logged losses.

Every stage (base, capability, release) is this module with another datamodule. Next: picochat.callbacks.

Token-exact loss. With A micro-batches a step and W ranks, Lightning divides every loss by A and DDP averages gradients
over W. The plan knows the supervised tokens N of the whole step, so each micro-batch returns

    loss = Σ nll · A · W / N        A and W cancel; the step's gradient is that of Σ nll / N over all its tokens

whatever way the step was cut: (8 rows × A 4), (32 × 1) and 2 ranks × (16 × 1) give the same gradients.
"""

import contextlib
import math
import time
from dataclasses import asdict, fields, replace
from typing import Any, Literal, cast

import torch
from lightning import LightningModule
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from picochat.errors import UserError
from picochat.model.batch import Batch
from picochat.model.checkpoint import check_tokenizer, load_checkpoint
from picochat.model.config import DecoderConfig, adapter_base, config_of, find_model
from picochat.model.decoder import Decoder, add_lora, lora_scale
from picochat.model.engine import Decoding
from picochat.model.generation import generate
from picochat.model.hardware import memory_of
from picochat.model.loss import LaneLoss, by_example, supervised_nll
from picochat.model.optim import OptimizerConfig, build_optimizer
from picochat.model.sizes import Setup, memory_warning
from picochat.model.tokenizer import ChatTokenizer
from picochat.packs.rows import Row


class ChatModule(LightningModule):
    """A chat model in training.

    Args:
        decoder: the size of a fresh model (its vocabulary and context come from the data). With a checkpoint: what
            its size must be, or null.
        checkpoint: model folder (or name of the hub) to start from; null: fresh weights.
        optimizer: which optimizer, and its rates.
        compile: compile the decoder with torch.compile; the run says how long that took. The first validation compiles
            it once more, without gradients; other packs do not.
        activation_checkpointing: keep only each block's input: a third more work, a fraction of the memory.
        matmul_precision: float32 matrix products: 'highest', 'high' (TF32) or 'medium'; see
            torch.set_float32_matmul_precision. 'default' leaves torch as it is.
        weights_dtype: number format of the model folders; null keeps the checkpoint's.
        lora_rank: train matrices of this low rank beside the frozen weights (LoRA); null: none, all weights train.
        lora_alpha: scale of their product, times the rank; null: twice the rank.
    """

    def __init__(
        self,
        decoder: DecoderConfig | None = None,
        checkpoint: str | None = None,
        optimizer: OptimizerConfig | None = None,
        compile: bool = False,  # noqa: A002 - torch's own word for it
        matmul_precision: Literal["default", "highest", "high", "medium"] = "default",
        activation_checkpointing: bool = False,
        weights_dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
    ) -> None:
        super().__init__()
        # No save_hyperparameters(): a resumed run takes its settings from config.yaml, never from its checkpoint.
        self.decoder_config = decoder
        self.checkpoint = checkpoint
        self.optimizer_config = optimizer or OptimizerConfig()
        self.compile_decoder = compile
        self.matmul_precision = matmul_precision
        self.activation_checkpointing = activation_checkpointing
        self.decoder: Decoder = None  # type: ignore[assignment]  # made in configure_model, when the tokenizer is known
        self.weights_dtype = weights_dtype
        self.lora_rank, self.lora_alpha = lora_rank, lora_alpha
        if lora_rank is not None and (lora_rank < 1 or checkpoint is None):
            raise UserError(f"model.lora_rank is {lora_rank}; it needs a number from 1 and a model.checkpoint to adapt")
        if lora_alpha is not None and (lora_rank is None or not lora_alpha > 0):
            raise UserError(f"model.lora_alpha is {lora_alpha}; it needs a number above 0 and a model.lora_rank")
        self.lane_losses = torch.nn.ModuleList()  # one for each of the data's val_names, one for test
        self._step_nll: Tensor | float = 0.0
        self._began = 0.0
        self._folder = find_model(checkpoint) if checkpoint is not None else None
        if self._folder is not None:
            if not self._folder.is_dir():
                raise UserError(
                    f"model.checkpoint: {checkpoint} is not a model folder; train the base first with "
                    "`picochat fit --config base.yaml`, or name another folder"
                )
            config_of(self._folder)

    @property
    def data(self) -> Any:
        """The running trainer's datamodule; it has chat_tokenizer, lanes, val_names and context_length."""
        data = getattr(self._trainer, "datamodule", None)
        if data is None:
            raise UserError(
                "ChatModule needs a datamodule: trainer.fit(module, datamodule=ChatDataModule(…)); without one train "
                "picochat.model.decoder.Decoder, and load a last.ckpt's model folder (`picochat export`)"
            )
        return data

    @property
    def chat_tokenizer(self) -> ChatTokenizer:
        """The tokenizer that the weights belong to."""
        return cast(ChatTokenizer, self.data.chat_tokenizer)

    def configure_model(self) -> None:
        """Build or load the decoder. Lightning calls this after the datamodule's prepare_data and setup."""
        if self.decoder is not None:
            return
        context = self.data.context_length
        if self._folder is not None:
            check_tokenizer(self._folder, self.chat_tokenizer)
            if self.lora_rank is not None and adapter_base(self._folder):
                raise UserError(f"{self.checkpoint} is an adapter itself; merge it first with `picochat export`")
            self.decoder = load_checkpoint(self._folder).decoder
            self.weights_dtype = self.weights_dtype or str(self.decoder.lm_head.weight.dtype).removeprefix("torch.")
            own = self.decoder.config
            refuse_other_size(self.decoder_config, own, self.checkpoint)
            self.decoder.config = replace(own, max_position_embeddings=max(own.max_position_embeddings, context))
        else:
            config, vocabulary = self.decoder_config or DecoderConfig(), self.chat_tokenizer.vocab_size
            self.decoder = Decoder(replace(config, vocab_size=vocabulary, max_position_embeddings=context))
        self.decoder.float().train()  # master weights in fp32; precision is the trainer's autocast
        if self.lora_rank is not None:
            add_lora(self.decoder, self.lora_rank, 2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha)
        if self.activation_checkpointing:
            self.decoder.recompute()
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            from picochat.model.sharding import shard_module  # half a second of imports, which other runs are spared

            shard_module(self, self.trainer.strategy)
        elif self.compile_decoder:
            self.decoder.compile()

    def setup(self, stage: str) -> None:
        if self.matmul_precision != "default":
            torch.set_float32_matmul_precision(self.matmul_precision)
        sums = torch.float32 if self.trainer.strategy.root_device.type == "mps" else torch.float64  # MPS has none
        self.lane_losses = torch.nn.ModuleList(LaneLoss(self.data.lanes, sums) for _ in (*self.data.val_names, "test"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what makes a model folder of the weights: `picochat export --checkpoint RUN/last.ckpt`."""
        if self.decoder is None:  # OnExceptionCheckpoint, of a run that was refused before it began
            return
        checkpoint["picochat"] = {
            "decoder": asdict(self.decoder.config),
            "tokenizer": self.chat_tokenizer.content,
            "tokenizer_files": self.chat_tokenizer.files,
            "dtype": self.weights_dtype or "float32",
            "lora_scale": lora_scale(self.decoder),
            "provenance": self.provenance(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the state of another model before torch does so in a page of names."""
        if not isinstance(self.trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
            return  # others shard the weights, and compare the slices themselves
        states = self.state_dict(), checkpoint["state_dict"]
        for name in (*states[0], *states[1]):
            here, there = (f"the shape {tuple(s[name].shape)}" if name in s else "no such weight" for s in states)
            if here != there:
                raise UserError(
                    f"the checkpoint is of another model: {name} has {here} here and {there} there; resume with its "
                    "run's config.yaml, or start a new run without --ckpt_path"
                )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self.configure_model()  # a trainer has done so already; without one it says what is missing
        return build_optimizer(self.decoder, self.optimizer_config)

    def on_fit_start(self) -> None:
        """Say how large the model is, and before the first step whether the plan's bytes exceed the device's."""
        self._began = time.perf_counter()
        trainer, strategy, config = self.trainer, self.trainer.strategy, self.decoder.config
        with strategy.precision_plugin.forward_context():  # autocast decides it too
            backend = self.decoder.attention_backend()
        rank_zero_info(f"model: {config.num_parameters:,} parameters; attention isolated by document ({backend})")
        setup = Setup(
            rows=getattr(self.data, "batch_size", 1),
            context=self.data.context_length,
            optimizer=self.optimizer_config.name,
            half="16" in str(trainer.precision),
            ranks=trainer.world_size,
            sharded=isinstance(strategy, ModelParallelStrategy),
            recompute=self.activation_checkpointing,
            device="cpu" if strategy.root_device.type == "cpu" else "gpu",
            lora_rank=self.lora_rank,
        )
        if warning := memory_warning(config, setup, memory_of(strategy.root_device)):
            rank_zero_warn(warning)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self.compile_decoder and self._began:
            seconds = time.perf_counter() - self._began
            rank_zero_info(f"model.compile: the first batch came after {seconds:.0f} s, compilation included")
        self._began = 0.0

    def nll(self, batch: Batch) -> Tensor:
        """Negative log-likelihood [n] of the supervised positions, in row-major order, in nats."""
        hidden = self.decoder(batch.input_ids, batch.position_ids, batch.document_ids, batch.cu_seqlens)
        return supervised_nll(self.decoder, hidden, batch.labels, supervised=batch.supervised)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        nll = self.nll(batch).sum()
        self._step_nll = self._step_nll + nll.detach() / batch.step_tokens
        return nll * (self.trainer.accumulate_grad_batches * self.trainer.world_size) / batch.step_tokens

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the loss of the whole step: the mean over its supervised tokens, of all micro-batches and ranks."""
        self.log("train/loss", self._step_nll, prog_bar=True, sync_dist=True, reduce_fx="sum")
        self._step_nll = 0.0

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Losses and lanes of the examples, for the `outputs` of a callback's on_validation_batch_end."""
        nll = self.nll(batch)
        cast(LaneLoss, self.lane_losses[dataloader_idx]).update(nll, batch.lane_ids.flatten()[batch.supervised])
        return by_example(nll, batch)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx, dataloader_idx=-1)

    def on_validation_epoch_end(self) -> None:
        for index, name in enumerate(self.data.val_names):
            self._log_losses(index, name)

    def on_test_epoch_end(self) -> None:
        self._log_losses(-1, "test")

    def predict_step(self, batch: list[Row], batch_idx: int) -> list[Row]:
        """Answer eval rows greedily; each comes back with its `reply`."""
        tokenizer = self.chat_tokenizer
        prompts = [tokenizer.render(row["messages"], add_generation_prompt=True).ids for row in batch]
        replies = generate(self.decoder, tokenizer, prompts, Decoding(max_new_tokens=self.data.context_length))
        return [{**row, "reply": reply.text} for row, reply in zip(batch, replies, strict=True)]

    def on_predict_start(self) -> None:
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            raise UserError("predict needs whole weights; leave trainer.strategy out, or use `picochat generate`")

    def whole_weights(self) -> contextlib.AbstractContextManager[None]:
        """While it lasts, the decoder is whole where it was sharded; every rank has to enter."""
        if not isinstance(self.trainer.strategy, ModelParallelStrategy):
            return contextlib.nullcontext()
        from picochat.model.sharding import whole

        return whole(self)

    def provenance(self) -> dict[str, Any]:
        """Where these weights come from; written to picochat.json beside them."""
        data = getattr(self.trainer, "datamodule", None)
        return {
            "parent": self.checkpoint,
            "global_step": self.trainer.global_step,
            "max_steps": self.trainer.max_steps,
            "optimizer": asdict(self.optimizer_config),
            "config": "config.yaml",
            "trained_on": getattr(data, "trained_on", []),
            "seed": getattr(data, "seed", None),
            "mixture": getattr(data, "drawn_shares", {}),
        }

    def _log_losses(self, index: int, name: str) -> None:
        metric = cast(LaneLoss, self.lane_losses[index])
        losses = metric.compute()
        metric.reset()
        if size := getattr(self.data, "bytes_per_token", None):  # of the base stage: comparable between tokenizers
            losses["bits_per_byte"] = losses["loss"] / (math.log(2) * size)
        for key, value in losses.items():
            # the metric has summed over ranks already; sync_dist, a mean of equal values, only says so to Lightning
            self.log(f"{name}/{key}", value.float(), prog_bar=key == "loss", sync_dist=True)


def refuse_other_size(wanted: DecoderConfig | None, own: DecoderConfig, checkpoint: str | None) -> None:
    """Raise UserError where a wanted shape is not the checkpoint's; vocabulary and context come from the data."""
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    for field in fields(DecoderConfig):
        asked, has = getattr(wanted or own, field.name), getattr(own, field.name)
        wish = field.name in sizes or asked != field.default
        if asked != has and wish and field.name not in ("vocab_size", "max_position_embeddings"):
            raise UserError(
                f"model.decoder.{field.name} is {asked}, but {checkpoint} has {has}; leave model.decoder out"
            )
