"""Component spaces: what is scored, and in which order.

Component names: `a3` attention block, `a3.h5` head, `m3` MLP, `m3.n17` hidden unit, `input`, `logits`; an edge is
`sender->receiver` with the slot of a head, `a3.h5->a4.h0<q>`; with position classes the class follows, `a3.h5@operand1`.
"""

from dataclasses import dataclass
from functools import cached_property

from arithloc.benchmark.api.edges import edge_name, n_edges, n_edges_by_class, n_senders
from arithloc.benchmark.api.shape import ModelShape
from arithloc.benchmark.api.vocabulary import Granularity

__all__ = ["ComponentSpace", "ModelShape"]


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
    edge         (n_edges,): see `arithloc.benchmark.api.edges`
    ===========  ===================================================================

    With `classes`, in prompt order, a last axis of that length is added. Edges stay flat: each edge appears once per
    class in a row, except those into the logits, which are read at the scored position, whatever its class, and come
    last, once each, under the name of the last class.
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
                return (n_edges_by_class(s, len(self.classes)) if self.classes else n_edges(s),)
        return (*grid, len(self.classes)) if self.classes else grid

    def __len__(self) -> int:
        n = 1
        for size in self.grid_shape:
            n *= size
        return n

    def name(self, index: int) -> str:
        """Name of component `index`, as `a3.h5`, `m3.n17@operand1` or `a3.h5->a4.h0<q>`."""
        if self.granularity is Granularity.EDGE:
            return self._edge_name(index)
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

    def _edge_name(self, index: int) -> str:
        if not self.classes:
            return edge_name(self.shape, index)
        n_logits, n_classes = n_senders(self.shape), len(self.classes)
        repeated = len(self) - n_logits
        if index >= repeated:
            return f"{edge_name(self.shape, repeated // n_classes + index - repeated)}@{self.classes[-1]}"
        edge, cls = divmod(index, n_classes)
        return f"{edge_name(self.shape, edge)}@{self.classes[cls]}"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all components, in order."""
        return tuple(self.name(i) for i in range(len(self)))
