// SPDX-License-Identifier: Apache-2.0
//! The test plan: the file `plan` at the root of the push image.
//!
//! It is a JSON-lines file: one [`Step`] per line, run in order. Empty lines are ignored; an
//! unknown field is an error. Beside it, the directory `files/` holds what is copied to
//! [`PUSH_DIR`](crate::step::PUSH_DIR) before the first step, as `adb push` would.

use crate::step::Step;

/// Name of the plan at the root of the push image.
pub const PLAN_FILE: &str = "plan";

/// Name of the directory of pushed files at the root of the push image.
pub const FILES_DIR: &str = "files";

/// Kernel command-line word that asks for an interactive shell instead of the plan.
pub const SHELL_FLAG: &str = "vts.shell";

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
    use crate::step::PUSH_DIR;

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
