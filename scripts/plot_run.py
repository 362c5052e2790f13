"""Draws the curves of training runs; see `--help`."""

from img2pose.cli.plot_run import main

if __name__ == "__main__":
    raise SystemExit(main())
