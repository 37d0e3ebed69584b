from .sampling import Drawn as Drawn
from .sampling import Sampled as Sampled
from .sampling import SampledSearch as SampledSearch
from .sampling import Sandwich as Sandwich
from .sampling import StrictlyFair as StrictlyFair
from .sampling import Uniform as Uniform
from .sharing import SharedWeights as SharedWeights
from .supernet import Supernet as Supernet
