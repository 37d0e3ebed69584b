from .base import Evaluator as Evaluator
from .base import cached as cached
from .base import cascade as cascade
from .base import combine as combine
from .costs import NetworkCosts as NetworkCosts
from .defaults import evaluator_for as evaluator_for
from .latency import Latency as Latency
from .train import TrainAndValidate as TrainAndValidate
