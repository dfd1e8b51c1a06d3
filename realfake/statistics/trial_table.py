"""A table of trials, checked and sorted, as the arrays that fits need.

Here: which tables are refused and why, which rows belong to one fit, cells and replicates, zero errors.
Not here: any statistics (`noise`, `fits`), and where tables come from (records, MLflow, a user's CSV).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from realfake.laws import Array
from realfake.responses import MEANS, RESPONSES, SHARES
from realfake.statistics.regression import Cells

Frame = Any  # a pandas DataFrame or Series, whose own annotations cannot express column access
REAL_ONLY = "real-only"
SEEDS = ("subset_seed", "generator_seed", "pool_seed", "trial_seed")
KEYS = ("recipe", "arm", "n_real", "n_synthetic", "n_generator", "budget", *SEEDS)


class FitError(ValueError):
    """The table cannot answer the question; the message says why in one sentence."""


@dataclass(frozen=True)
class Trials:
    """The rows of one fit: the real-only ladder of a recipe and the mixtures of one arm, t trials in c cells."""

    arm: str
    recipe: str
    response: str
    values: Array  # (t,) the response as measured
    log_response: Array  # (t,) its logarithm, zeros lifted to half an error
    cells: Cells
    replicate: Array  # (t,) int: trials that share a draw share it
    draw_size: Array  # (t,) the real images whose draw the trial depends on, directly or through its generator
    generator: Array  # (t,) int: trials of one draw whose generator was fitted with one seed share it; -1 without one
    address: tuple[str, ...]
    n_diverged: int
    notes: tuple[str, ...] = ()
    n_test: Array | None = None  # (t,) test images of each trial, where all are known

    @property
    def n_replicates(self) -> int:
        return len(np.unique(self.replicate))

    @property
    def ladder(self) -> Array:
        """(c,) True for real-only cells."""
        return self.cells.m == 0

    @property
    def counts(self) -> Array:
        """(c,) trials in each cell."""
        return self.cells.membership.sum(axis=0)

    @property
    def cell_means(self) -> Array:
        """(c,) mean log response."""
        return cell_means(self.log_response, self.cells)


def restricted(trials: Trials, keep: Array) -> Trials:
    """The trials marked in `keep` (t,), with their cells numbered anew."""
    used, of_trial = np.unique(trials.cells.of_trial[keep], return_inverse=True)
    cells = Cells(trials.cells.n[used], trials.cells.m[used], trials.cells.n_generator[used], of_trial.ravel())
    return replace(
        trials,
        values=trials.values[keep],
        log_response=trials.log_response[keep],
        cells=cells,
        replicate=np.unique(trials.replicate[keep], return_inverse=True)[1].ravel(),
        draw_size=trials.draw_size[keep],
        generator=trials.generator[keep],
        n_test=None if trials.n_test is None else trials.n_test[keep],
        address=tuple(address for address, kept in zip(trials.address, keep, strict=True) if kept),
    )


def cell_means(values: Array, cells: Cells) -> Array:
    """Means over the trials of each cell: (…, t) -> (…, c)."""
    membership = cells.membership
    return values @ membership / membership.sum(axis=0)


def read_csv(path: str) -> Frame:
    """A table of trials from a CSV file. Raises FitError for a file that is none."""
    try:
        return pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise FitError(
            f"{path} is not a table: {str(error).strip()}; give a CSV with a header and a row a trial"
        ) from error


def normalised(table: Frame) -> Frame:
    """The table with every column present, checked and in an order that does not depend on the order of its rows.

    Raises FitError for a table without the needed columns, with values that mean nothing, or with duplicated rows.
    """
    missing = [name for name in ("n_real", "n_synthetic") if name not in table]
    if missing or not any(name in table for name in RESPONSES):
        needed = missing[0] if missing else "' or '".join(RESPONSES)
        raise FitError(f"the table has no column '{needed}'; it needs n_real, n_synthetic and a response")
    if not len(table):
        raise FitError("the table has no rows; it needs one for every trial")
    filled = table.reset_index(drop=True).copy()
    for name in ("n_real", "n_synthetic"):
        filled[name] = _sizes(filled, name)
    synthetic = filled["n_synthetic"] > 0
    filled["n_generator"] = _generator_sizes(filled)
    default_arm = pd.Series(np.where(synthetic, "synthetic", REAL_ONLY), index=filled.index)
    filled["arm"] = default_arm if "arm" not in filled else filled["arm"].where(synthetic, REAL_ONLY).astype(str)
    if (filled["arm"][synthetic] == REAL_ONLY).any():
        raise FitError(f"a row with n_synthetic above 0 has the arm '{REAL_ONLY}'; name the arm it belongs to")
    for name, default in (("recipe", ""), ("status", "finished"), ("budget", ""), ("address", "")):
        filled[name] = default if name not in filled else filled[name].fillna(default).astype(str)
    _refuse_duplicates(filled, seeded=any(name in table for name in SEEDS))
    for name in SEEDS:
        filled[name] = -1 if name not in filled else _numbers(filled[name]).fillna(-1).astype(int)
    _refuse_mixed_generators(filled)
    return filled.sort_values([*KEYS, "address"], kind="stable").reset_index(drop=True)


def _sizes(table: Frame, name: str) -> Frame:
    sizes = _numbers(table[name])
    if sizes.isna().any():
        raise FitError(f"column '{name}' has a value that is not a number in row {int(sizes.isna().idxmax())}")
    if (sizes < 0).any():
        raise FitError(f"{name} is {sizes.min():g} in row {int(sizes.idxmin())}; a number of images cannot be negative")
    return sizes.astype(float)


def _numbers(column: Frame) -> Frame:
    """The column as numbers, NaN where it holds something else."""
    return pd.to_numeric(column, errors="coerce")


def _generator_sizes(table: Frame) -> Frame:
    if "n_generator" not in table:
        return table["n_real"]
    sizes = _numbers(table["n_generator"]).fillna(table["n_real"])
    return sizes.where(table["n_synthetic"] > 0, table["n_real"]).astype(float)


def _refuse_duplicates(table: Frame, *, seeded: bool) -> None:
    named = table[table["address"] != ""]
    repeated = named[named.duplicated("address")]
    if len(repeated):
        raise FitError(f"the trial {repeated['address'].iloc[0]} is in the table twice; a copy is not a replicate")
    identity = [name for name in (*KEYS, *(() if seeded else RESPONSES)) if name in table]
    repeated = table[table.duplicated(identity)]
    if len(repeated):
        row = repeated.iloc[0]
        raise FitError(
            f"two rows have the same sizes, arm and seeds (n_real {row['n_real']:g}, n_synthetic "
            f"{row['n_synthetic']:g}, arm '{row['arm']}'); a copy is not a replicate"
        )


def _refuse_mixed_generators(table: Frame) -> None:
    mixed = table[(table["n_synthetic"] > 0) & (table["n_real"] > 0)]
    for (_, arm, n, m), cell in mixed.groupby(["recipe", "arm", "n_real", "n_synthetic"]):
        if cell["n_generator"].nunique() > 1:
            sizes = ", ".join(f"{size:g}" for size in sorted(cell["n_generator"].unique()))
            raise FitError(
                f"the arm '{arm}' mixes generators fitted on {sizes} real images at n_real {n:g}, n_synthetic {m:g}; "
                "give each its own arm"
            )


def responses_of(table: Frame) -> list[str]:
    """The responses that a table has numbers of, the main one first; where it has none, those it has columns for."""
    columns = [name for name in RESPONSES if name in table]
    return [name for name in columns if _numbers(table[name]).notna().any()] or columns


def select(table: Frame, *, response: str = "", arm: str | None = None, recipe: str | None = None) -> Trials:
    """The rows of one fit from a `normalised` table ("": its main response). Raises FitError where they carry none."""
    response = response or responses_of(table)[0]
    if response not in table:
        raise FitError(f"the table has no column '{response}'")
    recipe = _only(table["recipe"].unique(), recipe, "recipe")
    rows = table[table["recipe"] == recipe]
    if arm != REAL_ONLY:
        arm = _only(rows["arm"][rows["arm"] != REAL_ONLY].unique(), arm, "arm")
    rows = rows[rows["arm"].isin([REAL_ONLY, arm])]
    diverged = rows["status"] == "diverged"
    rows = rows[~diverged]
    _refuse_unusable(rows, response)
    notes: list[str] = []
    log_response = np.log(_lifted(rows, response, notes))
    sizes = rows[["n_real", "n_synthetic", "n_generator"]].to_numpy(float)
    cells, of_trial = np.unique(sizes, axis=0, return_inverse=True)
    return Trials(
        arm=arm,
        recipe=recipe,
        response=response,
        values=rows[response].to_numpy(float),
        log_response=log_response,
        cells=Cells(cells[:, 0], cells[:, 1], cells[:, 2], of_trial.ravel()),
        replicate=_replicates(rows, notes),
        draw_size=np.where(sizes[:, 0] > 0, sizes[:, 0], sizes[:, 2]),
        generator=np.where(sizes[:, 1] > 0, rows["generator_seed"].to_numpy(), -1),
        address=tuple(rows["address"]),
        n_diverged=int(diverged.sum()),
        notes=tuple(notes),
        n_test=_test_sizes(rows),
    )


def _only(names: np.ndarray, wanted: str | None, kind: str) -> str:
    """The wanted name, or the only one there is."""
    known = ", ".join(f"'{name}'" for name in sorted(names))
    if wanted is None and len(names) != 1:
        raise FitError(f"the table has {len(names)} {kind}s with trials ({known}); a fit needs {kind}=… to name one")
    if wanted is not None and wanted not in names:
        raise FitError(f"no trial has the {kind} '{wanted}'; the table has {known or 'none'}")
    return str(names[0]) if wanted is None else wanted


def _refuse_unusable(rows: Frame, response: str) -> None:
    ladder = rows[(rows["arm"] == REAL_ONLY) & (rows["n_real"] > 0)]
    if not len(ladder):
        raise FitError("the table has no real-only trials; without them nothing says what a real image is worth")
    values = _numbers(rows[response])
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise FitError(f"{response} is not a number in {count} rows; mark diverged trials with status 'diverged'")
    if (values < 0).any():
        raise FitError(f"{response} is {values.min():g} in one row; it cannot be negative")
    if response in SHARES and (values > 1).any():
        raise FitError(f"{response} is {values.max():g} in one row; it is a share of 1, so write 0.25 for 25 %")
    if ladder["n_real"].nunique() < 2:
        size = ladder["n_real"].iloc[0]
        raise FitError(f"all real-only trials have n_real {size:g}; one size cannot say what more real images do")
    if values.nunique() == 1:
        raise FitError(f"{response} is {values.iloc[0]:g} in every trial; a constant response cannot be fitted")


def _lifted(rows: Frame, response: str, notes: list[str]) -> Array:
    """The response with zeros lifted, so that it has a logarithm: to half an error, or half the smallest above 0."""
    values = rows[response].to_numpy(float)
    zeros = values <= 0
    if not zeros.any():
        return values
    lift = np.full(len(values), values[~zeros].min() / 2)
    if response == "error" and "n_test" in rows:
        known = _numbers(rows["n_test"]).to_numpy(float)
        lift = np.where(known > 0, 0.5 / np.where(known > 0, known, 1.0), lift)
    half = "an error" if response in MEANS else "the smallest above 0"
    notes.append(f"{int(zeros.sum())} trials with {response} 0 count as half {half}")
    return np.where(zeros, lift, values)


def _test_sizes(rows: Frame) -> Array | None:
    """Test images of each trial; None where one is not known."""
    if "n_test" not in rows:
        return None
    sizes = _numbers(rows["n_test"]).to_numpy(float)
    return sizes if (sizes > 0).all() else None


def _replicates(rows: Frame, notes: list[str]) -> Array:
    """One number a replicate: the subset draw, or the first seed that varies; the next seed where one is missing."""
    for name in SEEDS:
        if rows[name].nunique() > 1:
            if name != "subset_seed":
                notes.append(f"one subset draw: intervals hold for it alone, replicates differ in {name}")
            seeds = rows[list(SEEDS[SEEDS.index(name) :])].replace(-1, np.nan).bfill(axis=1).iloc[:, 0].fillna(-1)
            return np.unique(seeds, return_inverse=True)[1].ravel()
    keys = ["arm", "n_real", "n_synthetic", "n_generator"]
    return rows.groupby(keys).cumcount().to_numpy()
