// SPDX-License-Identifier: Apache-2.0
//! What clients can put into the log of the service: a bounded number of lines of bounded length.

use std::sync::{Arc, Mutex};

use dmabuf_engine::{Engine, EngineConfig, PoolConfig};
use dmabuf_loader_hal::config::default_limits;
use dmabuf_loader_hal::service::new_native_binder;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::NewBuffer::NewBuffer;

/// Holds every line of the process: this file has one test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn refused_calls_do_not_fill_the_log() {
    let lines = Lines::default();
    log::set_boxed_logger(Box::new(lines.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let engine = Engine::new(EngineConfig::new(true, PoolConfig::OFF));
    let service = new_native_binder(Arc::new(engine), default_limits());
    lines.0.lock().unwrap().clear();

    let heap = "\u{1b}[2J\n".repeat(1 << 18);
    let unknown = NewBuffer { heap, sizeBytes: 4096, name: String::new() };
    let name = "\n".repeat(1 << 20);
    let misnamed = NewBuffer { heap: String::new(), sizeBytes: 4096, name };
    for request in [&unknown, &misnamed] {
        for _ in 0..5000 {
            let status = service.allocate(request).unwrap_err();
            assert!(status.to_string().len() < 500, "{status}");
        }
    }

    let lines = lines.0.lock().unwrap();
    // Ten for each period of ten seconds, and a line with the number of omitted ones.
    assert!((10..100).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines[0].starts_with("allocate for uid "), "{}", lines[0]);
    for line in &*lines {
        assert!(line.len() < 500 && !line.contains(char::is_control), "{line:?}");
    }
}
