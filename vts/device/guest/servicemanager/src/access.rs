// SPDX-License-Identifier: Apache-2.0
//! SELinux decisions for class `service_manager`, asked of the kernel through selinuxfs.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};

const SELINUXFS: &str = "/sys/fs/selinux";
const CLASS: &str = "service_manager";

/// What a caller may want of the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Register a name.
    Add,
    /// Look a name up.
    Find,
    /// List all names.
    List,
}

impl Permission {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Find => "find",
            Self::List => "list",
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Process id.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// SELinux context, as the binder driver reports it; None is refused everything.
    pub context: Option<String>,
}

/// Asks the kernel's policy.
#[derive(Debug)]
pub struct Access {
    selinuxfs: PathBuf,
    class: u16,
    add: u32,
    find: u32,
    list: u32,
    own_context: String,
}

impl Access {
    /// Looks up the class and its permissions in the loaded policy.
    pub fn open() -> Result<Self> {
        let context = fs::read_to_string("/proc/self/attr/current").context("own context")?;
        let context = context.trim_end_matches(['\0', '\n']).to_owned();
        Self::new(Path::new(SELINUXFS), context)
    }

    fn new(selinuxfs: &Path, own_context: String) -> Result<Self> {
        let class_dir = selinuxfs.join("class").join(CLASS);
        let number = |path: PathBuf| -> Result<u32> {
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            text.trim().parse().with_context(|| format!("{} is not a number", path.display()))
        };
        let bit = |permission: Permission| -> Result<u32> {
            let place = number(class_dir.join("perms").join(permission.name()))?;
            ensure!((1..=32).contains(&place), "permission number {place}");
            Ok(1 << (place - 1))
        };
        Ok(Self {
            class: number(class_dir.join("index"))?.try_into().context("class index")?,
            add: bit(Permission::Add)?,
            find: bit(Permission::Find)?,
            list: bit(Permission::List)?,
            selinuxfs: selinuxfs.to_owned(),
            own_context,
        })
    }

    /// Context of the service manager itself, the target of `list`.
    pub fn own_context(&self) -> &str {
        &self.own_context
    }

    /// Whether the policy lets `caller` do this with an object of context `target`. A denial is
    /// logged; anything that keeps the kernel from answering counts as one.
    pub fn allows(
        &self,
        caller: &Caller,
        target: &str,
        permission: Permission,
        name: Option<&str>,
    ) -> bool {
        let Some(source) = &caller.context else {
            log::error!("pid {} calls without an SELinux context", caller.pid);
            return false;
        };
        match self.decide(source, target, self.bit(permission)) {
            Ok(Verdict { allowed, logged, permissive }) => {
                if logged {
                    println!("{}", denial(caller, source, target, permission, name, permissive));
                }
                allowed
            }
            Err(error) => {
                log::error!("SELinux decision for {source} on {target}: {error:#}");
                false
            }
        }
    }

    fn bit(&self, permission: Permission) -> u32 {
        match permission {
            Permission::Add => self.add,
            Permission::Find => self.find,
            Permission::List => self.list,
        }
    }

    fn decide(&self, source: &str, target: &str, wanted: u32) -> Result<Verdict> {
        let path = self.selinuxfs.join("access");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        let request = format!("{source} {target} {} {wanted:x}", self.class);
        file.write_all(request.as_bytes()).with_context(|| format!("asking '{request}'"))?;
        let mut answer = String::new();
        file.read_to_string(&mut answer).context("reading the answer")?;
        let decision = Decision::parse(&answer)?;
        let enforcing = fs::read_to_string(self.selinuxfs.join("enforce"))?.trim() != "0";
        Ok(decision.verdict(wanted, enforcing))
    }
}

/// The kernel's answer, an access vector decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decision {
    allowed: u32,
    /// Which denials are to be logged: not those under `dontaudit`.
    auditdeny: u32,
    /// Whether the source domain is permissive.
    permissive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    allowed: bool,
    logged: bool,
    permissive: bool,
}

impl Decision {
    /// Reads `ALLOWED DECIDED AUDITALLOW AUDITDENY SEQNO FLAGS`; all but SEQNO are hexadecimal.
    fn parse(text: &str) -> Result<Self> {
        const PERMISSIVE: u32 = 1;
        let hex = |word: &str| {
            u32::from_str_radix(word, 16).with_context(|| format!("'{word}' in '{text}'"))
        };
        let words: Vec<&str> = text.trim_end_matches('\0').split_whitespace().collect();
        let [allowed, _decided, _auditallow, auditdeny, _seqno, flags] = words[..] else {
            bail!("not a decision: '{text}'");
        };
        Ok(Self {
            allowed: hex(allowed)?,
            auditdeny: hex(auditdeny)?,
            permissive: hex(flags)? & PERMISSIVE != 0,
        })
    }

