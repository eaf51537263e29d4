// SPDX-License-Identifier: Apache-2.0
//! A step: one program that the device runs for a test, and as whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids;

/// Where pushed files land on the device.
pub const PUSH_DIR: &str = "/data/local/tmp";

/// The shell of the device, and the entry point of every domain a plan can name.
pub const SHELL_PATH: &str = "/system/bin/sh";

/// One program to run on the device.
///
/// `argv[0]` is executed directly, with `context` as its SELinux context, so that file must be an
/// entry point of the domain and must not lie on a `nosuid` mount. `/data` is one, as on Android:
/// what was pushed there is started through the shell, as [`Step::shell`] does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Name of the step in the report; unique within a plan.
    pub name: String,
    /// Program, as an absolute path, and its arguments.
    pub argv: Vec<String>,
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// Supplementary group ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// SELinux context to run in, such as `u:r:shell:s0`.
    pub context: String,
    /// Seconds after which the step is killed with everything it started.
    pub timeout_s: u64,
    /// Added to the environment of an `adb shell`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory.
    #[serde(default = "default_cwd", skip_serializing_if = "is_default_cwd")]
    pub cwd: String,
}

fn default_cwd() -> String {
    PUSH_DIR.to_owned()
}

fn is_default_cwd(cwd: &str) -> bool {
    cwd == PUSH_DIR
}

impl Step {
    /// A command line that the shell runs as in `adb shell`: uid 2000, adb's groups,
    /// `u:r:shell:s0`.
    pub fn shell(name: impl Into<String>, command: impl Into<String>, timeout_s: u64) -> Self {
        Self {
            name: name.into(),
            argv: vec![SHELL_PATH.into(), "-c".into(), command.into()],
            uid: ids::AID_SHELL,
            gid: ids::AID_SHELL,
            groups: ids::ADB_SHELL_GROUPS.to_vec(),
            context: "u:r:shell:s0".into(),
            timeout_s,
            env: BTreeMap::new(),
            cwd: default_cwd(),
        }
    }

    /// A command line run as root in `u:r:su:s0`, as after `adb root`.
    pub fn root(name: impl Into<String>, command: impl Into<String>, timeout_s: u64) -> Self {
        Self { uid: 0, gid: 0, ..Self::shell(name, command, timeout_s) }.with_context("u:r:su:s0")
    }

    /// The same step as another user with no supplementary group, in another context.
    #[must_use]
    pub fn run_as(mut self, id: u32, context: impl Into<String>) -> Self {
        self.uid = id;
        self.gid = id;
        self.groups.clear();
        self.with_context(context)
    }

    /// The same step with one more supplementary group.
    #[must_use]
    pub fn with_group(mut self, id: u32) -> Self {
        self.groups.push(id);
        self
    }

    /// The same step in another SELinux context.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// The same step with one more environment variable.
    #[must_use]
    pub fn with_env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }
}
