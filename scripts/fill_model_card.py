"""Puts the figures of evaluations into a model card; see `--help`."""

from img2pose.cli.fill_model_card import main

if __name__ == "__main__":
    raise SystemExit(main())
