"""The subject model: a Hugging Face causal LM, untouched, with names for its parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from arithloc.benchmark.api.components import ModelShape
from arithloc.benchmark.api.errors import AdapterCheckFailed, quoted
from arithloc.benchmark.models.anatomy import Anatomy, QKVLayout, anatomy_of
from arithloc.benchmark.models.identity import ModelIdentity
from arithloc.benchmark.models.precision import keep_double

_OUTPUT, _DOWN = "attention output projection", "MLP down projection"
_REPAIR = "Correct the family's row in benchmark/models/anatomy.py."


@dataclass(frozen=True, slots=True)
class HeadRows:
    """Where a projection puts out the query, key or value of one head.

    Attributes:
        module: the projection.
        rows: coordinates of its output, d_head of them.
    """

    module: nn.Module
    rows: slice


@dataclass(frozen=True, eq=False)
class SubjectModel:
    """A causal LM under study.

    Attributes:
        name: what `--model` was given.
        module: the Hugging Face `*ForCausalLM`, in eval mode, without gradients on its parameters.
        tokenizer: its fast tokenizer.
        anatomy: where its parts are.
        shape: its sizes.
        identity: its hashes.
    """

    name: str
    module: nn.Module
    tokenizer: Any
    anatomy: Anatomy
    shape: ModelShape
    identity: ModelIdentity

    @property
    def config(self) -> Any:
        """Hugging Face configuration of the (text) decoder."""
        return _config(self.module)

    @property
    def device(self) -> torch.device:
        """Device that token ids go to: the embedding's."""
        return _weight(self.embedding, "token embedding").device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return _weight(self.embedding, "token embedding").dtype

    @cached_property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The transformer blocks, first to last."""
        return tuple(_part(self.module, self.anatomy.blocks, "blocks").children())

    @cached_property
    def embedding(self) -> nn.Module:
        """Token embedding."""
        return _part(self.module, self.anatomy.embedding, "token embedding")

    @cached_property
    def position_embedding(self) -> nn.Module | None:
        """Learned position embedding, or None."""
        path = self.anatomy.position_embedding
        return None if path is None else _part(self.module, path, "position embedding")

    @cached_property
    def final_norm(self) -> nn.Module:
        """Norm before the unembedding; its input is the last residual stream."""
        return _part(self.module, self.anatomy.final_norm, "final norm")

    @cached_property
    def unembedding(self) -> nn.Module:
        """Normalised residual to logits."""
        return _part(self.module, self.anatomy.unembedding, "unembedding")

    def attention(self, layer: int) -> nn.Module:
        """Attention module of a block."""
        return self._of_block(layer, self.anatomy.attention, "attention")

    def attention_output(self, layer: int) -> nn.Module:
        """Output projection of attention; its input is `z`, (..., n_heads * d_head)."""
        return self._of_block(layer, self.anatomy.attention_output, _OUTPUT)

    def attention_write(self, layer: int) -> nn.Module:
        """Module whose output is what attention adds to the residual stream."""
        return self._of_block(layer, self.anatomy.attention_write, "attention write")

    def mlp(self, layer: int) -> nn.Module:
        """MLP module of a block."""
        return self._of_block(layer, self.anatomy.mlp, "MLP")

    def mlp_down(self, layer: int) -> nn.Module:
        """Down projection of the MLP; its input is the hidden activation, (..., d_mlp)."""
        return self._of_block(layer, self.anatomy.mlp_down, _DOWN)

    def mlp_write(self, layer: int) -> nn.Module:
        """Module whose output is what the MLP adds to the residual stream."""
        return self._of_block(layer, self.anatomy.mlp_write, "MLP write")

    def input_norm(self, layer: int) -> nn.Module | None:
        """Norm between residual and attention, None where attention reads the residual itself (OLMo 2)."""
        path = self.anatomy.input_norm
        return None if path is None else self._of_block(layer, path, "input norm")

    def mlp_norm(self, layer: int) -> nn.Module | None:
        """Norm between residual and MLP, None where the MLP shares `input_norm` (GPT-J) or has none (OLMo 2)."""
        path = self.anatomy.mlp_norm
        return None if path is None else self._of_block(layer, path, "MLP norm")

    def output_weight(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """W_O by head: `z[h] @ output_weight[h]`, summed over heads and plus the bias, is the projection's output."""
        weight = _in_out(self.attention_output(layer), _OUTPUT, self.anatomy)
        return weight.reshape(self.shape.n_heads, self.shape.d_head, self.shape.d_model)

    def down_weight(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """W_down: row n is what hidden unit n writes per unit of activation (before a post-norm, if there is one)."""
        return _in_out(self.mlp_down(layer), _DOWN, self.anatomy)

    @property
    def group_size(self) -> int:
        """Query heads that share one key/value head: head h reads key/value head h // group_size."""
        return self.shape.n_heads // self.shape.n_kv_heads

    def qkv(self, layer: int) -> tuple[nn.Module, ...]:
        """The fused projection, or the query, key and value projections."""
        return tuple(self._of_block(layer, path, "query/key/value projection") for path in self.anatomy.qkv)

    def head_rows(self, layer: int, slot: str, head: int) -> HeadRows:
        """Where the projection output of one head is, before any query/key norm and rotation.

        Args:
            layer: block.
            slot: `q`, `k` or `v`.
            head: query head for `q`, key/value head for `k` and `v`.
        """
        s, place = self.shape, "qkv".index(slot)
        modules = self.qkv(layer)
        match self.anatomy.layout:
            case QKVLayout.SEPARATE:
                start = head * s.d_head
            case QKVLayout.CONCATENATED:
                start = (head + (0, s.n_heads, s.n_heads + s.n_kv_heads)[place]) * s.d_head
            case QKVLayout.INTERLEAVED:
                start = (3 * head + place) * s.d_head
        return HeadRows(modules[place if len(modules) == 3 else 0], slice(start, start + s.d_head))

    @cached_property
    def logit_softcap(self) -> float | None:
        """Bound of the tanh on the logits (Gemma 2), or None."""
        cap = getattr(self.config, "final_logit_softcapping", None)
        return None if cap is None else float(cap)

    def logits(self, residual: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
        """Logits of the last residual stream: final norm, unembedding, soft-cap."""
        logits: Tensor = self.unembedding(self.final_norm(residual))
        if self.logit_softcap is not None:
            logits = torch.tanh(logits / self.logit_softcap) * self.logit_softcap
        return logits

    def _of_block(self, layer: int, path: str, what: str) -> nn.Module:
        return _part(self.blocks[layer], path, f"{what} of block {layer}")


def wrap(
    name: str, module: nn.Module, tokenizer: Any, identity: ModelIdentity, anatomy: Anatomy | None = None
) -> SubjectModel:
    """Names the parts of a loaded model.

    Args:
        name: what to call it.
        module: a Hugging Face causal LM; put into eval mode, its parameters no longer ask for gradients, and a
            float64 model computes in float64 throughout (see `precision`). Its values stay its own.
        tokenizer: its fast tokenizer.
        identity: its hashes.
        anatomy: the row of its family; found by `config.model_type` where None.

    Raises:
        UnsupportedArchitecture: no row for this model type.
        AdapterCheckFailed: the row names a module that is not there, or one of the wrong size.
    """
    module.eval().requires_grad_(False)
    anatomy = anatomy or anatomy_of(module.config)
    subject = SubjectModel(name, module, tokenizer, anatomy, shape_of(module, anatomy), identity)
    subject.unembedding.register_forward_pre_hook(_contiguous)
    if subject.dtype == torch.float64:
        keep_double(_norms_and_attention(subject))
    return subject


def _contiguous(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """On the last position alone, a strided slice, a linear map would copy its whole weight once per prompt."""
    return tuple(arg.contiguous() for arg in args)


def _norms_and_attention(subject: SubjectModel) -> Iterator[nn.Module]:
    for layer in range(subject.shape.n_layers):
        yield subject.attention(layer)
        for norm in (subject.input_norm(layer), subject.mlp_norm(layer)):
            if norm is not None:
                yield norm
        yield subject.attention_write(layer)
        yield subject.mlp_write(layer)
    yield subject.final_norm


def shape_of(module: nn.Module, anatomy: Anatomy) -> ModelShape:
    """Sizes of a model, read off its weights; the number of heads is the configuration's.

    Raises:
        AdapterCheckFailed: a part is not there, or heads do not divide the projection.
    """
    config = _config(module)
    blocks = list(_part(module, anatomy.blocks, "blocks").children())
    if not blocks:
        raise AdapterCheckFailed(f"Expected transformer blocks at {quoted(anatomy.blocks)}, found none. {_REPAIR}")
    z_width, d_model = _in_out(_part(blocks[0], anatomy.attention_output, _OUTPUT), _OUTPUT, anatomy).shape
    d_mlp, mlp_width = _in_out(_part(blocks[0], anatomy.mlp_down, _DOWN), _DOWN, anatomy).shape
    vocab, read_width = _weight(_part(module, anatomy.unembedding, "unembedding"), "unembedding").shape
    n_heads = int(config.num_attention_heads)
    n_kv_heads = int(getattr(config, "num_key_value_heads", None) or n_heads)
    if z_width % n_heads or n_heads % n_kv_heads or not d_model == mlp_width == read_width:
        raise AdapterCheckFailed(
            f"Expected {n_heads} heads in an output projection of width {z_width}, {n_kv_heads} key/value heads and "
            f"one residual width, found widths {d_model}, {mlp_width} and {read_width}. {_REPAIR}"
        )
    return ModelShape(
        n_layers=len(blocks),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_model=d_model,
        d_head=z_width // n_heads,
        d_mlp=d_mlp,
        vocab=vocab,
        parallel=anatomy.parallel,
    )


def _config(module: nn.Module) -> Any:
    config: Any = module.config
    return config.get_text_config()


def _part(root: nn.Module, path: str, what: str) -> nn.Module:
    try:
        return root.get_submodule(path)
    except AttributeError:
        raise AdapterCheckFailed(
            f"Expected the {what} at {quoted(path)} of {type(root).__name__}, found no such module. {_REPAIR}"
        ) from None


def _weight(module: nn.Module, what: str) -> Tensor:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise AdapterCheckFailed(
            f"Expected the {what} to have a weight matrix, found {type(module).__name__}. {_REPAIR}"
        )
    return weight


def _in_out(module: nn.Module, what: str, anatomy: Anatomy) -> Tensor:
    """Weight of a projection as (in, out)."""
    weight = _weight(module, what)
    return weight if anatomy.conv1d else weight.T
