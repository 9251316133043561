"""Federated training by Flower: sites send updates of weights and counts, never text.

Sites train on their own documents and send low-rank updates; a coordinator averages them. What is
trained at a site, and how it is judged there, is Aloft's and needs no Flower; this package carries
it over the network. Extra: flower, in an environment of its own.
"""

import os

from aloft.api import require

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
require("flwr", extra="train,flower")
