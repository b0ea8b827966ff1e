"""The page: its screens side by side, served to this machine only and asking nobody else."""

import os
from importlib import resources
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from starlette.middleware import Middleware

from llm_lightning.reporting.render.page import asset
from llm_lightning.ui.context import Context
from llm_lightning.ui.own_requests import OwnRequests
from llm_lightning.ui.tabs.arena import arena_tab
from llm_lightning.ui.tabs.chat import chat_tab
from llm_lightning.ui.tabs.compare import compare_tab
from llm_lightning.ui.tabs.data import data_tab
from llm_lightning.ui.tabs.runs import runs_tab
from llm_lightning.ui.tabs.try_it import try_tab

HOST = "127.0.0.1"
_MOST_UPLOADED = "50mb"
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"]
_FIXED = ["ui-monospace", "SFMono-Regular", "Consolas", "Liberation Mono", "monospace"]


def build_page(context: Context) -> gr.Blocks:
    """Builds all screens.

    Args:
        context: what they share.
    """
    page: gr.Blocks = gr.Blocks(title="llm_lightning", analytics_enabled=False, fill_width=True)
    with page, gr.Tabs():
        with gr.Tab("Runs"):
            runs_tab(context, page)
        with gr.Tab("Data") as tab:
            data_tab(context, tab)
        with gr.Tab("Try it") as tab:
            try_tab(context, tab)
        with gr.Tab("Chat") as tab:
            chat_tab(context, tab)
        with gr.Tab("Compare") as tab:
            compare_tab(context, tab)
        with gr.Tab("Arena") as tab:
            arena_tab(context, tab)
    return page


def launch_page(page: gr.Blocks, port: int | None) -> str:
    """Serves the page to browsers on this machine, in threads of this process.

    Args:
        page: from :func:`build_page`.
        port: to listen on; ``None``: the first free one from 7860 on.

    Returns:
        The address.

    Raises:
        OSError: if the port is taken.
    """
    script = (resources.files(__package__) / "keys.js").read_text(encoding="utf-8")
    style = (resources.files(__package__) / "page.css").read_text(encoding="utf-8")
    guard: dict[str, Any] = {"middleware": [Middleware(OwnRequests)]}
    _, address, _ = page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=_MOST_UPLOADED,
        theme=gr.themes.Base(font=_FONTS, font_mono=_FIXED),
        css=asset("plots.css") + style,
        head=f"<script>{script}</script>",
        app_kwargs=guard,
    )
    return address
