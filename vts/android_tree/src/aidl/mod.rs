// SPDX-License-Identifier: Apache-2.0
//! AIDL as this project writes it: one type in each file, no generics, no nested types.
//!
//! [`parser`] makes a [`model::File`] of a source, [`lint`] warns as `aidl -Weverything` does,
//! [`dump`] writes what `aidl --dumpapi` writes, and [`rust`] what `aidl --lang=rust` declares.

pub mod dump;
pub mod lint;
pub mod model;
pub mod parser;
pub mod rust;
