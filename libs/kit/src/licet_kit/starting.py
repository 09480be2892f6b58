"""The start of a process, half of which is importing."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Import inside of this: modules are no garbage, and looking for it costs a fifth of the start.

    What was imported is never looked at again, so that later collections have less to go through.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
