"""Reads what the Kuopio Tomography Challenge 2023 distributes: MATLAB files of version 5, or the same numbers as text. Only Python's standard
library is needed.

A folder of the challenge's data is searched, with all that is below it, for
  ref.mat, data1.mat, ..., true1.mat, ...
or, where there is no ref.mat, for
  injection_currents_mA_76x32.csv, voltages_reference_empty_tank_76x31.csv, voltages_training_target1_76x31.csv, ...,
  truth_training_target1_256x256.txt, ...
"""
import math
import os
import struct
import sys
import zlib

ELECTRODES, PATTERNS, PIXELS, WIDTH = 32, 76, 256, 0.23  # WIDTH: of the images, in m
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}


def elements(data):
    """Type and content of each element of a MATLAB file."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:  # small: size and type share four bytes, the content has the other four
            yield kind & 0xffff, data[at + 4:at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, data[at + 8:at + 8 + size]
            at += 8 + size if kind == 15 else 8 + (size + 7) // 8 * 8


def matlab(path):
    """The numerical arrays of a MATLAB file of version 5: a list of rows for each name."""
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(b"MATLAB 5.0"):
        sys.exit(f"{path}: not a MATLAB file of version 5.")
    arrays = {}
    for kind, content in elements(data[128:]):
        if kind == 15:
            kind, content = next(elements(zlib.decompress(content)))
        parts = list(elements(content)) if kind == 14 else []
        if len(parts) < 4 or parts[3][0] not in NUMBERS:
            continue
        rows, columns = struct.unpack("<2i", parts[1][1][:8])
        values = [x for (x,) in struct.iter_unpack("<" + NUMBERS[parts[3][0]], parts[3][1])]
        arrays[parts[2][1].decode()] = [values[i::rows] for i in range(rows)]
        assert len(values) == rows * columns
    return arrays


def comma_separated(path):
    with open(path) as file:
        return [[float(x) for x in line.split(",")] for line in file if line.strip()]


class Challenge:
    """Rows of currents [mA] and of voltages [V] have one pattern of currents each; voltage k is that of electrode k against electrode k + 1."""

    def __init__(self, folder):
        self.folder, self.files = folder, {}
        for where, _, names in sorted(os.walk(folder), reverse=True):
            self.files.update((name, os.path.join(where, name)) for name in names)
        self.is_matlab = "ref.mat" in self.files

    def path(self, name):
        if name not in self.files:
            sys.exit(f"{self.folder}: there is no file {name} in this folder or below it.")
        return self.files[name]

    def currents(self):
        if self.is_matlab:
            columns = matlab(self.path("ref.mat"))["Injref"]
            return [list(row) for row in zip(*columns)]
        return comma_separated(self.path("injection_currents_mA_76x32.csv"))

    def voltages(self, target):
        """Of a target, or (0) of the empty tank; NaN where they are withheld."""
        if self.is_matlab:
            column = [x for (x,) in matlab(self.path(f"data{target}.mat" if target else "ref.mat"))["Uel" if target else "Uelref"]]
            n = ELECTRODES - 1
            return [column[n * p:n * (p + 1)] for p in range(PATTERNS)]
        return comma_separated(self.path(f"voltages_training_target{target}_76x31.csv" if target
                                         else "voltages_reference_empty_tank_76x31.csv"))

    def targets(self):
        name = "data{}.mat" if self.is_matlab else "voltages_training_target{}_76x31.csv"
        return [t for t in range(1, 100) if name.format(t) in self.files]

    def truth(self, target):
        """0 water, 1 resistive, 2 conductive; the first row is the uppermost."""
        if self.is_matlab:
            return matlab(self.path(f"true{target}.mat"))["truth"]
        with open(self.path(f"truth_training_target{target}_256x256.txt")) as file:
            return [[int(x) for x in line.strip()] for line in file if line.strip()]


def centre(row, column):
    """x and y of a pixel's centre, in m."""
    return (column + 0.5) * WIDTH / PIXELS - WIDTH / 2, WIDTH / 2 - (row + 0.5) * WIDTH / PIXELS


def in_tank(row, column):
    return math.hypot(*centre(row, column)) < WIDTH / 2
