// SPDX-License-Identifier: Apache-2.0
//! config.fs: the vendor's user ids, which the device knows from passwd and group files.

use anyhow::{bail, ensure, Context, Result};

/// Ids that Android leaves to vendors.
const VENDOR_IDS: [std::ops::RangeInclusive<u32>; 2] = [2900..=2999, 5000..=5999];

/// One `[AID_NAME]` section.
#[derive(Debug, PartialEq, Eq)]
pub struct Aid {
    name: String,
    id: u32,
}

/// Reads the `[AID_NAME]` sections, each of which has a `value`.
pub fn parse(text: &str) -> Result<Vec<Aid>> {
    let mut aids: Vec<Aid> = Vec::new();
    let mut open: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let place = || format!("config.fs:{}", index + 1);
        if line.is_empty() {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            ensure!(open.is_none(), "{}: the section before has no value", place());
            let name = section
                .strip_prefix("AID_VENDOR_")
                .filter(|name| !name.is_empty())
                .with_context(|| format!("{}: not an AID_VENDOR_ section", place()))?;
            open = Some(format!("vendor_{}", name.to_ascii_lowercase()));
        } else if let Some(value) = line.strip_prefix("value:") {
            let name = open.take().with_context(|| format!("{}: value out of place", place()))?;
            let id = value.trim().parse().with_context(place)?;
            ensure!(
                VENDOR_IDS.iter().any(|range| range.contains(&id)),
                "{}: {id} is not an id for vendors",
                place()
            );
            ensure!(
                aids.iter().all(|aid| aid.name != name && aid.id != id),
                "{}: {name} or {id} is defined twice",
                place()
            );
            aids.push(Aid { name, id });
        } else {
            bail!("{}: unknown word in '{line}'", place());
        }
    }
    ensure!(open.is_none(), "config.fs: the last section has no value");
    Ok(aids)
}

/// The file /vendor/etc/passwd.
pub fn passwd(aids: &[Aid]) -> String {
    aids.iter()
        .map(|aid| format!("{}::{}:{}::/:/vendor/bin/sh\n", aid.name, aid.id, aid.id))
        .collect()
}

/// The file /vendor/etc/group.
pub fn group(aids: &[Aid]) -> String {
    aids.iter().map(|aid| format!("{}::{}:\n", aid.name, aid.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let aids = parse(
            "# Users\n[AID_VENDOR_DMABUF_LOADER]\nvalue: 2950\n\n[AID_VENDOR_X]\nvalue:5001 # x\n",
        )
        .unwrap();
        assert_eq!(
            passwd(&aids),
            "vendor_dmabuf_loader::2950:2950::/:/vendor/bin/sh\n\
             vendor_x::5001:5001::/:/vendor/bin/sh\n"
        );
        assert_eq!(group(&aids), "vendor_dmabuf_loader::2950:\nvendor_x::5001:\n");
    }

    #[test]
    fn readable_by_the_device() {
        let aids = parse("[AID_VENDOR_DMABUF_LOADER]\nvalue: 2950\n").unwrap();
        let mut ids = vts_init::ids::Ids::default();
        ids.add_passwd(&passwd(&aids));
        ids.add_group(&group(&aids));
        assert_eq!(ids.user("vendor_dmabuf_loader"), Ok(2950));
        assert_eq!(ids.group("vendor_dmabuf_loader"), Ok(2950));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("[vendor/bin/x]\nmode: 0755\n", "config.fs:1: not an AID_VENDOR_ section"),
            ("[AID_VENDOR_A]\n[AID_VENDOR_B]\n", "config.fs:2: the section before has no value"),
            ("[AID_VENDOR_A]\nvalue: 1000\n", "config.fs:2: 1000 is not an id for vendors"),
            ("value: 2950\n", "config.fs:1: value out of place"),
            ("[AID_VENDOR_A]\nuser: x\n", "config.fs:2: unknown word in 'user: x'"),
            (
                "[AID_VENDOR_A]\nvalue: 2950\n[AID_VENDOR_B]\nvalue: 2950\n",
                "config.fs:4: vendor_b or 2950 is defined twice",
            ),
            ("[AID_VENDOR_A]\n", "config.fs: the last section has no value"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        }
        assert!(parse("[AID_VENDOR_A]\nvalue: x\n").is_err());
    }
}
