// SPDX-License-Identifier: Apache-2.0
//! A client written by hand against the server.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::*;

const DISK_BYTES: u64 = 8 << 20;
const MIB: u32 = 1 << 20;

/// More than a test's machine gives, so that nothing waits.
const FAST: u32 = 1 << 20;

struct Client {
    stream: UnixStream,
    disk: File,
    server: JoinHandle<Result<()>>,
}

fn byte_at(offset: u64) -> u8 {
    (offset % 251) as u8
}

impl Client {
    /// Connected, and no more.
    fn connect(mib_per_s: u32) -> Self {
        let disk = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..DISK_BYTES).map(byte_at).collect();
        disk.write_all_at(&bytes, 0).unwrap();
        let (stream, other) = UnixStream::pair().unwrap();
        let (server_disk, rate) = (disk.try_clone().unwrap(), rate(mib_per_s));
        let server = thread::spawn(move || serve(&other, &server_disk, rate));
        Self { stream, disk, server }
    }

    /// Connected, and past the handshake.
    fn ready(mib_per_s: u32) -> Self {
        let mut client = Self::connect(mib_per_s);
        client.greet();
        client.option(7, &[0; 6]);
        assert_eq!(client.option_reply().0, 3);
        assert_eq!(client.option_reply().0, 3);
        assert_eq!(client.option_reply(), (1, vec![]));
        client
    }

    fn greet(&mut self) {
        assert_eq!(self.receive(18), b"NBDMAGICIHAVEOPT\0\x01");
        self.send(&1_u32.to_be_bytes());
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn option(&mut self, option: u32, data: &[u8]) {
        self.send(b"IHAVEOPT");
        self.send(&option.to_be_bytes());
        self.send(&(data.len() as u32).to_be_bytes());
        self.send(data);
    }

    /// Kind and data.
    fn option_reply(&mut self) -> (u32, Vec<u8>) {
        let header = self.receive(20);
        assert_eq!(header[..8], 0x0003_e889_0455_65a9_u64.to_be_bytes());
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        (number(12), self.receive(number(16) as usize))
    }

    fn request(&mut self, command: u16, cookie: u64, offset: u64, len: u32) {
        let mut bytes = vec![0x25, 0x60, 0x95, 0x13, 0, 0];
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        self.send(&bytes);
    }

    /// Error and cookie.
    fn reply(&mut self) -> (u32, u64) {
        let header = self.receive(16);
        assert_eq!(header[..4], [0x67, 0x44, 0x66, 0x98]);
        let error = u32::from_be_bytes(header[4..8].try_into().unwrap());
        (error, u64::from_be_bytes(header[8..].try_into().unwrap()))
    }

    fn expect_data(&mut self, cookie: u64, offset: u64, len: u32) {
        assert_eq!(self.reply(), (0, cookie));
        let expected: Vec<u8> = (offset..offset + u64::from(len)).map(byte_at).collect();
        assert!(self.receive(len as usize) == expected, "at {offset}");
    }

    /// Leaves without a word; returns what the server ended with.
    fn hang_up(self) -> Result<()> {
        drop(self.stream);
        self.server.join().unwrap()
    }

    /// Waits until the server hangs up; returns its complaint.
    fn complaint(mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        format!("{:#}", self.server.join().unwrap().unwrap_err())
    }
}

fn rate(mib_per_s: u32) -> Rate {
    Rate::from_mib_per_s(NonZeroU32::new(mib_per_s).unwrap())
}

#[test]
fn handshake() {
    let mut client = Client::connect(FAST);
    client.greet();
    client.option(8, &[]);
    assert_eq!(client.option_reply(), (1 << 31 | 1, vec![]), "no structured replies");
    client.option(6, &[0, 0, 0, 0, 0, 1, 0, 3]);
    let (kind, export) = client.option_reply();
    assert_eq!(kind, 3);
    assert_eq!(export[..10], [&[0, 0][..], &DISK_BYTES.to_be_bytes()].concat());
    assert_eq!(export[10..], [0, 0b10_0101], "flush and trim");
    let (kind, sizes) = client.option_reply();
    assert_eq!((kind, sizes), (3, vec![0, 3, 0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0]));
    assert_eq!(client.option_reply(), (1, vec![]));
    client.option(7, &[0, 0, 0, 1, b'x', 0, 0]);
    assert_eq!(client.option_reply().0, 1 << 31 | 6, "no such export");
    client.option(7, &[0, 0, 0, 9, 0, 0]);
    assert_eq!(client.option_reply().0, 1 << 31 | 3, "malformed");
    client.option(2, &[]);
    assert_eq!(client.option_reply(), (1, vec![]));
    client.hang_up().unwrap();
}

#[test]
fn a_broken_handshake_ends_the_connection() {
    let mut client = Client::connect(FAST);
    assert_eq!(client.receive(18).len(), 18);
    client.send(&[0xff; 4]);
    assert!(client.complaint().contains("unknown flags: 0xffffffff"));

    let mut client = Client::connect(FAST);
    client.greet();
    client.send(b"IHAVENOT");
    assert!(client.complaint().contains("an option begins with"));

    let mut client = Client::connect(FAST);
    client.greet();
    client.send(b"IHAVEOPT\0\0\0\x01\xff\0\0\0");
    assert!(client.complaint().contains("bytes of data"));
}

#[test]
fn reads_in_flight_are_answered_in_order() {
    let mut client = Client::ready(FAST);
    let reads = [(0, 1), (4095, 4097), (12, 4096), (DISK_BYTES - 5000, 5000), (77, MIB), (9, 0)];
    for (cookie, &(offset, len)) in reads.iter().enumerate() {
        client.request(0, cookie as u64, offset, len);
    }
    for (cookie, &(offset, len)) in reads.iter().enumerate() {
        client.expect_data(cookie as u64, offset, len);
    }
    client.hang_up().unwrap();
}

