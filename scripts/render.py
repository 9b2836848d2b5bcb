"""Figures of an output folder of varfield.

  xvfb-run -a pvbatch scripts/render.py OUTPUT_FOLDER [--field NAME] [--window=X0,Y0,X1,Y1] [-o picture.png]

writes OUTPUT_FOLDER/figures/<field>.png for every inferred field (posterior mean and standard deviation, variance reduction,
the truth where it is known, the sensors), <field>_certificate.png where chains were run (their distance from the variational
posterior), and state.png (predicted state, residuals at the sensors, and their weights where the noise has heavy tails). Fields
in 2D are sampled on a fine raster and drawn as maps; fields in 3D are drawn by ParaView as a box with a corner cut out.
"""
import argparse
import csv
import dataclasses
import json
import math
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib import colors, ticker
    from paraview import simple
    import scenes
except ImportError as error:
    sys.exit(f"{error}. Run this script by `xvfb-run -a pvbatch`; the Debian packages are python3-paraview, "
             "python3-matplotlib, xvfb and xauth (scripts/install_dependencies.sh --with-paraview).")

STYLE = {
    "figure.facecolor": "white", "savefig.facecolor": "white", "savefig.dpi": 200,
    "font.family": "sans-serif", "font.sans-serif": ["Liberation Sans", "Arial", "DejaVu Sans"], "font.size": 9,
    "axes.titlesize": 10.5, "axes.titlepad": 6, "axes.labelsize": 9, "axes.linewidth": 0.6, "axes.edgecolor": "#333333",
    "xtick.labelsize": 8, "ytick.labelsize": 8, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "xtick.major.size": 3, "ytick.major.size": 3, "axes.formatter.use_mathtext": True, "axes.formatter.limits": (-4, 5),
}
MEAN_COLORS, STD_COLORS, REDUCTION_COLORS, RESIDUAL_COLORS, WEIGHT_COLORS = "viridis", "magma", "cividis", "RdBu_r", "cividis"


class UserError(Exception):
    """What the user can put right."""


# What there is to draw


@dataclasses.dataclass
class Field:
    name: str
    unit: str = ""
    transform: str = "identity"

    def array(self, suffix):
        return self.name.replace(" ", "_") + "_" + suffix

    def label(self):
        return f"{self.name} [{self.field_unit()}]" if self.field_unit() else self.name

    def field_unit(self):
        """`unit` is that of the coefficient, which only the identity has in common with the field."""
        return self.unit if self.transform == "identity" else ""


