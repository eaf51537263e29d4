// SPDX-License-Identifier: Apache-2.0
//! What this project may use of AOSP's libbinder_rs (Android 14 and later): declarations for a type
//! check.
//!
//! Names, traits and signatures are those of `frameworks/native/libs/binder/rust/src`; look there
//! before you add one. The compiler only checks this crate; no program links it.

#![allow(unused_variables)]

use std::ffi::CStr;
use std::fmt;
use std::io::Write;
use std::ops::Deref;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

type StatusResult<T> = std::result::Result<T, StatusCode>;

/// What an interface method returns.
pub type Result<T> = std::result::Result<T, Status>;

fn declared_only() -> ! {
    unreachable!("a declaration for a type check")
}

/// An enum of bindgen: other values may come.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, non_camel_case_types)]
pub enum StatusCode {
    OK,
    UNKNOWN_ERROR,
    NO_MEMORY,
    INVALID_OPERATION,
    BAD_VALUE,
    BAD_TYPE,
    NAME_NOT_FOUND,
    PERMISSION_DENIED,
    NO_INIT,
    ALREADY_EXISTS,
    DEAD_OBJECT,
    FAILED_TRANSACTION,
    BAD_INDEX,
    NOT_ENOUGH_DATA,
    WOULD_BLOCK,
    TIMED_OUT,
    UNKNOWN_TRANSACTION,
    FDS_NOT_ALLOWED,
    UNEXPECTED_NULL,
}

impl std::error::Error for StatusCode {}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusCode::{self:?}")
    }
}

/// An enum of bindgen: other values may come.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, non_camel_case_types)]
pub enum ExceptionCode {
    NONE,
    SECURITY,
    BAD_PARCELABLE,
    ILLEGAL_ARGUMENT,
    NULL_POINTER,
    ILLEGAL_STATE,
    NETWORK_MAIN_THREAD,
    UNSUPPORTED_OPERATION,
    SERVICE_SPECIFIC,
    TRANSACTION_FAILED,
}

/// Why an interface method failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Status(());

#[allow(missing_docs)]
impl Status {
    pub fn ok() -> Self {
        declared_only()
    }
    pub fn new_service_specific_error(err: i32, message: Option<&CStr>) -> Self {
        declared_only()
    }
    pub fn new_service_specific_error_str<T: AsRef<str>>(err: i32, message: Option<T>) -> Self {
        declared_only()
    }
    pub fn new_exception(exception: ExceptionCode, message: Option<&CStr>) -> Self {
        declared_only()
    }
    pub fn new_exception_str<T: AsRef<str>>(exception: ExceptionCode, message: Option<T>) -> Self {
        declared_only()
    }
    pub fn is_ok(&self) -> bool {
        declared_only()
    }
    pub fn get_description(&self) -> String {
        declared_only()
    }
    pub fn exception_code(&self) -> ExceptionCode {
        declared_only()
    }
    pub fn transaction_error(&self) -> StatusCode {
        declared_only()
    }
    pub fn service_specific_error(&self) -> i32 {
        declared_only()
    }
}

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        declared_only()
    }
}

impl From<StatusCode> for Status {
    fn from(status: StatusCode) -> Self {
        declared_only()
    }
}

impl From<ExceptionCode> for Status {
    fn from(code: ExceptionCode) -> Self {
        declared_only()
    }
}

/// Turns any result into that of an interface method.
#[allow(missing_docs)]
pub trait IntoBinderResult<T, E> {
    fn or_binder_exception(self, exception: ExceptionCode) -> Result<T>;
    fn or_binder_exception_with<M: AsRef<str>, O: FnOnce(E) -> M>(
        self,
        exception: ExceptionCode,
        op: O,
    ) -> Result<T>;
    fn or_service_specific_exception(self, error_code: i32) -> Result<T>;
    fn or_service_specific_exception_with<M: AsRef<str>, O: FnOnce(E) -> M>(
        self,
        error_code: i32,
        op: O,
    ) -> Result<T>;
}

impl<T, E: fmt::Debug> IntoBinderResult<T, E> for std::result::Result<T, E> {
    fn or_binder_exception(self, exception: ExceptionCode) -> Result<T> {
        declared_only()
    }
    fn or_binder_exception_with<M: AsRef<str>, O: FnOnce(E) -> M>(
        self,
        exception: ExceptionCode,
        op: O,
    ) -> Result<T> {
        declared_only()
    }
    fn or_service_specific_exception(self, error_code: i32) -> Result<T> {
        declared_only()
    }
    fn or_service_specific_exception_with<M: AsRef<str>, O: FnOnce(E) -> M>(
        self,
        error_code: i32,
        op: O,
    ) -> Result<T> {
        declared_only()
    }
}

/// Any binder object.
pub trait Interface: Send + Sync {
    /// The object without its type.
    fn as_binder(&self) -> SpIBinder {
        declared_only()
    }
    /// Answers `dumpsys`.
    fn dump(&self, writer: &mut dyn Write, args: &[&CStr]) -> StatusResult<()> {
        Ok(())
    }
}

/// An interface that an object can be asked for.
pub trait FromIBinder: Interface {
    /// The object as this interface.
    fn try_from(ibinder: SpIBinder) -> StatusResult<Strong<Self>>;
}

