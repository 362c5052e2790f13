"""Scores files of predictions by WIDER FACE's protocol; see `--help`."""

from img2pose.cli.score_wider import main

if __name__ == "__main__":
    raise SystemExit(main())
