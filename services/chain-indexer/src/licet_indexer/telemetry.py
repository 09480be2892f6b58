"""Names of the indexer's spans and instruments, and the instruments themselves."""

from __future__ import annotations

from licet_kit.telemetry import meter, tracer

# Span names.
SPAN_EXTEND = "chain.extend"
SPAN_RETRACT = "chain.retract"

# Labels; a chain's id is low in cardinality, its blocks are not and go to spans.
LABEL_CHAIN = "chain_id"
LABEL_REASON = "reason"

TRACER = tracer(__name__)
_meter = meter(__name__)

HEAD = _meter.create_gauge("licet.indexer.head", description="Height of the mirror's tip")
FINAL = _meter.create_gauge("licet.indexer.final", description="Height of the highest final block")
LAG = _meter.create_gauge("licet.indexer.lag", description="Blocks that the mirror is behind the node")
HALTED = _meter.create_gauge("licet.indexer.halted", description="1 while a chain is halted")
LEADING = _meter.create_gauge("licet.indexer.leading", description="1 while this process leads the chain")
BLOCKS = _meter.create_counter("licet.indexer.blocks", description="Blocks added to the mirror")
EVENTS = _meter.create_counter("licet.indexer.events", description="Events emitted as observed")
RETRACTED = _meter.create_counter("licet.indexer.retracted", description="Events emitted as retracted")
UNKNOWN = _meter.create_counter("licet.indexer.unknown_logs", description="Logs that were not understood")
REORG_DEPTH = _meter.create_histogram(
    "licet.indexer.reorg_depth", description="Blocks that a reorg took back"
)
NODE_ERRORS = _meter.create_counter(
    "licet.indexer.node_errors", description="Answers of nodes that could not be used, by reason"
)
APPLY_S = _meter.create_histogram(
    "licet.indexer.apply", unit="s", description="Time to write a batch of blocks, commit included"
)
