// SPDX-License-Identifier: Apache-2.0
//! Conversion of errors to the status of interface methods.

use std::fmt::Debug;

use rsbinder::Status;

/// Converts a result to that of an interface method.
pub trait IntoBinderResult<T, E> {
    /// Converts an error to a service-specific exception with `code` and the text that `message`
    /// makes of the error.
    ///
    /// # Errors
    /// The exception.
    fn or_service_specific_exception_with<M, O>(self, code: i32, message: O) -> crate::Result<T>
    where
        M: AsRef<str>,
        O: FnOnce(E) -> M;
}

impl<T, E: Debug> IntoBinderResult<T, E> for std::result::Result<T, E> {
    fn or_service_specific_exception_with<M, O>(self, code: i32, message: O) -> crate::Result<T>
    where
        M: AsRef<str>,
        O: FnOnce(E) -> M,
    {
        self.map_err(|error| {
            let message = message(error).as_ref().to_owned();
            Status::new_service_specific_error(code, Some(message))
        })
    }
}

/// Methods that AOSP's `Status` has and rsbinder names differently.
pub trait StatusExt {
    /// The status as text, for logs and messages.
    fn get_description(&self) -> String;
}

impl StatusExt for Status {
    fn get_description(&self) -> String {
        match self.message() {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_and_message() {
        let failed: std::result::Result<(), u8> = Err(7);
        let status = failed
            .or_service_specific_exception_with(3, |number| format!("number {number}"))
            .unwrap_err();
        assert_eq!(status.service_specific_error(), 3);
        assert_eq!(status.get_description(), "number 7");
    }
}
