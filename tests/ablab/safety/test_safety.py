"""What a stranger may have written: configs, checkpoints, archives, caches, titles; and secrets."""

import io
import json
import logging
import os
import time
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from ablab import project, terminal
from ablab.ablation.plan.folder import JobFolder
from ablab.command.folders import register_resolvers
from ablab.command.overrides import force_overrides
from ablab.config.check import check
from ablab.config.hydra_nodes import check_hydra
from ablab.data.files.download import zip_members
from ablab.data.images.files import _read_cache, decoded
from ablab.errors import CheckpointError, ConfigError, DataError, RunFolderError
from ablab.findings import Findings
from ablab.interpret.__main__ import main as interpret
from ablab.report.__main__ import main as report
from ablab.report.table.plan_file import PLAN_FILE, PlanFile
from ablab.runs.checkpoint_io import AtomicCheckpointIO
from ablab.runs.checkpoints import Manifest
from ablab.runs.record import RunRecord
from ablab.safety.folder_lock import refuse_links
from ablab.safety.redaction import RedactingFormatter, redacted, refuse_secrets
from ablab.training import terminal_tables
from tests.ablab.report.plan_folders import config_of, write_job
from tests.launch import TINY, launch

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCY"
TITLE = "\x1b]0;mine\x07\x1b[2J[bold]<script>alert(1)</script>|\n\u202etxt.exe"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return SECRET


def composed(*overrides: str, hydra: bool = False, conf: Path | None = None) -> DictConfig:
    register_resolvers()
    GlobalHydra.instance().clear()
    words = [*overrides, *([f"hydra.searchpath=[file://{conf}]"] if conf else [])]
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        return compose("config", force_overrides(words), return_hydra_config=hydra)