class Folder:
    """An output folder: its summary and its sensors. Whatever is missing there is left out of the figures."""

    def __init__(self, path):
        self.path = path
        if not os.path.isdir(path):
            raise UserError(f"{path}: there is no such folder.")
        self.summary = self.read_summary()
        self.sensors = self.read_sensors()
        self.case = str(self.summary.get("case") or os.path.basename(os.path.abspath(path)))
        self.state_unit = str(self.summary.get("state_unit") or "")
        self.length_unit = str(self.summary.get("length_unit") or "")

    def read_summary(self):
        try:
            with open(os.path.join(self.path, "summary.json"), encoding="utf-8") as file:
                summary = json.load(file)
            return summary if isinstance(summary, dict) else {}
        except (OSError, ValueError):
            return {}

    def read_sensors(self):
        """The columns of observations.csv by name: numbers as arrays of floats, all others as arrays of text."""
        try:
            with open(os.path.join(self.path, "observations.csv"), encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
        except OSError:
            return {}
        columns = {}
        for name in rows[0] if rows else ():
            values = [(row[name] or "").strip() for row in rows]
            try:
                columns[name] = np.array([float(v) if v else math.nan for v in values])
            except ValueError:
                columns[name] = np.array(values)
        return columns if "x" in columns and "y" in columns else {}

    def fields(self, arrays):
        """The inferred fields as the summary lists them, else as the names of the arrays tell."""
        listed = [f for f in self.summary.get("fields") or [] if isinstance(f, dict) and f.get("name")]
        if listed:
            fields = [Field(f["name"], f.get("unit") or "", f.get("transform") or "identity") for f in listed]
        else:
            names = [a[:-len("_mean")] for a in arrays if a.endswith("_mean") and not a.endswith("_prior_mean")]
            fields = [Field(name.replace("_", " ")) for name in names]
        return [f for f in fields if f.array("mean") in arrays]

    def points(self, dim, rows=None):
        """Coordinates of the sensors, one row each."""
        names = ("x", "y", "z")[:dim]
        if any(name not in self.sensors for name in names):
            return np.zeros((0, dim))
        points = np.column_stack([self.sensors[name] for name in names])
        return points if rows is None else points[rows]


# Figures


@dataclasses.dataclass
class Panel:
    title: str
    array: str
    cmap: str
    norm: object
    unit: str = ""
    contours: bool = False


def limits(scene, *names):
    """One range for several arrays, never empty."""
    ranges = [scene.range(name) for name in names]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    margin = 1e-6 * max(abs(low), abs(high)) or 1e-6
    return (low, high) if high - low > margin else (low - margin, high + margin)


def field_panels(scene, field, arrays):
    """Truth, mean, standard deviation, variance reduction; where the truth is not known, the physical coefficient too."""
    mean, std, truth = field.array("mean"), field.array("std"), field.array("truth")
    shared = colors.Normalize(*limits(scene, *[name for name in (mean, truth) if name in arrays]))
    panels = [Panel("Posterior mean", mean, MEAN_COLORS, shared, field.field_unit())]
    if truth in arrays:
        panels.insert(0, Panel("Truth", truth, MEAN_COLORS, shared, field.field_unit()))
    if std in arrays:
        norm = colors.Normalize(*limits(scene, std))
        panels.append(Panel("Posterior standard deviation", std, STD_COLORS, norm, field.field_unit()))
    reduction = field.array("variance_reduction")
    if reduction in arrays:
        norm = colors.Normalize(min(0.0, scene.range(reduction)[0]), 1)
        panels.append(Panel("Variance reduction, 1 − σ²/σ₀²", reduction, REDUCTION_COLORS, norm))
    return panels if truth in arrays else panels + physical_panels(scene, field, arrays)


def physical_panels(scene, field, arrays):
    names = [field.array("physical_" + quantile) for quantile in ("p05", "median", "p95")]
    if any(name not in arrays for name in names):
        return []
    low, high = limits(scene, *names)
    norm = colors.LogNorm(low, high) if field.transform == "exp" and low > 0 else colors.Normalize(low, high)
    what = f"exp({field.name})" if field.transform == "exp" else f"coefficient ({field.transform})"
    titles = (f"{what}: 5 % quantile", "median", "95 % quantile")
    return [Panel(title, name, MEAN_COLORS, norm, field.unit) for title, name in zip(titles, names)]


def make_figure(scene, n, title):
    """Axes for n panels of equal size, and beside each the axes of its colour bar."""
    columns = 2 if n in (2, 4) else min(n, 3)
    rows = -(-n // columns)
    width = 3.1 if columns > 2 else 3.6
    height = min(max(width * scene.aspect, 1.2), 2 * width)
    left, gap, bar, top, vertical = 0.6, 0.95, 0.1, 0.75, 0.62
    total = (left + columns * (width + gap), top + rows * (height + vertical))
    figure = plt.figure(figsize=total)
    figure.text(left / total[0], 1 - 0.25 / total[1], title, fontsize=13, fontweight="bold", va="center")
    panels = []
    for i in range(n):
        row, column = divmod(i, columns)
        x = left + column * (width + gap)
        y = total[1] - top - row * (height + vertical) - height
        axes = figure.add_axes([x / total[0], y / total[1], width / total[0], height / total[1]])
        bars = figure.add_axes([(x + width + 0.1) / total[0], y / total[1], bar / total[0], height / total[1]])
        axes.is_left, axes.is_bottom = column == 0, i + columns >= n
        panels.append((axes, bars))
    return figure, panels


def color_bar(figure, norm, cmap, bars, unit):
    bar = figure.colorbar(plt.cm.ScalarMappable(norm, cmap), cax=bars)
    bar.outline.set_linewidth(0.5)
    if unit:
        bars.set_title(unit, fontsize=8, loc="left", pad=4)
    if isinstance(norm, colors.LogNorm):
        decades = math.log10(norm.vmax / norm.vmin)
        bar.locator = ticker.LogLocator(subs=(1, 2, 5) if decades < 3 else (1,), numticks=9)
        bar.formatter = ticker.FuncFormatter(lambda x, _: f"{x:g}") if 1e-3 < norm.vmin and norm.vmax < 1e4 \
            else ticker.LogFormatterSciNotation()
        bar.minorlocator = ticker.NullLocator()
    else:
        bar.locator = ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    bar.update_ticks()


def sensor_size(n):
    return float(np.clip(900 / max(n, 1), 3, 16))


def draw_panel(figure, scene, panel, axes, bars, points):
    scene.draw(axes, panel.array, panel.norm, panel.cmap, panel.contours)
    color_bar(figure, panel.norm, panel.cmap, bars, panel.unit)
    if len(points):
        scene.scatter(axes, points, s=sensor_size(len(points)), c="white", edgecolors="black", linewidths=0.6)
    axes.set_title(panel.title)
    scene.name_axes(axes)


def draw_constant(scene, field, arrays, title):
    """A field of one value: its prior and posterior densities."""
    number = {s: scene.range(field.array(s))[0] for s in ("mean", "std", "prior_mean", "prior_std", "truth")
              if field.array(s) in arrays}
    figure, axes = plt.subplots(figsize=(5.2, 3.4))
    for kind, prefix, color in (("prior", "prior_", "#999999"), ("posterior", "", "#21618c")):
        mean, std = number.get(prefix + "mean"), number.get(prefix + "std")
        if mean is None or not std:
            continue
        x = np.linspace(mean - 4 * std, mean + 4 * std, 400)
        y = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        axes.plot(x, y, color=color, linewidth=1.6, label=f"{kind}: {mean:.4g} ± {std:.3g}")
        axes.fill_between(x, y, color=color, alpha=0.2, linewidth=0)
    if "truth" in number:
        axes.axvline(number["truth"], color="black", linewidth=1, linestyle="--", label=f"truth: {number['truth']:.4g}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(field.label())
    axes.set_ylabel("density")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(title, fontsize=13, fontweight="bold", loc="left", pad=12)
    figure.tight_layout()
    return figure


def panels_with_sensors(folder, scene, panels, title):
    figure, axes = make_figure(scene, len(panels), title)
    points = folder.points(scene.dim)
    points = np.unique(points[np.isfinite(points).all(axis=1)], axis=0)
    for panel, (a, bars) in zip(panels, axes):
        draw_panel(figure, scene, panel, a, bars, points)
    return figure


def field_title(folder, field):
    return f"{folder.case}: {field.name}" if folder.case != field.name else field.name


def field_figure(folder, scene, field):
    arrays, title = scene.arrays(), field_title(folder, field)
    needed = [field.array(s) for s in ("mean", "std") if field.array(s) in arrays]
    if all(r[1] - r[0] <= 1e-9 * max(abs(r[0]), abs(r[1])) for r in map(scene.range, needed)):
        return draw_constant(scene, field, arrays, title)
    return panels_with_sensors(folder, scene, field_panels(scene, field, arrays), title)


def certificate_figure(folder, scene, field):
    """Chains of the posterior and what distinguishes the variational one from them; None without chains."""
    shift, ratio, size = field.array("mean_shift"), field.array("std_ratio"), field.array("effective_size")
    if shift not in scene.arrays() or ratio not in scene.arrays():
        return None
    furthest = max(0.5, *map(abs, scene.range(shift)))
    widest = max(1.25, scene.range(ratio)[1], 1 / max(scene.range(ratio)[0], 1e-3))
    panels = [Panel("Variational less chains' mean,\nin standard deviations", shift, RESIDUAL_COLORS,
                    colors.Normalize(-furthest, furthest)),
              Panel("Variational over chains'\nstandard deviation", ratio, RESIDUAL_COLORS, colors.LogNorm(1 / widest, widest))]
    if size in scene.arrays():
        panels.append(Panel("Effective size of the chains", size, WEIGHT_COLORS, colors.Normalize(*limits(scene, size))))
    return panels_with_sensors(folder, scene, panels, field_title(folder, field) + ", certificate")


# The predicted state


def states(arrays):
    """The names of the predicted states: "state", or "state_<experiment or component>" for each."""
    return [a[:-len("_mean")] for a in arrays if a.startswith("state") and a.endswith("_mean")]


def rows_of_state(folder, state, n_states):
    """Which sensors belong to a state: those of its experiment, when the name is that of an experiment."""
    sensors = folder.sensors
    if not sensors or "measured" not in sensors:
        return None
    finite = np.isfinite(sensors["measured"]) & np.isfinite(folder.points(2)).all(axis=1)
    if "experiment" in sensors and n_states > 1:
        names = [f"{e:g}" if isinstance(e, float) else str(e) for e in sensors["experiment"].tolist()]
        rows = np.array([name.replace(" ", "_") == state[len("state_"):].replace(" ", "_") for name in names])
        return finite & rows
    return finite if n_states == 1 else None


def draw_at_sensors(figure, scene, axes, bars, points, used, values, norm, cmap, title):
    """One number for each sensor; squares where it was held out."""
    scene.frame(axes, fill="#f1f1f1")
    size = 2.2 * sensor_size(len(points)) + 6
    for rows, marker in ((used, "o"), (~used, "s")):
        if rows.any():
            scene.scatter(axes, points[rows], solid=False, s=size, c=values[rows], norm=norm, cmap=cmap, marker=marker,
                          edgecolors="black", linewidths=0.5)
    color_bar(figure, norm, cmap, bars, "")
    axes.set_title(title + ("" if used.all() else " (squares: held out)"))
    scene.name_axes(axes)


def draw_fit(axes, bars, measured, predicted, std, used, unit):
    """Predicted over measured values, with two standard deviations."""
    bars.set_axis_off()
    low, high = min(measured.min(), predicted.min()), max(measured.max(), predicted.max())
    margin = 0.05 * (high - low) or 1
    axes.plot([low - margin, high + margin], [low - margin, high + margin], color="#999999", linewidth=0.8, zorder=1)
    for rows, marker in ((used, "o"), (~used, "s")):
        if rows.any():
            bar = None if std is None else 2 * std[rows]
            axes.errorbar(measured[rows], predicted[rows], yerr=bar, fmt=marker, color="#21618c", markersize=3,
                          elinewidth=0.6, markeredgewidth=0, alpha=0.85)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel(f"measured value [{unit}]" if unit else "measured value")
    axes.set_title("Predicted value" + (" ± 2 standard deviations" if std is not None else ""))
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(5))


def state_figure(folder, scene, state, n_states):
    arrays = scene.arrays()
    rows = rows_of_state(folder, state, n_states)
    has_sensors = rows is not None and rows.any()
    mean, std = state + "_mean", state + "_std"
    norm = colors.Normalize(*limits(scene, mean))
    panels = [Panel("Mean, and measured values", mean, MEAN_COLORS, norm, folder.state_unit, contours=True)]
    if std in arrays:
        norm = colors.Normalize(*limits(scene, std))
        panels.append(Panel("Standard deviation", std, STD_COLORS, norm, folder.state_unit))
    extra = [name for name in ("standardised_residual", "weight", "predicted_mean") if has_sensors and name in folder.sensors]
    if "weight" in extra and np.allclose(folder.sensors["weight"][rows], 1):
        extra.remove("weight")
    name = "predicted state" if state == "state" else "predicted state, " + state[len("state_"):].replace("_", " ")
    figure, axes = make_figure(scene, len(panels) + len(extra), f"{folder.case}: {name}")
    points = folder.points(scene.dim, rows) if has_sensors else np.zeros((0, scene.dim))
    for panel, (a, bars) in zip(panels, axes):
        draw_panel(figure, scene, panel, a, bars, points)
    if not has_sensors:
        return figure
    sensors = {key: column[rows] for key, column in folder.sensors.items()}
    used = sensors["used"] != 0 if "used" in sensors else np.ones(len(points), bool)
    scene.scatter(axes[0][0], points, s=1.6 * sensor_size(len(points)) + 4, c=sensors["measured"], norm=panels[0].norm,
                  cmap=MEAN_COLORS, edgecolors="black", linewidths=0.6)
    for what, (a, bars) in zip(extra, axes[len(panels):]):
        if what == "standardised_residual":
            bound = max(3.0, float(np.nanmax(np.abs(sensors[what]))))
            draw_at_sensors(figure, scene, a, bars, points, used, sensors[what], colors.Normalize(-bound, bound), RESIDUAL_COLORS,
                            "Standardised residuals")
        elif what == "weight":
            draw_at_sensors(figure, scene, a, bars, points, used, sensors[what],
                            colors.Normalize(0, max(1.0, float(np.nanmax(sensors[what])))), WEIGHT_COLORS, "Weights of the data")
        else:
            draw_fit(a, bars, sensors["measured"], sensors[what], sensors.get("predicted_std"), used, folder.state_unit)
    return figure


# Main


def file_name(name):
    return re.sub(r"[^\w.-]+", "_", name) + ".png"


def save(figure, path):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.12)
    plt.close(figure)
    print(path)


def draw_fields(folder, options, figures):
    posterior = scenes.open_data(os.path.join(folder.path, "posterior.pvd"))
    if posterior is None:
        raise UserError(f"{folder.path}: has no posterior.pvd. Is it the output folder of a finished run?")
    scene = scenes.make_scene(posterior, folder.length_unit, options.window)
    fields = folder.fields(scene.arrays())
    if options.field:
        known = [f.name for f in fields]
        fields = [f for f in fields if options.field in (f.name, f.name.replace(" ", "_"))]
        if not fields:
            raise UserError(f"There is no field '{options.field}'; the fields are {', '.join(known)}.")
    if not fields:
        raise UserError(f"{folder.path}: posterior.pvd has no array that ends in _mean.")
    for field in fields[:1] if options.output else fields:
        path = options.output or os.path.join(figures, file_name(field.name))
        save(field_figure(folder, scene, field), path)
        certificate = None if options.output else certificate_figure(folder, scene, field)
        if certificate:
            save(certificate, os.path.join(figures, file_name(field.name + "_certificate")))


def draw_states(folder, figures, window):
    reader = scenes.open_data(os.path.join(folder.path, "state.pvd"))
    if reader is None:
        return
    scene = scenes.make_scene(reader, folder.length_unit, window)
    names = states(scene.arrays())
    for state in names:
        save(state_figure(folder, scene, state, len(names)), os.path.join(figures, file_name(state)))


def window(text):
    numbers = tuple(float(word) for word in text.split(","))
    if len(numbers) != 4 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise ValueError
    return numbers


def main():
    parser = argparse.ArgumentParser(prog="render.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="output folder of varfield")
    parser.add_argument("--field", metavar="NAME", help="only this field")
    parser.add_argument("--window", metavar="X0,Y0,X1,Y1", type=window, help="the part of a 2D mesh that is drawn")
    parser.add_argument("-o", "--output", metavar="PICTURE",
                        help="where the picture (of --field, or of the first field) goes")
    options = parser.parse_args()
    plt.rcParams.update(STYLE)
    simple._DisableFirstRenderCameraReset()
    try:
        folder = Folder(options.folder)
        figures = os.path.join(folder.path, "figures")
        draw_fields(folder, options, figures)
        if not options.field and not options.output:
            draw_states(folder, figures, options.window)
    except UserError as error:
        sys.exit(str(error))


main()
