"""Draws masks, landmarks, depth, textures and meshes of faces by their poses; see `--help`."""

from img2pose.cli.render import main

if __name__ == "__main__":
    raise SystemExit(main())
