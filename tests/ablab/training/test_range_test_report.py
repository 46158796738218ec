"""``task=lr_find`` as a user meets it: what it writes and says, and that its settings train."""

import csv
import re
from pathlib import Path

import pytest

from ablab.config.schema import LrSpread
from ablab.config.schema import optimiser as schema
from ablab.errors import ConfigError, RunFolderError
from ablab.optim.groups import spread_lrs
from ablab.report.table.collect import collect
from ablab.runs.identity import config_hash
from ablab.runs.record import RunRecord
from ablab.training.range_test.curve import LrCurve, lr_ladder
from ablab.training.range_test.plot import plot_curve
from ablab.training.range_test.report import settings_for
from tests.ablab.optim.test_optimizers import config
from tests.checks import checked
from tests.launch import TINY, launch, train


def settings_in(text: str) -> list[str]:
    (line,) = re.findall(r"; set (.*)", text)
    return line.split()


def losses_of(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        found = [row.get("train/loss_epoch") for row in csv.DictReader(file)]
    return [float(loss) for loss in found if loss]


def test_it_leaves_a_curve_and_settings_that_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "found"
    own = [*TINY, "optim.weight_decay.mode=l2", "optim.lr=1e-6"]
    assert launch([*own, "task=lr_find", "lr_find.steps=60"], folder) is None
    assert sorted(p.name for p in folder.iterdir()) == ["config.yaml", "lr_find.csv", "lr_find.png"]
    assert (folder / "lr_find.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with (folder / "lr_find.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["lr", "loss", "smoothed"]
    assert float(rows[0]["lr"]) == 1e-7
    with pytest.raises(RunFolderError, match=r"run\.json"):  # no run, so in no report
        collect([folder])
    settings = settings_in(capsys.readouterr().out)
    assert [setting.partition("=")[0] for setting in settings] == ["optim.lr"]
    slow, suggested = tmp_path / "slow", tmp_path / "suggested"
    launch(own, slow)
    launch([*own[:-1], *settings], suggested)
    assert RunRecord.read(suggested).status == "done"
    losses = losses_of(suggested)
    assert losses[-1] < 0.8 * losses_of(slow)[0]  # which has hardly moved from the start
    assert losses == sorted(losses, reverse=True)


def test_as_a_command(tmp_path: Path) -> None:
    done = train(*TINY, "task=lr_find", "threads=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "font" not in done.stdout
    (png,) = tmp_path.rglob("lr_find.png")
    assert str(png.relative_to(tmp_path)) in done.stdout
    checked([*TINY, *settings_in(done.stdout)])


def test_nothing_to_suggest_is_an_error_that_leaves_the_curve(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"diverged after .*lr_find\.first="):
        launch([*TINY, "task=lr_find", "optim=sgd", "lr_find.first=1e5", "lr_find.last=1e30",
                "model.y_range=null"], tmp_path / "early")  # fmt: skip
    assert (tmp_path / "early" / "lr_find.png").is_file()
    with pytest.raises(ConfigError, match="leave out run="):
        checked([*TINY, "task=lr_find", "run=runs/some"])


def test_what_is_not_part_of_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch([*TINY, "task=lr_find", "trainer.gradient_clip_val=0.5"], tmp_path)
    out = capsys.readouterr().out
    assert "The range test ignores trainer.gradient_clip_val=0.5" in out


def test_it_is_no_part_of_what_a_run_computes() -> None:
    plain, other = checked(TINY), checked([*TINY, "lr_find.steps=50", "task=lr_find"])
    assert config_hash(plain.model_dump(mode="json")) == config_hash(other.model_dump(mode="json"))


NAMES = ["body", "middle", "head"]


@pytest.mark.parametrize(
    "spread",
    [
        schema.UniformSpread(kind="uniform"),
        schema.FlatSpread(kind="flat", div=3),
        schema.GeometricSpread(kind="geometric", first=1e-5),
        schema.LinearSpread(kind="linear", first=1e-5),
        schema.LayerDecaySpread(kind="layer_decay", factor=0.5),
        schema.MultSpread(kind="mult", multipliers={"body": 0.1, "middle": 1.0, "head": 4.0}),
    ],
    ids=lambda spread: spread.kind,
)
def test_the_settings_keep_the_ratios_that_were_tested(spread: LrSpread) -> None:
    optim = config("adam", "none", 0.0, lr=1e-3, lr_spread=spread)
    tested = spread_lrs(optim.lr, NAMES, spread)
    settings = settings_for(optim, base_lr=tested[-1], rate=0.02)
    values = {k: float(v) for k, v in (setting.split("=") for setting in settings)}
    first = values.get("optim.lr_spread.first")
    if first is not None:
        spread = spread.model_copy(update={"first": first})
    found = spread_lrs(values["optim.lr"], NAMES, spread)
    assert found[-1] == pytest.approx(0.02)
    assert [f / found[-1] for f in found] == pytest.approx([t / tested[-1] for t in tested])


@pytest.mark.parametrize("n", [1, 2, 60])
def test_any_curve_can_be_drawn(n: int, tmp_path: Path) -> None:
    losses = [2.0] * (n - 1) + [1e12]
    curve = LrCurve(lr_ladder(1e-7, 10.0, 60)[:n], losses, losses, 60, True, 1e-3)
    for suggestion in (None, 1e-7):
        plot_curve(curve, suggestion, "any", tmp_path / "any.png")
