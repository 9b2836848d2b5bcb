#!/usr/bin/env python3
"""A disk in quadrilaterals whose boundary is divided into electrodes and gaps, in the format 2.2 of Gmsh.

  meshes/disk_with_electrodes.py > meshes/rpi_disk_32el_coarse.msh

The disk is a square block of cells in the middle and rings of cells around it. Electrode n has boundary id n and its centre at the
angle 2 pi n/(number of electrodes); the gaps have id 100. An electrode is divided into --edges equal edges, a gap is one edge. The
nodes inside are moved to the means of their neighbours, over and over.
"""
import argparse
import math
import sys


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--radius", type=float, default=0.15, help="of the disk (default: %(default)s)")
    parser.add_argument("--electrodes", type=int, default=32, help="their number (default: %(default)s)")
    parser.add_argument("--width", type=float, default=0.025, help="of an electrode, along the arc (default: %(default)s)")
    parser.add_argument("--edges", type=int, default=2, help="of an electrode, an even number (default: %(default)s)")
    parser.add_argument("--rings", type=int, default=5, help="of cells around the middle (default: %(default)s)")
    parser.add_argument("--sweeps", type=int, default=400, help="that move the nodes (default: %(default)s)")
    options = parser.parse_args()
    if options.electrodes < 8 or options.electrodes % 8 or options.edges < 2 or options.edges % 2:
        sys.exit("The number of electrodes has to be divisible by 8, that of their edges by 2.")
    if not 0 < options.width * options.electrodes < 2 * math.pi * options.radius or options.rings < 1:
        sys.exit("There has to be room for gaps between the electrodes, and one ring at least.")
    return options


def boundary(options):
    """The angles of the nodes on the boundary and the ids of the edges that begin there, counter-clockwise from the middle of the
    last electrode, which is at the angle 0."""
    half = 0.5 * options.width / options.radius
    step = 2 * half / options.edges
    angles, ids = [], []
    for electrode in range(options.electrodes):
        centre = 2 * math.pi * electrode / options.electrodes
        name = electrode or options.electrodes
        following = electrode + 1
        right = options.edges // 2
        angles += [centre + i * step for i in range(right + 1)]
        ids += [name] * right + [100]
        centre = 2 * math.pi * following / options.electrodes
        angles += [centre - (right - i) * step for i in range(right)]
        ids += [following] * right
    return angles, ids


def block(n):
    """The nodes of a square of n x n cells, by their indices, and those on its boundary, counter-clockwise from the middle of the
    right side."""
    index = {(i, j): i + j * (n + 1) for j in range(n + 1) for i in range(n + 1)}
    around = [(n, j) for j in range(n)] + [(i, n) for i in range(n, 0, -1)]
    around += [(0, j) for j in range(n, 0, -1)] + [(i, 0) for i in range(n)]
    return index, [index[at] for at in around[n // 2:] + around[:n // 2]]


def disk(options):
    """Nodes, quadrilaterals and edges (a, b, id); the nodes on the boundary are the last ones."""
    angles, ids = boundary(options)
    n = len(angles) // 4
    index, inner = block(n)
    half = 0.5 * options.radius
    nodes = [(half * (2 * i / n - 1), half * (2 * j / n - 1)) for j in range(n + 1) for i in range(n + 1)]
    cells = [(index[i, j], index[i + 1, j], index[i + 1, j + 1], index[i, j + 1]) for j in range(n) for i in range(n)]
    first = inner
    for ring in range(options.rings):
        share = (ring + 1) / options.rings
        outer = []
        for angle, start in zip(angles, first):
            x, y = nodes[start]
            end = (options.radius * math.cos(angle), options.radius * math.sin(angle))
            nodes.append((x + share * (end[0] - x), y + share * (end[1] - y)))
            outer.append(len(nodes) - 1)
        cells += [(inner[i], outer[i], outer[i + 1 - len(outer)], inner[i + 1 - len(inner)]) for i in range(len(outer))]
        inner = outer
    return nodes, cells, [(inner[i], inner[i + 1 - len(inner)], ids[i]) for i in range(len(inner))]


def smoothed(nodes, cells, n_fixed, sweeps):
    """Every node but the last n_fixed ones in the middle of its neighbours (Gauss-Seidel)."""
    neighbours = [set() for _ in nodes]
    for cell in cells:
        for a, b in zip(cell, cell[1:] + cell[:1]):
            neighbours[a].add(b)
            neighbours[b].add(a)
    for _ in range(sweeps):
        for i in range(len(nodes) - n_fixed):
            nodes[i] = tuple(sum(nodes[j][d] for j in sorted(neighbours[i])) / len(neighbours[i]) for d in (0, 1))
    return nodes


def write(nodes, cells, edges):
    print("$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n%d" % len(nodes))
    for i, (x, y) in enumerate(nodes):
        print("%d %.9g %.9g 0" % (i + 1, x + 0., y + 0.))
    print("$EndNodes\n$Elements\n%d" % (len(edges) + len(cells)))
    for i, (a, b, name) in enumerate(edges):
        print("%d 1 2 %d %d %d %d" % (i + 1, name, name, a + 1, b + 1))
    for i, cell in enumerate(cells):
        print("%d 3 2 1 1 %d %d %d %d" % ((len(edges) + i + 1,) + tuple(a + 1 for a in cell)))
    print("$EndElements")


def main():
    options = parse()
    nodes, cells, edges = disk(options)
    write(smoothed(nodes, cells, len(edges), options.sweeps), cells, edges)


main()