/// What any binder object can be asked.
#[allow(missing_docs)]
pub trait IBinder {
    fn ping_binder(&mut self) -> StatusResult<()>;
}

/// A binder object without its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpIBinder(());

#[allow(missing_docs)]
impl SpIBinder {
    pub fn is_remote(&self) -> bool {
        declared_only()
    }
    pub fn into_interface<I: FromIBinder + Interface + ?Sized>(self) -> StatusResult<Strong<I>> {
        declared_only()
    }
}

impl IBinder for SpIBinder {
    fn ping_binder(&mut self) -> StatusResult<()> {
        declared_only()
    }
}

/// A reference to an object of an interface.
pub struct Strong<I: FromIBinder + ?Sized>(Box<I>);

impl<I: FromIBinder + ?Sized> Clone for Strong<I> {
    fn clone(&self) -> Self {
        declared_only()
    }
}

impl<I: FromIBinder + ?Sized> AsRef<I> for Strong<I> {
    fn as_ref(&self) -> &I {
        &self.0
    }
}

impl<I: FromIBinder + ?Sized> Deref for Strong<I> {
    type Target = I;

    fn deref(&self) -> &I {
        &self.0
    }
}

impl<I: FromIBinder + fmt::Debug + ?Sized> fmt::Debug for Strong<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        declared_only()
    }
}

/// How an object is served. Its fields differ between Android's builds: use `default()`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BinderFeatures(());

/// An fd in a parcel.
#[derive(Debug)]
pub struct ParcelFileDescriptor(OwnedFd);

impl ParcelFileDescriptor {
    /// Takes an fd over.
    pub fn new<F: Into<OwnedFd>>(fd: F) -> Self {
        Self(fd.into())
    }
}

impl AsRef<OwnedFd> for ParcelFileDescriptor {
    fn as_ref(&self) -> &OwnedFd {
        &self.0
    }
}

impl From<ParcelFileDescriptor> for OwnedFd {
    fn from(fd: ParcelFileDescriptor) -> Self {
        fd.0
    }
}

impl AsRawFd for ParcelFileDescriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl IntoRawFd for ParcelFileDescriptor {
    fn into_raw_fd(self) -> RawFd {
        self.0.into_raw_fd()
    }
}

impl PartialEq for ParcelFileDescriptor {
    fn eq(&self, other: &Self) -> bool {
        declared_only()
    }
}

/// The process's connection to the driver.
pub struct ProcessState;

#[allow(missing_docs)]
impl ProcessState {
    pub fn start_thread_pool() {
        declared_only()
    }
    pub fn set_thread_pool_max_thread_count(num_threads: u32) {
        declared_only()
    }
    pub fn join_thread_pool() {
        declared_only()
    }
}

/// The call that the current thread serves.
pub struct ThreadState;

#[allow(missing_docs)]
impl ThreadState {
    pub fn get_calling_uid() -> u32 {
        declared_only()
    }
    pub fn get_calling_pid() -> i32 {
        declared_only()
    }
}

/// Registers a service.
pub fn add_service(identifier: &str, binder: SpIBinder) -> StatusResult<()> {
    declared_only()
}

/// Waits for a service.
pub fn wait_for_interface<T: FromIBinder + ?Sized>(name: &str) -> StatusResult<Strong<T>> {
    declared_only()
}

/// Returns a service that is registered now.
pub fn check_interface<T: FromIBinder + ?Sized>(name: &str) -> StatusResult<Strong<T>> {
    declared_only()
}

/// Whether VINTF declares a service.
pub fn is_declared(interface: &str) -> StatusResult<bool> {
    declared_only()
}

/// The instances that VINTF declares.
pub fn get_declared_instances(interface: &str) -> StatusResult<Vec<String>> {
    declared_only()
}

/// What generated code and tools use.
pub mod binder_impl {
    use super::{declared_only, AsRawFd, IBinder, SpIBinder, StatusResult};

    /// What any binder object can be asked by tools.
    #[allow(missing_docs)]
    pub trait IBinderInternal: IBinder {
        fn is_binder_alive(&self) -> bool;
        fn dump<F: AsRawFd>(&mut self, fp: &F, args: &[&str]) -> StatusResult<()>;
    }

    impl IBinderInternal for SpIBinder {
        fn is_binder_alive(&self) -> bool {
            declared_only()
        }
        fn dump<F: AsRawFd>(&mut self, fp: &F, args: &[&str]) -> StatusResult<()> {
            declared_only()
        }
    }
}

/// The types of an interface that are neither its trait nor its parcelables.
#[macro_export]
macro_rules! declare_binder_interface {
    ($interface:ident, $native:ident, $proxy:ident) => {
        pub struct $native(());

        impl $native {
            pub fn new_binder<T: $interface + Sync + Send + 'static>(
                inner: T,
                features: $crate::BinderFeatures,
            ) -> $crate::Strong<dyn $interface> {
                let _ = (inner, features);
                unreachable!("a declaration for a type check")
            }
        }

        pub struct $proxy(());

        impl $crate::FromIBinder for dyn $interface {
            fn try_from(
                ibinder: $crate::SpIBinder,
            ) -> std::result::Result<$crate::Strong<Self>, $crate::StatusCode> {
                let _ = ibinder;
                unreachable!("a declaration for a type check")
            }
        }
    };
}
