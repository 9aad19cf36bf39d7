"""Front end for torch: live modules and `torch.export` programs."""

from certify.io.torch.archive import load_pt2
from certify.io.torch.capture import Capture, compile, freeze, one_input
from certify.io.torch.export import NotTakenError
from certify.io.torch.shape import example_of

__all__ = ["Capture", "NotTakenError", "compile", "example_of", "freeze", "load_pt2", "one_input"]
