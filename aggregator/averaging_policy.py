"""Settings of rounds that average: the strategy, robust rules, and every bound."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headway.errors import ConfigError
from headway.settings import choice, integer, number


class Strategy(StrEnum):
    """How the mean update of a round moves the head, see `aggregator.heads.server_optimizers`."""

    FEDAVG = "fedavg"
    FEDAVGM = "fedavgm"
    FEDADAM = "fedadam"
    FEDYOGI = "fedyogi"


class Robust(StrEnum):
    """What the mean of a round is, see `aggregator.engine.robust`."""

    NONE = "none"
    ALIGNED = "aligned"
    MEDIAN = "median"
    TRIMMED_MEAN = "trimmed-mean"
    KRUM = "krum"
    MULTI_KRUM = "multi-krum"


@dataclass(frozen=True, slots=True)
class AveragingPolicy:
    """How gradient updates become a head, for ``method = "average"``."""

    updates_min: int = integer(
        4, low=1, high=1_000_000, doc="Devices whose updates close a round; in a smaller fleet all, but at least 2."
    )
    round_s: float = number(
        60.0,
        low=0.0,
        high=30 * 86_400,
        doc="Seconds after which a round closes with fewer updates; not with [privacy].",
    )
    strategy: Strategy = choice(
        Strategy.FEDAVG,
        tuple(Strategy),
        doc="How the mean update of a round moves the head: as it is; with momentum (fedavgm); each weight by the size "
        "that its changes usually have (fedadam, fedyogi).",
    )
    learning_rate: float = number(
        1.0, low=0.0, high=100.0, doc="Step of the server along the mean update, for fedavg and fedavgm."
    )
    momentum: float = number(0.9, low=0.0, high=0.999, doc="Share of the last step that fedavgm keeps.")
    adaptive_rate: float = number(0.1, low=0.0, high=100.0, doc="Step of the server, for fedadam and fedyogi.")
    beta_1: float = number(0.9, low=0.0, high=0.9999, doc="Decay of the mean change, for fedadam and fedyogi.")
    beta_2: float = number(0.99, low=0.0, high=0.9999, doc="Decay of the mean squared change, likewise.")
    tau: float = number(
        1e-3, low=1e-9, high=1e3, doc="Added to the size of the usual change, so that rare ones move little; likewise."
    )
    robust: Robust = choice(
        Robust.ALIGNED,
        tuple(Robust),
        doc="What stands for the mean of a round, from robust_devices_min devices on: the mean itself (none), that of "
        "the updates that do not point against those that agree with each other (aligned), median or trimmed mean of "
        "each weight, or the updates with the nearest neighbours. All but none assume that devices see alike things: "
        "where each knows one class alone, set none and norm_factor = 2.",
    )
    malicious_share: float = number(
        0.2,
        low=0.0,
        high=0.49,
        doc="Share of a round's devices that robust rules reckon with: so many are cut off at each end, left "
        "out, or (aligned) out of the measure by which all are judged.",
    )
    robust_devices_min: int = integer(
        5, low=3, high=1_000_000, doc="Fewest devices of a round for a robust rule; in smaller ones it is the mean."
    )
    round_devices_max: int = integer(
        2_000,
        low=4,
        high=20_000,
        doc="Most devices of a round of a robust rule, which holds all their updates at once; others wait.",
    )
    clip_norm: float = number(
        10.0,
        low=1e-6,
        high=1e9,
        doc="Longest update, L2 norm of the change of weights over unit codes; longer ones are shortened to it. With "
        "[privacy] the bound goes from there to the median of the updates' lengths, by noisy numbers alone.",
    )
    norm_factor: float = number(
        1.0,
        low=0.1,
        high=1000.0,
        doc="In rounds of four devices or more an update is also shortened to so many times the length at the upper "
        "quartile of the round; not with [privacy].",
    )
    staleness_exponent: float = number(
        0.5, low=0.0, high=10.0, doc="An update that started t versions ago counts (1 + t)^-staleness_exponent."
    )
    samples_max: int = integer(1000, low=1, doc="Most samples that one device may weigh in a round; 1 with [privacy].")

    def __post_init__(self) -> None:
        if self.robust is not Robust.NONE and self.robust_devices_min > self.round_devices_max:
            raise ConfigError(
                f"averaging: robust_devices_min = {self.robust_devices_min} is more than round_devices_max = "
                f"{self.round_devices_max}, so that no round would be {self.robust}"
            )
        malicious = int(self.malicious_share * self.robust_devices_min)
        if self.robust in (Robust.KRUM, Robust.MULTI_KRUM) and self.robust_devices_min < 2 * malicious + 3:
            raise ConfigError(
                f"averaging: {self.robust} needs 2 f + 3 devices, and malicious_share = {self.malicious_share:g} of "
                f"robust_devices_min = {self.robust_devices_min} is f = {malicious}; raise robust_devices_min"
            )
        if self.strategy in (Strategy.FEDADAM, Strategy.FEDYOGI) and not self.adaptive_rate:
            raise ConfigError(f"averaging: {self.strategy} with adaptive_rate = 0 would never move the head")
