"""Answers as JSON documents, with rows, and with figures for which a CSV has no column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from memtrain.answers.axis_law import AxisLaw
from memtrain.answers.capacity import Capacity
from memtrain.answers.comparison import MEASURED, Comparison
from memtrain.answers.law import Law, NoLaw
from memtrain.answers.option import Ways
from memtrain.answers.swept import Swept
from memtrain.answers.training import Training
from memtrain.cells.row import Row
from memtrain.explaining.evidence import Explained
from memtrain.explaining.explanation import Account
from memtrain.explaining.proof import Proof
from memtrain.explaining.second import SecondOrder
from memtrain.graph.node import Graph, Node
from memtrain.report.capacity import capacity_records, plural
from memtrain.report.json_text import fields_of, json_text
from memtrain.report.section import Origin
from memtrain.report.ways import ways_records
from memtrain.report.ways_findings import advice

SCHEMA_VERSION = 1


def swept_document(swept: Swept, origin: Origin) -> str:
    """The sweep as JSON text: command, options, environment, rows (columns, peak node, retained), laws."""
    rows, laws = swept.rows, swept.laws
    environments = [row.environment for row in rows if row.environment]
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": origin.command,
        "config": origin.config,
        "environment": environments[0] if environments else {},
        "rows": [_row(row) for row in rows],
        "laws": [law for law in laws if isinstance(law, Law)],
        "no_laws": [law for law in laws if isinstance(law, NoLaw)],
        "axis_laws": [law for law in laws if isinstance(law, AxisLaw)],
    }
    return json_text(document)


def training_document(training: Training, origin: Origin) -> str:
    """A training as JSON text: the cell, the loss of each epoch, accuracy, time and peaks."""
    trained = training.trained
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": origin.command,
        **training.cell.columns(),
        "lr": training.rate,
        "epoch_losses": [epoch.loss for epoch in trained.epochs],
        "test_accuracy": trained.test_accuracy,
        "test_loss_bits": trained.test_loss_bits,
        "written": trained.written,
        "train_s": trained.train_s,
        "training_peak_bytes": trained.peak_bytes,
        "inference_peak_bytes": trained.inference_peak_bytes,
        "inference_batch": trained.inference_batch,
        "data_bytes": trained.data_bytes,
        "diverged": trained.diverged,
    }
    return json_text(document)


def explained_document(explained: Explained, origin: Origin) -> str:
    """An explanation as JSON text; the timeline, peak and runner-up at the top are of training."""
    explanation, proof, second = explained.explanation, explained.proof, explained.second
    schedule = explanation.train.schedule
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": origin.command,
        "cell": explanation.cell.columns(),
        "nodes": [_node(schedule.graph, node) for node in schedule.graph],
        "forward": explanation.forward,
        "gradients": explanation.gradients,
        "retained": explanation.retained,
        "retained_by_layer": explanation.retained_by_layer,
        "recomputed": explanation.recomputed,
        "dropped": explanation.dropped,
        "recomputation": explanation.recomputation,
        **({"saved": explanation.saved, "beside": explanation.beside} if explanation.saved else {}),
        **_account(explanation.train),
        "inference": _account(explanation.infer),
        "footprint": {
            mode: [entry for entry in account.footprint]
            for mode, account in (("train", explanation.train), ("infer", explanation.infer))
        },
        "rows": [_row(row) for row in explained.rows.values()],
        "proof": None if proof is None else _proof(proof),
        "second_order": None if second is None else _second(second),
    }
    return json_text(document)


def _proof(proof: Proof) -> dict[str, Any]:
    needed = [
        {"name": array.name, "nbytes": array.nbytes, "changes": [value.name for value in array.changes]}
        for array in proof.needed
    ]
    return {
        "needed": needed,
        "poisoned_changes": [value.name for value in proof.poisoned_changes],
        "stale_reads": proof.stale_reads,
        "ok": proof.ok,
        "failures": proof.failures(),
    }


def capacity_document(capacity: Capacity, origin: Origin) -> str:
    """A capacity as JSON text: a row per depth and mode, and the largest depth per batch and mode.

    For other axes, their names stand in place of depth and batch.
    """
    rows, firsts = capacity_records(capacity)
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": origin.command,
        "environment": origin.environment,
        "cell": {k: v for k, v in capacity.cell.columns().items() if k not in capacity.axes},
        "budget_bytes": capacity.budget_bytes,
        "training_examples": capacity.training_examples,
        "rows": rows,
        f"largest_{plural(capacity.axes[0])}": firsts,
    }
    return json_text(document)


def ways_document(ways: Ways, origin: Origin) -> str:
    """Ways to make a cell fit, as JSON text: an entry per option, with its row if it was measured."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": origin.command,
        "environment": origin.environment,
        "cell": ways.cell.columns(),
        "memory_bytes": ways.memory_bytes,
        "fits": None if ways.memory_bytes is None else ways.chosen is not None,
        "chosen": None if ways.chosen is None else ways.chosen.name,
        "advice": advice(ways),
        "parameter_bytes": ways.parameter_bytes,
        "least_bytes": ways.least_bytes,
        "largest_batch": None if ways.smaller is None else ways.smaller.cell.batch,
        "left_out": [{"name": name, "predicted_peak_bytes": peak} for name, peak in ways.left_out],
        "options": [
            {
                **record,
                "values": [
                    {"name": node.name, "bytes": node.nbytes, "times_again": times}
                    for node, times in option.values
                ],
                "differing": option.differing,
                "changed_by_plan": option.changed_by_plan,
                "notes": option.notes,
                "row": None if option.row is None else _row(option.row),
            }
            for option, record in zip(ways.options, ways_records(ways), strict=True)
        ],
    }
    return json_text(document)


