"""Power laws through measured points, and which count predicts a time best.

A straight line on log–log axes is taken for granted; `PowerLaw.spread` tells how straight the points lie.
Nothing here is meant beyond the range of the points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean

import msgspec

# scipy.special rather than scipy.stats: the same function without its half second of import.
from scipy.special import stdtrit

from scaleprof.stats.intervals import CONFIDENCE, Estimate, Interval

# Two points always lie on a line: a third is the first to say anything about it.
MIN_POINTS = 3

_NORMAL = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
# Correlations that differ by less are equal but for rounding errors; also how near to 1 one may be, where
# Fisher's z is infinite.
_ROUNDING = 1e-9


class PowerLaw(msgspec.Struct, frozen=True):
    """`y = scale · x^exponent`, fitted.

    `spread`: the factor by which points typically lie off the line (the residuals' standard deviation, on
    logarithms); 1 is on it. `r_squared`: the share of the variance of log y that the line explains; None
    where y does not vary.
    """

    exponent: Estimate
    scale: float
    spread: float
    r_squared: float | None
    points: int

    def at(self, x: float) -> float:
        """The law's y at x."""
        return float(self.scale * x**self.exponent.value)


def fit_power_law(points: Sequence[tuple[float, Estimate]]) -> PowerLaw | None:
    """The power law through points `(x, y)`, all above zero; None below three, or where x does not vary.

    Least squares of log y on log x, each point with the same weight. The exponent's 95 % interval is the
    wider of two:

    - Student's t with n - 2 degrees of freedom, from how the points scatter about the line;
    - what the y's own intervals allow: the exponent is `Σ wᵢ·log yᵢ` with `Σ wᵢ = 0`, and independent errors
      add up as squares, `sqrt(Σ (wᵢ·hᵢ)²)`, hᵢ being the half-width of log yᵢ (the wider side of it).

    So points that lie on a line by accident are not believed beyond their own intervals. An error that all
    points share, such as a slow machine's, cancels. Points without an interval have their scatter only.

    >>> def exact(x): return Estimate(x, Interval(x, x))
    >>> law = fit_power_law([(1.0, exact(3.0)), (2.0, exact(6.0)), (4.0, exact(12.0))])
    >>> round(law.exponent.value, 9), round(law.scale, 9), round(law.spread, 9)
    (1.0, 3.0, 1.0)
    >>> fit_power_law([(1.0, exact(3.0)), (2.0, exact(6.0))]) is None
    True

    Raises:
        ValueError: a value is not above zero, or not finite.
    """
    n = len(points)
    xs, ys = _logarithms([x for x, _ in points]), _logarithms([y.value for _, y in points])
    if n < MIN_POINTS or min(xs) == max(xs):
        return None
    centred = _centred(xs)
    squares = math.fsum(x * x for x in centred)
    weights = [x / squares for x in centred]
    exponent = math.fsum(weight * y for weight, y in zip(weights, ys, strict=True))
    residuals = [y - exponent * x for x, y in zip(centred, _centred(ys), strict=True)]
    spread = math.hypot(*residuals) / math.sqrt(n - 2)
    scattered = float(stdtrit(n - 2, (1 + CONFIDENCE) / 2)) * spread / math.sqrt(squares)
    measured = math.hypot(
        *(weight * _log_half_width(y) for weight, (_, y) in zip(weights, points, strict=True))
    )
    half_width = max(scattered, measured)
    return PowerLaw(
        exponent=Estimate(exponent, Interval(exponent - half_width, exponent + half_width)),
        scale=math.exp(fmean(ys) - exponent * fmean(xs)),
        spread=math.exp(spread),
        r_squared=_r_squared(residuals, ys),
        points=n,
    )


class Predictor(msgspec.Struct, frozen=True):
    """A count and how well it goes with time: Pearson's correlation of their logarithms, with its interval.

    `rank` is one more than the number of predictors that are better for certain: those that cannot be told
    apart share it. Both are None where the count does not vary, or below three points.
    """

    name: str
    correlation: Estimate | None
    rank: int | None


