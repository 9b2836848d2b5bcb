"""messages, bytes and reductions at 1 to 8 ranks, a model fitted to them, and what it says of 10³ to 10⁵ ranks.

Counts, which no noise of a machine touches: from PETSc's log, whose stages are the program's phases; the program's own reductions from
summary.json; and everything that goes from rank to rank, libraries included, from Open MPI's monitoring (where mpirun is Open MPI's). What
the last sees and the first does not is MUMPS, p4est and deal.II. Runs are short (one sweep of 4 draws, 4 draws of the posterior):
operations are counted, and costs given for each.
"""
import math

import harness
import scaling_model
import tables
from .common import ONE_MESH, fixed_draws, square

SHORT = (ONE_MESH, ("Inference/natural gradient/Maximum iterations", "1"), ("Inference/natural gradient/Draws", "4"),
         ("Inference/natural gradient/Judging draws", "0"), ("Output/Exact variance limit", "0"),
         ("Output/Variance draws", "16")) + fixed_draws(4)
SQUARES = {"quick": {32: (1, 2)}, "default": {64: (1, 2, 4, 8), 128: (1, 2, 4), 256: (1, 2, 4)},
           "full": {64: (1, 2, 4, 8), 128: (1, 2, 4, 8), 256: (1, 2, 4, 8), 512: (1, 2, 4)}}
CUBES = {"quick": {8: (1, 2)}, "default": {16: (1, 2, 4, 8), 32: (1, 2, 4)}, "full": {16: (1, 2, 4, 8), 32: (1, 2, 4, 8), 64: (1, 2, 4)}}
PHASES = ("MAP", "Laplace", "natural gradient")
FITTED_UP_TO = 4  # ranks; larger counts test the fit
UNKNOWNS = 1e9
LARGE = (1e3, 1e4, 1e5)
DRAWS_OF_A_SWEEP = 16


def flat(side, ranks, groups=1):
    return harness.Configuration((square(side), ("Parallel/Sample groups", str(groups))) + SHORT, "ld100", ranks,
                                 counts_messages=True)


def cube(side, ranks):
    return harness.Configuration((("Mesh/Subdivisions", f"{side}, {side}, {side}"), ("Linear solver/Type", "multigrid"),
                                  ("Parallel/Sample groups", "1")) + SHORT, "box_3d", ranks, counts_messages=True)


def configurations(size):
    smallest = min(SQUARES[size])
    return [flat(side, p) for side, ranks in SQUARES[size].items() for p in ranks] + \
        [flat(smallest, p, p) for p in (2, 4) if size != "quick"] + \
        [cube(side, p) for side, ranks in CUBES[size].items() for p in ranks]


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
            rows.append([name(r), stage["name"].split(",")[0], s["messages_max"], s["bytes_max"] / 1e6, s["reductions"],
                         stage["counts"].get("communication", 0), stage["counts"].get("factorisations", 0),
                         stage["counts"].get("state solves", 0) + stage["counts"].get("tangents and adjoints", 0),
                         stage["counts"].get("prior", 0)])
    return tables.table(["mesh, ranks", "phase", "messages (busiest rank)", "MB (busiest rank)", "PETSc's reductions",
                         "the program's reductions", "factorisations or set-ups", "right-hand sides", "prior solves"], rows)


def total_table(found):
    rows = []
    for r in found:
        if r["mpi"] is None:
            continue
        petsc = petsc_event(r, "summary")
        p2p, collective = r["mpi"]["point to point"], r["mpi"]["collective"]
        rows.append([name(r), petsc["messages"], petsc["bytes"] / 1e6, p2p["messages"], p2p["bytes"] / 1e6,
                     collective["messages"], collective["bytes"] / 1e6])
    return tables.table(["mesh, ranks", "PETSc: messages", "PETSc: MB", "all point to point: messages", "all point to point: MB",
                         "inside collectives: messages", "inside collectives: MB"], rows)


