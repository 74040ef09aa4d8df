"""The convolutional blocks of SpecVQGAN, with the parameter names of its checkpoints."""

from itertools import pairwise, zip_longest

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["AttentionBlock", "Decoder", "Encoder", "ResidualBlock"]


def _norm(channels: int, n_groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(n_groups, channels, eps=1e-6)


def _conv3(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1)


class ResidualBlock(nn.Module):
    """Two normalised 3 x 3 convolutions beside a skip. ``forward``: (b, n_in, h, w) -> (b, n_out, h, w)."""

    def __init__(self, n_in: int, n_out: int, n_groups: int) -> None:
        super().__init__()
        self.norm1 = _norm(n_in, n_groups)
        self.conv1 = _conv3(n_in, n_out)
        self.norm2 = _norm(n_out, n_groups)
        self.conv2 = _conv3(n_out, n_out)
        self.nin_shortcut = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells, brought to ``n_out`` channels, plus what the two convolutions add."""
        change = self.conv1(F.silu(self.norm1(cells)))
        change = self.conv2(F.silu(self.norm2(change)))
        return self.nin_shortcut(cells) + change


class AttentionBlock(nn.Module):
    """Self-attention of one head over all cells, beside a skip. ``forward``: (b, c, h, w) -> the same."""

    def __init__(self, channels: int, n_groups: int) -> None:
        super().__init__()
        self.norm = _norm(channels, n_groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells plus what each gathers from all others."""
        normed = self.norm(cells)
        query, key, value = (
            project(normed).flatten(2).transpose(1, 2).unsqueeze(1)  # (b, 1, h * w, c)
            for project in (self.q, self.k, self.v)
        )
        gathered = F.scaled_dot_product_attention(query, key, value).squeeze(1).transpose(1, 2)
        return cells + self.proj_out(gathered.unflatten(2, cells.shape[2:]))


class Downsample(nn.Module):
    """Convolution of stride 2, padded right and below. ``forward``: (b, c, h, w) -> (b, c, h / 2, w / 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells at half the resolution."""
        return self.conv(F.pad(cells, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Each cell repeated twice, then a convolution. ``forward``: (b, c, h, w) -> (b, c, 2 * h, 2 * w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv3(channels, channels)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells at twice the resolution."""
        return self.conv(F.interpolate(cells, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution and the step to the next. ``forward``: (b, c, h, w) -> (b, c2, h2, w2)."""

    def __init__(self, n_in: int, n_out: int, n_blocks: int, n_groups: int, attention: bool) -> None:
        super().__init__()
        widths = (n_in, *(n_out for _ in range(n_blocks)))
        self.block = nn.ModuleList(ResidualBlock(a, b, n_groups) for a, b in pairwise(widths))
        self.attn = nn.ModuleList(AttentionBlock(n_out, n_groups) for _ in range(n_blocks if attention else 0))
        self.downsample: nn.Module = nn.Identity()  # the encoder sets one of the two
        self.upsample: nn.Module = nn.Identity()  # the decoder the other

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells after each block, its attention if there is any, and the step if there is one."""
        for block, attend in zip_longest(self.block, self.attn):
            cells = block(cells)
            cells = cells if attend is None else attend(cells)
        return self.upsample(self.downsample(cells))


class Middle(nn.Module):
    """Two blocks around attention at the lowest resolution. ``forward``: (b, c, h, w) -> the same."""

    def __init__(self, channels: int, n_groups: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, n_groups)
        self.attn_1 = AttentionBlock(channels, n_groups)
        self.block_2 = ResidualBlock(channels, channels, n_groups)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells after the three blocks."""
        return self.block_2(self.attn_1(self.block_1(cells)))


class Encoder(nn.Module):
    """Image -> latents at 1 / 2**(levels - 1). ``forward``: (b, 1, f, m) -> (b, n_latent, r, w)."""

    def __init__(
        self,
        widths: tuple[int, ...],
        n_blocks: int,
        n_latent: int,
        attention_levels: tuple[int, ...],
        n_groups: int,
    ) -> None:
        super().__init__()
        self.conv_in = _conv3(1, widths[0])
        self.down = nn.ModuleList()
        for level, (n_in, n_out) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            stage = Level(n_in, n_out, n_blocks, n_groups, level in attention_levels)
            if level < len(widths) - 1:
                stage.downsample = Downsample(n_out)
            self.down.append(stage)
        self.mid = Middle(widths[-1], n_groups)
        self.norm_out = _norm(widths[-1], n_groups)
        self.conv_out = _conv3(widths[-1], n_latent)

    def forward(self, image: Tensor) -> Tensor:
        """Return the latents of an image of one channel."""
        cells = self.conv_in(image)
        for stage in self.down:
            cells = stage(cells)
        return self.conv_out(F.silu(self.norm_out(self.mid(cells))))


class Decoder(nn.Module):
    """Latents -> image, from the lowest level up. ``forward``: (b, n_latent, r, w) -> (b, 1, f, m)."""

    def __init__(
        self,
        widths: tuple[int, ...],
        n_blocks: int,
        n_latent: int,
        attention_levels: tuple[int, ...],
        n_groups: int,
    ) -> None:
        super().__init__()
        self.conv_in = _conv3(n_latent, widths[-1])
        self.mid = Middle(widths[-1], n_groups)
        self.up = nn.ModuleList()  # up[0] is the full resolution and runs last, as upstream numbers them
        for level, (n_in, n_out) in enumerate(zip((*widths[1:], widths[-1]), widths, strict=True)):
            stage = Level(n_in, n_out, n_blocks + 1, n_groups, level in attention_levels)
            if level > 0:
                stage.upsample = Upsample(n_out)
            self.up.append(stage)
        self.norm_out = _norm(widths[0], n_groups)
        self.conv_out = _conv3(widths[0], 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the image of one channel."""
        cells = self.mid(self.conv_in(latents))
        for stage in reversed(self.up):
            cells = stage(cells)
        return self.conv_out(F.silu(self.norm_out(cells)))
