"""Decide which classes a config may name by ``_target_``, and read what they take."""

import difflib
import os

from ablab import project
from ablab.config.source_reading.definitions import (
    SourceUnreadableError,
    TargetNotFoundError,
    class_names,
)
from ablab.config.source_reading.imported import imported_signature
from ablab.config.source_reading.signature import Signature
from ablab.config.source_reading.signatures import signature_of

# Any config may name classes of these; what runs code by design (torch.load, torch.hub) is not here
ALLOWED_TARGETS = (
    "ablab.",
    "torch.nn.",
    "torch.optim.",
    "torchvision.models.",
    "torchvision.transforms.",
    "torchmetrics.",
    "lightning.pytorch.",
)
FORBIDDEN_TARGETS = ("lightning.pytorch.cli.",)  # builds what its own arguments name
ALLOWED_TARGETS_VARIABLE = "ABLAB_ALLOWED_TARGETS"


def component_signature(target: str) -> Signature:
    """Return what the class or function ``target`` takes, if a config may name it.

    Its source is read and nothing is imported, with one exception: a class of a package that the
    user trusts is imported if its source does not tell (a decorator, a computed base, compiled
    code).

    Raises:
        TargetNotFoundError: a config may not name it, or it is not there.
    """
    trusted = user_targets()
    allowed = (*ALLOWED_TARGETS, *trusted)
    if not target.startswith(allowed) or target.startswith(FORBIDDEN_TARGETS):
        raise TargetNotFoundError(
            f"'{target}' may not be built, only classes of {', '.join(n[:-1] for n in allowed)}; "
            f"put a class of your own into a package in the project's src/, or name its package "
            f"in the environment: {ALLOWED_TARGETS_VARIABLE}=PACKAGE"
        )
    try:
        signature = signature_of(target)
        _refuse_foreign(target, signature, allowed)  # before anything is imported
        if not signature.is_complete and f"{signature.module}.".startswith(trusted):
            signature = imported_signature(target)
    except SourceUnreadableError:
        if not target.startswith(trusted):
            raise
        signature = imported_signature(target)
    except TargetNotFoundError as error:
        raise TargetNotFoundError(f"{error}{_close_class(target)}") from None
    _refuse_foreign(target, signature, allowed)
    return signature


def user_targets() -> tuple[str, ...]:
    """Return the packages that the user trusts: the project's own, and what the environment names.

    A config or a run folder never vouches for itself.
    """
    named = [name.strip() for name in os.environ.get(ALLOWED_TARGETS_VARIABLE, "").split(",")]
    return tuple(f"{name}." for name in (*project.current().packages, *filter(None, named)))


def _refuse_foreign(target: str, signature: Signature, allowed: tuple[str, ...]) -> None:
    """Raise TargetNotFoundError for a class that an allowed module has only imported."""
    if not f"{signature.module}.".startswith(allowed):
        raise TargetNotFoundError(f"'{target}' is of {signature.module}, which may not be built")


def _close_class(target: str) -> str:
    module, _, name = target.rpartition(".")
    try:
        close = difflib.get_close_matches(name, class_names(module), n=1)
    except TargetNotFoundError:
        return ""
    return f"; did you mean '{module}.{close[0]}'?" if close else ""
