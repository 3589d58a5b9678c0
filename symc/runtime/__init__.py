"""Running: programs, instances, the native runner and its threads, reports, artifacts; and `mx.runtime.Features`."""

from .features import Feature, Features, feature_list

__all__ = ["Feature", "Features", "feature_list"]
