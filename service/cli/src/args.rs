// SPDX-License-Identifier: Apache-2.0
//! The command line: subcommands, options and the values they parse to.

use std::path::PathBuf;

use clap::{value_parser, Parser, Subcommand, ValueEnum};
use dmabuf_loader_client::aidl::{
    LoadPath::LoadPath, PathPolicy::PathPolicy, RequestPriority::RequestPriority,
    VerityAlgorithm::VerityAlgorithm,
};

use crate::examples;
use crate::hex;
use crate::segment::{parse_segment, parse_size, SegmentSpec, FORM};
use crate::tensors::Align;

/// Load files into dma-bufs, and dma-bufs into files.
#[derive(Parser, Debug)]
#[command(name = "dmabufload", version, after_help = examples::TOOL)]
pub struct Args {
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Log what the client, and an embedded service, do.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Which service to talk to.
#[derive(clap::Args, Debug, Default)]
pub struct ServiceArgs {
    /// Start the service embedded, even where one is registered.
    #[arg(long, global = true, conflicts_with = "socket")]
    pub embedded: bool,
    /// Talk to a service on this unix socket.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the heaps and the paths that work for their buffers.
    #[command(after_help = examples::HEAPS)]
    Heaps(HeapsArgs),
    /// Load a file into a new buffer and say what happened.
    #[command(after_help = examples::LOAD)]
    Load(LoadArgs),
    /// Load a file into a new buffer and write the buffer to another file.
    #[command(after_help = examples::SAVE)]
    Save(SaveArgs),
    /// Show what the service has and has done.
    #[command(after_help = examples::STATS)]
    Stats,
    /// Show that again every few seconds, with what has changed, until Ctrl-C.
    #[command(after_help = examples::WATCH)]
    Watch(WatchArgs),
    /// Measure how long each path takes to load a file.
    #[command(after_help = examples::BENCH)]
    Bench(BenchArgs),
    /// Print the script that completes command lines in a shell.
    #[cfg(not(any(soong, target_os = "android")))]
    #[command(after_help = examples::COMPLETION)]
    Completion(CompletionArgs),
}

#[derive(clap::Args, Debug)]
pub struct HeapsArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Debug)]
pub struct WatchArgs {
    /// The time between two looks, in seconds.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 2,
        value_parser = value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

#[derive(clap::Args, Debug)]
pub struct BenchArgs {
    /// The file to load.
    pub file: PathBuf,
    /// How often each path loads it.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    pub count: u32,
    /// Leave what the page cache has of the file; by default it is dropped before each load.
    #[arg(long)]
    pub warm: bool,
    /// The heap, by its name from `dmabufload heaps`; by default the service chooses.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub heap: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(not(any(soong, target_os = "android")))]
#[derive(clap::Args, Debug)]
pub struct CompletionArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

#[derive(clap::Args, Debug)]
pub struct LoadArgs {
    /// The file to load.
    pub file: PathBuf,
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// Load only this range of the file, to this place in the buffer; may be repeated. Sizes are
    /// bytes, or have the suffix KiB, MiB or GiB; LENGTH may be `end`.
    #[arg(long = "segment", value_name = FORM, value_parser = parse_segment)]
    pub segments: Vec<SegmentSpec>,
    #[command(flatten)]
    pub tensors: TensorArgs,
    /// Fail unless the loaded bytes have this SHA-256, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    pub expect_sha256: Option<Sha256Arg>,
    #[command(flatten)]
    pub verity: VerityArgs,
}

/// The tensors of a model file.
#[derive(clap::Args, Debug)]
pub struct TensorArgs {
    /// Load the tensors of a safetensors or GGUF file, each to its place in the buffer.
    #[arg(long, conflicts_with_all = ["segments", "expect_sha256"])]
    pub tensors: bool,
    /// Where tensors begin in the buffer: at multiples of SIZE, a power of two; or `file` for the
    /// places that they have in the file, counted from the start of a block, which permits direct
    /// I/O.
    #[arg(long, value_name = "SIZE|file", default_value = "64", requires = "tensors",
        value_parser = parse_align)]
    pub align: Align,
    /// Only list the tensors and their places; load nothing.
    #[arg(long, requires = "tensors")]
    pub list: bool,
}

/// The fs-verity options of a command.
#[derive(clap::Args, Debug, Default)]
pub struct VerityArgs {
    /// Fail unless the file has this fs-verity digest, as `fsverity digest` prints it: sha256:HEX
    /// or sha512:HEX.
    #[arg(long, value_name = "ALGORITHM:HEX", value_parser = parse_verity_digest)]
    pub expect_verity_digest: Option<VerityDigestArg>,
    /// Print the fs-verity digest of the file.
    #[arg(long)]
    pub verity_digest: bool,
}

impl VerityArgs {
    /// Whether the output has the digest.
    pub fn asks(&self) -> bool {
        self.verity_digest || self.expect_verity_digest.is_some()
    }
}

#[derive(clap::Args, Debug)]
pub struct SaveArgs {
    /// The file to load.
    pub source: PathBuf,
    /// The file to write; replaced if it exists.
    pub target: PathBuf,
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// Write only this range of the buffer, to this place in the target; may be repeated. Sizes
    /// are bytes, or have the suffix KiB, MiB or GiB; LENGTH may be `end`.
    #[arg(long = "segment", value_name = FORM, value_parser = parse_segment)]
    pub segments: Vec<SegmentSpec>,
}

