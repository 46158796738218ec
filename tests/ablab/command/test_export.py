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
def loaded(file, names):
    program = torch.export.load(file).module()
    return lambda inputs: program(*inputs)
""",
    "onnx": """
import onnxruntime
def loaded(file, names):
    session = onnxruntime.InferenceSession(file)
    assert [i.name for i in session.get_inputs()] == names
    def predict(inputs):
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs)}
        return torch.from_numpy(session.run(['prediction'], given)[0])
    return predict
""",
}


def exported(run: Path, form: str) -> Path:
    assert main(["export", str(run), "--to", form]) == 0
    return run / f"model.{form}"


def cases_of(run: Path) -> list[tuple[list[torch.Tensor], torch.Tensor]]:
    """Return what the run's model predicts of one row and of the whole test part."""
    model, data = ablab.load(run)
    *inputs, _ = data.parts["test"]  # type: ignore[attr-defined]
    cases = []
    for rows in (1, len(inputs[0])):
        given = [tensor[:rows] for tensor in inputs]
        with torch.no_grad():
            wanted = getattr(model, "activation", torch.nn.Identity())(model(*given))
        cases.append((given, wanted))
    return cases


def assert_same_predictions(form: str, runs: dict[Path, list[str]], folder: Path) -> None:
    """Assert that a bare process predicts as the models of all runs do, by their inputs' names."""
    cases = {str(exported(run, form)): (names, cases_of(run)) for run, names in runs.items()}
    torch.save(cases, folder / "cases.pt")
    code = (
        "import sys, torch\n"
        f"{LOADING[form]}"
        "for file, (names, cases) in torch.load('cases.pt', weights_only=True).items():\n"
        "    predict = loaded(file, names)\n"
        "    for inputs, wanted in cases:\n"
        "        torch.testing.assert_close(predict(inputs), wanted)\n"
        "assert not {'ablab', 'lightning', 'toy'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
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
def test_a_bare_process_runs_the_programs(tmp_path: Path) -> None:
    net, plain = tmp_path / "net", tmp_path / "plain"
    launch(NET, net)
    launch(PLAIN, plain)
    assert_same_predictions("pt2", {net: [], plain: []}, tmp_path)


@pytest.mark.slow
def test_a_bare_process_runs_the_graphs(tmp_path: Path) -> None:
    if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        pytest.skip("onnx, onnxscript and onnxruntime are not installed")
    toy, plain = tmp_path / "toy", tmp_path / "plain"
    launch(["trainer.max_epochs=1", "logger=csv", "trainer.accelerator=cpu"], toy)
    launch(PLAIN, plain)
    assert_same_predictions("onnx", {toy: ["users", "items"], plain: ["points"]}, tmp_path)


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
