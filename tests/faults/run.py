"""Kills, stops and ends each process in turn under verified load, and prints what became of the requests.

    .venv/bin/python tests/faults/run.py --requests 2000 --clients 32
"""
import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT / "tests")
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # as in conftest.py

from grpc_tools import protoc

from faults.cluster import weightless_model
from faults.scenes import HEADER, Scene, simulated_cluster


def make_stubs(folder):
    failed = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}",
                          "octet/v1/generation.proto"])
    assert not failed
    sys.path.insert(0, str(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="for each fault")
    parser.add_argument("--clients", type=int, default=32, help="streams at a time")
    parser.add_argument("--only", default="", help="the faults whose name has this text")
    parser.add_argument("--json", type=pathlib.Path, help="a file for the raw tallies")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="octet-faults-") as temporary:
        folder = pathlib.Path(temporary)
        make_stubs(folder)
        model = weightless_model(folder / "model")
        print(HEADER)
        for pipelines in (2, 1):
            with simulated_cluster(folder / f"pipelines-{pipelines}", model, pipelines) as cluster:
                scene = Scene(cluster, options.requests, options.clients)
                for what, do, target in scene.faults():
                    name = f"{pipelines} pipeline{'s' if pipelines > 1 else ''}, {what}"
                    if options.only not in name:
                        continue
                    results.append(scene.play(name, do, target))
                    print(results[-1].row(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=1) + "\n")
    return any(result.tally.lost or result.tally.changed for result in results)


if __name__ == "__main__":
    sys.exit(main())
