"""Ciga and Martel (2021), "Learning to segment images with classification labels": appendix A, tables A.2 and A.3.

ResNet-18 through its third stage (256 x 8 x 8 for a patch of 128 px), the segmentation module, a map of 16 x 16 with
one channel per class. The classification module runs on that map, so the loss of a patch's label corrects the
segmentation.

Decided where the paper is silent: the doubling of table A.2 repeats pixels, as its last interpolation does; images of
other sizes are padded to multiples of 16 by repeating the border; a single patch, of which batch norm could take no
variance after the pooling of table A.3, is normalised by the running statistics.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from histotrain.models.convolutions import pad_around
from histotrain.models.resnet_unet import ResNetEncoder, initialise_encoder

THREE_STAGES = (2, 2, 2)
STRIDE = 16
"""Of the encoder; the map that is classified has twice its resolution."""


class CigaMartel(nn.Module):
    """Segmentation, and classification through it.

    Called with float images (N, 3, H, W) of any size it gives segmentation logits (N, C, H, W); `classify` gives
    logits (N, C) for whole patches; `map_of` and `classify_map` are the two halves of that, for a loss on both.

    Parameters
    ----------
    classes : int
        C.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(THREE_STAGES)
        self.segmentation = nn.Sequential(
            nn.Conv2d(256, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(64, classes, 1),
        )
        self.classification = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(classes, 8, 1, bias=False),
            PatchNorm(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, classes, 1, bias=False),
        )
        initialise_encoder(self.encoder)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded, top, left = pad_around(images, STRIDE)
        logits = F.interpolate(self.map_of(padded), size=padded.shape[-2:], mode="nearest")
        return logits[..., top : top + height, left : left + width]

    def map_of(self, images: Tensor) -> Tensor:
        """Segmentation logits (N, C, H/8, W/8), rounded up to multiples of 16 px of the image."""
        padded, _, _ = pad_around(images, STRIDE)
        coarse: Tensor = self.segmentation(self.encoder(padded)[-1])
        return coarse

    def classify_map(self, coarse: Tensor) -> Tensor:
        """Logits (N, C) of whole patches from `map_of`."""
        logits: Tensor = self.classification(coarse)
        return logits.flatten(1)

    def classify(self, images: Tensor) -> Tensor:
        """Logits (N, C) of whole patches."""
        return self.classify_map(self.map_of(images))


class PatchNorm(nn.BatchNorm2d):
    """Batch norm that uses its running statistics for a batch with a single value per channel."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)
