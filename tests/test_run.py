import argparse

import numpy as np
import onnx
import pytest
from PIL import Image

from hetcnn import onnx_io, run, zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.random_weights import with_random_weights


def classifier(classes=4, batch=2, channels=3):
    b = Builder("classifier", (batch, channels, 8, 8))
    x = b.global_avg_pool(b.conv_relu(b.input, 6, 3, name="conv"))
    return with_random_weights(b.build(b.softmax(b.fc(x, classes, name="fc"), name="p")), seed=1)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx_io.save(classifier(), path)
    return path


def save_image(path, size=(30, 20), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def lines_of(*arguments, **options):
    said = []
    results = run.run(*arguments, **options, say=said.append)
    return results, said


def test_samples_are_run_however_many_a_batch_holds(model):
    network = onnx_io.load(model)
    samples = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)
    results, said = lines_of(model, [samples], top=1)
    assert results["p"].shape == (5, 4)
    assert len(said) == 10
    one, _ = lines_of(network, [samples[3]])
    np.testing.assert_allclose(one["p"][0], results["p"][3], rtol=1e-5)


def test_images_and_arrays_mix(model, tmp_path):
    image = save_image(tmp_path / "a.png")
    tensor = onnx_io.load(model).inputs[0]
    array = tmp_path / "b.npy"
    np.save(array, run.IMAGENET.image(image, tensor))
    results, said = lines_of(model, [image, array], top=2)
    np.testing.assert_array_equal(*results["p"])
    assert [line for line in said if line.endswith(":")] == [f"{image}:", f"{array}:"]
    best = int(results["p"][0].argmax())
    assert said[1].split() == [f"{results['p'][0, best]:.2%}", str(best), "class", str(best)]


