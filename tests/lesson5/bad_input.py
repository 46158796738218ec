"""Wrong configs and inputs as a user meets them, and the table of them in docs/errors.md.

Each case is a real process in a folder of its own, cut off from the network.

``python -m tests.lesson5.bad_input`` writes the table;
``python -m tests.lesson5.bad_input "a misspelt key" …``
runs these cases alone and keeps the other rows. ``make test-slow`` compares every row.
"""

import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ablab import project
from tests.launch import ROOT, files_up_to, train
from tests.lesson5 import TINY

NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once
OFFLINE = {"https_proxy": NOWHERE, "http_proxy": NOWHERE, "PIP_INDEX_URL": f"{NOWHERE}/simple"}
PHOTOS = ["experiment=finetune", "data.root=photos"]
SYNTHETIC = ["data=synthetic_ratings", "logger=csv"]
OF_A_TABLE = ["model=entity_embedding", "objective=regression", "logger=csv"]
OWN_TABLE = ["data=table", "model=entity_embedding", "logger=csv", "data.path=table.csv"]
_INDEXED = ",a,y\n" + "".join(f"{i},{i % 7}.5,{i}\n" for i in range(40))
INTRODUCTION = """# Wrong configs and inputs, and their error messages

Each is a real run of `python train.py`, cut off from the network; exit status 2, nothing lost.
Made by `python -m tests.lesson5.bad_input`; `make test-slow` compares every row with the output.

| what is wrong | `python train.py` | what it prints |
|---|---|---|
"""
PAGE = ROOT / "docs" / "errors.md"


@dataclass(frozen=True)
class Case:
    what: str
    arguments: list[str]
    prepare: Callable[[Path], None] | None = None
    limit_kib: int | None = None  # no file may grow beyond it, as on a full disk


def _local_copy(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        random = np.random.default_rng(0)
        users, items = random.integers(1, 944, 100_000), random.integers(1, 1683, 100_000)
        ratings = random.integers(1, 6, 100_000)
        columns = zip(users.tolist(), items.tolist(), ratings.tolist(), strict=True)
        lines = [f"{u}\t{i}\t{r}\t880000000" for u, i, r in columns]
        local = folder / "data" / "ml-100k"
        local.mkdir(parents=True)
        (local / "u.data").write_text("\n".join(change(lines)) + "\n")
        titles = "".join(f"{n}|Film {n} (1995)|01-Jan-1995\n" for n in range(1, 1683))
        (local / "u.item").write_text(titles)

    return prepare


def _table(content: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "table.csv").write_text(content)

    return prepare


def _experiment(line: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "experiment").mkdir()
        file = folder / "experiment" / "mine.yaml"
        file.write_bytes(f"# @package _global_\n{line}\n".encode("latin-1"))

    return prepare


def _finished_run(folder: Path) -> None:
    assert train(*TINY, "trainer.max_epochs=1", "paths.runs=runs", cwd=folder).returncode == 0
    (made,) = (folder / "runs" / "default").iterdir()
    made.rename(folder / "runs" / "mine")


def _damaged_record(folder: Path) -> None:
    _finished_run(folder)
    record = folder / "runs" / "mine" / "run.json"
    record.write_bytes(record.read_bytes()[:200])


def _damaged_checkpoints(folder: Path) -> None:
    _finished_run(folder)
    for checkpoint in (folder / "runs" / "mine" / "checkpoints").glob("*.ckpt"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])


