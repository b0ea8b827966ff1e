from pathlib import Path

import pytest

from llm_lightning.data.encodings import decode_utf8
from llm_lightning.data.text_files import read_json_lines, read_text


def write(folder: Path, content: bytes) -> Path:
    (folder / "a.txt").write_bytes(content)
    return folder / "a.txt"


def test_text_has_neither_a_byte_order_mark_nor_other_systems_line_ends(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeffone\r\ntwo\rthree\n".encode())
    assert read_text(file) == "one\ntwo\nthree\n"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_and_line_of_invalid_utf8_are_named(mark: bytes) -> None:
    content = mark + b"fine\ncaf\xe9\n"
    message = f"the file is not UTF-8: byte {content.index(0xE9)} in line 2 cannot be decoded"
    with pytest.raises(ValueError, match=message):
        decode_utf8(content, "the file")


def test_json_lines_keep_their_numbers_and_odd_separators(tmp_path: Path) -> None:
    file = write(tmp_path, '{"a": "x\u2028y"}\r\n\n  \n[1]'.encode())
    assert list(read_json_lines(file)) == [(1, {"a": "x\u2028y"}), (4, [1])]
