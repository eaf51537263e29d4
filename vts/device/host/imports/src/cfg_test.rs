// SPDX-License-Identifier: Apache-2.0
//! Which items are compiled for tests only.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Whether the attributes keep an item out of every build but a test's.
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args().is_ok_and(|predicate| holds(&predicate) == Some(false))
    })
}

/// Whether a predicate holds outside tests; `None` if that depends on something else.
fn holds(predicate: &Meta) -> Option<bool> {
    match predicate {
        Meta::Path(path) if path.is_ident("test") => Some(false),
        Meta::List(list) => {
            let parts =
                list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
            let parts: Vec<Option<bool>> = parts.iter().map(holds).collect();
            if list.path.is_ident("not") {
                parts.first()?.map(|part| !part)
            } else if list.path.is_ident("all") {
                all_are(&parts, true)
            } else {
                all_are(&parts, false)
            }
        }
        _ => None,
    }
}

/// `value` if all parts are, the opposite if one is, `None` if neither is known.
fn all_are(parts: &[Option<bool>], value: bool) -> Option<bool> {
    if parts.contains(&Some(!value)) {
        Some(!value)
    } else {
        parts.iter().all(|part| *part == Some(value)).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn predicates() {
        let test_only = |attribute: Attribute| is_test_only(&[attribute]);
        assert!(test_only(parse_quote!(#[cfg(test)])));
        assert!(test_only(parse_quote!(#[test])));
        assert!(test_only(parse_quote!(#[cfg(all(unix, test))])));
        assert!(test_only(parse_quote!(#[cfg(any(test, all(test, unix)))])));
        assert!(test_only(parse_quote!(#[cfg(not(not(test)))])));
        assert!(!test_only(parse_quote!(#[cfg(any(test, unix))])));
        assert!(!test_only(parse_quote!(#[cfg(not(test))])));
        assert!(!test_only(parse_quote!(#[cfg(feature = "test")])));
        assert!(!test_only(parse_quote!(#[derive(Debug)])));
    }
}
