"""An image's declared shape, and sentences for what is wrong with one."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.errors import InvalidError


def check_image(image: Sequence[int], *, sides: tuple[int, int], most_channels: int, grey: bool = False) -> None:
    """Hold `image`, channels, height and width, to its limits.

    Args:
        image: As it was written.
        sides: The least and the largest height and width.
        most_channels: How many channels at most.
        grey: Whether height and width alone will do.

    Raises:
        InvalidError: It is something else; the sentence says which of the numbers is wrong.
    """
    least, most = sides
    if len(image) != 3 and not (grey and len(image) == 2):
        form = "height and width, or channels, height and width" if grey else "channels, height and width"
        raise InvalidError(f"`image` must list {form}, as in [1, 28, 28]; it has {len(image)} numbers", field="image")
    if any(isinstance(number, bool) or not isinstance(number, int) for number in image):
        raise InvalidError("`image` must list whole numbers", field="image")
    if len(image) == 3 and not 1 <= image[0] <= most_channels:
        raise InvalidError(f"`image` begins with the channels, from 1 to {most_channels}", field="image")
    if not all(least <= side <= most for side in image[-2:]):
        raise InvalidError(f"height and width in `image` must lie between {least} and {most}", field="image")
