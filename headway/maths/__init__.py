"""The mathematics of a head: exact integer statistics, closed-form and gradient solutions, losses, metrics."""

from headway.maths.calibration import (
    DISCRIMINANT_LOG2,
    TEMPERATURES,
    fit_temperature,
    fit_temperatures,
    scoring_loss,
    surprises,
    temperatures_of,
)
from headway.maths.descent import Descent, DescentSettings, widened
from headway.maths.features import CODE_MAX, Expansion, FeatureMap, calibrate_scale, raw_features
from headway.maths.front_end import FrontEnd
from headway.maths.head import Head, HeadInput, HeadKind, link, log_softmax, predicted_class, softmax
from headway.maths.inverse import FewRows
from headway.maths.log_mel import LogMel
from headway.maths.losses import Loss
from headway.maths.metrics import ClassificationSums
from headway.maths.optimizers import Optimizer
from headway.maths.paired_loss import PAIRED_STEP, PairedLoss
from headway.maths.posterior import Posterior
from headway.maths.preprocessing import MEDIAN_WIDTH_MAX, PASSES, Denoise, Missing, Preprocessing, TimeAxis, time_first
from headway.maths.recent_metrics import Recent, backward_transfer, forgetting
from headway.maths.ridge import Ridge
from headway.maths.running_posterior import ABSENT, RunningPosterior
from headway.maths.scatter import SCATTER_TOLERANCE, WithinScatter, panels_of, put_panel
from headway.maths.solve import Moments, blend, fleet_head, shrunk_covariance
from headway.maths.statistics import (
    SAMPLES_MAX,
    Statistics,
    from_arrays,
    merge,
    symmetric_places,
    to_arrays,
    union_of_classes,
)
from headway.maths.sums import HalfSums, RowSums, SumOf, Sums, joined, pack_upper
from headway.maths.target_codes import WINDOWS, TargetCodes, TargetMoments
from headway.maths.target_metrics import SUMS, AnySums, LabelSums, ValueSums, class_count_in, sums_from_json
from headway.maths.target_posterior import TargetPosterior, TargetPrior, fleet_target_head, head_of, inputs_of
from headway.maths.task import LABEL_THRESHOLD, Task, predicted
from headway.maths.text_features import hashed_text
from headway.maths.training_prior import TrainingPrior
from headway.maths.window_features import WINDOW_FEATURES, WindowFeatures

__all__ = [
    "ABSENT",
    "CODE_MAX",
    "DISCRIMINANT_LOG2",
    "LABEL_THRESHOLD",
    "MEDIAN_WIDTH_MAX",
    "PAIRED_STEP",
    "PASSES",
    "SAMPLES_MAX",
    "SCATTER_TOLERANCE",
    "SUMS",
    "TEMPERATURES",
    "WINDOWS",
    "WINDOW_FEATURES",
    "AnySums",
    "ClassificationSums",
    "Denoise",
    "Descent",
    "DescentSettings",
    "Expansion",
    "FeatureMap",
    "FewRows",
    "FrontEnd",
    "HalfSums",
    "Head",
    "HeadInput",
    "HeadKind",
    "LabelSums",
    "LogMel",
    "Loss",
    "Missing",
    "Moments",
    "Optimizer",
    "PairedLoss",
    "Posterior",
    "Preprocessing",
    "Recent",
    "Ridge",
    "RowSums",
    "RunningPosterior",
    "Statistics",
    "SumOf",
    "Sums",
    "TargetCodes",
    "TargetMoments",
    "TargetPosterior",
    "TargetPrior",
    "Task",
    "TimeAxis",
    "TrainingPrior",
    "ValueSums",
    "WindowFeatures",
    "WithinScatter",
    "backward_transfer",
    "blend",
    "calibrate_scale",
    "class_count_in",
    "fit_temperature",
    "fit_temperatures",
    "fleet_head",
    "fleet_target_head",
    "forgetting",
    "from_arrays",
    "hashed_text",
    "head_of",
    "inputs_of",
    "joined",
    "link",
    "log_softmax",
    "merge",
    "pack_upper",
    "panels_of",
    "predicted",
    "predicted_class",
    "put_panel",
    "raw_features",
    "scoring_loss",
    "shrunk_covariance",
    "softmax",
    "sums_from_json",
    "surprises",
    "symmetric_places",
    "temperatures_of",
    "time_first",
    "to_arrays",
    "union_of_classes",
    "widened",
]
