"""messages, bytes and reductions at 1 to 8 ranks, a model fitted to them, and what it says of 10³ to 10⁵ ranks.

Counts, which no noise of a machine touches: from PETSc's log, whose stages are the program's phases and whose events
are its solvers ("multigrid CG, block", "MUMPS solve" and so on); the program's own reductions from summary.json; and
what goes from rank to rank, libraries included, from Open MPI's monitoring (where mpirun is Open MPI's). The latter
does not see persistent requests, with which PETSc exchanges ghost values, and PETSc does not see MUMPS ("all
libraries" are MUMPS, deal.II and p4est, by far the most the first). Runs are short
(one sweep of 4 draws, 4 draws of the posterior): operations are counted, and costs given for each.
"""
import math

import harness
import scaling_model
import tables
from .common import ONE_MESH, fixed_draws, square

DRAWS = 4  # of the short runs, and of a sweep whose control variate is the posterior on the mesh before
DRAWS_OF_GROUPS = 16  # of a sweep on the first mesh
LANES = 8  # right-hand sides that a block of multigrid works on at the same time
SQUARES = {
    "quick": {32: (1, 2)},
    "default": {64: (1, 2, 4, 8), 128: (1, 2, 4), 256: (1, 2, 4)},
    "full": {64: (1, 2, 4, 8), 128: (1, 2, 4, 8), 256: (1, 2, 4, 8), 512: (1, 2, 4)},
}
CUBES = {
    "quick": {16: (1, 2)},
    "default": {16: (1, 2, 4, 8), 32: (1, 2, 4)},
    "full": {16: (1, 2, 4, 8), 32: (1, 2, 4, 8), 64: (1, 2, 4)},
}
PHASES = ("MAP", "Laplace", "natural gradient")
FITTED_UP_TO = 4  # ranks; larger counts test the fit
UNKNOWNS = 1e9
LARGE = (1e3, 1e4, 1e5)


def short(sweeps=1, draws=DRAWS):
    return (
        ONE_MESH,
        ("Inference/natural gradient/Maximum iterations", str(sweeps)),
        ("Inference/natural gradient/Draws", str(draws)),
        ("Inference/natural gradient/Judging draws", "0"),
        ("Output/Exact variance limit", "0"),
        ("Output/Variance draws", "16"),
    ) + fixed_draws(4)


def flat(side, ranks, groups=1, sweeps=1, draws=DRAWS):
    return harness.Configuration(
        (square(side), ("Parallel/Sample groups", str(groups))) + short(sweeps, draws),
        "ld100",
        ranks,
        counts_messages=True,
    )


def cube(side, ranks):
    return harness.Configuration(
        (
            ("Mesh/Subdivisions", f"{side}, {side}, {side}"),
            ("Linear solver/Type", "multigrid"),
            ("Parallel/Sample groups", "1"),
        )
        + short(),
        "box_3d",
        ranks,
        counts_messages=True,
    )


def real_sweeps(side):
    """Two sweeps: their right-hand sides, which do not depend on ranks or solver."""
    return harness.Configuration(
        (
            ("Mesh/Subdivisions", f"{side}, {side}, {side}"),
            ("Linear solver/Type", "direct"),
            ("Parallel/Sample groups", "1"),
        )
        + short(2),
        "box_3d",
    )


def in_groups(side, groups):
    """Runs of one and of three sweeps, if there are several groups: two sweeps send the difference between them."""
    if groups == 1:
        return [flat(side, 1, 1, 1, DRAWS_OF_GROUPS)]
    return [flat(side, groups, groups, sweeps, DRAWS_OF_GROUPS) for sweeps in (1, 3)]


def configurations(size):
    smallest = min(SQUARES[size])
    return (
        [flat(side, p) for side, ranks in SQUARES[size].items() for p in ranks]
        + [c for groups in (1, 2, 4) if size != "quick" for c in in_groups(smallest, groups)]
        + [cube(side, p) for side, ranks in CUBES[size].items() for p in ranks]
        + [real_sweeps(min(CUBES[size]))]
    )


def petsc_event(record, event, *phases):
    """Sums of an event over the stages of these phases (all stages without any)."""
    total = {}
    for stage, events in record["petsc"].items():
        if not phases or stage.split(",")[0] in phases:
            for key, value in events.get(event, {}).items():
                total[key] = total.get(key, 0) + value
    return total


def per(total, key, count):
    return total.get(key, 0) / count if count else math.nan


