"""Which models: strategies, rounding and published tables turned into distinct specs. Pure; no torch."""
