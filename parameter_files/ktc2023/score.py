#!/usr/bin/env python3
"""Segments the posterior of ktc2023.prm and scores it as the Kuopio Tomography Challenge 2023 did.

  score.py FOLDER_OF_THE_DATA 1=ktc2023-output [2=another-output ...] [-o FOLDER]

For each target=output: the probabilities of the phases (water, resistive, conductive) at the centres of the 256 x 256 pixels of the truth, by
linear interpolation from posterior.pvd; each pixel belongs to the most probable phase. Writes into FOLDER (ktc2023-score)
  target1.txt, ...             the segmentations: 0 water, 1 resistive, 2 conductive; the first row is the uppermost
  scores.csv                   scores of the targets, shares of pixels
  reliability.csv              of all targets together: the pixels of the tank by predicted probability of an inclusion's phase, what was
                               predicted on average and how often it is so
  reliability.png, target1.png, ...   pictures, where Python's package matplotlib is installed; red: the outlines of the true inclusions
Only Python's standard library is needed for the rest.
"""
import argparse
import base64
import csv
import math
import operator
import os
import struct
import sys
import xml.etree.ElementTree as xml
import zlib

from challenge import PIXELS, WIDTH, Challenge, centre, in_tank

PHASES = ("resistive", "water", "conductive")  # in the order of the case's values
DIGIT = {"water": 0, "resistive": 1, "conductive": 2}  # of the challenge
BINS = 10


# The posterior on the pixels


def numbers(array):
    """The content of a DataArray of a .vtu file as deal.II writes it: base64 of sizes, then of compressed blocks."""
    text, letter = array.text.strip(), {"Float32": "f", "Float64": "d", "Int32": "i", "UInt32": "I", "UInt8": "B", "Int64": "q"}[array.get("type")]
    (blocks,) = struct.unpack("<I", base64.b64decode(text[:8])[:4])
    length = 4 * (3 + blocks)
    split = (length + 2) // 3 * 4
    sizes = struct.unpack(f"<{3 + blocks}I", base64.b64decode(text[:split])[:length])[3:]
    packed, content, at = base64.b64decode(text[split:]), b"", 0
    for size in sizes:
        content += zlib.decompress(packed[at:at + size])
        at += size
    return [x for (x,) in struct.iter_unpack("<" + letter, content)]


def pieces(output):
    """Points, cells and values of each piece of the posterior."""
    pvtu = os.path.join(output, "posterior_0000.pvtu")
    try:
        names = [piece.get("Source") for piece in xml.parse(pvtu).iter("Piece")]
    except OSError as error:
        sys.exit(f"{pvtu}: {error.strerror}.")
    for name in names:
        arrays = {a.get("Name"): a for a in xml.parse(os.path.join(output, name)).iter("DataArray")}
        points = numbers(next(a for n, a in arrays.items() if n in (None, "Points")))
        corners, ends = numbers(arrays["connectivity"]), numbers(arrays["offsets"])
        cells = [corners[a:b] for a, b in zip([0] + ends[:-1], ends)]
        yield list(zip(points[::3], points[1::3])), cells, {n: a for n, a in arrays.items() if n}


def probabilities(output):
    """Of the phases at each pixel; pixels outside of the mesh are water."""
    result = [[(0., 1., 0.)] * PIXELS for _ in range(PIXELS)]
    h = WIDTH / PIXELS
    for points, cells, arrays in pieces(output):
        found = [[a for n, a in arrays.items() if n.endswith(f"_phase_{i}_probability")] for i in range(len(PHASES))]
        if any(len(f) != 1 for f in found) or any(n.endswith(f"_phase_{len(PHASES)}_probability") for n in arrays):
            sys.exit(f"{output}: the posterior has to have one field with the transform “level set” and {len(PHASES)} phases.")
        values = list(zip(*(numbers(f[0]) for f in found)))
        for cell in cells:
            for triangle in (cell[:3], (cell[0], *cell[2:])):
                (xa, ya), (xb, yb), (xc, yc) = (points[i] for i in triangle)
                area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
                if not area:
                    continue
                a, b, c = (values[i] for i in triangle)
                first, last = (math.floor((WIDTH / 2 - y) / h) for y in (max(ya, yb, yc), min(ya, yb, yc)))
                left, right = (math.floor((x + WIDTH / 2) / h) for x in (min(xa, xb, xc), max(xa, xb, xc)))
                for row in range(max(first, 0), min(last + 1, PIXELS)):
                    for column in range(max(left, 0), min(right + 1, PIXELS)):
                        x, y = centre(row, column)
                        s = ((x - xa) * (yc - ya) - (xc - xa) * (y - ya)) / area
                        t = ((xb - xa) * (y - ya) - (x - xa) * (yb - ya)) / area
                        if s >= -1e-9 and t >= -1e-9 and s + t <= 1 + 1e-9:
                            result[row][column] = tuple((1 - s - t) * u + s * v + t * w for u, v, w in zip(a, b, c))
    return result


