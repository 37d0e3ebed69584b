from .base import Strategy as Strategy
from .evolution import RegularizedEvolution as RegularizedEvolution
from .random import RandomSearch as RandomSearch
