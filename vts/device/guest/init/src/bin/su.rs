// SPDX-License-Identifier: Apache-2.0
//! `su`, as on Android's userdebug builds: `su [UID[,GID[,GROUP...]]] [PROGRAM [ARGUMENT...]]`.
//!
//! Installed as /system/xbin/su, set-user-ID root; the policy lets the shell alone execute it and
//! gives it the domain `su`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{bail, Context, Result};
use nix::unistd::{setgroups, setresgid, setresuid, Gid, Uid};
use vts_init::ids::Ids;
use vts_init::step::SHELL_PATH;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("su: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<std::convert::Infallible> {
    let (identity, program) = match args.split_first() {
        Some((identity, program)) => (identity.as_str(), program),
        None => ("root", args),
    };
    let (uid, gid, groups) = parse_identity(identity)?;
    setgroups(&groups).context("setting the groups")?;
    setresgid(gid, gid, gid).with_context(|| format!("becoming group {gid}"))?;
    setresuid(uid, uid, uid).with_context(|| format!("becoming user {uid}"))?;
    let shell = [SHELL_PATH.to_owned()];
    let argv = if program.is_empty() { &shell[..] } else { program };
    let error = Command::new(&argv[0]).args(&argv[1..]).exec();
    Err(error).with_context(|| format!("executing {}", argv[0]))
}

/// Reads `UID[,GID[,GROUP...]]`; the group defaults to the number of the user.
fn parse_identity(text: &str) -> Result<(Uid, Gid, Vec<Gid>)> {
    let ids = Ids::default();
    let mut words = text.split(',');
    let user = words.next().filter(|name| !name.is_empty());
    let Some(user) = user else { bail!("no user given") };
    let uid = ids.user(user)?;
    let gid = words.next().map_or(Ok(uid), |name| ids.group(name))?;
    let groups = words.map(|name| Ok(Gid::from_raw(ids.group(name)?))).collect::<Result<_>>()?;
    Ok((Uid::from_raw(uid), Gid::from_raw(gid), groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities() {
        let show = |text| {
            let (uid, gid, groups) = parse_identity(text).unwrap();
            let groups: Vec<u32> = groups.iter().map(|gid| gid.as_raw()).collect();
            (uid.as_raw(), gid.as_raw(), groups)
        };
        assert_eq!(show("root"), (0, 0, vec![]));
        assert_eq!(show("2000"), (2000, 2000, vec![]));
        assert_eq!(show("cameraserver,camera,system,2950"), (1047, 1006, vec![1000, 2950]));
        assert!(parse_identity("nosuch").is_err());
        assert!(parse_identity("").is_err());
    }
}
