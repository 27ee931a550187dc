"""The CUDA side of measuring: time on the device, graphs, its state, its energy and its memory.

Every file takes `torch.cuda`, NVML and the clocks as arguments, so that all but the device itself is tested
where there is none. The device is watched and never set: its clocks, power limit and persistence stay as they
are. `scaleprof.measuring.cuda.side` is what a worker uses.
"""
