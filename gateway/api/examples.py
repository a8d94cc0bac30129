"""One example for every body, by operation id. Invented people, data and identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PRINCIPAL = "prn_aaaaaaaaaaaaaaaaaaaaaaaaaa"
_DATASET = "dst_aaaaaaaaaaaaaaaaaaaaaaaaaa"
_JOB = {
    "spec": {
        "dataset": _DATASET,
        "purpose": "research/oncology",
        "epsilon": "1",
        "label": "outcome",
        "recipe": {"steps": 200, "expected_batch": 64},
    }
}

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "enrolPrincipal": {"name": "Ada Researcher", "token_days": 90},
    "assignRole": {"role": "trainer"},
    "issueCredential": {"token_days": 30},
    "enrolParty": {
        "identity": {
            "identity": "A" * 43 + "=",
            "kind": "site",
            "name": "north-hospital",
            "sealing": "A" * 43 + "=",
            "v": 1,
        },
        "request": "-----BEGIN CERTIFICATE REQUEST-----\n...\n-----END CERTIFICATE REQUEST-----\n",
    },
    "renewParty": {
        "renewal": '{"payload":"...","payloadType":"application/vnd.privgate.party-renewal.v1+json","signatures":[...]}'
    },
    "definePurpose": {"purpose": "research/oncology", "within": ["research"]},
    "setPolicy": {
        "approvals": [{"sensitivity": "restricted", "job_kind": "training"}],
        "ceilings": [{"sensitivity": "internal", "epsilon": "1"}],
        "checked_by": ["owner", "checker"],
    },
    "createPopulation": {
        "unit": {"kind": "column", "noun": "patient"},
        "unit_domain": "patients/mrn",
        "public_size": 20000,
        "holdout_share": "0.2",
        "epsilon": "8",
        "delta": "0.0000005",
        "choice": {"alternatives": ["3", "5", "8"], "reason": "Three years of jobs fit into eight."},
    },
    "changeBudget": {"epsilon": "10"},
    "openBlock": {"public_size": 2000},
    "capTrainer": {"principal": _PRINCIPAL, "share": "0.25"},
    "registerDataset": {
        "title": "Doses and outcomes",
        "description": "One row for each course of treatment.",
        "population": "pop_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "schema": {
            "columns": [
                {"name": "mrn", "kind": "identifier"},
                {"name": "age", "kind": "numeric", "low": "0", "high": "120", "clamp": True},
                {"name": "outcome", "kind": "categorical", "categories": ["well", "ill"]},
            ]
        },
        "unit": {"kind": "column", "noun": "patient", "column": "mrn", "rows_per_unit": 4},
        "sensitivity": "confidential",
        "purposes": ["research"],
        "legal_basis": "gdpr-6-1-e-public-task",
        "special_condition": "gdpr-9-2-j-archiving-research-statistics",
        "retention_until": "2031-12-31T00:00:00Z",
    },
    "createGrant": {
        "principal": _PRINCIPAL,
        "dataset": _DATASET,
        "purpose": "research/oncology",
        "until": "2027-12-31T00:00:00Z",
        "job_kinds": ["training", "evaluation", "statistics"],
        "obligations": {"trainer_share": "0.5", "approval_required": True, "max_epsilon": "3"},
    },
    "quoteJob": _JOB,
    "requestJob": _JOB,
    "answerApproval": {
        "verdict": "approved",
        "request_digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    },
    "checkRelease": {"verdict": "release"},
    "issueReport": {"from_size": 0, "frameworks": ["gdpr"]},
}