#[test]
fn writes_and_trims_change_the_disk() {
    let mut client = Client::ready(FAST);
    client.request(1, 1, 5000, 3);
    client.send(b"abc");
    client.request(4, 2, 8192, 4096);
    client.request(3, 3, 0, 0);
    assert_eq!([client.reply(), client.reply(), client.reply()], [(0, 1), (0, 2), (0, 3)]);
    client.request(0, 4, 4999, 5);
    assert_eq!(client.reply(), (0, 4));
    assert_eq!(client.receive(5), [byte_at(4999), b'a', b'b', b'c', byte_at(5003)]);
    client.request(0, 5, 8191, 4098);
    assert_eq!(client.reply(), (0, 5));
    let trimmed = client.receive(4098);
    assert_eq!((trimmed[0], trimmed[4097]), (byte_at(8191), byte_at(12288)));
    assert!(trimmed[1..4097].iter().all(|&byte| byte == 0));
    let mut on_disk = [0; 3];
    client.disk.read_exact_at(&mut on_disk, 5000).unwrap();
    assert_eq!(&on_disk, b"abc");
    assert_eq!(client.disk.metadata().unwrap().len(), DISK_BYTES);
    client.hang_up().unwrap();
}

#[test]
fn requests_beyond_the_disk_are_refused() {
    const INVALID: u32 = 22;
    const NO_SPACE: u32 = 28;
    let mut client = Client::ready(FAST);
    client.request(0, 1, DISK_BYTES, 1);
    assert_eq!(client.reply(), (INVALID, 1));
    client.request(0, 2, u64::MAX, 2);
    assert_eq!(client.reply(), (INVALID, 2));
    client.request(1, 3, DISK_BYTES - 1, 2);
    client.send(b"ab");
    assert_eq!(client.reply(), (NO_SPACE, 3));
    client.request(4, 4, DISK_BYTES - 1, 2);
    assert_eq!(client.reply(), (INVALID, 4));
    client.request(0, 5, 0, u32::MAX);
    assert_eq!(client.reply(), (INVALID, 5));
    client.request(6, 6, 0, 4096);
    assert_eq!(client.reply(), (INVALID, 6), "no such command");
    client.request(0, 7, 0, 10);
    client.expect_data(7, 0, 10);
    assert_eq!(client.disk.metadata().unwrap().len(), DISK_BYTES);
    client.hang_up().unwrap();
}

#[test]
fn a_broken_request_ends_the_connection() {
    let mut client = Client::ready(FAST);
    client.send(&[0; 28]);
    assert!(client.complaint().contains("a request begins with 0x0"));

    let mut client = Client::ready(FAST);
    client.request(1, 1, 0, u32::MAX);
    assert!(client.complaint().contains("a write of 4294967295 bytes"));

    let mut client = Client::ready(FAST);
    client.request(1, 1, 0, 8);
    client.send(b"abc");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.complaint().contains("the payload of a write"));
}

#[test]
fn a_client_may_leave_at_any_request() {
    let mut client = Client::ready(FAST);
    client.request(2, 1, 0, 0);
    client.server.join().unwrap().unwrap();

    let mut client = Client::ready(FAST);
    for cookie in 0..8 {
        client.request(0, cookie, 0, MIB);
    }
    client.hang_up().unwrap();
}

#[test]
fn reads_take_their_time_whether_in_flight_or_not() {
    const MIB_PER_S: u32 = 100;
    let mut client = Client::ready(MIB_PER_S);
    let started = Instant::now();
    for cookie in 0..4 {
        client.request(0, cookie, 0, MIB);
    }
    for cookie in 0..4 {
        client.expect_data(cookie, 0, MIB);
        let least = Duration::from_millis(10 * (cookie + 1));
        assert!(started.elapsed() >= least, "{:?} < {least:?}", started.elapsed());
    }
    // Idle for as long as that took: nothing is saved up.
    thread::sleep(Duration::from_millis(40));
    for cookie in 4..6 {
        let started = Instant::now();
        client.request(0, cookie, 0, MIB);
        client.expect_data(cookie, 0, MIB);
        assert!(started.elapsed() >= Duration::from_millis(10), "{:?}", started.elapsed());
    }
    client.hang_up().unwrap();
}

#[test]
fn other_requests_are_not_paced() {
    let mut client = Client::ready(1);
    let started = Instant::now();
    client.request(1, 1, 0, 4 * MIB);
    client.send(&vec![7; 4 * MIB as usize]);
    client.request(4, 2, 0, 4 * MIB);
    client.request(3, 3, 0, 0);
    assert_eq!([client.reply(), client.reply(), client.reply()], [(0, 1), (0, 2), (0, 3)]);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    client.hang_up().unwrap();
}

#[test]
fn the_socket_is_there_while_the_disk_is() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("disk.sock");
    let disk = tempfile::tempfile().unwrap();
    std::fs::write(&socket, "of a run that was killed").unwrap();

    let paced = PacedDisk::start(&disk, rate(FAST), &socket).unwrap();
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.read_exact(&mut [0; 18]).unwrap();
    drop(stream);
    assert!(paced.finish().is_err(), "a client that does not even greet");
    assert!(!socket.exists());

    let paced = PacedDisk::start(&disk, rate(FAST), &socket).unwrap();
    assert!(socket.exists());
    paced.finish().unwrap();
    assert!(!socket.exists(), "without a client");

    drop(PacedDisk::start(&disk, rate(FAST), &socket).unwrap());
    assert!(!socket.exists());
}