def comparison_document(comparison: Comparison, origin: Origin) -> str:
    """A comparison as JSON text: a row per cell and mode, with before, after and ratio of each meter."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": origin.command,
        "environment": {
            "before": _made_with(pairing.before for pairing in comparison.pairings),
            "after": _made_with(pairing.after for pairing in comparison.pairings),
        },
        "rows": [
            {
                **pairing.cell.columns(),
                "mode": pairing.mode,
                **{
                    MEASURED[meter]: {
                        **dict(zip(("before", "after"), pairing.figures(meter), strict=True)),
                        "ratio": pairing.ratio(meter),
                    }
                    for meter in comparison.meters
                },
            }
            for pairing in comparison.pairings
        ],
    }
    return json_text(document)


def _made_with(rows: Iterable[Row | None]) -> dict[str, Any]:
    """The environment of the first row that has one."""
    names = ("memtrain", "python", "numpy", "blas", "cpu")
    return next(({name: row[name] for name in names} for row in rows if row and row["memtrain"]), {})


def _node(graph: Graph, node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op.name,
        "phase": node.phase,
        "shape": [int(size) for size in node.shape],
        "dtype": str(node.dtype),
        "bytes": node.nbytes if node.owns_storage else 0,
        "inputs": [graph[index].name for index in node.inputs],
    }


def _account(account: Account) -> dict[str, Any]:
    second = account.runner_up
    return {
        "timeline": [moment for moment in account.timeline],
        "peak": {**fields_of(account.peak), "bytes": account.peak.total_bytes},
        "runner_up": None if second is None else {**fields_of(second), "bytes": second.moment.total_bytes},
    }


def _second(second: SecondOrder) -> dict[str, Any]:
    return {
        "first_order_peak_bytes": second.first.peak_bytes,
        "second_order_peak_bytes": second.second.peak_bytes,
        "first_order_work": second.first_work,
        "second_order_work": second.second_work,
        "first_order_retained": [{"name": node.name, "bytes": node.nbytes} for node in second.first_kept],
        "second_order_peak": {
            "step": second.second.peak_step,
            "standing": [
                {**fields_of(entry), "names": [value.name for value in entry.names]}
                for entry in second.second_standing
            ],
        },
        "second_order_retained": [{"name": node.name, "bytes": node.nbytes} for node in second.second_kept],
        "relative_error": second.relative_error,
        "unchecked": second.unchecked,
    }


def _row(row: Row) -> dict[str, Any]:
    return {**row.columns(), "peak_node": row.peak_node, "retained": row.retained, "notes": row.notes}
