"""Opens the bundle that a start runs, and goes back when the one on trial does not run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.delivery import FACTORY, Slots, file_sha256
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import Runtime, open_runtime
from edge_agent.startup.restored_agent import accepted_variant, open_agent
from edge_agent.store import (
    ADVICE,
    RECOVERED,
    Backup,
    Condition,
    SQLiteStore,
    StandbyStore,
    Store,
    StoreFailure,
    counted_in,
    open_store,
)
from headway.arrays import Float32
from headway.bundle import Variant, read_container
from headway.durable import read_regular
from headway.errors import (
    BundleError,
    ConfigError,
    HeadwayError,
    RemoteError,
    RuntimeUnavailableError,
    StoreError,
)
from headway.ports import Clock
from headway.wire import Desired

log = logging.getLogger("edge-agent")


class InferenceFailed(HeadwayError):
    """The backbone of a bundle on trial raised an error, or gave values that are not finite."""


class _Altered(BundleError):
    """A delivered bundle is no longer what was delivered."""


class _Watched:
    """A runtime on trial: its errors, and values that are not finite, are the bundle's fault and not the data's."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name = runtime.name

    def embed(self, inputs: Float32) -> Float32:
        try:
            embedding = self._runtime.embed(inputs)
        except (RuntimeError, ValueError) as error:
            raise InferenceFailed(f"inference failed: {' '.join(str(error).split())[:200]}") from error
        if not np.isfinite(embedding).all():
            raise InferenceFailed("the backbone gave an embedding that is not finite")
        return embedding


@dataclass(frozen=True, slots=True)
class Opened:
    """What a start works with. backup: beside the store; None for a store in memory. recovered: why the device did not
    go on from its database, empty when it did; renewed: why the copy beside it was made anew, likewise; pointed: why
    the copy of the slots' pointer was gone by, likewise. sha256: of the bundle's file, where it was looked at.
    """

    variant: Variant
    pipeline: Pipeline
    store: Store
    backup: Backup | None
    agent: Agent
    recovered: str = ""
    renewed: str = ""
    pointed: str = ""
    sha256: str = ""


def open_bundle(config: AgentConfig, slots: Slots, clock: Clock) -> Opened:
    """Open the active bundle and the store of its feature space; go back when it is on trial and cannot be used, or
    when its disk has damaged the file.

    Raises HeadwayError for what else is wrong with a bundle that is not on trial, and where none before it is here.
    """
    _mend(slots)
    _prefer_a_newer_configured_bundle(config, slots)
    while True:
        # without deliveries nobody would end the trial
        trial = not slots.pointer.confirmed and config.delivery.enabled and config.mqtt is not None
        if trial and slots.count_start() >= config.delivery.starts_max:
            _roll_back(slots, f"{config.delivery.starts_max} starts came to nothing")
            continue
        try:
            sha256 = _check_delivered(slots)
            return replace(_open_on_disk(config, slots, clock, trial), pointed=slots.problem, sha256=sha256)
        except StoreFailure:
            raise  # the disk's fault, not the bundle's
        except (BundleError, RuntimeUnavailableError, ConfigError, StoreError) as error:
            if trial:
                _roll_back(slots, str(error))
            elif slots.pointer.active == FACTORY or (_reads(slots.bundle) and not isinstance(error, _Altered)):
                raise  # not for what a disk has done to a file that ran here
            elif not slots.leave(str(error), *_counted(slots), _reads):
                raise BundleError(f"{error}; no bundle before it is here, give a good one as bundle.path") from error
            else:
                log.warning("the bundle that ran can no longer be read, the one before comes back: %s", error)


