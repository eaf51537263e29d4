// SPDX-License-Identifier: Apache-2.0
//! Rules that Android's neverallow rules reject, and rules that they accept, tried one by one.

use std::collections::HashSet;

use super::{compile_binary, policy_dir, sepolicy_with, Result, Variant};

const HAL: &str = "hal_dmabuf_loader_default";
const SERVICE: &str = "vendor_hal_dmabuf_loader_service";

/// Rules of a vendor policy that Android rejects; `D` stands for the HAL's domain, `S` for its
/// service.
const REJECTED: &[(&str, &str)] = &[
    ("core_data_open", "allow D system_data_file:file { open read };"),
    ("core_data_create", "allow D system_data_file:file create;"),
    ("core_data_list", "allow D system_data_file:dir read;"),
    ("app_data_open", "allow D app_data_file:file { open read };"),
    ("app_data_search", "allow D app_data_file:dir search;"),
    ("shell_data_open", "allow D shell_data_file:file { open read };"),
    ("shell_data_search", "allow D shell_data_file:dir search;"),
    ("shell_data_link", "allow D shell_data_file:lnk_file read;"),
    ("media_rw_data_open", "allow D media_rw_data_file:file { open read };"),
    ("system_app_data_open", "allow D system_app_data_file:file open;"),
    ("checkin_data_by_fd", "allow D checkin_data_file:file read;"),
    ("camera_device", "allow D camera_device:chr_file rw_file_perms;"),
    ("udmabuf_unlabelled", "allow D device:chr_file { open read write };"),
    ("make_nodes", "allow D self:capability mknod;"),
    ("rename_node", "allow D vendor_udmabuf_device:chr_file rename;"),
    ("ashmem_open", "allow D ashmem_device:chr_file open;"),
    ("exec_no_trans_vendor", "allow D vendor_file:file { execute_no_trans };"),
    ("exec_system", "allow D system_file:file { execute execute_no_trans };"),
    ("vendor_shell", "allow D vendor_shell_exec:file rx_file_perms;"),
    ("enter_from_camera", "allow hal_camera_default D:process transition;"),
    ("become_at_run_time", "allow su D:process dyntransition;"),
    ("system_entry_point", "allow D system_file:file entrypoint;"),
    ("data_entry_point", "allow D vendor_dmabuf_loader_data_file:file entrypoint;"),
    ("cap_net_admin", "allow D self:capability net_admin;"),
    ("cap_net_raw", "allow D self:capability net_raw;"),
    ("cap_dac_override", "allow D self:capability dac_override;"),
    ("cap_dac_read_search", "allow D self:capability dac_read_search;"),
    ("cap_sys_ptrace", "allow D self:capability sys_ptrace;"),
    ("cap_sys_rawio", "allow D self:capability sys_rawio;"),
    ("cap_setfcap", "allow D self:capability setfcap;"),
    ("cap_perfmon", "allow D self:capability2 perfmon;"),
    ("coredomain", "typeattribute D coredomain;"),
    ("untrusted_client", "allow untrusted_app S:service_manager find;"),
    ("isolated_client", "hal_client_domain(isolated_app, hal_vendor_dmabuf_loader)"),
    ("nonclient_find", "allow hal_audio_default S:service_manager find;"),
    ("nonserver_add", "allow hal_camera_default S:service_manager add;"),
    ("find_unlabelled_service", "allow D default_android_service:service_manager find;"),
    ("add_core_service", "allow D activity_service:service_manager add;"),
    ("app_svc", "typeattribute S app_api_service;"),
    ("client_without_mark", "typeattribute hal_audio_default hal_vendor_dmabuf_loader_client;"),
    ("server_without_mark", "typeattribute surfaceflinger hal_vendor_dmabuf_loader_server;"),
    ("core_socket", "allow D system_server:unix_stream_socket connectto;"),
    ("tcp", "allow D self:tcp_socket create_socket_perms_no_ioctl;"),
    ("udp", "allow D self:udp_socket create_socket_perms_no_ioctl;"),
    ("vsock", "allow D self:vsock_socket { create_socket_perms_no_ioctl };"),
    ("call_init", "allow D init:binder call;"),
    ("context_manager", "allow D self:binder set_context_mgr;"),
    ("debugfs", "allow D debugfs:file r_file_perms;"),
    ("block_generic", "allow D block_device:blk_file rw_file_perms;"),
    ("mount", "allow D labeledfs:filesystem mount;"),
    ("mount_on", "allow D vendor_file:dir mounton;"),
    ("write_vendor", "allow D vendor_file:file write;"),
    ("write_sysctl", "allow D proc_security:file write;"),
    ("create_in_proc", "allow D proc:file create;"),
    ("execute_data", "allow D vendor_dmabuf_loader_data_file:file execute;"),
    ("execute_tmpfs", "allow D hal_dmabuf_loader_default_tmpfs:file execute;"),
    ("execmod", "allow D vendor_file:file execmod;"),
    ("execheap", "allow D self:process execheap;"),
    ("execstack", "allow D self:process execstack;"),
    ("load_policy", "allow D kernel:security load_policy;"),
    ("setenforce", "allow D kernel:security setenforce;"),
    ("module_load", "allow D vendor_file:system module_load;"),
    (
        "xperm_zero",
        "allow D vendor_dmabuf_loader_data_file:file ioctl; allowxperm D vendor_dmabuf_loader_data_file:file ioctl 0;",
    ),
    ("prop_core", "set_prop(D, system_prop)"),
    ("prop_vendor_default", "set_prop(D, vendor_default_prop)"),
    ("prop_core_read", "get_prop(D, system_prop)"),
    ("mlsvendorcompat", "typeattribute D mlsvendorcompat;"),
    ("core_opens_vendor_data", "allow cameraserver vendor_dmabuf_loader_data_file:file open;"),
    ("core_lists_vendor_data", "allow cameraserver vendor_dmabuf_loader_data_file:dir search;"),
    (
        "core_uses_vendor_heap",
        "type vendor_heap_device, dmabuf_heap_device_type, dev_type; allow cameraserver vendor_heap_device:chr_file \
         r_file_perms;",
    ),
];

