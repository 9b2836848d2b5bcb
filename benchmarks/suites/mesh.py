"""cost of ld100 against the mesh: work on the finest mesh, all work in units of it, seconds and memory.

The inference goes from coarse to fine; for comparison it also runs on the finest mesh only ("one mesh"). Work on a
coarser mesh counts with its share of the finest mesh's cells ("fine-mesh equivalents"). If the method is independent
of the mesh, linearisations, solves and the rank settle as it is refined: tables say how far apart they are from 64²
on. A sweep of `natural gradient` has 16 linearisations on the first mesh and about 4 on later ones, where the posterior
of the mesh before is the control variate; those of its partners, 4 on the mesh before, are counted to the same stage
and with the same weight. One sweep more or less is sampling error. The 64 draws of the final
posterior, the same on every mesh, are left out of the work.
"""
import harness
import tables
from .common import ONE_MESH, fixed_draws, square

SIZES = {"quick": [16, 32, 64], "default": [32, 64, 128, 256, 512], "full": [32, 64, 128, 256, 512]}
ON_ONE_MESH = {"quick": [16, 32], "default": [32, 64, 128], "full": [32, 64, 128, 256]}


def configurations(size):
    return [harness.Configuration((square(n),) + fixed_draws(64)) for n in SIZES[size]] + [
        harness.Configuration((square(n), ONE_MESH) + fixed_draws(64)) for n in ON_ONE_MESH[size]
    ]