/// The options that load and save share.
#[derive(clap::Args, Debug)]
pub struct TransferArgs {
    /// The heap, by its name from `dmabufload heaps`; by default the service chooses.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub heap: String,
    /// Which paths are permitted.
    #[arg(long, value_enum, default_value_t = PolicyArg::Auto)]
    pub policy: PolicyArg,
    /// How urgent each request is.
    #[arg(long, value_enum, default_value_t = PriorityArg::Normal)]
    pub priority: PriorityArg,
    /// Fail if a request has not ended after N milliseconds.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=i64::MAX as u64))]
    pub timeout_ms: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl TransferArgs {
    /// The usual options, except heap and paths.
    pub fn of(heap: &str, policy: PolicyArg) -> Self {
        let (heap, priority) = (heap.to_owned(), PriorityArg::Normal);
        Self { heap, policy, priority, timeout_ms: None, json: false }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyArg {
    /// The cheapest path that works.
    Auto,
    /// Direct I/O, or fail and say why.
    RequireDirect,
    /// copy_file_range(2) only, direct or buffered.
    CopyFileRange,
    /// Direct reads into the memfd behind a udmabuf only.
    UdmabufDirect,
    /// Direct reads through bounce buffers only.
    Bounce,
    /// read(2) into a mapping only.
    Buffered,
}

impl PolicyArg {
    /// The policy of a request, and the paths that it permits: none for all.
    pub fn fields(self) -> (PathPolicy, Vec<LoadPath>) {
        match self {
            Self::Auto => (PathPolicy::AUTO, vec![]),
            Self::RequireDirect => (PathPolicy::REQUIRE_DIRECT, vec![]),
            Self::CopyFileRange => (PathPolicy::AUTO, vec![LoadPath::COPY_FILE_RANGE]),
            Self::UdmabufDirect => (PathPolicy::AUTO, vec![LoadPath::UDMABUF_DIRECT]),
            Self::Bounce => (PathPolicy::AUTO, vec![LoadPath::BOUNCE]),
            Self::Buffered => (PathPolicy::AUTO, vec![LoadPath::BUFFERED]),
        }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorityArg {
    /// A user waits for it.
    LatencyCritical,
    /// The usual one.
    Normal,
    /// Nobody waits for it.
    Bulk,
}

impl From<PriorityArg> for RequestPriority {
    fn from(priority: PriorityArg) -> Self {
        match priority {
            PriorityArg::LatencyCritical => Self::LATENCY_CRITICAL,
            PriorityArg::Normal => Self::NORMAL,
            PriorityArg::Bulk => Self::BULK,
        }
    }
}

/// A digest from the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256Arg(pub [u8; 32]);

fn parse_sha256(text: &str) -> Result<Sha256Arg, String> {
    hex::decode(text).map(Sha256Arg)
}

/// An fs-verity digest from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerityDigestArg {
    pub algorithm: VerityAlgorithm,
    pub digest: Vec<u8>,
}

fn parse_verity_digest(text: &str) -> Result<VerityDigestArg, String> {
    let (algorithm, digest) = match text.split_once(':') {
        Some(("sha256", digits)) => (VerityAlgorithm::SHA256, hex::decode::<32>(digits)?.to_vec()),
        Some(("sha512", digits)) => (VerityAlgorithm::SHA512, hex::decode::<64>(digits)?.to_vec()),
        _ => return Err("expected sha256: or sha512: and the digest in hexadecimal".to_owned()),
    };
    Ok(VerityDigestArg { algorithm, digest })
}

fn parse_align(text: &str) -> Result<Align, String> {
    match text {
        "file" => Ok(Align::AsInFile),
        _ => {
            parse_size(text).ok().filter(|bytes| bytes.is_power_of_two()).map(Align::To).ok_or_else(
                || format!("expected a power of two, as 64 or 4KiB, or file, found {text:?}"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert_eq!(parse_sha256(&"fF".repeat(32)), Ok(Sha256Arg([255; 32])));
        assert!(parse_sha256(&"f".repeat(63)).is_err());
        assert!(parse_sha256(&"g".repeat(64)).is_err());
        assert!(parse_sha256(&"é".repeat(32)).is_err());
    }

    #[test]
    fn a_verity_digest_has_the_digits_of_its_algorithm() {
        let parsed = parse_verity_digest(&format!("sha512:{}", "0a".repeat(64)));
        let digest = vec![10; 64];
        assert_eq!(parsed, Ok(VerityDigestArg { algorithm: VerityAlgorithm::SHA512, digest }));
        let sha256 = "0a".repeat(32);
        assert!(parse_verity_digest(&format!("sha256:{sha256}")).is_ok());
        for wrong in [format!("sha512:{sha256}"), format!("md5:{sha256}"), sha256] {
            assert!(parse_verity_digest(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_alignment_is_a_power_of_two_or_the_files() {
        assert_eq!(parse_align("4KiB"), Ok(Align::To(4096)));
        assert_eq!(parse_align("1"), Ok(Align::To(1)));
        assert_eq!(parse_align("file"), Ok(Align::AsInFile));
        for wrong in ["0", "3", "48KiB", "", "File", "-64"] {
            assert!(parse_align(wrong).unwrap_err().contains("a power of two"), "{wrong}");
        }
    }
}
