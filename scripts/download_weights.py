"""Downloads the weights that the paper's authors published; see `--help`."""

from img2pose.cli.download_weights import main

if __name__ == "__main__":
    raise SystemExit(main())
