"""The suites. Each is a module with a docstring (its first line says what is measured against what),
`configurations(size)` for the sizes quick, default and full, and `report(configurations, results, folder)`, which
draws its figures into the folder and returns Markdown."""
from . import draws, mesh, messages, optimizers, rank, ranks, split

SUITES = {suite.__name__.rsplit(".", 1)[1]: suite for suite in (mesh, ranks, split, draws, rank, optimizers, messages)}
