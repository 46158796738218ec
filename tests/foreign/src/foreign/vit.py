"""A vision transformer of timm, without weights from elsewhere."""

from collections.abc import Mapping, Sequence

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ablab import SupervisedModule
from ablab.config.schema import Count
from foreign.pictures import SIZE


class ViT(SupervisedModule):
    """A layer group for the patches, the blocks and the head."""

    def __init__(self, n_classes: Count, width: Count, depth: Count) -> None:
        super().__init__()
        self.net = VisionTransformer(
            img_size=SIZE,
            patch_size=4,
            in_chans=1,
            num_classes=n_classes,
            embed_dim=width,
            depth=depth,
            num_heads=2,
        )

    def layer_groups(self) -> Mapping[str, Sequence[nn.Module | nn.Parameter]]:
        net = self.net
        patches = [net.patch_embed, net.cls_token, net.pos_embed]
        return {"patches": patches, "blocks": [net.blocks], "head": [net.norm, net.head]}

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 1, 16, 16) -> logits (B, n_classes)."""
        return self.net(pictures)
