"""A small builder of ONNX graphs that lets a computation read as it would in NumPy.

Values know their element type, so that a plain number becomes a constant of the right type:

    graph = Graph()
    x = graph.input("x", np.float32, ["N", 4])
    y = graph.op("ReduceSum", x * 2 + 1, np.array([1]), keepdims=0)
    model = graph.model([(graph.rename(y, "y"), ["N"])])

Only operators of ONNX's standard domain are used. Node names are numbered, so that the same calls
make the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploy.export.types import OPSET

IR_VERSION = 8
"""The IR version of opset 18's time, so that runtimes of 2023 and later read the file."""

Operand = "Value | np.ndarray | float | int | bool"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph, with NumPy's operators.

    Attributes:
        graph: The graph that its operators add nodes to.
        name: Its name in the graph.
        dtype: Its element type.
    """

    graph: Graph
    name: str
    dtype: np.dtype

    def __add__(self, other: Operand) -> Value:
        return self.graph.op("Add", self, other)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", self.graph.constant(other, self.dtype), self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.op("Mul", self, other)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.op("Div", self, other)

    def __floordiv__(self, other: Operand) -> Value:
        """Divide integers that are not negative; ONNX's Div truncates toward zero."""
        return self.graph.op("Div", self, other)

    def __mod__(self, other: Operand) -> Value:
        return self.graph.op("Mod", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.graph.op("Greater", self, other, dtype=bool)

    def __lt__(self, other: Operand) -> Value:
        return self.graph.op("Less", self, other, dtype=bool)

    def __le__(self, other: Operand) -> Value:
        return self.graph.op("LessOrEqual", self, other, dtype=bool)

    def equals(self, other: Operand) -> Value:
        """Compare elementwise."""
        return self.graph.op("Equal", self, other, dtype=bool)

    def __and__(self, other: Value) -> Value:
        return self.graph.op("And", self, other)

    def __or__(self, other: Value) -> Value:
        return self.graph.op("Or", self, other)

    def __invert__(self) -> Value:
        return self.graph.op("Not", self)

    def cast(self, dtype: type) -> Value:
        """Convert to another element type."""
        return self.graph.op("Cast", self, dtype=dtype, to=_element_type(dtype))

    def where(self, yes: Operand, no: Operand) -> Value:
        """Return `yes` where this is true, else `no`; at least one of them is a `Value`."""
        dtype = (yes if isinstance(yes, Value) else no).dtype
        yes, no = (self.graph.constant(operand, dtype) for operand in (yes, no))
        return self.graph.op("Where", self, yes, no, dtype=dtype)

    def reshape(self, *shape: int | Value) -> Value:
        """Reshape: 0 keeps a dimension, -1 takes what is left, and a `Value` [1] is computed."""
        if all(isinstance(dim, int) for dim in shape):
            dims = self.graph.constant(np.array(shape, np.int64))
        else:
            dims = self.graph.concat(
                [dim if isinstance(dim, Value) else np.array([dim]) for dim in shape], axis=0
            )
        return self.graph.op("Reshape", self, dims)

    def unsqueeze(self, *axes: int) -> Value:
        """Insert dimensions of size 1."""
        return self.graph.op("Unsqueeze", self, np.array(axes))

    def transpose(self, *order: int) -> Value:
        """Permute the dimensions."""
        return self.graph.op("Transpose", self, perm=list(order))

    def take(self, index: Operand, axis: int) -> Value:
        """Take elements along an axis, as `numpy.take`."""
        return self.graph.op("Gather", self, index, axis=axis)

    def split(self, sizes: Sequence[int], axis: int) -> tuple[Value, ...]:
        """Split along an axis into parts of the given sizes."""
        return self.graph.ops("Split", len(sizes), self, np.array(sizes), axis=axis)

    def dims(self, rank: int) -> tuple[Value, ...]:
        """Return the sizes of the `rank` dimensions, int64 [1] each."""
        shape = self.graph.op("Shape", self, dtype=np.int64)
        return shape.split([1] * rank, axis=0)


class Graph:
    """The nodes, constants and inputs of a model, or of the body of a loop, while it is built.

    Args:
        prefix: What the names of nodes and constants begin with.
        names: The names taken so far: a loop's body shares them with the graph around it, whose
            tensors it may use.
    """

    def __init__(self, prefix: str = "", names: list[str] | None = None) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self._names = [] if names is None else names

    def input(self, name: str, dtype: type, shape: Sequence[int | str]) -> Value:
        """Add an input; dimensions with a name are free."""
        self.inputs.append(value_info(name, dtype, shape))
        return Value(self, name, np.dtype(dtype))

    def value(self, name: str, dtype: type) -> Value:
        """Return a tensor that an included model or an outer graph computes."""
        return Value(self, name, np.dtype(dtype))

    def constant(self, value: Operand, dtype: type | None = None) -> Value:
        """Add a constant; a `Value` is returned as it is."""
        if isinstance(value, Value):
            return value
        array = np.asarray(value, dtype)
        if dtype is None and array.dtype.kind == "i":  # ONNX's type for shapes and indices
            array = array.astype(np.int64)
        name = self._name("constant")
        self.initializers.append(numpy_helper.from_array(array, name))
        return Value(self, name, array.dtype)

    def op(self, kind: str, *inputs: Operand, dtype: type | None = None, **attributes) -> Value:
        """Add a node and return its output.

        Args:
            kind: The operator.
            *inputs: Its inputs.
            dtype: Element type of the output, by default that of the first input.
            **attributes: Attributes of the node.
        """
        return self.ops(kind, 1, *inputs, dtype=dtype, **attributes)[0]

    def ops(
        self, kind: str, outputs: int, *inputs: Operand, dtype: type | None = None, **attributes
    ) -> tuple[Value, ...]:
        """Add a node and return all its outputs; see `op`.

        Numbers among the inputs become constants of the first input's type.
        """
        like = next(one.dtype for one in inputs if isinstance(one, Value))
        values = [
            self.constant(one, None if isinstance(one, np.ndarray) else like) for one in inputs
        ]
        names = [self._name(kind) for _ in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, [v.name for v in values], names, names[0], **attributes)
        )
        return tuple(Value(self, name, np.dtype(dtype or like)) for name in names)

    def concat(self, values: Sequence[Operand], axis: int) -> Value:
        """Concatenate along an axis."""
        return self.op("Concat", *values, axis=axis)

    def top_k(self, values: Value, count: int) -> tuple[Value, Value]:
        """Return the largest values of the last axis and their indices, ties by index."""
        best, index = self.ops("TopK", 2, values, np.array([count]))
        return best, Value(self, index.name, np.dtype(np.int64))

    def loop(
        self,
        trips: Value | int,
        state: Sequence[Value],
        shapes: Sequence[Sequence[int | str | None]],
        body: Callable[..., tuple[Value | None, Sequence[Value], Sequence[Value]]],
    ) -> tuple[Value, ...]:
        """Add a loop.

        Args:
            trips: The most trips.
            state: The values that the first trip starts with.
            shapes: Their shapes.
            body: Called with the body's graph, the number of the trip and the states. It returns
                whether to go on (None for always), the new states, and the outputs of the trip. It
                may use values of the graph around it.

        Returns:
            The last states, then the outputs of all trips, stacked.
        """
        inner = Graph(self.prefix, self._names)
        trip = inner.input(self._name("trip"), np.int64, [])
        goes_on = inner.input(self._name("goes_on"), bool, [])
        inside = [
            inner.input(self._name("state"), one.dtype, shape)
            for one, shape in zip(state, shapes, strict=True)
        ]
        condition, after, trip_outputs = body(inner, trip, *inside)
        condition = goes_on if condition is None else condition
        condition = inner.op("Identity", condition)
        after = [inner.op("Identity", one) for one in after]
        results = [*after, *trip_outputs]
        outputs = [
            value_info(condition.name, bool, []),
            *(value_info(v.name, v.dtype, s) for v, s in zip(after, shapes, strict=True)),
            *(value_info(v.name, v.dtype, None) for v in trip_outputs),
        ]
        graph = helper.make_graph(
            inner.nodes, self._name("body"), inner.inputs, outputs, inner.initializers
        )
        start = [self.constant(trips, np.int64), self.constant(True, bool), *state]
        names = [self._name("Loop") for _ in results]
        self.nodes.append(
            helper.make_node("Loop", [v.name for v in start], names, names[0], body=graph)
        )
        return tuple(Value(self, name, one.dtype) for name, one in zip(names, results, strict=True))

    def include(self, model: onnx.ModelProto, inputs: dict[str, Value]) -> None:
        """Add the nodes of another model.

        Its outputs are reached by their names (`value`). None of its names may be in this graph.

        Args:
            model: The other model.
            inputs: Names of its inputs -> the values that take their place.
        """
        for node in model.graph.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.input[:] = [inputs[name].name if name in inputs else name for name in node.input]
            self.nodes.append(copied)
        self.initializers.extend(model.graph.initializer)

    def rename(self, value: Value, name: str) -> Value:
        """Give a value a name that users of the model see."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name], name))
        return Value(self, name, value.dtype)

    def model(
        self, outputs: Sequence[tuple[Value, Sequence[int | str]]], name: str = "bbavectors"
    ) -> onnx.ModelProto:
        """Return the model, with outputs of the given shapes."""
        return helper.make_model(
            helper.make_graph(
                self.nodes,
                name,
                self.inputs,
                [value_info(value.name, value.dtype, shape) for value, shape in outputs],
                self.initializers,
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="bbavectors",
        )

    def _name(self, kind: str) -> str:
        self._names.append(kind)
        return f"{self.prefix}{kind}_{len(self._names)}"


def value_info(
    name: str, dtype: type, shape: Sequence[int | str | None] | None
) -> onnx.ValueInfoProto:
    """Describe an input or output; a shape of None leaves the shape open."""
    return helper.make_tensor_value_info(name, _element_type(dtype), shape)


def _element_type(dtype: type) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
