// SPDX-License-Identifier: Apache-2.0
//! `service` sections, and the defaults of their options.

use crate::ids::{Ids, UnknownId};
use crate::rc::capability;

/// Seconds between the start of a service and its restart, unless its .rc file says otherwise.
pub const DEFAULT_RESTART_PERIOD_S: u64 = 5;

/// What the kernel's OOM killer does not touch, as Android's init starts services unless their .rc
/// file says otherwise.
pub const DEFAULT_OOM_SCORE_ADJUST: i32 = -1000;

/// A `service` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its class; `default` unless given.
    pub class: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// SELinux context, if not left to the policy's transition.
    pub seclabel: Option<String>,
    /// Kept capabilities, by number; None leaves a root service all of them.
    pub capabilities: Option<Vec<u32>>,
    /// Names it registers with the service manager.
    pub interfaces: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Nice value.
    pub priority: i32,
    /// What its memory use counts for, against that of others, when memory is short.
    pub oom_score_adjust: i32,
    /// Not restarted when it ends.
    pub oneshot: bool,
    /// Not started with its class.
    pub disabled: bool,
    /// A crash loop of it is fatal to the device.
    pub critical: bool,
    /// Runs on the console, as the leader of a session with a controlling terminal.
    pub console: bool,
    /// Seconds from start to restart.
    pub restart_period_s: u64,
    /// Classes whose running services are restarted with it.
    pub onrestart: Vec<String>,
}

impl Service {
    /// A service of the name, program and arguments that follow the word `service`.
    pub(super) fn new(words: &[&str]) -> Result<Self, String> {
        let [name, argv @ ..] = words else { return Err("service has no name".into()) };
        let valid = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        if name.is_empty() || !name.chars().all(valid) {
            return Err(format!("bad service name '{name}'"));
        }
        match argv.first() {
            Some(program) if program.starts_with('/') => {}
            _ => return Err(format!("program of service '{name}' is not an absolute path")),
        }
        Ok(Self {
            name: (*name).to_owned(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            class: "default".into(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            seclabel: None,
            capabilities: None,
            interfaces: Vec::new(),
            env: Vec::new(),
            priority: 0,
            oom_score_adjust: DEFAULT_OOM_SCORE_ADJUST,
            oneshot: false,
            disabled: false,
            critical: false,
            console: false,
            restart_period_s: DEFAULT_RESTART_PERIOD_S,
            onrestart: Vec::new(),
        })
    }

    /// Sets what one line of the section says.
    pub(super) fn set_option(&mut self, words: &[&str], ids: &Ids) -> Result<(), String> {
        let unknown = |e: UnknownId| e.to_string();
        match *words {
            ["class", class] => self.class = class.to_owned(),
            ["user", user] => self.uid = ids.user(user).map_err(unknown)?,
            ["group", group, ref groups @ ..] => {
                self.gid = ids.group(group).map_err(unknown)?;
                self.groups = groups
                    .iter()
                    .map(|name| ids.group(name).map_err(unknown))
                    .collect::<Result<_, _>>()?;
            }
            ["seclabel", label] => self.seclabel = Some(label.to_owned()),
            ["interface", "aidl", name] => self.interfaces.push(name.to_owned()),
            ["oneshot"] => self.oneshot = true,
            ["disabled"] => self.disabled = true,
            ["critical"] => self.critical = true,
            ["console"] => self.console = true,
            ["capabilities", ref names @ ..] => {
                self.capabilities = Some(
                    names.iter().map(|name| capability::number(name)).collect::<Result<_, _>>()?,
                );
            }
            ["priority", value] => {
                self.priority = value
                    .parse()
                    .ok()
                    .filter(|nice| (-20..20).contains(nice))
                    .ok_or_else(|| format!("bad priority '{value}'"))?;
            }
            ["oom_score_adjust", value] => {
                self.oom_score_adjust = value
                    .parse()
                    .ok()
                    .filter(|adjust| (-1000..=1000).contains(adjust))
                    .ok_or_else(|| format!("bad oom_score_adjust '{value}'"))?;
            }
            ["setenv", key, value] => self.env.push((key.to_owned(), value.to_owned())),
            ["restart_period", value] => {
                self.restart_period_s =
                    value.parse().map_err(|_| format!("bad restart period '{value}'"))?;
            }
            ["onrestart", "class_restart", "--only-enabled", class]
            | ["onrestart", "class_restart", class] => self.onrestart.push(class.to_owned()),
            ["task_profiles", _, ..] | ["ioprio", _, _] | ["shutdown", "critical"] => {}
            _ => return Err(format!("unknown service option '{}'", words.join(" "))),
        }
        Ok(())
    }
}
