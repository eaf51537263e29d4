// SPDX-License-Identifier: Apache-2.0
//! The transmission phase: one thread takes requests, another one answers them, so that the arrival
//! of a request is known while an earlier one waits for its completion.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use anyhow::{anyhow, ensure, Context, Result};
use rustix::fs::{fallocate, sendfile, FallocateFlags};
use rustix::thread::set_current_timer_slack;

use super::pace::{Pace, Rate};
use super::protocol::{reply_header, Command, Request, RequestError, MAX_PAYLOAD_BYTES};

/// The end of a read that is sent when the read completes. What precedes it is sent when the device
/// starts the read: copying through the socket takes time, too, and a client waits for the last
/// byte.
const HELD_BACK_BYTES: u64 = 4096;

/// How late the kernel may wake a thread; the default of 50 us is a tenth of what 1 MiB may take.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::MIN;

/// An answer, in the order of the requests.
enum Answer {
    /// Bytes of the disk, of a request that arrived at this time.
    Data { cookie: u64, offset_bytes: u64, len_bytes: u32, arrival: Instant },
    /// The request is done, or failed with this error.
    Done { cookie: u64, error: Option<RequestError> },
}

/// Serves the disk until the client leaves; fails if the client breaks the protocol. Reads take the
/// time that the rate gives them; other requests are not delayed.
pub fn serve(stream: &UnixStream, disk: &File, rate: Rate) -> Result<()> {
    let size_bytes = disk.metadata()?.len();
    let (sender, answers) = mpsc::channel();
    thread::scope(|scope| {
        let replier = scope.spawn(|| {
            let ended = reply_to_all(stream, disk, Pace::new(rate), answers);
            // Ends the other thread's wait for a request: a client without answers sends none.
            let _ = stream.shutdown(Shutdown::Both);
            ended
        });
        let taken = take_requests(stream, disk, size_bytes, sender);
        if taken.is_err() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let replied = replier.join().unwrap_or_else(|_| Err(anyhow!("the replier panicked")));
        taken.and(replied)
    })
}

fn take_requests(
    stream: &UnixStream,
    disk: &File,
    size_bytes: u64,
    answers: Sender<Answer>,
) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut payload = Vec::new();
    loop {
        match stream.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let arrival = Instant::now();
        let request = Request::read(&mut stream)?;
        let Request { command, cookie, offset_bytes, len_bytes, .. } = request;
        if command == Command::Write {
            ensure!(len_bytes <= MAX_PAYLOAD_BYTES, "a write of {len_bytes} bytes");
            payload.resize(len_bytes as usize, 0);
            stream.read_exact(&mut payload).context("the payload of a write")?;
        }
        let answer = match check(&request, size_bytes) {
            Err(error) => Answer::Done { cookie, error: Some(error) },
            Ok(()) if command == Command::Disconnect => return Ok(()),
            Ok(()) if command == Command::Read => {
                Answer::Data { cookie, offset_bytes, len_bytes, arrival }
            }
            Ok(()) => {
                let done = change(disk, &request, &payload);
                Answer::Done { cookie, error: done.err().map(|_| RequestError::Io) }
            }
        };
        if answers.send(answer).is_err() {
            return Ok(());
        }
    }
}

fn check(request: &Request, size_bytes: u64) -> Result<(), RequestError> {
    let is_within = request.is_within(size_bytes);
    match request.command {
        Command::Disconnect => Ok(()),
        _ if request.flags != 0 => Err(RequestError::InvalidArgument),
        Command::Unknown(_) => Err(RequestError::InvalidArgument),
        Command::Write if !is_within => Err(RequestError::NoSpace),
        Command::Read if !is_within || request.len_bytes > MAX_PAYLOAD_BYTES => {
            Err(RequestError::InvalidArgument)
        }
        Command::Trim if !is_within => Err(RequestError::InvalidArgument),
        _ => Ok(()),
    }
}

/// Changes the disk at once: an earlier read in flight may see the change, as on any disk.
fn change(disk: &File, request: &Request, payload: &[u8]) -> io::Result<()> {
    match request.command {
        Command::Write => disk.write_all_at(payload, request.offset_bytes),
        Command::Flush => disk.sync_data(),
        // A hole of no length is an error to the kernel.
        Command::Trim if request.len_bytes > 0 => fallocate(
            disk,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            request.offset_bytes,
            u64::from(request.len_bytes),
        )
        .map_err(io::Error::from),
        _ => Ok(()),
    }
}

fn reply_to_all(
    stream: &UnixStream,
    disk: &File,
    mut pace: Pace,
    answers: Receiver<Answer>,
) -> Result<()> {
    set_current_timer_slack(Some(TIMER_SLACK_NS)).context("cannot set the timer slack")?;
    for answer in answers {
        let sent = match answer {
            Answer::Done { cookie, error } => (&*stream).write_all(&reply_header(cookie, error)),
            Answer::Data { cookie, offset_bytes, len_bytes, arrival } => {
                let completion = pace.completion(arrival, len_bytes);
                send_data(stream, disk, cookie, offset_bytes, len_bytes, completion)
            }
        };
        match sent {
            Err(error) if is_gone(&error) => return Ok(()),
            sent => sent.context("cannot answer")?,
        }
    }
    Ok(())
}

/// Sends bytes of the disk, the last of them at `completion`. Once the header is sent, an error can
/// only end the connection.
fn send_data(
    stream: &UnixStream,
    disk: &File,
    cookie: u64,
    offset_bytes: u64,
    len_bytes: u32,
    completion: Instant,
) -> io::Result<()> {
    (&*stream).write_all(&reply_header(cookie, None))?;
    let end = offset_bytes + u64::from(len_bytes);
    let held_back = offset_bytes.max(end.saturating_sub(HELD_BACK_BYTES));
    let mut at = offset_bytes;
    send_until(stream, disk, &mut at, held_back)?;
    sleep_until(completion);
    send_until(stream, disk, &mut at, end)
}

/// Sends from `at` to `end` without a copy into this process.
fn send_until(stream: &UnixStream, disk: &File, at: &mut u64, end: u64) -> io::Result<()> {
    while *at < end {
        let len = usize::try_from(end - *at).unwrap_or(usize::MAX);
        match sendfile(stream, disk, Some(at), len) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn sleep_until(time: Instant) {
    // `thread::sleep` never returns early.
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

/// Whether the client has closed its end, perhaps with answers unread.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
