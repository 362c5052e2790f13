"""Checks of annotated data: what may be wrong with a list of annotations or with a store.

`findings` names the checks, `faces` judges the labels of a picture, `sources` reads a list or a
store picture by picture, `workers` spreads that over processes, `report` gathers it all.
"""
