import pytest

from llm_lightning.callbacks.sample_responses import responses_table


@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated")  # TensorBoard's own
def test_texts_are_shown_literally() -> None:
    from tensorboard.plugin_util import markdown_to_safe_html

    row = ("Make *this* `<b>bold</b>`.", "a|b", "[x](y) & _z_", "one\n# two\\n")
    page = markdown_to_safe_html(responses_table([row]))
    cells = [part.split("</td>")[0] for part in page.split("<td>")[1:]]
    assert cells == [
        "Make *this* `&lt;b&gt;bold&lt;/b&gt;`.",
        "a|b",
        "[x](y) &amp; _z_",
        "one<br># two\\n",
    ]
