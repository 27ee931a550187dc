"""Spec × workload to raw samples, in fresh worker processes, in rounds over all models.

What this package guarantees:

- models are visited in a fresh random order each round, with the reference network and a matrix product
  timed before and after each visit;
- the first call, the warm-up and the memory pass are kept apart from the samples;
- no sample is dropped or altered, and no statistic is computed here;
- a model that fails, hangs or takes its worker down costs its own row only.

`schedule` and `rounds` decide what is run and when, and know no torch: they drive a `Bench`, which an
engine provides (a worker process) or a test simulates.
"""
