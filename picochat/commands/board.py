"""`picochat board RUNS`: a local page over a folder of runs. In: a folder. Out: a server. Calls picochat.board."""

import argparse
import socket
from pathlib import Path
from typing import Any

from picochat.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Add the command `board`."""
    purpose = "a local page over a folder of runs: live curves, reports, two checkpoints side by side"
    parser = subparsers.add_parser(
        "board", help=purpose, description=f"{purpose.capitalize()}.", epilog="example: picochat board runs"
    )
    parser.add_argument("folder", nargs="?", default="runs", metavar="RUNS", help="the folder (default: runs)")
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="of 127.0.0.1 (default: 8765; 0: any)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    if not 0 <= args.port < 2**16:
        raise UserError(f"--port {args.port} cannot be used; choose a number below 65536, or 0 for any")
    if not Path(args.folder).is_dir():
        raise UserError(f"{args.folder} is no folder; name the one that your runs lie in, such as runs")
    try:
        import uvicorn

        from picochat.board.app import Board
    except ImportError as error:
        raise UserError(f"the board needs {error.name}; install it with: pip install 'picochat[board]'") from error
    try:
        listening = socket.create_server(("127.0.0.1", args.port))
    except OSError as error:
        raise UserError(f"--port {args.port} cannot be used ({error}); choose another, or 0 for any") from error
    with listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]} shows {args.folder}; Ctrl-C ends it", flush=True)
        server = uvicorn.Server(uvicorn.Config(Board(Path(args.folder)).app(), log_level="warning"))
        server.run(sockets=[listening])
