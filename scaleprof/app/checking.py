"""Checks: what is asked for as targets, measured or read again, and written where it is wanted."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from scaleprof.errors import OutputError, UsageError
from scaleprof.records import (
    BASE_STRATEGY,
    PUBLISHED_STRATEGY,
    BaselineLog,
    CheckLog,
    CheckTarget,
    Phi,
    Workload,
    spec_id,
)
from scaleprof.reporting.checks import CheckView
from scaleprof.reporting.checks_github import to_annotations
from scaleprof.reporting.checks_json import BEGINNING, read_check, to_json
from scaleprof.reporting.checks_junit import JUNIT_MARK, to_junit
from scaleprof.reporting.checks_rules import Rules
from scaleprof.reporting.checks_text import MARKDOWN_MARK, TEXT_MARK, to_markdown
from scaleprof.reporting.checks_view import view_check
from scaleprof.scaling.rounding import RoundingName
from scaleprof.scaling.rules import STRATEGIES, Bases, is_strategy, unknown_strategy
from scaleprof.scaling.sweep import phi_values

CheckFormat = Literal["text", "json", "github", "junit"]
AnyLog = CheckLog | BaselineLog

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
# How a file of each format is known for a check's.
_MARKS: dict[CheckFormat, bytes] = {
    "text": TEXT_MARK.encode(),
    "json": BEGINNING.encode(),
    "github": MARKDOWN_MARK.encode(),
    "junit": JUNIT_MARK.encode(),
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which targets: models at scales, and functions that return a callable and its inputs."""

    models: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    strategies: tuple[str, ...] = (BASE_STRATEGY,)
    phi: str = "0"
    bases: Bases = Bases()
    rounding: RoundingName = "tf"


def list_targets(asked: Asked, workload: Workload) -> tuple[CheckTarget, ...]:
    """The targets of a check, each once; no code of anybody's is loaded for it.

    Raises:
        UsageError: a model, function, strategy or φ that cannot be.
    """
    scales = _scales(asked)
    names = _model_names(asked.models)
    targets = [
        CheckTarget(
            name=spec_id(name, strategy, phi),
            workload=workload,
            model=reference,
            strategy=strategy,
            phi=float(phi),
            depth_base=asked.bases.depth,
            width_base=asked.bases.width,
            resolution_base=asked.bases.resolution,
            rounding=asked.rounding,
        )
        for name, reference in names.items()
        for strategy, phi in scales
    ]
    for function in dict.fromkeys(asked.functions):
        if not all(function.partition(":")[::2]):
            raise UsageError(f"--target {function} is no function: write package.module:function")
        targets.append(CheckTarget(name=function, workload=workload, function=function))
    return tuple(targets)


def _scales(asked: Asked) -> list[tuple[str, Phi]]:
    """Strategies and φ; that of φ 0 is the base, whatever the strategy, and there once."""
    for strategy in asked.strategies:
        if strategy != BASE_STRATEGY and not is_strategy(strategy):
            raise unknown_strategy(strategy)
    values = phi_values(asked.phi)
    if values.names:
        raise UsageError(f"--phi {values.names[0]} is not a number: a check takes rows by number")
    scales: list[tuple[str, Phi]] = []
    for strategy in asked.strategies:
        is_base = strategy == BASE_STRATEGY
        for phi in [0] if is_base else values.numbers:
            at_base = phi == 0 and strategy != PUBLISHED_STRATEGY
            scales.append((BASE_STRATEGY, 0) if at_base else (strategy, phi))
    if set(asked.strategies) == {BASE_STRATEGY} and any(phi != 0 for phi in values.numbers):
        raise UsageError(
            f"--phi {asked.phi} needs a direction of growth: add --strategy ({', '.join(STRATEGIES)})"
        )
    return list(dict.fromkeys(scales))


