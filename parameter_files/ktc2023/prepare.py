#!/usr/bin/env python3
"""Makes the tables that homogeneous.prm and ktc2023.prm read from the data of the Kuopio Tomography Challenge 2023.

  prepare.py FOLDER_OF_THE_DATA
      data/currents.csv and data/empty.csv, for homogeneous.prm
  prepare.py FOLDER_OF_THE_DATA --homogeneous ktc2023-homogeneous-output
      data/target1.csv, data/target2.csv, ...: V_target - V_empty + F, with F the voltages that the run of homogeneous.prm predicts for the
      empty tank, and their standard deviations

data/ is beside this file. The standard deviation of a voltage has the parts (in quadrature)
  --floor     the same for all [V]
  --relative  times the change V_target - V_empty of this voltage
  --pattern   times the root mean square of all changes in this pattern of currents
  --contact   times the voltage over the empty tank, where one of the two electrodes carries current: contacts that changed
Only Python's standard library is needed.
"""
import argparse
import csv
import math
import os

from challenge import ELECTRODES, PATTERNS, Challenge

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


def write(name, comment, header, rows):
    os.makedirs(HERE, exist_ok=True)
    with open(os.path.join(HERE, name), "w", newline="") as file:
        file.write(f"# {comment}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    print("wrote", os.path.join(HERE, name))


def experiment(pattern):
    return f"p{pattern + 1:02d}"


def at_current(currents, k):
    """1 where electrode k or k + 1, counted from 0, carries current, else 0."""
    return int(currents[k] != 0 or currents[k + 1] != 0)


def predicted(folder):
    """F, by experiment, electrode and reference."""
    with open(os.path.join(folder, "observations.csv"), newline="") as file:
        return {(r["experiment"], r["electrode"], r["reference"]): float(r["predicted_mean"]) for r in csv.DictReader(file)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--homogeneous", metavar="OUTPUT")
    parser.add_argument("--floor", type=float, default=0.002)
    parser.add_argument("--relative", type=float, default=0.1)
    parser.add_argument("--pattern", type=float, default=0.1)
    parser.add_argument("--contact", type=float, default=0.04)
    arguments = parser.parse_args()
    challenge = Challenge(arguments.folder)
    currents, empty = challenge.currents(), challenge.voltages(0)
    pairs = [(p, k) for p in range(PATTERNS) for k in range(ELECTRODES - 1)]

    if not arguments.homogeneous:
        write("currents.csv", "Currents in mA, from the Kuopio Tomography Challenge 2023.", ["experiment", "electrode", "current"],
              [[experiment(p), e + 1, currents[p][e]] for p in range(PATTERNS) for e in range(ELECTRODES) if currents[p][e]])
        write("empty.csv", "Voltages of the empty tank in V, from the Kuopio Tomography Challenge 2023.",
              ["experiment", "electrode", "reference", "value", "contact"],
              [[experiment(p), k + 1, k + 2, empty[p][k], at_current(currents[p], k)] for p, k in pairs if not math.isnan(empty[p][k])])
        return

    model = predicted(arguments.homogeneous)
    for target in challenge.targets():
        voltages, rows = challenge.voltages(target), []
        change = [[v - e for v, e in zip(*both)] for both in zip(voltages, empty)]
        for p, k in pairs:
            if math.isnan(change[p][k]):
                continue
            known = [c for c in change[p] if not math.isnan(c)]
            std = math.hypot(arguments.floor, arguments.relative * change[p][k],
                             arguments.pattern * math.sqrt(sum(c * c for c in known) / len(known)),
                             arguments.contact * empty[p][k] * at_current(currents[p], k))
            value = change[p][k] + model[experiment(p), str(k + 1), str(k + 2)]
            rows.append([experiment(p), k + 1, k + 2, f"{value:.9g}", f"{std:.4g}"])
        write(f"target{target}.csv", f"V_target - V_empty + F in V, target {target} of the Kuopio Tomography Challenge 2023.",
              ["experiment", "electrode", "reference", "value", "std"], rows)


if __name__ == "__main__":
    main()