def direct_table(found):
    """What MUMPS costs for one factorisation and one right-hand side."""
    rows = []
    for r in found:
        if r["ranks"] == 1 or r["groups"] > 1:
            continue
        n = r["state_unknowns"]
        block, one = petsc_event(r, "MatMatSolve"), petsc_event(r, "MatSolve")
        solves = sum(harness.count(r["stages"], kind) for kind in ("state solves", "tangents and adjoints"))
        # A prior solve is one with C = A⁻¹ M A⁻¹, or one with its square root.
        factorisations = harness.count(r["stages"], "factorisations")
        matmult = petsc_event(r, "MatMult")
        outside = None if r["mpi"] is None else r["mpi"]["point to point"]["bytes"] - petsc_event(r, "summary")["bytes"]
        columns = solves + harness.count(r["stages"], "prior") - one.get("count", 0)
        rows.append([name(r), per(matmult, "messages_max", matmult.get("count")), per(matmult, "bytes_max", matmult.get("count")),
                     per(block, "bytes", columns) / (8 * n), per(one, "bytes", one.get("count")) / (8 * n),
                     None if outside is None else outside / factorisations / n])
    return tables.table(["mesh, ranks", "product with a matrix: messages (busiest rank)", "product: bytes (busiest rank)",
                         "a column of a block solve: bytes over 8n, all ranks", "a single solve: bytes over 8n, all ranks",
                         "outside PETSc (MUMPS): bytes / factorisation / n"], rows)


def iteration(record):
    """One iteration of conjugate gradients with multigrid, on the average of a run."""
    solve, cycle = petsc_event(record, "KSPSolve"), petsc_event(record, "PCApply")
    n, its = record["state_unknowns"], cycle.get("count", 0)
    if not its:
        return None
    return {"n": n, "ranks": record["ranks"], "iterations": its / solve["count"], "messages": solve["messages_max"] / its,
            "bytes": solve["bytes_max"] / its, "reductions": solve["reductions"] / its, "flop": solve["flop"] / its / n,
            "exchanges": petsc_event(record, "VecScatterBegin")["count"] / its,
            "set-ups": petsc_event(record, "PCSetUp")["flop"] / max(1, harness.count(record["stages"], "factorisations")) / n}


def fitted(iterations, dim=3):
    several = [i for i in iterations if 1 < i["ranks"] <= FITTED_UP_TO]
    if not several:
        return None
    one = max((i for i in iterations if i["ranks"] == 1), key=lambda i: i["n"], default=several[-1])
    a, a_spread = scaling_model.fit([i["bytes"] / (8 * scaling_model.faces(i["ranks"], dim) * (i["n"] / i["ranks"]) ** (1 - 1 / dim))
                                     for i in several])
    b, b_spread = scaling_model.fit([i["messages"] / (i["exchanges"] * scaling_model.neighbours(i["ranks"], dim)) for i in several])
    largest = max(several, key=lambda i: i["n"])
    return scaling_model.IterationModel(dim, a, b, largest["reductions"], one["flop"]), a_spread, b_spread


def iteration_table(iterations, model):
    rows = []
    for i in iterations:
        row = [f"{round(i['n'] ** (1 / 3)) - 1}³, {i['ranks']}", i["iterations"], i["flop"], i["exchanges"], i["messages"]]
        row.append(None if i["ranks"] == 1 else model.messages(i["exchanges"], i["ranks"]))
        row += [i["bytes"], None if i["ranks"] == 1 else model.bytes(i["n"], i["ranks"]), i["reductions"], i["set-ups"]]
        rows.append(row)
    return tables.table(["mesh, ranks", "iterations a solve", "flop / unknown", "exchanges", "messages (busiest rank)",
                         "model", "bytes (busiest rank)", "model", "reductions", "set-up: flop / unknown"], rows)


def sweep_of(record):
    """Right-hand sides of one sweep, prior solves included, and the program's reductions, for the draws of a real sweep."""
    stage = harness.stages(record, "natural gradient")
    solves = petsc_event(record, "KSPSolve", "natural gradient")["count"]
    # The short run has one sweep of 4 draws, and 4 trial solves.
    return solves / 4 * DRAWS_OF_A_SWEEP, harness.count(stage, "communication")


