"""From a MaskFormer's classes and masks to segmentations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError

Sizes = Sequence[tuple[int, int]] | None
Segment = dict[str, Any]


class Predicted(Protocol):
    class_queries_logits: Tensor
    masks_queries_logits: Tensor


class SegmentationMixin:
    """The three ways to post-process a MaskFormer's outputs, for its model and its image processor."""

    def post_process_semantic_segmentation(self, outputs: Predicted, target_sizes: Sizes = None) -> list[Tensor]:
        """For each image a map (H, W) of class ids, at its target size or the masks' own."""
        classes = outputs.class_queries_logits.softmax(-1)[..., :-1]
        scores = torch.einsum("bqc, bqhw -> bchw", classes, outputs.masks_queries_logits.sigmoid())
        return [
            (score if size is None else resize_maps(score, size)).argmax(0)
            for score, size in zip(scores, sizes_for(outputs, target_sizes), strict=True)
        ]

    def post_process_instance_segmentation(
        self,
        outputs: Predicted,
        threshold: float = 0.5,
        target_sizes: Sizes = None,
        return_coco_annotation: bool = False,
        return_binary_maps: bool = False,
    ) -> list[dict[str, Any]]:
        """For each image `segmentation`, a map (H, W) of segment ids (-1 for none), and `segments_info`.

        Instances may overlap, and later ones hide earlier ones: `return_binary_maps` gives one mask per instance
        (N, H, W) instead, `return_coco_annotation` the run lengths of each id.
        """
        if return_coco_annotation and return_binary_maps:
            raise UsageError("return_coco_annotation and return_binary_maps exclude each other; choose one.")
        results = []
        for classes, masks, size in zip(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            sizes_for(outputs, target_sizes),
            strict=True,
        ):
            kept, segments = instances(classes, masks, threshold, size)
            segmentation: Any = torch.full(size or masks.shape[-2:], -1.0)
            for segment, mask in zip(segments, kept, strict=True):
                segmentation[mask == 1] = segment["id"]
            if return_coco_annotation:
                segmentation = [run_lengths(segmentation == i) for i in segmentation.unique()]
            elif return_binary_maps and kept:
                segmentation = torch.stack(kept)
            results.append({"segmentation": segmentation, "segments_info": segments})
        return results

    def post_process_panoptic_segmentation(
        self,
        outputs: Predicted,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        overlap_mask_area_threshold: float = 0.8,
        label_ids_to_fuse: Collection[int] | None = None,
        target_sizes: Sizes = None,
    ) -> list[dict[str, Any]]:
        """For each image `segmentation`, a map (H, W) in which every pixel has one segment, and `segments_info`.

        Queries whose best class scores at most `threshold` are dropped, as are segments with no more than
        `overlap_mask_area_threshold` of their area visible. Segments of each class in `label_ids_to_fuse` are merged.
        """
        results = []
        for classes, masks, size in zip(
            outputs.class_queries_logits,
            outputs.masks_queries_logits,
            sizes_for(outputs, target_sizes),
            strict=True,
        ):
            scores, labels = classes.softmax(-1).max(-1)
            keep = (labels != classes.shape[-1] - 1) & (scores > threshold)
            if keep.any():
                areas = mask_threshold, overlap_mask_area_threshold
                kept = masks[keep].sigmoid(), scores[keep], labels[keep]
                segmentation, segments = paint_segments(*kept, size, areas, label_ids_to_fuse or ())
            else:
                segmentation, segments = torch.full(size or masks.shape[-2:], -1.0), []
            results.append({"segmentation": segmentation, "segments_info": segments})
        return results


def sizes_for(outputs: Predicted, sizes: Sizes) -> Sequence[tuple[int, int] | None]:
    """A target size for each image of the batch."""
    count = len(outputs.class_queries_logits)
    if sizes is not None and len(sizes) != count:
        raise UsageError(f"There are {len(sizes)} target sizes for {count} images; give one for each.")
    return [None] * count if sizes is None else [(int(height), int(width)) for height, width in sizes]


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def instances(
    classes: Tensor, masks: Tensor, threshold: float, size: tuple[int, int] | None
) -> tuple[list[Tensor], list[Segment]]:
    """The masks and infos of one image's instances: the best (query, class) pairs, as many as there are queries."""
    count = classes.shape[-1] - 1
    scores, best = classes.softmax(-1)[:, :-1].flatten().topk(len(classes), sorted=False)
    masks = masks[best // count]
    filled = (masks > 0).float()
    # The mask's mean confidence in its own pixels.
    confidence = (masks.sigmoid() * filled).flatten(1).sum(1) / (filled.flatten(1).sum(1) + 1e-6)
    if size is not None:
        filled = F.interpolate(filled[None], size, mode="nearest")[0]
    kept: list[Tensor] = []
    segments: list[Segment] = []
    for score, label, mask in zip((scores * confidence).tolist(), (best % count).tolist(), filled, strict=True):
        if score >= threshold and mask.any():
            segments.append({"id": len(kept), "label_id": label, "was_fused": False, "score": round(score, 6)})
            kept.append(mask)
    return kept, segments


def paint_segments(
    masks: Tensor,
    scores: Tensor,
    labels: Tensor,
    size: tuple[int, int] | None,
    areas: tuple[float, float],
    fused: Collection[int],
) -> tuple[Tensor, list[Segment]]:
    """One image's segmentation, in which every pixel belongs to the query with the highest score there."""
    mask_threshold, min_visible = areas
    masks = (masks if size is None else resize_maps(masks, size)) * scores[:, None, None]
    owner = masks.argmax(0)
    segmentation = torch.zeros(masks.shape[-2:], dtype=torch.int32, device=masks.device)
    segments: list[Segment] = []
    fused_ids: dict[int, int] = {}  # class -> the id of its merged segment
    last = 0
    for query, (score, label) in enumerate(zip(scores.tolist(), labels.tolist(), strict=True)):
        visible, claimed = owner == query, (masks[query] >= mask_threshold).sum()
        if not (visible.any() and claimed > 0 and visible.sum() / claimed > min_visible):
            continue
        last = fused_ids.get(label, last + 1)
        segmentation[visible] = last
        segments.append({"id": last, "label_id": label, "was_fused": label in fused, "score": round(score, 6)})
        if label in fused:
            fused_ids[label] = last
    return segmentation, segments


def run_lengths(mask: Tensor) -> list[int]:
    """COCO's run lengths: the start of each run of ones, counted from 1, and its length, alternating."""
    flat = F.pad(mask.flatten().int(), (1, 1))
    edges = (flat[1:] != flat[:-1]).nonzero().flatten() + 1
    edges[1::2] -= edges[::2].clone()
    return edges.tolist()
