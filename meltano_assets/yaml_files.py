"""The files of a user's own in YAML: read whole, and refused with the line where something is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    import yaml


def read_mapping(path: Path, holds: str, hint: str | None = None) -> Mapping[object, object]:
    """The file's mapping; empty where there is no file, or nothing in it.

    ``holds`` says what its keys are, such as "names of sources". FatalError for a file that cannot be
    read, is no YAML or no mapping, or says a thing twice: the second would hide the first. ``hint`` says
    where such files are described.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise FatalError(f"{path} cannot be read ({type(error).__name__})", hint=hint) from None
    return parse_mapping(text, path.name, holds, hint)


def parse_mapping(
    text: str, name: str, holds: str, hint: str | None = None
) -> Mapping[object, object]:
    """The mapping in the text of a file of that name; errors as of ``read_mapping``."""
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return {}
        # Before merge keys are put in the place of what they stand for.
        _refuse_doubles(root, name)
        content = loader.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None)
        raise FatalError(
            f"{name} is no YAML{line}{f': {problem}' if problem else ''}", hint=hint
        ) from None
    except ValueError as error:
        # A day, a time or a number that there is not.
        raise FatalError(f"{name} holds a value that cannot be: {error}", hint=hint) from None
    finally:
        loader.dispose()
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise FatalError(f"{name}: {holds} are expected at the left margin", hint=hint)
    return content


def _refuse_doubles(root: yaml.Node, name: str) -> None:
    import yaml

    pending, met = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in met:
            continue
        met.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise FatalError(
                    f"{name}, line {key.start_mark.line + 1}: {key.value} stands there twice",
                    hint="the second would hide the first: put the two together",
                )
            seen.add(key.value)
            pending.append(value)
