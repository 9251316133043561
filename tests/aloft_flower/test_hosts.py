"""The run folders of both hosts' tuning objects are sites; what they give then is what ships."""

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from federated_sites import TOPICS, configure
from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from scripted import long_words

from aloft.api import FederatedSite, initial_weights, open_run, write_weights
from aloft.config import FederationConfig
from aloft.testing import ScriptedTeacher
from langchain_aloft import AloftFinetuner
from llama_index_aloft import AloftFinetuneEngine

pytestmark = pytest.mark.flower


def tuned_by_langchain(models: Path, out: Path) -> Any:
    documents = [Document(topics[name], metadata={"source": name}) for name in TOPICS[:3]]
    return AloftFinetuner.from_documents(documents, out, config=configure(models))


def tuned_by_llama_index(models: Path, out: Path) -> Any:
    nodes = [TextNode(text=topics[name], id_=name) for name in TOPICS[3:6]]
    return AloftFinetuneEngine(nodes, out, config=configure(models))


def test_the_folders_of_both_hosts_take_part_and_ship(tmp_path: Path, models: Path) -> None:
    from contextlib import ExitStack

    from aloft_flower.rounds import read_rounds, run_rounds, run_shares
    from aloft_flower.testing import LocalGrid

    tuners = {
        "langchain": tuned_by_langchain(models, tmp_path / "langchain"),
        "llama-index": tuned_by_llama_index(models, tmp_path / "llama-index"),
    }
    for tuner in tuners.values():
        tuner._teacher = ScriptedTeacher(long_words)
        tuner.finetune()
        assert not tuner.report.federation
    config = configure(models)
    first = initial_weights(config.embedder, config.embedder_training, seed=0)
    write_weights(tmp_path / "embedder.safetensors", first)
    with ExitStack() as stack:
        runs = {name: stack.enter_context(open_run(tmp_path / name)) for name in tuners}
        sites = {name: FederatedSite(run) for name, run in runs.items()}
        for site in sites.values():
            site.prepare()
        settings = FederationConfig(rounds=1, min_sites=2)
        run_rounds(LocalGrid(sites), tmp_path, "embedder", settings, is_last=True)
        run_shares(LocalGrid(sites), tmp_path, settings)
        sites["langchain"].config = FederationConfig(clipping_norm=1.0)
        run_shares(LocalGrid(sites), tmp_path, settings)
        write_weights(tmp_path / "embedder.safetensors", first)  # not what was trained
        run_shares(LocalGrid(sites), tmp_path, settings)
        for run in runs.values():
            run.report()
    lacks = "the site has no labelled questions about two documents or more"
    clips = "the site clips or hides its updates, and sends no gains of shares"
    other = "the site has another shared embedder, or another version that tries other lines"
    assert [one["failed"] for one in read_rounds(tmp_path)[1:]] == [
        {"langchain": lacks, "llama-index": lacks},
        {"langchain": clips, "llama-index": lacks},
        {"langchain": other, "llama-index": other},
    ]
    for tuner in tuners.values():
        (facts,) = tuner.report.federation
        assert (facts.rounds, facts.sites, facts.answered) == (1, 2, 1)
    assert len(tuners["langchain"].get_embeddings().embed_query("Why?")) == 32
    assert len(tuners["llama-index"].get_finetuned_model().get_query_embedding("Why?")) == 32
