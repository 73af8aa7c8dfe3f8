from tests.models.parity import Case

CASE = Case(
    "hgnet_v2",
    small={
        # The oracle takes the number of stages from `depths` and the classifier's width from `hidden_sizes`.
        "depths": [1, 1],
        "hidden_sizes": [16, 24],
        "stem_channels": [3, 8, 12],
        "stage_in_channels": [12, 16],
        "stage_mid_channels": [8, 12],
        "stage_out_channels": [16, 24],
        "stage_num_blocks": [1, 2],
        "stage_downsample": [False, True],
        "stage_downsample_strides": [2, 2],
        "stage_light_block": [False, True],
        "stage_kernel_size": [3, 5],
        "stage_numb_of_layers": [2, 3],
    },
    configs={
        "plain": {},
        "learnable affine blocks": {"use_learnable_affine_block": True},
        "another activation in the stem": {"hidden_act": "silu"},
        "no light blocks": {"stage_light_block": [False, False]},
        "only light blocks": {"stage_light_block": [True, True], "use_learnable_affine_block": True},
        "first stage downsamples": {"stage_downsample": [True, True]},
        "no downsampling": {"stage_downsample": [False, False]},
        "text recognition strides": {
            "stage_downsample": [True, True],
            "stem_strides": [2, 1, 1, 1, 1],
            "stage_downsample_strides": [[2, 1], [1, 2]],
        },
        "stride in the stem's last convolution": {"stem_strides": [1, 1, 1, 2, 2]},
        "one channel": {"num_channels": 1, "stem_channels": [1, 8, 12]},
    },
    saved_by=("HGNetV2ForImageClassification",),
)
