// SPDX-License-Identifier: Apache-2.0
//! The tensors of a safetensors or GGUF file, by its header, and their places in a buffer.
//!
//! A header is input from anywhere: each number in it is checked against the file before it is
//! used, and what is kept of it is bounded.

mod ggml_type;
mod gguf;
mod header;
mod layout;
mod safetensors;
mod tensor;

pub use header::read;
pub use layout::{Align, Layout};
pub use tensor::Tensor;
