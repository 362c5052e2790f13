"""Judges head poses on BIWI; see `--help`."""

from img2pose.cli.evaluate_biwi import main

if __name__ == "__main__":
    raise SystemExit(main())
