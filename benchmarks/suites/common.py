"""Settings that several suites share."""
import harness


def square(n):
    return ("Mesh/Subdivisions", f"{n}, {n}")


def fixed_draws(n):
    """Draws of the final posterior: so many, whatever the error of the ELBO, so that runs do the same work."""
    return (("Inference/Minimum draws", str(n)), ("Inference/Maximum draws", str(n)))


ONE_MESH = ("Inference/Coarse to fine", "false")


def series(key, values, size, *more):
    """Runs of ld100 on one mesh, 32² (16² if quick), that differ in one parameter, and end with a small error."""
    side = 16 if size == "quick" else 32
    end = (("Inference/ELBO error", "0.05"), ("Inference/Maximum draws", "2000"))
    return [harness.Configuration((square(side), ONE_MESH, (key, str(value))) + more + end) for value in values]


def found(key, configurations, results):
    """The value of the parameter and the result of every run that is there."""
    return [(dict(c.settings)[key], r) for c in configurations if (r := results.get(c))]
