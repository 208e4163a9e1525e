import inspect
import re

import numpy as np
import onnx
import pytest

from hetcnn.errors import HetcnnError
from hetcnn.kernels import registry
from hetcnn.kernels.interpreter import bind

LISTED = re.findall(
    r"\w+",
    """
Conv ConvTranspose Gemm MatMul MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization LRN
InstanceNormalization Relu LeakyRelu PRelu Clip Sigmoid HardSigmoid HardSwish Tanh Softmax LogSoftmax Elu Selu
Softplus Gelu Add Sub Mul Div Pow Sqrt Exp Neg Abs Sum Max Min Mean Concat Split Slice Pad Reshape Transpose Flatten
Squeeze Unsqueeze DepthToSpace SpaceToDepth Resize Upsample ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare ArgMax ArgMin Gather Cast Constant ConstantOfShape Shape
Identity Dropout Expand Tile Where QuantizeLinear DequantizeLinear DynamicQuantizeLinear ConvInteger MatMulInteger
QLinearConv QLinearMatMul
""",
)


@pytest.mark.parametrize("op", LISTED)
def test_every_promised_operator_is_there(op):
    assert registry.supports(op)
    assert callable(registry.operator(op))


@pytest.mark.parametrize("op", registry.operators())
def test_parameters_are_called_as_onnx_calls_attributes(op):
    """Every attribute of ONNX's newest definition is a parameter, or is named as ignored; no parameter is invented."""
    schema = onnx.defs.get_schema(op)
    function = registry._find(op, "", schema.since_version)
    attributes = set(schema.attributes) - registry._IGNORED - registry._IGNORED_OF.get(op, frozenset())
    if isinstance(function, np.ufunc):
        assert not attributes
        assert function.nin == len(schema.inputs)
        return
    parameters = inspect.signature(function).parameters
    names = set(parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):  # the options of a window
        names |= {"auto_pad", "ceil_mode", "dilations", "group", "kernel_shape", "pads", "strides"}
        names |= {"count_include_pad", "storage_order"} & attributes
    assert attributes - {"sparse_value"} <= names
    wanted = {name for name, a in schema.attributes.items() if a.required}
    for name in wanted & set(parameters):
        assert parameters[name].default is inspect.Parameter.empty, f"{op}: ONNX requires {name}"


@pytest.mark.parametrize("op", registry.operators())
def test_every_operator_explains_itself(op):
    function = registry._find(op, "", 99)
    assert inspect.getdoc(function) or inspect.getdoc(getattr(function, "func", None)) or op in ("MaxPool",)


@pytest.mark.parametrize(
    ("op", "near"), [("Convolution", "Conv"), ("relu", "Relu"), ("BatchNorm", "BatchNormalization")]
)
def test_an_unknown_operator_names_the_nearest(op, near):
    with pytest.raises(HetcnnError, match=f"unsupported operator '{op}'; the nearest supported one is '{near}'"):
        registry.operator(op)


def test_an_unknown_domain_names_the_known():
    with pytest.raises(HetcnnError, match=r"'com.acme::Conv'.*'hetcnn.fixed_point'"):
        registry.operator("Conv", "com.acme")


def test_inputs_and_attributes_meet_in_one_function():
    x = np.zeros((1, 3, 1))
    assert registry.operator("Squeeze", opset=11)([x], {"axes": (0,)})[0].shape == (3, 1)
    assert registry.operator("Squeeze", opset=13)([x, np.array([0])], {})[0].shape == (3, 1)
    (y,) = registry.operator("Clip", opset=6)([x - 1], {"min": 0.0})
    assert (y == registry.operator("Clip", opset=11)([x - 1, np.array(0.0), None], {})[0]).all()


def test_the_number_of_wanted_outputs_counts():
    x = np.arange(4.0).reshape(1, 1, 4)
    pool = {"kernel_shape": [2]}
    assert len(registry.operator("MaxPool")([x], pool)) == 1
    assert len(registry.operator("MaxPool", outputs=2)([x], pool)) == 2
    assert len(registry.operator("Dropout", outputs=2)([x], {})) == 2


def test_dropout_drops_in_training_only():
    x, half, yes = np.ones((40, 50)), np.array(0.5), np.array(True)
    (same,) = registry.operator("Dropout")([x, half], {"seed": 0})
    assert same is x
    y, kept = registry.operator("Dropout", outputs=2)([x, half, yes], {"seed": 0})
    assert set(np.unique(y)) == {0.0, 2.0}
    assert 0.4 < kept.mean() < 0.6


def test_batch_normalisation_of_old_kinds_is_refused():
    one = np.ones(1)
    with pytest.raises(HetcnnError, match="spatial=0"):
        registry.operator("BatchNormalization", opset=7)([np.ones((1, 1, 2)), one, one, one, one], {"spatial": 0})


def test_onnx_goes_by_two_names():
    x = [np.zeros((1, 2, 2))]
    old = [registry.operator("Softmax", domain, 11)(x, {})[0].tolist() for domain in ("", "ai.onnx")]
    assert old == [[[[0.25, 0.25], [0.25, 0.25]]]] * 2


def nonsense(rng, attribute):
    number = lambda: int(rng.integers(-3, 5))  # noqa: E731
    return {
        "FLOAT": lambda: float(rng.standard_normal()),
        "FLOATS": lambda: tuple(rng.standard_normal(3).tolist()),
        "INT": number,
        "INTS": lambda: tuple(number() for _ in range(rng.integers(0, 5))),
        "STRING": lambda: str(rng.choice(["SAME_UPPER", "linear", "reflect", "x"])),
        "TENSOR": lambda: some_array(rng),
    }.get(attribute.type.name, lambda: None)()


def some_array(rng):
    shape = tuple(rng.integers(0, 5, rng.integers(0, 5)).tolist())
    kind = rng.choice(["float32", "float64", "float16", "int64", "int8", "uint8", "bool", "object"])
    numbers = np.asarray(rng.standard_normal(shape) * 5)
    return np.full(shape, "text", object) if kind == "object" else numbers.astype(kind)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")
@pytest.mark.parametrize("op", registry.operators())
def test_nonsense_is_one_line_that_names_the_node(op):
    rng = np.random.default_rng(0)
    schema = onnx.defs.get_schema(op)
    for opset in (6, 9, 11, 13, 18, 22) * 4:
        given = {f"i{i}": some_array(rng) for i in range(rng.integers(0, min(schema.max_input, 9) + 2))}
        attrs = {k: nonsense(rng, v) for k, v in schema.attributes.items() if v.required or rng.random() < 0.5}
        step = bind("the-node", op, "", list(given), ["y"], attrs, {"": opset})
        try:
            with np.errstate(all="ignore"):
                message = "" if isinstance(step(given)["y"], np.ndarray) else "no array"
        except HetcnnError as error:
            message = str(error)
        assert "\n" not in message
        assert message == "" or message.startswith(f"layer 'the-node' ({op})")
