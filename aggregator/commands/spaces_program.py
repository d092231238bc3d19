"""The commands ``edge-fleet heads``, ``influence``, ``keygen``, ``privacy`` and ``verify``, and their options."""

from __future__ import annotations

from pathlib import Path

import click

from aggregator.commands.done import with_json
from aggregator.commands.place import Place
from aggregator.commands.place_options import reached, server_elsewhere, with_place
from headway.command_line import Command, file_path, option
from headway.errors import ConfigError


@click.command("heads", cls=Command)
@with_place
@option("--field", is_flag=True, help="What devices serve now, and how often it is right")
@option("--versions", is_flag=True, help="Every head that is kept, and what it is worth")
@option("--compare", type=click.IntRange(1, 2**53), nargs=2, metavar="A B", help="Two heads beside each other")
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
@option("--hold", type=click.IntRange(1, 2**53), metavar="N", help="Publish head N again, and no newer one")
@option("--let-go", is_flag=True, help="Publish new heads again")
@option(
    "--space", default="", metavar="DIGITS", help="Of this feature space, by its first digits, where there are several"
)
def _heads(
    config: Path | None, state_dir: str | None, field: bool, versions: bool, compare: tuple[int, int] | None,
    as_json: bool, hold: int | None, let_go: bool, space: str,
) -> None:  # fmt: skip
    """Show the feature spaces that are served side by side, and the newest head of each, or go back to an old one.

    --field, --versions and --compare print the figures that the page's place of heads shows.
    """
    from aggregator.commands.heads import compare as compare_two
    from aggregator.commands.heads import hold_head, show_fields, show_heads, show_versions

    if sum((field, versions, compare is not None, hold is not None, let_go)) > 1:
        raise ConfigError("give one of --field, --versions, --compare, --hold and --let-go")
    if field:
        show_fields(reached(config, state_dir), as_json)
    elif versions:
        show_versions(reached(config, state_dir), space, as_json)
    elif compare is not None:
        compare_two(reached(config, state_dir), compare, space, as_json)
    elif hold is not None or let_go:
        hold_head(reached(config, state_dir), hold or 0, space, as_json)
    else:
        show_heads(reached(config, state_dir), as_json)


@click.command("verify", cls=Command)
@with_place
@option("--removals", type=file_path(), metavar="FOLDER", help="Check records of removals in a folder instead")
@option("--keys", type=file_path(), metavar="FILE", help="Public keys that may have signed them")
@with_json
def _verify(config: Path | None, state_dir: str | None, removals: Path | None, keys: Path | None) -> None:
    """Add up all stored reports and compare with the kept sums.

    The service may run meanwhile. Leaves with an error where they differ.
    """
    if removals is not None:
        from aggregator.commands.removals import verify_records

        verify_records(removals, keys)
        return
    from aggregator.commands.verify import verify_sums

    verify_sums(Place(config, state_dir).store())


@click.command("influence", cls=Command)
@with_place
@option("--bundle", type=file_path(), metavar="FILE", help="Whose sample heads are compared on; the one served last")
@option(
    "--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, metavar="N",
    help="At most so many, those that harm most",
)  # fmt: skip
@option("--json", "as_json", is_flag=True, help="Print JSON, with every device, instead of a table")
def _influence(
    config: Path | None, state_dir: str | None, bundle: Path | None, limit: int, as_json: bool
) -> None:  # fmt: skip
    """Show what the fleet's head loses or gains without each device, worst first.

    Each device is subtracted exactly, and the head is scored on the bundle's own sample. The service may run meanwhile.
    """
    from aggregator.commands.influence import influence_here, show_influence
    from aggregator.operations import served_bundle
    from aggregator.policy import Policy

    server = server_elsewhere(config, state_dir)
    if server is not None:
        if bundle is not None:
            raise ConfigError("--bundle is a file of this machine; with --server it is the bundle that is served there")
        found = server.figures.influence()
    else:
        place = Place(config, state_dir)
        policy = Policy() if config is None else place.configured().policy
        found = influence_here(place.store(), bundle or served_bundle(place.folder()), policy)
    show_influence(found, limit, as_json)


@click.command("keygen", cls=Command)
@click.argument("file", type=file_path(), required=False, metavar="[FILE]", default=Path("heads.pem"))
@with_json
def _keygen(file: Path) -> None:
    """Make the key with which heads and priors are sealed (Ed25519).

    The private half goes to FILE (heads.pem), the public one beside it (heads.pem.pub).
    """
    from aggregator.commands.signing import make_key

    make_key(file)


@click.command("privacy", cls=Command)
@with_place
@option("--json", "as_json", is_flag=True, help="Print JSON")
def _privacy(config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Show what heads wait for, and what is spent of the privacy budget.

    The settings are those of --config, or of the service at --server; with neither, the defaults.
    """
    from aggregator.commands.privacy import privacy_here, show_privacy
    from aggregator.policy import Policy

    server = server_elsewhere(config, state_dir)
    if server is not None:
        found = server.figures.privacy()
    else:
        place = Place(config, state_dir)
        found = privacy_here(place.store(), Policy() if config is None else place.configured().policy)
    show_privacy(found, as_json)


COMMANDS: tuple[click.Command, ...] = (_heads, _influence, _keygen, _privacy, _verify)