def name(record):
    dim = 3 if record["configuration"]["case"] == "box_3d" else 2
    side = round(record["cells"] ** (1 / dim))
    split = f", {record['groups']} groups" if record["groups"] > 1 else ""
    return f"{side}{'²' if dim == 2 else '³'}, {record['ranks']} ranks{split}"


def phase_table(found):
    rows = []
    for r in found:
        for stage in r["stages"]:
            s = r["petsc"].get(stage["name"], {}).get("summary")
            if stage["name"].split(",")[0] not in PHASES + ("draws of the posterior",) or not s:
                continue
            rows.append(
                [
                    name(r),
                    stage["name"].split(",")[0],
                    s["messages_max"],
                    s["bytes_max"] / 1e6,
                    s["reductions"],
                    stage["counts"].get("communication", 0),
                    stage["counts"].get("factorisations", 0),
                    stage["counts"].get("state solves", 0) + stage["counts"].get("tangents and adjoints", 0),
                    stage["counts"].get("prior", 0),
                ]
            )
    return tables.table(
        [
            "mesh, ranks",
            "phase",
            "messages (busiest rank)",
            "MB (busiest rank)",
            "PETSc's reductions",
            "the program's reductions",
            "factorisations or set-ups",
            "right-hand sides",
            "prior solves",
        ],
        rows,
    )


def total_table(found):
    rows = []
    for r in found:
        if r["mpi"] is None:
            continue
        petsc = petsc_event(r, "summary")
        p2p, collective = r["mpi"]["point to point"], r["mpi"]["collective"]
        rows.append(
            [
                name(r),
                petsc["messages"],
                petsc["bytes"] / 1e6,
                p2p["messages"],
                p2p["bytes"] / 1e6,
                collective["messages"],
                collective["bytes"] / 1e6,
            ]
        )
    return tables.table(
        [
            "mesh, ranks",
            "PETSc's log: messages",
            "PETSc's log: MB",
            "Open MPI, point to point: messages",
            "MB",
            "Open MPI, inside collectives: messages",
            "MB",
        ],
        rows,
    )


def direct_table(found):
    """What MUMPS costs for one right-hand side, its share of the factorisation included."""
    rows = []
    for r in found:
        if r["ranks"] == 1 or r["groups"] > 1:
            continue
        n = r["state_unknowns"]
        home, solve, halo = (petsc_event(r, e) for e in ("solution home", "MUMPS solve", "ghost values"))
        factorisations = harness.count(r["stages"], "factorisations")
        columns = sum(harness.count(r["stages"], kind) for kind in ("state solves", "tangents and adjoints", "prior"))
        mumps = None if r["mpi"] is None else r["mpi"]["point to point"]
        rows.append(
            [
                name(r),
                per(halo, "messages_max", halo.get("count")),
                per(halo, "bytes_max", halo.get("count")),
                solve.get("count"),
                columns,
                factorisations,
                None if mumps is None else mumps["messages"] / solve.get("count"),
                None if mumps is None else mumps["bytes"] / columns / (8 * n),
                per(home, "bytes", columns) / (8 * n),
            ]
        )
    return tables.table(
        [
            "mesh, ranks",
            "exchange of ghost values: messages (busiest rank)",
            "bytes (busiest rank)",
            "block solves",
            "columns of them",
            "factorisations",
            "messages of all libraries, all ranks, a block solve",
            "bytes of all libraries over 8n, all ranks, a column",
            "solution sent home: bytes over 8n, all ranks, a column",
        ],
        rows,
    )


def iteration(record):
    """One iteration of conjugate gradients with multigrid on a block of right-hand sides, on the average of a run;
    bytes and flop for one of them."""
    solve, cycle = petsc_event(record, "multigrid CG, block"), petsc_event(record, "multigrid cycle, block")
    single, set_up = petsc_event(record, "multigrid cycle"), petsc_event(record, "multigrid set-up")
    n, its = record["state_unknowns"], cycle.get("count", 0)
    if not its:
        return None
    return {
        "n": n,
        "ranks": record["ranks"],
        "iterations": its / solve["count"],
        "messages": solve["messages_max"] / its,
        "bytes": solve["bytes_max"] / its / LANES,
        "reductions": solve["reductions"] / its,
        "flop": solve["flop"] / its / n / LANES,
        # With those of the few products outside.
        "exchanges": petsc_event(record, "ghost values").get("count", 0) / (its + single.get("count", 0)),
        "set-ups": set_up["flop"] / set_up["count"] / n,
        "coarsest": None
        if record["mpi"] is None or record["ranks"] == 1
        else record["mpi"]["point to point"]["messages"] / petsc_event(record, "MUMPS solve").get("count", math.nan),
    }