/// Rules that Android accepts: the platform policy of this device must not be stricter than
/// Android. A rule here need not be a good one: the committed list says which rules the HAL has.
const ACCEPTED: &[(&str, &str)] = &[
    ("core_data_search", "allow D system_data_file:dir search;"),
    ("core_data_by_fd", "allow D system_data_file:file { read getattr };"),
    ("app_data_by_fd", "allow D app_data_file:file { read getattr };"),
    ("shell_data_by_fd", "allow D shell_data_file:file { read write getattr ioctl };"),
    ("media_by_fd", "allow D media_rw_data_file:file { read write getattr };"),
    ("heap_generic", "allow D dmabuf_heap_device:chr_file r_file_perms;"),
    ("heap_secure", "allow D dmabuf_system_secure_heap_device:chr_file r_file_perms;"),
    (
        "heap_own",
        "type vendor_cma_device, dmabuf_heap_device_type, dev_type; allow D vendor_cma_device:chr_file r_file_perms;",
    ),
    ("io_uring_macro", "io_uring_use(D)"),
    ("anon_inode_self", "allow D self:anon_inode create_file_perms;"),
    ("cap_sys_nice", "allow D self:capability sys_nice;"),
    ("cap_ipc_lock", "allow D self:capability ipc_lock;"),
    ("appdomain_client", "hal_client_domain(platform_app, hal_vendor_dmabuf_loader)"),
    ("vendor_client", "type vendor_foo, domain; hal_client_domain(vendor_foo, hal_vendor_dmabuf_loader)"),
    ("sysfs_generic_r", "allow D sysfs:file r_file_perms;"),
    ("sysfs_dmabuf_stats", "allow D sysfs_dmabuf_stats:file r_file_perms;"),
    ("sysfs_f2fs", "allow D sysfs_fs_f2fs:file r_file_perms;"),
    ("debugfs_dir", "allow D debugfs:dir search;"),
    ("tracefs", "allow D debugfs_trace_marker:file w_file_perms;"),
    ("vendor_data_generic", "allow D vendor_data_file:file create_file_perms;"),
    (
        "xperm_f2fs",
        "allowxperm D vendor_dmabuf_loader_data_file:file ioctl { 0xf501-0xf519 FS_IOC_GETFLAGS };",
    ),
    ("hwbinder", "allow D hwbinder_device:chr_file rw_file_perms;"),
    ("vndbinder", "vndbinder_use(D)"),
    ("binder_core", "binder_call(D, system_server)"),
    ("find_core_svc", "allow D activity_service:service_manager find;"),
    ("prop_own", "vendor_internal_prop(vendor_dmabuf_prop) set_prop(D, vendor_dmabuf_prop)"),
    ("consumers_use_buffers", "allow { cameraserver surfaceflinger appdomain mediacodec } D:fd use;"),
    ("camera_fd_use", "allow D cameraserver:fd use;"),
    ("more_sources", "typeattribute vendor_data_file vendor_dmabuf_loader_source_type;"),
    ("newer_types", "starting_at_board_api(202604, `allow D no_such_type:file read;')"),
];

