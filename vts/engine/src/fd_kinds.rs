// SPDX-License-Identifier: Apache-2.0
//! Tests that an fd of every kind is refused in each place of a request where it is wrong. Here no
//! SELinux rule keeps the fd from the engine.

use std::os::fd::OwnedFd;

use anyhow::{bail, ensure, Context as _, Result};
use dmabuf_engine::request::{LoadRequest, Policy, SaveRequest, Target};
use dmabuf_engine::{Argument, Buffer, ClientId, Context, Engine, EngineError, PoolConfig};
use libtest_mimic::Trial;
use vts_support::files::{Files, Mode, TestFile};
use vts_support::outcome::trial;
use vts_uapi::fd_kinds::{self, Role};

use crate::load::{allocate, contents, engine, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const SIZE_BYTES: u64 = 4096;
/// Kinds that a kernel has at least, in each role.
const MIN_KINDS: usize = 40;

pub fn trials() -> Vec<Trial> {
    vec![trial("fd_kinds", "every_kind_is_refused_where_it_is_wrong", every_kind)]
}

/// What good requests are made of.
struct Good {
    engine: Engine,
    buffer: Buffer,
    file: TestFile,
    files: Files,
}

fn every_kind() -> Result<()> {
    let files = Files::new()?;
    let engine = engine(PoolConfig::OFF);
    let buffer = allocate(&engine, CLIENT, &new_buffer("", SIZE_BYTES))?;
    let good = Good { engine, buffer, file: files.patterned("good", 71, SIZE_BYTES)?, files };
    let mut opened = 0;
    for kind in fd_kinds::all() {
        // Of some kinds a request would use up or change what there is.
        let open = || kind.open(&good.files.path("."));
        match open() {
            Err(error) => println!("INFO: {}: {error}", kind.name),
            Ok(_) => opened += 1,
        }
        for role in Role::ALL {
            let Ok(fd) = open() else { continue };
            let right = kind.is_right_as(role);
            good.check(fd, role, right).with_context(|| format!("{} as {role:?}", kind.name))?;
        }
    }
    for role in [Role::Source, Role::Output] {
        good.check(owned(&good.buffer.fd), role, false).with_context(|| format!("{role:?}"))?;
    }
    println!("INFO: {opened} kinds");
    ensure!(opened >= MIN_KINDS, "only {opened} kinds");
    ensure!(contents(&good.buffer)?.iter().all(|byte| *byte == 0), "a refused load wrote");
    Ok(())
}

impl Good {
    fn check(&self, fd: OwnedFd, role: Role, right: bool) -> Result<()> {
        match self.request(fd, role)? {
            _ if right => Ok(()),
            Err(
                EngineError::BadFd { argument, .. } | EngineError::UnsupportedFile { argument, .. },
            ) => {
                let expected = match role {
                    Role::Source | Role::Output => Argument::File(0),
                    Role::Target => Argument::ExistingTarget,
                    Role::SavedBuffer => Argument::Buffer,
                };
                ensure!(argument == expected, "{argument} is blamed");
                Ok(())
            }
            other => bail!("{other:?}"),
        }
    }

    /// Runs a request with the fd in this role, for the rest of which everything is right.
    fn request(&self, fd: OwnedFd, role: Role) -> Result<dmabuf_engine::Result<()>> {
        let context = Context::new(CLIENT);
        let load = |target, file| {
            let load = LoadRequest::new(target, vec![file], vec![WHOLE]);
            self.engine.load(load, &context).map(drop)
        };
        let save = |buffer, file| {
            let (files, segments) = (vec![file], vec![WHOLE]);
            let save = SaveRequest { buffer, files, segments, policy: Policy::AUTO };
            self.engine.save(save, &context).map(drop)
        };
        Ok(match role {
            Role::Source => load(Target::New(new_buffer("", SIZE_BYTES)), fd),
            Role::Target => load(Target::Existing(fd), owned(self.file.direct()?)),
            Role::SavedBuffer => {
                let output = Mode::Direct.open_output(&self.files.path("output"))?;
                save(fd, owned(output))
            }
            Role::Output => save(owned(&self.buffer.fd), fd),
        })
    }
}
