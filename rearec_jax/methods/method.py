"""The value that says all that the rest of the package asks about a method."""

from collections.abc import Callable, Mapping
import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.methods.options import MethodConfig
from rearec_jax.methods.reasoned import Parts, Reasoned
from rearec_jax.methods.unroll import PLAIN, Unroll, Weights


def last_state(states: Float[Array, "*M S D"]) -> Float[Array, "*M D"]:
    """Represents a user by the state of the deepest step."""
    return states[..., -1, :]


def none(options: MethodConfig) -> int:
    """Returns 0, whatever the options are."""
    return 0


def never(options: MethodConfig) -> bool:
    """Answers no, whatever the options are."""
    return False


def nothing(options: MethodConfig, width: int) -> dict[str, tuple[int, ...]]:
    """Names no weights."""
    return {}


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """A way to reason before items are scored, and to learn it.

    label:          The method's name in tables of results.
    sentence:       One sentence for documentation: what represents a user, and the loss.
    objective:      Computes the loss of a batch and its parts, by name; "loss" is minimised.
    represent:      Maps the states r_0 .. r_k of a user, and the weights where the method has any,
        to the vector that items are scored with.
    weights:        Names the arrays that the method learns beside the encoder, with their shapes,
        from the options and the width of the model.
    unroll:         The rule by which a step follows the one before.
    options:        The options that this method reads and not every method does.
    search:         The options that are worth a search, each with values to try.
    reasons:        Whether it takes `method.steps` steps; a method that does not takes none.
    step_positions: Whether the input of step k has a learned vector p_k.
    scores_steps:   Whether training scores every step, and not the representation alone.
    in_paper:       Whether it is a row of the paper's tables, also where there is no result yet.
    noisy_view:     Whether training with these options needs the noisy view.
    dropout_view:   Whether training with these options needs one with other dropout instead.
    whole_catalogue: Whether a term of the loss is over the whole catalogue with these options,
        so that `train.loss` must be full.
    neighbours:     The number of nearest items of each item that training reads.
    refines:        Whether a step refines the states of all tokens, by layers of its own; other
        methods' steps add a reasoning token to each query, as `unroll` says.
    """

    label: str
    sentence: str
    objective: Callable[[Reasoned], Parts]
    represent: Callable[..., Float[Array, "*M D"]] = last_state
    weights: Callable[[MethodConfig, int], Mapping[str, tuple[int, ...]]] = nothing
    unroll: Unroll = PLAIN
    options: tuple[str, ...] = ()
    search: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    reasons: bool = True
    step_positions: bool = True
    scores_steps: bool = False
    in_paper: bool = False
    noisy_view: Callable[[MethodConfig], bool] = never
    dropout_view: Callable[[MethodConfig], bool] = never
    whole_catalogue: Callable[[MethodConfig], bool] = never
    neighbours: Callable[[MethodConfig], int] = none
    refines: bool = False

    @property
    def represents_by_a_step(self) -> bool:
        """Says whether the representation is the state of a step, not another vector."""
        return self.represent is last_state

    def user(
        self, states: Float[Array, "*M S D"], weights: Weights | None = None
    ) -> Float[Array, "*M D"]:
        """Computes what represents the user after the last of the states."""
        if self.represents_by_a_step or not weights:
            return self.represent(states)
        return self.represent(states, weights)

    def by_depth(
        self, states: Float[Array, "*M S D"], weights: Weights | None = None
    ) -> Float[Array, "*M S D"]:
        """Computes what represents the user after each number of steps 0 .. K."""
        if self.represents_by_a_step:
            return states
        depths = range(1, states.shape[-2] + 1)
        return jnp.stack([self.user(states[..., :depth, :], weights) for depth in depths], axis=-2)
