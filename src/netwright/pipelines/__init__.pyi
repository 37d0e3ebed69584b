from .ensemble import GreedySelection as GreedySelection
from .pipeline import FittedPipeline as FittedPipeline
from .pipeline import ImagePipeline as ImagePipeline
from .pipeline import TablePipeline as TablePipeline
from .categories import Categories as Categories
from .numeric import Numeric as Numeric
from .pixels import Scale as Scale
from .text import Text as Text
