"""Converts a list of annotation JSONs to an LMDB of images and pose labels; see `--help`."""

from img2pose.cli.convert_json_list_to_lmdb import main

if __name__ == "__main__":
    raise SystemExit(main())
