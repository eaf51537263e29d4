// SPDX-License-Identifier: Apache-2.0
//! Tests that the service survives an fd of every kind in each place of a request, and refuses it
//! where it is wrong, unless SELinux or the binder driver does.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use anyhow::{bail, ensure, Context, Result};
use dmabuf_loader_client::aidl::{DmaBuf::DmaBuf, LoaderError::LoaderError, Segment::Segment};
use dmabuf_loader_client::{open_for_load, ClientError, LoadSpec, SaveSpec};
use vts_support::files::{Files, TestFile};
use vts_uapi::fd_kinds::{self, FdKind, Role};

use crate::buffer::{fd, View};
use crate::client::{sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] =
    &[("every_kind_of_fd_is_survived_in_each_role", every_kind_of_fd_is_survived_in_each_role)];

const SIZE_BYTES: u64 = 4096;
/// Kinds that any client domain has at least.
const MIN_KINDS: usize = 25;

struct Good<'a> {
    client: &'a Client,
    buffer: DmaBuf,
    file: TestFile,
    files: Files,
}

fn every_kind_of_fd_is_survived_in_each_role(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let buffer = client.loader.allocate(&sized_buffer("", SIZE_BYTES as i64))?;
    let good = Good { client, buffer, file: files.patterned("good", 72, SIZE_BYTES)?, files };
    let mut opened = 0;
    for kind in fd_kinds::all() {
        let open = || kind.open(&good.files.path("."));
        match open() {
            Ok(_) => opened += 1,
            Err(error) => {
                if error.kind() == ErrorKind::PermissionDenied {
                    expect_denial(&kind);
                }
                println!("INFO: {}: {error}", kind.name);
                continue;
            }
        }
        for role in Role::ALL {
            let refused = good.request(&open()?, role)?;
            // Of a file that is right, the service may be refused a second open.
            if matches!(refused, Err(ClientError::Transport(_))) || kind.is_right_as(role) {
                expect_denial(&kind);
            }
            check(refused, role, kind.is_right_as(role))
                .with_context(|| format!("{} as {role:?}", kind.name))?;
        }
    }
    println!("INFO: {opened} kinds");
    ensure!(opened >= MIN_KINDS, "only {opened} kinds");
    View::new(&good.buffer)?.expect_zero_from(0)?;
    // If the service had died and been restarted, this connection would be dead.
    client.heaps().map(drop)
}

/// Nothing keeps a client from its own files, whose denial has no text.
fn expect_denial(kind: &FdKind) {
    if !kind.denial.is_empty() {
        println!("EXPECT-AVC: {}", kind.denial);
    }
}

fn check(refused: Result<(), ClientError>, role: Role, right: bool) -> Result<()> {
    let argument = match role {
        Role::Source | Role::Output => "files[0]: ",
        Role::Target => "target.existing: ",
        Role::SavedBuffer => "buffer: ",
    };
    match refused {
        // The driver or SELinux has kept it from the service.
        Err(ClientError::Transport(_)) => Ok(()),
        _ if right => Ok(()),
        Ok(()) => bail!("accepted"),
        Err(error) => {
            let code = error.code();
            let expected = [LoaderError::BAD_FD, LoaderError::UNSUPPORTED_FILE];
            ensure!(code.is_some_and(|code| expected.contains(&code)), "{code:?}: {error}");
            ensure!(error.to_string().starts_with(argument), "{error}");
            Ok(())
        }
    }
}

impl Good<'_> {
    /// Sends a request with the fd in this role, for the rest of which everything is right.
    fn request(&self, wrong: &OwnedFd, role: Role) -> Result<Result<(), ClientError>> {
        let loader = &self.client.loader;
        let saved = |buffer: SaveSpec| loader.save(buffer.segment(Segment::default())).map(drop);
        Ok(match role {
            Role::Source => loader.load(LoadSpec::default().file(wrong)?).map(drop),
            Role::Target => {
                let source = open_for_load(self.file.path())?;
                loader.load(LoadSpec::whole_file(&source)?.into_existing(wrong)?).map(drop)
            }
            Role::SavedBuffer => {
                let output = File::create(self.files.path("output"))?;
                saved(SaveSpec::from_buffer(wrong)?.file(&output)?)
            }
            Role::Output => saved(SaveSpec::from_buffer(fd(&self.buffer)?)?.file(wrong)?),
        })
    }
}
