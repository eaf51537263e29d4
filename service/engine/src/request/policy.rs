// SPDX-License-Identifier: Apache-2.0
//! Which paths a request permits, and in which order they are tried.

use crate::io_path::{IoPath, PathName};

/// Which paths are permitted, and their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Direct I/O or failure.
    pub require_direct: bool,
    /// The permitted paths.
    pub paths: PathList,
}

impl Policy {
    /// The cheapest path that works.
    pub const AUTO: Self = Self { require_direct: false, paths: PathList::ANY };

    /// The cheapest direct path that works, or failure.
    pub const REQUIRE_DIRECT: Self = Self { require_direct: true, paths: PathList::ANY };

    /// The paths of one name, or failure.
    pub const fn only(name: PathName) -> Self {
        let mut paths = PathList::ANY;
        paths.0[0] = Some(name);
        Self { require_direct: false, paths }
    }

    /// Whether a path may be taken at all.
    pub fn permits(&self, path: IoPath) -> bool {
        self.paths.permit(path) && (path.is_direct() || !self.require_direct)
    }

    /// Whether a permitted path uses an fd that is open with `O_DIRECT`.
    pub(crate) fn wants_direct(&self) -> bool {
        *self != Self::only(PathName::Buffered)
    }
}

/// Paths by name, in the order in which they are tried; none for all, cheapest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathList([Option<PathName>; PathName::ALL.len()]);

impl PathList {
    /// All paths, cheapest first.
    pub const ANY: Self = Self([None; PathName::ALL.len()]);

    /// These paths in their order. `None` where one is there twice.
    pub fn of(names: &[PathName]) -> Option<Self> {
        let mut list = Self::ANY;
        for (place, name) in names.iter().enumerate() {
            if list.0.contains(&Some(*name)) {
                return None;
            }
            *list.0.get_mut(place)? = Some(*name);
        }
        Some(list)
    }

    /// Whether a path is one of them.
    pub(crate) fn permit(&self, path: IoPath) -> bool {
        *self == Self::ANY || self.0.contains(&Some(path.name()))
    }

    /// All paths in the order in which they are considered: those that are not permitted last.
    pub(crate) fn in_order(&self) -> [IoPath; IoPath::CHEAPEST_FIRST.len()] {
        if *self == Self::ANY {
            return IoPath::CHEAPEST_FIRST;
        }
        let place = |path: &IoPath| {
            self.0.iter().position(|name| *name == Some(path.name())).unwrap_or(self.0.len())
        };
        let mut paths = IoPath::CHEAPEST_FIRST;
        // Stable: paths of one name stay in the order of their cost.
        paths.sort_by_key(place);
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use PathName::{Bounce, Buffered, CopyFileRange};

    #[test]
    fn paths_are_considered_in_the_clients_order() {
        let list = PathList::of(&[Buffered, CopyFileRange]).unwrap();
        assert_eq!(
            list.in_order(),
            [
                IoPath::Buffered,
                IoPath::CopyFileRangeDirect,
                IoPath::CopyFileRangeBuffered,
                IoPath::UdmabufDirect,
                IoPath::Bounce,
            ]
        );
        assert!(list.permit(IoPath::Buffered) && list.permit(IoPath::CopyFileRangeBuffered));
        assert!(!list.permit(IoPath::Bounce) && !list.permit(IoPath::UdmabufDirect));
        assert_eq!(PathList::ANY.in_order(), IoPath::CHEAPEST_FIRST);
        assert_eq!(PathList::of(&[]), Some(PathList::ANY));
    }

    #[test]
    fn a_path_may_be_named_once() {
        assert_eq!(PathList::of(&[Bounce, Buffered, Bounce]), None);
        assert!(PathList::of(&PathName::ALL).is_some());
    }

    #[test]
    fn direct_io_is_wanted_where_a_permitted_path_does_it() {
        assert!(Policy::AUTO.wants_direct() && Policy::REQUIRE_DIRECT.wants_direct());
        assert!(!Policy::only(Buffered).wants_direct());
        assert!(Policy::only(CopyFileRange).wants_direct() && Policy::only(Bounce).wants_direct());
        let direct = Policy { require_direct: true, ..Policy::only(CopyFileRange) };
        assert!(direct.permits(IoPath::CopyFileRangeDirect));
        assert!(!direct.permits(IoPath::CopyFileRangeBuffered));
    }
}
