from .samplers import Drawn as Drawn
from .sampling import Sampled as Sampled
from .sampling import SampledSearch as SampledSearch
from .samplers import Sandwich as Sandwich
from .samplers import StrictlyFair as StrictlyFair
from .samplers import Uniform as Uniform
from .sharing import SharedWeights as SharedWeights
from .supernet import Supernet as Supernet
