// SPDX-License-Identifier: Apache-2.0
//! Files of the init language, and what is read in them.

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
         \x20   oom_score_adjust -900\n\
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
    assert_eq!(service.oom_score_adjust, -900);
    assert!(!service.oneshot && !service.disabled && !service.critical);
    let commands = config.commands("post-fs-data", |_| None);
    assert_eq!(commands[0].place, "x.rc:13");
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
         setrlimit memlock 65536 65536\n\
         start servicemanager\n\
         wait_for_prop servicemanager.ready true\n",
    )
    .unwrap();
    let of = |stage| -> Vec<Command> {
        config.commands(stage, |_| None).into_iter().map(|c| c.command.clone()).collect()
    };
    let init = of("init");
    assert_eq!(init.len(), 10);
    assert_eq!(init[6], Command::SetRlimit(Resource::Nice, 40, 40));
    assert_eq!(init[7], Command::SetRlimit(Resource::Memlock, 65536, 65536));
    assert_eq!(init[0], Command::Write("/proc/sys/kernel/printk".into(), "4 4 1 7".into()));
    assert_eq!(
        init[2],
        Command::Chown("/data".into(), Ownership { mode: Some(0o771), ..Ownership::default() })
    );
    assert_eq!(
        init[5],
        Command::Restorecon { paths: vec!["/dev".into(), "/mnt".into()], recursive: true }
    );
    assert_eq!(init[9], Command::WaitForProp("servicemanager.ready".into(), "true".into()));
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
    assert_eq!(places(&[("ro.boot.a", "1"), ("ro.boot.b", "")]), ["x.rc:2", "x.rc:4", "x.rc:6"]);
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
         oom_score_adjust -1001\n\
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
            "x.rc:8: bad oom_score_adjust '-1001'",
            "x.rc:9: service 'a' is defined twice",
            "x.rc:10: program of service 'b' is not an absolute path",
            "x.rc:11: unknown trigger 'property:x=1'",
            "x.rc:13: unknown command 'exec /bin/true'",
            "x.rc:14: 'data' is not an absolute path",
            "x.rc:15: bad mode '0999'",
            "x.rc:16: unknown command 'mkdir /data 0700 root root root'",
            "x.rc:17: unknown resource 'core'",
            "x.rc:18: bad limit 'x'",
            "x.rc:19: unknown trigger 'init && property:sys.x=1'",
            "x.rc:20: unknown trigger 'init property:ro.boot.x=1'",
            "x.rc:21: unknown trigger 'init &&'",
        ]
    );
}
