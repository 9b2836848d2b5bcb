"""Counts of messages, bytes and reductions as functions of the unknowns n and the ranks P of one group, and what they
cost on a machine of given latency, bandwidth and speed.

Ranks form a grid, of p_d blocks in direction d, whose product is P: p4est's order makes such blocks where P is a
power of two. The busiest rank has faces(P) = Σ min(2, p_d − 1) faces that other ranks touch, and neighbours(P) = Π
min(3, p_d) − 1 ranks around it. Then one iteration of conjugate gradients with one multigrid cycle costs a rank

    messages    b · E · neighbours(P)             E exchanges of ghost values: 1, and 4 for each level but one
    bytes       8a · faces(P) · (n/P)^((d−1)/d)   surface to volume, the coarser levels are in the factor a
    reductions  r                                 log2(P) messages, one after the other
    flop        f · n/P

a, b are fitted (geometric means), E, r, f are measured. A message costs the latency, a byte the inverse bandwidth
(Hockney's model).
"""
import dataclasses
import math


def grid(ranks, dim):
    """Blocks in each direction, for a power of two."""
    halvings = round(math.log2(ranks))
    return [2 ** (halvings // dim + (1 if d < halvings % dim else 0)) for d in range(dim)]


def faces(ranks, dim):
    return sum(min(2, p - 1) for p in grid(ranks, dim))


def neighbours(ranks, dim):
    return math.prod(min(3, p) for p in grid(ranks, dim)) - 1


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def fit(values):
    """(factor, largest deviation from it as a factor) of measured over modelled numbers."""
    if not values:
        return math.nan, math.nan
    mean = geometric_mean(values)
    return mean, max(max(v / mean, mean / v) for v in values)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Assumed: a node of LUMI-C, 2 × 64 cores, one rank a core. The references are in doc/scaling.md."""

    latency: float = 2e-6  # s a message
    bandwidth: float = 12.5e9 / 128  # bytes/s a rank, when all ranks of a node send at once
    speed: float = 0.4e9  # flop/s a core on sparse matrices: 2 flop for 12 bytes, 2.4 GB/s a core
    memory: float = 2e9  # bytes a rank


@dataclasses.dataclass(frozen=True)
class IterationModel:
    """One iteration of multigrid-preconditioned conjugate gradients; see the head of this file."""

    dim: int
    a: float
    b: float
    reductions: float
    flop: float

    def exchanges(self, unknowns, coarsest=2000.0):
        """One level for each factor 2^dim of unknowns, down to two thousand, where the program stops coarsening."""
        levels = 1 + max(1, math.ceil(math.log(unknowns / coarsest) / math.log(2**self.dim)))
        return 1 + 4 * (levels - 1)

    def messages(self, exchanges, ranks):
        return self.b * exchanges * neighbours(ranks, self.dim)

    def bytes(self, unknowns, ranks):
        return 8 * self.a * faces(ranks, self.dim) * (unknowns / ranks) ** ((self.dim - 1) / self.dim)

    def seconds(self, unknowns, ranks, machine, columns=1):
        """{term: seconds} for one right-hand side, if `columns` of them share their messages."""
        return {
            "arithmetic": self.flop * unknowns / ranks / machine.speed,
            "message latency": self.messages(self.exchanges(unknowns), ranks) * machine.latency / columns,
            "bytes": self.bytes(unknowns, ranks) / machine.bandwidth,
            "reductions": self.reductions * math.log2(max(2, ranks)) * machine.latency / columns,
        }


def nearest_power_of_two(number):
    return 2 ** max(0, round(math.log2(number)))
