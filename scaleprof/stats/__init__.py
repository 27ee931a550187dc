"""Statistics derived from raw samples: intervals, latency summaries, fronts. Pure; no torch."""
