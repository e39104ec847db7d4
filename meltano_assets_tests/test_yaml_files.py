"""Users' YAML files, read whole or refused with the place of what is wrong."""

from __future__ import annotations

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.yaml_files import parse_mapping


def test_an_entry_may_take_anothers_words_and_say_some_otherwise() -> None:
    text = "base: &b\n  host: a\n  port: 1\nother:\n  <<: *b\n  host: c\n"
    assert parse_mapping(text, "x.yml", "names")["other"] == {"host": "c", "port": 1}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\na: 2\n", "x.yml, line 2: a stands there twice"),
        ("a: {b: 1, b: 2}\n", "x.yml, line 1: b stands there twice"),
        ("a: [1\n", "x.yml is no YAML at line 2: expected ',' or ']'"),
        ("a: *b\n", "x.yml is no YAML at line 1: found undefined alias"),
        ("a: 2026-13-45\n", "x.yml holds a value that cannot be: month must be in 1..12"),
        ("a: !!python/object:os.system x\n", "x.yml is no YAML at line 1"),
        ("- a\n", "x.yml: names are expected at the left margin"),
        ("a: 1\n---\nb: 2\n", "x.yml is no YAML at line 2"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(FatalError) as error:
        parse_mapping(text, "x.yml", "names")
    assert complaint in error.value.message
