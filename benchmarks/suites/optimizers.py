"""`natural gradient` against `stochastic`: the cost of coming within 0.5 nat of the best ELBO.

ld100 on one mesh (16² and 32²), the families `low rank` and `mean field`. Both optimisers begin at the same q: the
Laplace approximation, with the Gauss-Newton curvature at the point where the search for the MAP point ends. That
point is the MAP point ("from the MAP point") or, with `Inference/MAP/Maximum iterations = 0`, the prior mean ("from
the prior mean"), which is where readers of the literature on variational inference expect a comparison to begin. The
cost of the MAP point, common to both, is counted in and shown.

Costs are factorisations (one for every evaluation of log p(d|m)) and right-hand sides for states, tangents and
adjoints; solves with the prior's constant matrices and the draws of the final estimate are left out. One step of
`stochastic` with K draws costs K factorisations and 2K right-hand sides; one sweep of `natural gradient` with K
draws costs K factorisations for its linearisations, K for each full step that is tried, and 102 K right-hand sides
or more for states, Jacobians and gradients.

Best: the largest (ELBO − its standard error) that any run of the mesh and family ended with, from either start.
Reached: the start itself, if it is within 0.5 nat ("at the start"); else
- `natural gradient`: runs of 1, 2, 3, … sweeps, each with its own estimate of the ELBO on fresh draws (standard error
  0.1 or 5000 draws); the first that is within 0.5 nat. Judging draws are
  off. Tuned over 4 and 16 draws. A first run that is within counts, even if the next is not.
- `stochastic`: the first mean ELBO of a window (200 draws or more) that is within 0.5 nat, or the end of the run if
  its final ELBO is (again on fresh draws). Windows are noisy (see their errors): that a lucky one counts is in favour
  of `stochastic`.

`stochastic` is tuned over step sizes 0.003, 0.01, 0.03, 0.1 and 2, 8, 32 draws (32²: 2, 8), with the program's rule for
the step size (reduced when a window does not rise) and, from the prior mean, also with constant steps (with 2 draws); at
most 32 000 factorisations each (32²: 12 000). Its `low rank` keeps the directions that it begins with: it moves the mean and the
covariance within their span, while `natural gradient` replaces the directions in every sweep.
"""
import harness
import tables
from .common import ONE_MESH, square

FAMILIES = ("low rank", "mean field")
STARTS = {"MAP point": (), "prior mean": (("Inference/MAP/Maximum iterations", "0"),)}
RULES = {
    "program's rule": (),
    "constant": (("Inference/stochastic/Step reduction", "1"), ("Inference/stochastic/Reductions", "100000")),
}
SIDES = {"quick": (16,), "default": (16, 32), "full": (16, 32)}
# Draws of a sweep of `natural gradient`: numbers of sweeps. 16 is the default of the program.
SWEEPS = {
    "quick": {4: (2, 4, 6, 8), 16: (1, 2, 3, 30)},
    "default": {4: (2, 4, 5, 6, 7, 8, 10, 30), 16: (1, 2, 3, 4, 5, 6, 7, 8, 30)},
    "full": {draws: (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 30) for draws in (4, 8, 16)},
}
STEPS = {
    "quick": ("0.03",),
    "default": ("0.003", "0.01", "0.03", "0.1"),
    "full": ("0.003", "0.01", "0.03", "0.1", "0.3"),
}
DRAWS = {"quick": {16: (2,)}, "default": {16: (2, 8, 32), 32: (2, 8)}, "full": {16: (2, 8, 32), 32: (2, 8, 32)}}
CONSTANT = {"quick": (), "default": (2,), "full": (2, 8, 32)}  # draws with which constant steps are tried
FINAL_DRAWS = {"quick": "1000", "default": "5000", "full": "5000"}
MOST_FACTORISATIONS = {
    "quick": {16: 6000},
    "default": {16: 32000, 32: 12000},
    "full": {16: 100000, 32: 100000},
}
WITHIN = 0.5


def common(side, family, start, size):
    return (
        square(side),
        ONE_MESH,
        ("Inference/Family", family),
        ("Inference/ELBO error", "0.1"),
        ("Inference/Maximum draws", FINAL_DRAWS[size]),
    ) + STARTS[start]


def at_start(base):
    """The start of both optimisers."""
    return harness.Configuration(base + (("Inference/Method", "laplace"),))


def natural(base, sweeps, draws):
    return harness.Configuration(
        base
        + (
            ("Inference/Optimizer", "natural gradient"),
            ("Inference/natural gradient/Judging draws", "0"),
            ("Inference/natural gradient/Maximum iterations", str(sweeps)),
        )
        + (() if draws == 16 else (("Inference/natural gradient/Draws", str(draws)),))
    )


