// SPDX-License-Identifier: Apache-2.0
//! Buffers: what a heap yields, the memory behind it, its name, and the CPU's access to it.

mod allocated;
mod backing;
mod client;
mod cpu_access;
mod exported;
mod fences;
mod name;
mod retained;
mod view;

pub(crate) use allocated::Allocated;
pub use backing::PageKind;
pub(crate) use backing::{may_be_large_folios, Backing};
pub(crate) use client::{check_client_mode, BufferUse};
pub(crate) use cpu_access::CpuView;
pub use exported::Buffer;
pub(crate) use fences::{is_unused_by_devices, MAX_INTERRUPTED};
pub(crate) use name::BufferName;
pub(crate) use retained::RetainedBuffer;
pub(crate) use view::{BufferKind, BufferView};