def fitted(iterations, dim=3):
    several = [i for i in iterations if 1 < i["ranks"] <= FITTED_UP_TO]
    if not several:
        return None
    one = max((i for i in iterations if i["ranks"] == 1), key=lambda i: i["n"], default=several[-1])
    a, a_spread = scaling_model.fit(
        [
            i["bytes"] / (8 * scaling_model.faces(i["ranks"], dim) * (i["n"] / i["ranks"]) ** (1 - 1 / dim))
            for i in several
        ]
    )
    b, b_spread = scaling_model.fit(
        [i["messages"] / (i["exchanges"] * scaling_model.neighbours(i["ranks"], dim)) for i in several]
    )
    largest = max(several, key=lambda i: i["n"])
    return scaling_model.IterationModel(dim, a, b, largest["reductions"], one["flop"]), a_spread, b_spread


def iteration_table(iterations, model):
    rows = []
    for i in iterations:
        row = [
            f"{round(i['n'] ** (1 / 3)) - 1}³, {i['ranks']}",
            i["iterations"],
            i["flop"],
            i["exchanges"],
            model.exchanges(i["n"]),
            i["messages"],
        ]
        row.append(None if i["ranks"] == 1 else model.messages(i["exchanges"], i["ranks"]))
        row += [i["bytes"], None if i["ranks"] == 1 else model.bytes(i["n"], i["ranks"]), i["reductions"]]
        row += [i["coarsest"], i["set-ups"]]
        rows.append(row)
    return tables.table(
        [
            "mesh, ranks",
            "iterations a solve",
            "flop / unknown / right-hand side",
            "exchanges",
            "model",
            "messages (busiest rank)",
            "model",
            "bytes / right-hand side (busiest rank)",
            "model",
            "reductions",
            "messages of all libraries, all ranks, a solve on the coarsest level",
            "set-up: flop / unknown",
        ],
        rows,
    )


def sweep_of(record):
    """Right-hand sides of one sweep, {kind: number}, and the program's reductions; from a run of two."""
    stage = harness.stages(record, "natural gradient")
    solves = {kind: harness.count(stage, kind) / 2 for kind in ("state solves", "tangents and adjoints", "prior")}
    return solves, harness.count(stage, "communication") / 2


def between_groups(results, side, groups):
    """Bytes over 8n that a rank sends in collective operations in one sweep of a run whose groups are single ranks."""
    one, three = (results.get(c) for c in in_groups(side, groups))
    if not one or not three or not one["mpi"]:
        return None
    return (
        (three["mpi"]["collective"]["bytes"] - one["mpi"]["collective"]["bytes"])
        / 2
        / groups
        / (8 * one["state_unknowns"])
    )


# (what is done, groups, right-hand sides that share their messages)
SCENARIOS = (
    ("one group", 1, LANES),
    ("two groups, one for each pair of draws", 2, LANES),
    ("and 64 right-hand sides at a time", 2, 64),
)


