"""``ablab export RUN --to FORMAT``: a trained model as a file that needs none of this package."""

import argparse
import inspect
import logging
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablab.errors import UserError, first_line
from ablab.safety.commands import as_command
from ablab.safety.printable import printable

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from ablab.data.contract import RunDataModule

ENDINGS = {"state_dict": "pt", "pt2": "pt2", "onnx": "onnx"}
_DESCRIPTION = """\
Write the model of a finished run, with the weights of its chosen checkpoint, to a file.

  state_dict   its tensors, for torch.load(FILE, weights_only=True)
  pt2          a program, for torch.export.load(FILE).module()(*inputs)
  onnx         a graph, for ONNX Runtime and others; needs pip install 'ablation-lab[onnx]'

A program and a graph give the predictions: what the model returns, after the softmax or whatever
else belongs to its loss. They take any number of rows."""


@as_command
def main(arguments: list[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="ablab export",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    parser.add_argument("--to", choices=ENDINGS, required=True, help="the format of the file")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: model.pt, .pt2 or .onnx in the run"
    )
    options = parser.parse_args(arguments)
    if options.to == "onnx" and not all(map(find_spec, ("onnx", "onnxscript"))):
        raise UserError("--to onnx: needs onnx and onnxscript; pip install 'ablation-lab[onnx]'")
    if options.output is not None and not options.output.parent.is_dir():
        raise UserError(f"--output: there is no folder {options.output.parent}")
    path = _export(options.run, options.to, options.output)
    print(printable(str(path)))  # noqa: T201
    return 0


def _export(given: Path, form: str, output: Path | None) -> Path:
    """Write the model of a run to a file and return its path.

    Raises:
        UserError: there is no run, or its model cannot be exported.
    """
    from ablab.command.import_lightning import import_lightning
    from ablab.runs.find import newest_run
    from ablab.safety.atomic_files import atomic_write
    from ablab.training.launched import forget_ranks

    run = newest_run(given)
    forget_ranks()  # Lightning reads its rank from the variables of a launcher.
    import_lightning()
    import torch

    from ablab.training.evaluation import load

    path = output or run / f"model.{ENDINGS[form]}"
    model, data = load(run)
    if form == "state_dict":
        tensors = model.state_dict().items()  # of the loss are its weights of classes
        state = {name: t for name, t in tensors if not name.startswith("loss_function.")}
        with atomic_write(path) as file:
            torch.save(state, file)
        return path
    program = _program(model, data, form)
    with atomic_write(path) as file:
        if form == "pt2":
            torch.export.save(program, file)
        else:
            file.write(program.model_proto.SerializeToString())
    return path


def _program(model: "LightningModule", data: "RunDataModule", form: str) -> Any:
    """Return the model as an exported program, or as a graph of ONNX.

    Raises:
        UserError: there is no example of its inputs, or ``forward`` cannot be traced.
    """
    import torch
    from torch.utils import _pytree

    activation: Any = getattr(model, "activation", None)

    class Predicting(torch.nn.Module):
        """The model and the activation of its loss."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            output = self.model(*inputs)
            return activation(output) if callable(activation) else output

    inputs = _example_inputs(model, data)
    rows = torch.export.Dim("rows")
    shapes = _pytree.tree_map(lambda t: {0: rows} if t.dim() else {}, inputs)
    options: dict[str, Any] = {"dynamic_shapes": (shapes,)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            if form == "pt2":
                return torch.export.export(Predicting().eval(), inputs, **options)
            names = list(inspect.signature(model.forward).parameters)[: len(inputs)]
            of_tensors = all(isinstance(value, torch.Tensor) for value in inputs)
            return torch.onnx.export(
                Predicting().eval(),
                inputs,
                dynamo=True,
                verbose=False,
                input_names=names if of_tensors else None,
                output_names=["prediction"],
                **options,
            )
    except Exception as error:  # of many kinds, by what of the model cannot be traced
        raise UserError(
            f"--to {form}: {type(model).__name__}.forward cannot be traced with any number of rows "
            f"({first_line(error)}); --to state_dict writes its weights"
        ) from error


def _example_inputs(model: "LightningModule", data: "RunDataModule") -> tuple[Any, ...]:
    """Return arguments of ``forward``. Raises UserError if there are none to be had."""
    example, batch = model.example_input_array, data.trial_batch()
    if example is not None:
        return example if isinstance(example, tuple) else (example,)
    split: Any = getattr(model, "split_batch", None)
    if split is not None and batch is not None:
        return tuple(split(batch)[0])
    if isinstance(batch, list | tuple):
        return tuple(batch[:-1])
    raise UserError(
        f"{type(model).__name__}: no example of its inputs is known; set example_input_array in "
        f"its __init__, or take --to state_dict"
    )


if __name__ == "__main__":
    sys.exit(main())
