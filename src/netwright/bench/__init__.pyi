from .protocol import Judge as Judge
from .protocol import Protocol as Protocol
from .runner import Comparison as Comparison
from .runner import compare as compare
from .summary import summarise as summarise
