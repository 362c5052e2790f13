from __future__ import annotations

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2pose.evaluation.plots import Curve, draw_bars, draw_curves, png_bytes
from img2pose.evaluation.report import (
    Case,
    Plot,
    Report,
    Section,
    Summary,
    Table,
    render_html,
    write_report,
)

HOSTILE = "<script src='http://evil'>alert(\"1\")</script>&amp; \ud800\x00 {{ 7 * 7 }}"
SHOWN = "<script src='http://evil'>alert(\"1\")</script>&amp; \N{REPLACEMENT CHARACTER}"
PICTURE = np.full((30, 40, 3), (200, 30, 30), dtype=np.uint8)


def page(report: Report) -> ET.Element:
    """The page's elements; it has to be well-formed."""
    return ET.fromstring(render_html(report))


def full_report(text: str) -> Report:
    plot = png_bytes(draw_curves([Curve("a", np.arange(3), np.arange(3))], x_label="", y_label=""))
    table = Table(text, (text, "b"), [[text, 1.25], [text, None], [text, 3]], (None, 1), text)
    section = Section(text, [text], [table], [Plot(text, plot, text)], [Case(text, PICTURE, text)])
    return Report(text, text, [(text, text)], [section], [(text, text)])


def test_a_page_is_well_formed_and_shows_all_text_as_it_is() -> None:
    root = page(full_report(HOSTILE))
    # Only what the template has itself: text brings no elements.
    assert {element.tag for element in root.iter()}.isdisjoint({"script", "iframe", "link", "a"})
    texts = [text.strip() for text in root.itertext() if text.strip().startswith("<script")]
    assert len(texts) == 19
    assert all(text.startswith(SHOWN) and "{{ 7 * 7 }}" in text for text in texts)
    alternatives = [image.attrib["alt"] for image in root.iter("img")]
    assert all(text.startswith(SHOWN) for text in alternatives)


def test_a_page_refers_to_nothing_outside() -> None:
    report = full_report("a")
    html = render_html(report)
    assert "http" not in html.replace("http-equiv", "")
    assert re.findall(r"url\(|@import|//", re.sub(r"base64,[\w+/=]+", "", html)) == []
    for element in page(report).iter():
        for name, value in element.attrib.items():
            if name in ("src", "href"):
                assert value.startswith("data:image/")
    assert "default-src 'none'" in html


def test_pictures_and_plots_are_inside() -> None:
    plot, case = (image.attrib["src"] for image in page(full_report("a")).iter("img"))
    opened = [
        Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))
        for uri in (plot, case)
    ]
    assert [image.format for image in opened] == ["PNG", "JPEG"]
    assert opened[1].size == (40, 30)
    assert np.abs(np.asarray(opened[1]).astype(int) - PICTURE).max() < 8


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_leaves_the_page_well_formed(text: str) -> None:
    report = Report(text, facts=[(text, text)], sections=[Section(text, [text])])
    render_html(report).encode()
    page(report)


def test_numbers_are_rounded_and_stand_right() -> None:
    table = Table("t", ("n", "x", "y"), [["a", 2.345678, 7], ["b", None, 8]], (None, 2, None))
    cells = list(page(Report("r", sections=[Section("s", tables=[table])])).iter("td"))
    assert [cell.text for cell in cells] == ["a", "2.35", "7", "b", "\N{EN DASH}", "8"]
    assert [cell.get("class") for cell in cells[:3]] == [None, "n", "n"]
    assert Table("t", ("x",), [[0.000123456]]).text(0, 0.000123456) == "0.0001235"
    with pytest.raises(ValueError, match="1 entries for 2 columns"):
        Table("t", ("a", "b"), [[1]])


def test_a_wide_plot_has_the_whole_width() -> None:
    plot = png_bytes(draw_curves([], x_label="", y_label=""))
    plots = [Plot("a", plot), Plot("b", plot, is_wide=True)]
    figures = page(Report("r", sections=[Section("s", plots=plots)])).iter("figure")
    assert [figure.attrib.get("class") for figure in figures] == [None, "whole"]


def test_what_is_empty_is_left_out() -> None:
    root = page(Report("r"))
    assert [element.tag for element in root.find("body/main") or []] == ["h1"]


def test_files_are_written(tmp_path: Path) -> None:
    write_report(tmp_path / "out" / "report.html", Report("r"))
    assert (tmp_path / "out" / "report.html").read_text("utf-8") == render_html(Report("r"))
    summary = Summary(
        {"recall": 0.5, "error": None},
        {},
        {"pictures": 3},
        {
            "depth": 18,
            "mirrored": True,
            "sizes": [200, 300],
            "none": [],
            "left": {"a": 1, "b": 2.5},
        },
        "cmd",
        {"command": 1.25},
        {},
    )
    summary.write(tmp_path / "summary.json")
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["figures"] == {"recall": 0.5, "error": None}
    assert list(content) == [
        "figures",
        "protocol",
        "data",
        "model",
        "command",
        "seconds",
        "versions",
    ]
    facts = dict(summary.facts())
    assert facts["command"] == "cmd"
    assert (facts["model: mirrored"], facts["model: sizes"]) == ("yes", "200, 300")
    assert (facts["model: none"], facts["model: left"]) == ("\N{EN DASH}", "a: 1, b: 2.5")
    assert (facts["data: pictures"], facts["seconds: command"]) == ("3", "1.25")


def test_plots_draw_what_is_given() -> None:
    figure = draw_curves(
        [
            Curve("_a $x", np.array([0, 1, 2]), np.array([0, 0.5, 1]), steps=True),
            Curve("", np.array([0, 4]), np.array([1, np.nan]), dashed=True),
        ],
        x_label="x $",
        y_label="y",
        x_range=(0, 4),
        marks={"0.08": 0.08},
    )
    (axes,) = figure.get_axes()
    # A step holds to the end of what is shown.
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [0, 1, 2, 4])
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [0, 0.5, 1, 1])
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["_a $x"]
    bars = draw_bars(
        ["0 to 30", "30 to 60"],
        {"yaw": [1, None], "roll": [3, 4]},
        x_label="yaw",
        y_label="error",
        counts=[5, 6],
    )
    (axes,) = bars.get_axes()
    heights = [[bar.get_height() for bar in group] for group in axes.containers]
    np.testing.assert_array_equal(heights, [[1, np.nan], [3, 4]])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "0 to 30\nn=5",
        "30 to 60\nn=6",
    ]
    assert png_bytes(bars).startswith(b"\x89PNG")


def test_a_table_as_markdown() -> None:
    rows = [["a|b", 1.25, 3], ["c", None, 4]]
    table = Table("Angles", ("which", "yaw", "faces"), rows, (None, 1, None), "A note.")
    assert table.markdown().split("\n") == [
        "**Angles**",
        "",
        "| which | yaw | faces |",
        "| --- | ---: | ---: |",
        "| a\\|b | 1.2 | 3 |",
        "| c | \N{EN DASH} | 4 |",
        "",
        "A note.",
    ]
    assert Table("", ("one",), [[1]]).markdown() == "| one |\n| ---: |\n| 1 |"
