"""1, 2 and 4 ranks, split into space × samples: seconds, memory and communication of ld100.

All rows of a mesh do the same numerical work and end at the same ELBO. Where there are fewer cores than ranks,
seconds say nothing about a speed-up; memory and the program's own reductions (calls of MPI_Allreduce and MPI_Bcast on
the first rank) do not depend on that.
"""
import harness
import tables
from .common import fixed_draws, square

SPLITS = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4))  # ranks, sample groups
SIDE = {"quick": 32, "default": 128, "full": 256}


def configurations(size):
    return [
        harness.Configuration(
            (square(SIDE[size]), ("Parallel/Sample groups", str(groups))) + fixed_draws(64), ranks=ranks
        )
        for ranks, groups in SPLITS
    ]


def report(given, results, folder):
    found = [r for c in given if (r := results.get(c))]
    rows = []
    for r in found:
        rows.append(
            [
                r["ranks"],
                f"{r['ranks'] // r['groups']} × {r['groups']}",
                harness.count(r["stages"], "factorisations"),
                harness.seconds(harness.stages(r, *harness.INFERENCE)),
                harness.seconds(harness.stages(r, *harness.DRAWS)),
                harness.seconds(harness.stages(r, *harness.AFTERWARDS)),
                r["cost"]["seconds"],
                r["peak_memory_mb"],
                harness.count(r["stages"], "communication"),
                tables.elbo_of(r),
            ]
        )
    draw(found, folder)
    return (
        tables.table(
            [
                "ranks",
                "space × samples",
                "factorisations on the first rank",
                "inference [s]",
                "64 draws [s]",
                "variances, output [s]",
                "all [s]",
                "peak memory of a rank [MB]",
                "reductions",
                "ELBO",
            ],
            rows,
        )
        + "\n![Seconds and memory against the split](split.png)\n"
    )


def draw(found, folder):
    plt = tables.pyplot()
    if plt is None or not found:
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    names = [f"{r['ranks'] // r['groups']} × {r['groups']}" for r in found]
    bottom = [0.0] * len(found)
    for label, phase in (
        ("inference", harness.INFERENCE),
        ("64 draws", harness.DRAWS),
        ("variances, output", harness.AFTERWARDS),
    ):
        heights = [harness.seconds(harness.stages(r, *phase)) for r in found]
        axes[0].bar(names, heights, bottom=bottom, label=label)
        bottom = [a + b for a, b in zip(bottom, heights)]
    axes[0].set(ylabel="seconds", xlabel="space × samples", title="wall time")
    axes[0].legend()
    axes[1].bar(names, [r["peak_memory_mb"] for r in found])
    axes[1].set(ylabel="MB", xlabel="space × samples", title="peak memory of a rank")
    figure.tight_layout()
    tables.save(figure, folder / "split.png")
