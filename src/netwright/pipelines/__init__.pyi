from .ensemble import GreedySelection as GreedySelection
from .pipeline import FittedPipeline as FittedPipeline
from .pipeline import ImagePipeline as ImagePipeline
from .pipeline import TablePipeline as TablePipeline
from .steps import Categories as Categories
from .steps import Numeric as Numeric
from .steps import Scale as Scale
