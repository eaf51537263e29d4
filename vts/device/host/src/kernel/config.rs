// SPDX-License-Identifier: Apache-2.0
//! The configuration of a kernel: nothing but what fragments ask for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use super::make::make;
use crate::cache::Key;
use crate::command::{command, run_logged};
use crate::files;

/// Files of options; what a later one says of an option holds.
#[derive(Debug)]
pub struct Fragments(pub Vec<PathBuf>);

impl Fragments {
    /// Adds the fragments to what a build depends on.
    pub fn add_to(&self, key: &mut Key) -> Result<()> {
        for fragment in &self.0 {
            key.add("config", files::read(fragment)?);
        }
        Ok(())
    }

    /// Configures a tree; an option that the configuration does not get is an error.
    pub fn configure(&self, tree: &Path, log: &Path) -> Result<()> {
        run_logged(make(tree).arg("allnoconfig"), log)?;
        run_logged(
            command("scripts/kconfig/merge_config.sh")
                .args(["-m", ".config"])
                .args(&self.0)
                .current_dir(tree),
            log,
        )?;
        run_logged(make(tree).arg("olddefconfig"), log)?;
        let texts = self.0.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
        let lost = lost_options(&texts, &fs::read_to_string(tree.join(".config"))?);
        if !lost.is_empty() {
            let names: Vec<String> = self.0.iter().map(|path| files::name(path)).collect();
            bail!(
                "{}: options that the final configuration lacks (a dependency is missing, or no \
                 option has that name):\n    {}",
                names.join(", "),
                lost.join("\n    ")
            );
        }
        Ok(())
    }
}

/// Options that the final configuration does not have as the fragments say.
fn lost_options(fragments: &[String], config: &str) -> Vec<String> {
    let lines: Vec<&str> = fragments.iter().flat_map(|text| text.lines()).map(str::trim).collect();
    let is_last = |index: usize, name: &str| {
        !lines[index + 1..].iter().any(|line| option(line) == Some(name))
    };
    let wanted = lines
        .iter()
        .enumerate()
        .filter(|(index, line)| option(line).is_some_and(|name| is_last(*index, name)));
    wanted
        .map(|(_, line)| *line)
        .filter(|line| match unset(line) {
            Some(name) => {
                config.lines().any(|have| unset(have).is_none() && option(have) == Some(name))
            }
            None => !config.lines().any(|have| have == *line),
        })
        .map(str::to_owned)
        .collect()
}

/// The option that a line says something of.
fn option(line: &str) -> Option<&str> {
    unset(line).or_else(|| {
        line.split_once('=').map(|(name, _)| name).filter(|name| name.starts_with("CONFIG_"))
    })
}

/// The option that a line says is not set.
fn unset(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?.strip_suffix(" is not set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(fragments: &[&str], config: &str) -> Vec<String> {
        lost_options(&fragments.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), config)
    }

    #[test]
    fn lost_options_are_named() {
        let fragment = "# A comment\nCONFIG_A=y\nCONFIG_B=\"x y\"\n# CONFIG_C is not set\n\
                        # CONFIG_D is not set\nCONFIG_E=y\nCONFIG_F=12\n";
        let config = "CONFIG_A=y\nCONFIG_B=\"x y\"\n# CONFIG_C is not set\nCONFIG_D=y\n\
                      CONFIG_EE=y\nCONFIG_F=1\n";
        assert_eq!(
            lost(&[fragment], config),
            ["# CONFIG_D is not set", "CONFIG_E=y", "CONFIG_F=12"]
        );
        assert!(lost(&[fragment], fragment).is_empty());
    }

    #[test]
    fn the_last_fragment_decides() {
        let fragments = ["CONFIG_A=y\nCONFIG_B=1\n", "# CONFIG_A is not set\nCONFIG_B=2\n"];
        assert!(lost(&fragments, "CONFIG_B=2\n").is_empty());
        assert_eq!(
            lost(&fragments, "CONFIG_A=y\nCONFIG_B=1\n"),
            ["# CONFIG_A is not set", "CONFIG_B=2"]
        );
    }
}
