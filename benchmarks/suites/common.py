"""Settings that several suites share."""


def square(n):
    return ("Mesh/Subdivisions", f"{n}, {n}")


def fixed_draws(n):
    """Draws of the final posterior: so many, whatever the error of the ELBO, so that runs do the same work."""
    return (("Inference/Minimum draws", str(n)), ("Inference/Maximum draws", str(n)))


ONE_MESH = ("Inference/Coarse to fine", "false")
