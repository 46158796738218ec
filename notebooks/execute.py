"""Execute notebooks in place, each in a kernel of its own: ``python notebooks/execute.py [FILE…]``.

Without files, all of this folder. What changes from one execution to the next without meaning (time
stamps, versions, how a stream was cut into pieces) is not kept, so that a difference between two
versions of a notebook is one of content. Pictures are kept in 256 colours, which are less than half
of the bytes. A cell that fails ends it with exit status 1, and that notebook is left as it was.
"""

import base64
import io
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
COLOURS = 256  # of a picture, shades included


def main(arguments: list[str]) -> int:
    bin_folder = str(Path(sys.executable).parent)  # `python` in a cell is the one that runs this
    os.environ["PATH"] = os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)])
    for path in [Path(argument) for argument in arguments] or sorted(HERE.glob("*.ipynb")):
        started = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        try:
            execute(notebook, path.parent)
        except CellExecutionError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - started:.0f} s")
    return 0


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a new kernel whose working directory is ``folder``, as Jupyter does.

    Raises:
        CellExecutionError: a cell raised.
    """
    notebook.metadata = NotebookNode(kernelspec=KERNEL)
    client = NotebookClient(
        notebook,
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        # or else each kernel begins with a warning of a connection in clear text
        config=Config(KernelManager={"transport_encryption": "auto"}),
    )
    client.execute()
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = with_palette(output.data["image/png"])


def with_palette(png: str) -> str:
    """The picture in ``COLOURS``, base64 as notebooks hold it."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