# -- configs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "told"),
    [
        # would turn into a node, or an environment variable, when the tracker is built
        (r"logger.csv.file_name='\${oc.create:{_target_:torch.load,f:x}}'", "escaped"),
        (r"paths.data='\${oc.env:HOME}'", "escaped"),
        ("interpret.x={_target_: ablab.report.write.save, path: x, content: y}", "Findings"),
        ("interpret.x={_target_: torch.hub.load}", "may not be built"),
        ("logger.wandb.api_key=0123456789abcdef", "logger.wandb.api_key"),
        ("paths.data=${oc.env:AWS_SECRET_ACCESS_KEY}", "holds the value of AWS_SECRET_ACCESS_KEY"),
        ("logger.wandb.notes=at ${oc.env:AWS_SECRET_ACCESS_KEY}", "holds the value"),
        ("paths.data=https://me:mypassword@host/data", "a URL with a password"),
    ],
)
def test_a_config_that_hides_something_is_refused(override: str, told: str, secret: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        check(composed(override))
    for hidden in (secret, "0123456789abcdef", "mypassword"):
        assert hidden not in str(caught.value)


@pytest.mark.parametrize(
    ("hydra", "told"),
    [
        ("callbacks: {x: {_target_: torch.load, f: evil.pt}}", "callbacks.x._target_"),
        ("callbacks: {x: '${model}'}", "callbacks.x"),
        ("callbacks: {x: '${oc.create:{_target_:torch.load,f:evil.pt}}'}", "callbacks.x"),
        ("launcher: {_target_: torch.load, f: evil.pt}", "launcher._target_"),
        ("callbacks: {x: '${...model}'}", "callbacks.x"),
        ("callbacks: {x: {_target_: torch.nn.ReLU}}", "callbacks.x._target_: .* is no Callback"),
        # any attribute of an allowed module would do, os.system among them
        (
            "launcher: {_target_: hydra_plugins.a.B, x: {_target_: hydra_plugins.a.os.system}}",
            "x._ta",
        ),
        ("launcher: {x: '${...model}'}", "launcher.x: should be a plain value"),
        (
            "{launcher: {x: '${hydra.runtime.choices.x}'}, runtime: {choices: {x: '${model}'}}}",
            "launcher.x: should be a plain value",
        ),
        ("launcher: {setup: [touch /tmp/x]}", "launcher.setup: can run commands"),
        ("launcher: {ray: {init: {address: 'ray://theirs'}}}", "init.address: can run commands"),
        ("sweeper: {x: [{_target_: hydra_plugins.a.os.system}]}", "sweeper.x.0._target_"),
        ("job_logging: {handlers: {x: {(): torch.load, f: evil.pt}}}", r"handlers\.x\.\(\)"),
        ("job_logging: {handlers: {file: {filename: /home/me/.bashrc}}}", "file.filename"),
        ("job_logging: {handlers: {file: {.: {baseFilename: /home/me/.bashrc}}}}", "baseFilename"),
        ("job_logging: {handlers: {console: {stream: 'ext://evil.X'}}}", "console.stream"),
        ("job_logging: {formatters: {file: {(): logging.os.system}}}", "formatters.file"),
        ("job_logging: {filters: {x: {(): logging.os.system}}}", "job_logging.filters.x"),
        ("job_logging: {root: {handlers: '${oc.env:HOME}'}}", "root.handlers"),
        ("hydra_logging: {handlers: {console: {class: logging.FileHandler}}}", "console.class"),
        ("hydra_logging: {loggers: {a: {handlers: [console]}}}", "loggers.a.handlers"),
        ("job: {env_set: {ABLAB_ALLOWED_TARGETS: evil}}", "must not set environment variables"),
        ("job: {env_copy: [HOME]}", "env_copy: .* must not set environment variables"),
        ("output_subdir: ../../elsewhere", "output_subdir"),
        ("output_subdir: .", "output_subdir"),
        (r'help: {footer: "\e]0;mine\a"}', "help.footer: holds control characters"),
    ],
)
def test_a_config_file_has_hydra_build_nothing_else(hydra: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = f"# @package _global_\nhydra:\n  {hydra}\n"
    (tmp_path / "experiment" / "evil.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        check_hydra(composed("experiment=evil", hydra=True, conf=tmp_path))


def test_a_users_callback_for_hydra_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_hook.py").write_text(
        "from hydra.experimental.callback import Callback\nclass Hook(Callback): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "their_hook")
    check_hydra(composed("+hydra.callbacks.x={_target_: their_hook.Hook}", hydra=True))


def test_a_config_may_change_levels_of_the_logging() -> None:
    levels = ["hydra.job_logging.root.level=DEBUG", "+hydra.job_logging.loggers.x.level=INFO"]
    check_hydra(composed(*levels, "hydra.job_logging.root.handlers=[console]", hydra=True))
    check_hydra(composed("hydra/job_logging=disabled", "hydra/hydra_logging=none", hydra=True))


def test_commands_of_a_launcher_are_given_on_the_command_line() -> None:
    setup = ["hydra/launcher=slurm", "hydra.launcher.setup=[module load cuda]"]
    check_hydra(composed(*setup, hydra=True), setup)
    with pytest.raises(ConfigError, match=r"launcher\.setup: can run commands"):
        check_hydra(composed(*setup, hydra=True), setup[:1])


@pytest.mark.parametrize("launcher", ["serial", "local", "slurm"])
@pytest.mark.parametrize("sweeper", ["ablation", "optuna"])
def test_what_hydra_builds_of_ours_is_allowed(launcher: str, sweeper: str) -> None:
    words = [f"hydra/launcher={launcher}", f"hydra/sweeper={sweeper}"]
    check_hydra(composed(*words, hydra=True))


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argument",
    [
        "logger.wandb.api_key=0123456789abcdef",
        "+hydra.job.env_set={WANDB_API_KEY: 0123456789abcdef}",
        "hydra.job.env_set.HF_TOKEN=0123456789abcdef",
        f"name={SECRET}",
        "paths.data=s3://me:0123456789abcdef@host",
        "paths.data=https://0123456789abcdef@host/data",
        "paths.data=https://me:x/0123456789abcdef@host/data",
        "paths.data=https://host/data?part=1&api_key=0123456789abcdef",
        "hydra.job.env_set={DB_PASS: 0123456789abcdef}",
        "hydra.job.env_set={A: 1, SECRET_KEY_BASE: 0123456789abcdef}",
        "hydra.job.env_set.GITHUB_PAT=0123456789abcdef",
        "hydra.job.env_set.MYSQL_PWD=0123456789abcdef",
        "hydra.job.env_set.API_KEYS=0123456789abcdef",
        "logger.own.token=0123456789abcdef",
        "logger.own.hub_token=secret",
        "logger.own.slack_token=xoxb-0123456789abcdef",
    ],
)
def test_a_secret_on_the_command_line_is_refused(argument: str, secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_secrets(["seed=1", argument])
    assert secret not in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    "variable",
    ["DB_PASS", "GITHUB_PAT", "MYSQL_PWD", "API_KEYS", "SECRET_KEY_BASE", "OPENAI_API_KEY_2"],
)
def test_the_value_of_a_secret_variable_is_blotted_out(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, SECRET)
    assert redacted(f"no login with {SECRET}") == "no login with [secret]"
    with pytest.raises(ConfigError, match=f"holds the value of {variable}"):
        refuse_secrets([f"name={SECRET}"])


def test_each_of_several_keys_is_blotted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", f"{SECRET},0123456789abcdef")
    assert redacted(f"first 0123456789abcdef, then {SECRET}") == "first [secret], then [secret]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ghp_TOKEN@host/x", "https://[secret]@host/x"),
        ("https://user:p/w@host/x", "https://[secret]@host/x"),
        ("git+https://u:p@h/x and ftp://t@h", "git+https://[secret]@h/x and ftp://[secret]@h"),
        ("https://h/x?api_key=abc&n=1", "https://h/x?api_key=[secret]&n=1"),
        ("https://h/x?n=1&X-Amz-Signature=abc", "https://h/x?n=1&X-Amz-Signature=[secret]"),
        *((text, text) for text in (
            "https://host:80/a@b", "https://h/x?n=1#a@b", "https://[::1]:80/a@b",
            "git@github.com:a/b", "https://h?monkey=1&split_seed=2", "https://h:80?q=a@b",
        )),
    ],
)  # fmt: skip
def test_what_urls_hold_of_secrets_is_blotted_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize("piece", ["x", "a://", "a://b:c", ":", "?a", "a:b@", "?key", "=&"])
def test_a_long_text_is_redacted_in_linear_time(piece: str) -> None:
    """A quadratic search takes half a minute for it."""
    text = piece * (200_000 // len(piece))
    started = time.perf_counter()
    redacted(text)
    assert time.perf_counter() - started < 2


def test_what_looks_like_a_secret_and_is_none_is_let_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSH_KEY", str(tmp_path))  # the path of a key is none
    monkeypatch.setenv("SOME_TOKEN", "1")  # too short to be one, and in every config
    monkeypatch.setenv("COMPASS", "0123456789")  # nor is one of another word
    monkeypatch.setenv("OLDPWD", "0123456789")
    refuse_secrets(["name=0123456789"])
    tokens = ["<pad>", "[MASK]", "</s>", "<|endoftext|>", "0", "image_placeholder"]
    refuse_secrets([f"model.eos_token={token}" for token in tokens])
    refuse_secrets(["data.low_pass=0.5"])
    refuse_secrets(["data.item_key=id", "model.n_tokens=3", f"paths.data={tmp_path}", "seed=1"])
    check(composed(f"paths.data={tmp_path}"))


def test_an_error_that_tells_a_secret_is_recorded_without_it(tmp_path: Path, secret: str) -> None:
    record = RunRecord.planned(config_of({}, 0), [])
    record.begin()
    try:
        raise RuntimeError(f"no login with {secret} at https://me:mypassword@host/path")
    except RuntimeError as error:
        record.end("failed", 1, error)
        told = logging.LogRecord("x", 40, "", 0, "for %s", (secret,), (RuntimeError, error, None))
    record.write(tmp_path)
    kept = (tmp_path / "run.json").read_text() + RedactingFormatter().format(told)
    assert secret not in kept
    assert "mypassword" not in kept
    assert redacted("https://host:80/a@b") == "https://host:80/a@b"


# -- files -----------------------------------------------------------------------------------------


def test_a_manifest_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    AtomicCheckpointIO().save_checkpoint({"global_step": 1, "epoch": 1}, folder / "step=1.ckpt")
    manifest = folder / "manifest.json"
    listed = json.loads(manifest.read_text())
    for name in ("../../precious", "/etc/passwd", "..", ""):
        listed["checkpoints"][0]["file"] = name
        manifest.write_text(json.dumps(listed))
        with pytest.raises(CheckpointError, match=r"manifest\.json"):
            Manifest(folder).remove("anything")


def test_a_plan_names_no_folder_outside_its_own(tmp_path: Path) -> None:
    job = {"folder": "../other", "variant": None, "same_as": [], "settings": {}, "seed": 0}
    plan: dict[str, Any] = {"name": "x", "baseline": {}, "average": [], "axes": [], "metrics": []}
    (tmp_path / PLAN_FILE).write_text(json.dumps({**plan, "jobs": [job]}))
    with pytest.raises(RunFolderError, match=r"'\.\./other' is not the name of a folder"):
        PlanFile.read(tmp_path)


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "images.npy"
    np.save(path, np.array([Evil()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npy.npz", a=np.zeros(3, np.uint8))
    (tmp_path / "archive.npy.npz").rename(tmp_path / "archive.npy")
    assert _read_cache(path, (3,)) is None
    assert _read_cache(tmp_path / "archive.npy", (3,)) is None
    assert not (tmp_path / "executed").exists()
    np.load(path, allow_pickle=True)  # it does work where it is trusted
    assert (tmp_path / "executed").exists()


def test_an_archive_of_zeros_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(10**6))
        archive.writestr("../../outside", b"x")
    assert path.stat().st_size < 3000
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        zip_members(path, ["a"], max_bytes=1000)
    assert zip_members(path, ["../../outside"]) == [b"x"]  # in memory, whatever its name
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("position", "byte"), [(6, 1), (8, 99)])  # encrypted; packed by method 99
def test_an_archive_that_cannot_be_unpacked(position: int, byte: int, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"1")
    content = bytearray(file.getvalue())
    content[position] = byte
    content[content.index(b"PK\x01\x02") + position + 2] = byte
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="not a readable zip file"):
        zip_members(tmp_path / "a.zip", ["a"])


def test_a_program_named_as_an_image_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postscript = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(postscript, "EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("run"))
    with pytest.raises(DataError, match="not an image"):
        decoded([postscript], 4, tmp_path / "cache", root=tmp_path)


@pytest.mark.parametrize(
    "name", ["metrics.csv", "run.log", "predictions.csv", "interpret", "checkpoints", "wandb/run-1"]
)
def test_a_link_out_of_a_run_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    record = RunRecord.planned(check(composed(*TINY)).model_dump(mode="json"), [])
    (folder / name).parent.mkdir(parents=True)
    record.write(folder)
    (folder / name).symlink_to(elsewhere)  # which need not be there
    job = JobFolder(cast(Any, None), folder)
    for begin in (
        lambda: launch([f"run={folder}"], folder),
        lambda: launch([f"run={folder}", "task=predict"], folder),
        job.refresh,
        lambda: refuse_links(folder),
    ):
        with pytest.raises(RunFolderError, match=f"{name}: is a link that leads out of the run"):
            begin()
    assert interpret(["items_by_bias", str(folder)]) == 2
    assert not elsewhere.exists()


@pytest.mark.timeout(20)
def test_a_pipe_in_a_run_folder_is_refused(tmp_path: Path) -> None:
    """A run that writes its log there would wait for somebody who reads it."""
    os.mkfifo(tmp_path / "run.log")
    with pytest.raises(RunFolderError, match=r"run\.log: is a pipe"):
        refuse_links(tmp_path)


def test_links_within_a_run_folder_are_fine(tmp_path: Path) -> None:
    """Such as W&B makes."""
    (tmp_path / "wandb" / "run-1").mkdir(parents=True)
    (tmp_path / "wandb" / "latest-run").symlink_to("run-1")
    refuse_links(tmp_path)
    (tmp_path / "wandb" / "circle").symlink_to("circle")
    with pytest.raises(RunFolderError, match="circle"):
        refuse_links(tmp_path)


def test_a_new_run_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("precious: true")
    with pytest.raises(RunFolderError, match=r"holds other files \(config\.yaml\)"):
        launch(TINY, tmp_path)  # as with hydra.run.dir=FOLDER
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "precious: true"


def test_components_write_into_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    of_lightning = "_target_: lightning.pytorch"
    parts = [
        f"callbacks.x={{{of_lightning}.callbacks.ModelCheckpoint, dirpath: kept, filename: last}}",
        f"trainer.profiler={{{of_lightning}.profilers.SimpleProfiler, dirpath: a/b, filename: p}}",
    ]
    launch([*TINY, "trainer.max_epochs=1", *parts], tmp_path / "run")
    assert (tmp_path / "run" / "kept" / "last.ckpt").is_file()
    assert len(list((tmp_path / "run" / "a" / "b").iterdir())) > 0
    assert list((tmp_path / "elsewhere").iterdir()) == []


# -- titles ----------------------------------------------------------------------------------------


def test_a_title_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = pl.DataFrame({"title": [TITLE], "predicted": [4.5]})
    Findings(extracts={f"Nearest to {TITLE}": table}).show()
    terminal.say(f"a run of {TITLE}")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert shown.replace("\n", "").count("[bold]") >= 1
    assert r"\x1b" in shown


@pytest.mark.parametrize(
    "name", ["x\x1b]0;pwn\x07", "\u202etxt", "[/a]", "x.y", "", "_modules", "a/b"]
)
@pytest.mark.parametrize("place", ["phases", "objective.metrics"])
def test_a_name_that_is_none_is_refused(name: str, place: str, tmp_path: Path) -> None:
    phases = {"phases": {name: {"epochs": 1}}, "trainer": {"max_epochs": None}}
    metrics = {"objective": {"metrics": {name: {"_target_": "torchmetrics.MeanSquaredError"}}}}
    other = phases if place == "phases" else metrics
    config = check(composed()).model_dump(mode="json")
    with pytest.raises(ConfigError, match=f"{place}: .* is no name"):
        check(cast(DictConfig, OmegaConf.merge(config, other)))
    for key, value in other.items():
        config[key] |= value
    record = RunRecord.planned(config, [])
    record.write(tmp_path)
    with pytest.raises(RunFolderError, match="which is no name"):
        RunRecord.read(tmp_path)


@pytest.mark.parametrize("name", ["keys", "forward", "compute", "training", "loss"])
def test_a_metric_that_would_hide_something_else_is_refused(name: str, tmp_path: Path) -> None:
    metric = f"objective.metrics.{name}={{_target_: torchmetrics.MeanSquaredError}}"
    with pytest.raises(ConfigError, match=f"objective.metrics.*{name}.*choose another"):
        launch([*TINY, metric], tmp_path / "run")


def test_what_others_have_named_does_nothing_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_job(tmp_path / "a", TITLE, {f"optim.{TITLE}": 1}, 0, {TITLE: 0.9, "[b]": 1.0})
    write_job(tmp_path / "b", TITLE, {f"optim.{TITLE}": TITLE}, 0, {TITLE: 0.8})
    terminal_tables.show_test(TITLE, {TITLE: 0.5, "[b]": 1.0}, {TITLE: {TITLE: 0.25}})
    report(["diff", str(tmp_path / "a"), str(tmp_path / "b")])
    for form in ("terminal", "csv", "markdown", "latex"):
        report([str(tmp_path), "--format", form])
    logged = logging.LogRecord("x", 40, "", 0, "of %s", (TITLE,), None)
    shown = capsys.readouterr().out + RedactingFormatter().format(logged)
    assert shown.count("[b]") > 3
    assert r"\x1b" in shown
    for character in "\x1b\x07\u202e":
        assert character not in shown
