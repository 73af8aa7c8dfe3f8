import numpy as np
import pytest

from backbone_cli.view.photos import PhotoFeatures


@pytest.fixture
def photos():
    """Two wide photos with maps at two stages; the upper half of each map differs from the lower one."""
    rng = np.random.default_rng(3)

    def maps(channels, height, width):
        feature_map = rng.standard_normal((channels, height, width)).astype(np.float32)
        feature_map[0, : height // 2] += 20
        return feature_map

    return [
        PhotoFeatures(
            name,
            rng.integers(0, 256, (48, 96, 3), dtype=np.uint8),
            {"early": maps(5, 12, 24), "late": maps(40, 3, 6)},
        )
        for name in ("a/one", "two </script> & <b>")
    ]


STRIDES = {"early": 4, "late": 16}
