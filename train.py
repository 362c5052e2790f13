"""Trains img2pose; see `python train.py --help`."""

from img2pose.cli.train import main

if __name__ == "__main__":
    raise SystemExit(main())