def prediction_table(model, solves, reductions, its, measurements, columns_between, machine):
    rows = []
    for large in LARGE:
        ranks = scaling_model.nearest_power_of_two(large)
        for label, groups, columns in SCENARIOS:
            in_space = max(1, ranks // groups)
            of_a_group = sum(solves.values()) / groups
            terms = model.seconds(UNKNOWNS, in_space, machine, columns)
            own = reductions * math.log2(ranks) * machine.latency
            # The whitened Jacobians of all draws of a group: a column for each measurement.
            memory = DRAWS / groups * measurements * 8 * UNKNOWNS / in_space
            cross = 0 if groups == 1 else columns_between * 8 * UNKNOWNS / in_space / machine.bandwidth
            total = sum(terms.values()) * of_a_group * its + own + cross
            rows.append(
                [f"{ranks:,}".replace(",", " "), label, f"{in_space} × {groups}", of_a_group]
                + [t * of_a_group * its for t in terms.values()]
                + [cross, total, terms["arithmetic"] * of_a_group * its / total, memory / 1e9]
            )
    return tables.table(
        [
            "ranks",
            "",
            "space × samples",
            "right-hand sides of a group",
            "arithmetic [s]",
            "message latency [s]",
            "bytes [s]",
            "reductions of the solver [s]",
            "sums over groups [s]",
            "a sweep [s]",
            "share of arithmetic",
            "Jacobians [GB a rank]",
        ],
        rows,
    )


def report(given, results, folder):
    found = [r for c in given if c.counts_messages and (r := results.get(c))]
    plane = [r for r in found if r["configuration"]["case"] == "ld100" and r["groups"] == 1]
    space = [r for r in found if r["configuration"]["case"] == "box_3d"]
    text = "### By phase\n\n" + phase_table([r for r in plane + space if r["ranks"] > 1])
    text += "\n### The whole run, all ranks\n\n" + total_table(plane + space)
    text += "\n### 2D, direct solver\n\n" + direct_table(plane)
    iterations = [i for r in space if (i := iteration(r))]
    fit = fitted(iterations)
    if fit is None:
        return text
    model, a_spread, b_spread = fit
    text += f"\n### 3D, multigrid: one iteration of conjugate gradients on {LANES} right-hand sides\n\n" + iteration_table(iterations, model)
    text += (
        f"\nFitted to at most {FITTED_UP_TO} ranks: a = {model.a:.3g} (each within a factor {a_spread:.2f}), "
        f"b = {model.b:.3g} (within {b_spread:.2f}); "
        f"measured: {model.reductions:.3g} reductions, {model.flop:.3g} flop an unknown.\n"
    )
    text += groups_text(given, results)
    sweep = results.get(given[-1])
    if sweep is None:
        return text
    solves, reductions = sweep_of(sweep)
    its = max(i["iterations"] for i in iterations)
    measurements = sweep["measurements"]["used"]
    smallest = min(round(r["cells"] ** 0.5) for r in plane)
    columns = between_groups(results, smallest, 2) or math.nan
    machine = scaling_model.Machine()
    text += (
        f"\n### Prediction: 10⁹ unknowns in 3D, one sweep of {DRAWS} draws and {measurements} measurements"
        "\n\n"
        f"Right-hand sides of a sweep (counted at {round(sweep['cells'] ** (1 / 3))}³): "
        f"{', '.join(f'{v:.0f} {k}' for k, v in solves.items())}, each of {its:.0f} iterations with "
        f"{model.exchanges(UNKNOWNS)} exchanges; {reductions:.0f} reductions of the program; "
        f"{columns:.0f} numbers an unknown between groups; latency {1e6 * machine.latency:g} µs, "
        f"{machine.bandwidth / 1e9:.3g} GB/s and {machine.speed / 1e9:g} Gflop/s a rank.\n\n"
    )
    text += prediction_table(model, solves, reductions, its, measurements, columns, machine)
    draw(model, sum(solves.values()), its, machine, folder)
    return text + "\n![Predicted seconds of a sweep against the ranks](messages.png)\n"


def groups_text(given, results):
    smallest = min((int(dict(c.settings)["Mesh/Subdivisions"].split(",")[0]) for c in given if c.case == "ld100"))
    rows = []
    for groups in (1, 2, 4):
        record = results.get(in_groups(smallest, groups)[0])
        if record is None:
            continue
        stage = harness.stages(record, "natural gradient")
        rows.append(
            [groups]
            + [
                harness.count(stage, kind)
                for kind in ("factorisations", "state solves", "tangents and adjoints", "prior")
            ]
            + [0 if groups == 1 else between_groups(results, smallest, groups)]
        )
    if not rows:
        return ""
    return (
        f"\n### Sample groups of one rank, ld100 at {smallest}²\n\n"
        f"Work of the first group in one sweep of {DRAWS_OF_GROUPS} draws, and "
        "what a rank sends to the other groups:\n\n"
        + tables.table(
            [
                "groups",
                "factorisations",
                "state solves",
                "tangents and adjoints",
                "prior solves",
                "sent: numbers of 8 bytes an unknown",
            ],
            rows,
        )
    )


def draw(model, solves, its, machine, folder):
    plt = tables.pyplot()
    if plt is None:
        return
    ranks = [2**k for k in range(7, 21)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, columns in zip(axes, (LANES, 64)):
        terms = [model.seconds(UNKNOWNS, p, machine, columns) for p in ranks]
        for key in terms[0]:
            axis.plot(ranks, [solves * its * t[key] for t in terms], label=key)
        axis.plot(ranks, [solves * its * sum(t.values()) for t in terms], "k", lw=2, label="sum")
        axis.set(
            xscale="log",
            yscale="log",
            xlabel="ranks in space (one group)",
            title=f"{columns} right-hand sides at a time",
        )
    axes[0].set_ylabel("seconds of a sweep")
    axes[0].legend()
    figure.suptitle("Model: 10⁹ unknowns in 3D", fontsize=10)
    figure.tight_layout()
    tables.save(figure, folder / "messages.png")
