"""Tables in Markdown, and figures in one style."""
import math

PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def table(header, rows):
    """A Markdown table; cells are texts, or numbers that are written with three digits."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(value):
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def elbo_of(record):
    elbo = record["elbo"]
    return f"{elbo['value']:.2f} ± {elbo['error']:.2f}"


def pyplot():
    """matplotlib's, or None where it is not installed: then there are tables only."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return None
    plt.rcParams.update(STYLE)
    plt.rcParams["axes.prop_cycle"] = plt.cycler(color=PALETTE)
    return plt


def save(figure, path):
    figure.savefig(path)
    pyplot().close(figure)


def source(records):
    """A line that says which program and machine made the numbers."""
    records = [r for r in records if r is not None]
    if not records:
        return "No results yet.\n"
    commits = sorted({f"{r['version']} ({r['git_commit']})" for r in records})
    machines = sorted({f"{r['machine']['processor']}, {r['machine']['cores']} cores" for r in records})
    load = max(r["machine"]["load_before"] for r in records)
    dates = sorted(r["date"][:10] for r in records)
    days = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    note = "" if len(commits) == 1 else " **The numbers come from different versions.**"
    return (
        f"varfield {', '.join(commits)}; {'; '.join(machines)}; {days}; load average before the runs at most "
        f"{load:g}.{note}\n"
    )
