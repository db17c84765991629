"""Component spaces: what is scored, and in which order.

Component names: `a3` attention block, `a3.h5` head, `m3` MLP, `m3.n17` hidden unit, `input`, `logits`; an edge is
`sender->receiver` with the slot of a head, `a3.h5->a4.h0<q>`; with position classes the class follows, `a3.h5@operand1`.
"""

from dataclasses import dataclass
from functools import cached_property

from arithloc.benchmark.api.errors import UnsupportedGranularity
from arithloc.benchmark.api.vocabulary import Granularity


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a subject model.

    Attributes:
        n_layers: transformer blocks.
        n_heads: query heads of a block.
        n_kv_heads: key/value heads of a block; divides `n_heads`.
        d_model: width of the residual stream.
        d_head: width of one head's output `z`.
        d_mlp: hidden units of one MLP (inputs of its down projection).
        vocab: logits.
        parallel: attention and MLP of a block read the same residual stream.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocab: int
    parallel: bool = False


@dataclass(frozen=True)
class ComponentSpace:
    """The components of one model at one granularity, optionally times position classes.

    The order of components is the C order of `grid_shape`:

    ===========  ===================================================================
    granularity  grid
    ===========  ===================================================================
    layer        (n_layers, 2): attention block, MLP block
    node         (n_layers, n_heads + 1): heads, then the MLP
    neuron       (n_layers, d_mlp)
    edge         (n_edges,): see `arithloc.benchmark.metrics.graph`
    ===========  ===================================================================

    With `classes` a last axis of that length is added.
    """

    granularity: Granularity
    shape: ModelShape
    classes: tuple[str, ...] = ()

    @cached_property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of the scores as a grid."""
        s = self.shape
        match self.granularity:
            case Granularity.LAYER:
                grid: tuple[int, ...] = (s.n_layers, 2)
            case Granularity.NODE:
                grid = (s.n_layers, s.n_heads + 1)
            case Granularity.NEURON:
                grid = (s.n_layers, s.d_mlp)
            case Granularity.EDGE:
                raise UnsupportedGranularity("The edge space is not available yet. Use layer, node or neuron.")
        return (*grid, len(self.classes)) if self.classes else grid

    def __len__(self) -> int:
        n = 1
        for size in self.grid_shape:
            n *= size
        return n

    def name(self, index: int) -> str:
        """Name of component `index`, as `a3.h5` or `m3.n17@operand1`."""
        suffix = ""
        if self.classes:
            index, cls = divmod(index, len(self.classes))
            suffix = "@" + self.classes[cls]
        layer, rest = divmod(index, self.grid_shape[1])
        match self.granularity:
            case Granularity.LAYER:
                name = f"{'am'[rest]}{layer}"
            case Granularity.NODE:
                name = f"m{layer}" if rest == self.shape.n_heads else f"a{layer}.h{rest}"
            case _:
                name = f"m{layer}.n{rest}"
        return name + suffix

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all components, in order."""
        return tuple(self.name(i) for i in range(len(self)))
