"""rank of the family `low rank`: cost, and the ELBO that a smaller rank gives up.

The family is cut at so many directions; the first eigenvalue left out says how much it misses. ld100 at 32² (16² with
--quick), one mesh.
"""
import harness
import tables
from .common import ONE_MESH, square

RANKS = {"quick": [10, 40], "default": [5, 10, 20, 30, 40, 60, 80, 100], "full": [5, 10, 20, 30, 40, 60, 80, 100]}


def configurations(size):
    side = 16 if size == "quick" else 32
    return [
        harness.Configuration(
            (
                square(side),
                ONE_MESH,
                ("Inference/low rank/Rank", str(n)),
                ("Inference/ELBO error", "0.05"),
                ("Inference/Maximum draws", "2000"),
            )
        )
        for n in RANKS[size]
    ]


def report(given, results, folder):
    found = [(dict(c.settings)["Inference/low rank/Rank"], r) for c in given if (r := results.get(c))]
    rows = []
    for n, r in found:
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
    draw(found, folder)
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


def draw(found, folder):
    plt = tables.pyplot()
    if plt is None or not found:
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    ranks = [int(n) for n, _ in found]
    best = max(r["elbo"]["value"] for _, r in found)
    axes[0].errorbar(
        ranks, [best - r["elbo"]["value"] + 0.01 for _, r in found], [r["elbo"]["error"] for _, r in found], fmt="o-"
    )
    axes[0].set(yscale="log", title="ELBO below the best (+ 0.01)", xlabel="largest rank", ylabel="nat")
    axes[1].plot(ranks, [harness.seconds(harness.stages(r, "natural gradient")) for _, r in found], "o-")
    axes[1].set(title="optimisation", xlabel="largest rank", ylabel="seconds", ylim=(0, None))
    figure.tight_layout()
    tables.save(figure, folder / "rank.png")
