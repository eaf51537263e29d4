// SPDX-License-Identifier: Apache-2.0
//! Android init language: the subset of .rc files this init understands.
//!
//! Services: `class`, `user`, `group`, `seclabel`, `interface`, `oneshot`, `disabled`, `critical`,
//! `capabilities`, `priority`, `oom_score_adjust`, `setenv`, `console`, `restart_period`,
//! `onrestart class_restart`, and, read but without an effect, `task_profiles`, `ioprio` and
//! `shutdown`.
//!
//! Commands: `mkdir`, `chown`, `chmod`, `write`, `symlink`, `mount`, `restorecon`,
//! `restorecon_recursive`, `setrlimit`, `start`, `class_start`, `wait_for_prop`.
//!
//! Triggers are the boot stages of [`TRIGGERS`], each with any number of conditions
//! `&& property:ro.boot.NAME=VALUE`. Any other word is an error.

mod capability;
mod command;
mod service;
#[cfg(test)]
mod tests;

pub use command::{Command, Ownership, Resource};
pub use service::Service;

use crate::ids::Ids;
use crate::words::{self, Line, SyntaxError};

/// The boot stages, in the order in which they run.
pub const TRIGGERS: [&str; 7] =
    ["early-init", "init", "early-fs", "fs", "post-fs", "post-fs-data", "boot"];

/// Prefix of the properties that are set before init starts, and never change.
pub const BOOT_PROPERTY: &str = "ro.boot.";

/// A command and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// `FILE:LINE`
    pub place: String,
    /// The command.
    pub command: Command,
}

/// The services and actions of all files read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Services, in the order read.
    pub services: Vec<Service>,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Action {
    /// The boot stage.
    stage: &'static str,
    /// Names and values of properties.
    conditions: Vec<(String, String)>,
    commands: Vec<Located>,
}

enum Section {
    None,
    Service(Service),
    Action(Action),
}

impl Config {
    /// Adds one file; every error in it is returned, each with its line.
    pub fn add(&mut self, file: &str, text: &str, ids: &Ids) -> Result<(), Vec<SyntaxError>> {
        let lines = words::split(file, text).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let mut section = Section::None;
        for line in &lines {
            if let Err(reason) = self.add_line(file, line, ids, &mut section) {
                errors.push(SyntaxError { file: file.to_owned(), line: line.number, reason });
            }
        }
        self.close(section);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// The commands of a boot stage, in the order read; `property` gives the values of properties.
    pub fn commands(
        &self,
        stage: &str,
        property: impl Fn(&str) -> Option<String>,
    ) -> Vec<&Located> {
        let holds = |(name, value): &(String, String)| property(name).as_ref() == Some(value);
        self.actions
            .iter()
            .filter(|action| action.stage == stage && action.conditions.iter().all(holds))
            .flat_map(|action| &action.commands)
            .collect()
    }

    fn close(&mut self, section: Section) {
        match section {
            Section::None => {}
            Section::Service(service) => self.services.push(service),
            Section::Action(action) => self.actions.push(action),
        }
    }

    fn add_line(
        &mut self,
        file: &str,
        line: &Line,
        ids: &Ids,
        section: &mut Section,
    ) -> Result<(), String> {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        match words[..] {
            ["service", ref rest @ ..] => {
                self.close(std::mem::replace(section, Section::None));
                let service = Service::new(rest)?;
                if self.services.iter().any(|other| other.name == service.name) {
                    return Err(format!("service '{}' is defined twice", service.name));
                }
                *section = Section::Service(service);
                Ok(())
            }
            ["on", ref trigger @ ..] => {
                self.close(std::mem::replace(section, Section::None));
                *section = Section::Action(new_action(trigger)?);
                Ok(())
            }
            _ => match section {
                Section::None => {
                    Err(format!("'{}' is outside a service or an action", words.join(" ")))
                }
                Section::Service(service) => service.set_option(&words, ids),
                Section::Action(action) => {
                    let command = Command::parse(&words, ids)?;
                    action
                        .commands
                        .push(Located { place: format!("{file}:{}", line.number), command });
                    Ok(())
                }
            },
        }
    }
}

fn new_action(words: &[&str]) -> Result<Action, String> {
    let unknown = || format!("unknown trigger '{}'", words.join(" "));
    let [stage, conditions @ ..] = words else { return Err(unknown()) };
    let stage = TRIGGERS.iter().find(|known| *known == stage).ok_or_else(unknown)?;
    let conditions = conditions.chunks(2).map(|condition| match condition {
        ["&&", property] => {
            let (name, value) = property.strip_prefix("property:")?.split_once('=')?;
            name.starts_with(BOOT_PROPERTY).then(|| (name.to_owned(), value.to_owned()))
        }
        _ => None,
    });
    let conditions = conditions.collect::<Option<_>>().ok_or_else(unknown)?;
    Ok(Action { stage, conditions, commands: Vec::new() })
}
