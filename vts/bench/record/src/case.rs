// SPDX-License-Identifier: Apache-2.0
//! The case of a measurement: what it measures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is measured. Measurements with equal cases are repetitions of each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The kind of measurement.
    pub kind: Kind,
    /// The method's name, unique within kind and direction together with the parameters.
    pub method: String,
    /// The direction of the transfer.
    pub direction: Direction,
    /// The row of the public series' table, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// Further parameters by name: sizes in bytes, counts as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, u64>,
    /// Bytes that one repetition moves, or allocates if it moves none; 0 for calls.
    pub bytes: u64,
    /// Buffers or calls of one repetition.
    pub operations: u64,
}

impl Case {
    /// Makes a case without row and parameters.
    pub fn new(
        kind: Kind,
        method: impl Into<String>,
        direction: Direction,
        bytes: u64,
        operations: u64,
    ) -> Self {
        let parameters = BTreeMap::new();
        Self { kind, method: method.into(), direction, row: None, parameters, bytes, operations }
    }

    /// Adds a parameter to the case.
    #[must_use]
    pub fn with(mut self, name: &str, value: u64) -> Self {
        self.parameters.insert(name.to_owned(), value);
        self
    }
}

/// The kind of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A method of the public series' tables.
    Seed,
    /// A path of the engine, called in-process.
    Engine,
    /// A path of the service, called over binder.
    Binder,
    /// Reads of the block device into prefaulted memory of the process.
    Raw,
    /// Buffers allocated and closed, without I/O.
    Allocation,
    /// One binder call, repeated many times.
    Call,
    /// A load while other buffers are alive.
    LiveBuffers,
    /// A file of a given size, loaded piece by piece.
    FileSize,
}

/// The direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a file to a buffer.
    Load,
    /// From a buffer to a file.
    Save,
    /// No bytes move.
    None,
}
