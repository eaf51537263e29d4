// SPDX-License-Identifier: Apache-2.0
//! The lexical rules that .rc files share: words, quotes, comments, continued lines.

/// A line of a configuration file, split into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Number of its first physical line, from 1.
    pub number: usize,
    /// Its words; never empty.
    pub words: Vec<String>,
}

/// A configuration file that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct SyntaxError {
    /// Path of the file.
    pub file: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Splits a file into lines of words: `#` starts a comment, `"..."` is one word, and a backslash
/// at the end of a line joins it with the next.
pub fn split(file: &str, text: &str) -> Result<Vec<Line>, SyntaxError> {
    let mut lines = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut first = 1;
    for (index, physical) in text.lines().enumerate() {
        if words.is_empty() {
            first = index + 1;
        }
        let error = |reason: &str| SyntaxError {
            file: file.to_owned(),
            line: index + 1,
            reason: reason.to_owned(),
        };
        let mut continued = false;
        let mut word: Option<String> = None;
        let mut chars = physical.chars();
        while let Some(c) = chars.next() {
            match c {
                '#' if word.is_none() => break,
                '"' => loop {
                    match chars.next() {
                        Some('"') => {
                            word.get_or_insert_default();
                            break;
                        }
                        Some(quoted) => word.get_or_insert_default().push(quoted),
                        None => return Err(error("quote is not closed")),
                    }
                },
                '\\' => match chars.next() {
                    Some('n') => word.get_or_insert_default().push('\n'),
                    Some('t') => word.get_or_insert_default().push('\t'),
                    Some(escaped) => word.get_or_insert_default().push(escaped),
                    None => continued = true,
                },
                c if c.is_whitespace() => words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        if !continued && !words.is_empty() {
            lines.push(Line { number: first, words: std::mem::take(&mut words) });
        }
    }
    if !words.is_empty() {
        lines.push(Line { number: first, words });
    }
    Ok(lines)
}

/// Reads the permission bits of a file, written in octal.
pub fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|bits| *bits <= 0o7777)
        .ok_or_else(|| format!("bad mode '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let lines = split(
            "f",
            "# comment\n\nservice a /bin/a \"two words\" b#c # tail\n  class \\\n  hal\nlast \"\"",
        )
        .unwrap();
        let words: Vec<(usize, Vec<&str>)> = lines
            .iter()
            .map(|line| (line.number, line.words.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            words,
            [
                (3, vec!["service", "a", "/bin/a", "two words", "b#c"]),
                (4, vec!["class", "hal"]),
                (6, vec!["last", ""]),
            ]
        );
    }

    #[test]
    fn open_quote() {
        let error = split("x.rc", "a\nb \"c").unwrap_err();
        assert_eq!(error.to_string(), "x.rc:2: quote is not closed");
    }
}
