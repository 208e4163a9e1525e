"""CNN operators in NumPy, float, integer and fixed point, and what runs a `Network` with them.

The operators are pure functions with ONNX's meaning: `convolution`, `pooling`, `normalisation`, `activation`, `linear`,
`elementwise`, `shape`, `indexing`, `reduction`, `resize`, `cast`, `creation`, `quantised` (ONNX's integers) and
`fixed_point` (Q8.8). `registry.operator` finds the function of an operator. `interpreter` runs a network layer by layer
with them, `engine` runs it fast, `backend` shows it to ONNX as a backend, and `calibrate` turns a float network into an
integer one.

>>> import numpy as np
>>> from hetcnn import zoo
>>> from hetcnn.kernels import interpreter
>>> image = np.zeros((1, 1, 28, 28), np.float32)
>>> interpreter.run(zoo.load("lenet-5", seed=0), image)["softmax"].shape
(1, 10)
"""
