"""``task=lr_find``: a learning-rate range test of a config."""

from pathlib import Path

from ablab import terminal
from ablab.config.schema import Config
from ablab.errors import ConfigError
from ablab.optim.optimizers import build_optimizer
from ablab.runs.checkpoints import Progress
from ablab.runs.record import write_config
from ablab.training import terminal_tables
from ablab.training.build import build_data, build_model
from ablab.training.evaluation import evaluator_for
from ablab.training.module import SupervisedModule
from ablab.training.phases import plan_phases
from ablab.training.range_test.curve import find_lr
from ablab.training.range_test.report import report_curve
from ablab.training.trial import check_on_two_rows


def run_range_test(config: Config, folder: Path) -> None:
    """Run a range test on one device; write its curve and print the suggested rate.

    The folder gets no ``run.json``, since nothing was trained that could be tested or continued.
    """
    data = build_data(config)
    terminal.say(data.summary())
    model = build_model(config, data)
    if not isinstance(model, SupervisedModule):
        raise ConfigError(
            f"task: lr_find trains the steps of a SupervisedModule, and {type(model).__name__} has "
            f"its own; try several rates as a sweep, optim.lr=1e-4,1e-3,1e-2 with -m"
        )
    model.load_pretrained()
    check_on_two_rows(config, model, data)
    ladder = config.lr_find.model_dump()
    name = ladder.pop("phase")
    phase = next(p for p in plan_phases(config) if name in (None, p.name))
    model.begin_phase(phase, Progress())
    assert phase.optim is not None
    terminal_tables.show_groups(phase, build_optimizer(model, phase.optim))
    device = evaluator_for(config).strategy.root_device
    curve = find_lr(model, data.train_loader(), phase.optim, **ladder, device=device)
    write_config(folder, config.model_dump(mode="json"))
    report_curve(curve, config, phase, folder)
