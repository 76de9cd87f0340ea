"""Multiply-adds of a `.tflite` model, counted from its operators' shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

Shape = Sequence[int]


def count(content: bytes) -> dict[str, int]:
    """Returns the multiply-adds of one run by kind of operator.

    Counted are convolutions of all kinds and fully connected layers, which converters make of 1x1
    convolutions; biases and everything else are left out.

    Args:
        content: a model with static shapes; an archive behind it does not matter.

    Returns:
        Multiply-adds by TFLite's operator name, only of those that the model has.

    Example:
        >>> from mmdense_edge import bundled
        >>> sorted(count(bundled.find("mmdensenet-edge-int8").read_bytes()))[0]
        'CONV_2D'
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=plain)
    # A tensor of a constant alone has no shape worth knowing, and none is asked for.
    shapes = {
        int(t["index"]): tuple(map(int, t["shape"])) for t in interpreter.get_tensor_details()
    }
    found: Counter[str] = Counter()
    for operator in interpreter._get_ops_details():
        number = of_operator(operator, shapes)
        if number:
            found[str(operator["op_name"])] += number
    return dict(found)


def of_operator(operator: Mapping[str, Any], shapes: Mapping[int, Shape]) -> int:
    """Returns the multiply-adds of one operator, 0 of those that are not counted.

    Args:
        operator: `op_name`, `inputs` and `outputs` (indices of tensors), as the interpreter
            describes it.
        shapes: of the tensors.
    """
    name = operator["op_name"]
    inputs, outputs = operator["inputs"], operator["outputs"]
    if name == "CONV_2D":  # weights: (made, height, width, read)
        weights, out = shapes[int(inputs[1])], shapes[int(outputs[0])]
        return prod(out) * prod(weights[1:])
    if name == "DEPTHWISE_CONV_2D":  # weights: (1, height, width, maps)
        weights, out = shapes[int(inputs[1])], shapes[int(outputs[0])]
        return prod(out) * prod(weights[1:3])
    if name == "TRANSPOSE_CONV":  # every input value meets every weight of its map, but at borders
        weights, given = shapes[int(inputs[1])], shapes[int(inputs[2])]
        return prod(given[:3]) * prod(weights)
    if name == "FULLY_CONNECTED":  # weights: (made, read)
        weights, out = shapes[int(inputs[1])], shapes[int(outputs[0])]
        return prod(out) * weights[1]
    return 0
