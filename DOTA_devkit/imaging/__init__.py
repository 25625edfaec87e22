"""Reading the pixels of image files, by one rule for every command.

The rule (`ReadOptions`) says how 16 bits per channel are converted, which bands are the colors and
what is refused. Headers, decoding by OpenCV and by rasterio, orientation, masks and the contrast
stretch belong here; finding images by their id belongs to `DOTA_devkit.images`, georeferences to
`deploy.predict.georeference`.
"""

from DOTA_devkit.imaging.decode import import_cv2
from DOTA_devkit.imaging.options import DEPTHS, HIGH_BYTE, STRETCH, ReadOptions
from DOTA_devkit.imaging.reading import (
    PixelReader,
    Reader,
    bgr_of_array,
    image_size_wh,
    read_image,
    read_stretched,
)

__all__ = [
    "DEPTHS",
    "HIGH_BYTE",
    "STRETCH",
    "PixelReader",
    "ReadOptions",
    "Reader",
    "bgr_of_array",
    "image_size_wh",
    "import_cv2",
    "read_image",
    "read_stretched",
]
