"""Synthetic photographs of faces with exactly known poses; nothing but `pose_references/` is needed."""
