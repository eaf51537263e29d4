// SPDX-License-Identifier: Apache-2.0
//! Names of what the directory of a kernel holds.

/// The bootable image.
pub const IMAGE: &str = "bzImage";

/// Directory of the modules to load.
pub const MODULES: &str = "modules";

/// Names the modules in the order in which they are loaded; in the directory of the modules, here
/// and on the device.
pub const MODULES_LOAD: &str = "modules.load";

/// Directory of the headers against which modules are built.
pub const HEADERS: &str = "headers";

/// Directory of the kernel's own tests.
pub const SELFTESTS_DIR: &str = "selftests";

/// Directory of what checkpatch.pl said.
pub const REPORTS: &str = "checkpatch";
