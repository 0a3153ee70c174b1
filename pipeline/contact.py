"""Stage `contact`: draws a contact sheet of a data set's images as training sees them."""

import numpy as np

from gan.config import Params
from gan.data.image_store import ImageStore
from gan.files import write_bytes
from pipeline.drawing.pictures import drawn, encode_png, enlarge, lay_out
from pipeline.stage import find_dataset, run_stage

COLUMNS, ROWS = 16, 8
SMALL = 40  # images up to this side are shown at twice their size


def main(params: Params, argument: str) -> None:
    """Write build/contact/DATASET.png from the split `train`."""
    dataset = find_dataset(argument, params)
    write_bytes(dataset.contact, contact_sheet(ImageStore(dataset.store, "train")))


def contact_sheet(store: ImageStore, count: int = COLUMNS * ROWS) -> bytes:
    """Lay out evenly spaced images of a split, sorted by class if it has classes, as PNG."""
    count = min(count, len(store))
    chosen = np.linspace(0, len(store) - 1, count).astype(np.int64)
    chosen = chosen[np.argsort(store.read_labels(chosen), kind="stable")]
    columns = min(COLUMNS, count)
    missing = -count % columns  # places of the last row, left black
    images = drawn(store.read(chosen))
    images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
    picture = lay_out(images, columns)
    return encode_png(enlarge(picture) if store.image.height <= SMALL else picture)


if __name__ == "__main__":
    run_stage(main, "DATASET")
