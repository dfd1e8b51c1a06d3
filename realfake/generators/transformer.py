"""A class-conditional diffusion transformer (Peebles & Xie 2022, arXiv:2212.09748), with adaLN-Zero, as a raw network.

The blocks are those of ``diffusers.DiTTransformer2DModel``. Three things of that model are made as in the paper again.
It drops a tenth of the labels itself, from torch's own random numbers, in every block anew: here which labels are
dropped is decided once a step, by the fit (``closed_set.draw``). It has an embedder of time and label in every block:
the paper has one. It leaves the weights as torch draws them, for it is meant to load others: here the modulations and
the last layer begin at zero, so that a new block is the identity and a new network returns 0. What is done with the
output is in ``denoiser``, sizes are in ``networks``.
"""

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.normalization import AdaLayerNormZero
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from torch import nn

from realfake.generators.networks import Network

FREQUENCIES = 256  # sines and cosines of the time, as in the paper's code
EMBEDDING_STD = 0.02


class Transformer(nn.Module):
    """Scaled noisy square images, times and labels in, F_θ out; the label ``classes``, one past the last, is none."""

    def __init__(self, network: Network, side: int, channels: int, classes: int) -> None:
        super().__init__()
        (width,) = network.widths
        self.times = Timesteps(FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(FREQUENCIES, width)
        self.label_embedding = nn.Embedding(classes + 1, width)
        self.body = DiTTransformer2DModel(
            num_attention_heads=width // network.head,
            attention_head_dim=network.head,
            in_channels=channels,
            num_layers=network.layers,
            sample_size=side,
            patch_size=network.patch,
            num_embeds_ada_norm=1,  # of an embedder in each block, which is replaced
        )
        for norm in self.norms:
            norm.emb = _Given()  # pyright: ignore[reportAttributeAccessIssue]
        _initialise(self)

    @property
    def norms(self) -> list[AdaLayerNormZero]:
        """The first norm of every block, whose linear layer makes all that modulates the block."""
        return [block.norm1 for block in self.body.transformer_blocks]  # pyright: ignore

    def forward(self, x_bchw: torch.Tensor, times_b: torch.Tensor, labels_b: torch.Tensor) -> torch.Tensor:
        """Return F_θ(x; time, label) ``(b, c, h, w)``, h = w."""
        given = self.time_embedding(self.times(times_b)) + self.label_embedding(labels_b)
        return self.body(x_bchw, timestep=given, return_dict=False)[0]


class _Given(nn.Module):
    """Stands for the embedder of time and label of one block: they come embedded, once for all blocks."""

    def forward(self, given: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return given


def _initialise(transformer: Transformer) -> None:
    """Draw the weights as the paper does: Xavier-uniform, small embeddings, and zero where it says so (adaLN-Zero)."""
    for layer in transformer.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight.flatten(1))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for embedding in (
        transformer.label_embedding,
        transformer.time_embedding.linear_1,
        transformer.time_embedding.linear_2,
    ):
        nn.init.normal_(embedding.weight, std=EMBEDDING_STD)
    body = transformer.body
    for layer in (*(norm.linear for norm in transformer.norms), body.proj_out_1, body.proj_out_2):
        nn.init.zeros_(layer.weight)
