"""What notebooks show: small pictures, tables, plots; heads drawn in their poses."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from img2pose.evaluation.report import Case, Plot, Table
from img2pose.notebooks import (
    draw_heads,
    show_cases,
    show_picture,
    show_pictures,
    show_plot,
    show_rows,
    show_table,
)


def gray(height: int, width: int, level: int = 90) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[dict, dict]]]:
    """What a notebook keeps of what is shown: data and metadata by their kinds."""

    def call(show: Callable[..., None], *args: object, **kwargs: object) -> list[tuple[dict, dict]]:
        displayed: list[object] = []
        with monkeypatch.context() as patch:
            patch.setattr("IPython.display.display", displayed.append)
            show(*args, **kwargs)
        return [DisplayFormatter().format(one) for one in displayed]

    return call


def decoded(data: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"]))))


def test_pictures_stand_in_rows_of_equal_height(shown: Callable[..., list]) -> None:
    pictures = [gray(50, 100), gray(200, 200, 0), gray(20, 20, 200)]
    ((data, metadata),) = shown(show_pictures, pictures, alt="three", columns=2, height=100)
    picture = decoded(data)
    assert picture.shape == (206, 306, 3)
    assert metadata["image/jpeg"]["alt"] == "three"
    for row, column, level in ((50, 100, 90), (50, 250, 0), (150, 50, 200), (150, 250, 255)):
        assert abs(int(picture[row, column, 0]) - level) < 8
    assert (picture[:100, 202:204] > 240).all()


def test_captions_are_one_each(shown: Callable[..., list]) -> None:
    ((data, _),) = shown(show_pictures, [gray(90, 90)], ["a head"], height=90)
    assert decoded(data)[:12, :60, 0].mean() > 150
    with pytest.raises(ValueError, match="zip"):
        show_pictures([gray(9, 9)], ["one", "two"])
    with pytest.raises(ValueError, match="no pictures"):
        show_pictures([])


def test_a_large_picture_is_reduced(shown: Callable[..., list]) -> None:
    ((data, _),) = shown(show_picture, gray(1200, 1600), longest_side=640)
    assert decoded(data).shape == (480, 640, 3)
    ((data, _),) = shown(show_picture, gray(30, 40))
    assert decoded(data).shape == (30, 40, 3)


def test_tables_plots_and_cases(shown: Callable[..., list]) -> None:
    table = Table("", ("a", "b"), [[1, 2.5]])
    ((data, _),) = shown(show_table, table)
    assert data["text/markdown"] == table.markdown()
    assert shown(show_rows, ("a", "b"), iter([[1, 2.5]]))[0][0]["text/markdown"] == table.markdown()
    buffer = io.BytesIO()
    Image.fromarray(gray(4, 4)).save(buffer, "png")
    ((data, metadata),) = shown(show_plot, Plot("Curve", buffer.getvalue()))
    assert base64.b64decode(data["image/png"]) == buffer.getvalue()
    assert metadata["image/png"]["alt"] == "Curve"
    pictures, words = shown(show_cases, [Case("one.jpg", gray(80, 40), "turned")], height=80)
    assert decoded(pictures[0]).shape == (80, 40, 3)
    assert "| one.jpg | turned |" in words[0]["text/markdown"]


def test_heads_are_where_their_poses_say() -> None:
    left, right = np.array([[0, 0, 0, -1.2, 0, 9.0], [0, 0, 0, 1.2, 0, 9]])
    empty = draw_heads(np.empty((0, 6)), (60, 120))
    for poses, sides in ((left, {"left"}), (right, {"right"}), ([left, right], {"left", "right"})):
        changed = (draw_heads(np.array(poses), (60, 120)) != empty).any(-1)
        found = {
            name
            for name, half in (("left", np.s_[:, :60]), ("right", np.s_[:, 60:]))
            if changed[half].sum() > 100
        }
        assert found == sides
    drawn = draw_heads(left, background=gray(60, 120), axes=False)
    assert (drawn[:, 100:] == 90).all()
