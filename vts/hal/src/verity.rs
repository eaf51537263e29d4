// SPDX-License-Identifier: Apache-2.0
//! Tests of fs-verity digests: a load succeeds only if the kernel's digest of the file matches the
//! expected one.

use std::fs::File;

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    DigestRequest::DigestRequest, LoadResult::LoadResult, LoaderError::LoaderError,
    Segment::Segment, VerityAlgorithm::VerityAlgorithm, VerityDigest::VerityDigest,
};
use dmabuf_loader_client::{open_for_load, ClientError, LoadSpec};
use vts_support::files::{Files, Mode};
use vts_support::outcome::{or_skip, skip};
use vts_support::pattern::UNTOUCHED;
use vts_uapi::fs_verity;

use crate::buffer::{fd, View};
use crate::client::{expect_refusal, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("digests_match_those_of_fsverity_utils", digests_match_those_of_fsverity_utils),
    ("the_expected_digest_passes", the_expected_digest_passes),
    ("a_wrong_digest_loads_nothing", a_wrong_digest_loads_nothing),
    ("a_file_without_fs_verity_loads_nothing", a_file_without_fs_verity_loads_nothing),
    ("each_file_of_a_request_is_compared", each_file_of_a_request_is_compared),
    ("files_on_vendor_have_no_fs_verity", files_on_vendor_have_no_fs_verity),
    ("no_digest_is_reported_unless_requested", no_digest_is_reported_unless_requested),
    ("invalid_digests_are_refused", invalid_digests_are_refused),
    ("three_hundred_mismatches_leave_no_fd", three_hundred_mismatches_leave_no_fd),
];

const SMALL: &[u8] = b"abc";
/// SHA-256 over blocks of 4096 bytes without a salt, by `fsverity digest` of fsverity-utils.
const SMALL_DIGEST: [u8; 32] = [
    0x70, 0x0b, 0x6b, 0xd8, 0x51, 0x0f, 0x0b, 0x4f, 0x9b, 0xac, 0x8b, 0x9c, 0xf0, 0x45, 0x91, 0x51,
    0xa1, 0xc4, 0xa9, 0x9f, 0x46, 0x78, 0x92, 0xbb, 0x4b, 0xd2, 0x89, 0xa6, 0x7d, 0xf8, 0xe1, 0x9c,
];

/// The same byte, repeated: two levels of hashes, and a last block with one byte.
const LARGE_BYTES: usize = (1 << 20) + 1;
const LARGE_FILL: u8 = 0x5a;
const LARGE_DIGEST: [u8; 32] = [
    0x2a, 0xab, 0x63, 0xe0, 0xef, 0x2e, 0x82, 0x7b, 0x51, 0x86, 0x2b, 0x3e, 0x3b, 0xb1, 0x84, 0x16,
    0x66, 0xb9, 0xe2, 0x06, 0xf9, 0xd7, 0x80, 0xba, 0x1d, 0x1e, 0x78, 0xe5, 0x41, 0x92, 0xf4, 0xc0,
];

/// Makes a file with fs-verity.
fn make(files: &Files, name: &str, content: &[u8]) -> Result<()> {
    let path = files.path(name);
    std::fs::write(&path, content)?;
    or_skip(fs_verity::enable(&File::open(&path)?), "FS_IOC_ENABLE_VERITY")
}

fn small(files: &Files) -> Result<File> {
    make(files, "small", SMALL)?;
    Ok(open_for_load(&files.path("small"))?)
}

fn plain(files: &Files) -> Result<File> {
    std::fs::write(files.path("plain"), SMALL)?;
    Ok(open_for_load(&files.path("plain"))?)
}

fn sha256(file_index: i32, digest: [u8; 32]) -> VerityDigest {
    VerityDigest {
        fileIndex: file_index,
        algorithm: VerityAlgorithm::SHA256,
        digest: digest.to_vec(),
    }
}

