"""Settings of federated training: of those who coordinate it, and of each site."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from aloft.config.base import Count, LearningRate, Settings

SHARES_PART = "shares"
"""What sites measure together, beside the parts that they train: what shares gain."""


class FederationConfig(Settings):
    """How sites train one part together (`aloft federate`); a run by itself ignores it.

    The first settings are the coordinator's; `epsilon`, `delta` and `clipping_norm` are a site's.

    Attributes:
        strategy: How updates become one. "fedavg": their mean, weighted by training rows;
            "fedprox": the same, with sites held near the weights that they were sent; "fedadam":
            Adam on the server over the mean.
        rounds: How often sites train and their updates are averaged. A site divides its epochs
            among them.
        min_sites: Sites that must be there before a round begins.
        timeout: Seconds that a round waits for answers; it goes on with those that came.
        proximal_mu: Of "fedprox", weight of half the squared distance to the weights sent.
        server_learning_rate: Of "fedadam", its step size; its best value is near the size of an
            update's single numbers.
        max_norm_ratio: An update is refused where its norm is more than this many times the median
            of the others.
        epsilon: Of a site, all that its updates together may reveal of its documents: with each
            update it adds noise for local differential privacy. None: no noise.
        delta: Probability with which that promise may fail.
        clipping_norm: Longest update that a site sends; longer ones are scaled down. Required with
            `epsilon`. None: they are sent as they are.
    """

    strategy: Literal["fedavg", "fedprox", "fedadam"] = "fedavg"
    rounds: Annotated[int, Field(ge=1, le=10_000)] = 3
    min_sites: Count = 2
    timeout: Annotated[float, Field(gt=0, le=10**7)] = 3600.0
    proximal_mu: Annotated[float, Field(ge=0, le=1000)] = 0.1
    server_learning_rate: LearningRate = 1e-3
    max_norm_ratio: Annotated[float, Field(gt=1, le=10**6)] = 10.0
    epsilon: Annotated[float, Field(gt=0, le=10**6)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    clipping_norm: Annotated[float, Field(gt=0, le=10**6)] | None = None

    def contradictions(self) -> Iterator[str]:
        """Noise without a bound on what it has to hide."""
        if self.epsilon is not None and self.clipping_norm is None:
            yield (
                "epsilon is set, but clipping_norm is not: noise hides no update that may have any "
                "length. Set clipping_norm to about the usual length of an update."
            )
