"""A search carried out: trials at φ = 1, the choice, held-out images, larger φ; each kept as it comes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from scaleprof.app.costs import CostBook
from scaleprof.app.counting import now_utc
from scaleprof.app.search_files import check_beside, write_beside
from scaleprof.app.search_plan import SearchPlan, candidate_at, macs_of, transfer_candidates
from scaleprof.app.search_prepare import PreparedSearch, SearchOptions, prepare_search
from scaleprof.app.search_result import Search
from scaleprof.engines.trainings import Progress, drop_checkpoint, run_trials
from scaleprof.errors import UsageError
from scaleprof.measuring.host import describe_host
from scaleprof.records import Candidate, SearchHeader, SearchLog, Trial
from scaleprof.search.messages import Training, TrialRequest
from scaleprof.stats.ranking import FIRST_PHI, rank_search
from scaleprof.store import SearchWriter, checkpoint_folder, read_search

__all__ = ["Search", "SearchOptions", "SearchWatcher", "prepare_search", "run_search", "search_bases"]

# Trainings are not timed: whatever malloc the machine has will do.
_ALLOCATOR = "default"


class SearchWatcher:
    """Told how a search goes on; does nothing by itself."""

    def began(self, words: str, total: int) -> None:
        """A part of the search begins, of so many trials."""

    def stepped(self, progress: Progress, share_done: float) -> None:
        """A trial begins or has done an epoch; `share_done` of the part's work is behind."""

    def kept(self, trial: Trial, share_done: float) -> None:
        """A trial is over, and on disk."""


def run_search(
    prepared: PreparedSearch,
    *,
    output: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    watcher: SearchWatcher | None = None,
) -> Search:
    """Try every candidate; with `output`, each trial is in that file as soon as it is over.

    What is chosen is then tried on the images that no choice was made on, and, if the search asks for it, at
    larger φ beside the controls.

    Raises:
        UsageError: `output` may not be written.
        MeasuringError: a worker does not start.
        OutputError: the file cannot be written.
    """
    with ExitStack() as closing_:
        writer = None
        log = SearchLog(_with_host(prepared.planned.header, prepared), ())
        if output is not None and resume:
            writer = closing_.enter_context(SearchWriter.resume(output))
            log = writer.done or log
        elif output is not None:
            writer = closing_.enter_context(SearchWriter.create(output, log.header, overwrite=overwrite))
        conduct = _Conduct(prepared, log, writer, watcher or SearchWatcher())
        conduct.run()
        if output is not None:
            shutil.rmtree(checkpoint_folder(output), ignore_errors=True)
    return Search(conduct.log, prepared.doubts)


class _Conduct:
    """A search in progress: what is known so far, and what is to be tried next."""

    def __init__(
        self, prepared: PreparedSearch, log: SearchLog, writer: SearchWriter | None, watcher: SearchWatcher
    ) -> None:
        self.log = log
        self._prepared = prepared
        self._planned: SearchPlan = prepared.planned
        self._writer = writer
        self._watcher = watcher
        self._costs = CostBook()

    def run(self) -> None:
        """All parts, in order."""
        if self._prepared.work is None:
            held = {trial.key: trial for trial in self.log.trials}
            for trial in self._prepared.scores:
                if _told(held.get(trial.key)) != _told(trial):
                    self._keep(trial)
            return
        seeds, candidates = self.log.header.seeds, self._planned.candidates
        # A seed of every candidate before the next: whatever ends the search, all have about as many.
        self._try("", [self._request(one, FIRST_PHI, seed) for seed in seeds for one in candidates])
        if isinstance(self._prepared.work, Training):
            self._hold_out()
        if self.log.header.transfer_phis:
            self._transfer()

    def _hold_out(self) -> None:
        """The chosen candidate's trainings, tried on the images that no choice was made on."""
        chosen = rank_search(self.log).chosen
        work = self._prepared.work
        if not isinstance(work, Training):
            return
        wanted = [
            msgspec.structs.replace(
                self._request(self._candidate(trial.candidate), trial.phi, trial.seed),
                work=msgspec.structs.replace(work, held_out=True),
            )
            for trial in self.log.trials
            if trial.candidate == chosen
            and (trial.phi, trial.status) == (FIRST_PHI, "ok")
            and trial.held_out is None
        ]
        for trial in self._trials(wanted, "held-out images"):
            if trial.status == "ok":  # a score that is there is not lost for one that is not
                self._keep(trial)

    def _transfer(self) -> None:
        """What was chosen, and what it is compared with, at larger φ."""
        requests = []
        for phi in self.log.header.transfer_phis:
            for one in transfer_candidates(self.log):
                for seed in self.log.header.seeds:
                    try:
                        requests.append(self._request(one, phi, seed))
                    except UsageError as error:
                        self._keep(Trial(one.number, phi, seed, "failed", str(error), 0.0, now_utc()))
        self._try("larger φ", requests)

    def _try(self, words: str, requests: Sequence[TrialRequest]) -> None:
        """Run what has no score yet."""
        held = {trial.key for trial in self.log.trials if trial.status == "ok"}
        left = [one for one in requests if (one.candidate, float(one.phi), one.seed) not in held]
        for trial in self._trials(left, words):
            self._keep(trial)
            self._drop_checkpoints(requests)

    def _trials(self, requests: Sequence[TrialRequest], words: str) -> Iterator[Trial]:
        """The trials as they finish, told to whoever watches."""
        if not requests:
            return
        self._watcher.began(words, len(requests))
        shares = _Shares({_key(one): self._weight(one) for one in requests})

        def observe(progress: Progress) -> None:
            epochs = max(1, progress.request.epochs)
            self._watcher.stepped(progress, shares.at(_key(progress.request), progress.epochs / epochs))

        running = run_trials(
            requests, slots=self._prepared.slots, timeout_s=self._prepared.timeout_s, observe=observe
        )
        with closing(running) as trials:
            for trial in trials:
                yield trial
                self._watcher.kept(trial, shares.at(trial.key, 1.0))

    def _keep(self, trial: Trial) -> None:
        if self._writer is not None:
            self._writer.append(trial)
        others = tuple(one for one in self.log.trials if one.key != trial.key)
        self.log = msgspec.structs.replace(self.log, trials=(*others, trial))

    def _drop_checkpoints(self, requests: Sequence[TrialRequest]) -> None:
        """Delete what no later part needs: weights of candidates that are not, or cannot be, the best."""
        ranking = rank_search(self.log)
        several = len(self.log.header.seeds) > 1
        needed = {
            one.candidate for one in ranking.ranked if one.is_chosen or (several and one.tied is not False)
        }
        done = {trial.key for trial in self.log.trials if trial.status == "ok"}
        for request in requests:
            key = _key(request)
            if key in done and (request.phi != FIRST_PHI or request.candidate not in needed):
                drop_checkpoint(request)

    def _request(self, candidate: Candidate, phi: float, seed: int) -> TrialRequest:
        """A trial of a candidate.

        Raises:
            UsageError: the architecture ends before that φ.
        """
        work, folder = self._prepared.work, None
        if work is None:
            raise TypeError("a table's scores are not tried")
        if self._writer is not None and isinstance(work, Training):
            folder = checkpoint_folder(self._writer.path).resolve()
        spec = candidate_at(self._planned.model, self.log.header, candidate, phi)
        is_first = phi == FIRST_PHI
        return TrialRequest(
            candidate=candidate.number,
            phi=phi,
            seed=seed,
            spec=spec,
            locator=self._planned.model.locator,
            work=work,
            checkpoint=None if folder is None else str(folder / f"{candidate.number}-{phi:g}-{seed}.pt"),
            macs=candidate.macs if is_first else macs_of(self._planned.model, spec, self._costs),
        )

    def _candidate(self, number: int) -> Candidate:
        return next(one for one in self.log.header.candidates if one.number == number)

    def _weight(self, request: TrialRequest) -> float:
        """How much of the work a trial is, against others."""
        macs = self._candidate(request.candidate).macs or 1
        return float(macs * self.log.header.target_growth ** (request.phi - 1))


