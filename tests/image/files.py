"""Makes the images of tests/data/image: `python -m tests.image.files FOLDER`."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import cv2
import numpy as np


def picture(height: int, width: int, n_channels: int = 3) -> np.ndarray:
    """A smooth picture with an edge, uint8 (H, W, C)."""
    y, x = np.mgrid[:height, :width]
    parts = [x * 200 // width, y * 220 // height, (x + y) * 3 % 256, np.where(x > y, 40, 220)]
    return np.stack(parts[:n_channels], axis=2).astype(np.uint8)


def exif(orientation: int) -> bytes:
    """The segment of a JPEG in which a camera says how it was held."""
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = cv2.imencode(".jpg", picture(13, 18), [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
    jfif_end = 4 + struct.unpack(">H", jpeg[4:6])[0]
    (folder / "colour.jpg").write_bytes(jpeg)
    (folder / "camera.jpg").write_bytes(jpeg[:2] + exif(6) + jpeg[jfif_end:])  # as cameras write them
    (folder / "camera_jfif.jpg").write_bytes(jpeg[:jfif_end] + exif(6) + jpeg[jfif_end:])
    cv2.imwrite(str(folder / "grey.jpg"), picture(11, 9, 1), [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(folder / "alpha.png"), picture(10, 12, 4))
    cv2.imwrite(str(folder / "small.png"), picture(5, 4))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
