"""Front end for torch: live modules and `torch.export` programs."""

from certify.io.torch.archive import load_pt2
from certify.io.torch.capture import compile, one_input, refuse_training_statistics

__all__ = ["compile", "load_pt2", "one_input", "refuse_training_statistics"]
