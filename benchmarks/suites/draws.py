"""draws in an iteration of `natural gradient`: what they cost, and the ELBO at the end.

Few draws make cheap and noisy iterations, of which more are averaged before the ELBO lost through sampling is below the
tolerance. ld100 at 32² (16² with --quick), one mesh, family `low rank`.
"""
import harness
import tables
from .common import found, series

KEY = "Inference/natural gradient/Draws"
DRAWS = {"quick": [8, 16], "default": [4, 8, 16, 32, 64], "full": [4, 8, 16, 32, 64, 128]}


def configurations(size):
    return series(KEY, DRAWS[size], size, ("Inference/natural gradient/Maximum iterations", "100"))


def report(given, results, folder):
    runs = found(KEY, given, results)
    rows = []
    for n, r in runs:
        stage = harness.stages(r, "natural gradient")
        rows.append(
            [
                n,
                r["inference"]["termination"]["iterations"],
                harness.count(stage, "factorisations"),
                harness.count(stage, "state solves") + harness.count(stage, "tangents and adjoints"),
                harness.count(stage, "prior"),
                harness.seconds(stage),
                r["peak_memory_mb"],
                tables.elbo_of(r),
                "yes" if r["inference"]["termination"]["converged"] else "no",
            ]
        )
    draw(runs, folder)
    return (
        tables.table(
            [
                "draws",
                "iterations",
                "factorisations",
                "right-hand sides",
                "prior solves",
                "seconds",
                "peak memory [MB]",
                "ELBO",
                "converged",
            ],
            rows,
        )
        + "\n![Cost against the draws](draws.png)\n"
    )


def draw(runs, folder):
    plt = tables.pyplot()
    if plt is None or not runs:
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    draws = [int(n) for n, _ in runs]
    stages = [harness.stages(r, "natural gradient") for _, r in runs]
    axes[0].plot(draws, [harness.count(s, "factorisations") for s in stages], "o-", label="factorisations")
    axes[0].plot(draws, [r["inference"]["termination"]["iterations"] for _, r in runs], "s-", label="iterations")
    axes[0].set(xscale="log", yscale="log", title="cost of the optimisation", xlabel="draws in an iteration")
    axes[0].legend()
    axes[1].errorbar(
        draws, [r["elbo"]["value"] for _, r in runs], [2 * r["elbo"]["error"] for _, r in runs], fmt="o-"
    )
    axes[1].set(xscale="log", title="ELBO at the end ± 2 errors", xlabel="draws in an iteration", ylabel="nat")
    for axis in axes:
        axis.set_xticks(draws, [str(n) for n in draws])
        axis.minorticks_off()
    figure.tight_layout()
    tables.save(figure, folder / "draws.png")