def _model_names(references: Sequence[str]) -> dict[str, str]:
    """The models' names, as in a sweep, and what they were called by.

    Families are looked up now, so that a slip of the finger is told at once; others in each arm.
    """
    from scaleprof.models import find_model

    names: dict[str, str] = {}
    for reference in dict.fromkeys(references):
        file, colon, factory = reference.rpartition(":")
        if not colon or not file.endswith(".py"):
            name = reference if colon else find_model(reference).name
        elif not factory:
            raise UsageError(f"{reference} names no function: write {file}:build")
        else:
            name = f"{Path(file).stem}:{factory}"
        if name in names:
            raise UsageError(f"two models are called {name}: {names[name]} and {reference}; rename one")
        names[name] = reference
    return names


class Checked(msgspec.Struct, frozen=True):
    """A check and what is shown of it."""

    log: AnyLog
    view: CheckView


def replay(path: Path, *, rules: Rules | None = None, fail_on: Collection[str] | None = None) -> Checked:
    """A check as it is recorded in a file of `--format json`, judged again.

    Raises:
        UsageError: the file is no such check.
    """
    return judge(read_check(path), rules=rules, fail_on=fail_on)


def judge(log: AnyLog, *, rules: Rules | None = None, fail_on: Collection[str] | None = None) -> Checked:
    """A check with its findings; `rules` and `fail_on` as recorded, unless given.

    What is given is recorded with it, so that what is written says what it was judged by.
    """
    header = log.header
    if rules is not None:
        header = msgspec.structs.replace(
            header,
            limits=limit_texts(rules),
            budgets=tuple(map(str, rules.budgets)),
            accepted=acceptance_texts(rules),
        )
    if fail_on is not None:
        header = msgspec.structs.replace(header, fail_on=tuple(fail_on))
    judged = msgspec.structs.replace(log, header=header)
    return Checked(judged, view_check(judged))


def limit_texts(rules: Rules) -> tuple[tuple[str, str, float], ...]:
    """Limits as a header holds them."""
    return tuple((one.pattern, one.metric, one.share) for one in rules.limits)


def acceptance_texts(rules: Rules) -> tuple[tuple[str, str, str, str], ...]:
    """Accepted changes as a header holds them."""
    return tuple((one.pattern, one.metric, one.reason, one.until.isoformat()) for one in rules.accepted)


def render(checked: Checked, format: CheckFormat, *, text: str = "") -> str:
    """A check in a format for a file; `text` is the terminal's table, which only a terminal lays out."""
    if format == "json":
        return to_json(checked.view, checked.log)
    if format == "junit":
        return to_junit(checked.view)
    return to_markdown(checked.view) if format == "github" else text


def annotate(checked: Checked) -> str:
    """A check as GitHub's workflow commands."""
    return to_annotations(checked.view)


def check_output(path: Path, format: CheckFormat, *, overwrite: bool) -> None:
    """Refuse an output that may not be written, before any time is spent.

    Raises:
        UsageError: it is a folder, or exists and is not to be replaced, or was not written by a check.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the check a file name, such as {path / 'check.json'}")
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        start = file.read(200)
    if not start.startswith(_MARKS[format]):
        raise UsageError(f"{path} exists and is no {format} of a check: it is left alone, choose another -o")
    if not overwrite:
        raise UsageError(f"{path} exists: --overwrite replaces it")


def write_output(path: Path, text: str) -> None:
    """Write a check's file whole or not at all.

    Raises:
        OutputError: there is no room, or no permission.
    """
    is_special = path.exists() and not path.is_file()  # such as /dev/stdout: nothing may take its place
    partial = path if is_special else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        if not is_special:
            partial.replace(path)
    except OSError as error:
        if not is_special:
            with suppress(OSError):
                partial.unlink()
        raise OutputError(f"{path} could not be written: {error.strerror}; choose another -o") from error


def add_step_summary(checked: Checked) -> str | None:
    """Append the Markdown to GitHub's step summary, where there is one; in words, why that failed.

    A summary that cannot be written is no reason to fail a check.
    """
    place = os.environ.get(STEP_SUMMARY)
    if not place:
        return None
    try:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(to_markdown(checked.view))
    except OSError as error:
        return f"the step summary {place} could not be written: {error.strerror}"
    return None