def test_the_centre_of_an_image_is_normalised():
    tensor = classifier().inputs[0]
    white = np.full((40, 30, 3), 255, np.uint8)
    got = run.Preparation(mean=(127.0,), std=(128.0,)).image(white, tensor)
    assert got.shape == (1, 3, 8, 8)
    assert (got == 1).all()
    torch = run.IMAGENET.image(white, tensor)
    np.testing.assert_allclose(
        torch[0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-5
    )
    grey = run.IMAGENET.image(white, classifier(channels=1).inputs[0])
    assert grey.shape == (1, 1, 8, 8)
    np.testing.assert_allclose(grey.ravel()[0], torch[0, :, 0, 0].mean(), rtol=1e-5)


def test_outputs_are_saved(model, tmp_path):
    target = tmp_path / "out.npz"
    results, said = lines_of(model, output=target)
    with np.load(target) as saved:
        np.testing.assert_array_equal(saved["p"], results["p"])
    assert said[-1] == f"saved p to {target}"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_several_inputs_by_order_or_by_name(tmp_path):
    b = Builder("two", (1, 2))
    network = b.build(b.relu(b.input, name="y"))
    model = onnx_io.to_model(network)
    other = onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, [1, 2])
    model.graph.input.append(other)
    model.graph.node.append(onnx.helper.make_node("Sub", ["y", "other"], ["difference"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("difference", onnx.TensorProto.FLOAT, [1, 2]))
    network = onnx_io.load(model.SerializeToString(), weightless_inputs=False)
    a, c = np.array([[1, 2]], np.float32), np.array([[10, 20]], np.float32)
    ordered, _ = lines_of(network, [a, c])
    assert ordered["difference"].tolist() == [[-9, -18]]
    np.savez(tmp_path / "in.npz", other=c, input=a)
    named, _ = lines_of(network, [tmp_path / "in.npz"])
    assert named["difference"].tolist() == [[-9, -18]]
    with pytest.raises(HetcnnError, match=r"1 inputs; network .* needs 2: input, other"):
        run.run(network, [a])


def test_no_input_is_seeded_noise(model):
    first, said = lines_of(model)
    assert said[0].startswith("seeded random input")
    np.testing.assert_array_equal(first["p"], lines_of(model)[0]["p"])


def test_what_is_no_classifier_is_summed_up():
    b = Builder("image", (1, 1, 4, 4))
    results, said = lines_of(b.build(b.relu(b.input, name="y")), [np.full((1, 1, 4, 4), 2, np.float32)])
    assert said == ["y: float32 (1, 1, 4, 4), 2 to 2"]
    assert lines_of(classifier(), top=0)[1][0].startswith("p: float32 (2, 4), ")
    assert results["y"].max() == 2


def test_scores_that_are_no_probabilities_are_shown_as_they_are():
    b = Builder("scores", (1, 3))
    _, said = lines_of(b.build(b.relu(b.input, name="y")), [np.array([[5, 7, 0]], np.float32)], labels=["a", "b", "c"])
    assert [line.split() for line in said[1:]] == [["7.0000", "1", "b"], ["5.0000", "0", "a"], ["0.0000", "2", "c"]]


def test_the_engine_answers_the_same():
    network = zoo.load("squeezenet-1.1", image=64, seed=0)
    plain, _ = lines_of(network)
    fast, _ = lines_of(network, engine=True)
    np.testing.assert_allclose(fast["softmax"], plain["softmax"], atol=1e-4 * plain["softmax"].max())


def command(*arguments):
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return run.command(parser.parse_args(list(map(str, arguments))))


def test_the_command_line(model, tmp_path, capsys):
    image = save_image(tmp_path / "a.png")
    labels = tmp_path / "names.txt"
    labels.write_text("ant\nbee\ncat\ndog\n")
    assert (
        command(
            model, image, "--top", 1, "--labels", labels, "--mean", 127, "--std", 128, "--output", tmp_path / "o.npz"
        )
        == 0
    )
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{image}:"
    assert printed[1].split()[2] in {"ant", "bee", "cat", "dog"}
    assert (tmp_path / "o.npz").exists()
    assert command("lenet-5", "--seed", 1, "--top", 0) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.onnx"], "no.onnx"),
        (["resnet-81"], "did you mean 'resnet-18'"),
        (["lenet-5"], "no weights of its own; give --seed 0"),
        (["MODEL", "missing.npy"], "no such input: 'missing.npy'"),
        (["MODEL", "missing.png"], "missing.png"),
        (["MODEL", "BROKEN.npy"], "no .npy file of numbers"),
        (["MODEL", "BROKEN.npz"], "no .npz file of numbers"),
        (["MODEL", "WRONG.npy"], r"has shape \(1, 3, 9, 9\); input 'input' needs \(2, 3, 8, 8\)"),
        (["MODEL", "INTS.npy"], "is int64; input 'input' needs float32"),
        (["MODEL", "NAMES.npz"], "unknown input in .* 'image'.*Known: input"),
        (["MODEL", "--output", "out.txt"], "ends in .npz"),
        (["MODEL", "--top", "-1"], "0 or more"),
        (["MODEL", "--labels", "missing.txt"], "--labels"),
        (["MODEL", "--mean", "1", "2"], "one number, or three"),
        (["MODEL", "--pretrained"], "--pretrained"),
        (["lenet-5", "--pretrained"], "no trained weights"),
    ],
)
def test_mistakes_are_one_line(arguments, message, model, tmp_path):
    (tmp_path / "BROKEN.npy").write_bytes(b"no array")
    (tmp_path / "BROKEN.npz").write_bytes(b"no archive")
    np.save(tmp_path / "WRONG.npy", np.zeros((1, 3, 9, 9), np.float32))
    np.save(tmp_path / "INTS.npy", np.zeros((2, 3, 8, 8), np.int64))
    np.savez(tmp_path / "NAMES.npz", image=np.zeros((2, 3, 8, 8), np.float32))
    given = [str(model) if a == "MODEL" else str(tmp_path / a) if a[0].isupper() else a for a in arguments]
    with pytest.raises(HetcnnError, match=message) as caught:
        command(*given)
    assert "\n" not in str(caught.value)


def test_an_image_for_something_else_is_one_line(tmp_path):
    b = Builder("vector", (1, 3))
    with pytest.raises(HetcnnError, match="is an image, but input 'input' is float32"):
        run.run(b.build(b.relu(b.input)), [save_image(tmp_path / "a.png")])


def test_a_zoo_network_says_how_to_get_weights():
    with pytest.raises(HetcnnError, match=r"^network 'lenet-5' of the zoo has no weights of its own; give --seed 0"):
        run.run("lenet-5")
    assert run.load_model("lenet-5", seed=0).weights
