"""Finds the faces of WIDER FACE's images and scores them; see `python evaluate_wider.py --help`."""

from img2pose.cli.evaluate_wider import main

if __name__ == "__main__":
    raise SystemExit(main())