def segmentation(probability):
    return [[DIGIT[PHASES[max(range(len(PHASES)), key=p.__getitem__)]] for p in row] for row in probability]


# The score of the challenge


def smooth(image, radius=80):
    """Means of an image under Gaussian windows of standard deviation `radius`, cut at twice that and at the image's border."""
    window = [math.exp(-0.5 * (d / radius) ** 2) if abs(d) <= 2 * radius else 0. for d in range(-PIXELS, PIXELS + 1)]
    windows = [window[PIXELS - i:2 * PIXELS - i] for i in range(PIXELS)]
    windows = [[w / sum(row) for w in row] for row in windows]
    for _ in range(2):  # along the rows, then along the columns
        image = list(zip(*([sum(map(operator.mul, w, row)) for w in windows] for row in image)))
    return image


def similarity(truth, found, c1=1e-4, c2=9e-4):
    """Mean structural similarity of two masks of zeros and ones."""
    both = smooth([[a * b for a, b in zip(*rows)] for rows in zip(truth, found)])
    total = 0.
    for rows in zip(smooth(truth), smooth(found), both):
        for a, b, ab in zip(*rows):
            total += ((2 * a * b + c1) * (2 * (ab - a * b) + c2)
                      / ((a * a + b * b + c1) * (a - a * a + b - b * b + c2)))
    return total / PIXELS ** 2


def score(truth, found):
    """Of the conductive and the resistive inclusions."""
    def mask(image, digit):
        return [[float(x == digit) for x in row] for row in image]
    return [similarity(mask(truth, digit), mask(found, digit)) for digit in (DIGIT["conductive"], DIGIT["resistive"])]


# Reliability


class Reliability:
    """Predicted probabilities of a phase against how often it is the true one, over pixels."""

    def __init__(self):
        self.pixels, self.predicted, self.true, self.brier = [0] * BINS, [0.] * BINS, [0] * BINS, 0.

    def add(self, probability, is_so):
        i = min(int(BINS * probability), BINS - 1)
        self.pixels[i] += 1
        self.predicted[i] += probability
        self.true[i] += is_so
        self.brier += (probability - is_so) ** 2

    def rows(self):
        return [(i / BINS, (i + 1) / BINS, n, p / n, t / n)
                for i, (n, p, t) in enumerate(zip(self.pixels, self.predicted, self.true)) if n]

    def error(self):
        """Mean of |predicted - observed| over the pixels, bin by bin."""
        return sum(abs(p - t) for p, t in zip(self.predicted, self.true)) / max(sum(self.pixels), 1)


