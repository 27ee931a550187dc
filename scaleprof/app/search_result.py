"""A search as people use it from Python: rows, what was chosen, sentences, accuracies; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scaleprof.records import Candidate, SearchLog, spec_id
from scaleprof.reporting.searches_ranked import Judged, judge
from scaleprof.reporting.searches_rows import CandidateRow
from scaleprof.reporting.table import to_csv
from scaleprof.scaling.rules import COMPOUND, DIMENSIONS, NAMED_MARK, Bases
from scaleprof.store import read_search
from scaleprof.units import plural

if TYPE_CHECKING:
    import pandas as pd

# Strategies of one dimension grow by this at φ = 1: only then is a control the network of that name.
_STRATEGY_GROWTH = 2.0


class Search:
    """A search, finished or not: what `search` gives, and `load_search`. Ranks are derived from the scores.

    Attributes:
        log: the header with all candidates, and every trial.
        doubts: what was doubtful about a table of scores, or about going on, a line each.
    """

    def __init__(self, log: SearchLog, doubts: Sequence[str] = ()) -> None:
        self.log = log
        self.doubts = tuple(doubts)

    @property
    def rows(self) -> list[CandidateRow]:
        """One row per candidate and φ, the best first."""
        return list(self._judged.rows)

    @property
    def candidate(self) -> Candidate | None:
        """What was chosen; None where no candidate has a score."""
        return self._judged.chosen

    @property
    def bases(self) -> Bases | None:
        """The chosen bases; None where no candidate has a score."""
        chosen = self.candidate
        return None if chosen is None else Bases(chosen.depth, chosen.width, chosen.resolution)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words."""
        return self._judged.sentences

    @property
    def is_training(self) -> bool:
        """Whether scores are percentages of validation images."""
        return self._judged.percent

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas data frame, a column a field."""
        import pandas as pd

        return pd.DataFrame(
            [msgspec.structs.asdict(row) for row in self.rows], columns=list(CandidateRow.__struct_fields__)
        )

    @property
    def _judged(self) -> Judged:
        return judge(self.log)

    def __repr__(self) -> str:
        chosen = "nothing chosen" if self.candidate is None else f"{self.bases}"
        return f"<scaleprof.Search of {self.log.header.model}, {len(self.log.trials)} trials, {chosen}>"


def load_search(path: str | Path) -> Search:
    """The search in a file.

    Raises:
        RunFileError: the file cannot be read or is no search.
    """
    return Search(read_search(Path(path)))


def accuracy_table(search: Search, strategy: str) -> str | None:
    """The scores of a training as a table of accuracies (docs/accuracy.md); None where there is nothing.

    What was chosen stands under `strategy`, Tan & Le's bases under `compound`, and controls under the
    strategy of their dimension: those are the same networks if the search's target is twice the base.

    Args:
        search: a search that trained.
        strategy: the name of the chosen bases, `@NAME`.
    """
    if not search.is_training:
        return None
    lines = [
        (spec_id(row.model, name, row.phi), f"{row.score:.6g}", _error(row), _recipe(search, row))
        for row in search.rows
        if row.score is not None
        for name in _strategies(search, row, strategy)
    ]
    if not lines:
        return None
    return to_csv(("spec_id", "accuracy", "error", "recipe"), lines)


def _strategies(search: Search, row: CandidateRow, strategy: str) -> list[str]:
    """The strategies of a sweep that make the row's network."""
    names = []
    if search.candidate is not None and row.candidate == search.candidate.number:
        names.append(strategy)
    if row.is_published:
        names.append(COMPOUND)
    grown = [name for name in DIMENSIONS if getattr(row, name) != 1]
    if row.is_single and len(grown) == 1 and search.log.header.target_growth == _STRATEGY_GROWTH:
        names += grown
    return names


def _error(row: CandidateRow) -> str:
    if row.score_ci_low is None or row.score_ci_high is None:
        return ""
    return f"{(row.score_ci_high - row.score_ci_low) / 2:.4g}"


def _recipe(search: Search, row: CandidateRow) -> str:
    header = search.log.header
    epochs = header.recipe.epochs if header.recipe else 0
    data = header.dataset.name if header.dataset else "?"
    size = header.base.input_size
    return (
        f"scaleprof search: validation images of {data} at a base input of {size} {header.base.input_unit}, "
        f"{plural(epochs, 'epoch', 'epochs')}, {plural(row.seeds, 'seed', 'seeds')}"
    )


def strategy_of(bases_file: Path) -> str:
    """What `--strategy @FILE` of a search's bases is called in specs."""
    from scaleprof.store import read_bases

    return read_bases(bases_file)[0] if bases_file.exists() else f"{NAMED_MARK}{bases_file.stem}"
