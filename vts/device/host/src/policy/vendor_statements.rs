// SPDX-License-Identifier: Apache-2.0
//! Statements that checkpolicy takes in a vendor policy and Android's version_policy does not.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};

use crate::files;

/// Refuses `fs_use_xattr`, `fs_use_task` and `fs_use_trans` in any policy file of `sepolicy_dir`.
///
/// Android's build gives the vendor policy versioned attributes with version_policy, which fails on
/// these with "Unable to attributize target db." `genfscon` labels a file system instead.
pub(super) fn refuse_fs_use(sepolicy_dir: &Path) -> Result<()> {
    for path in files::sorted(sepolicy_dir)? {
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or_default();
            ensure!(
                !code.contains("fs_use_"),
                "{}:{}: a vendor policy cannot have fs_use_* statements: use genfscon",
                path.display(),
                index + 1
            );
        }
    }
    Ok(())
}
