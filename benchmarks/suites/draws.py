"""draws in an iteration of `natural gradient`: what they cost, and the ELBO at the end.

Few draws make cheap and noisy iterations, of which more are averaged before the ELBO lost through sampling is below the
tolerance. ld100 at 32² (16² with --quick), one mesh, family `low rank`.
"""
import harness
import tables
from .common import ONE_MESH, square

DRAWS = {"quick": [8, 16], "default": [4, 8, 16, 32, 64], "full": [4, 8, 16, 32, 64, 128]}


def configurations(size):
    side = 16 if size == "quick" else 32
    return [
        harness.Configuration(
            (
                square(side),
                ONE_MESH,
                ("Inference/natural gradient/Draws", str(n)),
                ("Inference/natural gradient/Maximum iterations", "100"),
                ("Inference/ELBO error", "0.05"),
                ("Inference/Maximum draws", "2000"),
            )
        )
        for n in DRAWS[size]
    ]


def report(given, results, folder):
    found = [(dict(c.settings)["Inference/natural gradient/Draws"], r) for c in given if (r := results.get(c))]
    rows = []
    for n, r in found:
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
    draw(found, folder)
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


def draw(found, folder):
    plt = tables.pyplot()
    if plt is None or not found:
        return
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    draws = [int(n) for n, _ in found]
    stages = [harness.stages(r, "natural gradient") for _, r in found]
    axes[0].plot(draws, [harness.count(s, "factorisations") for s in stages], "o-", label="factorisations")
    axes[0].plot(draws, [r["inference"]["termination"]["iterations"] for _, r in found], "s-", label="iterations")
    axes[0].set(xscale="log", yscale="log", title="cost of the optimisation", xlabel="draws in an iteration")
    axes[0].legend()
    axes[1].errorbar(
        draws, [r["elbo"]["value"] for _, r in found], [2 * r["elbo"]["error"] for _, r in found], fmt="o-"
    )
    axes[1].set(xscale="log", title="ELBO at the end ± 2 errors", xlabel="draws in an iteration", ylabel="nat")
    for axis in axes:
        axis.set_xticks(draws, [str(n) for n in draws])
        axis.minorticks_off()
    figure.tight_layout()
    tables.save(figure, folder / "draws.png")
