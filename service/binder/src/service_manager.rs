// SPDX-License-Identifier: Apache-2.0
//! Registration and lookup of services in the service manager.

use rsbinder::{hub, FromIBinder, SIBinder, StatusCode, Strong};

use crate::process_state::initialise;

type StatusResult<T> = std::result::Result<T, StatusCode>;

/// Registers a service by name.
///
/// # Errors
/// `NameNotFound` without a binder driver; else the service manager's status, for example if
/// SELinux refuses.
pub fn add_service(name: &str, service: SIBinder) -> StatusResult<()> {
    initialise()?;
    hub::add_service(name, service).map_err(StatusCode::from)
}

/// Waits until a service is registered and returns it.
///
/// # Errors
/// `NameNotFound` without a binder driver or if SELinux hides the service; `BadType` for another
/// interface.
pub fn wait_for_interface<T: FromIBinder + ?Sized>(name: &str) -> StatusResult<Strong<T>> {
    initialise()?;
    hub::wait_for_interface(name)
}

/// Returns a service if it is registered now.
///
/// # Errors
/// As for [`wait_for_interface`], and `NameNotFound` if the service is not registered.
pub fn check_interface<T: FromIBinder + ?Sized>(name: &str) -> StatusResult<Strong<T>> {
    initialise()?;
    hub::check_interface(name)
}

/// Whether the VINTF manifest declares a service.
///
/// # Errors
/// `NameNotFound` without a binder driver; else the service manager's status.
pub fn is_declared(name: &str) -> StatusResult<bool> {
    initialise()?;
    hub::try_is_declared(name).map_err(StatusCode::from)
}

/// Lists the instances of an interface that the VINTF manifest declares.
///
/// # Errors
/// As for [`is_declared`].
pub fn get_declared_instances(interface: &str) -> StatusResult<Vec<String>> {
    initialise()?;
    hub::try_get_declared_instances(interface).map_err(StatusCode::from)
}
