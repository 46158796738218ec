"""The types of values, and what every section of a config is built from."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ablab.errors import ConfigError

Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Count = Annotated[Integer, Field(ge=1)]
Seed = Annotated[Integer, Field(ge=0, lt=2**32)]
Node = dict[str, Any]

# Names of metrics, phases and the like become file names, table headers and parts of other keys.
NAME = r"^[^\W\d_][\w-]*$"
Name = Annotated[Text, Field(pattern=NAME)]


class Section(BaseModel):
    """A section of the config, in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)


def read_plugin_settings(section: type[S], where: str, values: Mapping[str, Any]) -> S:
    """Return a checked section; raise ConfigError with every fault, one a line."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(
                f"{where}.{e['loc'][0]}: {_fault(e['type'], e['msg'], e['input'])}"
                for e in error.errors()
            )
        ) from error


def _fault(kind: str, message: str, given: Any) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    if kind == "missing":  # What is given is then the whole section.
        return "is not set"
    return f"{message[max(message.find('should'), 0) :]} (it is {given!r})"


OWN = "own"  # the tag of a section that names a class or function of the user's by ``_target_``


def chosen_by(key: str) -> Discriminator:
    """Return what chooses the class of a section: its ``_target_`` if it has one, else ``key``."""

    def choose(value: Any) -> Any:
        if isinstance(value, dict):
            return OWN if "_target_" in value else str(value[key]) if key in value else None
        return OWN if isinstance(value, Own) else getattr(value, key, OWN)

    choose.__name__ = key  # pydantic names the discriminator so in its errors
    return Discriminator(choose)


def _class_or_path(target: Any) -> str | Callable[..., Any]:
    if isinstance(target, str) or callable(target):
        return target
    reason = "should be the dotted path of a class or function"
    raise PydanticCustomError("target", "{reason}", {"reason": reason})


class Own(Section):
    """A class or function of torch, of a package or of the user's, with its own arguments.

    ``config.optimisation`` checks the arguments; where no config is, it may be the class itself.
    """

    model_config = ConfigDict(extra="allow", serialize_by_alias=True, validate_by_name=True)
    target: Annotated[Any, AfterValidator(_class_or_path), Field(alias="_target_")]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for the class or function, as they are written."""
        return dict(self.model_extra or {})

    @property
    def label(self) -> str:
        """The name of the class or function, without its package."""
        target = self.target
        return target.rpartition(".")[2] if isinstance(target, str) else target.__name__


def without(key: str) -> Any:
    """Return a validator that drops ``key``, which a file may have set before a ``_target_``."""

    def drop(value: Any) -> Any:
        return {k: v for k, v in value.items() if k != key} if isinstance(value, dict) else value

    return model_validator(mode="before")(drop)
