// SPDX-License-Identifier: Apache-2.0
//! Tests of the calls that the tool makes, as the service sees them.

mod interrupt;
mod older_service;
mod recorder;
mod tensors;
mod terminal;