fn in_full(rule: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    for piece in rule.split_inclusive(|c| !word(c)) {
        let name = piece.trim_end_matches(|c| !word(c));
        let full = match name {
            "D" => HAL,
            "S" => SERVICE,
            _ => name,
        };
        out.push_str(full);
        out.push_str(&piece[name.len()..]);
    }
    out
}

fn compile_with(rules: &str, variant: Variant) -> Result<()> {
    let sepolicy = sepolicy_with("tried.te", rules);
    let out = tempfile::tempdir()?;
    compile_binary(&[&policy_dir(), sepolicy.path()], variant, out.path()).map(drop)
}

/// A rule of the plain form `allow SOURCE TARGET:CLASS PERMISSIONS;`.
struct Allow {
    /// `SOURCE TARGET:CLASS`, as the compiler's report has it.
    what: String,
    permissions: HashSet<String>,
}

impl Allow {
    fn parse(rule: &str) -> Option<Self> {
        let (head, permissions) =
            rule.strip_prefix("allow ")?.strip_suffix(';')?.split_once(':')?;
        let (source, target) = head.split_once(' ')?;
        if permissions.contains(';') || head.contains('{') {
            return None;
        }
        let (class, permissions) = permissions.split_once(' ')?;
        let target = if target == "self" { source } else { target };
        let permissions = permissions.trim_matches(['{', '}', ' ']).split(' ');
        Some(Self {
            what: format!("{source} {target}:{class}"),
            permissions: permissions.map(str::to_owned).collect(),
        })
    }

    /// Whether a line of the report is about this rule.
    fn is_in(&self, line: &str) -> bool {
        let Some((_, rule)) = line.split_once("violated by ") else { return false };
        let Some(reported) = Self::parse(rule) else { return false };
        let by_macro = self.permissions.iter().any(|name| name.contains("_perms"));
        reported.what == self.what
            && (by_macro || !reported.permissions.is_disjoint(&self.permissions))
    }
}

#[test]
fn what_android_rejects_is_rejected() {
    let mut wrong = Vec::new();
    let rules = REJECTED.iter().map(|(case, rule)| (case, in_full(rule)));
    // One run reports every plain rule that breaks an assertion; the others would hide one another.
    let (plain, other): (Vec<_>, Vec<_>) =
        rules.partition(|(_, rule)| Allow::parse(rule).is_some());
    let all: Vec<&str> = plain.iter().map(|(_, rule)| rule.as_str()).collect();
    let report = format!("{:#}", compile_with(&all.join("\n"), Variant::Userdebug).unwrap_err());
    for (case, rule) in &plain {
        let allow = Allow::parse(rule).unwrap();
        if !report.lines().any(|line| line.contains("neverallow") && allow.is_in(line)) {
            wrong.push(format!("{case}: accepted: {rule}"));
        }
    }
    for (case, rule) in &other {
        match compile_with(rule, Variant::Userdebug) {
            Ok(()) => wrong.push(format!("{case}: accepted: {rule}")),
            Err(error) => {
                let error = format!("{error:#}");
                if !error.contains("neverallow") {
                    wrong.push(format!("{case}: not for a neverallow rule: {error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{report}", wrong.join("\n"));
}

#[test]
fn what_android_accepts_is_accepted() {
    for variant in Variant::ALL {
        let mut seen = HashSet::new();
        let all =
            ACCEPTED.iter().map(|(_, rule)| in_full(rule)).filter(|rule| seen.insert(rule.clone()));
        let all: Vec<String> = all.collect();
        if compile_with(&all.join("\n"), variant).is_err() {
            for (case, rule) in ACCEPTED {
                compile_with(&in_full(rule), variant)
                    .unwrap_or_else(|error| panic!("{case} ({variant}): {error:#}"));
            }
            panic!("{variant}: rejected together, though not one by one");
        }
    }
}
