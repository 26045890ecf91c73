"""Item encoders: what turns the catalogue into a table of vectors."""

from flax import linen as nn
from jaxtyping import Array, Float

from rearec_jax.config import ModelConfig
from rearec_jax.models import layers


class ItemIds(nn.Module):
    """One free vector an item. There is no padding row: padding is not an item."""

    config: ModelConfig
    num_items: int

    @nn.compact
    def __call__(self) -> Float[Array, "N D"]:
        init = nn.initializers.normal(self.config.init_stddev)
        shape = (self.num_items, self.config.width)
        return self.param("table", init, shape, layers.parameter_dtype(self.config))
