"""`python -m kai_airflow.local.kubernetes --home DIR --images FILE`: the server as a process of its own."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from kai_airflow.local.errors import StackError
from kai_airflow.local.kubernetes.server import serve


def main() -> int:
    """Serve until a signal ends it: 0; 2 with a message where it can't start."""
    parser = argparse.ArgumentParser(prog="python -m kai_airflow.local.kubernetes", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder for the kubeconfig, logs and pods' files")
    parser.add_argument("--images", type=Path, required=True, help="images.yaml: which command stands for an image")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; by default any that is free")
    parser.add_argument("--ingress-port", type=int, default=0, help="port for Ingresses; by default any that is free")
    parser.add_argument("--token-file", type=Path, help="holds the token of all clients; by default a new one is made")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        asyncio.run(serve(args.home, args.images, args.port, args.ingress_port, args.token_file))
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
