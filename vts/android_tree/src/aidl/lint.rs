// SPDX-License-Identifier: Apache-2.0
//! Warnings of `aidl -Weverything` that this project has had.

use super::model::{Declaration, File, Kind};

/// One of these says who may call.
const PERMISSION_ANNOTATIONS: [&str; 3] =
    ["@RequiresNoPermission", "@EnforcePermission", "@PermissionManuallyEnforced"];

/// `-Wredundant-name`: enumerators that repeat a word of their enum's name.
pub fn redundant_names(file: &File) -> Vec<String> {
    let declaration = &file.declaration;
    if declaration.kind != Kind::Enum {
        return Vec::new();
    }
    let words = words_of(&declaration.name);
    let repeats = |name: &str| name.split('_').any(|word| words.iter().any(|own| own == word));
    let members = declaration.members.iter().filter(|member| repeats(&member.name));
    members.map(|member| format!("{}.{}", declaration.name, member.name)).collect()
}

/// `HeapKind` has the words `HEAP` and `KIND`.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter.to_ascii_uppercase()),
            _ => words.push(letter.to_string()),
        }
    }
    words
}

/// `-Wmissing-permission-annotation`: whether an interface leaves open who may call it.
pub fn lacks_permission_annotation(declaration: &Declaration) -> bool {
    let says = |annotation: &String| {
        PERMISSION_ANNOTATIONS.iter().any(|known| annotation.split('(').next() == Some(*known))
    };
    declaration.kind == Kind::Interface && !declaration.annotations.iter().any(says)
}

#[cfg(test)]
mod tests {
    use super::super::parser::parse;
    use super::*;

    #[test]
    fn a_word_of_the_enum_in_an_enumerator_is_found() {
        for (source, found) in [
            ("enum HeapKind { DMA_HEAP, UDMABUF }", vec!["HeapKind.DMA_HEAP"]),
            ("enum LoaderError { IO_ERROR = 1, IO = 2 }", vec!["LoaderError.IO_ERROR"]),
            ("enum NotTakenReason { FILE_NOT_DIRECT }", vec!["NotTakenReason.FILE_NOT_DIRECT"]),
            ("enum PathPolicy { NAMED_PATH, NAMED }", vec!["PathPolicy.NAMED_PATH"]),
            ("enum PathPolicy { PATHS, NAMED }", vec![]),
            ("parcelable PathPolicy { int PATH; }", vec![]),
        ] {
            let file = parse(&format!("package a; {source}")).unwrap();
            assert_eq!(redundant_names(&file), found, "{source}");
        }
    }

    #[test]
    fn an_interface_says_who_may_call() {
        for (source, lacks) in [
            ("@VintfStability interface I { }", true),
            ("@VintfStability @RequiresNoPermission interface I { }", false),
            ("@EnforcePermission(\"X\") interface I { }", false),
            ("parcelable P { }", false),
        ] {
            let file = parse(&format!("package a; {source}")).unwrap();
            assert_eq!(lacks_permission_annotation(&file.declaration), lacks, "{source}");
        }
    }
}
