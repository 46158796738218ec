"""The check of a YAML file before Hydra reads it: what would hang, or fail without its place."""

import contextlib
from pathlib import Path

import yaml

from ablab.errors import ConfigError

_MOST_VALUES = 100_000  # aliases of aliases: a short file can stand for more than memory holds
_DEEPEST = 100  # levels; OmegaConf and the loader call themselves at each
_LONGEST_NUMBER = 4000  # digits; Python reads no more than 4300
# the one in C is ten times as fast, and refuses some of what OmegaConf's takes
_LOADERS = (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader)


def check_yaml(path: Path) -> None:
    """Raise ConfigError, with the line, for a file that no config can be made of.

    Mistakes in YAML itself are left to the loader, which says what they are.
    """
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n")
        raise _fault(path, line, "is not UTF-8; save the file in that encoding") from None
    if text.startswith("\ufeff"):
        raise _fault(path, 0, "begins with a byte order mark; save the file as UTF-8 without one")
    if control := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, control.start())
        raise _fault(path, line, f"holds the character {control[0]!a}; remove it")
    root = None
    for loader in _LOADERS:
        with contextlib.suppress(yaml.YAMLError):
            _refuse_deep(path, text, loader)
            root = yaml.compose(text, Loader=loader)
            break
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise _fault(path, root.start_mark.line, "should hold keys, such as KEY: VALUE")
    for key, value in root.value:
        if key.value == "hydra" and not isinstance(value, yaml.MappingNode):
            raise _fault(path, key.start_mark.line, "hydra should hold keys; leave it out")
    _Measure(path).of(root)


def _refuse_deep(path: Path, text: str, loader: type[yaml.SafeLoader]) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _fault(path, event.start_mark.line, f"is nested deeper than {_DEEPEST} levels")


class _Measure:
    """Return the number of values and of levels of a node once its aliases are written out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[int, tuple[int, int]] = {}  # by id: what aliases name is one node
        self._open: set[int] = set()

    def of(self, node: yaml.Node) -> tuple[int, int]:
        """Raise ConfigError for what is too much, and for what OmegaConf has no place for."""
        line = node.start_mark.line
        if id(node) in self._open:
            raise _fault(self.path, line, "contains itself, by an alias; write it out")
        if id(node) in self._known:
            return self._known[id(node)]
        values, depth = 1, 0
        self._open.add(id(node))
        for child in self._children(node):
            more, deep = self.of(child)
            values, depth = values + more, max(depth, deep + 1)
        self._open.remove(id(node))
        if values > _MOST_VALUES:
            raise _fault(self.path, line, f"comes to more than {_MOST_VALUES:,} values by aliases")
        if depth > _DEEPEST:
            raise _fault(self.path, line, f"is nested deeper than {_DEEPEST} levels by aliases")
        self._known[id(node)] = values, depth
        return values, depth

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        line = node.start_mark.line
        if isinstance(node, yaml.SequenceNode):
            return node.value
        if isinstance(node, yaml.MappingNode):
            for key, _ in node.value:
                line = key.start_mark.line
                if not isinstance(key, yaml.ScalarNode):
                    raise _fault(self.path, line, "has a key that is no name; write it in quotes")
                if key.tag == "tag:yaml.org,2002:null":
                    told = f"the key {key.value or 'before the colon'} is no name"
                    raise _fault(self.path, line, f"{told}; write it in quotes")
            return [part for pair in node.value for part in pair]
        is_number = node.tag == "tag:yaml.org,2002:int"
        if is_number and len(node.value) > _LONGEST_NUMBER:
            raise _fault(self.path, line, f"a number has {len(node.value)} digits; take a smaller")
        return []


def _fault(path: Path, line: int, told: str) -> ConfigError:
    return ConfigError(f"{path}, line {line + 1}: {told}")