    fn verdict(self, wanted: u32, enforcing: bool) -> Verdict {
        let granted = self.allowed & wanted == wanted;
        let permissive = self.permissive || !enforcing;
        Verdict {
            allowed: granted || permissive,
            logged: !granted && self.auditdeny & wanted != 0,
            permissive,
        }
    }
}

/// A denial in the form in which libselinux logs one.
fn denial(
    caller: &Caller,
    source: &str,
    target: &str,
    permission: Permission,
    name: Option<&str>,
    permissive: bool,
) -> String {
    let name = name.map(|name| format!(" name={name}")).unwrap_or_default();
    format!(
        "avc:  denied  {{ {} }} for pid={} uid={}{name} scontext={source} tcontext={target} \
         tclass={CLASS} permissive={}",
        permission.name(),
        caller.pid,
        caller.uid,
        u8::from(permissive)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: u32 = 1;
    const FIND: u32 = 2;

    #[test]
    fn decisions() {
        let decision = Decision::parse("2 ffffffff 0 ffffffff 1 0\0").unwrap();
        assert_eq!(decision, Decision { allowed: FIND, auditdeny: u32::MAX, permissive: false });
        let verdict = |allowed, logged, permissive| Verdict { allowed, logged, permissive };
        assert_eq!(decision.verdict(FIND, true), verdict(true, false, false));
        assert_eq!(decision.verdict(ADD, true), verdict(false, true, false));
        assert_eq!(decision.verdict(ADD | FIND, true), verdict(false, true, false));
        assert_eq!(decision.verdict(ADD, false), verdict(true, true, true));

        let permissive = Decision::parse("0 ffffffff 0 ffffffff 7 1").unwrap();
        assert_eq!(permissive.verdict(ADD, true), verdict(true, true, true));

        let dontaudit = Decision::parse("0 ffffffff 0 fffffffe 7 0").unwrap();
        assert_eq!(dontaudit.verdict(ADD, true), verdict(false, false, false));
    }

    #[test]
    fn what_is_no_decision_is_an_error() {
        for text in ["", "2 ffffffff 0 ffffffff 1", "x ffffffff 0 ffffffff 1 0"] {
            assert!(Decision::parse(text).is_err(), "{text}");
        }
    }

    fn fake_selinuxfs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let perms = dir.path().join("class/service_manager/perms");
        fs::create_dir_all(&perms).unwrap();
        fs::write(dir.path().join("class/service_manager/index"), "57").unwrap();
        for (name, number) in [("add", "1"), ("find", "2"), ("list", "3")] {
            fs::write(perms.join(name), number).unwrap();
        }
        fs::write(dir.path().join("enforce"), "1").unwrap();
        dir
    }

    #[test]
    fn permission_bits() {
        let dir = fake_selinuxfs();
        let access = Access::new(dir.path(), "u:r:servicemanager:s0".into()).unwrap();
        assert_eq!((access.class, access.add, access.find, access.list), (57, 1, 2, 4));
        fs::remove_file(dir.path().join("class/service_manager/perms/list")).unwrap();
        assert!(Access::new(dir.path(), String::new()).is_err());
    }

    #[test]
    fn no_answer_and_no_context_are_denials() {
        let dir = fake_selinuxfs();
        let access = Access::new(dir.path(), "u:r:servicemanager:s0".into()).unwrap();
        let mut caller = Caller { pid: 1, uid: 2000, context: Some("u:r:shell:s0".into()) };
        assert!(!access.allows(&caller, "u:object_r:a:s0", Permission::Find, Some("a")));
        // A plain file gives back the request, which is not a decision.
        fs::write(dir.path().join("access"), "").unwrap();
        assert!(!access.allows(&caller, "u:object_r:a:s0", Permission::Find, Some("a")));
        caller.context = None;
        assert!(!access.allows(&caller, "u:object_r:a:s0", Permission::List, None));
    }

    #[test]
    fn denials_read_as_libselinux_writes_them() {
        let caller = Caller { pid: 7, uid: 2000, context: None };
        assert_eq!(
            denial(&caller, "u:r:shell:s0", "u:object_r:x:s0", Permission::Find, Some("n"), false),
            "avc:  denied  { find } for pid=7 uid=2000 name=n scontext=u:r:shell:s0 \
             tcontext=u:object_r:x:s0 tclass=service_manager permissive=0"
        );
        assert!(denial(&caller, "a", "b", Permission::List, None, true)
            .starts_with("avc:  denied  { list } for pid=7 uid=2000 scontext=a tcontext=b"));
    }
}
