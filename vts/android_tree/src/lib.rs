// SPDX-License-Identifier: Apache-2.0
//! What the tools of an Android tree refuse: Soong, aidl, and rustc as Soong calls it. Checked on
//! the host.
//!
//! [`android_bp`] reads Android.bp files and [`modules`] says what Soong would refuse in them.
//! [`soong`] compiles the modules with Cargo as Soong would. [`aidl`] reads `.aidl` files, lints
//! them, dumps the API of an interface and generates its Rust declarations. The checks of this
//! project are in `tests/`.
//!
//! # Threading and lifetime
//! The crate keeps no state. Two callers of [`soong::check`] with the same output directory wait
//! for each other by Cargo's lock.

#![deny(missing_docs)]

pub mod aidl;
pub mod android_bp;
mod lexeme;
pub mod modules;
pub mod soong;
pub mod source_text;
