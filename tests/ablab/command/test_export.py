"""A trained model as a file that a process without this package loads, with the same numbers."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import ablab
from ablab.__main__ import main
from tests.launch import launch

NET = [
    *("data=points", "data.n_rows=300", "model=net", "model.batch_norm=true", "logger=csv"),
    *("objective=classification", "trainer.accelerator=cpu", "trainer.max_epochs=1"),
]
PLAIN = [  # a LightningModule with its own steps
    *("data=points", "data.n_rows=300", "model=classifier", "objective=logged", "logger=csv"),
    *("objective.metric=val_loss", "objective.mode=min", "trainer.max_epochs=1"),
    *("trainer.accelerator=cpu", "test=false"),
]
LOADING = {
    "pt2": """
program = torch.export.load('model.pt2').module()
def predict(inputs):
    return program(*inputs)
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession('model.onnx')
names = [i.name for i in session.get_inputs()]
assert names == sys.argv[1:], names
def predict(inputs):
    given = {name: tensor.numpy() for name, tensor in zip(names, inputs)}
    return torch.from_numpy(session.run(['prediction'], given)[0])
""",
}


def exported(run: Path, form: str) -> Path:
    assert main(["export", str(run), "--to", form]) == 0
    return run / f"model.{form}"


def assert_same_predictions(run: Path, form: str, names: list[str]) -> None:
    """Assert that a bare process predicts one row and the whole test part as the run's model."""
    model, data = ablab.load(run)
    *inputs, _ = data.parts["test"]  # type: ignore[attr-defined]
    cases = []
    for rows in (1, len(inputs[0])):
        given = [tensor[:rows] for tensor in inputs]
        with torch.no_grad():
            wanted = getattr(model, "activation", torch.nn.Identity())(model(*given))
        cases.append((given, wanted))
    torch.save(cases, run / "cases.pt")
    code = (
        "import sys, torch\n"
        f"{LOADING[form]}"
        "for inputs, wanted in torch.load('cases.pt', weights_only=True):\n"
        "    torch.testing.assert_close(predict(inputs), wanted)\n"
        "assert not {'ablab', 'lightning', 'toy'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *names],
        cwd=run,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_tensors_are_those_of_the_chosen_checkpoint(tmp_path: Path) -> None:
    launch(NET, tmp_path)
    main(["export", str(tmp_path), "--to", "state_dict", "--output", str(tmp_path / "a.pt")])
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    model, _ = ablab.load(tmp_path)
    own = torch.nn.ModuleDict({n: m for n, m in model.named_children() if n in ("lin1", "bn1")})
    own["lin2"] = torch.nn.Linear(8, 10)
    own.load_state_dict(state)  # refuses keys that are missing or too many
    assert torch.equal(own["lin2"].weight, model.lin2.weight)  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [NET, PLAIN], ids=["supervised", "plain"])
def test_a_bare_process_runs_the_program(overrides: list[str], tmp_path: Path) -> None:
    launch(overrides, tmp_path)
    exported(tmp_path, "pt2")
    assert_same_predictions(tmp_path, "pt2", [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["trainer.max_epochs=1", "logger=csv", "trainer.accelerator=cpu"], ["users", "items"]),
        (PLAIN, ["points"]),
    ],
    ids=["supervised", "plain"],
)
def test_a_bare_process_runs_the_graph(
    overrides: list[str], names: list[str], tmp_path: Path
) -> None:
    if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        pytest.skip("onnx, onnxscript and onnxruntime are not installed")
    launch(overrides, tmp_path)
    exported(tmp_path, "onnx")
    assert_same_predictions(tmp_path, "onnx", names)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere", "--to", "pt2"], "has the run.json of a finished run"),
        ([".", "--to", "pt2", "--output", "no/such/model.pt2"], "there is no folder no/such"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments[0] = str(tmp_path / arguments[0])
    assert main(["export", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_neither_help_nor_a_missing_run_needs_torch(tmp_path: Path) -> None:
    code = (
        "import contextlib, sys\nfrom ablab.__main__ import main\n"
        "with contextlib.suppress(SystemExit): main(['export', '--help'])\n"
        "assert main(['export', '--to', 'pt2', 'nowhere']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    started = [sys.executable, "-c", code]
    done = subprocess.run(started, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
