#!/usr/bin/env python3
"""The server of `varfield serve`, by a client that speaks UM-Bridge's protocol. Only Python's standard library is needed."""
import json
import math
import os
import random
import re
import signal
import unittest
import urllib.error
import urllib.request

from program import ScratchFolder, children, command, finish, start


class Client:
    """The protocol, version 1.0: https://um-bridge-benchmarks.readthedocs.io."""

    def __init__(self, address):
        self.address = address

    def ask(self, path, request=None):
        """Status and answer."""
        data = None if request is None else request if isinstance(request, bytes) else json.dumps(request).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.address + path, data), timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def call(self, path, name, config=None, **more):
        status, answer = self.ask(path, {"name": name, "config": config or {}, **more})
        if status != 200:
            raise RuntimeError(f"{status}: {answer}")
        return answer

    def evaluate(self, name, x, config=None):
        return self.call("/Evaluate", name, config, input=[x])["output"][0]

    def gradient(self, name, x, sens, config=None):
        return self.call("/Gradient", name, config, input=[x], sens=sens, outWrt=0, inWrt=0)["output"]

    def apply_jacobian(self, name, x, vec, config=None):
        return self.call("/ApplyJacobian", name, config, input=[x], vec=vec, outWrt=0, inWrt=0)["output"]

    def apply_hessian(self, name, x, sens, vec, config=None):
        return self.call("/ApplyHessian", name, config, input=[x], sens=sens, vec=vec, outWrt=0, inWrt1=0, inWrt2=0)["output"]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def moved(x, t, v):
    return [a + t * b for a, b in zip(x, v)]


class Server(ScratchFolder):
    def serve(self, *arguments, ranks=1):
        process = start(command("serve", "base.prm", "--port", "0", *arguments, ranks=ranks), self.folder)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                return process, Client(found.group())
        self.fail(process.communicate()[1])

    def end(self, process, pid=None):
        os.kill(pid or process.pid, signal.SIGTERM)
        code, out, err = finish(process)
        self.assertEqual(code, 0, out + err)

    def test_models(self):
        process, client = self.serve()
        self.assertEqual(client.ask("/Info"), (200, {"protocolVersion": 1.0, "models": ["forward", "posterior"]}))
        self.assertTrue(all(client.call("/ModelInfo", "posterior")["support"].values()))
        self.assertEqual(client.call("/InputSizes", "forward"), {"inputSizes": [25]})
        self.assertEqual(client.call("/OutputSizes", "forward"), {"outputSizes": [3]})
        self.assertEqual(client.call("/OutputSizes", "posterior"), {"outputSizes": [1]})
        lots = random.Random(1)
        x, v, w = ([lots.gauss(0, 0.5) for _ in range(25)] for _ in range(3))
        h = 1e-5
        for name, sens in (("posterior", [1.0]), ("forward", [0.3, -1.2, 0.7])):
            for config in ({}, {"coordinates": "whitened"}):
                # Differences of values, which are exact to h².
                change = [(a - b) / (2 * h) for a, b in zip(client.evaluate(name, moved(x, h, v), config),
                                                           client.evaluate(name, moved(x, -h, v), config))]
                along = client.apply_jacobian(name, x, v, config)
                for a, b in zip(along, change):
                    self.assertAlmostEqual(a, b, delta=1e-6 * (1 + abs(b)))
                # The adjoint identity.
                gradient = client.gradient(name, x, sens, config)
                self.assertAlmostEqual(dot(gradient, v), dot(sens, along), delta=1e-9 * (1 + abs(dot(sens, along))))
                # Symmetry of the Hessian, and differences of gradients.
                hv, hw = client.apply_hessian(name, x, sens, v, config), client.apply_hessian(name, x, sens, w, config)
                self.assertAlmostEqual(dot(hv, w), dot(hw, v), delta=1e-5 * (1 + abs(dot(hv, w))))
                ahead, behind = (client.gradient(name, moved(x, t, v), sens, config) for t in (1e-4, -1e-4))
                change = [(a - b) / 2e-4 for a, b in zip(ahead, behind)]
                size = max(map(abs, change))
                for a, b in zip(hv, change):
                    self.assertAlmostEqual(a, b, delta=1e-4 * (1 + size))
        self.end(process)

    def test_whitened_posterior_at_zero(self):
        """There the prior term is zero, and Φ = ½ Σ ((d − F(0)) / 0.1)² with the constant ½ n log(2π 0.01)."""
        process, client = self.serve()
        zero = [0.0] * 25
        predicted = client.evaluate("forward", zero)
        phi = sum(((d - f) / 0.1) ** 2 / 2 + math.log(2 * math.pi * 0.01) / 2 for d, f in zip((0.4, 0.5, 0.9), predicted))
        for config in ({}, {"coordinates": "whitened"}):
            self.assertAlmostEqual(client.evaluate("posterior", zero, config)[0], -phi, delta=1e-9)
        self.end(process)

    def test_ranks_agree(self):
        lots = random.Random(2)
        x = [lots.gauss(0, 0.5) for _ in range(25)]
        found = []
        for ranks in (1, 3):
            process, client = self.serve(ranks=ranks)
            found.append(client.gradient("posterior", x, [1.0]) + client.evaluate("forward", x))
            # The first rank speaks to clients.
            self.end(process, children(process.pid)[0] if ranks > 1 else None)
        for a, b in zip(*found):
            self.assertAlmostEqual(a, b, delta=1e-8)

    def test_mistakes(self):
        process, client = self.serve()
        x = [0.0] * 25
        for path, request, kind, part in (
                ("/Evaluate", {"name": "prior", "input": [x]}, "ModelNotFound", "“forward” and “posterior”"),
                ("/Evaluate", {"name": "forward", "input": [x[1:]]}, "InvalidInput", "25 numbers, but has 24"),
                ("/Evaluate", {"name": "forward", "input": [x, x]}, "InvalidInput", "array of one array"),
                ("/Evaluate", {"name": "forward", "input": [["a"] * 25]}, "InvalidInput", "25 numbers"),
                ("/Evaluate", {"name": "forward"}, "InvalidInput", "no “input”"),
                ("/Evaluate", [1, 2], "InvalidInput", "no JSON object"),
                ("/Evaluate", b"{", "InvalidInput", "no JSON object"),
                ("/Evaluate", {"name": "forward", "input": [x], "config": {"coordinates": "polar"}}, "InvalidInput", "whitened"),
                ("/Gradient", {"name": "forward", "input": [x], "sens": [1]}, "InvalidInput", "3 numbers"),
                ("/Gradient", {"name": "forward", "input": [x], "sens": [1, 2, 3], "inWrt": 1}, "InvalidInput", "has to be 0"),
                ("/ApplyJacobian", {"name": "forward", "input": [x]}, "InvalidInput", "no “vec”")):
            status, answer = client.ask(path, request)
            self.assertEqual((status, answer["error"]["type"]), (400, kind), answer)
            self.assertIn(part, answer["error"]["message"])
        status, answer = client.ask("/Evaluate", {"name": "forward", "input": [[1e5] * 25]})
        self.assertEqual((status, answer["error"]["type"]), (500, "InvalidOutput"), answer)
        self.assertEqual(len(client.evaluate("forward", x)), 3)  # it is still there
        # Another server at the same port.
        port = client.address.rpartition(":")[2]
        code, out, err = finish(start(command("serve", "base.prm", "--port", port), self.folder))
        self.assertEqual(code, 2, out + err)
        self.assertIn("--port", err)
        self.end(process)


if __name__ == "__main__":
    unittest.main()
