"""Judges head poses on AFLW2000-3D; see `--help`."""

from img2pose.cli.evaluate_aflw2000 import main

if __name__ == "__main__":
    raise SystemExit(main())
