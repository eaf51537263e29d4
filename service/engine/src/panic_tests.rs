// SPDX-License-Identifier: Apache-2.0
//! A request that panics, on its own thread or on a helper: the engine serves the next ones.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use crate::request::{DigestRequest, LoadRequest, NewBuffer, Policy, Segment, Target};
use crate::{
    ClientId, Context, Engine, EngineConfig, LoadOutcome, PathName, PoolConfig, Progress,
    ProgressSink, Result,
};

/// Long enough for two bounce buffers, and for a digest beside the load.
const SIZE_BYTES: usize = 9 << 20;

/// What the paths call from any of their threads.
struct Panics;

impl ProgressSink for Panics {
    fn on_progress(&self, _: Progress) {
        panic!("a defect");
    }
}

fn load(engine: &Engine, file: &Path, policy: Policy, context: &Context) -> Result<LoadOutcome> {
    let file = std::fs::File::open(file).unwrap();
    let new = NewBuffer { heap: "memfd".to_owned(), size_bytes: 0, name: String::new() };
    let request = LoadRequest::new(Target::New(new), vec![file.into()], vec![Segment::WHOLE_FILE]);
    let digests = DigestRequest { report_sha256: true, ..DigestRequest::default() };
    engine.load(LoadRequest { policy, digests, ..request }, context)
}

#[test]
fn a_request_that_panics_leaves_the_engine_usable() {
    let program = std::env::current_exe().unwrap();
    let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let file = directory.path().join("f");
    std::fs::write(&file, vec![7; SIZE_BYTES]).unwrap();
    let config = EngineConfig::new(true, PoolConfig::of_bytes(64 << 20));
    let engine = Engine::new(EngineConfig { max_helper_threads: 2, ..config });
    let context = Context::new(ClientId(1));
    let watched = Context { progress: Some(Arc::new(Panics)), ..Context::new(ClientId(1)) };
    for policy in [
        Policy::AUTO,
        Policy::only(PathName::UdmabufDirect),
        Policy::only(PathName::Bounce),
        Policy::only(PathName::Buffered),
    ] {
        // The file system of the build directory may do no direct I/O.
        let Ok(expected) = load(&engine, &file, policy, &context) else { continue };
        for _ in 0..3 {
            let panicked =
                catch_unwind(AssertUnwindSafe(|| load(&engine, &file, policy, &watched)));
            assert!(panicked.is_err(), "{policy:?}");
            let again = load(&engine, &file, policy, &context).unwrap();
            assert_eq!(again.sha256, expected.sha256, "{policy:?}");
            assert_eq!(again.segment_bytes, [SIZE_BYTES as u64]);
        }
    }
}