def prediction_table(model, solves, reductions, its, measurements, machine):
    rows = []
    for large in LARGE:
        ranks = scaling_model.nearest_power_of_two(large)
        for groups, columns in ((1, 1), (1, 64), (16, 1)):
            in_space = max(1, ranks // groups)
            terms = model.seconds(UNKNOWNS, in_space, machine, columns)
            scale = solves * its / groups
            own = reductions * math.log2(ranks) * machine.latency
            # The whitened Jacobians of all draws of a group: N columns each.
            memory = DRAWS_OF_A_SWEEP / groups * measurements * 8 * UNKNOWNS / in_space
            # Sums over the groups: N columns for each draw of all groups, there and back.
            cross = 0 if groups == 1 else 2 * DRAWS_OF_A_SWEEP * measurements * 8 * UNKNOWNS / in_space / machine.bandwidth
            total = sum(terms.values()) * scale + own + cross
            rows.append([f"{ranks:,}".replace(",", " "), f"{in_space} × {groups}", str(columns)] +
                        [t * scale for t in terms.values()] +
                        [own, cross, total, terms["arithmetic"] * scale / total, memory / 1e9])
    return tables.table(["ranks", "space × samples", "columns that share messages", "arithmetic [s]", "message latency [s]",
                         "bytes [s]", "reductions of the solver [s]", "of the program [s]", "sums over groups [s]", "a sweep [s]",
                         "share of arithmetic", "Jacobians [GB a rank]"], rows)


def report(given, results, folder):
    found = [r for c in given if (r := results.get(c))]
    plane = [r for r in found if r["configuration"]["case"] == "ld100"]
    space = [r for r in found if r["configuration"]["case"] == "box_3d"]
    text = "### By phase\n\n" + phase_table([r for r in found if r["ranks"] > 1])
    text += "\n### The whole run, all ranks\n\n" + total_table(found)
    text += "\n### 2D, direct solver\n\n" + direct_table(plane)
    iterations = [i for r in space if (i := iteration(r))]
    fit = fitted(iterations)
    if fit is None:
        return text
    model, a_spread, b_spread = fit
    text += "\n### 3D, multigrid: one iteration of conjugate gradients\n\n" + iteration_table(iterations, model)
    text += f"\nFitted to at most {FITTED_UP_TO} ranks: a = {model.a:.3g} (each within a factor {a_spread:.2f}), b = {model.b:.3g} " \
        f"(within {b_spread:.2f}); measured: {model.reductions:.3g} reductions, {model.flop:.3g} flop an unknown.\n"
    largest = max((r for r in space), key=lambda r: (r["cells"], -r["ranks"]))
    solves, reductions = sweep_of(largest)
    its = max(i["iterations"] for i in iterations)
    measurements = largest["measurements"]["used"]
    machine = scaling_model.Machine()
    text += f"\n### Prediction: 10⁹ unknowns in 3D, one sweep of {DRAWS_OF_A_SWEEP} draws and {measurements} measurements\n\n" \
        f"{solves:.0f} right-hand sides of {its:.0f} iterations, {model.exchanges(UNKNOWNS)} exchanges an iteration; latency " \
        f"{1e6 * machine.latency:g} µs, {machine.bandwidth / 1e9:.3g} GB/s and {machine.speed / 1e9:g} Gflop/s a rank.\n\n"
    text += prediction_table(model, solves, reductions, its, measurements, machine)
    draw(model, solves, its, machine, folder)
    return text + "\n![Predicted seconds of a sweep against the ranks](messages.png)\n"


def draw(model, solves, its, machine, folder):
    plt = tables.pyplot()
    if plt is None:
        return
    ranks = [2 ** k for k in range(7, 21)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, columns in zip(axes, (1, 64)):
        terms = [model.seconds(UNKNOWNS, p, machine, columns) for p in ranks]
        for key in terms[0]:
            axis.plot(ranks, [solves * its * t[key] for t in terms], label=key)
        axis.plot(ranks, [solves * its * sum(t.values()) for t in terms], "k", lw=2, label="sum")
        axis.set(xscale="log", yscale="log", xlabel="ranks in space (one group)",
                 title=f"{columns} right-hand side{'s' if columns > 1 else ''} at a time")
    axes[0].set_ylabel("seconds of a sweep")
    axes[0].legend()
    figure.suptitle("Model: 10⁹ unknowns in 3D", fontsize=10)
    figure.tight_layout()
    tables.save(figure, folder / "messages.png")
