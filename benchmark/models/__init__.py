"""Loading subject models and describing their anatomy."""

from arithloc.benchmark.models.anatomy import FAMILIES, Anatomy, QKVLayout, anatomy_of
from arithloc.benchmark.models.subject import ModelIdentity, SubjectModel, wrap

__all__ = ["FAMILIES", "Anatomy", "ModelIdentity", "QKVLayout", "SubjectModel", "anatomy_of", "wrap"]
