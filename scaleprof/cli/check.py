"""`scaleprof check`: has latency, memory or cost regressed? An exit code for CI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

import scaleprof
from scaleprof.cli.check_options import DEFAULT_MODEL, check_options
from scaleprof.cli.config import TABLES
from scaleprof.cli.options import print_table, say, shown, split_names, split_sizes, write_out
from scaleprof.errors import ExitCode, UsageError
from scaleprof.units import format_duration, parse_duration_s, parse_fraction, plural

if TYPE_CHECKING:
    from scaleprof.app.checking import Checked, CheckFormat
    from scaleprof.records import CheckTarget, Workload
    from scaleprof.reporting.checks import FailOn
    from scaleprof.reporting.checks_rules import Rules

_WAYS = ("against", "baseline", "self_test", "replay")
# What a kept run, or a recorded check, says itself.
_OF_A_RACE = (
    *("strategies", "phi", "depth_base", "width_base", "resolution_base", "rounding", "device", "batch_size"),
    *("threads", "dtype", "cast", "mode", "runtime", "memory_format", "pair_noise", "seed"),
)


@click.command()
@check_options
@click.pass_context
def check(context: click.Context, /, **options: Any) -> int:
    """Has latency, memory or cost regressed? The exit code says so.

    0 no regression · 1 a regression or a broken budget · 3 could not be measured · 5 nothing was compared ·
    6 nothing timed could be compared; 4, 5 and 6 also by --fail-on.

    \b
    scaleprof check -m nets.py:build --against origin/main
    scaleprof check -m nets.py:build --against HEAD --exact-only
    scaleprof check --target bench.nets:serving --against HEAD~1 --limit latency=5%
    scaleprof check --baseline profiles/b0.jsonl
    scaleprof check -m nets.py:build --self-test
    scaleprof check --replay check.json --format junit
    """
    _check_ways(context.params)
    _check_typed(context)
    output, format_ = options["output"], options["format_"]
    if output is not None:
        from scaleprof.app.checking import check_output

        check_output(output, format_, overwrite=options["overwrite"])
    rules, fail_on = _rules(context), _fail_on(options["fail_on"])
    checked: Checked | None
    if options["replay"] is not None:
        checked = _replay(context, rules, fail_on)
    elif options["baseline"] is not None:
        checked = _baseline(options, rules, fail_on)
    else:
        checked = _revisions(options, rules, fail_on)
    if checked is None:
        return ExitCode.OK
    return _conclude(checked, format_, output)


def _check_ways(options: dict[str, Any]) -> None:
    """One way of checking, and no option that means nothing to it.

    Raises:
        UsageError: none, several, or such an option.
    """
    given = [f"--{name.replace('_', '-')}" for name in _WAYS if options[name]]
    if not given:
        raise UsageError(
            "check needs something to compare with: --against REV races a git revision, --baseline RUN holds "
            "against a kept run (and --self-test tells what this machine can find)"
        )
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: compare with one thing at a time")
    if options["update_baseline"] and options["baseline"] is None:
        raise UsageError("--update-baseline needs the run that is meant: give it with --baseline RUN")
    if options["update_baseline"] and (options["exact_only"] or options["models"]):
        raise UsageError("--update-baseline measures the whole run: leave out --exact-only and -m")
    if options["exact_only"] and options["self_test"]:
        raise UsageError("--self-test times, --exact-only does not: leave one out")
    if options["functions"] and options["baseline"] is not None:
        raise UsageError("--target is for --against and --self-test: a run holds models")


def _check_typed(context: click.Context) -> None:
    """Refuse what is typed and would have no say; in a file it may stand for other ways of checking.

    Raises:
        UsageError: there is such an option.
    """
    way = next(name for name in _WAYS if context.params[name])
    idle = {"baseline": _OF_A_RACE, "replay": (*_OF_A_RACE, "models", "functions", "max_time", "exact_only")}
    typed = [name for name in idle.get(way, ()) if _is_typed(context, name)]
    if typed:
        flag = next(one.opts[-1] for one in context.command.params if one.name == typed[0])
        raise UsageError(f"{flag} has no say with --{way}, which is measured as it was: leave {flag} out")


def _rules(context: click.Context) -> Rules:
    """What is allowed, from options and the configuration file's tables."""
    from scaleprof.app.check_config import read_rules

    return read_rules(
        limits=context.params["limit"],
        budgets=context.params["budget"],
        limits_win=_is_typed(context, "limit"),
        tables={name: context.lookup_default(name) or () for name in TABLES["check"]},
    )