def work(record):
    """Solves of one run, on the finest mesh and in fine-mesh equivalents."""
    stages = harness.stages(record, *harness.INFERENCE)
    finest = [s for s in stages if harness.cells_of(s, record) == record["cells"]]
    share = [harness.cells_of(s, record) / record["cells"] for s in stages]

    def equivalents(kind):
        return sum(w * harness.count([s], kind) for w, s in zip(share, stages))

    measurements = record["measurements"]["used"]
    return {
        # A linearisation solves an adjoint for every measurement; a gradient solves one.
        "linearisations": sum(harness.count([s], "tangents and adjoints") // measurements for s in finest),
        "factorisations": harness.count(finest, "factorisations"),
        "solves": harness.count(finest, "state solves") + harness.count(finest, "tangents and adjoints"),
        "priors": harness.count(finest, "prior"),
        "all factorisations": equivalents("factorisations"),
        "all solves": equivalents("state solves") + equivalents("tangents and adjoints"),
        "all priors": equivalents("prior"),
    }


COMPARED = {
    "linearisations": "linearisations on the finest mesh",
    "all factorisations": "factorisations, fine-mesh equivalents",
    "all solves": "right-hand sides, fine-mesh equivalents",
    "rank": "rank",
}


def spread_table(found):
    """How far apart the meshes from 64² on are: largest over smallest, less one."""
    fine = [(c, r, w) for c, r, w in found if r["cells"] >= 64 * 64]
    if len(fine) < 2:
        return ""
    rows = []
    for key, name in COMPARED.items():
        values = [r["elbo"]["rank"] if key == "rank" else w[key] for _, r, w in fine]
        rows.append([name, min(values), max(values), f"{100 * (max(values) / min(values) - 1):.0f} %"])
    return "\nMeshes from 64² on (the aim: within 20 % of each other):\n\n" + tables.table(
        ["", "smallest", "largest", "apart"], rows
    )


def work_table(found):
    rows = []
    for _, r, w in found:
        rows.append(
            [
                f"{round(r['cells'] ** 0.5)}²",
                w["linearisations"],
                w["factorisations"],
                w["solves"],
                w["all factorisations"],
                w["all solves"],
                w["all priors"],
                r["elbo"]["rank"],
                r["elbo"]["first_dropped_eigenvalue"],
                tables.elbo_of(r),
            ]
        )
    return tables.table(
        [
            "mesh",
            "linearisations, finest",
            "factorisations, finest",
            "right-hand sides, finest",
            "factorisations, equivalents",
            "right-hand sides, equivalents",
            "prior solves, equivalents",
            "rank",
            "first eigenvalue left out",
            "ELBO",
        ],
        rows,
    )


def report(given, results, folder):
    everything = [(c, r, work(r)) for c in given if (r := results.get(c))]
    found = [entry for entry in everything if ONE_MESH not in entry[0].settings]
    single = [entry for entry in everything if ONE_MESH in entry[0].settings]
    text = "From coarse to fine:\n\n" + work_table(found) + spread_table(found)
    text += "\nOn one mesh:\n\n" + work_table(single) + spread_table(single)
    rows = []
    for _, r, _ in found:
        coarse = [s for s in harness.stages(r, *harness.INFERENCE) if harness.cells_of(s, r) < r["cells"]]
        fine = [s for s in harness.stages(r, *harness.INFERENCE) if harness.cells_of(s, r) == r["cells"]]
        rows.append(
            [f"{round(r['cells'] ** 0.5)}²", harness.seconds(coarse)]
            + [
                harness.seconds([s for s in fine if s["name"].startswith(name)])
                for name in ("set-up", "MAP", "natural gradient")
            ]
            + [
                harness.seconds(harness.stages(r, *harness.DRAWS)),
                harness.seconds(harness.stages(r, *harness.AFTERWARDS)),
                r["cost"]["seconds"],
                r["peak_memory_mb"],
            ]
        )
    text += "\nSeconds by phase, from coarse to fine:\n\n" + tables.table(
        [
            "mesh",
            "coarser meshes",
            "set-up",
            "MAP",
            "natural gradient",
            "64 draws",
            "variances, output",
            "all",
            "peak memory [MB]",
        ],
        rows,
    )
    draw(found, single, folder)
    return text + "\n![Work, seconds and memory against the mesh](mesh.png)\n"


def draw(found, single, folder):
    plt = tables.pyplot()
    if plt is None or not found:
        return
    sides = [r["cells"] ** 0.5 for _, r, _ in found]
    figure, axes = plt.subplots(1, 3, figsize=(11, 4))
    for k, (key, label) in enumerate(
        (
            ("all solves", "right-hand sides"),
            ("all factorisations", "factorisations"),
            ("linearisations", "linearisations, finest mesh"),
        )
    ):
        axes[0].plot(sides, [w[key] for _, _, w in found], "o-", color=tables.PALETTE[k], label=label)
        axes[0].plot(
            [r["cells"] ** 0.5 for _, r, _ in single],
            [w[key] for _, _, w in single],
            "s:",
            color=tables.PALETTE[k],
            label=f"{label}, one mesh",
        )
    axes[0].set(title="work of the inference, fine-mesh equivalents", ylabel="count")
    for label, phase in (
        ("all", ()),
        ("inference", harness.INFERENCE),
        ("64 draws", harness.DRAWS),
        ("variances, output", harness.AFTERWARDS),
    ):
        axes[1].plot(sides, [harness.seconds(harness.stages(r, *phase)) for _, r, _ in found], "o-", label=label)
    axes[1].plot(
        sides,
        [found[-1][1]["cost"]["seconds"] * (s / sides[-1]) ** 2 for s in sides],
        "k:",
        lw=0.8,
        label="proportional to the cells",
    )
    axes[1].set(title="wall time", ylabel="seconds")
    axes[2].plot(sides, [r["peak_memory_mb"] for _, r, _ in found], "o-")
    axes[2].set(title="peak memory", ylabel="MB")
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel="cells in each direction")
        axis.set_xticks(sides, [f"{round(s)}" for s in sides])
        axis.xaxis.set_minor_locator(plt.NullLocator())
    for axis in axes[:2]:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=2, fontsize=7)
    figure.tight_layout()
    tables.save(figure, folder / "mesh.png")
