from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hetcnn import cli, lab, onnx_io, zoo
from hetcnn.errors import HetcnnError

BOARD = "hikey970"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "lenet.onnx"
    onnx_io.save(zoo.load("lenet-5"), path)
    return path


def test_help_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    for word in ("reproduce", "analyse", "platforms", "networks", "doctor", "lab", "examples:", "exit codes:"):
        assert word in out
    for command in ("reproduce", "analyse", "measure", "platforms", "networks", "doctor", "lab"):
        with pytest.raises(SystemExit) as end:
            cli.main([command, "--help"])
        assert end.value.code == 0
    assert "--plot FILE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analize"], "unknown command 'analize'; did you mean 'analyse'?"),
        (["analyse", "lenet-5"], "the following arguments are required: --platform; see 'hetcnn analyse --help'"),
        (["analyse", "lenet-5", "--platform", "hikey"], "unknown platform 'hikey'; did you mean 'hikey970'?"),
        (["analyse", "lenet5", "--platform", BOARD], "unknown network 'lenet5'; did you mean 'lenet-5'?"),
        (["analyse", "no.onnx", "--platform", BOARD], ""),
        (
            ["analyse", "lenet-5", "--platform", "no.toml"],
            "cannot read board file 'no.toml': No such file or directory",
        ),
        (["analyse", "lenet-5", "--platform", BOARD, "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["analyse", "lenet-5", "--platform", BOARD, "--dims", "N"], "--dims N: expected NAME=SIZE"),
        (["analyse", "lenet-5", "--platform", BOARD, "--dims", "N=0"], "--dims N=0: expected NAME=SIZE"),
        (
            ["analyse", "lenet-5", "--platform", BOARD, "--dims", "H=8"],
            "--dims H: 'lenet-5' has one symbolic dimension",
        ),
        (["analyse", "lenet-5", "--platform", BOARD, "--devices", "a72"], "unknown device of hikey970 'a72'"),
        (["analyse", "lenet-5", "--platform", BOARD, "--plot", "a.bmp"], "--plot a.bmp: expected a file that ends in"),
        (["platforms", "hikey"], "unknown platform 'hikey'; did you mean 'hikey970'?"),
        (["networks", "vgg16"], "unknown network 'vgg16'; did you mean 'vgg-16'?"),
        (["reproduce", "pipit"], "unknown paper or notebook 'pipit'; did you mean 'pipeit'?"),
        (["reproduce", "--jobs", "many"], "argument --jobs: invalid int value: 'many'; see 'hetcnn reproduce --help'"),
        (["reproduce", "--jobs", "0"], "--jobs 0: expected at least 1"),
        (["reproduce", "--set", "nothing"], "--set nothing: expected name=value"),
        (["reproduce", "--out", ""], "argument --out: expected a path, got ''"),
        (["reproduce", "--nope"], "unrecognized arguments: --nope; see 'hetcnn --help'"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"hetcnn: error: {message}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_out_folder_that_cannot_be_made_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "reproduce", "--out", str(tmp_path / "file"))
    assert code == 2
    assert err == f"hetcnn: error: --out {tmp_path / 'file'}: is a file; expected a folder\n"


def test_analyse_prints_a_table(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    code, out, err = run(capsys, "analyse", str(model), "--platform", BOARD)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "417 k MACs (833 kop)" in lines[0]  # 416,520 MACs
    header = next(line for line in lines if line.startswith("layer"))
    assert header.split()[:6] == ["layer", "kind", "MACs", "bytes", "ops/B", "a73"]
    assert sum(line.startswith(("conv1 ", "conv2 ")) for line in lines) == 2
    assert any(line.startswith("best pipeline: ") for line in lines)


def test_the_three_formats_say_the_same(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    _, text, _ = run(capsys, "analyse", str(model), "--platform", BOARD, "--format", "json")
    _, table, _ = run(capsys, "analyse", str(model), "--platform", BOARD, "--format", "csv")
    content = json.loads(text)
    rows = list(csv.DictReader(io.StringIO(table)))
    network = zoo.load("lenet-5")
    assert content["macs"] == network.macs == sum(int(row["macs [MAC]"]) for row in rows)
    assert [row["layer"] for row in rows] == [layer["layer"] for layer in content["layers"]]
    assert [float(row["a73.time [s]"]) for row in rows] == [layer["a73.time"] for layer in content["layers"]]


def test_a_name_and_its_file_give_the_same(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    outs = [run(capsys, "analyse", m, "--platform", BOARD, "--format", "csv")[1] for m in (str(model), "lenet-5")]
    assert outs[0] == outs[1]


def test_dims_set_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(capsys, "analyse", "lenet-5", "--platform", BOARD, "--format", "json", "--dims", "N=3")
    assert json.loads(text)["macs"] == 3 * zoo.load("lenet-5").macs


def test_devices_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(capsys, "analyse", "lenet-5", "--platform", BOARD, "--format", "json", "--devices", "a53")
    assert list(json.loads(text)["devices"]) == ["a53"]


def test_a_users_own_board_works_wherever_a_name_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hetcnn import data

    board = tmp_path / "mine.toml"
    board.write_bytes(data.path("platforms", f"{BOARD}.toml").read_bytes())
    outs = [run(capsys, "analyse", "lenet-5", "--platform", p, "--format", "csv")[1] for p in (str(board), BOARD)]
    assert outs[0] == outs[1]


def test_the_roofline_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "roof.svg"
    code, _, err = run(capsys, "analyse", "lenet-5", "--platform", BOARD, "--format", "csv", "--plot", str(file))
    assert (code, err.splitlines()[-1]) == (0, f"roofline: {file}")
    assert ElementTree.parse(file).getroot().tag.endswith("svg")
    assert [f.name for f in tmp_path.iterdir()] == ["roof.svg"]


def test_platforms_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "platforms")
    assert code == 0
    for name in ("hikey970", "zc702", "zc706", "tx2-cyclone10gx", "p395-ab"):
        assert f"\n{name} " in out
    _, out, _ = run(capsys, "platforms", BOARD)
    clock = next(line for line in out.splitlines() if line.startswith("devices.a73.clock "))
    assert "2.36 GHz" in clock
    assert "[D]" in clock


def test_networks_list_and_show(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    _, out, _ = run(capsys, "networks")
    assert {line.split()[0] for line in out.splitlines()[1:]} == set(zoo.names())
    _, out, _ = run(capsys, "networks", "lenet-5")
    assert out.startswith("lenet-5: 13 layers, 417 k MACs (833 kop)")
    assert run(capsys, "networks", str(model))[0] == 0


def test_doctor_finds_everything_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor")
    words = {line.split()[1] for line in out.splitlines()[:-1]}
    assert {"python", "numpy", "BLAS", "kernel", "boards", "claims", "notebooks", "font"} <= words
    assert code == int("MISS" in out)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m hetcnn platforms hikey970 | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("hikey970: ")
    assert done.stderr == ""


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hetcnn", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.startswith("hetcnn ")


def test_nothing_heavy_is_imported_for_help() -> None:
    script = (
        "import sys\nfrom hetcnn import cli\ncli.main([])\n"
        "print(sorted({'numpy','scipy','xarray','matplotlib','onnx','pydantic','rich','papermill'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_formula_modules_import_numpy_and_nothing_heavier() -> None:
    modules = "errors units network roofline energy gemm pipeline partition builder zoo"
    script = (
        "import sys\n"
        + "".join(f"import hetcnn.{name}\n" for name in modules.split())
        + "heavy = {'scipy', 'xarray', 'pandas', 'matplotlib', 'pydantic', 'onnx', 'rich', 'papermill', 'IPython'}\n"
        + "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_analyse_of_a_file_imports_no_plotting_and_no_notebooks(model: Path) -> None:
    script = (
        "import sys\nfrom hetcnn import cli\n"
        f"cli.main(['analyse', {str(model)!r}, '--platform', 'hikey970'])\n"
        "print(sorted({'xarray','matplotlib','papermill','pandas','onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_lab_opens_the_checkouts_notebooks_or_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site" / "_notebooks"
    (installed / "labs").mkdir(parents=True)
    (installed / "00_start_here.ipynb").write_text("{}")
    (installed / "labs" / "a.ipynb").write_text("{}")
    monkeypatch.setattr(lab.data, "notebooks_folder", lambda: installed)
    monkeypatch.chdir(tmp_path)
    copy = lab.folder()
    assert copy == lab.COPY
    assert sorted(f.name for f in copy.rglob("*.ipynb")) == ["00_start_here.ipynb", "a.ipynb"]
    (copy / "00_start_here.ipynb").write_text("mine")
    lab.folder()
    assert (copy / "00_start_here.ipynb").read_text() == "mine"
    assert os.access(copy / "00_start_here.ipynb", os.W_OK)
    (tmp_path / "file").write_text("")
    with pytest.raises(HetcnnError, match="is a file"):
        lab.folder(tmp_path / "file")
    monkeypatch.setattr(lab.data, "notebooks_folder", lambda: tmp_path / "notebooks")
    assert lab.folder() == tmp_path / "notebooks"


@pytest.fixture
def symbolic(tmp_path: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    def saved(name: str, shape: list[str | int] | None) -> None:
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
        onnx.save(helper.make_model(graph), tmp_path / name)

    saved("two.onnx", ["b", 3, "h", "h"])
    saved("none.onnx", None)
    saved("fixed.onnx", [1, 3, 8, 8])
    return tmp_path


def test_dims_add_up(capsys: pytest.CaptureFixture[str], symbolic: Path) -> None:
    model = ("analyse", str(symbolic / "two.onnx"), "--platform", BOARD, "--format", "json", "--devices", "a73")
    outs = [
        run(capsys, *model, "--dims", *dims)[1]
        for dims in (["b=2", "--dims", "h=32"], ["b=2", "h=32"], ["x=2x3x32x32"], ["b=2", "b=2", "h=32"])
    ]
    assert len(set(outs)) == 1
    assert json.loads(outs[0])["layers"][0]["bytes"] == 2 * 4 * 2 * 3 * 32 * 32  # read once, written once
    assert run(capsys, "networks", str(symbolic / "two.onnx"), "--dims", "h=8")[0] == 0


@pytest.mark.parametrize(
    ("file", "dims", "message"),
    [
        ("two.onnx", ["h=8", "--dims", "h=9"], "--dims h=9: 'h' has another size already; give each name once"),
        ("two.onnx", [], "input 'x' has shape (b, 3, h, h): 'h' has no size; set it, e.g. --dims h=224"),
        ("two.onnx", ["x=3"], "--dims: 'x' is an input with 4 axes; give all its sizes, e.g. --dims x=3x3x3x3"),
        ("two.onnx", ["N=1", "h=8"], "unknown dimension 'N'; Known: b, h, x"),
        ("none.onnx", [], "input 'x' has no shape; give it one, for instance --dims x=1x3x224x224"),
        ("fixed.onnx", ["N=1"], "unknown dimension 'N'; this model has no symbolic dimension; inputs: x"),
    ],
)
def test_mistakes_in_dims_are_told_as_options(
    capsys: pytest.CaptureFixture[str], symbolic: Path, file: str, dims: list[str], message: str
) -> None:
    chosen = ["--dims", *dims] if dims else []
    code, out, err = run(capsys, "analyse", str(symbolic / file), "--platform", BOARD, *chosen)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_notes_show_options_and_csv_sends_them_aside(capsys: pytest.CaptureFixture[str], symbolic: Path) -> None:
    arguments = ("analyse", str(symbolic / "two.onnx"), "--platform", BOARD, "--dims", "h=8", "--format", "csv")
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "note: batch 'b' of input 'x' set to 1; set it with --dims b=1\n")
    assert "note" not in out


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["--no-browser"], ["--no-browser"]),
        (["--", "--no-browser"], ["--no-browser"]),
        (["--port", "8889", "--dir", "mine", "--debug"], ["--port", "8889", "--debug"]),
        (["--dir", "mine", "--", "--dir=x"], ["--dir=x"]),
        ([], []),
    ],
    ids=str,
)
def test_lab_passes_options_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], passed: list[str]
) -> None:
    calls: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab.util, "find_spec", lambda _: True)
    monkeypatch.setattr(lab, "_become", lambda command: calls.append(command) or 0)
    assert cli.main(["lab", *given]) == 0
    (command,) = calls
    assert command[4:] == passed
    assert (tmp_path / "mine").exists() == ("mine" in given)


def test_a_plot_that_cannot_be_is_told_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.svg").mkdir()
    for target, rule in (
        ("file/a.svg", "is a file; expected a folder"),
        ("folder.svg", "is a folder; expected a file"),
    ):
        path = tmp_path / target
        code, out, err = run(capsys, "analyse", "lenet-5", "--platform", BOARD, "--plot", str(path))
        assert (code, out) == (2, "")
        assert err.startswith(f"hetcnn: error: --plot {path}: ")
        assert rule in err


def test_a_board_explains_its_marks(capsys: pytest.CaptureFixture[str]) -> None:
    assert "[P] is the paper" in run(capsys, "platforms", BOARD)[1]
