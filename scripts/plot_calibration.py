#!/usr/bin/env python3
"""Pictures of `varfield calibrate`.

  scripts/plot_calibration.py OUTPUT_FOLDER [-o picture.png]

For every quantity the histogram of the ranks of the truths with the band in which 99 % of the bins of a uniform distribution
are, and the difference of the cumulative distribution of the ranks from the diagonal with the band in which 95 % of all such
curves stay as a whole (by simulation, as in Säilynoja, Bürkner, Vehtari, Statistics and Computing 32 (2022)).
"""
import argparse
import csv
import math
import pathlib
import sys

try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
except ImportError as error:
    sys.exit(f"{error}. The Debian package is python3-matplotlib (scripts/install_dependencies.sh --with-paraview).")

BINS = 10


def read_ranks(folder):
    """Ranks by name of the quantity, failed inferences left out."""
    with open(pathlib.Path(folder) / "calibration.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name[len("rank "):] for name in rows[0] if name.startswith("rank ")]
    ranks = {name: np.array([float(row["rank " + name]) for row in rows]) for name in names}
    return {name: values[np.isfinite(values)] for name, values in ranks.items()}


def binomial_band(n, p, level):
    """The central interval of a binomial number that has at least this probability."""
    k = np.arange(n + 1)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    cumulative = np.cumsum(np.exp(logs + k * math.log(p) + (n - k) * math.log(1 - p)))
    return np.searchsorted(cumulative, (1 - level) / 2), np.searchsorted(cumulative, (1 + level) / 2)


def curve_band(n, grid, level=0.95, trials=4000):
    """Pointwise bounds of the empirical distribution of n uniform numbers which hold on the whole grid at once."""
    samples = np.sort(np.random.default_rng(1).random((trials, n)), axis=1)
    curves = np.stack([np.searchsorted(row, grid, side="right") for row in samples]) / n
    spread = np.sqrt(np.maximum(grid * (1 - grid), 1e-12) / n)
    largest = np.quantile(np.max(np.abs(curves - grid) / spread, axis=1), level)
    return largest * spread


def draw(ranks, path):
    figure, axes = plt.subplots(2, len(ranks), figsize=(2.6 * len(ranks) + 0.6, 4.6), squeeze=False)
    grid = np.linspace(0.01, 0.99, 99)
    for column, (name, values) in enumerate(ranks.items()):
        n = len(values)
        low, high = binomial_band(n, 1 / BINS, 0.99)
        top, bottom = axes[0, column], axes[1, column]
        top.axhspan(low, high, color="#d0d7de", lw=0)
        top.axhline(n / BINS, color="#57606a", lw=0.8)
        top.hist(values, bins=BINS, range=(0, 1), color="#2a6f97", rwidth=0.9)
        top.set_title(name, fontsize=9)
        band = curve_band(n, grid)
        bottom.fill_between(grid, -band, band, color="#d0d7de", lw=0)
        bottom.axhline(0, color="#57606a", lw=0.8)
        bottom.plot(grid, np.searchsorted(np.sort(values), grid, side="right") / n - grid, color="#2a6f97")
        bottom.set_xlabel("rank of the truth", fontsize=8)
        for axis in (top, bottom):
            axis.tick_params(labelsize=7)
    axes[0, 0].set_ylabel("truths", fontsize=8)
    axes[1, 0].set_ylabel("distribution − rank", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=160)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="output folder of varfield calibrate")
    parser.add_argument("-o", "--output", help="the picture (default: calibration.png in the folder)")
    options = parser.parse_args()
    path = options.output or str(pathlib.Path(options.folder) / "calibration.png")
    try:
        draw(read_ranks(options.folder), path)
    except (OSError, KeyError, IndexError) as error:
        sys.exit(f"{options.folder}: no results of varfield calibrate to be read ({error}).")
    print(path)


if __name__ == "__main__":
    main()
