// SPDX-License-Identifier: Apache-2.0
//! The disks the device boots from.

pub mod config_fs;
pub mod data;
pub mod initramfs;
pub mod push;
pub mod stage;
pub mod system;