def stochastic(base, step, draws, rule, most):
    return harness.Configuration(
        base
        + (
            ("Inference/Optimizer", "stochastic"),
            ("Inference/stochastic/Step size", step),
            ("Inference/stochastic/Draws", str(draws)),
            ("Inference/stochastic/Window", str(max(8, 200 // draws))),
            ("Inference/stochastic/Maximum iterations", str(most // draws)),
        )
        + RULES[rule]
    )


def comparisons(size):
    """{(side, family): {start: (the start's configuration, {draws: [natural gradient by sweeps]},
    {(step, draws, rule): stochastic})}}."""
    result = {}
    for side in SIDES[size]:
        for family in FAMILIES:
            for start in STARTS:
                base = common(side, family, start, size)
                grid = {
                    (step, draws, rule): stochastic(base, step, draws, rule, MOST_FACTORISATIONS[size][side])
                    for rule in RULES
                    for step in STEPS[size]
                    for draws in DRAWS[size][side]
                    if rule == "program's rule" or start == "prior mean" and draws in CONSTANT[size]
                }
                by_sweeps = {draws: [natural(base, n, draws) for n in sweeps] for draws, sweeps in SWEEPS[size].items()}
                result.setdefault((side, family), {})[start] = (at_start(base), by_sweeps, grid)
    return result


def all_of(entry):
    start, by_sweeps, grid = entry
    return [start] + [c for runs in by_sweeps.values() for c in runs] + list(grid.values())


def configurations(size):
    return [c for starts in comparisons(size).values() for entry in starts.values() for c in all_of(entry)]


def cost_at(row):
    """(factorisations, right-hand sides) at a row of the iterations."""
    return row["factorizations"], row["state_solves"] + row["linear_solves"]


def curve(record, phase):
    """[(factorisations, right-hand sides, ELBO, error)], the end of the run last."""
    rows = harness.iterations(record, phase)
    points = [cost_at(row) + (row["objective"], row["error"]) for row in rows] if phase == "stochastic" else []
    end = cost_at(rows[-1]) if rows else start_cost(record)
    return points + [end + (record["elbo"]["value"], record["elbo"]["error"])]


def start_cost(record):
    stages = harness.stages(record, "set-up", "MAP", "Laplace")
    return (
        harness.count(stages, "factorisations"),
        harness.count(stages, "state solves") + harness.count(stages, "tangents and adjoints"),
    )


def first_within(points, best):
    for point in points if best is not None else []:
        if point[2] is not None and point[2] >= best - WITHIN:
            return point
    return None


class Comparison:
    """What is known of one mesh, family and start."""

    def __init__(self, entry, results, best):
        start, by_sweeps, grid = entry
        self.best = best
        record = results.get(start)
        begin = curve(record, "natural gradient") if record else []
        self.start = begin[0] if begin else None
        self.map = cost_at(harness.iterations(record, "MAP")[-1]) if record else None
        self.natural, self.stochastic = {}, {}
        for draws, configurations_ in by_sweeps.items():
            runs = [r for c in configurations_ if (r := results.get(c))]
            if runs:
                self.natural[draws] = (begin + sorted(curve(r, "natural gradient")[-1] for r in runs), runs[-1])
        for key, configuration in grid.items():
            if r := results.get(configuration):
                self.stochastic[key] = (begin + curve(r, "stochastic"), r)

    def reached(self, optimizer):
        """{setting: the first point within the distance of the best, or None}."""
        return {key: first_within(points, self.best) for key, (points, _) in optimizer.items()}

    def tuned(self, optimizer, measure):
        """The fastest setting in this measure, 0: factorisations, 1: right-hand sides; else that with the best end."""
        there = {key: point for key, point in self.reached(optimizer).items() if point is not None}
        if there:
            return min(there, key=lambda key: there[key][measure])
        ends = {key: points[-1][2] for key, (points, _) in optimizer.items()}
        return max(ends, key=ends.get) if ends else None


def best_elbo(starts, results):
    """None as long as no run of all sweeps is there."""
    if not any(results.get(runs[-1]) for _, by_sweeps, _ in starts.values() for runs in by_sweeps.values()):
        return None
    records = [r for entry in starts.values() for c in all_of(entry) if (r := results.get(c))]
    return max(r["elbo"]["value"] - r["elbo"]["error"] for r in records)


def size_of(given):
    keys = {c.key() for c in given}
    return next(
        (size for size in ("default", "full", "quick") if keys == {c.key() for c in configurations(size)}), "default"
    )


def report(given, results, folder):
    size = size_of(given)
    summary, details, panels = [], [], []
    for (side, family), starts in comparisons(size).items():
        best = best_elbo(starts, results)
        for start, entry in starts.items():
            comparison = Comparison(entry, results, best)
            panels.append((side, family, start, comparison))
            summary.append(summary_row(side, family, start, comparison))
            details += detail_rows(side, family, start, comparison)
    draw(panels, folder)
    overview = tables.table(
        [
            "mesh",
            "family",
            "from",
            "best ELBO",
            "MAP: fact. / rhs",
            "ELBO at the start",
            "natural gradient, tuned: fact. / rhs",
            "draws",
            "stochastic, tuned: fact. / rhs",
            "step, draws, rule",
            "ratio: fact. / rhs",
            "stochastic that reached it",
        ],
        summary,
    )
    every = tables.table(
        [
            "mesh",
            "family",
            "from",
            "optimiser",
            "within: factorisations",
            "within: right-hand sides",
            "at the end: factorisations",
            "at the end: right-hand sides",
            "seconds",
            "ELBO at the end",
            "below the best",
        ],
        details,
    )
    return (
        f"{overview}\n![ELBO against the cost](optimizers.png)\n\n"
        f"Every run. Costs contain those of the MAP point and of "
        f"the start. \"within\": when it came within {WITHIN} nat of the best.\n\n{every}"
    )


def both(cost):
    return "–" if cost is None else f"{tables.cell(round(cost[0]))} / {tables.cell(round(cost[1]))}"


def summary_row(side, family, start, c):
    natural_key, key = c.tuned(c.natural, 0), c.tuned(c.stochastic, 0)
    reached = c.reached(c.stochastic)
    first, second = c.reached(c.natural).get(natural_key), reached.get(key)
    ratio = "–"
    if first is not None and first == c.start:
        ratio = "at the start"
    elif first is not None and second is not None:
        ratio = f"{second[0] / first[0]:.1f} / {second[1] / first[1]:.2f}"
    elif first is not None and c.stochastic:
        ratio = f"> {max(points[-1][0] for points, _ in c.stochastic.values()) / first[0]:.0f} / –"

    def cost(point, runs):
        return "never" if point is None and runs and c.best is not None else both(point)

    return [
        f"{side}²",
        family,
        start,
        None if c.best is None else f"{c.best:.2f}",
        both(c.map),
        None if c.start is None else f"{c.start[2]:.2f} ± {c.start[3]:.2f}",
        cost(first, c.natural),
        "–" if natural_key is None else str(natural_key),
        cost(second, c.stochastic),
        "–" if key is None else f"{key[0]}, {key[1]}, {key[2]}",
        ratio,
        f"{sum(p is not None for p in reached.values())} of {len(c.stochastic)}",
    ]


def detail_rows(side, family, start, c):
    entries = [
        (f"natural gradient, {draws} draws", c.reached(c.natural)[draws], points[-1], r)
        for draws, (points, r) in c.natural.items()
    ]
    entries += [
        (f"stochastic, step {key[0]}, {key[1]} draws, {key[2]}", c.reached(c.stochastic)[key], points[-1], r)
        for key, (points, r) in c.stochastic.items()
    ]
    rows = []
    for name, reached, end, r in entries:
        rows.append(
            [
                f"{side}²",
                family,
                start,
                name,
                "never" if reached is None else round(reached[0]),
                "never" if reached is None else round(reached[1]),
                round(end[0]),
                round(end[1]),
                harness.seconds(harness.stages(r, "MAP", "Laplace", "natural gradient", "stochastic")),
                tables.elbo_of(r),
                "–" if c.best is None else f"{c.best - end[2]:.2f}",
            ]
        )
    return rows


def draw(panels, folder):
    plt = tables.pyplot()
    panels = [p for p in panels if p[3].best is not None]
    if plt is None or not panels:
        return
    figure, axes = plt.subplots(len(panels), 2, figsize=(9, 2.6 * len(panels)), squeeze=False, sharey="row")
    for line, (side, family, start, c) in zip(axes, panels):
        for measure, axis in enumerate(line):
            draw_curves(axis, measure, c)
            axis.set(
                xscale="log",
                yscale="log",
                title=f"{side}², {family}, from the {start}",
                xlabel=("factorisations", "right-hand sides")[measure],
            )
            axis.axhline(WITHIN, color="k", lw=0.6, ls=":")
        line[0].set_ylabel("best ELBO − ELBO [nat]")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=2)
    figure.tight_layout()
    tables.save(figure, folder / "optimizers.png")


def draw_curves(axis, measure, c):
    """Gaps to the best; those below a tenth of a nat are noise and drawn there."""

    def gap(points):
        return [max(c.best - p[2], 0.1) for p in points]

    tuned = c.tuned(c.stochastic, 0)
    for key, (points, _) in c.stochastic.items():
        if key != tuned:
            axis.plot([p[measure] for p in points[:-1]], gap(points[:-1]), color="0.75", lw=0.7, zorder=1)
    if tuned is not None:
        points = c.stochastic[tuned][0]
        axis.plot(
            [p[measure] for p in points[:-1]],
            gap(points[:-1]),
            color=tables.PALETTE[1],
            zorder=3,
            label="stochastic, the fastest of the grid",
        )
        axis.plot([], [], color="0.75", lw=0.7, label="stochastic, the others of the grid")
    for k, (draws, (points, _)) in enumerate(sorted(c.natural.items(), reverse=True)):
        axis.plot(
            [p[measure] for p in points],
            gap(points),
            "o-",
            color=tables.PALETTE[(0, 5, 3)[k]],
            zorder=4,
            label=f"natural gradient, by sweeps of {draws} draws",
        )
    if c.map is not None:
        axis.axvline(c.map[measure], color=tables.PALETTE[2], lw=0.8, ls="--", label="MAP point found")
