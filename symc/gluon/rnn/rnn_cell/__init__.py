"""`mx.gluon.rnn.rnn_cell`: cells, by MXNet's names; those with an underscore are what scripts import, too."""

from .elementary import GRUCell, LSTMCell, RNNCell
from .modifiers import DropoutCell, ModifierCell, ResidualCell, ZoneoutCell
from .recurrent import HybridRecurrentCell, RecurrentCell, _cells_begin_state, _cells_state_info, _get_begin_state
from .sequence import _format_sequence, _mask_sequence_variable_length, _reverse_sequences
from .stacks import BidirectionalCell, HybridSequentialRNNCell, SequentialRNNCell

__all__ = [
    "BidirectionalCell", "DropoutCell", "GRUCell", "HybridRecurrentCell", "HybridSequentialRNNCell", "LSTMCell",
    "ModifierCell", "RNNCell", "RecurrentCell", "ResidualCell", "SequentialRNNCell", "ZoneoutCell",
]  # fmt: skip