def draw(folder, maps, reliabilities, outlines):
    try:
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no pictures: Python's package matplotlib is not installed")
        return
    extent = [100 * x for x in (-WIDTH / 2, WIDTH / 2, -WIDTH / 2, WIDTH / 2)]
    angle = [2 * math.pi * i / 200 for i in range(201)]
    rim = [[50 * WIDTH * f(a) for a in angle] for f in (math.cos, math.sin)]
    for target, (truth, probability, found, text) in maps.items():
        figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained", sharey=True)
        for axis, phase in zip(axes, ("resistive", "conductive")):
            i = PHASES.index(phase)
            image = axis.imshow([[p[i] if in_tank(r, c) else math.nan for c, p in enumerate(row)] for r, row in enumerate(probability)],
                                extent=extent, vmin=0, vmax=1, cmap="cividis")
            axis.set_title(f"P({phase})")
        figure.colorbar(image, ax=axes[:2], shrink=0.8)
        axes[2].imshow([[found[r][c] if in_tank(r, c) else math.nan for c in range(PIXELS)] for r in range(PIXELS)], extent=extent,
                       cmap=matplotlib.colors.ListedColormap(["#e8f0f4", "#d58a2e", "#1b5a8a"]), vmin=-0.5, vmax=2.5)
        axes[2].set_title(f"most probable phase; {text}", fontsize=9)
        for axis in axes:
            for digit in {x for row in truth for x in row if x} if outlines else ():
                axis.contour([[float(x == digit) for x in row] for row in truth], levels=[0.5], extent=extent, origin="upper",
                             colors="#c0203a", linewidths=1)
            axis.plot(*rim, color="#333333", linewidth=0.6)
            axis.set_xlabel("x [cm]")
            axis.set_aspect("equal")
        axes[0].set_ylabel("y [cm]")
        figure.savefig(os.path.join(folder, f"target{target}.png"), dpi=150)
        plt.close(figure)
    figure, axis = plt.subplots(figsize=(4, 3.8), layout="constrained")
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for phase, reliability in reliabilities.items():
        rows = reliability.rows()
        axis.plot([r[3] for r in rows], [r[4] for r in rows], "o-", markersize=4, label=phase)
    axis.set(xlabel="predicted probability", ylabel="share of pixels for which it is so", title=f"targets {', '.join(map(str, maps))}")
    axis.legend()
    figure.savefig(os.path.join(folder, "reliability.png"), dpi=150)


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("runs", nargs="+", metavar="target=output")
    parser.add_argument("-o", "--output", default="ktc2023-score")
    parser.add_argument("--no-outlines", action="store_true", help="pictures without the outlines of the true inclusions")
    arguments = parser.parse_args()
    challenge, scores, maps = Challenge(arguments.folder), [], {}
    reliabilities = {phase: Reliability() for phase in ("resistive", "conductive")}
    os.makedirs(arguments.output, exist_ok=True)
    for run in arguments.runs:
        target, separator, output = run.partition("=")
        if not separator or not target.isdigit():
            sys.exit(f"“{run}”: has to be target=output, for example 1=ktc2023-output.")
        truth, probability = challenge.truth(int(target)), probabilities(output)
        found = segmentation(probability)
        with open(os.path.join(arguments.output, f"target{target}.txt"), "w") as file:
            file.writelines("".join(map(str, row)) + "\n" for row in found)
        conductive, resistive = score(truth, found)
        tank = [(r, c) for r in range(PIXELS) for c in range(PIXELS) if in_tank(r, c)]
        wrong = sum(truth[r][c] != found[r][c] for r, c in tank) / len(tank)
        for phase, reliability in reliabilities.items():
            for r, c in tank:
                reliability.add(probability[r][c][PHASES.index(phase)], truth[r][c] == DIGIT[phase])
        mean = (conductive + resistive) / 2
        scores.append([target, f"{mean:.4f}", f"{conductive:.4f}", f"{resistive:.4f}", f"{wrong:.4f}"])
        maps[target] = truth, probability, found, f"score {mean:.2f}"
        print(f"target {target}: score {mean:.3f} (conductive {conductive:.3f}, resistive {resistive:.3f}), {100 * wrong:.1f} % of the pixels wrong")
    print(f"mean score {sum(float(s[1]) for s in scores) / len(scores):.3f}")
    write(os.path.join(arguments.output, "scores.csv"), ["target", "score", "conductive", "resistive", "wrong pixels"], scores)
    rows = []
    for phase, reliability in reliabilities.items():
        print(f"P({phase}): mean |predicted - observed| {reliability.error():.4f}, Brier score "
              f"{reliability.brier / sum(reliability.pixels):.4f}")
        for low, high, pixels, predicted, observed in reliability.rows():
            print(f"  {low:.1f}-{high:.1f}  {pixels:7d} pixels, predicted {predicted:.3f}, observed {observed:.3f}")
            rows.append([phase, low, high, pixels, f"{predicted:.4f}", f"{observed:.4f}"])
    write(os.path.join(arguments.output, "reliability.csv"), ["phase", "from", "to", "pixels", "predicted", "observed"], rows)
    draw(arguments.output, maps, reliabilities, not arguments.no_outlines)


if __name__ == "__main__":
    main()
