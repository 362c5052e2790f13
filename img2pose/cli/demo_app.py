"""Serves a page that shows the faces of photographs dropped on it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import (
    add_model_arguments,
    add_score_threshold_argument,
    load_detector,
)
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.photograph_analysis import LOWEST_SCORE, PhotographAnalyser
from img2pose.errors import InputError
from img2pose.interrupts import stop_on_signals

log = logging.getLogger(__name__)

_POLL_S = 0.2


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/demo_app.py",
        "Serve a page: drop a photograph, see boxes, axes, rendered faces, aligned crops and"
        " numbers, and download them as JSON. Works without a connection to the internet;"
        " photographs stay on this machine and are removed when the command ends (Ctrl-C). Needs"
        " Gradio: pip install '.[demo]'.",
        "",
        "--checkpoint best.pth --host 0.0.0.0 --port 8080",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (default %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="0 takes a free one (default %(default)s)"
    )
    parser.add_argument(
        "--share",
        action="store_true",
        help="also give the page a public address, through servers of Gradio's makers",
    )
    add_score_threshold_argument(parser)
    add_model_arguments(parser)
    return parser


def _check_demo_package() -> None:
    if find_spec("gradio") is None:
        raise InputError(
            "the page needs the package gradio; run pip install '.[demo]' in the checkout"
        )


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port {args.port}: must be between 0 and 65535")
    threshold = args.score_threshold
    if threshold is not None and not LOWEST_SCORE <= threshold <= 0.95:
        raise InputError(f"--score_threshold {threshold}: must be between {LOWEST_SCORE} and 0.95")
    _check_demo_package()
    detector = load_detector(args, score_threshold=LOWEST_SCORE)
    if threshold is None:
        threshold = detector.model.config.face_score_threshold
    with tempfile.TemporaryDirectory(prefix="img2pose_demo_") as folder, stop_on_signals() as stop:
        # Photographs and results go there, not where they would outlive the server. Both are read
        # when Gradio is imported.
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from img2pose.cli.demo_page import build_page, serve

        page = build_page(PhotographAnalyser(detector), threshold, Path(folder))
        try:
            local, public = serve(page, host=args.host, port=args.port, share=args.share)
        except OSError as error:
            raise InputError(
                f"--host {args.host} --port {args.port}: cannot be listened at; give another"
            ) from error
        if args.share and public is None:
            log.warning("--share: no public address was given; the page is at its own one only")
        addresses = {"page": local} | ({} if public is None else {"public_page": public})
        print_results(args, addresses)
        sys.stdout.flush()
        try:
            while not stop:
                time.sleep(_POLL_S)
        finally:
            page.close(verbose=False)
    return 0
