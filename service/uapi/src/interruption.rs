// SPDX-License-Identifier: Apache-2.0
//! Limits how long a call of this thread waits in the kernel: a timer sends the thread a signal
//! whose handler does nothing, and a call that can be interrupted fails with `INTR`.
//!
//! Source: `timer_create(2)`, `sigaction(2)`, `signal(7)`; `include/uapi/asm-generic/siginfo.h`.

use std::cell::OnceCell;
use std::marker::PhantomData;
use std::time::Duration;

use rustix::io::Result;

use crate::last_errno;

/// Ignored by default, and few processes give it a handler: it tells of urgent data on a socket.
const SIGNAL: libc::c_int = libc::SIGURG;

/// A signal that comes before the call has begun is lost, so that others follow.
const REPEATED_EVERY: Duration = Duration::from_millis(20);

/// To a thread of this process; in libc not for every C library.
const SIGEV_THREAD_ID: libc::c_int = 4;

/// `struct sigevent` of the kernel, 64 bytes.
#[repr(C)]
struct Sigevent {
    value: usize,
    signal: libc::c_int,
    notify: libc::c_int,
    thread: libc::c_int,
    pad: [libc::c_int; 11],
}

/// `struct itimerspec` of the kernel: seconds and nanoseconds.
#[repr(C)]
struct Itimerspec {
    interval: [libc::c_long; 2],
    value: [libc::c_long; 2],
}

/// Gives the signal its handler, in the whole process, unless it has one. Without that an
/// [`Interruption`] interrupts nothing.
///
/// # Errors
/// None that is documented for this signal.
pub fn prepare_process() -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a `sigaction` of zeros is valid: the default action, no flags, no signals masked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes one `sigaction`, exclusively borrowed, and changes nothing.
    if unsafe { libc::sigaction(SIGNAL, std::ptr::null(), &raw mut action) } != 0 {
        return Err(last_errno());
    }
    if ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction) {
        return Ok(());
    }
    let handler: extern "C" fn(libc::c_int) = nothing;
    action.sa_sigaction = handler as libc::sighandler_t;
    // Not SA_RESTART: the call is to end.
    action.sa_flags = 0;
    // SAFETY: the handler is a function of this program that does nothing, which any context
    // permits; the call reads one `sigaction`, which lives across it.
    if unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(last_errno());
    }
    Ok(())
}

/// A timer that sends the signal to the thread that made it.
#[derive(Debug)]
struct Timer(libc::c_int);

impl Timer {
    fn of_this_thread() -> Result<Self> {
        // SAFETY: the call takes no argument.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as libc::c_int;
        let (signal, notify) = (SIGNAL, SIGEV_THREAD_ID);
        let event = Sigevent { value: 0, signal, notify, thread, pad: [0; 11] };
        let mut timer: libc::c_int = 0;
        // SAFETY: the call reads one `struct sigevent` and writes one timer id, both of which live
        // across it.
        let made = unsafe {
            libc::syscall(
                libc::SYS_timer_create,
                libc::CLOCK_MONOTONIC,
                &raw const event,
                &raw mut timer,
            )
        };
        if made == 0 {
            Ok(Self(timer))
        } else {
            Err(last_errno())
        }
    }

    /// Lets it send the first signal after this time, or none for 0.
    fn set(&self, first: Duration) -> Result<()> {
        let time = Itimerspec { interval: parts_of(REPEATED_EVERY), value: parts_of(first) };
        let no_old = std::ptr::null_mut::<Itimerspec>();
        // SAFETY: the call reads one `struct itimerspec`, which lives across it, and writes
        // nothing.
        let set =
            unsafe { libc::syscall(libc::SYS_timer_settime, self.0, 0, &raw const time, no_old) };
        if set == 0 {
            Ok(())
        } else {
            Err(last_errno())
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the call takes a number only; the timer is this value's own.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.0) };
    }
}

thread_local! {
    /// Kept for the next limit: making and deleting a timer costs more than the call it limits.
    static TIMER: OnceCell<Timer> = const { OnceCell::new() };
}

/// Interrupts the thread that made it from a time on, until it is dropped. A thread has one at a
/// time.
#[must_use = "dropping it ends the limit"]
#[derive(Debug)]
pub struct Interruption {
    /// It belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl Interruption {
    /// Interrupts this thread after `limit`, again and again.
    ///
    /// # Errors
    /// `AGAIN`: the kernel or the user's limit of pending signals has no room for a timer.
    pub fn after(limit: Duration) -> Result<Self> {
        TIMER.with(|kept| {
            if let Some(timer) = kept.get() {
                return timer.set(limit);
            }
            let timer = Timer::of_this_thread()?;
            kept.get_or_init(|| timer).set(limit)
        })?;
        Ok(Self { not_send: PhantomData })
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        // A thread that ends has deleted its timer before. Of a valid timer, 0 is always taken.
        let _ = TIMER.try_with(|kept| kept.get().map(|timer| timer.set(Duration::ZERO)));
    }
}

fn parts_of(duration: Duration) -> [libc::c_long; 2] {
    let seconds = libc::c_long::try_from(duration.as_secs()).unwrap_or(libc::c_long::MAX);
    [seconds, duration.subsec_nanos() as libc::c_long]
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Instant;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<Sigevent>(), 64);
        assert_eq!(size_of::<Itimerspec>(), 4 * size_of::<libc::c_long>());
    }

    #[test]
    fn a_call_that_waits_for_too_long_is_interrupted() {
        prepare_process().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let read = || rustix::io::read(reader.as_fd(), &mut [0; 1]);
        let limit = Duration::from_millis(50);
        let begin = Instant::now();
        let interruption = Interruption::after(limit).unwrap();
        assert_eq!(read(), Err(Errno::INTR));
        assert!(begin.elapsed() >= limit);
        // A signal that comes too early is not the last one.
        std::thread::sleep(limit);
        assert_eq!(read(), Err(Errno::INTR));
        drop(interruption);
        let later = std::thread::spawn(move || {
            std::thread::sleep(3 * REPEATED_EVERY);
            rustix::io::write(&writer, b"x").map(|_| writer)
        });
        assert_eq!(read(), Ok(1), "nothing interrupts it any more");
        later.join().unwrap().unwrap();
    }
}
