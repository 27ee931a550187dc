"""`python -m scaleprof` is `scaleprof`."""

from __future__ import annotations

from scaleprof.cli import main

if __name__ == "__main__":
    main()
