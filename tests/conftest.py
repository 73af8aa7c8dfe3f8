"""The environment of every test: no network, no progress bars, no GPU, and no settings from the surrounding shell."""

from __future__ import annotations

import os

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TRANSFORMERS_VERBOSITY="error",
    CUDA_VISIBLE_DEVICES="",
    NO_PROXY="127.0.0.1",
)
for name in ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "RANK", "WORLD_SIZE", "BACKBONE_MODEL"):
    os.environ.pop(name, None)
