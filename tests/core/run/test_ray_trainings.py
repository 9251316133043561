"""Trainings on two nodes of a Ray cluster, side by side, whatever dies meanwhile."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_trainings import TRAINED, tiny_settings, train

from aloft.config import RunConfig, load_config
from aloft.run.executors.local import LocalExecutor
from aloft.run.executors.ray_executor import RayExecutor
from aloft.testing import tiny_encoder, tiny_language_model

SIDE_BY_SIDE = TRAINED[1:]

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        find_spec("ray") is None, reason='Ray is not installed: pip install "aloft-rag[ray]"'
    ),
]


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[RayExecutor]:
    """A cluster of two nodes, each with a worker that imports these tests too.

    The workers compute with as many threads as this process: the last bits of a sum depend on it.
    """
    import torch
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        try:
            with RayExecutor(cluster.address) as executor:
                yield executor
        finally:
            cluster.shutdown()


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    models = tiny_encoder(tmp_path / "encoder"), tiny_language_model(tmp_path / "language-model")
    return load_config(overrides={**tiny_settings(*models), "parts": SIDE_BY_SIDE})


def test_trainings_side_by_side_give_the_same_weights(
    tmp_path: Path,
    config: RunConfig,
    two_nodes: RayExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    wait, trained_at_once = ray.wait, [0]

    def watch(waited_for: list[Any], **options: Any) -> Any:
        streams = [one for one in waited_for if isinstance(one, ray.ObjectRefGenerator)]
        trained_at_once.append(len(streams))  # of all that is waited for, trainings alone stream
        return wait(waited_for, **options)

    monkeypatch.setattr(ray, "wait", watch)
    here = train(tmp_path / "here", config, LocalExecutor())
    there = train(tmp_path / "there", config, two_nodes)
    assert there == here
    assert max(trained_at_once) == len(SIDE_BY_SIDE)
