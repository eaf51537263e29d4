// SPDX-License-Identifier: Apache-2.0
//! Which clients a caller of `dump()` sees.

use std::os::unix::fs::MetadataExt;

use dmabuf_engine::ClientId;

/// AID_ROOT, AID_SYSTEM and AID_SHELL of AOSP's android_filesystem_config.h.
const PRIVILEGED: [u32; 3] = [0, 1000, 2000];

/// Which clients a dump shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    All,
    Only(ClientId),
}

impl Shown {
    /// What may be shown to the caller of `dump()`.
    pub(crate) fn to(caller_uid: u32) -> Self {
        let is_own = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == caller_uid);
        if PRIVILEGED.contains(&caller_uid) || is_own {
            Self::All
        } else {
            Self::Only(ClientId(caller_uid))
        }
    }

    pub(super) fn contains(self, client: ClientId) -> bool {
        self == Self::All || self == Self::Only(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_privileged_see_other_clients() {
        for uid in PRIVILEGED {
            assert!(Shown::to(uid).contains(ClientId(10_123)));
        }
        let app = Shown::to(10_123);
        assert!(app.contains(ClientId(10_123)) && !app.contains(ClientId(1047)));
    }
}
