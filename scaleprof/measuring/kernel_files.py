"""Small files of the kernel's (procfs, sysfs): what is missing or may not be read is None."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str | None:
    """A file's text, stripped; None where it is missing or may not be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """The whole number in a file; None where there is none."""
    text = read_text(path)
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None


def cpu_pressure(root: Path) -> float | None:
    """Share of the last ten seconds in which some task waited for a CPU.

    The kernel tells it as `avg10` in the line `some avg10=1.09 avg60=… total=…`.
    """
    for line in (read_text(root / "proc" / "pressure" / "cpu") or "").splitlines():
        kind, *fields = line.split()
        if kind == "some":
            return float(dict(field.split("=") for field in fields)["avg10"]) / 100
    return None
