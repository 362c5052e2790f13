"""The page of the demonstration, in Gradio; imported only where that is installed."""

from __future__ import annotations

import logging
import socket
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from img2pose.cli.photograph_analysis import LOWEST_SCORE, TABLE_HEADERS, PhotographAnalyser
from img2pose.errors import InputError

LARGEST_FILE = "50mb"

# Fonts of the reader's own machine: nothing is fetched from elsewhere.
_THEME = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
# Without the one that hands pictures to a web site.
_BUTTONS = ["download", "fullscreen"]
_EXPLANATION = """\
# img2pose
Every face with its pose: red points to the picture's right, green to the chin, blue out of the
face. Angles are those of AFLW2000-3D's protocol. A unit is the reference face's; metres are those
of an adult with eyes 63 mm apart, seen by a camera with a focal length of width + height.
"""


def build_page(analyse: PhotographAnalyser, score_threshold: float, folder: Path) -> gr.Blocks:
    """Lays out the page.

    Args:
        analyse: Finds faces.
        score_threshold: Where the slider stands at first.
        folder: For the files that are downloaded.
    """

    def show(path: str | None, threshold: float) -> list[Any]:
        if path is None:
            return _cleared("Drop a photograph.")
        name = Path(path).name
        try:
            found = analyse(Path(path).read_bytes(), name, threshold)
        except InputError as error:
            return _cleared(f"**{error}**")
        count = len(found.detections)
        message = f"{count} face{'' if count == 1 else 's'} with a score above {threshold:g}."
        rendered = found.rendered() if found.can_be_rendered else None
        if rendered is None:
            message += " The model's reference face has no mesh, so nothing is rendered."
        file = Path(tempfile.mkdtemp(dir=folder)) / f"{Path(name).stem}_faces.json"
        file.write_text(found.to_json(name), encoding="utf-8")
        return [
            message,
            found.drawn(),
            rendered,
            found.crops(),
            found.rows(),
            gr.DownloadButton(value=str(file), interactive=True),
        ]

    with gr.Blocks(
        title="img2pose", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)
    ) as page:
        gr.Markdown(_EXPLANATION)
        with gr.Row():
            with gr.Column(scale=1):
                # Not an image component: those decode by themselves and lose depth and turn.
                photograph = gr.File(label="Photograph", type="filepath", height=140)
                threshold = gr.Slider(
                    LOWEST_SCORE, 0.95, score_threshold, step=0.05, label="Least score"
                )
                message = gr.Markdown("Drop a photograph.", elem_id="message")
                download = gr.DownloadButton("Download JSON", interactive=False)
            with gr.Column(scale=2):
                drawn = gr.Image(
                    label="Boxes and axes", format="jpeg", interactive=False, buttons=_BUTTONS
                )
            with gr.Column(scale=2):
                rendered = gr.Image(
                    label="Rendered faces", format="jpeg", interactive=False, buttons=_BUTTONS
                )
        crops = gr.Gallery(
            label="Aligned crops",
            columns=8,
            # Single faces would fill the row.
            fit_columns=False,
            height=230,
            format="jpeg",
            buttons=_BUTTONS,
        )
        table = gr.Dataframe(
            headers=list(TABLE_HEADERS), datatype="number", label="Faces", interactive=False
        )
        outputs = [message, drawn, rendered, crops, table, download]
        shared: dict[str, Any] = {"fn": show, "inputs": [photograph, threshold], "outputs": outputs}
        photograph.change(**shared, api_name="faces", concurrency_id="model")
        threshold.release(**shared, api_name=False, concurrency_id="model")
    return page


def _cleared(message: str) -> list[Any]:
    return [message, None, None, [], [], gr.DownloadButton(value=None, interactive=False)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def serve(page: gr.Blocks, *, host: str, port: int, share: bool) -> tuple[str, str | None]:
    """Starts the server in the background.

    Args:
        page: Of `build_page`.
        host: Address to listen at.
        port: Number; 0 takes a free one.
        share: Also make a public address through Gradio's servers.

    Returns:
        Its address, and the public one or None.

    Raises:
        OSError: The address cannot be listened at.
    """
    # Its requests to itself are no news.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    _, local, public = page.launch(
        server_name=host,
        server_port=port or _free_port(),
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        theme=_THEME,
        footer_links=[],
        max_file_size=LARGEST_FILE,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        run_history=False,
    )
    return local, public or None
