"""The commands of federated training: `aloft federate server|site|run` (extra: flower)."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from aloft._extras import require
from aloft.cli import options
from aloft.cli.holding import hold_run
from aloft.cli.views import show_report
from aloft.config import SHARES_PART, load_config
from aloft.terminal.console import screen
from aloft.terminal.progress import shown_progress

Federation = Annotated[
    Path,
    typer.Argument(
        metavar="FEDERATION",
        help="Folder of the federation: certificates, keys, what is trained.",
        parser=options.named_path,
    ),
]


def server(
    federation: Federation,
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where sites reach this machine.")
    ],
    sites: Annotated[str, typer.Option(metavar="NAMES", help="Names of the sites, with commas.")],
) -> None:
    """Run the server of a federation until it is interrupted.

    Certificates and keys that are missing are made; each site's are in FEDERATION/sites/NAME.
    """
    flower: Any = require("aloft_flower.server", extra="train,flower")
    names = [name.strip() for name in sites.split(",") if name.strip()]
    with flower.serving(federation, address, names) as registered:
        for name in registered:
            folder = federation / "sites" / name
            screen.print(f"{escape(name)} may join with what is in {escape(str(folder))}")
        screen.print(f"Serving on {escape(address)}. End with Ctrl-C.")
        while True:
            time.sleep(1)


def site(
    run: options.RunFolderPath,
    join: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="What the coordinator made for this site.",
            parser=options.named_path,
        ),
    ],
) -> None:
    """Take part in a federation with a run folder, then judge what it trained, and ship.

    The run folder holds documents: aloft passages DOCS --out RUN.
    """
    from aloft.api import FederatedSite

    flower: Any = require("aloft_flower.site", extra="train,flower")
    with hold_run(run) as opened:
        participant = FederatedSite(opened)
        participant.prepare()
        flower.take_part(participant, join, run / "federation" / "flower")
        content = opened.report()
    show_report(run, content)


def run(
    federation: Federation,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    only: options.Only = None,
    generator: options.Generator = None,
    embedder: options.EmbedderName = None,
    seed: options.Seed = None,
) -> None:
    """Train with all sites of a federation whose server runs, round by round.

    Settings are those of `[federation]`; models and how they are trained must be the same as at the
    sites. Last, with an embedder, sites measure what shares gain. Run the same command again to
    train further.
    """
    flower: Any = require("aloft_flower.server", extra="train,flower")
    named = options.given({"generator": generator, "embedder": embedder, "seed": seed})
    settings = load_config(preset, config, named | options.parse_parts(only))
    with shown_progress() as progress:

        def tell(one: Mapping[str, Any]) -> None:
            doing = (
                "measuring shares" if one["part"] == SHARES_PART else f"training the {one['part']}"
            )
            progress(f"{doing} at the sites", one["round"], one["rounds"])

        found = flower.run_federation(federation, settings, tell)
    for one in found:
        _show_round(one)
    for part in dict.fromkeys(one["part"] for one in found):
        what = "What shares gain" if part == SHARES_PART else f"The {part}"
        screen.print(f"{what} is in {escape(str(federation / part))}.safetensors")


def _show_round(one: Mapping[str, Any]) -> None:
    rows = ", ".join(f"{name} {count:,}" for name, count in one["rows"].items()) or "nobody"
    counted = "questions" if one["part"] == SHARES_PART else "rows"
    megabytes = (one["bytes_sent"] + one["bytes_received"]) / 1e6
    screen.print(
        f"{one['part']}, round {one['round']} of {one['rounds']}: {counted} of {escape(rows)}; "
        f"{megabytes:.1f} MB, {one['seconds']:.0f} s"
    )
    for name in one["silent"]:
        screen.print(f"  [yellow]{escape(name)} was lost, or has not answered in time.[/yellow]")
    for name, reason in {**one["refused"], **one["failed"]}.items():
        screen.print(f"  [yellow]{escape(name)} is left out: {escape(reason)}.[/yellow]")


COMMANDS: dict[str, Callable[..., None]] = {"server": server, "site": site, "run": run}
