"""rank of the family `low rank`: cost, and the ELBO that a smaller rank gives up.

The family is cut at so many directions; the first eigenvalue left out says how much it misses. ld100 at 32² (16² with
--quick), one mesh.
"""
import harness
import tables
from .common import found, series

KEY = "Inference/low rank/Rank"
RANKS = {"quick": [10, 40], "default": [5, 10, 20, 30, 40, 60, 80, 100], "full": [5, 10, 20, 30, 40, 60, 80, 100]}


def configurations(size):
    return series(KEY, RANKS[size], size)


def report(given, results, folder):
    runs = found(KEY, given, results)
    rows = []
    for n, r in runs:
        stage = harness.stages(r, "natural gradient")
        rows.append(
            [
                n,
                r["elbo"]["rank"],
                r["elbo"]["first_dropped_eigenvalue"],
                tables.elbo_of(r),
                r["inference"]["termination"]["iterations"],
                harness.count(stage, "factorisations"),
                harness.count(stage, "state solves") + harness.count(stage, "tangents and adjoints"),
                harness.seconds(stage),
                r["peak_memory_mb"],
            ]
        )
    draw(runs, folder)
    return (
        tables.table(
            [
                "largest rank",
                "rank",
                "first eigenvalue left out",
                "ELBO",
                "iterations",
                "factorisations",
                "right-hand sides",
                "seconds",
                "peak memory [MB]",
            ],
            rows,
        )
        + "\n![ELBO against the rank](rank.png)\n"
    )


def draw(runs, folder):
    plt = tables.pyplot()
    if plt is None or not runs:
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    ranks = [int(n) for n, _ in runs]
    best = max(r["elbo"]["value"] for _, r in runs)
    axes[0].errorbar(
        ranks, [best - r["elbo"]["value"] + 0.01 for _, r in runs], [r["elbo"]["error"] for _, r in runs], fmt="o-"
    )
    axes[0].set(yscale="log", title="ELBO below the best (+ 0.01)", xlabel="largest rank", ylabel="nat")
    axes[1].plot(ranks, [harness.seconds(harness.stages(r, "natural gradient")) for _, r in runs], "o-")
    axes[1].set(title="optimisation", xlabel="largest rank", ylabel="seconds", ylim=(0, None))
    figure.tight_layout()
    tables.save(figure, folder / "rank.png")
