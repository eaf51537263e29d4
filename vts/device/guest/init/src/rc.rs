// SPDX-License-Identifier: Apache-2.0
//! Android init language: the subset of .rc files this init understands.
//!
//! Services: `class`, `user`, `group`, `seclabel`, `interface`, `oneshot`, `disabled`, `critical`,
//! `capabilities`, `priority`, `setenv`, `console`, `restart_period`, `onrestart class_restart`,
//! and, read but without an effect, `task_profiles`, `ioprio` and `shutdown`.
//!
//! Commands: `mkdir`, `chown`, `chmod`, `write`, `symlink`, `mount`, `restorecon`,
//! `restorecon_recursive`, `setrlimit`, `start`, `class_start`, `wait_for_prop`.
//!
//! Triggers are the boot stages of [`TRIGGERS`], each with any number of conditions
//! `&& property:ro.boot.NAME=VALUE`. Any other word is an error.

use crate::ids::Ids;
use crate::words::{self, Line, SyntaxError};

/// The boot stages, in the order in which they run.
pub const TRIGGERS: [&str; 7] =
    ["early-init", "init", "early-fs", "fs", "post-fs", "post-fs-data", "boot"];

/// What the names of properties begin with that are set before init starts, and never change.
pub const BOOT_PROPERTY: &str = "ro.boot.";

/// Seconds between the start of a service and its restart, unless its .rc file says otherwise.
pub const DEFAULT_RESTART_PERIOD_S: u64 = 5;

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

/// Where owner, group or mode of a file are set; None leaves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A resource whose limit can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// `nice`: 20 minus the lowest nice value that may be taken.
    Nice,
    /// `nofile`: one more than the highest file descriptor.
    Nofile,
}

/// A command of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `mkdir PATH [MODE [USER [GROUP]]]`
    Mkdir(String, Ownership),
    /// `chown USER [GROUP] PATH` and `chmod MODE PATH`
    Chown(String, Ownership),
    /// `write PATH TEXT`, to a file that exists
    Write(String, String),
    /// `symlink TARGET PATH`
    Symlink(String, String),
    /// `mount TYPE DEVICE DIR [FLAG...] [OPTIONS]`
    Mount {
        /// File-system type.
        fs_type: String,
        /// Device or name.
        device: String,
        /// Mount point.
        dir: String,
        /// Flags and options, as given.
        options: Vec<String>,
    },
    /// `restorecon PATH...` and `restorecon_recursive PATH...`
    Restorecon {
        /// What to label.
        paths: Vec<String>,
        /// With everything below it.
        recursive: bool,
    },
    /// `setrlimit RESOURCE CURRENT MAXIMUM`
    SetRlimit(Resource, u64, u64),
    /// `start SERVICE`
    Start(String),
    /// `class_start CLASS`
    ClassStart(String),
    /// `wait_for_prop NAME VALUE`
    WaitForProp(String, String),
}

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
                let service = new_service(rest)?;
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
                Section::Service(service) => service_option(service, &words, ids),
                Section::Action(action) => {
                    let command = command(&words, ids)?;
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

fn new_service(words: &[&str]) -> Result<Service, String> {
    let [name, argv @ ..] = words else { return Err("service has no name".into()) };
    let valid = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if name.is_empty() || !name.chars().all(valid) {
        return Err(format!("bad service name '{name}'"));
    }
    match argv.first() {
        Some(program) if program.starts_with('/') => {}
        _ => return Err(format!("program of service '{name}' is not an absolute path")),
    }
    Ok(Service {
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
        oneshot: false,
        disabled: false,
        critical: false,
        console: false,
        restart_period_s: DEFAULT_RESTART_PERIOD_S,
        onrestart: Vec::new(),
    })
}

fn service_option(service: &mut Service, words: &[&str], ids: &Ids) -> Result<(), String> {
    let unknown = |e: crate::ids::UnknownId| e.to_string();
    match *words {
        ["class", class] => service.class = class.to_owned(),
        ["user", user] => service.uid = ids.user(user).map_err(unknown)?,
        ["group", group, ref groups @ ..] => {
            service.gid = ids.group(group).map_err(unknown)?;
            service.groups = groups
                .iter()
                .map(|name| ids.group(name).map_err(unknown))
                .collect::<Result<_, _>>()?;
        }
        ["seclabel", label] => service.seclabel = Some(label.to_owned()),
        ["interface", "aidl", name] => service.interfaces.push(name.to_owned()),
        ["oneshot"] => service.oneshot = true,
        ["disabled"] => service.disabled = true,
        ["critical"] => service.critical = true,
        ["console"] => service.console = true,
        ["capabilities", ref names @ ..] => {
            service.capabilities =
                Some(names.iter().map(|name| capability(name)).collect::<Result<_, _>>()?);
        }
        ["priority", value] => {
            service.priority = value
                .parse()
                .ok()
                .filter(|nice| (-20..20).contains(nice))
                .ok_or_else(|| format!("bad priority '{value}'"))?;
        }
        ["setenv", key, value] => service.env.push((key.to_owned(), value.to_owned())),
        ["restart_period", value] => {
            service.restart_period_s =
                value.parse().map_err(|_| format!("bad restart period '{value}'"))?;
        }
        ["onrestart", "class_restart", "--only-enabled", class]
        | ["onrestart", "class_restart", class] => service.onrestart.push(class.to_owned()),
        ["task_profiles", _, ..] | ["ioprio", _, _] | ["shutdown", "critical"] => {}
        _ => return Err(format!("unknown service option '{}'", words.join(" "))),
    }
    Ok(())
}

/// Names of the capabilities, by number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn capability(name: &str) -> Result<u32, String> {
    CAPABILITIES
        .iter()
        .zip(0..)
        .find(|(known, _)| **known == name)
        .map(|(_, number)| number)
        .ok_or_else(|| format!("unknown capability '{name}'"))
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|bits| *bits <= 0o7777)
        .ok_or_else(|| format!("bad mode '{text}'"))
}

