"""Faces in the user's own pictures."""
