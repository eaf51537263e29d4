// SPDX-License-Identifier: Apache-2.0
//! What a binder can be asked besides the calls of its interface.

use std::os::fd::{AsFd, AsRawFd};

use rsbinder::{SIBinder, StatusCode};

/// AOSP's trait of this name, as far as it is used here.
pub trait IBinderInternal {
    /// Has the service write what `dumpsys` shows to a file.
    ///
    /// # Errors
    /// The status of the transaction; `InvalidOperation` for an object of this process.
    fn dump<F: AsRawFd + AsFd>(&mut self, file: &F, args: &[&str]) -> Result<(), StatusCode>;
}

impl IBinderInternal for SIBinder {
    fn dump<F: AsRawFd + AsFd>(&mut self, file: &F, args: &[&str]) -> Result<(), StatusCode> {
        let proxy = self.as_proxy().ok_or(StatusCode::InvalidOperation)?;
        let fd = file.as_fd().try_clone_to_owned()?;
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        proxy.dump(fd, &args)
    }
}
