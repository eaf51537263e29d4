// SPDX-License-Identifier: Apache-2.0
//! What the policy gives the HAL and what it exposes of it, compared with a committed list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{committed, entries, fs, policy_dir, Variant};
use crate::command::{command, output};

const HAL: &str = "hal_dmabuf_loader_default";

/// Types of the HAL that others may have access to.
const OWN_TYPES: [&str; 9] = [
    HAL,
    "hal_dmabuf_loader_default_exec",
    "hal_dmabuf_loader_default_tmpfs",
    "vendor_dmabuf_loader_data_file",
    "vendor_dmabufload_exec",
    "vendor_hal_dmabuf_loader_service",
    "vendor_hugetlbfs",
    "vendor_sysfs_udmabuf",
    "vendor_udmabuf_device",
];

/// Part of the name of every attribute that sepolicy/ declares.
const HAL_ATTRIBUTE: &str = "vendor_dmabuf_loader_";

const EXPECTED_FILE: &str = "expected_hal_rules.txt";

/// Set to write the list instead of comparing with it.
const UPDATE_VARIABLE: &str = "UPDATE_EXPECTED";

fn sesearch(policy: &Path, arguments: &[&str]) -> BTreeSet<String> {
    output(command("sesearch").args(arguments).arg(policy))
        .unwrap()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Members of every attribute.
fn attributes(policy: &Path) -> BTreeMap<String, Vec<String>> {
    let text = output(command("seinfo").args(["-a", "-x"]).arg(policy)).unwrap();
    let mut all = BTreeMap::new();
    let mut current: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("attribute ") {
            let name = name.trim_end_matches(';');
            all.insert(name.to_owned(), Vec::new());
            current = Some(name);
        } else if let (Some(name), false) = (current, line.is_empty() || line.starts_with('<')) {
            all.get_mut(name).unwrap().push(line.to_owned());
        }
    }
    all
}

/// The allow rules of a policy, to be asked about types.
struct Rules {
    members: BTreeMap<String, Vec<String>>,
    /// Source, target, class, permissions; the first two as written, type or attribute.
    allow: Vec<(String, String, String, Vec<String>)>,
}

impl Rules {
    fn read(policy: &Path) -> Self {
        let allow =
            sesearch(policy, &["--allow"]).iter().map(|rule| parse(rule).expect(rule)).collect();
        Self { members: attributes(policy), allow }
    }

    fn stands_for(&self, written: &str, name: &str) -> bool {
        let member =
            || self.members.get(written).is_some_and(|all| all.iter().any(|one| one == name));
        written == name || member()
    }

    /// Whether a permission, or any one for an empty name, is granted.
    fn allows(&self, source: &str, target: &str, class: &str, permission: &str) -> bool {
        self.allow.iter().any(|(s, t, c, granted)| {
            c == class
                && (permission.is_empty() || granted.iter().any(|one| one == permission))
                && self.stands_for(s, source)
                && self.stands_for(t, target)
        })
    }
}

fn parse(rule: &str) -> Option<(String, String, String, Vec<String>)> {
    let (head, rest) = rule.strip_prefix("allow ")?.split_once(':')?;
    let (source, target) = head.split_once(' ')?;
    let (class, permissions) = rest.strip_suffix(';')?.split_once(' ')?;
    let permissions =
        permissions.trim_matches(['{', '}', ' ']).split(' ').map(str::to_owned).collect();
    Some((source.to_owned(), target.to_owned(), class.to_owned(), permissions))
}

/// The parts of the list: what the platform gives every process, what the HAL has besides, what
/// others may do with its types, and what the attributes stand for that sepolicy/ declares.
const PARTS: [&str; 4] = [
    "Every process may",
    "The HAL may besides",
    "Others may, with the HAL's types",
    "Attributes of the HAL's rules",
];

fn surface(variant: Variant) -> [BTreeSet<String>; 4] {
    let policy = &committed(variant).policy;
    let is_base = |rule: &String| rule.split(' ').nth(1) == Some("domain");
    let base = sesearch(policy, &["--allow", "-s", HAL]).into_iter().filter(is_base).collect();
    let mut own = sesearch(policy, &["--allow", "--allowxperm", "--dontaudit", "-T", "-s", HAL]);
    own.retain(|rule| !is_base(rule));

    let members = attributes(policy);
    let is_named = |word: &str| OWN_TYPES.contains(&word) || word.contains(HAL_ATTRIBUTE);
    let mut exposed = BTreeSet::new();
    for name in OWN_TYPES {
        exposed.extend(sesearch(policy, &["--allow", "--allowxperm", "-T", "-t", name]));
    }
    // Init makes, labels and starts everything; other rules on wide attributes are the platform's.
    exposed.retain(|rule| {
        let mut words = rule.split([' ', ':']).skip(1);
        !own.contains(rule) && words.next() != Some("init") && words.next().is_some_and(is_named)
    });
    let attributes =
        members.iter().filter(|(name, types)| name.contains(HAL_ATTRIBUTE) && !types.is_empty());
    let attributes =
        attributes.map(|(name, types)| format!("{name} = {{ {} }}", types.join(" "))).collect();
    [base, own, exposed, attributes]
}