/// Fails unless the result has exactly these digests.
fn expect_digests(result: &LoadResult, expected: &[(i32, [u8; 32])]) -> Result<()> {
    let found = result.digests.as_ref().map_or(&[][..], |digests| &digests.verity);
    let same = |(found, expected): (&VerityDigest, &(i32, [u8; 32]))| {
        found.algorithm == VerityAlgorithm::SHA256
            && (found.fileIndex, &found.digest[..]) == (expected.0, &expected.1[..])
    };
    ensure!(found.len() == expected.len() && found.iter().zip(expected).all(same), "{found:?}");
    Ok(())
}

fn digests_match_those_of_fsverity_utils(client: &Client) -> Result<()> {
    let files = Files::new()?;
    make(&files, "large", &vec![LARGE_FILL; LARGE_BYTES])?;
    make(&files, "small", SMALL)?;
    for (name, digest) in [("small", SMALL_DIGEST), ("large", LARGE_DIGEST)] {
        let spec = LoadSpec::whole_file(open_for_load(&files.path(name))?)?;
        expect_digests(&client.load(spec.report_verity())?, &[(0, digest)])?;
    }
    Ok(())
}

fn the_expected_digest_passes(client: &Client) -> Result<()> {
    let files = Files::new()?;
    make(&files, "large", &vec![LARGE_FILL; LARGE_BYTES])?;
    for heap in client.heaps()? {
        for mode in Mode::ALL {
            let source = mode.open(&files.path("large"))?;
            let spec = LoadSpec::whole_file(&source)?
                .into_new(sized_buffer(&heap.name, 0))
                .expect_verity(sha256(0, LARGE_DIGEST));
            let loaded = client.loader.load(spec);
            let code = loaded.as_ref().err().and_then(ClientError::code);
            if mode == Mode::Direct && code == Some(LoaderError::DIRECT_IO_UNAVAILABLE) {
                // Where SELinux does not let the service open the file again.
                let text = loaded.err().map(|error| error.to_string()).unwrap_or_default();
                ensure!(text.contains("cannot be reopened without it"), "{text}");
                continue;
            }
            let result = loaded.with_context(|| format!("{}, {mode:?}", heap.name))?;
            expect_digests(&result, &[(0, LARGE_DIGEST)])?;
            ensure!(result.segmentBytes == [LARGE_BYTES as i64], "{:?}", result.segmentBytes);
            // The kernel verifies only what it reads into the page cache.
            ensure!(result.report.directBytes == 0, "{:?}", result.report);
            let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
            view.expect(0, LARGE_BYTES as u64, |_, len| vec![LARGE_FILL; len])?;
            view.expect_zero_from(LARGE_BYTES as u64)?;
        }
    }
    Ok(())
}

/// Loads into an existing buffer, so that loaded bytes would show.
fn expect_nothing_loaded(client: &Client, source: &File, refusal: &str) -> Result<()> {
    let wrong = || sha256(0, LARGE_DIGEST);
    let spec = LoadSpec::whole_file(source)?.expect_verity(wrong());
    expect_refusal(client.loader.load(spec), LoaderError::DIGEST_MISMATCH, refusal)?;
    let buffer = client.loader.allocate(&sized_buffer("", 4096))?;
    View::new(&buffer)?.write(0, &[UNTOUCHED; 4096])?;
    let spec = LoadSpec::whole_file(source)?.into_existing(fd(&buffer)?)?.expect_verity(wrong());
    expect_refusal(client.loader.load(spec), LoaderError::DIGEST_MISMATCH, refusal)?;
    let view = View::new(&buffer)?;
    view.expect(0, 4096, |_, len| vec![UNTOUCHED; len])
}

fn a_wrong_digest_loads_nothing(client: &Client) -> Result<()> {
    let found: String = SMALL_DIGEST.iter().map(|byte| format!("{byte:02x}")).collect();
    let refusal =
        format!("digests.expectedVerity[0]: files[0] has the fs-verity digest sha256:{found}, ");
    expect_nothing_loaded(client, &small(&Files::new()?)?, &refusal)
}

fn a_file_without_fs_verity_loads_nothing(client: &Client) -> Result<()> {
    let refusal = "digests.expectedVerity[0]: files[0] has no fs-verity, expected sha256:";
    expect_nothing_loaded(client, &plain(&Files::new()?)?, refusal)
}

