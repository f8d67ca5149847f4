"""One picture's regions as others describe them: their names, units and padding."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from msdkit.errors import DataError

# The first name that holds something is read. MMF (tools/scripts/features, feature_readers.py at
# facebookresearch/mmf b0ffc7f), ViLBERT (script/convert_to_lmdb.py at facebookresearch/
# vilbert-multi-task f22b84a), x, width and height: MILVLG (see `NpzFolder`)
FEATURES = ("features", "image_feat", "image_feature", "feature", "x")
BOXES = ("bbox", "boxes", "image_bboxes")
SIDES = (("image_width", "image_w", "width"), ("image_height", "image_h", "height"))
SHARES, SCORES = "norm_bb", "conf"  # UNITER's
ACCEPTED = "x1, y1, x2, y2 in pixels with the picture's width and height, or as shares of these"


class Regions(NamedTuple):
    """One picture: features `[L, D]`; boxes `[L, 4]`, x1, y1, x2, y2 as shares of the picture's
    sides, or None."""

    features: np.ndarray
    boxes: np.ndarray | None = None


class Detected(NamedTuple):
    """What a source holds of a picture; scores `[L]`: how sure the detector was, or None."""

    regions: Regions
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Selection:
    """Which regions of a picture are kept: the first ones, as many as UNITER's loader would take.

    These are as many as have a score above `min_score`, at least `min_regions` and at most
    `max_regions`; without `min_score` the first `max_regions`, or all.
    """

    min_score: float | None = None
    min_regions: int = 10
    max_regions: int | None = None

    def __call__(self, where: str, detected: Detected) -> Regions:
        (features, boxes), scores = detected
        most = self.max_regions
        if self.min_score is not None:
            if scores is None:
                raise DataError(f"{where}: has no scores (`{SCORES}`), which min_score needs")
            count = max(self.min_regions, int((scores > self.min_score).sum()))
            most = count if most is None else min(most, count)
        return Regions(features[:most], None if boxes is None else boxes[:most])


def described(where: str, about: Mapping[str, Any]) -> Detected:
    """The regions of a description: features under one of `FEATURES`, boxes under one of `BOXES`.

    Rows of zeros at the end are padding and cut off; `num_boxes` is not asked, as it counts
    detections above a threshold. A description without boxes or scores is complete; one whose
    boxes, size of the picture or scores cannot be read is an error.
    """
    about = _flat(about)
    features, boxes, scores = _named(about, FEATURES), _boxes(where, about), _scores(where, about)
    if not isinstance(features, np.ndarray):
        raise DataError(
            f"{where}: expected a dictionary with `features`, an array (or "
            f"{', '.join(FEATURES[1:])}); it holds {', '.join(map(str, about)):.200}"
        )
    rows = _rows(features)
    length = len(features) if features.ndim == 2 else 0  # what is said of padding goes with it
    if boxes is not None and len(boxes) == length:
        boxes = boxes[: len(rows)]
    if scores is not None and len(scores) == length:
        scores = scores[: len(rows)]
    return checked(where, rows, boxes, scores)


def _flat(about: Mapping[str, Any]) -> dict[str, Any]:
    """A description inside of an array (a `.npy` file that holds a dictionary) comes first, one
    under `info` last."""
    flat = dict(about)
    for name in FEATURES:
        inner = flat.get(name)
        if isinstance(inner, np.ndarray) and inner.dtype == object and inner.size == 1:
            inner = inner.item()
        if isinstance(inner, Mapping):
            del flat[name]
            flat |= inner
            break
    info = flat.pop("info", None)
    return {**info, **flat} if isinstance(info, Mapping) else flat


def _named(about: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((about[name] for name in names if about.get(name) is not None), None)


def _rows(features: np.ndarray) -> np.ndarray:
    """A grid `[H, W, D]` or `[1, H, W, D]` as `[L, D]`; a list of regions without its padding."""
    if features.ndim == 4 and len(features) == 1:
        features = features[0]
    if features.ndim == 3:
        return features.reshape(-1, features.shape[-1])
    if features.ndim != 2 or features.dtype.kind != "f" or not features.size:
        return features  # `checked` says what is wrong
    last = np.flatnonzero(features.any(axis=1))[-1:]
    return features[: last[0] + 1 if last.size else 1]


def _boxes(where: str, about: Mapping[str, Any]) -> np.ndarray | None:
    """float32 `[L, 4]` as shares, or None where the description has none."""
    given = _named(about, (*BOXES, SHARES))
    if given is None:
        return None
    try:
        boxes = np.asarray(given, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: boxes {_short(given)}; expected {ACCEPTED}") from error
    if _named(about, BOXES) is None:
        return as_shares(where, boxes, None, None)
    return as_shares(where, boxes, *(_side(where, about, names) for names in SIDES))


def _scores(where: str, about: Mapping[str, Any]) -> np.ndarray | None:
    """`[L]` of `[L]` or `[L, 1]`, in their own precision; None where the description has none."""
    given = about.get(SCORES)
    if given is None:
        return None
    try:
        scores = np.reshape(given, -1)
        return scores if scores.dtype.kind in "fiu" else scores.astype(np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: {SCORES} {_short(given)}; expected a number for each region"
        ) from error


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, np.ndarray) else reprlib.repr(value)  # both cut it
    return f"{' '.join(text.split()):.80}"


def _side(where: str, about: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    """A side of the picture in pixels: a number, an array that holds one, or its text."""
    given = _named(about, names)
    if given is None:
        return None
    value = given.item() if isinstance(given, np.ndarray) and given.size == 1 else given
    try:
        if isinstance(value, int | float | np.number | str) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"{where}: {names[0]} {_short(given)}; expected a number of pixels")


def as_shares(
    where: str, boxes: np.ndarray, width: float | None, height: float | None
) -> np.ndarray:
    """`[L, 4 or more]` in pixels or as shares -> `[L, 4]` as shares.

    What ends before pixel 2 are shares: MMF's VinVL extractor writes them beside the size in
    pixels. A box may reach over the border by a pixel.
    """
    sized = all(side is not None and 0 < side < np.inf for side in (width, height))
    shares = boxes.ndim == 2 and boxes.size > 0 and bool(boxes[:, :4].max() < 2)
    unsized = width is height is None and shares
    if boxes.ndim != 2 or boxes.shape[1] < 4 or not (sized or unsized):
        size = " x ".join("unknown" if side is None else f"{side:g}" for side in (width, height))
        form = f"boxes {list(boxes.shape)} in a picture of {size}"
        raise DataError(f"{where}: {form}; expected [L, 4], {ACCEPTED}")
    if unsized:
        return boxes[:, :4]
    sides = np.array([width, height, width, height], np.float32)
    boxes = boxes[:, :4] if shares else boxes[:, :4] / sides
    pixel = np.where(sides > 1, 1 / sides, 0)
    beyond = (boxes < -pixel).any() or (boxes > 1 + pixel).any()
    return boxes if beyond else boxes.clip(0, 1)


def checked(
    where: str, features: np.ndarray, boxes: np.ndarray | None, scores: np.ndarray | None = None
) -> Detected:
    """The regions, if all is finite and of one length, and the boxes lie in the picture."""
    if features.ndim != 2 or features.dtype.kind != "f" or not features.size:
        form = f"{features.dtype} {list(features.shape)}"
        raise DataError(f"{where}: features {form}; expected floats [L, D]")
    if not np.isfinite(features).all():
        raise DataError(f"{where}: features hold NaN or infinity")
    if scores is not None and scores.shape != (len(features),):
        raise DataError(f"{where}: scores {list(scores.shape)} of {len(features)} regions")
    if boxes is None:
        return Detected(Regions(features), scores)
    boxes = boxes.astype(np.float32)
    if boxes.shape != (len(features), 4):
        raise DataError(f"{where}: boxes {list(boxes.shape)} of {len(features)} regions")
    low, high = boxes.min(), boxes.max()
    # NaN fails this too; 1e-3: rounding in half precision
    if not (low >= -1e-3 and high <= 1 + 1e-3 and (boxes[:, :2] <= boxes[:, 2:]).all()):
        raise DataError(
            f"{where}: boxes lie outside of the picture or have x2 < x1 or y2 < y1 (as shares they "
            f"run from {low:g} to {high:g}); expected {ACCEPTED}"
        )
    return Detected(Regions(features, boxes.clip(0, 1)), scores)
