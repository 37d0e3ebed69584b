from .arrays import read_array as read_array
from .arrays import read_tensors as read_tensors
from .folder import Folder as Folder
from .json_files import from_plain as from_plain
from .json_files import parse as parse
from .json_files import read_json as read_json
