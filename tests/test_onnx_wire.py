"""The skimmer: what it leaves out is where it says, what it keeps is what protobuf reads, and broken bytes say so."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hetcnn import onnx_io, zoo
from hetcnn.errors import HetcnnError
from hetcnn.onnx_wire import Source, fields, skim


def restored(data: bytes) -> onnx.ModelProto:
    """Skim, put every payload back from the place it is said to be at, and return the whole."""
    skimmed = skim(Source(None, data))
    tensors = list(skimmed.model.graph.initializer)
    tensors += [a.t for node in skimmed.model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in tensors:
        payload = skimmed.payload(tensor)
        if payload is not None:
            assert not tensor.raw_data
            tensor.CopyFrom(onnx.TensorProto.FromString(data[slice(*payload.message)]))
            if payload.raw:
                assert tensor.raw_data == data[slice(*payload.raw)]
    return skimmed.model


def constant_model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    typed = helper.make_tensor("typed", onnx.TensorProto.FLOAT, [400], rng.standard_normal(400))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(rng.standard_normal(500), "inner")),
        helper.make_node("Constant", [], ["small"], value=numpy_helper.from_array(np.arange(3))),
        helper.make_node("Identity", ["typed"], ["y"], doc_string="d" * 2000),
    ]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [400])
    return helper.make_model(helper.make_graph(nodes, "g", [], [output], [typed]))


@pytest.mark.parametrize("make", [constant_model, lambda: onnx_io.to_model(zoo.load("squeezenet-1.1", seed=0))])
def test_nothing_is_lost(make):
    proto = make()
    data = proto.SerializeToString()
    skimmed = skim(Source(None, data))
    assert skimmed.payloads
    assert skimmed.model.ByteSize() < len(data) / 2 + 5000
    assert restored(data) == proto


def test_small_tensors_stay():
    skimmed = skim(Source(None, constant_model().SerializeToString()))
    small = skimmed.model.graph.node[1].attribute[0].t
    assert skimmed.payload(small) is None
    assert numpy_helper.to_array(small).tolist() == [0, 1, 2]


def test_a_mark_in_the_file_itself_is_no_payload():
    proto = constant_model()
    proto.graph.node[1].attribute[0].t.doc_string = "hetcnn-0123456789abcdef:0"
    skimmed = skim(Source(None, proto.SerializeToString()))
    assert skimmed.payload(skimmed.model.graph.node[1].attribute[0].t) is None


def test_fields_of_every_wire_type():
    proto = onnx.AttributeProto(name="ab", f=1.5, i=-1, ints=[1, 300])
    data = proto.SerializeToString()
    found = {number: data[at:stop] for number, _, _, at, stop in fields(memoryview(data), 0, len(data))}
    assert found[1] == b"ab"
    assert np.frombuffer(found[2], "<f4") == 1.5
    assert len(found[3]) == 10  # a negative number takes ten bytes
    assert found[8] == b"\xac\x02"  # 300, the last of the repeated field


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0b", "byte 0 is no protobuf field"),  # a group, which ONNX does not use
        (b"\x0a\x05ab", "the field at byte 0 ends beyond byte 4"),
        (b"\x08\xff", "cut short at byte 2"),
        (b"\xff" * 11, "cut short at byte"),
        (b"\x0d\x00", "ends beyond"),
    ],
)
def test_broken_bytes(data, message):
    with pytest.raises(HetcnnError, match=message):
        list(fields(memoryview(data), 0, len(data)))
