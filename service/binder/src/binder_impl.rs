// SPDX-License-Identifier: Apache-2.0
//! Calls that every binder object has besides those of its interface.

use std::os::fd::{AsFd, AsRawFd};

use rsbinder::{SIBinder, StatusCode};

/// AOSP's trait of this name, reduced to the methods that are used here.
pub trait IBinderInternal {
    /// Makes the service write its `dumpsys` text to a file.
    ///
    /// # Errors
    /// The status of the transaction; `InvalidOperation` if the object belongs to this process.
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
