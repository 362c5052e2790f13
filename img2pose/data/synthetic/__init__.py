"""Synthetic photographs of faces with exactly known poses, from `pose_references/` alone."""
