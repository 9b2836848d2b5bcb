"""`natural gradient` against `stochastic`: the cost of coming within 0.5 nat of the best ELBO.

ld100 on one mesh (16² and 32²), the families `low rank` and `mean field`. Both optimisers begin at the same q: the
Laplace approximation, with the Gauss-Newton curvature at the point where the search for the MAP point ends. That
point is the MAP point ("from the MAP point") or, with `Inference/MAP/Maximum iterations = 0`, the prior mean ("from
the prior mean"), which is where readers of the literature on variational inference expect a comparison to begin. The
cost of the MAP point, common to both, is counted in and shown.

Costs are factorisations (one for every evaluation of log p(d|m)) and right-hand sides for states, tangents and
adjoints; solves with the prior's constant matrices and the draws of the final estimate are left out. One step of
`stochastic` with K draws costs K factorisations and 2K right-hand sides; one sweep of `natural gradient` with 16
draws costs 16 factorisations for its linearisations, 16 for each step that is tried, and 16 · 101 right-hand sides
for the Jacobians and gradients.

Best: the largest (ELBO − its standard error) that any run of the mesh and family ended with, from either start.
Reached: the start itself, if it is within 0.5 nat ("at the start"); else
- `natural gradient`: runs of 1, 2, 3, … sweeps, each with its own estimate of the ELBO on fresh draws (standard error
  0.1 or 5000 draws); the first that is within 0.5 nat. Judging draws are off.
- `stochastic`: the first mean ELBO of a window (200 draws or more) that is within 0.5 nat, or the end of the run if
  its final ELBO is (again on fresh draws). Windows are noisy (see their errors): that a lucky one counts is in favour
  of `stochastic`.

`stochastic` is tuned over step sizes 0.003, 0.01, 0.03, 0.1 and 2, 8, 32 draws, with the program's rule for the step
size (reduced when a window does not rise) and, from the prior mean, also with constant steps (with 2 draws); at most
32 000 factorisations each. Its `low rank` keeps the directions that it begins with: it moves the mean and the
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
SWEEPS = {
    "quick": (0, 1, 2, 3, 30),
    "default": (0, 1, 2, 3, 4, 5, 6, 7, 8, 30),
    "full": (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 30),
}
STEPS = {
    "quick": ("0.03",),
    "default": ("0.003", "0.01", "0.03", "0.1"),
    "full": ("0.003", "0.01", "0.03", "0.1", "0.3"),
}
DRAWS = {"quick": (2,), "default": (2, 8, 32), "full": (2, 8, 32)}
CONSTANT = {"quick": (), "default": (2,), "full": (2, 8, 32)}  # draws with which constant steps are tried
FINAL_DRAWS = {"quick": "1000", "default": "5000", "full": "5000"}
MOST_FACTORISATIONS = {"quick": 6000, "default": 32000, "full": 100000}
WITHIN = 0.5


def common(side, family, start, size):
    return (
        square(side),
        ONE_MESH,
        ("Inference/Family", family),
        ("Inference/ELBO error", "0.1"),
        ("Inference/Maximum draws", FINAL_DRAWS[size]),
    ) + STARTS[start]


def natural(base, sweeps):
    """No sweep: the start, of `stochastic` too."""
    if sweeps == 0:
        return harness.Configuration(base + (("Inference/Method", "laplace"),))
    return harness.Configuration(
        base
        + (
            ("Inference/Optimizer", "natural gradient"),
            ("Inference/natural gradient/Judging draws", "0"),
            ("Inference/natural gradient/Maximum iterations", str(sweeps)),
        )
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
    """{(side, family): {start: ([natural gradient by sweeps], {(step, draws, rule): stochastic})}}."""
    result = {}
    for side in SIDES[size]:
        for family in FAMILIES:
            for start in STARTS:
                base = common(side, family, start, size)
                grid = {
                    (step, draws, rule): stochastic(base, step, draws, rule, MOST_FACTORISATIONS[size])
                    for rule in RULES
                    for step in STEPS[size]
                    for draws in DRAWS[size]
                    if rule == "program's rule" or start == "prior mean" and draws in CONSTANT[size]
                }
                result.setdefault((side, family), {})[start] = ([natural(base, n) for n in SWEEPS[size]], grid)
    return result


def configurations(size):
    return [
        c
        for starts in comparisons(size).values()
        for by_sweeps, grid in starts.values()
        for c in by_sweeps + list(grid.values())
    ]


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
    for point in points:
        if point[2] is not None and point[2] >= best - WITHIN:
            return point
    return None


class Comparison:
    """What is known of one mesh, family and start."""

    def __init__(self, by_sweeps, grid, results, best):
        self.best = best
        runs = [r for c in by_sweeps if (r := results.get(c))]
        self.natural = sorted(curve(r, "natural gradient")[-1] for r in runs)
        self.natural_end = runs[-1] if runs else None
        self.complete = results.get(by_sweeps[-1]) is not None
        start = results.get(by_sweeps[0])
        start = curve(start, "natural gradient") if start else []
        self.start = start[0] if start else None
        self.reached = first_within(self.natural, best) if best is not None else None
        self.stochastic = {key: (start + curve(r, "stochastic"), r) for key, c in grid.items() if (r := results.get(c))}
        self.reached_stochastic = {
            key: first_within(points, best) if best is not None else None
            for key, (points, _) in self.stochastic.items()
        }

    def map_cost(self):
        if self.natural_end is None or not harness.iterations(self.natural_end, "MAP"):
            return None
        return cost_at(harness.iterations(self.natural_end, "MAP")[-1])

    def tuned(self, measure):
        """The fastest setting in this measure, 0: factorisations, 1: right-hand sides; else that with the best end."""
        there = {key: point for key, point in self.reached_stochastic.items() if point is not None}
        if there:
            return min(there, key=lambda key: there[key][measure])
        ends = {key: points[-1][2] for key, (points, _) in self.stochastic.items()}
        return max(ends, key=ends.get) if ends else None


def best_elbo(starts, results):
    """None as long as no run of all sweeps is there."""
    if not any(results.get(by_sweeps[-1]) for by_sweeps, _ in starts.values()):
        return None
    values = [
        r["elbo"]["value"] - r["elbo"]["error"]
        for by_sweeps, grid in starts.values()
        for c in by_sweeps + list(grid.values())
        if (r := results.get(c))
    ]
    return max(values) if values else None


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
        for start, (by_sweeps, grid) in starts.items():
            comparison = Comparison(by_sweeps, grid, results, best)
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
            "natural gradient: fact. / rhs",
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
    key = c.tuned(0)
    at_start = c.start is not None and c.reached == c.start
    point = c.reached_stochastic.get(key)
    n_there = sum(p is not None for p in c.reached_stochastic.values())
    ratio = "at the start" if at_start else "–"
    if at_start:
        pass
    elif c.reached is not None and point is not None:
        ratio = f"{point[0] / c.reached[0]:.1f} / {point[1] / c.reached[1]:.2f}"
    elif c.reached is not None and c.stochastic and point is None:
        most = max(points[-1][0] for points, _ in c.stochastic.values())
        ratio = f"> {most / c.reached[0]:.0f} / –"
    return [
        f"{side}²",
        family,
        start,
        None if c.best is None else f"{c.best:.2f}",
        both(c.map_cost()),
        None if c.start is None else f"{c.start[2]:.2f} ± {c.start[3]:.2f}",
        "never" if c.reached is None and c.complete else both(c.reached),
        "never" if point is None and c.stochastic and c.best is not None else both(point),
        "–" if key is None else f"{key[0]}, {key[1]}, {key[2]}",
        ratio,
        f"{n_there} of {len(c.stochastic)}",
    ]


def detail_rows(side, family, start, c):
    rows = []
    entries = []
    if c.complete:
        entries.append(("natural gradient", c.reached, c.natural[-1], c.natural_end))
    entries += [
        (f"stochastic, step {key[0]}, {key[1]} draws, {key[2]}", c.reached_stochastic[key], points[-1], r)
        for key, (points, r) in c.stochastic.items()
    ]
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

    tuned = c.tuned(0)
    for key, (points, _) in c.stochastic.items():
        if key == tuned:
            continue
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
    if c.natural:
        axis.plot(
            [p[measure] for p in c.natural],
            gap(c.natural),
            "o-",
            color=tables.PALETTE[0],
            zorder=4,
            label="natural gradient, by sweeps",
        )
    cost = c.map_cost()
    if cost is not None:
        axis.axvline(cost[measure], color=tables.PALETTE[2], lw=0.8, ls="--", label="MAP point found")
