#!/usr/bin/python3
"""Draws the posterior of a field on intervals of time: its mean, the central 68 % and 95 % intervals, and those of the prior.

  scripts/plot_intervals.py borehole-output/field_surface.csv history.png --time "years before the log" --value "K"

Needs python3-matplotlib.
"""
import argparse
import csv

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("picture")
    parser.add_argument("--time", default="time", help="label of the axis")
    parser.add_argument("--value", default="value", help="label of the axis")
    parser.add_argument("--title", default="")
    arguments = parser.parse_args()
    with open(arguments.table, newline="") as file:
        rows = [{k: float(v) for k, v in r.items()} for r in csv.DictReader(file)]
    edges = [r["from"] for r in rows] + [rows[-1]["until"]]

    def column(function):
        return [function(r) for r in rows] + [function(rows[-1])]

    figure, axes = plt.subplots(figsize=(8, 4), constrained_layout=True)
    for sign in (-1.96, 1.96):
        axes.step(edges, column(lambda r: r["prior_mean"] + sign * r["prior_std"]), where="post", color="0.6", linestyle=":",
                  label="prior, 95 %" if sign > 0 else None)
    for width, alpha, label in ((1.96, 0.25, "95 %"), (1., 0.4, "68 %")):
        axes.fill_between(edges, column(lambda r: r["mean"] - width * r["std"]), column(lambda r: r["mean"] + width * r["std"]),
                          step="post", color="tab:blue", alpha=alpha, linewidth=0, label=label)
    axes.step(edges, column(lambda r: r["mean"]), where="post", color="tab:blue", label="mean")
    axes.set_xlabel(arguments.time)
    axes.set_ylabel(arguments.value)
    axes.set_title(arguments.title)
    axes.margins(x=0)
    axes.legend(loc="upper left", frameon=False, ncols=4)
    figure.savefig(arguments.picture, dpi=110)


if __name__ == "__main__":
    main()
