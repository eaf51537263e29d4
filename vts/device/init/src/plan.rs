// SPDX-License-Identifier: Apache-2.0
//! The test plan: the file `plan` at the root of the push image.
//!
//! It is a JSON-lines file: one [`Step`] per line, run in order. Empty lines are ignored; an
//! unknown field is an error. Beside it, the directory `files/` holds what is copied to
//! [`PUSH_DIR`] before the first step, as `adb push` would.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids;

/// Where pushed files land on the device.
pub const PUSH_DIR: &str = "/data/local/tmp";

/// Name of the plan at the root of the push image.
pub const PLAN_FILE: &str = "plan";

/// Name of the directory of pushed files at the root of the push image.
pub const FILES_DIR: &str = "files";

/// Kernel command-line word that asks for an interactive shell instead of the plan.
pub const SHELL_FLAG: &str = "vts.shell";

/// Name of the virtio-serial port that carries the [report](crate::report).
pub const REPORT_PORT: &str = "vts.report";

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
    /// A command line run by the shell as `adb shell` runs it: uid 2000, adb's groups, `u:r:shell:s0`.
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

/// Why a plan was refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A line is not a step.
    #[error("plan:{line}: {source}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What the JSON parser said.
        source: serde_json::Error,
    },
    /// A step cannot be run as it is written.
    #[error("plan: step '{step}': {reason}")]
    Step {
        /// Name of the step.
        step: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Reads a plan.
pub fn parse(text: &str) -> Result<Vec<Step>, PlanError> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let step: Step = serde_json::from_str(line)
            .map_err(|source| PlanError::Line { line: index + 1, source })?;
        let reason = if step.name.is_empty() {
            Some("has no name")
        } else if steps.iter().any(|other| other.name == step.name) {
            Some("has the name of an earlier step")
        } else if !step.argv.first().is_some_and(|program| program.starts_with('/')) {
            Some("argv[0] is not an absolute path")
        } else if step.context.split(':').count() < 4 {
            Some("context is not user:role:type:level")
        } else if step.timeout_s == 0 {
            Some("timeout_s is 0")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(PlanError::Step { step: step.name, reason });
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Writes a plan.
pub fn serialize(steps: &[Step]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for step in steps {
        text.push_str(&serde_json::to_string(step)?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let steps = vec![
            Step::shell("ls", "ls -lZ /data/local/tmp", 10).with_env("RUST_BACKTRACE", "1"),
            Step::root("dmesg", "dmesg", 5),
            Step::shell("camera", "exec ./VtsHalDmaBufLoaderTargetTest", 300)
                .run_as(1047, "u:r:hal_camera_default:s0"),
        ];
        let text = serialize(&steps).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(parse(&text).unwrap(), steps);
        assert_eq!(steps[1].uid, 0);
        assert_eq!(steps[1].context, "u:r:su:s0");
        assert!(steps[2].groups.is_empty());
    }

    #[test]
    fn minimal_line() {
        let steps = parse(
            "\n{\"name\":\"a\",\"argv\":[\"/system/bin/true\"],\"uid\":1,\"gid\":2,\
             \"context\":\"u:r:shell:s0\",\"timeout_s\":3}\n\n",
        )
        .unwrap();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].cwd, PUSH_DIR);
        assert!(steps[0].env.is_empty());
    }

    #[test]
    fn refusals_name_the_place() {
        let good = serialize(&[Step::shell("a", "true", 1)]).unwrap();
        let error = parse(&format!("{good}nonsense\n")).unwrap_err();
        assert!(error.to_string().starts_with("plan:2: "), "{error}");

        let twice = format!("{good}{good}");
        assert!(parse(&twice).unwrap_err().to_string().contains("earlier step"));

        let unknown = good.replacen("\"uid\"", "\"uidd\":1,\"uid\"", 1);
        assert!(parse(&unknown).unwrap_err().to_string().contains("unknown field"));

        for (broken, expected) in [
            (Step { argv: vec!["sh".into()], ..Step::shell("a", "", 1) }, "absolute path"),
            (Step { argv: vec![], ..Step::shell("a", "", 1) }, "absolute path"),
            (Step::shell("a", "", 0), "timeout_s"),
            (Step::shell("", "", 1), "no name"),
            (Step::shell("a", "", 1).with_context("shell"), "context"),
        ] {
            let error = parse(&serialize(&[broken]).unwrap()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
