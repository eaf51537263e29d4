// SPDX-License-Identifier: Apache-2.0
//! The identity of the caller.

/// The call that the current thread is serving.
pub struct ThreadState;

impl ThreadState {
    /// The caller's uid, from the driver or the socket; outside a call, the process's own uid.
    pub fn get_calling_uid() -> u32 {
        rsbinder::thread_state::get_calling_uid()
    }

    /// The caller's pid, for logs only: the process may have ended and its pid been reused.
    pub fn get_calling_pid() -> i32 {
        rsbinder::thread_state::get_calling_pid()
    }
}
