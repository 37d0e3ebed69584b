from .base import Strategy as Strategy
from .random import RandomSearch as RandomSearch
from .evolution import RegularizedEvolution as RegularizedEvolution
