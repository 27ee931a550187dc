"""Defaults of options from `scaleprof.toml` or `pyproject.toml` in the current folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from scaleprof.errors import UsageError, suggestion

CONFIG_FILE = Path("scaleprof.toml")
PROJECT_FILE = Path("pyproject.toml")
# Lists of tables that a command reads itself, such as [[check.limits]]; they are no options.
TABLES = {"check": ("limits", "budgets", "accepted")}


def read_defaults(group: click.Group) -> dict[str, dict[str, Any]]:
    """Values per command, named as click names its parameters.

    Raises:
        UsageError: both files have settings, a file is no TOML, or a key is unknown.
    """
    own = _read(CONFIG_FILE)
    tools = _read(PROJECT_FILE).get("tool")
    project = tools.get("scaleprof") if isinstance(tools, dict) else None
    if own and project:
        raise UsageError(f"{CONFIG_FILE} and [tool.scaleprof] in {PROJECT_FILE} both set options: keep one")
    file = CONFIG_FILE if own else PROJECT_FILE
    sections = own or project or {}
    if not isinstance(sections, dict):
        raise UsageError(
            f"{file}: [tool.scaleprof] holds a table for each command, such as [tool.scaleprof.sweep]"
        )
    return {name: _section(group, file, name, values) for name, values in sections.items()}


def _section(group: click.Group, file: Path, name: str, values: object) -> dict[str, Any]:
    command = group.commands.get(name)
    if command is None or not isinstance(values, dict):
        hint = suggestion(name, group.commands)
        raise UsageError(f"{file}: [{name}] is no command{hint} (scaleprof --help lists them)")
    options = {
        flag.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
        if flag.startswith("--")
    }
    defaults: dict[str, Any] = {}
    tables = TABLES.get(name, ())
    for key, value in values.items():
        if key in tables:
            defaults[key] = _as_tables(file, f"{name}.{key}", value)
            continue
        option = options.get(key.replace("_", "-"))
        if option is None or option.name is None:
            raise UsageError(f"{file}: [{name}] has no option '{key}'{suggestion(key, (*options, *tables))}")
        defaults[option.name] = _as_typed(option, value)
    return defaults


def _as_tables(file: Path, name: str, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise UsageError(f"{file}: {name} is a list of tables: write [[{name}]] above each")
    return value


def _as_typed(option: click.Option, value: object) -> object:
    """What a person would have typed: lists become comma lists, or several values where those are taken."""
    if option.multiple:
        return [str(item) for item in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return value if isinstance(value, bool) else str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