fn report() -> String {
    let user = surface(Variant::User);
    let userdebug = surface(Variant::Userdebug);
    let mut text = String::from(
        "# SPDX-License-Identifier: Apache-2.0\n\
         # What the compiled policy says of the HAL: a change here is a change of its rights.\n\
         # Written by: UPDATE_EXPECTED=1 cargo test -p vts_device surface\n",
    );
    for (index, title) in PARTS.iter().enumerate() {
        let (user, userdebug) = (&user[index], &userdebug[index]);
        let parts = [
            ("in every build", user.intersection(userdebug).collect::<Vec<_>>()),
            ("in user builds only", user.difference(userdebug).collect()),
            ("in userdebug builds only", userdebug.difference(user).collect()),
        ];
        for (part, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
            text.push_str(&format!("\n# {title}, {part}.\n"));
            for line in lines {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[test]
fn surface_is_as_committed() {
    let actual = report();
    let file = policy_dir().join(EXPECTED_FILE);
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        fs::write(&file, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&file).unwrap();
    let (expected, actual): (BTreeSet<&str>, BTreeSet<&str>) =
        (expected.lines().collect(), actual.lines().collect());
    let gone: Vec<_> = expected.difference(&actual).map(|line| format!("- {line}")).collect();
    let new: Vec<_> = actual.difference(&expected).map(|line| format!("+ {line}")).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "rights changed; if that is meant, set {UPDATE_VARIABLE}=1\n{}\n{}",
        gone.join("\n"),
        new.join("\n")
    );
}

/// What may not be in the HAL's rules even though Android's neverallow rules accept it.
#[test]
fn the_hal_has_no_right_that_a_review_would_refuse() {
    let never = [
        (HAL, "sysfs", "file", "write"),
        (HAL, "proc_drop_caches", "file", "write"),
        (HAL, "selinuxfs", "file", "write"),
        (HAL, "kmsg_device", "chr_file", "write"),
        (HAL, "cgroup", "file", "write"),
        (HAL, "cgroup_v2", "file", "write"),
        (HAL, "unlabeled", "file", "read"),
        (HAL, "userdata_block_device", "blk_file", "read"),
        (HAL, "hal_camera_default", "process", "ptrace"),
        (HAL, "activity_service", "service_manager", "find"),
        (HAL, HAL, "process", "execmem"),
        (HAL, HAL, "capability", ""),
        (HAL, HAL, "capability2", ""),
        (HAL, "vendor_dmabuf_loader_data_file", "file", "create"),
        (HAL, "vendor_data_file", "file", ""),
        (HAL, "vendor_hugetlbfs", "file", "open"),
        (HAL, "vendor_hugetlbfs", "file", "create"),
        ("hal_camera_default", "vendor_hugetlbfs", "file", ""),
        ("untrusted_app", "vendor_hugetlbfs", "file", ""),
        (HAL, "shell_data_file", "file", "open"),
        (HAL, "shell_data_file", "dir", ""),
        (HAL, "dmabuf_system_heap_device", "chr_file", "write"),
        (HAL, "dmabuf_system_secure_heap_device", "chr_file", ""),
        ("untrusted_app", "vendor_hal_dmabuf_loader_service", "service_manager", ""),
        ("untrusted_app", HAL, "binder", ""),
        ("isolated_app", HAL, "binder", ""),
        ("hal_audio_default", HAL, "binder", ""),
        ("hal_camera_default", HAL, "process", ""),
    ];
    for variant in Variant::ALL {
        let rules = Rules::read(&committed(variant).policy);
        for (source, target, class, permission) in never {
            let granted = rules.allows(source, target, class, permission);
            assert!(!granted, "{variant}: {source} {target}:{class} {permission}");
        }
        assert!(rules.allows(HAL, "dmabuf_system_heap_device", "chr_file", "ioctl"), "{variant}");
        assert!(rules.allows("hal_camera_default", HAL, "binder", "call"), "{variant}");
    }
}

#[test]
fn a_user_build_has_no_tester() {
    let policy = &committed(Variant::User).policy;
    let permissive =
        output(command("seinfo").args(["--permissive", "--flat"]).arg(policy)).unwrap();
    assert!(permissive.trim().is_empty(), "{permissive}");
    let rules = Rules::read(policy);
    for source in ["shell", "su"] {
        assert!(!rules.allows(source, HAL, "binder", "call"), "{source}");
    }
    assert!(rules.members["vts_stand_in"].is_empty());
}

/// The checks of Android's sepolicy_tests on where a type may be used.
#[test]
fn labels_have_the_attributes_of_their_place() {
    let compiled = committed(Variant::User);
    let members = attributes(&compiled.policy);
    let type_of =
        |line: &str| line.rsplit(' ').next().unwrap().split(':').nth(2).unwrap().to_owned();
    let has = |attribute: &str, name: &String| members[attribute].contains(name);

    let files = fs::read_to_string(&compiled.vendor_file_contexts).unwrap().replace('\t', " ");
    for line in entries(&files) {
        let name = type_of(line);
        if line.starts_with("/data/vendor") {
            assert!(has("data_file_type", &name) && !has("core_data_file_type", &name), "{line}");
        } else if line.starts_with("/dev/dma_heap") {
            assert!(has("dmabuf_heap_device_type", &name), "{line}");
        } else if line.starts_with("/dev") {
            assert!(has("dev_type", &name), "{line}");
        } else {
            assert!(line.starts_with("/(vendor|system/vendor)/"), "{line}");
            assert!(has("vendor_file_type", &name), "{line}");
        }
    }
    for file in [&compiled.plat_service_contexts, &compiled.vendor_service_contexts] {
        let services = fs::read_to_string(file).unwrap().replace('\t', " ");
        for line in entries(&services) {
            assert!(has("service_manager_type", &type_of(line)), "{line}");
        }
    }
    let service = "vendor_hal_dmabuf_loader_service".to_owned();
    assert!(has("protected_service", &service) && has("hal_service_type", &service));
    assert!(!has("coredomain", &HAL.to_owned()));
}
