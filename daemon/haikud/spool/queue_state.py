"""Whether the queue as a whole starts anything: queue.json. Absent means that it does.

Fails with OSError, and with UnreadableFile where the file is broken.
"""

from __future__ import annotations

from haikud.contracts.decision import QueueState
from haikud.spool.durable import write_durably
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump, read_model


def read_queue_state(layout: SpoolLayout) -> QueueState:
    """The state as last written."""
    return read_model(layout.queue_file, QueueState) or QueueState.model_validate({})


def write_queue_state(layout: SpoolLayout, state: QueueState) -> None:
    """Replace it, durably: a control file that caused it may be unlinked afterwards."""
    write_durably(layout.queue_file, dump(state))
