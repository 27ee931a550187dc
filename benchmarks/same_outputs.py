"""What two revisions print of the same files: `python benchmarks/same_outputs.py REV [--explained FILE]`.

A net under a restructuring. Both trees show, report and count the same things: every committed run in
every format, the data of its page, two runs compared, and a counted table of each family. Differences
are listed, and the exit code is 1 if there is one that no line of `--explained` names (`NAME reason`,
NAME as listed here, or a pattern such as `show-*.csv`).
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLES = ("table", "json", "csv", "markdown")
# Lines of a difference that are shown of each file.
_SHOWN = 6
# What a page holds as data; the rest of it is markup.
_DATA = re.compile(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', re.DOTALL)
_VOLATILE = re.compile(r"scaleprof \d+\.\d+\.\d+\S*|/tmp/\S+")


def commands(runs: list[Path]) -> Iterator[tuple[str, list[str]]]:
    """Each output's name, and the command line that prints it."""
    from scaleprof.models import FAMILIES

    for run in runs:
        for kind in TABLES:
            yield f"show-{run.stem}.{kind}", ["show", str(run), "--format", kind]
        for kind in TABLES[1:]:
            yield f"report-{run.stem}.{kind}", ["report", str(run), "--format", kind]
        yield (
            f"budget-{run.stem}.table",
            ["show", str(run), "--budget", "macs<=1G", "--budget", "latency_ms<=60"],
        )
        yield f"page-{run.stem}.html", ["report", str(run)]
    yield "page-compared.html", ["report", *map(str, runs[:2])]
    for name in FAMILIES:
        asked = ["count", "-m", name, "--phi", "-1..2", "--strategy", "compound,width"]
        yield f"count-{name}.json", [*asked, "--format", "json"]
        yield f"operators-{name}.csv", ["count", "-m", name, "--phi", "0", "--by-operator", "--format", "csv"]
        yield f"models-{name}.table", ["models", name, "--phi", "0..1"]


def record(folder: Path) -> None:
    """Print everything with the package that is imported here."""
    from scaleprof.cli import run as run_cli

    folder.mkdir(parents=True)
    for name, arguments in commands(sorted((ROOT / "profiles").glob("*.jsonl"))):
        page = folder / "page.html"
        is_page = name.endswith(".html")
        stdout, stderr = io.StringIO(), io.StringIO()
        with redirect_stdout(stdout), redirect_stderr(stderr):
            code = run_cli([*arguments, "-o", str(page)] if is_page else arguments)
        text = f"{stdout.getvalue()}\nexit {code}\n{stderr.getvalue()}"
        if is_page:
            data = {key: json.loads(value) for key, value in _DATA.findall(page.read_text(encoding="utf-8"))}
            text = json.dumps(data, indent=1, sort_keys=True)
            page.unlink()
        (folder / name).write_text(_VOLATILE.sub("…", text), encoding="utf-8")
        print(f"{name}", file=sys.stderr, flush=True)


def record_tree(tree: Path, folder: Path) -> None:
    """Record in a process of its own, with the package of a tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-W", "ignore", __file__, "--record", str(folder)]
    subprocess.run(command, env=environment, cwd=tree, check=True)


def differences(before: Path, after: Path, explained: dict[str, str]) -> list[str]:
    """The names of outputs that differ and are not explained; all are printed."""
    names = sorted({path.name for folder in (before, after) for path in folder.iterdir()})
    unexplained = []
    for name in names:
        old, new = (
            (folder / name).read_text(encoding="utf-8").splitlines()
            if (folder / name).exists()
            else ["(missing)"]
            for folder in (before, after)
        )
        if old == new:
            continue
        reason = next((words for pattern, words in explained.items() if fnmatch(name, pattern)), None)
        print(f"{name}: {reason or 'NOT EXPLAINED'}")
        if reason is None:
            unexplained.append(name)
            changes = [
                line
                for line in difflib.unified_diff(old, new, lineterm="", n=0)
                if line[:2] not in ("--", "++")
            ]
            print("\n".join(f"    {line[:160]}" for line in changes[:_SHOWN]))
    print(f"{len(names)} outputs, {len(unexplained)} differ without a reason")
    return unexplained


def read_explained(path: Path | None) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    pairs = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return {name: reason for name, _, reason in pairs}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", nargs="?", help="the git revision to compare the working tree with")
    parser.add_argument("--explained", type=Path, help="a file of differences that are wanted")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        record(options.record)
        return 0
    if options.revision is None:
        parser.error("name the revision to compare with, such as HEAD~1")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        subprocess.run(
            ["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(tree), options.revision],
            check=True,
        )
        try:
            record_tree(tree, Path(scratch) / "before")
            record_tree(ROOT, Path(scratch) / "after")
            explained = read_explained(options.explained)
            return bool(differences(Path(scratch) / "before", Path(scratch) / "after", explained))
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=True)


if __name__ == "__main__":
    sys.exit(main())
