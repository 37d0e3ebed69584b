from .oracle import TableOracle as TableOracle
from .settings import ComparisonSettings as ComparisonSettings
from .runner import Comparison as Comparison
from .runner import compare as compare
from .summary import summarise as summarise