def _is_typed(context: click.Context, name: str) -> bool:
    """Whether an option stands on the command line or in the environment."""
    return context.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def _fail_on(text: str) -> tuple[FailOn, ...]:
    from scaleprof.reporting.checks import parse_fail_on

    return parse_fail_on(text)


def _replay(context: click.Context, rules: Rules, fail_on: Sequence[FailOn]) -> Checked:
    """As it was judged then, but for what is typed now."""
    from scaleprof.app.checking import replay

    changed = _is_typed(context, "limit") or _is_typed(context, "budget")
    return replay(
        context.params["replay"],
        rules=rules if changed else None,
        fail_on=fail_on if _is_typed(context, "fail_on") else None,
    )


def _revisions(options: dict[str, Any], rules: Rules, fail_on: Sequence[FailOn]) -> Checked | None:
    from scaleprof.app.checking import acceptance_texts, judge, limit_texts, list_targets
    from scaleprof.app.comparing_arms import ArmsRequest, compare_revisions
    from scaleprof.cli.checking_progress import ConsoleCheckWatcher

    limit_s = parse_duration_s(options["max_time"], option="--max-time")
    noise = parse_fraction(options["pair_noise"], option="--pair-noise")
    targets = list_targets(_asked(options), _workload(options))
    if options["dry_run"]:
        _show_targets(targets, rules, options["against"] or "the working tree itself", options)
        return None
    log = compare_revisions(
        ArmsRequest(
            folder=Path.cwd(),
            revision=options["against"],
            targets=targets,
            limits=limit_texts(rules),
            budgets=tuple(map(str, rules.budgets)),
            accepted=acceptance_texts(rules),
            fail_on=tuple(fail_on),
            tau_0=noise,
            seed=options["seed"],
            max_time_s=limit_s,
            exact_only=options["exact_only"],
            all_looks=options["self_test"],
            command=("scaleprof", *sys.argv[1:]),
        ),
        ConsoleCheckWatcher(),
    )
    return judge(log)


def _asked(options: dict[str, Any]) -> Any:
    from scaleprof.app.checking import Asked
    from scaleprof.scaling.rules import Bases

    nothing = not options["models"] and not options["functions"]
    own_tree = Path(scaleprof.__file__).resolve().parents[1]
    if nothing and options["against"] is not None and not Path.cwd().resolve().is_relative_to(own_tree):
        # Outside scaleprof's own tree its families are the same in both arms and pass, whatever was changed.
        raise UsageError(
            "--against races your own code: name it by -m FILE.py:FACTORY or --target MODULE:FUNCTION, or in "
            "the [check] of a scaleprof.toml in this folder"
        )
    return Asked(
        models=(DEFAULT_MODEL,) if nothing else options["models"],
        functions=options["functions"],
        strategies=tuple(split_names(options["strategies"], option="--strategy")),
        phi=options["phi"],
        bases=Bases(options["depth_base"], options["width_base"], options["resolution_base"]),
        rounding=options["rounding"],
    )


