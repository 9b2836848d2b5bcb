"""two ranks against one, in pairs of runs: by samples (ld100 at 256²) and by space (ld100 at 512²; in 3D, cube at 64³).

Each pair is one run on 1 rank and one on 2, one after the other, and the speed-up is their ratio: a machine whose
speed drifts spoils single times, not ratios so easily. The table has the median pair and, in brackets, the smallest
and largest. Times are the program's own, from the beginning of a run to its end. Take them on an idle machine.
"""
import harness
import tables
from .common import fixed_draws, square

SQUARES = {"quick": (32, 64), "default": (256, 512), "full": (256, 512)}
CUBES = {"default": 64, "full": 64}
PAIRS = {"quick": 2, "default": 2, "full": 3}
PAIRS_OF_CUBES = 1
PHASES = (
    ("all", ()),
    ("inference", harness.INFERENCE),
    ("draws", harness.DRAWS),
    ("variances, output", harness.AFTERWARDS),
)


def comparisons(size):
    """(name, settings, case, groups on two ranks, number of pairs)."""
    by_samples, by_space = SQUARES[size]
    result = [
        (f"samples, {by_samples}²", (square(by_samples),) + fixed_draws(64), "ld100", 2, PAIRS[size]),
        (f"space, {by_space}²", (square(by_space),) + fixed_draws(64), "ld100", 1, PAIRS[size]),
    ]
    if size in CUBES:
        n = CUBES[size]
        cube = (("Mesh/Subdivisions", f"{n}, {n}, {n}"),)
        result.append((f"space, {n}³", cube + fixed_draws(16), "cube", 1, PAIRS_OF_CUBES))
    return result


def pairs(size):
    """[(name, [(on one rank, on two), …])]."""
    result = []
    for name, settings, case, groups, n_pairs in comparisons(size):
        one = harness.Configuration(settings + (("Parallel/Sample groups", "1"),), case, 1)
        two = harness.Configuration(settings + (("Parallel/Sample groups", str(groups)),), case, 2)
        result.append((name, [(one.repeated(k), two.repeated(k)) for k in range(1, n_pairs + 1)]))
    return result


def configurations(size):
    return [configuration for _, each in pairs(size) for pair in each for configuration in pair]


def phase_seconds(record, names):
    return harness.seconds(harness.stages(record, *names)) if names else record["cost"]["seconds"]


def middle(values, digits=2):
    values = sorted(values)
    median = (
        values[len(values) // 2] if len(values) % 2 else sum(values[len(values) // 2 - 1 : len(values) // 2 + 1]) / 2
    )
    return f"{median:.{digits}f} ({values[0]:.{digits}f}–{values[-1]:.{digits}f})"


def names_of(given):
    """The comparisons that the given configurations are of."""
    keys = {c.key() for c in given}
    for size in ("full", "default", "quick"):
        if keys == {c.key() for c in configurations(size)}:
            return pairs(size)
    return []


def report(given, results, folder):
    rows, bars = [], []
    for name, each in names_of(given):
        found = [(a, b) for one, two in each if (a := results.get(one)) and (b := results.get(two))]
        if not found:
            continue
        for phase, names in PHASES:
            ratios = [phase_seconds(a, names) / phase_seconds(b, names) for a, b in found]
            rows.append(
                [
                    name,
                    phase,
                    middle([phase_seconds(a, names) for a, _ in found], 1),
                    middle([phase_seconds(b, names) for _, b in found], 1),
                    middle(ratios),
                    len(found),
                ]
            )
            bars.append((f"{name}\n{phase}", ratios))
        memory = [max(r["peak_memory_mb"] for r in side) for side in zip(*found)]
        rows.append([name, "peak memory of a rank [MB]", f"{memory[0]:.0f}", f"{memory[1]:.0f}", "", len(found)])
    draw(bars, folder)
    return (
        tables.table(["split, mesh", "phase", "1 rank [s]", "2 ranks [s]", "speed-up", "pairs"], rows)
        + "\n![Speed-up by phase](ranks.png)\n"
    )


def draw(bars, folder):
    plt = tables.pyplot()
    if plt is None or not bars:
        return
    figure, axis = plt.subplots(figsize=(1.1 * len(bars) + 1, 3))
    for k, (_, ratios) in enumerate(bars):
        axis.plot([k] * len(ratios), ratios, "o", color=tables.PALETTE[k // len(PHASES)], alpha=0.7)
    axis.axhline(1, color="k", lw=0.6)
    axis.axhline(2, color="k", lw=0.6, ls=":")
    axis.set(ylabel="seconds on 1 rank / on 2", title="speed-up, one point a pair", ylim=(0, None))
    axis.set_xticks(range(len(bars)), [name for name, _ in bars], fontsize=7)
    tables.save(figure, folder / "ranks.png")
