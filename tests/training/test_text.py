"""Text as examples for language models, and images of another size."""

from __future__ import annotations

import numpy as np
import pytest

from memtrain.errors import DataError
from memtrain.training.data import as_images
from memtrain.training.text import Text, Windows, load_text, load_topics


def windows(text, sequence):
    return Windows(Text(np.frombuffer(text, np.uint8), "a text"), sequence)


def test_the_topics_are_the_language_reference_of_this_python():
    text = bytes(load_topics().tokens).decode()
    assert len(text) > 300_000
    assert '"assert" statement' in text
    assert load_topics().digest() == load_topics().digest()


def test_the_label_of_a_token_is_the_next_token_also_across_windows():
    found = windows(b"abcdefghijklmnopqrstuvw", 4)
    assert len(found) == 5  # the last window needs a label for its last token
    data = found.take(np.array([4, 0]))
    assert bytes(data.x.astype(np.uint8).ravel()) == b"qrstabcd"
    assert bytes(data.y.astype(np.uint8).ravel()) == b"rstubcde"
    assert (data.x.dtype, data.y.dtype, data.output_size) == (np.int64, np.int64, 256)


def test_the_last_fifth_of_a_text_is_for_the_test():
    training, test = windows(bytes(4001), 40).rows()
    assert training.tolist() == list(range(80))
    assert test.tolist() == list(range(80, 100))


def test_a_text_that_is_too_short_or_empty_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"23 bytes, too few for 5 sequences of 5"):
        windows(b"abcdefghijklmnopqrstuvw", 5).rows()
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.txt is empty"):
        load_text(tmp_path / "empty.txt")
    with pytest.raises(DataError, match=r"none\.txt cannot be read"):
        load_text(tmp_path / "none.txt")
    (tmp_path / "some.txt").write_bytes(b"\xff\x00text")
    assert bytes(load_text(tmp_path / "some.txt").tokens) == b"\xff\x00text"
    with pytest.raises(DataError, match=r"6 B, and 5 B are free"):
        load_text(tmp_path / "some.txt", free_bytes=5)


def test_images_are_enlarged_to_the_nearest_pixel_and_channels_come_last():
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 12)  # two images of 2×2 pixels with 3 channels
    same, larger = as_images(x, (2, 2, 2, 3)), as_images(x, (2, 4, 4, 3))
    assert same[1, 0, 1].tolist() == [13, 17, 21]
    np.testing.assert_array_equal(larger, same.repeat(2, axis=1).repeat(2, axis=2))
    assert as_images(x, (2, 3, 3, 3))[0, :, :, 0].tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]
