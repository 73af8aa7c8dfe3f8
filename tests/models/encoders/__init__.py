"""Rows of the encoders that transformers has no backbone class for."""

from . import clip, larger, sam, vit

ENCODERS = {encoder.model_type: encoder for encoder in (*vit.ENCODERS, *clip.ENCODERS, *larger.ENCODERS, *sam.ENCODERS)}
