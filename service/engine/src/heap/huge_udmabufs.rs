// SPDX-License-Identifier: Apache-2.0
//! Whether udmabufs are made of huge pages: where importers see the right bytes of them.
//!
//! From Linux 6.11 on, importers that walk a udmabuf by page, or map it into the kernel, see the
//! first page of each huge page again and again. "udmabuf: fix vmap missed offset page" (6.17) and
//! "udmabuf: Do not create malformed scatterlists" (7.2) mend it. User space cannot see what an
//! importer sees, so the kernel's release decides, unless the device's configuration does.

use crate::io_path::Detail;

/// The first release whose importers see wrong bytes.
const BROKEN_FROM: (u32, u32) = (6, 11);
/// The first release that has both mends.
const MENDED_FROM: (u32, u32) = (7, 2);

/// What the device's configuration says about udmabufs in huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugeUdmabufs {
    /// They are made where the kernel is known to show importers the right bytes.
    #[default]
    Auto,
    /// They are made: the kernel has the mends, whatever its release.
    Yes,
    /// They are not made.
    No,
}

impl HugeUdmabufs {
    /// Decides; `Err` says why udmabufs are made of base pages alone. `has_series` tells whether
    /// the kernel has this project's patches, which bring the mends with them: with them alone
    /// `copy_file_range(2)` takes udmabufs.
    pub(super) fn decide(self, release: &str, has_series: bool) -> Result<(), Detail> {
        match self {
            Self::Yes => Ok(()),
            Self::No => Err("no huge pages: the device's configuration refuses them".into()),
            Self::Auto if has_series || shows_importers_right_bytes(release) => Ok(()),
            Self::Auto => {
                let why =
                    format!("no huge pages: importers may see wrong bytes on Linux {release}");
                Err(why.into())
            }
        }
    }
}

/// An unknown release counts as broken.
fn shows_importers_right_bytes(release: &str) -> bool {
    version(release).is_some_and(|version| !(BROKEN_FROM..MENDED_FROM).contains(&version))
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_decides_about_huge_pages() {
        for (release, is_right) in [
            ("6.1.145-android14-11-g8d713f9e8e7b-ab13202960", true),
            ("6.6.92-android15-8-gdeadbeef", true),
            ("6.10.14", true),
            ("6.11.0-rc1", false),
            ("6.12.23-android16-5-g0123456789ab", false),
            ("6.12.117+deb12-amd64", false),
            ("6.18.44", false),
            ("7.1.8", false),
            ("7.2.0", true),
            ("7.2-rc3", true),
            ("10.0.1", true),
            ("", false),
            ("7", false),
            ("linux", false),
            ("99999999999.1", false),
        ] {
            let decided = HugeUdmabufs::Auto.decide(release, false);
            assert_eq!(decided.is_ok(), is_right, "{release} {decided:?}");
        }
    }

    #[test]
    fn the_series_and_the_configuration_override_the_release() {
        let broken = "6.12.117";
        assert!(HugeUdmabufs::Auto.decide(broken, true).is_ok());
        assert!(HugeUdmabufs::Yes.decide(broken, false).is_ok());
        let refused = HugeUdmabufs::Auto.decide(broken, false).unwrap_err();
        assert!(refused.contains("Linux 6.12.117"), "{refused}");
        let refused = HugeUdmabufs::No.decide("6.6.92", true).unwrap_err();
        assert!(refused.contains("configuration"), "{refused}");
    }
}