def _open_on_disk(config: AgentConfig, slots: Slots, clock: Clock, trial: bool) -> Opened:
    """On the disk's own store or, where the disk refuses, in memory until it does not."""
    folder = slots.store_dir
    try:
        store, backup = _store_of(folder)
        try:
            renewed = backup.review(store)
            return replace(_open_with(config, slots, clock, trial, store, backup), renewed=renewed)
        except BaseException:
            store.close()  # whatever it was: the bundle before this one may open the same file next
            raise
    except StoreFailure as failure:
        standby = StandbyStore(folder, failure)
        opened = _open_with(config, slots, clock, trial, standby, Backup(folder))
        standby.refuse()
        return opened


def _open_with(
    config: AgentConfig,
    slots: Slots,
    clock: Clock,
    trial: bool,
    store: SQLiteStore | StandbyStore,
    backup: Backup,
) -> Opened:
    variant = accepted_variant(replace(config, bundle=slots.bundle), store, slots.may_be_older())
    runtime = open_runtime(variant, clock if config.prefer == "fast" else None)
    counted = (slots.pointer.boot, slots.pointer.consumed)
    recovered = store.load().get(RECOVERED, b"").decode()
    agent = open_agent(
        config,
        variant,
        store,
        ack_record=backup.ack_record(),
        counted=counted,
        trial=trial,
        wall_s=clock.wall_s(),
    )
    if trial and isinstance(store, SQLiteStore):
        slots.note_boot(agent.sync_state.boot)
    pipeline = Pipeline(variant, _Watched(runtime) if trial else runtime)
    return Opened(variant, pipeline, store, backup, agent, recovered)


def _store_of(folder: Path) -> tuple[SQLiteStore, Backup]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot use {folder}: {error.strerror or error}; {ADVICE[Condition.READ_ONLY]}"
        raise StoreFailure(Condition.READ_ONLY, problem) from error
    return open_store(folder), Backup(folder)


def _mend(slots: Slots) -> None:
    try:
        slots.mend()
    except StoreError as error:
        log.warning("%s", error)  # a disk that refuses does not end a start


def _check_delivered(slots: Slots) -> str:
    """The hash of a delivered bundle's file, which is that of what was delivered; '' where nobody knows what that was.

    It tells of a flipped bit also where the manifest has no hash of its own. Raises BundleError.
    """
    bundle = slots.bundle
    if slots.pointer.active == FACTORY or not bundle.is_file():
        return ""
    try:
        wanted = Desired.decode(read_regular(bundle.with_name("desired.json")))
    except (OSError, RemoteError):
        return ""  # nobody knows what it was
    if file_sha256(bundle) != wanted.sha256:
        read_container(bundle)  # which may know more of what is wrong
        raise _Altered(f"{bundle} is not the file that was delivered; its disk has damaged it")
    return wanted.sha256


def _reads(bundle: Path) -> bool:
    """Whether the file is a bundle that nothing has damaged."""
    try:
        read_container(bundle)
    except BundleError:
        return False
    return True


def _counted(slots: Slots) -> tuple[int, int]:
    """Boot number and last spool file of the store that is left, as far as it can be read."""
    known = slots.pointer.boot, slots.pointer.consumed
    try:
        store, _ = _store_of(slots.store_dir)
        try:
            found = counted_in(store.load(), store.journal())
        finally:
            store.close()
    except StoreError as error:
        log.warning("what the bundle before counted is not known: %s", error)
        return known
    return found or known


def _roll_back(slots: Slots, reason: str) -> None:
    log.warning("the bundle on trial goes, the one before comes back: %s", reason)
    slots.roll_back(reason)


def _prefer_a_newer_configured_bundle(config: AgentConfig, slots: Slots) -> None:
    """Somebody who installs a newer bundle on the machine itself means it to run."""
    if slots.pointer.active == FACTORY or not config.bundle.exists() or not slots.bundle.exists():
        return
    try:
        configured, delivered = (read_container(path).manifest.get("release") for path in (config.bundle, slots.bundle))
    except BundleError as error:
        log.warning("whether the configured bundle is newer than the delivered one is not known: %s", error)
        return
    if isinstance(configured, int) and isinstance(delivered, int) and configured > delivered:
        slots.use_configured()
