// SPDX-License-Identifier: Apache-2.0
//! Host tests of the files beside the HAL that Android's init reads.

use std::fs;
use std::path::{Path, PathBuf};

use vts_init::ids::{Ids, AID_SYSTEM};
use vts_init::rc::{Command, Config, Ownership, TRIGGERS};

use crate::image::config_fs;
use crate::steps::AID_VENDOR_DMABUF_LOADER;

const SERVICE_RC: &str = "service/hal/vendor.dmabuf.loader-service.rc";
const DATA_DIR: &str = "/data/vendor/dmabuf_loader";

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path)
}

fn vendor_ids() -> Ids {
    let aids = config_fs::parse(&fs::read_to_string(source("service/hal/config.fs")).unwrap());
    let aids = aids.unwrap();
    let mut ids = Ids::default();
    ids.add_passwd(&config_fs::passwd(&aids));
    ids.add_group(&config_fs::group(&aids));
    ids
}

/// The commands of a file, with their boot stages.
fn commands(path: &Path) -> Vec<(&'static str, Command)> {
    let mut config = Config::default();
    let text = fs::read_to_string(path).unwrap();
    config.add(&path.display().to_string(), &text, &vendor_ids()).unwrap();
    let of = |stage| config.commands(stage, |_| None).into_iter().map(move |c| (stage, c));
    TRIGGERS.into_iter().flat_map(of).map(|(stage, c)| (stage, c.command.clone())).collect()
}

/// The boot stages in which a file makes a directory, with its owner and mode.
fn makes_dir(path: &Path, dir: &str) -> Vec<(&'static str, Ownership)> {
    let made = commands(path).into_iter().filter_map(|(stage, command)| match command {
        Command::Mkdir(made_dir, ownership) if made_dir == dir => Some((stage, ownership)),
        _ => None,
    });
    made.collect()
}

#[test]
fn the_service_rc_makes_the_data_directory() {
    let id = Some(AID_VENDOR_DMABUF_LOADER);
    let ownership = Ownership { mode: Some(0o2770), uid: id, gid: id };
    assert_eq!(makes_dir(&source(SERVICE_RC), DATA_DIR), [("post-fs-data", ownership)]);
}

#[test]
fn the_device_itself_makes_no_directory_of_the_service() {
    let files = fs::read_dir(source("vts/device/guest/init/etc")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut seen = 0;
    for path in files.filter(|path| path.extension().is_some_and(|e| e == "rc")) {
        if path.file_name().is_some_and(|name| name != "ueventd.rc") {
            assert_eq!(makes_dir(&path, DATA_DIR), [], "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} .rc files");
}

#[test]
fn the_device_gives_memory_pressure_to_group_system() {
    let path = "/proc/pressure/memory";
    let init = source("vts/device/guest/init/etc/init.rc");
    let set = commands(&init).into_iter().filter_map(|(stage, command)| match command {
        Command::Chown(of, ownership) if of == path => Some((stage, ownership)),
        _ => None,
    });
    let system = Some(AID_SYSTEM);
    let owner = Ownership { mode: None, uid: system, gid: system };
    let mode = Ownership { mode: Some(0o664), ..Ownership::default() };
    assert_eq!(set.collect::<Vec<_>>(), [("init", owner), ("init", mode)]);
}

#[test]
fn steps_and_config_fs_agree_on_the_group() {
    assert_eq!(vendor_ids().group("vendor_dmabuf_loader"), Ok(AID_VENDOR_DMABUF_LOADER));
}
