"""Judges a model against annotated landmarks; see `--help`."""

from img2pose.cli.evaluate_landmarks import main

if __name__ == "__main__":
    raise SystemExit(main())