class _Shares:
    """How much of a part's work is done, by what is done of each trial."""

    def __init__(self, weights: dict[tuple[int, float, int], float]) -> None:
        self._weights = weights
        self._done: dict[tuple[int, float, int], float] = {}

    def at(self, key: tuple[int, float, int], share: float) -> float:
        """The share of all work, now that this much of one trial is done."""
        self._done[key] = share
        done = sum(self._weights[one] * part for one, part in self._done.items())
        return done / sum(self._weights.values())


def _key(request: TrialRequest) -> tuple[int, float, int]:
    return (request.candidate, float(request.phi), request.seed)


def _told(trial: Trial | None) -> tuple[float | None, ...]:
    """What a table says of a trial."""
    return () if trial is None else (trial.score, trial.error, trial.held_out)


def _with_host(header: SearchHeader, prepared: PreparedSearch) -> SearchHeader:
    """The header with this machine; a table's scores were had elsewhere."""
    if prepared.work is None:
        return header
    return msgspec.structs.replace(header, host=describe_host(prepared.slots[0].device, _ALLOCATOR))


def search_bases(
    model: str = "efficientnet_b0",
    *,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _line: None,
    **options: object,
) -> Search:
    """Find the bases of compound scaling for a model: a small grid is tried at φ = 1.

    Args:
        model: a family, `FILE.py:FACTORY` or `MODULE:FACTORY`.
        output: a search file to keep trials in as they come; the chosen bases are written beside it.
        resume: go on with the search in `output`.
        overwrite: replace the search in `output`, and the bases beside it.
        say: told in words of what takes time.
        options: the fields of `SearchOptions`, named as the options of `scaleprof search`: `data`,
            `objective` or `scores`; `grid_step`, `target_growth`, `tolerance`, `cost`; `epochs`, `seeds`,
            `input_size`, `batch_size`, `optimizer`, `learning_rate`; `transfer`, `rounding`, `device`,
            `jobs`, `threads`, `timeout_s`.

    Raises:
        ScaleprofError: the request cannot be carried out; the message says why and what to do.
    """
    path = None if output is None else Path(output)
    asked = ", ".join(f"{name}={value!r}" for name, value in {"model": model, **options}.items())
    if path is not None and not resume:
        check_beside(path, overwrite=overwrite)
    prepared = prepare_search(
        model,
        _options(options),
        command=(f"scaleprof.search_bases({asked})",),
        held=read_search(path) if resume and path is not None and path.exists() else None,
        say=say,
    )
    found = run_search(prepared, output=path, resume=resume, overwrite=overwrite)
    if path is not None:
        write_beside(found, path, overwrite=overwrite)
    return found


def _options(given: dict[str, object]) -> SearchOptions:
    unknown = set(given) - set(SearchOptions.__struct_fields__)
    if unknown:
        raise UsageError(
            f"search_bases has no option {min(unknown)!r}: it has "
            f"{', '.join(SearchOptions.__struct_fields__)}"
        )
    scores = given.get("scores")
    made = {**given, "scores": Path(str(scores))} if scores is not None else given
    return SearchOptions(**made)  # type: ignore[arg-type]
