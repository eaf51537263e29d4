// SPDX-License-Identifier: Apache-2.0
//! Tests of what hostile clients of the unix socket can take from the service. One test at a time:
//! they count threads and set the umask.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use binder::rpc::Limits;
use dmabuf_loader_client::aidl::{LoaderError::LoaderError, NewBuffer::NewBuffer};
use dmabuf_loader_client::{ClientError, Loader};
use dmabuf_loader_hal::embedded::{serve, serve_with};
use nix::sys::stat::{umask, Mode};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threads_of_connections() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")));
    names.filter(|name| name.as_ref().is_ok_and(|name| name.starts_with("rpc-"))).count()
}

fn unknown_heap(name_bytes: usize) -> NewBuffer {
    NewBuffer { heap: "h".repeat(name_bytes), sizeBytes: 4096, name: String::new() }
}

#[test]
fn half_open_connections_do_not_keep_others_out() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let handshake = Duration::from_secs(1);
    let limits = Limits { connections: 32, handshake, ..Limits::default() };
    let _server = serve_with(&socket, limits).unwrap();
    let half_open: Vec<UnixStream> =
        (0..500).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let begin = Instant::now();
    let loader = std::thread::spawn({
        let socket = socket.clone();
        move || loop {
            // On a busy machine this client, too, may be late with its handshake.
            match Loader::connect_unix(&socket).and_then(|loader| loader.heaps()) {
                Ok(heaps) => break heaps.len(),
                Err(error) => println!("{:?}: {error}", begin.elapsed()),
            }
        }
    });
    let mut most = 0;
    while !loader.is_finished() {
        most = most.max(threads_of_connections());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(loader.join().unwrap() > 0);
    // A thread and a deadline for each connection, and the accepting thread; a thread that ends
    // has returned its permit already.
    assert!((1..=3 * limits.connections).contains(&most), "{most} threads");
    assert!(begin.elapsed() < Duration::from_secs(100), "{:?}", begin.elapsed());
    drop(half_open);
}

#[test]
fn a_connection_too_many_is_closed() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let handshake = Duration::from_secs(3);
    let limits = Limits { connections: 2, handshake, ..Limits::default() };
    let _server = serve_with(&socket, limits).unwrap();
    let clients: Vec<Loader> = (0..2).map(|_| Loader::connect_unix(&socket).unwrap()).collect();
    let error = Loader::connect_unix(&socket).map(drop).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(clients.iter().all(|client| client.heaps().is_ok()));
    drop(clients);
    assert!(Loader::connect_unix(&socket).unwrap().heaps().is_ok());
}

#[test]
fn an_oversized_message_ends_its_own_connection_only() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let _server = serve(&socket).unwrap();
    let [good, bad] = [(); 2].map(|()| Loader::connect_unix(&socket).unwrap());
    // A parcel has two bytes for each of these characters.
    let small = good.allocate(&unknown_heap(256 << 10)).unwrap_err();
    assert_eq!(small.code(), Some(LoaderError::HEAP_UNKNOWN), "{small}");
    let large = bad.allocate(&unknown_heap(1 << 20)).unwrap_err();
    assert!(matches!(large, ClientError::Transport(_)), "{large}");
    assert!(bad.heaps().is_err());
    assert!(good.heaps().is_ok());
}

#[test]
fn an_idle_connection_is_closed() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let limits = Limits { idle: Duration::from_secs(2), ..Limits::default() };
    let _server = serve_with(&socket, limits).unwrap();
    let client = Loader::connect_unix(&socket).unwrap();
    assert!(client.heaps().is_ok());
    std::thread::sleep(Duration::from_secs(6));
    assert!(client.heaps().is_err());
    assert_eq!(threads_of_connections(), 1, "only the accepting thread");
    assert!(Loader::connect_unix(&socket).unwrap().heaps().is_ok());
}

#[test]
fn bytes_that_are_no_handshake_end_the_connection() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let _server = serve(&socket).unwrap();
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may close before it has read all of it.
    let _ = stream.write_all(&[0xff; 4096]);
    let closed = match stream.read(&mut [0; 1]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    assert!(closed);
    assert!(Loader::connect_unix(&socket).unwrap().heaps().is_ok());
}

/// Whoever looks at the socket finds a mode that admits the owner only, and whoever looks at the
/// directory in which the socket is made cannot enter it.
#[test]
fn the_socket_is_its_owners_whatever_the_umask() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let before = umask(Mode::empty());
    let stop = AtomicBool::new(false);
    let modes = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut modes = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                modes.extend(modes_in(directory.path()));
            }
            modes
        });
        for round in 0..200 {
            drop(serve(&directory.path().join(format!("socket{round}"))).unwrap());
        }
        let _server = serve(&directory.path().join("socket")).unwrap();
        let last = modes_in(directory.path());
        assert_eq!(last, [0o600]);
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    umask(before);
    assert!(!modes.is_empty());
    assert!(modes.iter().all(|mode| mode & 0o077 == 0), "{modes:?}");
}

fn modes_in(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.permissions().mode() & 0o777)).collect()
}