fn absolute(path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        Ok(path.to_owned())
    } else {
        Err(format!("'{path}' is not an absolute path"))
    }
}

fn command(words: &[&str], ids: &Ids) -> Result<Command, String> {
    let user = |name: &str| ids.user(name).map_err(|e| e.to_string());
    let group = |name: &str| ids.group(name).map_err(|e| e.to_string());
    let owned = |word: &str| word.to_owned();
    Ok(match *words {
        ["mkdir", path] => Command::Mkdir(absolute(path)?, Ownership::default()),
        ["mkdir", path, bits, ref owner @ ..] if owner.len() <= 2 => {
            let uid = owner.first().map(|name| user(name)).transpose()?;
            let gid = owner.get(1).map(|name| group(name)).transpose()?;
            Command::Mkdir(absolute(path)?, Ownership { mode: Some(mode(bits)?), uid, gid })
        }
        ["chown", owner, path] => Command::Chown(
            absolute(path)?,
            Ownership { uid: Some(user(owner)?), ..Ownership::default() },
        ),
        ["chown", owner, owner_group, path] => Command::Chown(
            absolute(path)?,
            Ownership { uid: Some(user(owner)?), gid: Some(group(owner_group)?), mode: None },
        ),
        ["chmod", bits, path] => Command::Chown(
            absolute(path)?,
            Ownership { mode: Some(mode(bits)?), ..Ownership::default() },
        ),
        ["write", path, text] => Command::Write(absolute(path)?, owned(text)),
        ["symlink", target, path] => Command::Symlink(owned(target), absolute(path)?),
        ["mount", fs_type, device, dir, ref options @ ..] => Command::Mount {
            fs_type: owned(fs_type),
            device: owned(device),
            dir: absolute(dir)?,
            options: options.iter().map(|option| owned(option)).collect(),
        },
        [name @ ("restorecon" | "restorecon_recursive"), _, ..] => Command::Restorecon {
            paths: words[1..].iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            recursive: name == "restorecon_recursive",
        },
        ["setrlimit", resource, current, maximum] => {
            let number = |text: &str| text.parse().map_err(|_| format!("bad limit '{text}'"));
            let resource = match resource {
                "nice" => Resource::Nice,
                "nofile" => Resource::Nofile,
                _ => return Err(format!("unknown resource '{resource}'")),
            };
            Command::SetRlimit(resource, number(current)?, number(maximum)?)
        }
        ["start", service] => Command::Start(owned(service)),
        ["class_start", class] => Command::ClassStart(owned(class)),
        ["wait_for_prop", name, value] => Command::WaitForProp(owned(name), owned(value)),
        _ => return Err(format!("unknown command '{}'", words.join(" "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Vec<SyntaxError>> {
        let mut ids = Ids::default();
        ids.add_passwd("vendor_dmabuf_loader::2950:2950::/:/vendor/bin/sh");
        ids.add_group("vendor_dmabuf_loader::2950:");
        let mut config = Config::default();
        config.add("x.rc", text, &ids)?;
        Ok(config)
    }

    #[test]
    fn hal_service() {
        let config = parse(
            "service vendor.dmabuf_loader /vendor/bin/hw/vendor.dmabuf.loader-service --verbose\n\
             \x20   interface aidl vendor.dmabuf.loader.IDmaBufLoader/default\n\
             \x20   class hal\n\
             \x20   user vendor_dmabuf_loader\n\
             \x20   group vendor_dmabuf_loader system camera\n\
             \x20   capabilities SYS_NICE IPC_LOCK\n\
             \x20   task_profiles ServiceCapacityLow\n\
             \x20   shutdown critical\n\
             \x20   onrestart class_restart --only-enabled main\n\
             \n\
             on post-fs-data\n\
             \x20   mkdir /data/vendor/dmabuf_loader 0770 vendor_dmabuf_loader vendor_dmabuf_loader\n",
        )
        .unwrap();
        let service = &config.services[0];
        assert_eq!(service.name, "vendor.dmabuf_loader");
        assert_eq!(service.argv, ["/vendor/bin/hw/vendor.dmabuf.loader-service", "--verbose"]);
        assert_eq!((service.uid, service.gid), (2950, 2950));
        assert_eq!(service.groups, [1000, 1006]);
        assert_eq!(service.capabilities, Some(vec![23, 14]));
        assert_eq!(service.class, "hal");
        assert_eq!(service.interfaces, ["vendor.dmabuf.loader.IDmaBufLoader/default"]);
        assert_eq!(service.onrestart, ["main"]);
        assert!(!service.oneshot && !service.disabled && !service.critical);
        let commands = config.commands("post-fs-data", |_| None);
        assert_eq!(commands[0].place, "x.rc:12");
        assert_eq!(
            commands[0].command,
            Command::Mkdir(
                "/data/vendor/dmabuf_loader".into(),
                Ownership { mode: Some(0o770), uid: Some(2950), gid: Some(2950) }
            )
        );
        assert!(config.commands("boot", |_| None).is_empty());
    }

    #[test]
    fn commands() {
        let config = parse(
            "on init\n\
             write /proc/sys/kernel/printk \"4 4 1 7\"\n\
             chown system system /data\n\
             chmod 0771 /data\n\
             symlink /dev/binderfs/binder /dev/binder\n\
             mount f2fs /dev/block/vdb /data noatime nosuid inlinecrypt,gc_merge\n\
             restorecon_recursive /dev /mnt\n\
             on boot\n\
             class_start hal\n\
             on init\n\
             setrlimit nice 40 40\n\
             start servicemanager\n\
             wait_for_prop servicemanager.ready true\n",
        )
        .unwrap();
        let of = |stage| -> Vec<Command> {
            config.commands(stage, |_| None).into_iter().map(|c| c.command.clone()).collect()
        };
        let init = of("init");
        assert_eq!(init.len(), 9);
        assert_eq!(init[6], Command::SetRlimit(Resource::Nice, 40, 40));
        assert_eq!(init[0], Command::Write("/proc/sys/kernel/printk".into(), "4 4 1 7".into()));
        assert_eq!(
            init[2],
            Command::Chown("/data".into(), Ownership { mode: Some(0o771), ..Ownership::default() })
        );
        assert_eq!(
            init[5],
            Command::Restorecon { paths: vec!["/dev".into(), "/mnt".into()], recursive: true }
        );
        assert_eq!(init[8], Command::WaitForProp("servicemanager.ready".into(), "true".into()));
        assert_eq!(of("boot"), [Command::ClassStart("hal".into())]);
    }

    #[test]
    fn conditions() {
        let config = parse(
            "on init && property:ro.boot.a=1\n\
             start one\n\
             on init && property:ro.boot.a=1 && property:ro.boot.b=\n\
             start two\n\
             on init\n\
             start three\n",
        )
        .unwrap();
        let places = |properties: &[(&str, &str)]| -> Vec<String> {
            let value = |name: &str| {
                properties.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            };
            config.commands("init", value).iter().map(|c| c.place.clone()).collect()
        };
        assert_eq!(places(&[]), ["x.rc:6"]);
        assert_eq!(places(&[("ro.boot.a", "2")]), ["x.rc:6"]);
        assert_eq!(places(&[("ro.boot.a", "1")]), ["x.rc:2", "x.rc:6"]);
        assert_eq!(
            places(&[("ro.boot.a", "1"), ("ro.boot.b", "")]),
            ["x.rc:2", "x.rc:4", "x.rc:6"]
        );
    }

    #[test]
    fn every_error_is_reported_with_its_line() {
        let errors = parse(
            "class hal\n\
             service a /bin/a\n\
             writepid /x\n\
             user nosuch\n\
             group system nosuch\n\
             capabilities FLY\n\
             priority 30\n\
             service a /bin/b\n\
             service b bin/b\n\
             on property:x=1\n\
             on boot\n\
             exec /bin/true\n\
             mkdir data\n\
             mkdir /data 0999\n\
             mkdir /data 0700 root root root\n\
             setrlimit core 1 1\n\
             setrlimit nice x 1\n\
             on init && property:sys.x=1\n\
             on init property:ro.boot.x=1\n\
             on init &&\n",
        )
        .unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "x.rc:1: 'class hal' is outside a service or an action",
                "x.rc:3: unknown service option 'writepid /x'",
                "x.rc:4: unknown user 'nosuch'",
                "x.rc:5: unknown group 'nosuch'",
                "x.rc:6: unknown capability 'FLY'",
                "x.rc:7: bad priority '30'",
                "x.rc:8: service 'a' is defined twice",
                "x.rc:9: program of service 'b' is not an absolute path",
                "x.rc:10: unknown trigger 'property:x=1'",
                "x.rc:12: unknown command 'exec /bin/true'",
                "x.rc:13: 'data' is not an absolute path",
                "x.rc:14: bad mode '0999'",
                "x.rc:15: unknown command 'mkdir /data 0700 root root root'",
                "x.rc:16: unknown resource 'core'",
                "x.rc:17: bad limit 'x'",
                "x.rc:18: unknown trigger 'init && property:sys.x=1'",
                "x.rc:19: unknown trigger 'init property:ro.boot.x=1'",
                "x.rc:20: unknown trigger 'init &&'",
            ]
        );
    }
}