def rank_predictors(times_s: Sequence[float], counts: Mapping[str, Sequence[float]]) -> list[Predictor]:
    """How well each count predicts the time on one device, by rank, then by correlation.

    The correlation of logarithms says how near the points lie to any power law, of whatever exponent. Its
    interval is Fisher's, `tanh(atanh r ± 1.96 / sqrt(n - 3))`. Two counts of the same models are compared by
    Williams' test (1959; the one that Steiger 1980 recommends, doi:10.1037/0033-2909.87.2.245), which knows
    that they go together: single intervals, which overlap most of the time, would tell too little apart. In
    simulations with 4 to 30 models it tells equally good counts apart in 1 to 5 % of cases; tests on Fisher's
    z do so in up to 7 %.
    All of it takes the models for a sample of such models. So would a bootstrap, whose answer changes with
    its seed, and which of a few models draws the same ones again and again.

    Args:
        times_s: of one device and workload, above zero.
        counts: such as MACs, activations and parameters: for each time a count, above zero.

    >>> ranked = rank_predictors([1, 2, 4, 8, 16], {"params": [3, 1, 2, 9, 4], "macs": [1, 2, 4, 8, 17]})
    >>> [(predictor.name, predictor.rank) for predictor in ranked]
    [('macs', 1), ('params', 2)]

    Raises:
        ValueError: a value is not above zero, or there is not one for each time.
    """
    n = len(times_s)
    times = _logarithms(times_s)
    logs = {name: _logarithms(values) for name, values in counts.items()}
    to_time = {name: _correlation(values, times) for name, values in logs.items()}

    def is_better(name: str, other: str) -> bool:
        mine, others, between = to_time[name], to_time[other], _correlation(logs[name], logs[other])
        if mine is None or others is None or between is None:
            return False
        return _told_apart(mine, others, between, n)

    ranked = [
        Predictor(
            name,
            None if r is None else Estimate(r, _fisher_interval(r, n)),
            None if r is None else 1 + sum(is_better(other, name) for other in logs),
        )
        for name, r in to_time.items()
    ]
    return sorted(ranked, key=_order)


def _order(predictor: Predictor) -> tuple[float, float]:
    if predictor.rank is None or predictor.correlation is None:
        return (math.inf, 0.0)
    return (predictor.rank, -predictor.correlation.value)


def _correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Pearson's correlation; None below three points, or where one of the two does not vary."""
    pairs = list(zip(_centred(xs), _centred(ys), strict=True))
    if len(pairs) < MIN_POINTS or min(xs) == max(xs) or min(ys) == max(ys):
        return None
    r = (
        math.fsum(x * y for x, y in pairs)
        / math.hypot(*(x for x, _ in pairs))
        / math.hypot(*(y for _, y in pairs))
    )
    return min(1.0, max(-1.0, r))


def _fisher_interval(r: float, n: int) -> Interval | None:
    """The 95 % interval of a correlation of n points; None below four."""
    if n <= MIN_POINTS:
        return None
    half_width = _NORMAL / math.sqrt(n - 3)
    z = math.atanh(min(1 - _ROUNDING, max(_ROUNDING - 1, r)))
    return Interval(min(r, math.tanh(z - half_width)), max(r, math.tanh(z + half_width)))


def _told_apart(better: float, worse: float, between: float, n: int) -> bool:
    """Whether one of two correlations with the same variable is the greater for certain.

    `between` is the correlation of the two variables with each other. Williams' test, two-sided at 95 %:
    Student's t with n - 3 degrees of freedom.
    """
    if n <= MIN_POINTS:
        return False
    determinant = 1 - better**2 - worse**2 - between**2 + 2 * better * worse * between
    mean = (better + worse) / 2
    noise = 2 * (n - 1) / (n - 3) * max(0.0, determinant) + mean**2 * (1 - between) ** 3
    critical = float(stdtrit(n - 3, (1 + CONFIDENCE) / 2))
    difference = (better - worse) * math.sqrt((n - 1) * (1 + between))
    return difference > critical * math.sqrt(noise) + _ROUNDING


def _r_squared(residuals: Sequence[float], ys: Sequence[float]) -> float | None:
    if min(ys) == max(ys):
        return None
    return 1 - (math.hypot(*residuals) / math.hypot(*_centred(ys))) ** 2


def _log_half_width(y: Estimate) -> float:
    """The wider side of the interval, on logarithms; zero without an interval."""
    if y.interval is None:
        return 0.0
    low, value, high = _logarithms([y.interval.low, y.value, y.interval.high])
    return max(high - value, value - low)


def _logarithms(values: Sequence[float]) -> list[float]:
    for value in values:
        if not 0 < value < math.inf:
            raise ValueError(f"a power law needs finite values above zero, got {value}")
    return [math.log(value) for value in values]


def _centred(values: Sequence[float]) -> list[float]:
    centre = fmean(values)
    return [value - centre for value in values]
