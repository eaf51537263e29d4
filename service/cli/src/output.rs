// SPDX-License-Identifier: Apache-2.0
//! Output of the commands: the same facts as text or as JSON.

use dmabuf_loader_client::aidl::{
    DmaBuf::DmaBuf, HeapKind::HeapKind, LoadPath::LoadPath, NotTakenReason::NotTakenReason,
    PathSupport::PathSupport, TransferReport::TransferReport,
};
use dmabuf_loader_client::Loader;
use serde::Serialize;

/// The report of a transfer.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// The path that moved most bytes.
    pub path: &'static str,
    /// Whether that path is direct.
    pub direct: bool,
    /// Cheaper paths that were not taken, with the reason.
    pub not_taken: Vec<NotTaken>,
    /// Bytes moved by direct I/O.
    pub direct_bytes: i64,
    /// Bytes moved otherwise.
    pub buffered_bytes: i64,
    /// Time spent allocating, in nanoseconds.
    pub allocate_nanos: i64,
    /// Time spent moving, in nanoseconds.
    pub move_nanos: i64,
}

/// A path that was not taken.
#[derive(Serialize, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NotTaken {
    path: &'static str,
    direct: bool,
    reason: &'static str,
    detail: String,
}

impl NotTaken {
    fn lacks_detail(&self) -> bool {
        self.detail.is_empty() && self.reason == reason_name(NotTakenReason::KERNEL_UNSUPPORTED)
    }
}

impl Transfer {
    /// What a call reports.
    pub fn of(report: TransferReport) -> Self {
        let not_taken = report.notTaken.into_iter().map(|not_taken| NotTaken {
            path: path_name(not_taken.path),
            direct: not_taken.direct,
            reason: reason_name(not_taken.reason),
            detail: not_taken.detail,
        });
        Self {
            path: path_name(report.path),
            direct: report.direct,
            not_taken: not_taken.collect(),
            direct_bytes: report.directBytes,
            buffered_bytes: report.bufferedBytes,
            allocate_nanos: report.allocateNanos,
            move_nanos: report.moveNanos,
        }
    }

    /// Fills in the details that reports do not repeat, from the capabilities of the buffer's heap.
    pub fn explain(&mut self, loader: &Loader, heap: &str) -> anyhow::Result<()> {
        if !self.not_taken.iter().any(NotTaken::lacks_detail) {
            return Ok(());
        }
        for PathSupport { path, detail, .. } in
            loader.capabilities()?.paths.into_iter().filter(|path| path.heap == heap)
        {
            self.not_taken
                .iter_mut()
                .filter(|line| line.path == path_name(path) && line.lacks_detail())
                .for_each(|line| line.detail.clone_from(&detail));
        }
        Ok(())
    }

    /// Adds a later transfer into the same buffer. The paths are those of the first.
    pub fn add(&mut self, later: Self) {
        self.direct_bytes += later.direct_bytes;
        self.buffered_bytes += later.buffered_bytes;
        self.allocate_nanos += later.allocate_nanos;
        self.move_nanos += later.move_nanos;
    }

    /// Prints the transfer as text.
    pub fn print(&self, verb: &str) {
        let milliseconds = self.move_nanos as f64 / 1e6;
        println!(
            "  {verb} by {} in {milliseconds:.1} ms ({} bytes direct, {} copied or buffered)",
            path_label(self.path, self.direct),
            self.direct_bytes,
            self.buffered_bytes
        );
        for not_taken in &self.not_taken {
            let path = path_label(not_taken.path, not_taken.direct);
            let detail = match not_taken.detail.as_str() {
                "" => String::new(),
                detail => format!(" ({detail})"),
            };
            println!("  not by {path}: {}{detail}", not_taken.reason);
        }
    }
}

/// Prints where a load has put the bytes.
pub fn print_buffer(buffer: &DmaBuf) {
    let shareable = if buffer.deviceShareable { "" } else { ", not device-shareable" };
    println!("  in a buffer of {} bytes, heap {}{shareable}", buffer.sizeBytes, buffer.heap);
}

/// Prints the fs-verity digest of the file, if it was requested.
pub fn print_verity(digest: Option<Option<&str>>) {
    if let Some(digest) = digest {
        println!("  fs-verity {}", digest.unwrap_or("none"));
    }
}

/// The name of a path, with direct or buffered where the path has both forms.
pub fn path_label(path: &str, direct: bool) -> String {
    match (path, direct) {
        ("COPY_FILE_RANGE", true) => format!("{path} direct"),
        ("COPY_FILE_RANGE", false) => format!("{path} buffered"),
        _ => path.to_owned(),
    }
}

/// A number of bytes for people, in the largest unit of which it has one.
pub fn bytes_text(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}

/// Prints one JSON value on one line.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// The AIDL name of a path.
pub fn path_name(path: LoadPath) -> &'static str {
    match path {
        LoadPath::COPY_FILE_RANGE => "COPY_FILE_RANGE",
        LoadPath::BUFFERED => "BUFFERED",
        LoadPath::UDMABUF_DIRECT => "UDMABUF_DIRECT",
        LoadPath::BOUNCE => "BOUNCE",
        _ => "UNKNOWN",
    }
}

/// The AIDL name of a kind of heap.
pub fn heap_kind(kind: HeapKind) -> &'static str {
    match kind {
        HeapKind::DMABUF => "DMABUF",
        HeapKind::UDMABUF => "UDMABUF",
        HeapKind::MEMFD => "MEMFD",
        _ => "UNKNOWN",
    }
}

fn reason_name(reason: NotTakenReason) -> &'static str {
    match reason {
        NotTakenReason::KERNEL_UNSUPPORTED => "KERNEL_UNSUPPORTED",
        NotTakenReason::FILE_LACKS_DIRECT_IO => "FILE_LACKS_DIRECT_IO",
        NotTakenReason::FILE_OPENED_BUFFERED => "FILE_OPENED_BUFFERED",
        NotTakenReason::FILE_OPENED_DIRECT => "FILE_OPENED_DIRECT",
        NotTakenReason::UNALIGNED => "UNALIGNED",
        NotTakenReason::BUFFER_BUSY => "BUFFER_BUSY",
        NotTakenReason::EXCLUDED_BY_POLICY => "EXCLUDED_BY_POLICY",
        NotTakenReason::REFUSED_BY_KERNEL => "REFUSED_BY_KERNEL",
        NotTakenReason::REOPENING_COSTS_MORE => "REOPENING_COSTS_MORE",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_largest_unit_that_fits() {
        let texts = [0, 1023, 1536, 1 << 20, (5 << 30) + (512 << 20)].map(bytes_text);
        assert_eq!(texts, ["0 bytes", "1023 bytes", "1.5 KiB", "1.0 MiB", "5.5 GiB"]);
    }
}
