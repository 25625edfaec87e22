"""A small builder of ONNX graphs, so that a computation reads as it would in NumPy.

Values know their element type, so that a plain number becomes a constant of the right one:

    graph = Graph()
    x = graph.input("x", np.float32, ["N", 4])
    y = graph.op("ReduceSum", x * 2 + 1, np.array([1]), keepdims=0)
    model = graph.model([(graph.rename(y, "y"), ["N"])])

Only operators of ONNX's own domain are put in. Node names count up, so that the same calls give
the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 18
IR_VERSION = 8
"""Of opset 18's time, so that runtimes of 2023 and later read the file."""

Operand = "Value | np.ndarray | float | int | bool"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph: its name, and operators as NumPy has them."""

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
        """Of integers that are not negative; ONNX's Div cuts towards zero."""
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
        return self.graph.op("Equal", self, other, dtype=bool)

    def __and__(self, other: Value) -> Value:
        return self.graph.op("And", self, other)

    def __or__(self, other: Value) -> Value:
        return self.graph.op("Or", self, other)

    def __invert__(self) -> Value:
        return self.graph.op("Not", self)

    def cast(self, dtype: type) -> Value:
        return self.graph.op("Cast", self, dtype=dtype, to=_element_type(dtype))

    def where(self, yes: Operand, no: Operand) -> Value:
        """`yes` where this is true, `no` elsewhere; one of the two is a value of the graph."""
        dtype = (yes if isinstance(yes, Value) else no).dtype
        yes, no = (self.graph.constant(operand, dtype) for operand in (yes, no))
        return self.graph.op("Where", self, yes, no, dtype=dtype)

    def reshape(self, *shape: int | Value) -> Value:
        """0 keeps a dimension, -1 is what is left; a side may be a value [1] of the graph."""
        if all(isinstance(side, int) for side in shape):
            sides = self.graph.constant(np.array(shape, np.int64))
        else:
            sides = self.graph.concat(
                [side if isinstance(side, Value) else np.array([side]) for side in shape], axis=0
            )
        return self.graph.op("Reshape", self, sides)

    def unsqueeze(self, *axes: int) -> Value:
        return self.graph.op("Unsqueeze", self, np.array(axes))

    def transpose(self, *order: int) -> Value:
        return self.graph.op("Transpose", self, perm=list(order))

    def take(self, index: Operand, axis: int) -> Value:
        """`numpy.take`."""
        return self.graph.op("Gather", self, index, axis=axis)

    def split(self, sizes: Sequence[int], axis: int) -> tuple[Value, ...]:
        return self.graph.ops("Split", len(sizes), self, np.array(sizes), axis=axis)

    def sides(self, count: int) -> tuple[Value, ...]:
        """Each dimension of a tensor that has `count`, int64 [1]."""
        shape = self.graph.op("Shape", self, dtype=np.int64)
        return shape.split([1] * count, axis=0)


class Graph:
    """Nodes, constants, inputs and outputs on their way to a model, or to the body of a loop."""

    def __init__(self, prefix: str = "", names: list[str] | None = None) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        # shared by a loop's body, which may use what stands outside
        self._names = [] if names is None else names

    def input(self, name: str, dtype: type, shape: Sequence[int | str]) -> Value:
        self.inputs.append(value_info(name, dtype, shape))
        return Value(self, name, np.dtype(dtype))

    def optional_input(self, name: str, default: np.ndarray) -> Value:
        """An input that is `default` where it is not fed."""
        self.initializers.append(numpy_helper.from_array(default, name))
        return self.input(name, default.dtype, default.shape)

    def value(self, name: str, dtype: type) -> Value:
        """A tensor that nodes from elsewhere put out."""
        return Value(self, name, np.dtype(dtype))

    def constant(self, value: Operand, dtype: type | None = None) -> Value:
        """A constant of the graph; what is a value already stays."""
        if isinstance(value, Value):
            return value
        array = np.asarray(value, dtype)
        if dtype is None and array.dtype.kind == "i":  # ONNX's integer of shapes and indices
            array = array.astype(np.int64)
        name = self._name("constant")
        self.initializers.append(numpy_helper.from_array(array, name))
        return Value(self, name, array.dtype)

    def op(self, kind: str, *inputs: Operand, dtype: type | None = None, **attributes) -> Value:
        """The output of a new node, of the type of its first input unless `dtype` is given."""
        return self.ops(kind, 1, *inputs, dtype=dtype, **attributes)[0]

    def ops(
        self, kind: str, outputs: int, *inputs: Operand, dtype: type | None = None, **attributes
    ) -> tuple[Value, ...]:
        """All outputs of a new node. Numbers become constants of the first input's type."""
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
        return self.op("Concat", *values, axis=axis)

    def top_k(self, values: Value, count: int) -> tuple[Value, Value]:
        """The best of the last axis and where they stand; of equal ones the first stands first."""
        best, index = self.ops("TopK", 2, values, np.array([count]))
        return best, Value(self, index.name, np.dtype(np.int64))

    def loop(
        self,
        trips: Value | int,
        state: Sequence[Value],
        shapes: Sequence[Sequence[int | str | None]],
        body: Callable[..., tuple[Value | None, Sequence[Value], Sequence[Value]]],
    ) -> tuple[Value, ...]:
        """A loop; outputs are the last states, then what each trip puts out, one above the other.

        body: takes the body's graph, the number of the trip and the states, gives (whether to go
            on, None for always; the new states; what it puts out). It may use values outside.
        shapes: of the states.
        """
        inner = Graph(self.prefix, self._names)
        trip = inner.input(self._name("trip"), np.int64, [])
        goes = inner.input(self._name("goes_on"), bool, [])
        inside = [
            inner.input(self._name("state"), one.dtype, shape)
            for one, shape in zip(state, shapes, strict=True)
        ]
        condition, after, puts_out = body(inner, trip, *inside)
        condition = goes if condition is None else condition
        condition = inner.op("Identity", condition)
        after = [inner.op("Identity", one) for one in after]
        results = [*after, *puts_out]
        outputs = [
            value_info(condition.name, bool, []),
            *(value_info(v.name, v.dtype, s) for v, s in zip(after, shapes, strict=True)),
            *(value_info(v.name, v.dtype, None) for v in puts_out),
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
        """The nodes of another model, whose inputs are these values. Its outputs are reached by
        their names (`value`); the names in it must be none of this graph's.
        """
        for node in model.graph.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.input[:] = [inputs[name].name if name in inputs else name for name in node.input]
            self.nodes.append(copied)
        self.initializers.extend(model.graph.initializer)

    def rename(self, value: Value, name: str) -> Value:
        """The value under a name that the world sees."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name], name))
        return Value(self, name, value.dtype)

    def model(
        self, outputs: Sequence[tuple[Value, Sequence[int | str]]], name: str = "bbavectors"
    ) -> onnx.ModelProto:
        """The model, with outputs of the given shapes."""
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
    """The description of an input or output; a shape of None says nothing."""
    return helper.make_tensor_value_info(name, _element_type(dtype), shape)


def _element_type(dtype: type) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