def _workload(options: dict[str, Any]) -> Workload:
    """The one workload of a check of revisions."""
    from scaleprof.app.workloads import list_workloads
    from scaleprof.measuring.host import resolve_device

    given: dict[str, Any] = {
        "batch_size": split_sizes(options["batch_size"], option="--batch-size", example="1"),
        "threads": None
        if options["threads"] is None
        else split_sizes(options["threads"], option="--threads"),
        **{name: split_names(options[name], option=f"--{name.replace('_', '-')}") for name in _ONE_OF},
    }
    several = [name for name, values in given.items() if values is not None and len(values) > 1]
    if several:
        raise UsageError(f"--{several[0].replace('_', '-')} takes one value: a check has one workload")
    device = options["device"] if options["exact_only"] else resolve_device(options["device"])
    if options["exact_only"]:
        device = "cpu"  # nothing runs there: counts are the same everywhere
    return list_workloads(device, mode=options["mode"], **given)[0]


_ONE_OF = ("dtype", "cast", "runtime", "memory_format")


def _baseline(options: dict[str, Any], rules: Rules, fail_on: Sequence[FailOn]) -> Checked | None:
    from scaleprof.app.checking import acceptance_texts, judge, limit_texts
    from scaleprof.app.checking_baseline import BaselineRequest, check_baseline, list_baseline
    from scaleprof.cli.checking_progress import ConsoleCheckWatcher
    from scaleprof.cli.progress import watcher

    request = BaselineRequest(
        path=options["baseline"],
        models=options["models"],
        exact_only=options["exact_only"],
        update=options["update_baseline"],
        confirm=options["confirm"] == "auto",
        max_time_s=parse_duration_s(options["max_time"], option="--max-time"),
        limits=limit_texts(rules),
        budgets=tuple(map(str, rules.budgets)),
        accepted=acceptance_texts(rules),
        fail_on=tuple(fail_on),
        command=("scaleprof", *sys.argv[1:]),
    )
    if options["dry_run"]:
        _show_targets(list_baseline(request), rules, str(request.path), options)
        return None
    log = check_baseline(
        request,
        watch=lambda planned: watcher(planned.plan.launches, [job.workload for job in planned.jobs]),
        check_watcher=ConsoleCheckWatcher(),
    )
    if request.update:
        say(f"baseline: {shown(request.path)} now holds what was measured here")
    return judge(log)


def _show_targets(targets: Sequence[CheckTarget], rules: Rules, other: str, options: dict[str, Any]) -> None:
    """What would be checked, against what, by which limits, and how long at most."""
    from scaleprof.stats.compare import DEFAULT_LIMIT

    for target in targets:
        given = rules.limit(target.name, "latency")
        limit = f"latency {100 * (DEFAULT_LIMIT if given is None else given):.3g} %"
        budgets = [str(budget) for budget in rules.budgets_of(target.name)]
        write_out("  ".join([target.name, limit, *budgets]))
    most = format_duration(parse_duration_s(options["max_time"], option="--max-time"))
    takes = "seconds: nothing is timed" if options["exact_only"] else f"at most about {most} (--max-time)"
    if options["baseline"] and options["confirm"] == "auto":
        takes += ", and as long again for what is flagged"
    say(
        f"{plural(len(targets), 'target', 'targets')} against {other}; nothing was measured. It takes {takes}"
    )


def _conclude(checked: Checked, format_: str, output: Path | None) -> int:
    """Write what is asked for; the exit code is the check's own, whatever becomes of the rest."""
    from scaleprof.app.checking import add_step_summary, annotate, render, write_output
    from scaleprof.reporting.checks_text import to_terminal

    kind = cast("CheckFormat", format_)
    if kind == "github":
        write_out(annotate(checked))
        trouble = add_step_summary(checked)
        if trouble is not None:
            say(trouble)
    elif kind == "text" or output is not None:
        print_table(lambda _width: to_terminal(checked.view))
    else:
        write_out(render(checked, kind))
    if output is not None:
        write_output(output, _plain_text(checked) if kind == "text" else render(checked, kind))
        say(f"check: {shown(output)}")
    return checked.view.exit_code


def _plain_text(checked: Checked) -> str:
    """The table as a pipe would get it."""
    from rich.console import Console

    from scaleprof.reporting.checks_text import to_terminal

    console = Console(width=500, highlight=False, no_color=True)
    with console.capture() as text:
        console.print(to_terminal(checked.view), soft_wrap=True)
    return text.get()