fn each_file_of_a_request_is_compared(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let (plain, small) = (plain(&files)?, small(&files)?);
    let spec = || {
        let spec = LoadSpec::default().file(&plain)?.file(&small)?.file(&small)?;
        Ok::<_, anyhow::Error>(spec.segment(Segment { fileIndex: 1, ..Default::default() }))
    };
    // Only files with an expected digest are reported, or all files with fs-verity on request.
    expect_digests(
        &client.load(spec()?.expect_verity(sha256(2, SMALL_DIGEST)))?,
        &[(2, SMALL_DIGEST)],
    )?;
    let reported = spec()?.expect_verity(sha256(2, SMALL_DIGEST)).report_verity();
    expect_digests(&client.load(reported)?, &[(1, SMALL_DIGEST), (2, SMALL_DIGEST)])?;
    // A file that no segment uses is compared, too.
    let wrong = spec()?.expect_verity(sha256(2, SMALL_DIGEST)).expect_verity(sha256(0, [0; 32]));
    expect_refusal(
        client.loader.load(wrong),
        LoaderError::DIGEST_MISMATCH,
        "digests.expectedVerity[1]: files[0] has no fs-verity",
    )
}

/// SELinux may forbid the service FS_IOC_MEASURE_VERITY on this file; that it has no fs-verity
/// needs no permission.
fn files_on_vendor_have_no_fs_verity(client: &Client) -> Result<()> {
    const FRAGMENTS: &str = "/vendor/etc/vintf/manifest";
    let fragments = std::fs::read_dir(FRAGMENTS).context(FRAGMENTS)?.flatten();
    let fragment = fragments.map(|entry| entry.path()).find(|path| path.is_file());
    let Some(fragment) = fragment else {
        return Err(skip(format!("{FRAGMENTS} has no file")));
    };
    let source = File::open(&fragment).with_context(|| format!("{fragment:?}"))?;
    expect_digests(&client.load(LoadSpec::whole_file(&source)?.report_verity())?, &[])
}

fn no_digest_is_reported_unless_requested(client: &Client) -> Result<()> {
    let files = Files::new()?;
    expect_digests(&client.load(LoadSpec::whole_file(small(&files)?)?)?, &[])
}

fn invalid_digests_are_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let source = small(&files)?;
    let good = || sha256(0, SMALL_DIGEST);
    let refused = |digests: Vec<VerityDigest>, argument: &str| {
        let mut spec = LoadSpec::whole_file(&source)?;
        spec.request.digests =
            Some(DigestRequest { expectedVerity: digests, ..Default::default() });
        expect_refusal(client.loader.load(spec), LoaderError::BAD_ARGUMENT, argument)
    };
    for len in [0, 31, 33, 64] {
        let digest = VerityDigest { digest: vec![0; len], ..good() };
        refused(vec![digest], "digests.expectedVerity[0].digest: ")?;
    }
    let short = VerityDigest { algorithm: VerityAlgorithm::SHA512, ..good() };
    refused(vec![short], "digests.expectedVerity[0].digest: ")?;
    for number in [-1, 0, 3] {
        let unknown = VerityDigest { algorithm: VerityAlgorithm(number), ..good() };
        refused(vec![unknown], "digests.expectedVerity[0].algorithm: ")?;
    }
    for index in [-1, 1, i32::MAX] {
        let outside = VerityDigest { fileIndex: index, ..good() };
        refused(vec![outside], "digests.expectedVerity[0].fileIndex: ")?;
    }
    refused(vec![good(), good()], "digests.expectedVerity[1].fileIndex: ")
}

/// Checks the fds as the topic `leaks` does for other failed requests.
fn three_hundred_mismatches_leave_no_fd(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let source = small(&files)?;
    for round in 0..300 {
        let spec = |digest| {
            let spec = LoadSpec::default().file(&source)?.file(&source)?.file(&source)?;
            let spec = spec.segment(Segment::default()).expect_verity(sha256(2, digest));
            Ok::<_, anyhow::Error>(spec)
        };
        let refused = client.loader.load(spec([0; 32])?);
        ensure!(refused.is_err(), "round {round}");
        client.load(spec(SMALL_DIGEST)?).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