def _good_photos(folder: Path) -> None:
    for name in ("ants", "bees"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.full((8, 8, 3), 40 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")


def _photos(folder: Path) -> None:
    _good_photos(folder)
    (folder / "photos" / "bees" / "9.jpg").write_bytes(b"<html>not found</html>")


def _photos_and(file: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _good_photos(folder)
        (folder / "photos" / file).parent.mkdir()
        (folder / "photos" / file).touch()

    return prepare


def _photos_in_train_and_dev(folder: Path) -> None:
    _good_photos(folder)
    (folder / "photos").rename(folder / "train")
    (folder / "photos" / "dev").mkdir(parents=True)
    (folder / "train").rename(folder / "photos" / "train")


def _dangling_link(folder: Path) -> None:
    _good_photos(folder)
    (folder / "photos" / "bees" / "9.png").symlink_to("nowhere")


def _file_named(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).touch()


CASES = [
    Case("a misspelt key", ["sed=1"]),
    Case("a key at the wrong depth", ["lr=1e-3"]),
    Case("a setting written as an option", ["--max_epochs", "3"]),
    Case("a key without a value", ["model.n_factors"]),
    Case("characters that need quotes", ["data.root=münchen (1)"]),
    Case("several values without -m", [*SYNTHETIC, "seed=0,1,2"]),
    Case("the seeds of a plan, set for a run", ["seeds=2"]),
    Case("a file that is not UTF-8", ["--config-dir", ".", "experiment=mine"], _experiment("ü")),
    Case(
        "a name that YAML reads as none",
        ["--config-dir", ".", "experiment=mine"],
        _experiment("phases: {null: {epochs: 1}}"),
    ),
    Case(
        "a file without end", ["--config-dir", ".", "experiment=mine"], _experiment("name: &a [*a]")
    ),
    Case("a misspelt key of the trainer", ["trainer.max_epocs=3"]),
    Case("the same, forced with ++", ["++trainer.max_epocs=3"]),
    Case("a misspelt key of the optimiser", ["optim.weight_decay.vlaue=0.1"]),
    Case("a misspelt key of the model", ["model.n_factor=80"]),
    Case("a misspelt key of a tracker", ["logger.wandb.projct=mine"]),
    Case("a misspelt experiment", ["experiment=colab"]),
    Case("a misspelt choice", ["optim=adm"]),
    Case("data that lack a setting of the experiment", ["experiment=collab", *SYNTHETIC]),
    Case("a misspelt mode of weight decay", ["optim.weight_decay.mode=decopled"]),
    Case("a negative learning rate", ["optim.lr=-1"]),
    Case("a word where a number belongs", ["optim.lr=fast"]),
    Case("not a number", ["optim.lr=nan"]),
    Case("a fraction where a whole number belongs", ["model.n_factors=2.5"]),
    Case("a required value that is missing", ["optim.lr=???"]),
    Case("a fold that does not exist", ["data.split=u6"]),
    Case("more than all rows for validation", ["data.validation_fraction=1.5"]),
    Case("a split that leaves no training rows", [*SYNTHETIC, "data.n_ratings=1"]),
    Case("a model too small for the data", [*SYNTHETIC, "model.n_users=3"]),
    Case("a loss of each row", [*SYNTHETIC, "objective.loss.reduction=none"]),
    Case(
        "runs compared by several numbers",
        [*SYNTHETIC, "objective.metrics.mae.num_outputs=3", "objective.metric=mae"],
    ),
    Case("a time limit in the wrong form", [*SYNTHETIC, "trainer.max_time=1.5"]),
    Case("a test of some of the rows", [*SYNTHETIC, "trainer.limit_test_batches=2"]),
    Case("processes that are copies of one", [*SYNTHETIC, "trainer.strategy=ddp_spawn"]),
    Case("batch norm of one row", ["data=synthetic_table", *OF_A_TABLE, "loading.batch_size=1"]),
    Case("a profiler that does not exist", [*SYNTHETIC, "trainer.profiler=1"]),
    Case("a model for other rows", ["data=synthetic_table", *OF_A_TABLE, "model.n_continuous=23"]),
    Case("more rows than memory", [*SYNTHETIC, "data.n_ratings=1000000000000000"]),
    Case("a larger model than memory", [*SYNTHETIC, "model.n_factors=100000000000"]),
    Case("a monitor that nothing measures", ["experiment=collab", "callbacks=early_stopping"]),
    Case("an accelerator that does not exist", [*SYNTHETIC, "trainer.accelerator=gpux"]),
    Case("machines that cannot meet", [*SYNTHETIC, "trainer.num_nodes=2"]),
    Case("a callback without a class", ["callbacks.stop.patience=3"]),
    Case("a class that may not be built", ["logger.tb._target_=os.system"]),
    Case("an environment variable in a config", ["+hydra.job.env_set.HTTPS_PROXY=elsewhere"]),
    Case("several faults at once", ["optim.lr=-1", "seed=zero", "model.n_factor=80"]),
    Case("a test without a run", ["task=test"]),
    Case("a run that is not there", ["task=test", "run=runs/none"]),
    Case("a run with other settings", ["task=test", "run=runs/mine", "optim.lr=1"], _finished_run),
    Case("a damaged run.json", ["task=test", "run=runs/mine"], _damaged_record),
    Case("damaged checkpoints", ["task=test", "run=runs/mine"], _damaged_checkpoints),
    Case("no network, no copy of the data", ["experiment=collab"]),
    Case("a truncated copy", ["experiment=collab"], _local_copy(lambda lines: lines[:70_000])),
    Case("a copy cut in a row", ["experiment=collab"], _local_copy(lambda r: [*r[:-1], r[-1][:5]])),
    Case("a copy with other ratings", ["experiment=collab"], _local_copy(lambda lines: lines)),
    Case(
        "a rating that is not a number",
        ["experiment=collab"],
        _local_copy(lambda lines: ["1\t1\tnan\t880000000", *lines[1:]]),
    ),
    Case("a table that is not there", [*OWN_TABLE, "data.target=y"]),
    Case("a table without its target", [*OWN_TABLE, "data.target=y"], _table("a,b\n1,2\n3,4\n")),
    Case(
        "classes for an objective of numbers",
        [*OWN_TABLE, "data.target=y"],
        _table("a,y\n" + "".join(f"{i % 7}.5,{('few', 'many')[i % 2]}\n" for i in range(40))),
    ),
    Case(
        "a word among numbers",
        [*OWN_TABLE, "data.target=y"],
        _table("a,y\n" + "".join(f"{i}.5,{i}\n" for i in range(9)) + "-,9\n"),
    ),
    Case(
        "a decimal comma",
        [*OWN_TABLE, "data.target=y"],
        _table("a,y\n" + "".join(f'"{i},5",{i}\n' for i in range(10))),
    ),
    Case("a saved index", [*OWN_TABLE, "data.target=y"], _table(_INDEXED)),
    Case("two columns of one name", [*OWN_TABLE, "data.target=y"], _table("a,y,y\n1,2,2\n")),
    Case("another separator", [*OWN_TABLE, "data.target=y"], _table("a;y\n1;2\n3;4\n")),
    Case("a model that is not for the data", ["data=synthetic_ratings", "model=mnist_nn"]),
    Case("a phase of no length", [*PHOTOS, "phases.head.epochs=0"]),
    Case("phases, and a length of all", [*PHOTOS, "trainer.max_epochs=3"]),
    Case("a folder of images that is not there", PHOTOS),
    Case("a file that is no image", PHOTOS, _photos),
    Case("a class without an image that is read", PHOTOS, _photos_and("wasps/0.tif")),
    Case("a folder beside train that is no part", PHOTOS, _photos_in_train_and_dev),
    Case("a link that leads nowhere among images", PHOTOS, _dangling_link),
    Case("weights that are not there", [*PHOTOS, "model.weights=body.pth"], _good_photos),
    Case("a misspelt plan", ["-m", "ablation=weight_decy"]),
    Case("a plan as a single run", ["ablation=weight_decay"]),
    Case("a misspelt key of a plan", ["-m", "ablation=weight_decay", "ablation.sedes=2"]),
    Case("a misspelt key in all jobs", ["-m", "ablation=weight_decay", "trainer.max_epocs=1"]),
    Case("two plans at once", ["-m", "ablation=weight_decay,one_cycle"]),
    Case("a range that is no list", ["-m", *SYNTHETIC, "optim.lr=interval(0.1,1)"]),
    Case("a sweep of tests", ["-m", "task=test", "run=runs/a,runs/b"]),
    Case("a search of nothing", ["-m", *SYNTHETIC, "hydra/sweeper=optuna"]),
    Case("a run folder that cannot be made", [*SYNTHETIC, "paths.runs=file"], _file_named("file")),
    Case("no room for a checkpoint", TINY, limit_kib=12),
]


@dataclass(frozen=True)
class Outcome:
    returncode: int
    error: str
    before: dict[str, bytes]
    after: dict[str, bytes]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def meet(case: Case, folder: Path) -> Outcome:
    """Run the case in ``folder``."""
    if case.prepare is not None:
        case.prepare(folder)
    before = _files(folder)
    limit = None if case.limit_kib is None else files_up_to(case.limit_kib)
    done = train(*case.arguments, cwd=folder, timeout=100, first=limit, **OFFLINE)
    return Outcome(done.returncode, done.stderr, before, _files(folder))


def row_of(case: Case, outcome: Outcome, folder: Path) -> str:
    """Return the case's row of the table, without what differs from one run to the next."""
    error = outcome.error.replace(str(folder), "…").strip()
    error = re.sub(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}", "TIME", error)
    said = "<br>".join(line.strip().replace("|", "\\|") for line in error.splitlines())
    return f"{row_start(case)} {said} |"


def row_start(case: Case) -> str:
    arguments = SYNTHETIC if case.arguments is TINY else case.arguments
    return f"| {case.what} | `{' '.join(arguments)}` |"


def rows_of_page() -> list[str]:
    """Return the rows of docs/errors.md below the table's head."""
    return PAGE.read_text().partition("|---|---|---|\n")[2].splitlines()


def main(names: list[str]) -> None:
    """Write docs/errors.md; with ``names``, run these cases alone and keep the other rows."""
    kept = {row.split(" | ")[0].removeprefix("| "): row for row in rows_of_page()}
    rows = []
    for case in CASES:
        if names and case.what not in names:
            rows.append(kept.get(case.what, row_start(case)))
            continue
        with tempfile.TemporaryDirectory() as name:
            rows.append(row_of(case, meet(case, Path(name)), Path(name)))
    PAGE.write_text(INTRODUCTION + "\n".join(rows) + "\n")


if __name__ == "__main__":
    project.use(ROOT / "train.py")
    main(sys.argv[1:])
