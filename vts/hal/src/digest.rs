// SPDX-License-Identifier: Apache-2.0
//! Tests of the SHA-256 of loaded bytes.

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    DigestRequest::DigestRequest, LoaderError::LoaderError, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::Files;

use crate::client::{expect_refusal, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("the_digest_matches_the_bytes", the_digest_matches_the_bytes),
    ("segments_are_digested_in_order", segments_are_digested_in_order),
    ("a_wrong_digest_fails_the_load", a_wrong_digest_fails_the_load),
    ("no_digest_is_reported_unless_requested", no_digest_is_reported_unless_requested),
    ("a_digest_of_another_length_is_refused", a_digest_of_another_length_is_refused),
];

/// SHA-256 of "abc", from FIPS 180-2.
const ABC: [u8; 32] = [
    0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
];

fn spec(files: &Files, bytes: &[u8]) -> Result<LoadSpec> {
    std::fs::write(files.path("f"), bytes)?;
    Ok(LoadSpec::whole_file(open_for_load(&files.path("f"))?)?)
}

fn the_digest_matches_the_bytes(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let spec = || spec(&files, b"abc");
    for asked in [spec()?.report_sha256(), spec()?.expect_sha256(ABC)] {
        let digests = client.load(asked)?.digests.context("no digests")?;
        ensure!(digests.sha256.as_deref() == Some(&ABC[..]), "{digests:?}");
        ensure!(digests.verity.is_empty(), "{digests:?}");
    }
    Ok(())
}

fn segments_are_digested_in_order(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let mut scattered = spec(&files, b"cab")?;
    let segment = |file_offset, len, buffer_offset| Segment {
        fileIndex: 0,
        fileOffsetBytes: file_offset,
        lengthBytes: len,
        bufferOffsetBytes: buffer_offset,
    };
    scattered.request.segments = vec![segment(1, 2, 5000), segment(0, 1, 17)];
    client.load(scattered.expect_sha256(ABC)).map(drop)
}

fn a_wrong_digest_fails_the_load(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let refused = client.loader.load(spec(&files, b"abd")?.expect_sha256(ABC));
    expect_refusal(refused, LoaderError::DIGEST_MISMATCH, "digests.expectedSha256: ")
}

fn no_digest_is_reported_unless_requested(client: &Client) -> Result<()> {
    let result = client.load(spec(&Files::new()?, b"abc")?)?;
    ensure!(result.digests.is_none(), "{:?}", result.digests);
    ensure!(result.report.verifyNanos < 1_000_000_000, "{:?}", result.report);
    Ok(())
}

fn a_digest_of_another_length_is_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    for len in [0, 31, 33] {
        let mut wrong = spec(&files, b"abc")?;
        let expected = Some(vec![0; len]);
        wrong.request.digests =
            Some(DigestRequest { expectedSha256: expected, ..Default::default() });
        let refused = client.loader.load(wrong);
        expect_refusal(refused, LoaderError::BAD_ARGUMENT, "digests.expectedSha256: ")?;
    }
    Ok(())
}
