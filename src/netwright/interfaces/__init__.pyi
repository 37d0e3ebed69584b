from .evaluator import Capabilities as Capabilities
from .evaluator import Evaluator as Evaluator
from .knowledge import Knowledge as Knowledge
from .preparation import Preparation as Preparation
from .preparation import Shortlist as Shortlist
from .strategy import Algorithm as Algorithm
from .strategy import Problem as Problem
from .strategy import Strategy as Strategy
