from .describe import summary as summary
from .tables import Row as Row
from .tables import leaderboard as leaderboard
